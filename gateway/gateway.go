package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/limit"
	"millrace/gateway/quota"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/login"
	"millrace/secure/trail"
)

// ErrListener is returned by Allow for a listener that there is not.
var ErrListener = errors.New("gateway: no such listener")

// Gateway is a front for one cluster. Make one with Open. Safe for concurrent use.
type Gateway struct {
	cfg     Config
	world   World
	srv     *server.Server
	decoder *wire.Decoder
	answers *limit.Budget // of brokers' answers, over all connections
	table   map[int16]entry
	view    atomic.Pointer[view]
	names   names
	quotas  *quota.Book
	fronts  map[string]*front

	mute   atomic.Int64 // until when nothing is said of connections, in ns
	unsaid atomic.Int64

	sessions sync.Map // *server.Conn to *session

	ctx    context.Context // of everything that serves; ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // of what follows, and of changes of view
	ports  map[portKey]bool
	closed bool
}

// front is a Listener as it runs.
type front struct {
	Listener
	host string
	port int // the bootstrap port
	// allow is what SetAllowed has said.
	allow atomic.Pointer[[]netip.Prefix]
}

// portKey is one port of a listener.
type portKey struct {
	listener string
	port     int
}

// Open asks the cluster for its brokers and begins to listen. The error joins every fault of cfg, or says why no broker answers.
// ctx bounds the opening only.
func Open(ctx context.Context, cfg Config, w World) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if w.Dial == nil {
		w.Dial = (&net.Dialer{}).DialContext
	}
	if w.Connect == nil {
		w.Connect = func(*server.Conn, login.Listener) (Session, error) { return nobody{}, nil }
	}
	if w.Trail == nil {
		w.Trail = trail.Discard{}
	}
	if w.Listen == nil {
		w.Listen = net.Listen
	}
	g := &Gateway{
		cfg: cfg, world: w, decoder: wire.NewDecoder(0), answers: limit.NewBudget(cfg.AnswerBytes),
		fronts: map[string]*front{}, ports: map[portKey]bool{},
	}
	g.table = newTable()
	g.view.Store(&view{nodes: map[int32]node{}})
	g.quotas = quota.New(cfg.ProduceBytesPerSecond, cfg.FetchBytesPerSecond)
	for _, l := range cfg.Listeners {
		l.Login.Name = l.Name
		f := &front{Listener: l}
		f.host, f.port, _ = splitPort(l.Address) // validated
		f.allow.Store(&f.Allow)
		g.fronts[l.Name] = f
	}
	srv, err := server.New(cfg.Server, (*handler)(g), server.World{Log: w.Log, Clock: w.Clock, Slabs: w.Slabs})
	if err != nil {
		return nil, err
	}
	g.srv = srv
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.start(ctx); err != nil {
		g.cancel()
		return nil, errors.Join(err, g.srv.Close(g.ctx))
	}
	return g, nil
}

// start learns the brokers, opens all ports and leaves the watch over the cluster running.
func (g *Gateway) start(ctx context.Context) error {
	watch := newWatch(g)
	if err := watch.refresh(ctx); err != nil {
		watch.close()
		return err
	}
	for _, f := range g.fronts {
		if err := g.open(f, f.port); err != nil {
			watch.close()
			return err
		}
	}
	g.work.Go(func() { watch.run(g.ctx) })
	return nil
}

// open listens at a port of a listener, unless it does already.
func (g *Gateway) open(f *front, port int) error {
	key := portKey{f.Name, port}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ports[key] || g.closed {
		return nil
	}
	ln, err := g.world.Listen("tcp", net.JoinHostPort(f.host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listener %s: %w", f.Name, err)
	}
	if port == f.port && f.port == 0 { // any free port, for tests: the brokers follow it
		f.port = ln.Addr().(*net.TCPAddr).Port
	}
	g.ports[key] = true
	ln = &guarded{Listener: ln, f: f}
	if f.TLS != nil {
		ln = server.NewTLSListener(ln, f.TLS)
	}
	g.work.Go(func() {
		if err := g.srv.Serve(g.ctx, f.Name, ln); err != nil && !errors.Is(err, server.ErrClosed) {
			g.world.Log.Error("listener ended", "listener", f.Name, "port", port, "err", err)
		}
	})
	return nil
}

// guarded is a listener with an allow-list: whoever is not on it is not even greeted.
type guarded struct {
	net.Listener
	f *front
}

// Accept returns the next connection that is allowed.
func (l *guarded) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil || l.f.allows(nc.RemoteAddr()) {
			return nc, err
		}
		nc.Close()
	}
}

