package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/gateway"
	"millrace/kafka/server"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/test/harness"
)

const patience = 60 * time.Second

// judge is an authz.Judge by a list of what is refused: "PRINCIPAL OPERATION TYPE NAME", with * for anything.
type judge struct {
	mu     sync.Mutex
	denied []string
}

func (j *judge) deny(lines ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.denied = append(j.denied, lines...)
}

func (j *judge) Allowed(a authz.Access) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if a.Who == nil || a.Who.Principal == "" {
		return false
	}
	asked := []string{strings.TrimPrefix(a.Who.Principal, "User:"), a.Operation.String(), a.Resource.String(), a.Name}
	for _, line := range j.denied {
		match := true
		for i, want := range strings.Fields(line) {
			match = match && (want == "*" || strings.EqualFold(want, asked[i]))
		}
		if match {
			return false
		}
	}
	return true
}

func (j *judge) AllowedSomewhere(a authz.Access) bool {
	a.Name = "any"
	return j.Allowed(a)
}

// byClientID takes the client id for who somebody is: a login for tests, without a password.
type byClientID struct {
	mu  sync.Mutex
	who identity.Identity
}

func connectByClientID(c *server.Conn, _ login.Listener) (gateway.Session, error) {
	c.SetPrincipal("User:anybody")
	return &byClientID{who: identity.Nobody()}, nil
}

func (s *byClientID) Handle(_ context.Context, r *server.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who = identity.Identity{Mechanism: identity.None, Principal: "User:" + r.Header.ClientID}
	return false
}

func (s *byClientID) Identity() identity.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}

// fixture is a gateway in front of a cluster.
type fixture struct {
	*gateway.Gateway
	t         testing.TB
	upstream  string
	bootstrap string
	judge     *judge
	slabs     *slab.Pool
}

// start opens a gateway on loopback.
func start(t testing.TB, upstream string, change func(*gateway.Config, *gateway.World)) *fixture {
	t.Helper()
	slabs, err := slab.New(slab.Config{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	const nodes = 8
	first := harness.FreePorts(t, nodes)
	f := &fixture{t: t, upstream: upstream, judge: &judge{}, slabs: slabs}
	cfg := gateway.Config{
		Cluster: "test", Upstream: strings.Split(upstream, ","),
		Listeners: []gateway.Listener{{Name: "CLIENT", Address: fmt.Sprintf("127.0.0.1:%d", first)}},
	}
	w := gateway.World{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Clock: clock.System{}, Slabs: slabs, Judge: f.judge, Connect: connectByClientID}
	if change != nil {
		change(&cfg, &w)
	}
	f.Gateway, err = gateway.Open(t.Context(), cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	f.bootstrap = f.Bootstrap("CLIENT")
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		f.t.Errorf("close: %v", err)
	}
}

// client returns a client through the gateway, which is taken for who its name says.
func (f *fixture) client(t testing.TB, who string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, f.bootstrap, append([]kgo.Opt{kgo.ClientID(who)}, options...)...)
}

func newClient(t testing.TB, bootstrap string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// createTopic makes a topic without the gateway.
func createTopic(t testing.TB, bootstrap, name string, partitions int32, replicas int16) {
	t.Helper()
	admin := kadm.NewClient(newClient(t, bootstrap))
	resp, err := admin.CreateTopic(t.Context(), partitions, replicas, nil, name)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
