package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// serveTLS serves TLS at an address of its own.
func (r *rig) serveTLS(cfg *tls.Config) (address string) {
	r.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.ServeTLS(r.t.Context(), "tls", ln, cfg) }()
	r.t.Cleanup(func() {
		_ = ln.Close()
		if err := <-served; err != nil {
			r.t.Error(err)
		}
	})
	return ln.Addr().String()
}

func (r *rig) dialTLS(address string, cfg *tls.Config) *client {
	r.t.Helper()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: cfg}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	return &client{Conn: nc, t: r.t, br: bufio.NewReader(nc)}
}

func (r *rig) dialPlain(address string) net.Conn {
	r.t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// stall is a client's end of a handshake that stops before its last flight.
type stall struct {
	net.Conn
	writes int
}

func (s *stall) Write(b []byte) (int, error) {
	if s.writes++; s.writes > 1 {
		return len(b), nil // swallowed
	}
	return s.Conn.Write(b)
}

// TestStalledHandshakesKeepNobodyOut: peers that say nothing, say half of a hello, or stop half-way hold no slot (SV8).
func TestStalledHandshakesKeepNobodyOut(t *testing.T) {
	cert, pool := testCertificate(t)
	r := newRig(t, Config{Handshakes: 1, TLSTimeout: patience}, &fake{handle: echo})
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}})
	for range 10 {
		r.dialPlain(address)
		half := r.dialPlain(address)
		if _, err := half.Write([]byte{0x16, 3, 1, 2, 0, 1, 0}); err != nil {
			t.Fatal(err)
		}
		// The server's answer is there when the client's second write is swallowed.
		stalled := tls.Client(&stall{Conn: r.dialPlain(address)}, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		if err := stalled.Handshake(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		c := r.dialTLS(address, &tls.Config{RootCAs: pool})
		c.send(3, 1, int32(i), "hello")
		c.expect(int32(i), "hello")
	}
	if n := r.Metrics().TLSFailed.Load(); n != 0 {
		t.Errorf("%d handshakes failed", n)
	}
	eventually(t, "no slot is held while nobody computes", func() bool {
		r.handshakes.mu.Lock()
		defer r.handshakes.mu.Unlock()
		return r.handshakes.free == 1
	})
}

// TestStalledHandshakeEnds: who does not finish is cut off, and told of.
func TestStalledHandshakeEnds(t *testing.T) {
	cert, _ := testCertificate(t)
	var told atomic.Int64
	r := newRig(t, Config{TLSTimeout: 20 * time.Millisecond}, &fake{handle: echo})
	r.world.HandshakeFailed = func(_ *Conn, err error) {
		if errors.Is(err, errTLS) {
			told.Add(1)
		}
	}
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}})
	nc := r.dialPlain(address)
	if _, err := io.Copy(io.Discard, nc); err != nil {
		t.Logf("ended by a reset: %v", err)
	}
	eventually(t, "the handshake has failed", func() bool { return r.Metrics().TLSFailed.Load() == 1 && told.Load() == 1 })
}

// TestOldestBeforeLoginGoes: a flood of connections that do not log in displaces itself, and never one that has.
func TestOldestBeforeLoginGoes(t *testing.T) {
	var login atomic.Bool
	h := &fake{handle: echo, anonymous: true, connected: func(c *Conn) error {
		if login.Load() {
			c.SetPrincipal("User:good")
		}
		return nil
	}}
	r := newRig(t, Config{MaxConnections: 100, MaxPending: 3}, h)
	login.Store(true)
	good := r.dial()
	good.send(3, 1, 1, "in")
	good.expect(1, "in")
	login.Store(false)
	var idle []*client
	for range 3 {
		c := r.dial()
		c.send(3, 1, 1, "waits") // so that the order is that of arrival
		c.expect(1, "waits")
		idle = append(idle, c)
	}
	if n := r.Metrics().Displaced.Load(); n != 0 {
		t.Fatalf("%d displaced", n)
	}
	for n := range 3 {
		c := r.dial()
		if _, err := io.Copy(io.Discard, idle[n]); err != nil {
			t.Logf("the oldest was ended by a reset: %v", err)
		}
		c.send(3, 1, 2, "new")
		c.expect(2, "new")
	}
	if n := r.Metrics().Displaced.Load(); n != 3 {
		t.Errorf("%d displaced", n)
	}
	good.send(3, 1, 2, "still in")
	good.expect(2, "still in")
	eventually(t, "four are open", func() bool { return r.Metrics().Open.Load() == 4 })
}

// TestRecheckByCertificate ends one connection of two, at once though its peer does not read, and reports both before.
func TestRecheckByCertificate(t *testing.T) {
	cert, pool := testCertificate(t)
	r := newRig(t, Config{}, &fake{handle: echo})
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	first, second := r.dialTLS(address, &tls.Config{RootCAs: pool}), r.dial()
	for _, c := range []*client{first, second} {
		c.send(3, 1, 1, "x")
		c.expect(1, "x")
	}
	silent := r.dialPlain(address) // in its handshake; nobody waits for it
	_ = silent
	want := TLSKind{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", Curve: "X25519MLKEM768"}
	secured := 0
	for _, c := range r.Connections() {
		if c.TLS != nil {
			secured++
			if c.Kind != want || c.Principal == "" || c.Listener != "tls" {
				t.Errorf("connection: %+v", c)
			}
		}
	}
	if counts := r.Metrics().TLS(); secured != 1 || len(counts) != 1 || counts[0] != (TLSCount{TLSKind: want, Handshakes: 1, Open: 1}) {
		t.Errorf("%d connections with TLS; %+v", secured, counts)
	}
	if n := r.Recheck(func(c *Conn) error {
		if c.TLS() != nil {
			return errors.New("revoked")
		}
		return nil
	}); n != 1 {
		t.Errorf("%d connections ended", n)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	second.send(3, 1, 2, "y")
	second.expect(2, "y")
	eventually(t, "none is open", func() bool { return r.Metrics().TLS()[0].Open == 0 })
}
