package server

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"millrace/kafka/wire"
)

// recorded is a TCP connection that keeps in what order it was ended.
type recorded struct {
	*net.TCPConn
	mu    sync.Mutex
	calls []string
}

func (c *recorded) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, what)
}

func (c *recorded) CloseWrite() error { c.note("end"); return c.TCPConn.CloseWrite() }

func (c *recorded) SetLinger(sec int) error { c.note("reset"); return c.TCPConn.SetLinger(sec) }

func (c *recorded) Close() error { c.note("close"); return c.TCPConn.Close() }

// recorder is a listener of recorded connections.
type recorder struct {
	*net.TCPListener
	accepted chan *recorded
}

func (l *recorder) Accept() (net.Conn, error) {
	nc, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &recorded{TCPConn: nc}
	l.accepted <- c
	return c, nil
}

// SV5: who reads learns of the end by reading, and who does not by a reset.
func TestClientsLearnThatTheServerEnds(t *testing.T) {
	for _, reads := range []bool{true, false} {
		r := newRig(t, Config{}, &fake{handle: echo})
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		rec := &recorder{TCPListener: ln, accepted: make(chan *recorded, 1)}
		served := make(chan error, 1)
		go func() { served <- r.Serve(t.Context(), "recorded", rec) }()
		r.addr = ln.Addr().String()
		c := r.dial()
		conn := <-rec.accepted
		c.send(wire.KeyAPIVersions, 0, 1, "hello")
		c.expect(1, "hello")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if reads {
				c.expectEnd()
				_ = c.Close()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		<-ended
		if err := <-served; err != nil {
			t.Error(err)
		}
		want := []string{"end", "close"}
		if !reads {
			want = []string{"end", "reset", "close"}
		}
		if conn.mu.Lock(); !slices.Equal(conn.calls, want) {
			t.Errorf("client that reads %v: ended by %v, want %v", reads, conn.calls, want)
		}
		conn.mu.Unlock()
	}
}
