package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
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

// secured is a cluster that asks who comes.
type secured struct {
	*harness.Cluster
	t testing.TB
}

// serveSecure starts one. Only /healthz is asked without a login.
func serveSecure(t *testing.T, options harness.MillraceOptions, args ...string) secured {
	t.Helper()
	t.Setenv("AWS_REGION", "us-east-1") // franz-go finds no region in a loopback address
	options.KeepRebalanceDelay = true
	options.Args = append(options.Args, args...)
	return secured{harness.StartMillrace(t, options), t}
}

// root is the key that the first start has made.
func (s secured) root() (id, secret string) {
	s.t.Helper()
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	path := filepath.Join(s.Dir, "secure", "root.json")
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &key)
	}
	if err != nil || key.ID == "" || key.Secret == "" {
		s.t.Fatalf("root key: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Fatalf("root key may be read by others: %v, %v", info.Mode(), err)
	}
	return key.ID, key.Secret
}

func (s secured) ca() string { return filepath.Join(s.Dir, "secure", "ca.pem") }

func (s secured) trust(certs ...tls.Certificate) *tls.Config {
	s.t.Helper()
	text, err := os.ReadFile(s.ca())
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		s.t.Fatal("no certificate of the authority")
	}
	return &tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS13}
}

// at is the address of the first broker's listener.
func (s secured) at(step int) string {
	s.t.Helper()
	host, text, err := net.SplitHostPort(s.Bootstrap)
	if err != nil {
		s.t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+step))
}

// client logs in at a listener; m nil: not by SASL.
func (s secured) client(step int, config *tls.Config, m sasl.Mechanism, opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	all := []kgo.Opt{kgo.SeedBrokers(s.at(step)), kgo.DialTLSConfig(config), kgo.RetryTimeout(20 * time.Second), kgo.RecordDeliveryTimeout(20 * time.Second)}
	if m != nil {
		all = append(all, kgo.SASL(m))
	}
	c, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s secured) iam(opts ...kgo.Opt) *kgo.Client {
	id, secret := s.root()
	m := aws.Auth{AccessKey: id, SecretKey: secret}.AsManagedStreamingIAMMechanism()
	return s.client(portIAM, s.trust(), m, opts...)
}

// verb runs millrace with the root key, and returns what it prints.
func (s secured) verb(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// command is millrace with the root key.
func (s secured) command(args ...string) *exec.Cmd {
	id, secret := s.root()
	cmd := exec.CommandContext(s.t.Context(), harness.MillraceBinary(s.t), args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1", "MILLRACE_CA="+s.ca(), "MILLRACE_API=https://"+s.API)
	return cmd
}

// certificate has one issued for a client.
func (s secured) certificate(name string) tls.Certificate {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), name)
	s.verb("cert", "issue", "--name", name, "--out", dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

// user makes one that logs in by a password.
func (s secured) user(name, password string) sasl.Mechanism {
	s.t.Helper()
	change := kadm.UpsertSCRAM{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}
	done, err := kadm.NewClient(s.iam()).AlterUserSCRAMs(s.t.Context(), nil, []kadm.UpsertSCRAM{change})
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		s.t.Fatalf("user %s: %v", name, err)
	}
	return scram.Auth{User: name, Pass: password}.AsSha512Mechanism()
}

// works writes a record by a client and reads it by the same.
func works(t testing.TB, who string, c *kgo.Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	value := who + time.Now().String()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatalf("%s: produce: %v", who, err)
	}
	c.AddConsumeTopics(topic)
	for {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%s: consume: %v", who, err)
		}
		found := false
		fetches.EachRecord(func(r *kgo.Record) { found = found || string(r.Value) == value })
		if found {
			return
		}
	}
}

// keptOut fails unless the client is kept out.
func keptOut(t testing.TB, who string, c *kgo.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err == nil {
		t.Errorf("%s got in", who)
	}
}

func (s secured) topic(name string, partitions int32) {
	s.t.Helper()
	if _, err := kadm.NewClient(s.iam()).CreateTopic(s.t.Context(), partitions, 1, nil, name); err != nil {
		s.t.Fatal(err)
	}
}