func (f *front) allows(a net.Addr) bool {
	list := *f.allow.Load()
	if list == nil {
		return true
	}
	from, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	for _, p := range list {
		if p.Contains(from.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// Allow says which networks may connect through a listener from now on; nil: all. Connections from others end at once. The error is
// ErrListener.
func (g *Gateway) Allow(listener string, networks []netip.Prefix) error {
	f, ok := g.fronts[listener]
	if !ok {
		return fmt.Errorf("%w: %q", ErrListener, listener)
	}
	f.allow.Store(&networks)
	g.sessions.Range(func(conn, _ any) bool {
		if c := conn.(*server.Conn); c.Listener() == listener && !f.allows(c.RemoteAddr()) {
			c.Close()
		}
		return true
	})
	return nil
}

// Recheck asks refused about every open connection, and ends those of which it says why; refused must not be nil. It returns how many. It is for
// certificates of clients that count no more.
func (g *Gateway) Recheck(refused func(*server.Conn) error) (cut int) { return g.srv.Recheck(refused) }

// Bootstrap returns the address of a listener's bootstrap port, as clients are told it; "" for a listener that there is not.
func (g *Gateway) Bootstrap(listener string) string {
	f, ok := g.fronts[listener]
	if !ok {
		return ""
	}
	host := f.Advertise
	if host == "" {
		host = f.host
	}
	return net.JoinHostPort(host, strconv.Itoa(f.port))
}

// Ready returns nil when clients are served, and otherwise why not.
func (g *Gateway) Ready() error {
	v := g.view.Load()
	if g.ctx.Err() != nil {
		return errors.New("gateway: closing")
	}
	if age := g.world.Clock.Now().Sub(v.seen); age > 3*g.cfg.Refresh {
		return fmt.Errorf("%w: last heard of the cluster %v ago", errNoBroker, age.Round(g.cfg.Refresh))
	}
	return nil
}

// Metrics returns the counters of the connections of clients.
func (g *Gateway) Metrics() *server.Metrics { return g.srv.Metrics() }

// Close stops accepting, waits until the requests in flight are answered, and ends. When ctx ends, the connections are cut and ctx's error
// is returned. In both cases every goroutine has ended when it returns. Safe to call twice.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	err := g.srv.Close(ctx)
	g.cancel()
	g.work.Wait()
	return err
}

// complainEvery is the least time between two lines about what connections run into: clients can make many.
const complainEvery = time.Second

// complain logs what a connection has run into, at most once in complainEvery.
func (g *Gateway) complain(what string, err error, args ...any) {
	now := g.world.Clock.Now().UnixNano()
	next := g.mute.Load()
	if now < next || !g.mute.CompareAndSwap(next, now+int64(complainEvery)) {
		g.unsaid.Add(1)
		return
	}
	g.world.Log.With(args...).Warn("trouble with a connection", "what", what, "not_logged", g.unsaid.Swap(0), "err", err)
}

// handler is the Gateway as kafka/server sees it.
type handler Gateway

var _ server.Handler = (*handler)(nil)

func (h *handler) Versions(key int16) (lowest, highest int16, ok bool) {
	e, ok := h.table[key]
	return e.min, e.max, ok
}

func (h *handler) Connected(_ context.Context, c *server.Conn) error {
	g := (*Gateway)(h)
	f := g.fronts[c.Listener()]
	if f == nil || !f.allows(c.RemoteAddr()) { // the list may have changed since it was accepted
		return errors.New("not on the allow-list")
	}
	in, err := g.world.Connect(c, f.Login)
	if err != nil {
		return err
	}
	if who := in.Identity(); who.Principal != "" && c.Principal() == "" {
		c.SetPrincipal(who.Principal)
	}
	g.sessions.Store(c, newSession(g, f, c, in))
	return nil
}

func (h *handler) Disconnected(c *server.Conn) {
	g := (*Gateway)(h)
	if s, ok := g.sessions.LoadAndDelete(c); ok {
		s.(*session).end()
	}
}

func (h *handler) Handle(ctx context.Context, r *server.Request) {
	x, ok := h.sessions.Load(r.Conn)
	if !ok {
		r.Close()
		return
	}
	s := x.(*session)
	switch {
	case s.login.Handle(ctx, r):
	case r.Raw:
		r.Close()
	default:
		s.handle(ctx, r)
	}
}
