package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// installation is a running `millrace serve` with client certificates.
type installation struct {
	*harness.Cluster
	t    *testing.T
	env  []string
	at   string // address of the listener with TLS
	keep string // folder for certificates
}

func serve(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, keep: t.TempDir()}
	i.Cluster = harness.StartMillrace(t, harness.MillraceOptions{KeepRebalanceDelay: true, Args: []string{"--auth", "mtls"}})
	host, port, err := net.SplitHostPort(i.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	const above = 2 // as MSK numbers its listeners
	i.at = net.JoinHostPort(host, strconv.Itoa(number+above))
	i.env = os.Environ()
	exports := regexp.MustCompile(`(?m)^export ([A-Z_0-9]+)='?(.*?)'?;?$`)
	for _, m := range exports.FindAllStringSubmatch(i.run("env", "--data", i.Dir, "--shell", "sh"), -1) {
		i.env = append(i.env, m[1]+"="+m[2])
	}
	return i
}

// run runs a verb, which must succeed.
func (i *installation) run(args ...string) string {
	i.t.Helper()
	command := exec.Command(harness.MillraceBinary(i.t), args...)
	command.Env = i.env
	var failed strings.Builder
	command.Stderr = &failed
	output, err := command.Output()
	if err != nil {
		i.t.Fatalf("millrace %v: %v: %s%s", args, err, output, failed.String())
	}
	return string(output)
}

// issue has a certificate made for a client.
func (i *installation) issue(name string) (cfg *tls.Config, dir string) {
	i.t.Helper()
	dir = filepath.Join(i.keep, name)
	i.run("cert", "issue", "--name", name, "--out", dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		i.t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		i.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, dir
}

// shown is the serial number that the broker shows in a new handshake.
func (i *installation) shown(cfg *tls.Config) string {
	i.t.Helper()
	c, err := tls.Dial("tcp", i.at, cfg)
	if err != nil {
		i.t.Fatal(err)
	}
	defer c.Close()
	return fmt.Sprintf("%032x", c.ConnectionState().PeerCertificates[0].SerialNumber)
}

// load produces until it is stopped, and counts what was acknowledged.
type load struct {
	stop  func()
	acked atomic.Int64
}

func (i *installation) produce(cfg *tls.Config) *load {
	i.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(i.at), kgo.DialTLSConfig(cfg), kgo.DefaultProduceTopic("load"), kgo.ProducerLinger(0))
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(i.t.Context())
	l := &load{}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := client.ProduceSync(i.t.Context(), kgo.StringRecord(fmt.Sprintf("%d-%d", w, n))).FirstErr(); err != nil {
					i.t.Errorf("record %d of %d: %v", n, w, err)
					return
				}
				l.acked.Add(1)
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		client.Close()
	})
	i.t.Cleanup(l.stop)
	return l
}

// TestRenewedUnderLoad: brokers of a running installation get new certificates and a new authority, while clients produce and come anew:
// no error, no lost record.
func TestRenewedUnderLoad(t *testing.T) {
	i := serve(t)
	cfg, _ := i.issue("load")
	admin, err := kgo.NewClient(kgo.SeedBrokers(i.at), kgo.DialTLSConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopic(t.Context(), 1, 1, nil, "load"); err != nil {
		t.Fatal(err)
	}
	l := i.produce(cfg)
	last := i.shown(cfg)
	for n := range 4 {
		if n == 2 {
			i.run("cert", "ca", "replace")
		} else {
			i.run("cert", "revoke", last)
		}
		before, end := l.acked.Load(), time.Now().Add(patience)
		for i.shown(cfg) == last || l.acked.Load() < before+100 {
			if time.Now().After(end) || t.Failed() {
				t.Fatalf("certificate %d is not shown, or no record goes in", n)
			}
		}
		last = i.shown(cfg)
	}
	l.stop()
	ends, err := kadm.NewClient(admin).ListEndOffsets(t.Context(), "load")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("load", 0); o.Offset != l.acked.Load() {
		t.Errorf("%d records acknowledged, %d are there", l.acked.Load(), o.Offset)
	}
	t.Logf("%d records while 4 certificates followed each other", l.acked.Load())
}

// TestRevokedClientIsCutOff, by the verb, from a running broker.
func TestRevokedClientIsCutOff(t *testing.T) {
	i := serve(t)
	good, _ := i.issue("good")
	bad, _ := i.issue("bad")
	live, err := tls.Dial("tcp", i.at, bad)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	// A request, so that the connection is surely let in: ApiVersions 0.
	if _, err := live.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	_ = live.SetReadDeadline(time.Now().Add(patience))
	if _, err := live.Read(make([]byte, 1<<16)); err != nil {
		t.Fatal(err)
	}
	i.run("cert", "revoke", "--name", "bad", "--reason", "test")
	for {
		if _, err := live.Read(make([]byte, 1<<16)); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection goes on")
			}
			break
		}
	}
	if c, err := tls.Dial("tcp", i.at, bad); err == nil {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it comes in anew: %v", err)
		}
		_ = c.Close()
	}
	i.shown(good)
	var list []struct {
		Name, State, Reason string
	}
	if err := json.Unmarshal([]byte(i.run("cert", "show", "bad", "--output", "json")), &list); err != nil || len(list) != 1 || list[0].State != "revoked" || list[0].Reason != "test" {
		t.Errorf("shown: %+v, %v", list, err)
	}
}

// TestJavaTakesTheBundle: Kafka's own tools work with the files as they come.
func TestJavaTakesTheBundle(t *testing.T) {
	jars := harness.Require(t, harness.Java)
	i := serve(t)
	_, dir := i.issue("jürgen, o'neill")
	args := func(what ...string) []string {
		return harness.JavaArgs(jars, "org.apache.kafka.tools.TopicCommand",
			append([]string{"--bootstrap-server", i.at, "--command-config", filepath.Join(dir, "client.properties")}, what...)...)
	}
	for _, what := range [][]string{{"--create", "--topic", "from-java"}, {"--list"}} {
		command := exec.Command("java", args(what...)...)
		command.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // for the name of the folder
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "from-java") {
			t.Fatalf("%v: %v: %s", what, err, output)
		}
	}
}

// TestScanServe: T1 for the listeners of a running installation: the brokers', and the API's.
func TestScanServe(t *testing.T) {
	program := harness.Require(t, harness.SSLScan)
	i := serve(t)
	_, dir := i.issue("scan")
	for name, at := range map[string]string{"broker": i.at, "API": i.API} {
		output, err := exec.Command(program, "--xml=-", "--certs="+filepath.Join(dir, "client.pem"), "--pk="+filepath.Join(dir, "client.key"), at).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, output)
		}
		r := readReport(t, output)
		r.check(t, "millrace")
		if t.Failed() {
			t.Fatalf("%s: %s", name, output)
		}
	}
}
