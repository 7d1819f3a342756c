package secure

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/test/harness"
)

// Ports of listeners above that of PLAINTEXT.
const (
	portTLS   = 2
	portScram = 4
	portIAM   = 6
)

// way is one way to a cluster.
type way struct {
	name      string
	base      string // the way that it is compared with; "": none
	bootstrap string
	admin     string // where anybody may make topics
	opts      []kgo.Opt
	pids      []int // whose CPU counts: the broker, and first what stands in front of it
	rounds    []figures
}

// express is a millrace cluster that lets everybody in by every method.
type express struct {
	*harness.Cluster
	pid    int
	config *tls.Config
	iam    kgo.Opt
	key    struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
}

func startExpress(t testing.TB, args ...string) *express {
	t.Helper()
	x := &express{Cluster: harness.StartMillrace(t, harness.MillraceOptions{
		KeepRebalanceDelay: true, Args: append([]string{"--auth", "plaintext,tls,mtls,scram,iam"}, args...),
	})}
	var err error
	if x.pid, err = x.BrokerPID(); err != nil {
		t.Fatal(err)
	}
	x.config = trust(t, x.ca())
	text, err := os.ReadFile(filepath.Join(x.Dir, "secure", "root.json"))
	if err == nil {
		err = json.Unmarshal(text, &x.key)
	}
	if err != nil {
		t.Fatalf("root key: %v", err)
	}
	x.iam = kgo.SASL(aws.Auth{AccessKey: x.key.ID, SecretKey: x.key.Secret}.AsManagedStreamingIAMMechanism())
	return x
}

func (x *express) ca() string { return filepath.Join(x.Dir, "secure", "ca.pem") }

func trust(t testing.TB, ca string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s: no certificate", ca)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

// at is the address of a listener.
func (x *express) at(t testing.TB, step int) string {
	t.Helper()
	host, text, err := net.SplitHostPort(x.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+step))
}

func (x *express) way(t testing.TB, name, base string, step int, opts ...kgo.Opt) *way {
	t.Helper()
	if step != 0 {
		opts = append(opts, kgo.DialTLSConfig(x.config))
	}
	return &way{name: name, base: base, bootstrap: x.at(t, step), admin: x.Bootstrap, opts: opts, pids: []int{x.pid}}
}

// certificate has one issued to a client.
func (x *express) certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), x.Binary(), "cert", "issue", "--name", name, "--out", dir)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+x.key.ID, "AWS_SECRET_ACCESS_KEY="+x.key.Secret, "MILLRACE_CA="+x.ca(), "MILLRACE_API=https://"+x.API)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("millrace cert issue: %v\n%s", err, out)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// user makes one that logs in by a password.
func (x *express) user(t testing.TB, name, password string) kgo.Opt {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(x.Bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	user := kadm.UpsertSCRAM{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}
	done, err := kadm.NewClient(c).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{user})
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		t.Fatalf("user %s: %v", name, err)
	}
	return kgo.SASL(scram.Auth{User: name, Pass: password}.AsSha512Mechanism())
}

var errShown = errors.New("found")

// encrypted says whether a record that is produced cannot be found in the cluster's files (BS4).
func (x *express) encrypted(t testing.TB) bool {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(x.Bootstrap), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, nil, "marker"); err != nil {
		t.Fatal(err)
	}
	marker := []byte("a marker that nothing else holds 7d1f0c9a")
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "marker", Value: marker}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(x.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && bytes.Contains(text, marker) {
			err = errShown
		}
		return err
	})
	if err != nil && !errors.Is(err, errShown) {
		t.Fatal(err)
	}
	return err == nil
}

// startKafka starts Apache Kafka with a plain and a TLS listener.
func startKafka(t testing.TB, heap int) (plain, secured *way) {
	t.Helper()
	ca := harness.NewCA(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(harness.FreePorts(t, 1)))
	kafka := harness.StartKafka(t, harness.KafkaOptions{
		HeapMB: heap, Listeners: map[string]string{"SSL": address},
		Properties: map[string]string{
			"listener.security.protocol.map":        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL",
			"ssl.keystore.type":                     "PEM",
			"ssl.keystore.location":                 keystore(t, ca.Issue(t, "kafka", "127.0.0.1")),
			"log.retention.check.interval.ms":       "300000",
			"group.initial.rebalance.delay.ms":      "0",
			"log.segment.delete.delay.ms":           "1000",
			"ssl.endpoint.identification.algorithm": "",
		},
	})
	pid, err := kafka.BrokerPID()
	if err != nil {
		t.Fatal(err)
	}
	plain = &way{name: nameKafka, bootstrap: kafka.Bootstrap, admin: kafka.Bootstrap, pids: []int{pid}}
	secured = &way{name: nameKafka + ", TLS", base: plain.name, bootstrap: address, admin: kafka.Bootstrap, pids: []int{pid}, opts: []kgo.Opt{kgo.DialTLSConfig(trust(t, ca.File))}}
	return plain, secured
}

// keystore is a certificate with its key as Apache Kafka wants them: in one file, the key in PKCS #8.
func keystore(t testing.TB, c harness.Cert) string {
	t.Helper()
	text, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s: no key", c.Key)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(c.Cert)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keystore.pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), chain...)
	if err := os.WriteFile(path, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startGateway runs one in front of a cluster.
func startGateway(t testing.TB, upstream *way) *way {
	t.Helper()
	const ports = 5 // the bootstrap port, the brokers' and that of health
	port := harness.FreePorts(t, ports)
	listen, health := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+ports-1)
	command := exec.Command(harness.MillraceBinary(t), "gateway", "--upstream", upstream.bootstrap, "--listen", listen, "--health", health)
	process := harness.StartProcess(t, "millrace gateway", filepath.Join(t.TempDir(), "gateway.log"), command)
	t.Cleanup(func() { process.Stop(t) })
	harness.Eventually(t, time.Minute, "the gateway is ready", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/healthz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		return errors.Join(err, response.Body.Close())
	})
	return &way{name: nameKafka + " behind the gateway", base: upstream.name, bootstrap: listen, admin: upstream.admin, pids: append([]int{process.PID()}, upstream.pids...)}
}
