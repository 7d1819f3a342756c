package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/kafka/wire"
)

// TestSlowReaderIsNotReadFrom: replies that the client does not take stop the reading of its requests. The pipe holds
// nothing, so the first reply blocks at once.
func TestSlowReaderIsNotReadFrom(t *testing.T) {
	const n, size = 100, 100_000
	replied := make(chan struct{}, n)
	var handled, released atomic.Int64
	h := &fake{handle: func(_ context.Context, r *Request) {
		if handled.Add(1) > 1 {
			<-replied // the one before, so that it counts in the queue
		}
		go func() {
			r.Reply(Response{Buffers: net.Buffers{make([]byte, size)}, Release: func() { released.Add(1) }})
			replied <- struct{}{}
		}()
	}}
	inBubble(t, Config{ReplyQueueBytes: 5 * size, WriteTimeout: time.Hour}, h, func(_ *Server, ln *pipeListener) {
		c := ln.dial()
		go func() {
			for i := range n {
				if _, err := c.Write(frame(wire.RequestHeader{Key: 3, Version: 1, CorrelationID: int32(i)}, nil)); err != nil {
					t.Error(err)
				}
			}
		}()
		synctest.Wait()
		// Fewer where a reply comes before its handler has returned: the reader then writes it itself, and blocks.
		if got := handled.Load(); got > 7 {
			t.Errorf("%d requests read, want about 5 at most", got)
		}
		if _, err := io.CopyN(io.Discard, c, n*(size+8)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if handled.Load() != n || released.Load() != n {
			t.Errorf("%d handled, %d released", handled.Load(), released.Load())
		}
	})
}

func TestPeerThatNeverReadsIsCutOff(t *testing.T) {
	var released atomic.Int64
	r := newRig(t, Config{WriteTimeout: 50 * time.Millisecond}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{make([]byte, 64<<20)}, Release: func() { released.Add(1) }})
	}})
	c := r.dial()
	c.send(3, 1, 1, "")
	eventually(t, "it is cut off", func() bool { return r.Metrics().SlowEnded.Load() == 1 && released.Load() == 1 })
}

func TestFramesWaitForTheBudget(t *testing.T) {
	held := make(chan *Request, 10)
	r := newRig(t, Config{InFlightBytes: 100_000}, &fake{handle: func(_ context.Context, r *Request) { held <- r }})
	body := strings.Repeat("x", 40_000)
	var clients []*client
	for range 3 {
		c := r.dial()
		c.send(3, 1, 1, body)
		clients = append(clients, c)
	}
	first, second := <-held, <-held
	if used := r.InFlightBytes(); used > 100_000 {
		t.Errorf("%d bytes in flight", used)
	}
	select {
	case <-held:
		t.Fatal("the third frame was read beyond the budget")
	default:
	}
	second.FreeBody() // a handler that waits may give its frame back before it answers
	third := <-held
	for _, req := range []*Request{first, second, third} {
		req.Reply(Response{})
	}
	for _, c := range clients {
		c.expect(1, "")
	}
}

// Heartbeats and probes get through when all room is taken, one at a time for each connection (SV3).
func TestSmallFramesNeedNoRoom(t *testing.T) {
	held := make(chan *Request, 10)
	r := newRig(t, Config{InFlightBytes: 50_000}, &fake{handle: func(_ context.Context, r *Request) { held <- r }})
	large, small := r.dial(), r.dial()
	large.send(3, 1, 1, strings.Repeat("x", 50_000-100))
	taken := <-held
	used := r.InFlightBytes()
	next := r.dial() // waits for room, and everybody else behind it
	next.send(3, 1, 1, strings.Repeat("x", 40_000))
	eventually(t, "it waits", func() bool { return r.waiting.Load() == 1 })
	small.send(3, 1, 1, "")
	small.send(3, 1, 2, "")
	probe := <-held
	if now := r.InFlightBytes(); now != used || probe.Size() == 0 {
		t.Errorf("%d bytes in flight, before %d; the frame has %d", now, used, probe.Size())
	}
	select {
	case <-held:
		t.Fatal("a second small frame of the connection was read beyond the budget")
	default:
	}
	probe.Reply(Response{})
	small.expect(1, "")
	taken.Reply(Response{})
	large.expect(1, "")
	for range 2 {
		(<-held).Reply(Response{})
	}
	next.expect(1, "")
	small.expect(2, "")
}

func TestFrameLargerThanTheBudgetIsReadAlone(t *testing.T) {
	r := newRig(t, Config{InFlightBytes: 1 << 10}, &fake{handle: echo})
	c := r.dial()
	c.send(3, 1, 1, strings.Repeat("x", 1<<20))
	c.expect(1, strings.Repeat("x", 1<<20))
}