// TestServeSecure logs in by every method, before and after a restart, and by none.
func TestServeSecure(t *testing.T) {
	options := harness.MillraceOptions{Dir: filepath.Join(t.TempDir(), "data")}
	s := serveSecure(t, options, "--secure")
	s.topic("t", 2)
	alice := s.user("alice", "wonderland")
	cert := s.certificate("bob")
	all := func(s secured) {
		works(t, "IAM", s.iam(), "t")
		works(t, "SCRAM", s.client(portScram, s.trust(), alice), "t")
		works(t, "mTLS", s.client(portTLS, s.trust(cert), nil), "t")
	}
	all(s)
	id, secret := s.root()
	other := "A" + secret[1:]
	if other == secret {
		other = "B" + secret[1:]
	}
	short := kgo.RetryTimeout(time.Second)
	keptOut(t, "a wrong password", s.client(portScram, s.trust(), scram.Auth{User: "alice", Pass: "looking glass"}.AsSha512Mechanism(), short))
	keptOut(t, "an unknown user", s.client(portScram, s.trust(), scram.Auth{User: "eve", Pass: "wonderland"}.AsSha512Mechanism(), short))
	keptOut(t, "a wrong secret", s.client(portIAM, s.trust(), aws.Auth{AccessKey: id, SecretKey: other}.AsManagedStreamingIAMMechanism(), short))
	keptOut(t, "no certificate", s.client(portTLS, s.trust(), nil, short))
	keptOut(t, "no login at IAM", s.client(portIAM, s.trust(), nil, short))
	keptOut(t, "a client at the internal listener", s.client(3, s.trust(cert), nil, short))
	for _, step := range []int{0, 1} {
		if nc, err := net.DialTimeout("tcp", s.at(step), time.Second); err == nil {
			_ = nc.Close()
			t.Errorf("something listens %d ports above PLAINTEXT's", step)
		}
	}
	if code := s.status("http://" + s.API + "/millrace/v1/clusters/default"); code != http.StatusForbidden {
		t.Errorf("the API without TLS: %d", code)
	}
	if code := s.status("https://" + s.API + "/millrace/v1/clusters/default"); code != http.StatusForbidden {
		t.Errorf("the API without a signature: %d", code)
	}
	if out := s.verb("cluster", "hosts"); !strings.Contains(out, "local") {
		t.Errorf("hosts: %s", out)
	}
	s.Stop(t)
	// What it was told stays: nobody turns it into an open one by forgetting a flag.
	options.KafkaPort, options.APIPort = portIn(t, s.Bootstrap), portIn(t, s.API)
	all(serveSecure(t, options))
}

func portIn(t testing.TB, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// status asks without a signature.
func (s secured) status(url string) int {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: s.trust(), DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestSecureBrokers has three of them reach one another: transactions and groups go over all; a roll, a kill and a scale keep clients going.
func TestSecureBrokers(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	s := serveSecure(t, harness.MillraceOptions{Brokers: 3, MostBrokers: 4}, "--secure")
	s.topic("t", 12)
	alice := s.user("alice", "wonderland")
	works(t, "IAM", s.iam(), "t")
	works(t, "SCRAM", s.client(portScram, s.trust(), alice), "t")
	s.transaction("first")
	s.verb("cluster", "roll")
	works(t, "after a roll", s.iam(), "t")
	s.transaction("rolled")
	s.verb("cluster", "scale", "--brokers", "4")
	s.verb("cluster", "scale", "--brokers", "2")
	works(t, "after a scale", s.client(portScram, s.trust(), alice), "t")
	s.transaction("scaled")
}

// transaction writes to all partitions at once, and reads what is committed.
func (s secured) transaction(id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	c := s.iam(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := c.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	for p := range int32(12) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: p, Value: []byte(id)}).FirstErr(); err != nil {
			s.t.Fatalf("transaction %s: %v", id, err)
		}
	}
	if err := c.EndTransaction(ctx, kgo.TryCommit); err != nil {
		s.t.Fatalf("commit of %s: %v", id, err)
	}
	group := "g" + id
	reader := s.iam(kgo.ConsumeTopics("t"), kgo.ConsumerGroup(group), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer reader.Close()
	for seen := map[int32]bool{}; len(seen) < 12; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			s.t.Fatalf("read %s: %v, seen %v", id, err, seen)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) == id {
				seen[r.Partition] = true
			}
		})
	}
	if err := reader.CommitUncommittedOffsets(ctx); err != nil {
		s.t.Fatal(fmt.Errorf("commit offsets of %s: %w", group, err))
	}
}
