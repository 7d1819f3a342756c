package gateway

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// installation is a `millrace serve --secure` of which verbs are asked.
type installation struct {
	*harness.Cluster
	t   *testing.T
	env []string
}

func startInstallation(t *testing.T, etcd *harness.Etcd, args ...string) *installation {
	t.Helper()
	options := harness.MillraceOptions{Etcd: etcd, KeepRebalanceDelay: true, Args: append([]string{"--secure"}, args...)}
	s := &installation{harness.StartMillrace(t, options), t, nil}
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	text, err := os.ReadFile(filepath.Join(s.Dir, "secure", "root.json"))
	if err == nil {
		err = json.Unmarshal(text, &key)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"AWS_ACCESS_KEY_ID=" + key.ID, "AWS_SECRET_ACCESS_KEY=" + key.Secret, "AWS_REGION=us-east-1", "MILLRACE_CA=" + s.ca(), "MILLRACE_API=https://" + s.API,
	}
	return s
}

func (s *installation) ca() string { return filepath.Join(s.Dir, "secure", "ca.pem") }

// at is the address of the broker's listener so many ports above that of PLAINTEXT.
func (s *installation) at(step int) string {
	host, text, _ := net.SplitHostPort(s.Bootstrap)
	port, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+step))
}

func (s *installation) verb(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.Binary(), args...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// issue has a certificate made for a client and returns its folder.
func (s *installation) issue(name string) string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), name)
	s.verb("cert", "issue", "--name", name, "--out", dir)
	return dir
}

func (s *installation) shows(dir string) *tls.Config {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool(s.t, s.ca()), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
}

// logSays waits until a process has written something.
func logSays(t *testing.T, log, what string) {
	t.Helper()
	harness.Eventually(t, patience, what, func(context.Context) error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), what) {
			err = errors.New("not yet")
		}
		return err
	})
}

// held is one open connection.
type held struct {
	*tls.Conn
	asked int32
}

func hold(t *testing.T, address string, config *tls.Config) *held {
	t.Helper()
	c, err := (&tls.Dialer{Config: config}).DialContext(deadline(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	h := &held{Conn: c.(*tls.Conn)}
	t.Cleanup(func() { _ = h.Close() })
	if err := h.ask(); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request over it and reads the answer.
func (h *held) ask() error {
	h.asked++
	_ = h.SetDeadline(time.Now().Add(patience))
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("held")).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), h.asked)
	if _, err := h.Write(request); err != nil {
		return err
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(h, head); err != nil {
		return err
	}
	if id := int32(binary.BigEndian.Uint32(head[4:])); id != h.asked {
		return fmt.Errorf("answer to %d, not %d", id, h.asked)
	}
	_, err := io.CopyN(io.Discard, h, int64(binary.BigEndian.Uint32(head))-4)
	return err
}

// ends waits until the other side closes it.
func (h *held) ends(t *testing.T) {
	t.Helper()
	_ = h.SetReadDeadline(time.Now().Add(patience))
	if n, err := h.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open: %d bytes, %v", n, err)
	}
}

// serial is that of the certificate which a new connection is shown.
func serial(t *testing.T, address string, config *tls.Config) string {
	t.Helper()
	h := hold(t, address, config)
	defer h.Close()
	return h.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

// TestAuthority runs `millrace gateway --tls` with an installation whose authority signs for it: not before an administrator has registered
// it, then for clients by certificate; a certificate that is revoked is refused and its connection closed, and the gateway's own is renewed
// while others stay connected.
func TestAuthority(t *testing.T) {
	etcd := harness.StartEtcd(t, harness.EtcdOptions{})
	s := startInstallation(t, etcd, "--super-users", "User:CN=upstream")
	up := s.issue("upstream")
	alice, bob := s.shows(s.issue("alice")), s.shows(s.issue("bob"))
	const ports = 4
	first := harness.FreePorts(t, ports)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	listen, health := at(first), at(first+ports-1)
	log := filepath.Join(t.TempDir(), "gateway.log")
	process := harness.StartProcess(t, "millrace gateway", log, exec.Command(s.Binary(), "gateway", "--upstream", s.at(2), "--upstream-ca", s.ca(),
		"--upstream-cert", filepath.Join(up, "client.pem"), "--upstream-key", filepath.Join(up, "client.key"), "--listen", listen, "--login", "mtls", "--tls",
		"--health", health, "--etcd", etcd.URLs(), "--kms", "keyring://"+filepath.Join(s.Dir, "secure", "keyring.json"), "--data", t.TempDir(), "--name", "gw1",
		"--super", "User:CN=alice"))
	logSays(t, log, "gateway/gw1 is not registered with `millrace cert gateway add`")
	s.verb("cert", "gateway", "add", "gw1", "--address", "127.0.0.1")
	harness.Eventually(t, patience, "the gateway is ready", func(ctx context.Context) error { return healthy(ctx, health) })

	g := &secured{fixture: &fixture{t: t, bootstrap: listen}}
	admin := kadm.NewClient(g.with(t, first, alice).as(t, nil))
	if _, err := admin.CreateTopic(deadline(t), 1, 1, nil, "open"); err != nil {
		t.Fatal(err)
	}
	if topics, err := kadm.NewClient(g.with(t, first, bob).as(t, nil)).ListTopics(deadline(t)); err != nil || len(topics) != 0 {
		t.Errorf("bob, who may see nothing, sees %v, %v", topics.Names(), err)
	}
	stranger := harness.NewCA(t).Issue(t, "alice")
	pair, err := tls.LoadX509KeyPair(stranger.Cert, stranger.Key)
	if err != nil {
		t.Fatal(err)
	}
	g.with(t, first, &tls.Config{RootCAs: alice.RootCAs, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}).refused(t, nil)

	before, stays, goes := serial(t, listen, bob), hold(t, listen, bob), hold(t, listen, alice)
	s.verb("cert", "revoke", "--name", "alice")
	goes.ends(t)
	g.with(t, first, alice).refused(t, nil)
	s.verb("cert", "revoke", "--name", "gateway/gw1")
	harness.Eventually(t, patience, "another certificate of the gateway", func(context.Context) error {
		if serial(t, listen, bob) == before {
			return errors.New("the revoked one is shown")
		}
		return nil
	})
	if err := stays.ask(); err != nil {
		t.Errorf("a connection whose certificate counts was closed: %v", err)
	}
	if code := process.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
