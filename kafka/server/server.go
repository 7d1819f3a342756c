package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/limit"
)

// ErrClosed is returned by Serve when the Server was closed before it began.
var ErrClosed = errors.New("server: closed")

// Handler answers requests.
type Handler interface {
	// Versions tells what is served of a key. Any other key or version closes the connection, except
	// ApiVersions, which Handle gets in every version. It must always give the same answer.
	Versions(key int16) (lowest, highest int16, ok bool)

	// Handle is called on the connection's reader goroutine, in request order. It must answer r exactly once
	// with Reply, NoReply or Close, then or later, on any goroutine. The next request of the connection is read when
	// Handle returns: so a handler that has to wait simply blocks, and only one that can be pipelined (Produce)
	// returns before it has answered. ctx ends when the connection or the server closes; Handle must then return.
	Handle(ctx context.Context, r *Request)

	// Connected is called before the first request of a connection, after the TLS handshake if there is one. An
	// error refuses the connection. It calls Conn.SetPrincipal if the listener asks for no login.
	Connected(ctx context.Context, c *Conn) error

	// Disconnected is called once for each connection whose Connected returned nil, after its last Handle has
	// returned. Requests that Handle left unanswered may still be answered later, to no effect.
	Disconnected(c *Conn)
}

// Server accepts and serves connections. Make one with New. Safe for concurrent use.
type Server struct {
	cfg     Config
	handler Handler
	world   World
	budget  *limit.Budget
	waiting atomic.Int32 // connections that wait for the budget

	handshakes *turns // for what TLS handshakes compute

	outbox  sync.Pool // of *outbox: what writes need, lent for the time of a write
	bad     gate
	lastID  atomic.Uint64
	metrics Metrics

	wg sync.WaitGroup // accept loops and connections

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	pending   pending
	perIP     map[netip.Addr]int
}

// New returns a Server that serves nothing yet, or every fault of cfg.
func New(cfg Config, h Handler, w World) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, handler: h, world: w,
		budget:    limit.NewBudget(int64(cfg.InFlightBytes)),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*Conn]struct{}),
		perIP:     make(map[netip.Addr]int),
		pending:   newPending(),

		handshakes: newTurns(cfg.Handshakes),
	}
	s.outbox.New = func() any { return new(outbox) }
	return s, nil
}

// Metrics returns the server's counters, which go on counting.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// InFlightBytes returns the bytes of frames that are read and not yet answered.
func (s *Server) InFlightBytes() int64 { return s.budget.Used() }

// Serve accepts connections from ln, which it owns from now on, until ctx ends or Close is called; then it returns nil.
// name is what Conn.Listener returns. It may be called several times, for several listeners. The connections go on after
// ctx has ended, though the contexts of their handlers end with it; Close ends them.
func (s *Server) Serve(ctx context.Context, name string, ln net.Listener) error {
	if !s.addListener(ln) {
		return errors.Join(ErrClosed, ln.Close())
	}
	defer s.wg.Done()
	defer s.removeListener(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for delay := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			s.start(ctx, name, nc)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default: // out of file descriptors, or the peer gone already
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.world.Log.Warn("accept failed", "listener", name, "retry_in", delay, "err", err)
			if !sleep(ctx, delay) {
				return nil
			}
		}
	}
}

// takeRoom takes n bytes of the budget, and counts who has to wait for them.
func (s *Server) takeRoom(ctx context.Context, n int64) error {
	if s.budget.TryAcquire(n) {
		return nil
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	return s.budget.Acquire(ctx, n)
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) removeListener(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	_ = ln.Close()
}

// start admits nc and serves it on its own goroutine, or closes it.
func (s *Server) start(ctx context.Context, listener string, nc net.Conn) {
	c := newConn(ctx, s, listener, nc)
	err := s.admit(c)
	if err == nil {
		// Asked when the connection is among those that Recheck sees: so one that is let in by old rules is cut by it.
		if err = s.filtered(c); err != nil {
			s.forget(c)
			s.wg.Done()
		}
	}
	if err != nil {
		s.metrics.Refused.Add(1)
		if !errors.Is(err, ErrClosed) {
			s.complain(c, "connection refused", err)
		}
		c.shut()
		return
	}
	if displaced := s.arrived(c); displaced != nil {
		s.metrics.Displaced.Add(1)
		displaced.cut()
	}
	s.metrics.Accepted.Add(1)
	s.metrics.Open.Add(1)
	go func() {
		defer s.wg.Done()
		defer s.dismiss(c)
		c.run()
	}()
}

// admit registers c unless a limit forbids it.
func (s *Server) admit(c *Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.conns) >= s.cfg.MaxConnections:
		return fmt.Errorf("%d connections are open", len(s.conns))
	case c.ip.IsValid() && s.perIP[c.ip] >= s.cfg.MaxConnectionsPerIP:
		return fmt.Errorf("%d connections from this address are open", s.perIP[c.ip])
	}
	s.conns[c] = struct{}{}
	if c.ip.IsValid() {
		s.perIP[c.ip]++
	}
	s.wg.Add(1)
	return nil
}

func (s *Server) dismiss(c *Conn) {
	s.metrics.Open.Add(-1)
	if state := c.TLS(); state != nil {
		s.metrics.tls.closed(kindOf(state))
	}
	s.forget(c)
}

// forget makes room for another connection.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.pending.remove(c)
	if !c.ip.IsValid() {
		return
	}
	if s.perIP[c.ip]--; s.perIP[c.ip] == 0 {
		delete(s.perIP, c.ip)
	}
}

// complain logs bad input and refusals, at most once per gateInterval.
func (s *Server) complain(c *Conn, what string, err error) {
	if held, ok := s.bad.pass(s.world.Clock.Now()); ok {
		s.world.Log.Warn("bad input or refusal", "what", what, "remote", c.RemoteAddr(), "listener", c.listener, "client_id", c.ClientID(),
			"not_logged", held, "err", err)
	}
}

// Close stops accepting, ends the contexts of the handlers, and waits until the requests in flight are answered and
// written; when ctx ends, the connections are cut instead and ctx's error is returned. In both cases it waits for every
// goroutine of the server, and so for handlers to return. Safe to call twice, and before Serve.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	s.mu.Unlock()
	s.each((*Conn).drain)

	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.each((*Conn).cut)
		<-done
		return fmt.Errorf("server: close: %w", ctx.Err())
	}
}

// each calls f for every connection, without the lock.
func (s *Server) each(f func(*Conn)) {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}
