package standard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/secure/identity"
	"millrace/test/harness"
)

// openly is a Sealer that seals nothing.
type openly struct{}

func (openly) Seal(plain, _ []byte) ([]byte, error)  { return slices.Clone(plain), nil }
func (openly) Open(sealed, _ []byte) ([]byte, error) { return slices.Clone(sealed), nil }

// TestSecure: with certificates of the installation's authority nodes find one another, the agent finds them, and is who may do everything at their own
// listener only; clients log in by SCRAM, and may do what ACLs let them.
func TestSecure(t *testing.T) {
	harness.Long(t, "make suite SUITE=standard")
	c := writeCluster(t, "4.3.x", 1)
	c.secure()
	world := cert.World{KV: c.store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), FS: disk.OS("")}
	authority, err := cert.OpenAuthority(t.Context(), cert.AuthorityConfig{}, openly{}, world)
	must(t, err)
	signer := cert.NewSigner(authority, func(_ context.Context, n cert.Node) (cert.Names, error) { return n.Names("127.0.0.1"), nil }, world)
	me := cert.Agent("test")
	keeper, err := cert.NewKeeper(cert.KeeperConfig{Node: me, Names: me.Names("127.0.0.1"), File: filepath.Join(c.folder, "test.pem")}, world)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- signer.Run(ctx) }()
	go func() { ended <- keeper.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	c.begin()
	c.awaitAll()
	must(t, keeper.Wait(t.Context()))

	at := func(listener string) kgo.Opt {
		ways := c.specs[1].Listeners
		return kgo.SeedBrokers(ways[slices.IndexFunc(ways, func(l engine.Listener) bool { return l.Name == listener })].Address)
	}
	shown := kgo.DialTLSConfig(cert.ClientTLS(keeper, "127.0.0.1"))
	super := kadm.NewClient(c.client(at(engine.Internal), shown))
	work, cancel := context.WithTimeout(t.Context(), workLimit)
	defer cancel()
	for _, user := range []string{"alice", "bob"} {
		_, err := super.AlterUserSCRAMs(work, nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "secret-of-" + user}})
		must(t, err)
	}
	resp, err := super.CreateTopic(work, 1, 1, nil, "kept")
	must(t, errors.Join(err, resp.Err))
	_, err = super.CreateACLs(work, kadm.NewACLs().Topics("kept").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpAll).Allow("User:alice").AllowHosts("*"))
	must(t, err)

	anyServer := cert.ClientTLS(keeper, "127.0.0.1").Clone()
	anyServer.GetClientCertificate, anyServer.Certificates = nil, nil
	login := func(user, password string) kgo.Opt {
		return kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism())
	}
	produce := func(options ...kgo.Opt) error {
		cl := c.client(append(options, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordRetries(3))...)
		return cl.ProduceSync(work, &kgo.Record{Topic: "kept", Value: []byte("x")}).FirstErr()
	}
	// ACLs and users reach the broker by its metadata log, a moment after they are made.
	harness.Eventually(t, workLimit, "alice may write", func(context.Context) error {
		return produce(at(engine.ClientScram), kgo.DialTLSConfig(anyServer), login("alice", "secret-of-alice"))
	})
	for what, f := range map[string]struct {
		options []kgo.Opt
		want    error
	}{
		"bob":                             {[]kgo.Opt{at(engine.ClientScram), kgo.DialTLSConfig(anyServer), login("bob", "secret-of-bob")}, kerr.TopicAuthorizationFailed},
		"a wrong password":                {[]kgo.Opt{at(engine.ClientScram), kgo.DialTLSConfig(anyServer), login("alice", "wrong")}, kerr.SaslAuthenticationFailed},
		"nobody":                          {[]kgo.Opt{at(engine.ClientTLS), kgo.DialTLSConfig(anyServer)}, kerr.TopicAuthorizationFailed},
		"a node at a listener of clients": {[]kgo.Opt{at(engine.ClientTLS), shown}, kerr.TopicAuthorizationFailed},
	} {
		if err := produce(f.options...); !errors.Is(err, f.want) {
			t.Errorf("%s: %v, want %v", what, err, f.want)
		}
	}
	if err := produce(at(engine.Internal), shown); err != nil {
		t.Errorf("a node at its own listener: %v", err)
	}
	ping, end := context.WithTimeout(t.Context(), workLimit)
	defer end()
	if err := c.client(at(engine.Internal), kgo.DialTLSConfig(anyServer), kgo.RequestRetries(0)).Ping(ping); err == nil {
		t.Error("the nodes' own listener lets in who shows no certificate")
	}
}

// secure gives every node the listeners of a cluster with logins.
func (c *cluster) secure() {
	first := harness.FreePorts(c.t, 3*len(c.specs))
	for id, s := range c.specs {
		s.Secure.Authorize = true
		if s.Role == engine.Controller {
			s.Listeners[0].TLS, s.Listeners[0].ClientCert = true, engine.CertNeed
		} else {
			s.Listeners = nil
			for i, l := range []engine.Listener{
				{Name: engine.Internal, ClientCert: engine.CertNeed}, {Name: engine.ClientTLS, ClientCert: engine.CertWant},
				{Name: engine.ClientScram, Mechanisms: []identity.Mechanism{identity.ScramSHA512}},
			} {
				l.TLS, l.Address = true, fmt.Sprintf("127.0.0.1:%d", first+3*int(id-1)+i)
				s.Listeners = append(s.Listeners, l)
			}
			s.Listen = s.Listeners[0].Address
		}
		c.specs[id] = s
	}
}
