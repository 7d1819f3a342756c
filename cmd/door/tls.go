package door

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"millrace/base/clock"
)

// Serve serves at l until ctx ends: over TLS what is behind, which asks by itself who comes, and without TLS at the same port health alone, for load balancers and
// scripts that wait for a start have no certificate to trust yet. serve serves one listener until its ctx ends.
func (g *Guard) Serve(
	ctx context.Context, l net.Listener, config *tls.Config, behind, health http.Handler, serve func(context.Context, net.Listener, http.Handler) error,
) error {
	split := newSplitter(l)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan error, 3)
	go func() { results <- split.run(ctx) }()
	go func() { results <- serve(ctx, split.plain, health) }()
	go func() { results <- serve(ctx, tls.NewListener(split.secure, config), behind) }()
	var errs []error
	for range cap(results) {
		errs = append(errs, <-results)
		stop()
	}
	return errors.Join(errs...)
}

// Bounds of connections that have not said a byte.
const (
	firstByteLimit = 5 * time.Second
	firstByteMost  = 1024
)

// splitter tells connections that begin with a TLS handshake from others by their first byte.
type splitter struct {
	ln            net.Listener
	plain, secure *splitListener
	waiting       chan struct{} // holds a token for each that has said nothing yet
	work          sync.WaitGroup
}

func newSplitter(ln net.Listener) *splitter {
	return &splitter{
		ln: ln, plain: newSplitListener(ln.Addr()), secure: newSplitListener(ln.Addr()), waiting: make(chan struct{}, firstByteMost),
	}
}

// run accepts until ctx ends, and waits for what it started.
func (s *splitter) run(ctx context.Context) error {
	defer s.work.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.ln.Close() })
	defer stop()
	for pause := time.Millisecond; ; {
		nc, err := s.ln.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if nc != nil {
				_ = nc.Close()
			}
			return nil
		case err != nil: // out of file descriptors
			pause = min(2*pause, time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = time.Millisecond
		select {
		case s.waiting <- struct{}{}:
			s.work.Go(func() { s.sort(ctx, nc) })
		default:
			_ = nc.Close() // a flood of those that say nothing
		}
	}
}

// tlsHandshake is the first byte of a TLS connection.
const tlsHandshake = 0x16

func (s *splitter) sort(ctx context.Context, nc net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	_ = nc.SetReadDeadline(clock.System{}.Now().Add(firstByteLimit))
	c := &peeked{Conn: nc, br: bufio.NewReaderSize(nc, 512)}
	first, err := c.br.Peek(1)
	<-s.waiting
	if err != nil {
		_ = nc.Close()
		return
	}
	_ = nc.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == tlsHandshake {
		to = s.secure
	}
	to.hand(c)
}

// peeked is a connection whose first byte was looked at.
type peeked struct {
	net.Conn
	br *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.br.Read(b) }

// splitListener gives out the connections of one kind.
type splitListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newSplitListener(addr net.Addr) *splitListener {
	return &splitListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *splitListener) hand(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (l *splitListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *splitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *splitListener) Addr() net.Addr { return l.addr }
