package login

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/identity"
	"millrace/secure/scram"
	"millrace/secure/trail"
)

// shiftClock is the machine's clock, set forward by as much as a test says.
type shiftClock struct {
	mu     sync.Mutex
	ahead  time.Duration
	frozen time.Time // zero: it goes
}

func (c *shiftClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen.Add(c.ahead)
	}
	return time.Now().Add(c.ahead)
}

// freeze makes it stand but for what advance does.
func (c *shiftClock) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = time.Now()
}

func (c *shiftClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

var _ clock.Clock = (*shiftClock)(nil)

// keyring is Keys for tests.
type keyring struct {
	mu   sync.Mutex
	keys map[string]Key // by id and session token
	err  error
}

func (k *keyring) Key(_ context.Context, id, token string) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return Key{}, k.err
	}
	key, ok := k.keys[id+"/"+token]
	if !ok {
		return Key{}, ErrUnknownKey
	}
	return key, nil
}

func (k *keyring) set(token string, key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[key.ID+"/"+token] = key
}

// trailer keeps events.
type trailer struct {
	mu     sync.Mutex
	events []trail.Event
}

func (t *trailer) Record(e trail.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

func (t *trailer) all() []trail.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]trail.Event(nil), t.events...)
}

func (t *trailer) last(tb testing.TB) trail.Event {
	tb.Helper()
	all := t.all()
	if len(all) == 0 {
		tb.Fatal("the trail is empty")
	}
	return all[len(all)-1]
}

const (
	aliceID     = "AKIAALICEALICEALICE1"
	aliceSecret = "alices-secret/with+odd=characters"
	aliceARN    = "arn:aws:iam::123456789012:user/alice"
	region      = "eu-west-9"
)

// gate is a server that does nothing but to let in.
type gate struct {
	t        testing.TB
	addr     string
	door     *Door
	users    *scram.Store
	keys     *keyring
	trail    *trailer
	clock    *shiftClock
	logs     *strings.Builder
	mu       sync.Mutex
	listener Listener
	admit    error
}

func newGate(t testing.TB, l Listener) *gate {
	t.Helper()
	g := &gate{t: t, listener: l, keys: &keyring{keys: map[string]Key{}}, trail: &trailer{}, clock: &shiftClock{}, logs: &strings.Builder{}}
	g.keys.set("", Key{ID: aliceID, Secret: aliceSecret, Principal: "User:" + aliceARN, Identity: identity.IAM{ARN: aliceARN, AccessKey: aliceID}})
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(&lockedWriter{g: g}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	g.users, err = scram.OpenStore(ctx, scram.Config{Prefix: "c/"}, scram.World{KV: kv.NewMemory(), Random: func(b []byte) { _, _ = rand.Read(b) }, Log: log})
	must(t, err)
	followed := make(chan error, 1)
	go func() { followed <- g.users.Run(ctx) }()
	g.door, err = New(Config{Region: region, Cluster: "demo", FailureDelay: time.Millisecond}, World{Users: g.users, Keys: g.keys, Trail: g.trail,
		Clock: g.clock, Log: log, Admit: func(context.Context, identity.Identity, Origin) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.admit
		}})
	must(t, err)
	slabs, err := slab.New(slab.Config{Poison: true})
	must(t, err)
	srv, err := server.New(server.Config{}, g, server.World{Log: log, Clock: clock.System{}, Slabs: slabs})
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, l.Name, ln) }()
	t.Cleanup(func() {
		cancel()
		stop, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		must(t, srv.Close(stop))
		must(t, <-served)
		must(t, <-followed)
		g.noSecrets()
	})
	g.user("alice", "alices-password")
	return g
}

type lockedWriter struct{ g *gate }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	return w.g.logs.Write(p)
}

// noSecrets looks for secrets in what was logged and told to the trail, after every test (LG4).
func (g *gate) noSecrets() {
	g.mu.Lock()
	defer g.mu.Unlock()
	text := g.logs.String() + fmt.Sprintf("%+v", g.trail.all())
	for _, secret := range []string{"alices-secret", "alices-password", "wrong-password", "session-token-of"} {
		if strings.Contains(text, secret) {
			g.t.Errorf("%q is in the log or the trail:\n%s", secret, text)
		}
	}
}

