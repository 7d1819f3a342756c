package network

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Network joins hosts. Make one with New.
type Network struct {
	delay func() time.Duration

	mu        sync.Mutex // guards all below, all hosts, listeners and connections
	listeners map[string]*listener
	cut       map[[2]string]bool
	joined    chan struct{} // closed and replaced when hosts are joined again
	conns     map[*conn]struct{}
	port      int // the last that was given to a dialer
}

// New returns a network without hosts. Delay tells how long a message is on its way; it is called with the network's lock held.
func New(delay func() time.Duration) *Network {
	return &Network{
		delay: delay, listeners: map[string]*listener{}, cut: map[[2]string]bool{}, joined: make(chan struct{}),
		conns: map[*conn]struct{}{},
	}
}

// Host is the network as one process sees it. Make one with Network.Host.
type Host struct {
	network *Network
	machine string
	now     func() time.Time

	dead   bool
	thawed chan struct{} // not nil while frozen
}

// Host returns the network for a new process on a machine, whose name is the host part of its addresses. Deadlines that the
// process sets are by its clock, now; nil: time.Now.
func (n *Network) Host(machine string, now func() time.Time) *Host {
	if now == nil {
		now = time.Now
	}
	return &Host{network: n, machine: machine, now: now}
}

// Cut cuts two machines off from each other, or joins them again.
func (n *Network) Cut(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cut[pair(a, b)] = true
		return
	}
	delete(n.cut, pair(a, b))
	n.wakeLocked()
}

// Join joins all machines again.
func (n *Network) Join() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.wakeLocked()
}

// Break ends all connections between two machines, at both ends.
func (n *Network) Break(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.host.machine == a && c.peer.host.machine == b {
			c.endLocked(0)
			c.peer.endLocked(0)
		}
	}
}

func (n *Network) wakeLocked() {
	close(n.joined)
	n.joined = make(chan struct{})
	for c := range n.conns {
		c.wakeLocked()
	}
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// Kill ends the process. The other ends of its connections break after a while.
func (h *Host) Kill(after time.Duration) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	h.dead = true
	h.thawLocked()
	for address, l := range n.listeners {
		if l.host == h {
			l.closeLocked()
			delete(n.listeners, address)
		}
	}
	for c := range n.conns {
		if c.host == h {
			c.peer.endLocked(after)
			c.closed = true
			c.wakeLocked()
			delete(n.conns, c)
		}
	}
}

// Freeze stops the process.
func (h *Host) Freeze() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.thawed == nil && !h.dead {
		h.thawed = make(chan struct{})
	}
}

// Thaw lets it go on.
func (h *Host) Thaw() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.thawLocked()
}

func (h *Host) thawLocked() {
	if h.thawed != nil {
		close(h.thawed)
		h.thawed = nil
	}
}

// lockRunning takes the network's lock at a moment when the process runs.
func (h *Host) lockRunning() {
	h.network.mu.Lock()
	for h.thawed != nil {
		thawed := h.thawed
		h.network.mu.Unlock()
		<-thawed
		h.network.mu.Lock()
	}
}

// Listen opens a listener; it has the signature of net.ListenConfig's.
func (h *Host) Listen(_ context.Context, _, address string) (net.Listener, error) {
	n := h.network
	h.lockRunning()
	defer n.mu.Unlock()
	if h.dead || n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: addr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, address: addr(address), news: make(chan struct{}, 1)}
	n.listeners[address] = l
	return l, nil
}

// Dial connects; it has the signature of net.Dialer's.
func (h *Host) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	c, err := h.dial(ctx, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: addr(address), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, address string) (net.Conn, error) {
	n := h.network
	machine, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	h.lockRunning()
	trip := 2 * n.delay()
	n.mu.Unlock()
	if err := sleep(ctx, trip); err != nil {
		return nil, err
	}
	h.lockRunning()
	for n.cut[pair(h.machine, machine)] && !h.dead {
		joined := n.joined
		n.mu.Unlock()
		select {
		case <-joined:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h.lockRunning()
	}
	defer n.mu.Unlock()
	l := n.listeners[address]
	if l == nil || h.dead {
		return nil, syscall.ECONNREFUSED
	}
	n.port++
	from := addr(net.JoinHostPort(h.machine, strconv.Itoa(30_000+n.port%30_000)))
	near, far := newPair(h, l.host, from, l.address)
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	l.queue = append(l.queue, far)
	l.wakeLocked()
	return near, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listener implements net.Listener.
type listener struct {
	host    *Host
	address addr
	news    chan struct{}
	queue   []*conn
	closed  bool
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		l.host.lockRunning()
		closed := l.closed
		var c *conn
		if len(l.queue) > 0 {
			c = l.queue[0]
			l.queue = l.queue[1:]
		}
		l.host.network.mu.Unlock()
		switch {
		case closed:
			return nil, fmt.Errorf("accept on %s: %w", l.address, net.ErrClosed)
		case c != nil:
			return c, nil
		}
		<-l.news
	}
}

// Close ends connections that nobody has accepted too.
func (l *listener) Close() error {
	n := l.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[string(l.address)] == l {
		delete(n.listeners, string(l.address))
	}
	l.closeLocked()
	return nil
}

func (l *listener) closeLocked() {
	l.closed = true
	for _, c := range l.queue {
		c.peer.endLocked(0)
		delete(l.host.network.conns, c)
	}
	l.queue = nil
	l.wakeLocked()
}

func (l *listener) wakeLocked() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *listener) Addr() net.Addr { return l.address }

// addr is host:port.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }
