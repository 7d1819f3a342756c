package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"millrace/test/harness"
)

// from dials from an address of this host.
func from(address string) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, to string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
		return d.DialContext(ctx, network, to)
	})
}

// TestSecurityGroups lets in from some networks only, from one moment to the next.
func TestSecurityGroups(t *testing.T) {
	s := serveSecure(t, harness.MillraceOptions{}, "--auth", "plaintext,iam")
	at := func(address string) *kgo.Client {
		return s.plain(from(address), kgo.RetryTimeout(time.Second))
	}
	in := func(address string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return at(address).Ping(ctx)
	}
	live, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.7")}}).DialContext(t.Context(), "tcp", s.at(0))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := in("127.0.0.7"); err != nil {
		t.Fatalf("before there are rules: %v", err)
	}
	s.verb("network", "group", "create", "office", "--allow", "127.0.0.8,192.0.2.0/24")
	s.verb("network", "guard", "CLIENT", "--group", "office")
	if err := live.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	var timeout net.Error
	if _, err := live.Read(one[:]); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("a connection that is no longer allowed goes on: %v", err)
	}
	if err := in("127.0.0.7"); err == nil {
		t.Error("who is in no group got in")
	}
	if err := in("127.0.0.8"); err != nil {
		t.Errorf("who is in the group: %v", err)
	}
	s.topic("t", 1)
	works(t, "the listener that no group guards", s.iam(), "t")
	s.verb("network", "group", "set", "office", "--allow", "127.0.0.7")
	harness.Eventually(t, 10*time.Second, "the group's new networks", func(context.Context) error {
		if in("127.0.0.8") == nil {
			return errors.New("who is out of the group is still let in")
		}
		return in("127.0.0.7")
	})
	if code, body := get(t, "http://"+s.API+"/healthz"); code != 200 {
		t.Errorf("the agent is kept out: %d %s", code, body)
	}
	s.verb("network", "guard", "CLIENT")
	s.verb("network", "group", "delete", "office")
}

func (s secured) plain(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.at(0)))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// TestPrivateConnection has a listener of its own for a client network, with the logins of another.
func TestPrivateConnection(t *testing.T) {
	s := serveSecure(t, harness.MillraceOptions{Brokers: 2}, "--secure")
	s.topic("t", 4)
	port := harness.FreePorts(t, 16)
	s.verb("network", "connection", "request", "analytics", "--listener", "CLIENT_IAM", "--port", strconv.Itoa(port), "--advertise", "b.analytics.test")
	// The name is known to clients alone: it stands for this host.
	dial := func(ctx context.Context, network, to string) (net.Conn, error) {
		_, at, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		config := s.trust()
		config.ServerName = "b.analytics.test"
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", at))
	}
	private := func(opts ...kgo.Opt) *kgo.Client {
		id, secret := s.root()
		c, err := kgo.NewClient(append([]kgo.Opt{
			kgo.SeedBrokers("b.analytics.test:" + strconv.Itoa(port)), kgo.Dialer(dial),
			kgo.SASL(aws.Auth{AccessKey: id, SecretKey: secret}.AsManagedStreamingIAMMechanism()),
		}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	keptOut(t, "a connection that nobody has accepted", private(kgo.RetryTimeout(time.Second)))
	s.verb("network", "connection", "accept", "analytics")
	told := map[string]bool{}
	harness.Eventually(t, 20*time.Second, "the private listeners", func(ctx context.Context) error {
		c := private(kgo.RetryTimeout(time.Second))
		defer c.Close()
		brokers, err := kadm.NewClient(c).ListBrokers(ctx)
		if err != nil {
			return err
		}
		clear(told)
		for _, b := range brokers {
			told[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = true
		}
		if len(brokers) != 2 {
			return fmt.Errorf("clients are told of %v", told)
		}
		// Each broker takes up a certificate with the name by itself, and is told of before that.
		for broker := range told {
			connection, err := dial(ctx, "tcp", broker)
			if err != nil {
				return fmt.Errorf("%s: %w", broker, err)
			}
			if err := connection.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	private1 := private()
	works(t, "by the private connection", private1, "t")
	for k := range 2 {
		if b := net.JoinHostPort("b.analytics.test", strconv.Itoa(port+k)); !told[b] {
			t.Errorf("clients of the private connection are told of %v, not of %s", told, b)
		}
	}
	s.verb("network", "connection", "reject", "analytics")
	keptOut(t, "a connection that was rejected", private(kgo.RetryTimeout(time.Second)))
	works(t, "by the listener that it stood for", s.iam(), "t")
}

// TestLoginsOfARunningCluster has a cluster whose brokers run on ask for logins, one broker after the other, while clients of the old and
// of the new way go on as long as theirs is there.
func TestLoginsOfARunningCluster(t *testing.T) {
	options := harness.MillraceOptions{Dir: filepath.Join(t.TempDir(), "data"), Brokers: 3, KeepRebalanceDelay: true}
	open := harness.StartMillrace(t, options)
	spread(t, open, "t", 6, 3)
	produceAll(t, open, "t", 6, "v")
	open.Process().Kill()
	options.KafkaPort, options.APIPort = portIn(t, open.Bootstrap), portIn(t, open.API)
	s := serveSecure(t, options, "--secure")
	out := ""
	harness.Eventually(t, 2*time.Minute, "the operation", func(context.Context) error {
		if out = s.verb("cluster", "operations"); !strings.Contains(out, "DONE") {
			return errors.New(out)
		}
		return nil
	})
	for _, step := range []int{0, 100, 200} {
		if nc, err := net.DialTimeout("tcp", s.at(step), time.Second); err == nil {
			_ = nc.Close()
			t.Errorf("something listens at PLAINTEXT's port + %d", step)
		}
	}
	works(t, "IAM", s.iam(), "t")
	keptOut(t, "PLAINTEXT", s.plain(kgo.RetryTimeout(time.Second)))
}

// TestSecureHosts has brokers on two hosts, which reach one another by their certificates.
func TestSecureHosts(t *testing.T) {
	harness.Long(t, "make suite SUITE=e2e")
	etcd := harness.StartEtcd(t, harness.EtcdOptions{Members: 1, TLS: true})
	kms := []string{"--kms", "keyring://" + filepath.Join(t.TempDir(), "keyring.json")}
	s := serveSecure(t, harness.MillraceOptions{
		Host: loopbackHost(1), Etcd: etcd, MostBrokers: 4, Args: append([]string{"--zone", "z1", "--store", "file://" + filepath.Join(t.TempDir(), "store")}, kms...),
	}, "--secure")
	harness.StartAgent(t, harness.AgentOptions{Host: loopbackHost(2), Etcd: etcd, Zone: "z2", Args: append(kms, "--secure")})
	s.topic("t", 12)
	s.verb("cluster", "scale", "--brokers", "2")
	works(t, "IAM", s.iam(), "t")
	works(t, "SCRAM", s.client(portScram, s.trust(), s.user("alice", "wonderland")), "t")
	s.transaction("both")
	s.verb("cluster", "roll")
	s.transaction("rolled")
}