func (g *gate) user(name, password string) {
	g.t.Helper()
	for _, m := range []identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512} {
		c, err := scram.FromPassword(m, password, []byte("salt"), scram.MinIterations)
		must(g.t, err)
		for _, err := range g.users.Alter(context.Background(), []scram.Change{{User: name, Mechanism: m, Credential: c}}) {
			must(g.t, err)
		}
	}
}

func (g *gate) refuseAll(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admit = err
}

// Versions implements server.Handler.
func (g *gate) Versions(key int16) (int16, int16, bool) {
	switch kmsg.Key(key) {
	case kmsg.ApiVersions:
		return 0, 4, true
	case kmsg.SASLHandshake:
		return 0, 1, true
	case kmsg.SASLAuthenticate:
		return 0, 2, true
	case kmsg.DescribeCluster, kmsg.Metadata:
		return 0, 0, true
	default:
		return 0, 0, false
	}
}

// Connected implements server.Handler.
func (g *gate) Connected(_ context.Context, c *server.Conn) error {
	s, err := g.door.Connected(c, g.listener)
	c.SetSession(s)
	return err
}

// Disconnected implements server.Handler.
func (g *gate) Disconnected(*server.Conn) {}

// Handle answers DescribeCluster with who is logged in.
func (g *gate) Handle(ctx context.Context, r *server.Request) {
	s := r.Conn.Session().(*Session)
	if s.Handle(ctx, r) {
		return
	}
	if r.Header.Key == int16(kmsg.ApiVersions) {
		r.Reply(server.Response{Msg: kmsg.NewPtrApiVersionsResponse()})
		return
	}
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID = s.Identity().Principal
	if resp.ClusterID != r.Conn.Principal() {
		g.t.Errorf("the session says %q, the connection %q", resp.ClusterID, r.Conn.Principal())
	}
	r.Reply(server.Response{Msg: resp})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client speaks to a gate by hand.
type client struct {
	t    testing.TB
	nc   net.Conn
	next int32
}

func (g *gate) dial() *client {
	g.t.Helper()
	nc, err := net.Dial("tcp", g.addr)
	must(g.t, err)
	g.t.Cleanup(func() { _ = nc.Close() })
	must(g.t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	return &client{t: g.t, nc: nc}
}

var errClosed = errors.New("closed by the server")

func (c *client) frame(b []byte) {
	c.t.Helper()
	_, _ = c.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

func (c *client) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return nil, errClosed
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, frame); err != nil {
		return nil, errClosed
	}
	return frame, nil
}

func ask[P kmsg.Response](c *client, version int16, q kmsg.Request) (P, error) {
	c.t.Helper()
	var none P
	q.SetVersion(version)
	c.next++
	c.frame(q.AppendTo(wire.AppendHeader(nil, wire.RequestHeader{Key: q.Key(), Version: version, CorrelationID: c.next, ClientID: "test"})))
	frame, err := c.read()
	if err != nil {
		return none, err
	}
	head := len(wire.AppendResponseHeader(nil, q.Key(), version, 0))
	resp := q.ResponseKind()
	resp.SetVersion(version)
	must(c.t, resp.ReadFrom(frame[head:]))
	return resp.(P), nil
}

func (c *client) handshake(version int16, m identity.Mechanism) (*kmsg.SASLHandshakeResponse, error) {
	c.t.Helper()
	q := kmsg.NewPtrSASLHandshakeRequest()
	q.Mechanism = string(m)
	return ask[*kmsg.SASLHandshakeResponse](c, version, q)
}

func (c *client) authenticate(version int16, message []byte) (*kmsg.SASLAuthenticateResponse, error) {
	c.t.Helper()
	q := kmsg.NewPtrSASLAuthenticateRequest()
	q.SASLAuthBytes = message
	return ask[*kmsg.SASLAuthenticateResponse](c, version, q)
}

// who asks who is logged in.
func (c *client) who() (string, error) {
	c.t.Helper()
	resp, err := ask[*kmsg.DescribeClusterResponse](c, 0, kmsg.NewPtrDescribeClusterRequest())
	if err != nil {
		return "", err
	}
	return resp.ClusterID, nil
}

// mustBe checks who is logged in.
func (c *client) mustBe(principal string) {
	c.t.Helper()
	got, err := c.who()
	if err != nil || got != principal {
		c.t.Fatalf("logged in as %q (%v), want %q", got, err, principal)
	}
}

func (c *client) mustBeClosed() {
	c.t.Helper()
	if got, err := c.who(); err == nil {
		c.t.Fatalf("the connection goes on, as %q", got)
	}
}
