package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// NewTLSListener wraps a listener for Serve whose connections speak TLS by cfg. Unlike with a listener of package tls, handshakes are
// paced: only Config.Handshakes of them compute at a time, and addresses take turns, so a flood of them leaves the processors to who is
// logged in, and to the handshakes of others.
func NewTLSListener(ln net.Listener, cfg *tls.Config) net.Listener {
	return &tlsListener{Listener: ln, cfg: cfg}
}

// ServeTLS is Serve for such a listener.
func (s *Server) ServeTLS(ctx context.Context, name string, ln net.Listener, cfg *tls.Config) error {
	return s.Serve(ctx, name, NewTLSListener(ln, cfg))
}

type tlsListener struct {
	net.Listener
	cfg *tls.Config
}

// Accept waits for a connection; its handshake is done by who serves it.
func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&pacedConn{Conn: nc}, l.cfg), nil
}

// pacedConn takes a slot for what a handshake computes, and gives it back while the handshake waits for the peer: so a peer that says
// nothing keeps nobody out. After the handshake it passes everything through, writes together where it is told to (gather.go).
type pacedConn struct {
	net.Conn
	out gathered

	// Of the goroutine that does the handshake; nobody else uses the connection meanwhile.
	slots *turns          // of the server
	place netip.Prefix    // that the peer comes from
	ctx   context.Context //nolint:containedctx // bounds the handshake, whose reads and writes have none of their own
	holds bool
}

// Read reads, outside the slot.
func (p *pacedConn) Read(b []byte) (int, error) {
	if p.ctx == nil {
		return p.Conn.Read(b)
	}
	p.release()
	n, err := p.Conn.Read(b)
	if err == nil {
		err = p.acquire()
	}
	return n, err
}

// Write writes, outside the slot.
func (p *pacedConn) Write(b []byte) (int, error) {
	if p.ctx == nil || !p.holds {
		return p.out.write(p.Conn, b)
	}
	p.release()
	n, err := p.Conn.Write(b)
	if err == nil {
		err = p.acquire()
	}
	return n, err
}

func (p *pacedConn) acquire() error {
	err := p.slots.acquire(p.ctx, p.place)
	p.holds = err == nil
	return err
}

func (p *pacedConn) release() {
	if p.holds {
		p.holds = false
		p.slots.release()
	}
}

// handshake does the TLS handshake, if there is to be one.
func (c *Conn) handshake() error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.TLSTimeout)
	defer cancel()
	paced := c.paced
	if paced != nil {
		paced.slots, paced.place, paced.ctx = c.srv.handshakes, placeOf(c.ip), ctx
	}
	err := t.HandshakeContext(ctx)
	if paced != nil {
		paced.release()
		paced.ctx = nil
	}
	if err != nil {
		c.srv.metrics.TLSFailed.Add(1)
		err = fmt.Errorf("%w: %w", errTLS, err)
		if failed := c.srv.world.HandshakeFailed; failed != nil && c.ctx.Err() == nil {
			c.guard(func() { failed(c, err) })
		}
		return err
	}
	state := t.ConnectionState()
	c.tls.Store(&state)
	c.srv.metrics.tls.opened(kindOf(&state), state.DidResume)
	return nil
}

// pacedOf is the pacing below TLS; nil: there is none.
func pacedOf(nc net.Conn) *pacedConn {
	if t, ok := nc.(*tls.Conn); ok {
		p, _ := t.NetConn().(*pacedConn)
		return p
	}
	return nil
}

// bare is the connection below TLS and pacing.
func bare(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if p, ok := nc.(*pacedConn); ok {
		nc = p.Conn
	}
	return nc
}

// cut is shut without a farewell: that of TLS would wait for a peer that does not read.
func (c *Conn) cut() {
	_ = bare(c.nc).Close()
	c.shut()
}

// TLSKind is what was agreed on in a handshake; names as in package crypto/tls.
type TLSKind struct {
	Version string // "TLS 1.3"
	Suite   string // "TLS_AES_128_GCM_SHA256"
	Curve   string // key exchange: "X25519MLKEM768" withstands quantum computers
}

func kindOf(state *tls.ConnectionState) TLSKind {
	if state == nil {
		return TLSKind{}
	}
	k := TLSKind{Version: tls.VersionName(state.Version), Suite: tls.CipherSuiteName(state.CipherSuite)}
	if state.CurveID != 0 {
		k.Curve = state.CurveID.String()
	}
	return k
}

// TLSCount counts the connections of one kind.
type TLSCount struct {
	TLSKind
	Handshakes int64 // in all
	Resumed    int64 // of those, resumed sessions
	Open       int64 // connections now
}

// tlsCounts counts handshakes by kind. There are few kinds, all of package tls.
type tlsCounts struct {
	mu   sync.Mutex
	kind map[TLSKind]*TLSCount
}

func (t *tlsCounts) opened(k TLSKind, resumed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.kind[k]
	if c == nil {
		if t.kind == nil {
			t.kind = make(map[TLSKind]*TLSCount)
		}
		c = &TLSCount{TLSKind: k}
		t.kind[k] = c
	}
	c.Handshakes++
	c.Open++
	if resumed {
		c.Resumed++
	}
}

func (t *tlsCounts) closed(k TLSKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.kind[k]; c != nil {
		c.Open--
	}
}

// TLS returns what was agreed on in the handshakes so far, sorted.
func (m *Metrics) TLS() []TLSCount {
	m.tls.mu.Lock()
	defer m.tls.mu.Unlock()
	all := make([]TLSCount, 0, len(m.tls.kind))
	for _, c := range m.tls.kind {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b TLSCount) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Curve, b.Curve))
	})
	return all
}
