package logins

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv/etcd"
	"millrace/secure/iam"
	"millrace/secure/keys"
	"millrace/test/harness"
)

const (
	region   = "us-east-1"
	cluster  = "default"
	prefix   = "clusters/" + cluster + "/"
	patience = 60 * time.Second
)

// site is an installation: express by serve --secure, and a gateway with the same users, keys and ACLs in front of a plain Apache Kafka.
type site struct {
	t       *testing.T
	express *harness.Cluster
	kafka   *harness.Cluster
	gateway string // address for clients
	ca      string // PEM file of who all listeners' certificates are from
	account string

	kv    *etcd.Client
	ring  *keys.Ring
	store *iam.Store
	view  *iam.View
	root  iam.NewKey

	// Credentials that were good, or are good elsewhere.
	gone           iam.NewKey   // deleted
	ended, foreign harness.Cert // of a client: not valid any more, and of an authority that nobody here trusts

	tapped    harness.Cert // of taps
	taps      []*tap       // that have heard good logins
	addresses *addresses
}

// target is a cluster to log in at.
type target struct {
	name             string
	tls, scram, auth string // addresses for each way to log in; "": none
	id               string // of the cluster
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) deadline() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func openSite(t *testing.T) *site {
	t.Helper()
	t.Setenv("AWS_REGION", region) // franz-go finds no region in a loopback address
	records := harness.StartEtcd(t, harness.EtcdOptions{})
	s := &site{t: t, addresses: new(addresses)}
	s.express = harness.StartMillrace(t, harness.MillraceOptions{Etcd: records, KeepRebalanceDelay: true, Args: []string{"--secure"}})
	s.kafka = harness.StartKafka(t, harness.KafkaOptions{})
	warm(t, s.kafka.Bootstrap)
	text, err := os.ReadFile(filepath.Join(s.express.Dir, "secure", "root.json"))
	must(t, err)
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	must(t, json.Unmarshal(text, &key))
	s.root.ID, s.root.Secret = key.ID, key.Secret
	s.openRecords(records)
	s.openGateway(records)
	return s
}

func (s *site) kms() string {
	return "keyring://" + filepath.Join(s.express.Dir, "secure", "keyring.json")
}

// openRecords opens the installation's users and keys, beside those who run it.
func (s *site) openRecords(records *harness.Etcd) {
	var err error
	s.kv, err = etcd.Dial(s.t.Context(), strings.Split(records.URLs(), ","), etcd.Options{Prefix: "millrace/"})
	must(s.t, err)
	s.t.Cleanup(func() { _ = s.kv.Close() })
	wrap, err := keys.OpenKMS(s.t.Context(), s.kms(), disk.OS(""))
	must(s.t, err)
	s.ring, err = keys.OpenRing(s.t.Context(), s.kv, "secrets", wrap, keys.World{Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(s.t.Output(), nil))})
	must(s.t, err)
	s.t.Cleanup(s.ring.Close)
	s.view = s.viewAt(clock.System{})
	s.store = iam.NewStore(s.kv, s.ring, clock.System{}, s.view)
	account, err := s.store.Account(s.t.Context())
	must(s.t, err)
	s.account = account.ID
}

// viewAt is what somebody with that clock knows of users and keys.
func (s *site) viewAt(now clock.Clock) *iam.View {
	view := iam.NewView(s.kv, s.ring, now, slog.New(slog.NewTextHandler(s.t.Output(), nil)), iam.ViewConfig{})
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = view.Run(ctx) })
	s.t.Cleanup(func() { stop(); work.Wait() })
	<-view.Ready()
	return view
}

