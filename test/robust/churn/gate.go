package churn

import (
	"context"
	"errors"
	"net"
	"sync"
)

// errCut is what a member sees of the network after its crash; nobody is there to see it.
var errCut = errors.New("churn: the member has crashed")

// gate stands between a member and the network. While it is shut nothing comes through in either direction, and nobody is
// told; once it is cut, every connection has ended and none begins.
type gate struct {
	mu    sync.Mutex
	open  chan struct{} // closed while the gate is open
	cut   chan struct{} // closed for ever by a crash
	conns map[net.Conn]bool
}

func newGate() *gate {
	g := &gate{open: make(chan struct{}), cut: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(g.open)
	return g
}

// shut freezes the member.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// sever ends all connections without a word.
func (g *gate) sever() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.cut)
	for conn := range g.conns {
		_ = conn.Close()
	}
}

// pass waits while the member is frozen.
func (g *gate) pass() error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-g.cut:
		return errCut
	default:
	}
	select {
	case <-open:
		return nil
	case <-g.cut:
		return errCut
	}
}

// dial is a kgo.Dialer function.
func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.cut:
		return nil, errors.Join(errCut, conn.Close())
	default:
	}
	g.conns[conn] = true
	return &gated{Conn: conn, gate: g}, nil
}

// gated is a connection behind a gate.
type gated struct {
	net.Conn
	gate *gate
}

// Read gives nothing to a frozen member, not even what came before.
func (c *gated) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if shut := c.gate.pass(); shut != nil {
		return 0, shut
	}
	return n, err
}

// Write sends nothing of a frozen member.
func (c *gated) Write(p []byte) (int, error) {
	if err := c.gate.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes the connection; the gate forgets it.
func (c *gated) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c.Conn)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
