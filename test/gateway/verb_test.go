package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/secure/acl"
	"millrace/secure/iam"
	"millrace/secure/keys"
	users "millrace/secure/scram"
	"millrace/test/harness"
)

// TestVerb runs `millrace gateway` as its users do: users, access keys and ACLs in etcd, sealed by a key ring, over TLS, with a listener for passwords
// and keys and one for certificates, in front of Apache Kafka.
func TestVerb(t *testing.T) {
	kafka := harness.StartKafka(t, harness.KafkaOptions{})
	createTopic(t, kafka.Bootstrap, "open", 1, 1)
	createTopic(t, kafka.Bootstrap, "closed", 1, 1)
	cluster := harness.StartEtcd(t, harness.EtcdOptions{})
	store, err := etcd.Dial(t.Context(), []string{cluster.URLs()}, etcd.Options{Prefix: "millrace/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	data := t.TempDir()
	kms := "keyring://" + filepath.Join(data, "keyring.json")
	s := openRooms(t, store, kms)
	s.user(t, "alice", "wonder")
	s.allow(t, "User:alice")
	s.allow(t, "User:CN=carol")
	key := s.dave(t)

	ca, stranger := harness.NewCA(t), harness.NewCA(t)
	own := ca.Issue(t, "gateway", "127.0.0.1")
	const ports = 4 // the bootstrap port, brokers 0 and 1, one to spare
	first := harness.FreePorts(t, 2*ports)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	health := at(first + 2*ports - 1)
	dir := filepath.Join(data, "gateway")
	command := exec.Command(harness.MillraceBinary(t), "gateway", "--upstream", kafka.Bootstrap, "--listen", at(first), "--login", "scram,iam",
		"--also", "mtls@"+at(first+ports), "--client-ca", ca.File, "--tls-cert", own.Cert, "--tls-key", own.Key, "--health", health,
		"--etcd", cluster.URLs(), "--cluster", "test", "--kms", kms, "--data", dir, "--name", "gw1")
	log := filepath.Join(data, "gateway.log")
	process := harness.StartProcess(t, "millrace gateway", log, command)
	harness.Eventually(t, patience, "the gateway is ready", func(ctx context.Context) error { return healthy(ctx, health) })

	s.fixture = &fixture{t: t, bootstrap: at(first)}
	s.tls = &tls.Config{RootCAs: pool(t, ca.File), MinVersion: tls.VersionTLS13}
	t.Run("scram", func(t *testing.T) { s.openNotClosed(t, password("alice", "wonder")) })
	t.Run("wrong password", func(t *testing.T) { s.refused(t, password("alice", "wander")) })
	t.Run("iam", func(t *testing.T) { s.openNotClosed(t, byKey(key.ID, key.Secret)) })
	t.Run("wrong key", func(t *testing.T) { s.refused(t, byKey(key.ID, key.Secret+"x")) })
	t.Run("no login", func(t *testing.T) { s.refused(t, nil) })
	t.Run("without TLS", func(t *testing.T) { s.with(t, first, nil).refused(t, password("alice", "wonder")) })
	t.Run("certificate", func(t *testing.T) { s.certificates(t, first+ports, ca, stranger) })

	if code := process.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	noSecrets(t, log, key.Secret, "wonder")
	if n := noSecrets(t, dir, key.Secret, "wonder"); n == 0 {
		t.Error("no trail is written")
	}
}

// certificates: who shows a certificate of the CA of clients is its name; others are not let in.
func (s *secured) certificates(t *testing.T, port int, ca, stranger *harness.CA) {
	shows := func(from *harness.CA, name string) *secured {
		c := from.Issue(t, name)
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			t.Fatal(err)
		}
		return s.with(t, port, &tls.Config{RootCAs: s.tls.RootCAs, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	}
	shows(ca, "carol").openNotClosed(t, nil)
	shows(stranger, "carol").refused(t, nil)
	s.with(t, port, s.tls).refused(t, nil)
	if topics, err := kadm.NewClient(shows(ca, "erin").as(t, nil)).ListTopics(deadline(t)); err != nil || len(topics) != 0 {
		t.Errorf("erin, who may see nothing, sees %v, %v", topics.Names(), err)
	}
}

// with is s as seen by clients of another port, or with other certificates.
func (s *secured) with(t *testing.T, port int, config *tls.Config) *secured {
	other := *s
	other.fixture, other.tls = &fixture{t: t, bootstrap: fmt.Sprintf("127.0.0.1:%d", port)}, config
	return &other
}

// openRooms opens what the gateway follows, to fill it.
func openRooms(t *testing.T, store kv.KV, kms string) *secured {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	run := func(f func(context.Context) error) { work.Go(func() { _ = f(ctx) }) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(keys.CreateKeyring(kms, disk.OS("")))
	wrap, err := keys.OpenKMS(ctx, kms, disk.OS(""))
	must(err)
	ring, err := keys.OpenRing(ctx, store, "secrets", wrap, keys.World{Clock: clock.System{}, Log: log})
	must(err)
	t.Cleanup(func() { stop(); work.Wait(); ring.Close() })
	s := &secured{trail: &recorder{}}
	s.acls, err = acl.Open(ctx, store, prefix+"acls/")
	must(err)
	run(s.acls.Run)
	s.users, err = users.OpenStore(ctx, users.Config{Prefix: prefix}, users.World{KV: store, Sealer: ring, Random: func(b []byte) { _, _ = rand.Read(b) }, Log: log})
	must(err)
	run(s.users.Run)
	view := iam.NewView(store, ring, clock.System{}, log, iam.ViewConfig{Cluster: prefix})
	run(view.Run)
	s.iam = iam.NewStore(store, ring, clock.System{}, view)
	_, err = s.iam.OpenAccount(ctx)
	must(err)
	return s
}

func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	p := x509.NewCertPool()
	if err != nil || !p.AppendCertsFromPEM(text) {
		t.Fatal(file, err)
	}
	return p
}

func healthy(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// noSecrets looks for secrets in all files of a folder, or one file, and returns how many there are that hold something.
func noSecrets(t *testing.T, root string, secrets ...string) (n int) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if len(text) > 0 {
			n++
		}
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds a secret", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}