func TestInFlightPerConnectionIsBounded(t *testing.T) {
	held := make(chan *Request, 100)
	r := newRig(t, Config{MaxInFlightPerConn: 4}, &fake{handle: func(_ context.Context, r *Request) { held <- r }})
	c := r.dial()
	for i := range 20 {
		c.send(3, 1, int32(i), "")
	}
	eventually(t, "four requests are read", func() bool { return len(held) == 4 })
	for i := range 20 {
		(<-held).Reply(Response{})
		c.expect(int32(i), "")
		if len(held) > 4 {
			t.Fatalf("%d requests in flight", len(held))
		}
	}
}

// pipeListener hands out one end of pipes, so that a whole server runs inside a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// inBubble runs f with a server in a synctest bubble, where time passes only when everyone waits.
func inBubble(t *testing.T, cfg Config, h Handler, f func(s *Server, ln *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		slabs, err := slab.New(slab.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(cfg, h, World{Log: slog.New(slog.DiscardHandler), Clock: clock.System{}, Slabs: slabs})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipeListener()
		served := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background()) // t.Context ends outside the bubble
		defer cancel()
		go func() { served <- s.Serve(ctx, "pipe", ln) }()
		f(s, ln)
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// ended reports how long the peer takes to close c.
func ended(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes read", n)
	}
	return time.Since(start)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, Config{IdleTimeout: 10 * time.Minute}, &fake{handle: echo}, func(s *Server, ln *pipeListener) {
		c := ln.dial()
		if d := ended(t, c); d != 10*time.Minute {
			t.Errorf("closed after %v", d)
		}
		synctest.Wait()
		if n := s.Metrics().IdleEnded.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestWaitingForAReplyIsNotIdle(t *testing.T) {
	h := &fake{handle: func(_ context.Context, r *Request) {
		time.AfterFunc(time.Hour, func() { r.Reply(Response{}) })
	}}
	inBubble(t, Config{IdleTimeout: 10 * time.Minute}, h, func(_ *Server, ln *pipeListener) {
		c := ln.dial()
		if _, err := c.Write(frame(wire.RequestHeader{Key: 3, Version: 1}, nil)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if n, err := c.Read(make([]byte, 100)); n != 8 || err != nil || time.Since(start) != time.Hour {
			t.Errorf("read %d bytes after %v: %v", n, time.Since(start), err)
		}
		if d := ended(t, c); d != 10*time.Minute {
			t.Errorf("closed %v after the reply", d)
		}
	})
}

func TestLoginHasADeadline(t *testing.T) {
	h := &fake{anonymous: true, handle: echo}
	inBubble(t, Config{HandshakeTimeout: 20 * time.Second}, h, func(_ *Server, ln *pipeListener) {
		start := time.Now()
		c := ln.dial()
		for range 3 { // requests do not move it
			<-time.After(5 * time.Second)
			if _, err := c.Write(frame(wire.RequestHeader{Key: 3, Version: 1}, nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		ended(t, c)
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestFrameHasADeadline(t *testing.T) {
	inBubble(t, Config{FrameTimeout: 7 * time.Second}, &fake{handle: echo}, func(s *Server, ln *pipeListener) {
		c := ln.dial()
		if _, err := c.Write([]byte{0, 0, 0, 100, 1, 2}); err != nil {
			t.Fatal(err)
		}
		if d := ended(t, c); d != 7*time.Second {
			t.Errorf("closed after %v", d)
		}
		synctest.Wait()
		if s.InFlightBytes() != 0 {
			t.Error("the budget was not given back")
		}
	})
}

// TestStalledFramesMakeRoom: a peer that claims a large frame and sends nothing is cut off once others wait for its room. One
// that is slow but gets on is not.
func TestStalledFramesMakeRoom(t *testing.T) {
	h := &fake{handle: func(_ context.Context, r *Request) { r.Reply(Response{}) }}
	inBubble(t, Config{InFlightBytes: 200_000, StallTimeout: time.Second}, h, func(s *Server, ln *pipeListener) {
		frame := func(size int) []byte {
			f := wire.AppendHeader(make([]byte, wire.SizeBytes), wire.RequestHeader{Key: 3, Version: 1, CorrelationID: 1})
			f = append(f, make([]byte, size+wire.SizeBytes-len(f))...)
			wire.PutFrameSize(f, size)
			return f
		}
		slow, stalled, honest := ln.dial(), ln.dial(), ln.dial()
		for c, n := range map[net.Conn]int{slow: 5, stalled: 10} {
			if _, err := c.Write(frame(100_000)[:n]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if s.InFlightBytes() != 200_000 {
			t.Fatalf("%d bytes in flight", s.InFlightBytes())
		}
		answered := make(chan error, 2)
		send := func(c net.Conn, rest []byte, piece int) {
			for piece := range slices.Chunk(rest, piece) {
				if _, err := c.Write(piece); err != nil {
					answered <- err
					return
				}
				time.Sleep(900 * time.Millisecond) // in the bubble: no time passes
			}
			_, err := io.ReadFull(c, make([]byte, 8))
			answered <- err
		}
		go send(slow, frame(100_000)[5:], 70_000)
		go send(honest, frame(150_000), 150_004)
		if d := ended(t, stalled); d > 2*time.Second {
			t.Errorf("the stalled frame was cut off after %v", d)
		}
		for range 2 {
			if err := <-answered; err != nil {
				t.Errorf("one that gets on: %v", err)
			}
		}
	})
}

func TestThrottleRepliesFirstAndThenMutes(t *testing.T) {
	h := &fake{handle: func(_ context.Context, r *Request) {
		resp := Response{Buffers: net.Buffers{bytes.Clone(r.Body)}}
		if string(r.Body) == "throttle" {
			resp.Throttle = 3 * time.Second
		}
		r.Reply(resp)
	}}
	inBubble(t, Config{}, h, func(_ *Server, ln *pipeListener) {
		c := ln.dial()
		for _, tc := range []struct {
			body string
			wait time.Duration
		}{{"throttle", 0}, {"next", 3 * time.Second}, {"more", 0}} {
			start := time.Now()
			if _, err := c.Write(frame(wire.RequestHeader{Key: 3, Version: 1}, []byte(tc.body))); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != tc.wait {
				t.Errorf("%s answered after %v, want %v", tc.body, d, tc.wait)
			}
		}
	})
}

func TestThrottleBeyondIdleTimeEndsTheConnection(t *testing.T) {
	h := &fake{handle: func(_ context.Context, r *Request) {
		r.Conn.Mute(time.Hour)
		r.Reply(Response{Buffers: net.Buffers{bytes.Clone(r.Body)}})
	}}
	inBubble(t, Config{IdleTimeout: 10 * time.Minute}, h, func(s *Server, ln *pipeListener) {
		c := ln.dial()
		for _, body := range []string{"first", "second"} {
			if _, err := c.Write(frame(wire.RequestHeader{Key: 3, Version: 1}, []byte(body))); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			n, err := c.Read(make([]byte, 100))
			if d := time.Since(start); body == "second" && (err == nil || d != 10*time.Minute) {
				t.Errorf("second: %d bytes, error %v after %v", n, err, d)
			}
		}
		if n := s.Metrics().IdleEnded.Load(); n != 1 {
			t.Errorf("%d connections ended as idle", n)
		}
	})
}

func TestCloseWaitsForRequestsInFlight(t *testing.T) {
	h := &fake{handle: func(_ context.Context, r *Request) {
		time.AfterFunc(5*time.Second, func() { r.Reply(Response{Buffers: net.Buffers{[]byte("late")}}) })
	}}
	inBubble(t, Config{}, h, func(s *Server, ln *pipeListener) {
		c := ln.dial()
		if _, err := c.Write(frame(wire.RequestHeader{Key: 0, Version: 3}, nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		closed := make(chan time.Duration, 1)
		start := time.Now()
		go func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
			closed <- time.Since(start)
		}()
		if n, err := c.Read(make([]byte, 100)); n != 12 || err != nil {
			t.Errorf("read %d bytes: %v", n, err)
		}
		if d := <-closed; d != 5*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestCloseEndsTheContextOfBlockedHandlers(t *testing.T) {
	h := &fake{handle: func(ctx context.Context, r *Request) {
		<-ctx.Done()
		r.Reply(Response{Buffers: net.Buffers{[]byte("stopped")}})
	}}
	r := newRig(t, Config{}, h)
	c := r.dial()
	c.send(1, 4, 1, "")
	eventually(t, "it is handled", func() bool { return r.Metrics().Requests[1].Load() == 1 })
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	c.expect(1, "stopped")
	c.expectEnd()
	if err := r.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	held := make(chan *Request, 1)
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) { held <- r }})
	c := r.dial()
	c.send(0, 3, 1, "")
	req := <-held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.expectEnd()
	released := false
	req.Reply(Response{Written: func() { t.Error("a reply to a closed connection was written") }, Release: func() { released = true }})
	if !released {
		t.Error("a reply to a closed connection was not released")
	}
}

func TestServeAfterClose(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: echo})
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(t.Context(), "again", ln); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// FuzzStream sends arbitrary bytes: the server must end the connection, give everything back and not panic.
func FuzzStream(f *testing.F) {
	whole := frame(wire.RequestHeader{Key: 3, Version: 1, CorrelationID: 1, ClientID: "c"}, []byte("body"))
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(frame(wire.RequestHeader{Key: 18, Version: 99}, nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		slabs, err := slab.New(slab.Config{Poison: true})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{}, &fake{handle: echo}, World{Log: slog.New(slog.DiscardHandler), Clock: clock.System{}, Slabs: slabs})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), "pipe", ln) }()
		c := ln.dial()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			b := make([]byte, 4096)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}()
		_, _ = c.Write(input)
		_ = c.Close()
		<-drained
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if m := s.Metrics(); m.Panics.Load() != 0 || s.InFlightBytes() != 0 || slabs.Stats().LentBytes != 0 {
			t.Fatalf("%d panics, %d bytes in flight, %d lent", m.Panics.Load(), s.InFlightBytes(), slabs.Stats().LentBytes)
		}
	})
}
