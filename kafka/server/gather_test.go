package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"pgregory.net/rapid"

	"millrace/kafka/wire"
)

// calls counts what reaches the socket.
type calls struct {
	net.Conn
	got    bytes.Buffer
	writes int
	fail   error
}

func (c *calls) Write(b []byte) (int, error) {
	c.writes++
	if c.fail != nil {
		return 0, c.fail
	}
	return c.got.Write(b)
}

// TestGathered: whatever is written comes out once and in order, between begin and end in as few calls as there are full buffers.
func TestGathered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g gathered
		nc, want := &calls{}, []byte(nil)
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			gather := rapid.Bool().Draw(t, "gather")
			if gather {
				g.begin()
			}
			nc.writes = 0
			sizes := rapid.SliceOfN(rapid.IntRange(1, gatherBytes+2), 0, 8).Draw(t, "sizes")
			total := 0
			for i, size := range sizes {
				b := bytes.Repeat([]byte{byte(i + len(want))}, size)
				want, total = append(want, b...), total+size
				if n, err := g.write(nc, b); n != size || err != nil {
					t.Fatalf("%d of %d: %v", n, size, err)
				}
			}
			if !gather {
				continue
			}
			if err := g.end(nc); err != nil {
				t.Fatal(err)
			}
			if total <= gatherBytes && nc.writes > 1 {
				t.Errorf("%d calls for %d bytes", nc.writes, total)
			}
			if g.busy.Load() || g.buf != nil || g.n != 0 {
				t.Error("something is kept after the end")
			}
		}
		if !bytes.Equal(nc.got.Bytes(), want) {
			t.Errorf("%d bytes came out, not the %d that went in", nc.got.Len(), len(want))
		}
	})
}

// TestGatheredFault: the fault of a write that was put off is told at the end.
func TestGatheredFault(t *testing.T) {
	var g gathered
	nc := &calls{fail: io.ErrClosedPipe}
	g.begin()
	if n, err := g.write(nc, make([]byte, 100)); n != 100 || err != nil {
		t.Fatalf("%d: %v", n, err)
	}
	if err := g.end(nc); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("end: %v", err)
	}
}

// TestTLSBothWays sends large requests and gets large replies in pieces over TLS.
func TestTLSBothWays(t *testing.T) {
	cert, pool := testCertificate(t)
	pieces := func(body []byte) (all net.Buffers) {
		for size := 1; len(body) > 0; size *= 3 {
			n := min(size, len(body))
			all, body = append(all, body[:n]), body[n:]
		}
		return all
	}
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: pieces(bytes.Clone(r.Body))})
	}})
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}})
	c := r.dialTLS(address, &tls.Config{RootCAs: pool})
	for i, size := range []int{1, recordBytes, recordBytes + 1, 5 * gatherBytes, 100, 1 << 20} {
		body := make([]byte, size)
		for k := range body {
			body[k] = byte(k*13 + i)
		}
		whole := frame(wire.RequestHeader{Key: 3, Version: 1, CorrelationID: int32(i), ClientID: "test"}, body)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write(append(bytes.Clone(whole), whole...))
			written <- err
		}()
		for range 2 {
			reply := make([]byte, 8+size)
			if _, err := io.ReadFull(c.br, reply); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(reply[8:], body) {
				t.Fatalf("a reply of %d bytes is not what was sent", size)
			}
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseOfASlowReader: a connection over TLS whose client does not read is not asked to say farewell while a write is under way.
func TestCloseOfASlowReader(t *testing.T) {
	cert, pool := testCertificate(t)
	reply := make([]byte, 2*recordBytes) // all of it is written when it is gathered, which package tls does not see
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{reply}})
	}})
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}})
	c := r.dialTLS(address, &tls.Config{RootCAs: pool})
	for i := range 1000 {
		c.send(3, 1, int32(i), "")
	}
	var conn *Conn
	last := int64(-1)
	eventually(t, "a write waits", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for open := range r.conns {
			conn = open
		}
		before := last
		last = r.Metrics().BytesOut.Load()
		return conn != nil && conn.paced != nil && conn.paced.out.busy.Load() && last > 0 && last == before
	})
	conn.Close()
	eventually(t, "it has ended", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.conns) == 0
	})
	if n := r.Metrics().SlowEnded.Load(); n != 0 {
		t.Error("the write ended by the deadline of a farewell, not by the end of the connection")
	}
}