func (s *site) openGateway(records *harness.Etcd) {
	ca := harness.NewCA(s.t)
	cert := ca.Issue(s.t, "gateway", "127.0.0.1")
	s.tapped = ca.Issue(s.t, "tap", "127.0.0.1")
	first := harness.FreePorts(s.t, 4) // bootstrap, brokers 0 and 1, health
	health := address(first + 3)
	s.gateway = address(first)
	dir := s.t.TempDir()
	args := []string{"gateway", "--upstream", s.kafka.Bootstrap, "--listen", s.gateway, "--tls-cert", cert.Cert, "--tls-key", cert.Key, "--health", health,
		"--etcd", records.URLs(), "--cluster", cluster, "--name", "g1", "--login", "scram,iam", "--data", dir, "--kms", s.kms(), "--region", region}
	process := harness.StartProcess(s.t, "gateway", filepath.Join(dir, "gateway.log"), exec.Command(harness.MillraceBinary(s.t), args...))
	s.t.Cleanup(func() { process.Stop(s.t) })
	harness.Eventually(s.t, patience, "the gateway answers", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+health+"/healthz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
	own, err := os.ReadFile(filepath.Join(s.express.Dir, "secure", "ca.pem"))
	must(s.t, err)
	other, err := os.ReadFile(ca.File)
	must(s.t, err)
	s.ca = filepath.Join(dir, "cas.pem")
	must(s.t, os.WriteFile(s.ca, append(own, other...), 0o600))
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// targets are the two clusters.
func (s *site) targets() []target {
	host, text, err := net.SplitHostPort(s.express.Bootstrap)
	must(s.t, err)
	port, err := strconv.Atoi(text)
	must(s.t, err)
	at := func(step int) string { return net.JoinHostPort(host, strconv.Itoa(port+step)) }
	all := []target{
		{name: "express", tls: at(2), scram: at(4), auth: at(6)},
		{name: "gateway", scram: s.gateway, auth: s.gateway},
	}
	for i := range all {
		id, err := s.client(all[i].auth, s.root.ID, s.root.Secret, "").MetadataClusterID(s.deadline())
		must(s.t, err)
		all[i].id = id
	}
	return all
}

func (s *site) trust() *tls.Config {
	text, err := os.ReadFile(s.ca)
	must(s.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// admin is a client with a few shorthands.
type admin struct{ *kgo.Client }

// client logs in by AWS_MSK_IAM.
func (s *site) client(to, id, secret, token string, opts ...kgo.Opt) admin {
	s.t.Helper()
	all := []kgo.Opt{
		kgo.SeedBrokers(to), s.from("127.0.0.1"), kgo.RequestRetries(0), kgo.RetryTimeout(20 * time.Second),
		kgo.SASL(aws.Auth{AccessKey: id, SecretKey: secret, SessionToken: token}.AsManagedStreamingIAMMechanism()),
	}
	c, err := kgo.NewClient(append(all, opts...)...)
	must(s.t, err)
	s.t.Cleanup(c.Close)
	return admin{c}
}

// by is a client of root.
func (s *site) by(to target) admin { return s.client(to.auth, s.root.ID, s.root.Secret, "") }

// from dials from another loopback address, over TLS.
func (s *site) from(source string) kgo.Opt {
	config := s.trust()
	return kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}, Config: config}
		return d.DialContext(ctx, network, host)
	})
}

// MetadataClusterID is the cluster's id.
func (a admin) MetadataClusterID(ctx context.Context) (string, error) {
	resp, err := metadata().RequestWith(ctx, a.Client)
	if err != nil || resp.ClusterID == nil {
		return "", fmt.Errorf("no cluster id: %w", err)
	}
	return *resp.ClusterID, nil
}

// warm has the coordinators of groups loaded: kafkajs does not wait for them.
func warm(t *testing.T, bootstrap string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	must(t, err)
	defer client.Close()
	harness.Eventually(t, time.Minute, "coordinators of groups", func(ctx context.Context) error {
		groups, err := kadm.NewClient(client).DescribeGroups(ctx, "warm")
		if err = errors.Join(err, groups.Error()); errors.Is(err, kerr.GroupIDNotFound) {
			return nil // said by a coordinator that has loaded
		}
		return err
	})
}
