package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/kafka/wire"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// fake is a Handler made of functions; those left nil do the least.
type fake struct {
	handle       func(ctx context.Context, r *Request)
	connected    func(c *Conn) error
	disconnected func(c *Conn)
	anonymous    bool // do not log in
}

func (f *fake) Versions(key int16) (int16, int16, bool) {
	switch key {
	case wire.KeyProduce:
		return 3, 13, true
	case wire.KeyFetch:
		return 4, 18, true
	case 3, 12, wire.KeySASLHandshake, wire.KeySASLAuthenticate:
		return 0, 12, true
	case wire.KeyAPIVersions:
		return 0, 4, true
	}
	return 0, 0, false
}

func (f *fake) Handle(ctx context.Context, r *Request) { f.handle(ctx, r) }

func (f *fake) Connected(_ context.Context, c *Conn) error {
	if !f.anonymous {
		c.SetPrincipal("User:ANONYMOUS")
	}
	if f.connected != nil {
		return f.connected(c)
	}
	return nil
}

func (f *fake) Disconnected(c *Conn) {
	if f.disconnected != nil {
		f.disconnected(c)
	}
}

// echo answers every request with its body.
func echo(_ context.Context, r *Request) {
	r.Reply(Response{Buffers: net.Buffers{bytes.Clone(r.Body)}})
}

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// rig is a running server with one TCP listener.
type rig struct {
	*Server
	t     testing.TB
	addr  string
	log   *logBuffer
	slabs *slab.Pool
	serve chan error
}

// newRig starts a server, and at the end of the test closes it and looks for leaks.
func newRig(t testing.TB, cfg Config, h Handler) *rig {
	t.Helper()
	before := runtime.NumGoroutine()
	_, bench := t.(*testing.B)
	slabs, err := slab.New(slab.Config{Poison: !bench})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: new(logBuffer), slabs: slabs, serve: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	if r.Server, err = New(cfg, h, World{Log: log, Clock: clock.System{}, Slabs: slabs}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	go func() { r.serve <- r.Serve(t.Context(), "plain", ln) }()
	eventually(t, "it listens", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.listeners) == 1
	})
	t.Cleanup(func() { r.stop(before) })
	return r
}

func (r *rig) stop(goroutines int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = r.Close(ctx)
	if err := <-r.serve; err != nil {
		r.t.Errorf("serve: %v", err)
	}
	if n := r.slabs.Stats().LentBytes; n != 0 {
		r.t.Errorf("%d bytes of frames not given back", n)
	}
	if n := r.InFlightBytes(); n != 0 {
		r.t.Errorf("%d bytes of budget not given back", n)
	}
	if n := r.Metrics().Open.Load(); n != 0 {
		r.t.Errorf("%d connections still open", n)
	}
	eventually(r.t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// eventually waits for ok, yielding meanwhile.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("did not come to pass: %s", what)
		}
	}
}

// client speaks frames.
type client struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return &client{Conn: nc, t: r.t, br: bufio.NewReader(nc)}
}

// frame returns a whole request.
func frame(h wire.RequestHeader, body []byte) []byte {
	f := wire.AppendHeader(make([]byte, wire.SizeBytes), h)
	f = append(f, body...)
	wire.PutFrameSize(f, len(f)-wire.SizeBytes)
	return f
}

func (c *client) send(key, version int16, id int32, body string) {
	c.t.Helper()
	if _, err := c.Write(frame(wire.RequestHeader{Key: key, Version: version, CorrelationID: id, ClientID: "test"}, []byte(body))); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one response with header version 0.
func (c *client) receive() (id int32, body string) {
	c.t.Helper()
	b, err := c.read()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return int32(binary.BigEndian.Uint32(b)), string(b[4:])
}

func (c *client) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.br, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c.br, b)
	return b, err
}

func (c *client) expect(id int32, body string) {
	c.t.Helper()
	if gotID, got := c.receive(); gotID != id || got != body {
		c.t.Fatalf("response %d %.40q, want %d %.40q", gotID, got, id, body)
	}
}

// expectEnd waits for the server to close the connection.
func (c *client) expectEnd() {
	c.t.Helper()
	if b, err := c.read(); err == nil {
		c.t.Fatalf("response of %d bytes where the connection should end", len(b))
	} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		c.t.Fatal("the connection does not end")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestEcho(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: echo})
	c := r.dial()
	for i, size := range []int{0, 1, 100, 2047, 2048, 5000, 1 << 20, 3 << 20} {
		body := strings.Repeat("x", size)
		c.send(3, 1, int32(i), body)
		c.expect(int32(i), body)
	}
	if n := r.Metrics().Requests[3].Load(); n != 8 {
		t.Errorf("%d requests counted", n)
	}
}

func TestResponseHeaderFollowsTheVersion(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		switch r.Header.Key {
		case 3:
			r.Reply(Response{Msg: kmsg.NewPtrMetadataResponse()})
		case 18:
			r.Reply(Response{Msg: kmsg.NewPtrApiVersionsResponse()})
		}
	}})
	c := r.dial()
	for _, tc := range []struct {
		key, version int16
		flexible     bool
		want         int16 // version of the body
	}{{3, 8, false, 8}, {3, 9, true, 9}, {18, 0, false, 0}, {18, 3, false, 3}, {18, 9, false, 0}, {18, 32767, false, 0}} {
		c.send(tc.key, tc.version, 7, "")
		_, got := c.receive()
		resp := kmsg.ResponseForKey(tc.key)
		resp.SetVersion(tc.want)
		want := string(resp.AppendTo(nil))
		if tc.flexible {
			want = "\x00" + want
		}
		if got != want {
			t.Errorf("key %d version %d: %x, want %x", tc.key, tc.version, got, want)
		}
	}
}

func TestRepliesGoOutInRequestOrder(t *testing.T) {
	const n = 200
	var mu sync.Mutex
	var held []*Request
	all := make(chan struct{})
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		mu.Lock()
		defer mu.Unlock()
		if held = append(held, r); len(held) == n {
			close(all)
		}
	}})
	c := r.dial()
	for i := range n {
		c.send(3, 1, int32(i), "")
	}
	<-all
	var wg sync.WaitGroup
	for i := range n { // completed from the back, by many
		req := held[(n-1-i)*7%n]
		wg.Go(func() {
			id := req.Header.CorrelationID
			if id%3 == 0 {
				req.NoReply()
				return
			}
			req.Reply(Response{Buffers: net.Buffers{[]byte(fmt.Sprint(id))}})
		})
	}
	wg.Wait()
	for i := range n {
		if i%3 != 0 {
			c.expect(int32(i), fmt.Sprint(i))
		}
	}
}

// TestEarlierReplyDoesNotWaitForABlockedHandler: a completion must go out while the reader is busy with the next request.
func TestEarlierReplyDoesNotWaitForABlockedHandler(t *testing.T) {
	first := make(chan *Request, 1)
	blocked, unblock := make(chan struct{}), make(chan struct{})
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		if r.Header.CorrelationID == 1 {
			first <- r
			return
		}
		close(blocked)
		<-unblock
		r.Reply(Response{})
	}})
	c := r.dial()
	c.send(0, 3, 1, "")
	c.send(1, 4, 2, "")
	<-blocked
	(<-first).Reply(Response{Buffers: net.Buffers{[]byte("early")}})
	c.expect(1, "early")
	close(unblock)
	c.expect(2, "")
}

func TestReleaseIsCalledOnce(t *testing.T) {
	var mu sync.Mutex
	released := map[int32]int{}
	reply := func(r *Request) {
		id := r.Header.CorrelationID
		r.Reply(Response{Buffers: net.Buffers{make([]byte, 10_000)}, Release: func() {
			mu.Lock()
			released[id]++
			mu.Unlock()
		}})
	}
	late := make(chan *Request, 100)
	gone := make(chan struct{})
	r := newRig(t, Config{}, &fake{
		handle: func(_ context.Context, r *Request) {
			if r.Header.CorrelationID < 50 {
				reply(r)
			} else {
				late <- r
			}
		},
		disconnected: func(*Conn) { close(gone) },
	})
	c := r.dial()
	for i := range 100 {
		c.send(0, 3, int32(i), "")
	}
	for i := range 50 {
		if id, _ := c.receive(); id != int32(i) {
			t.Fatalf("response %d, want %d", id, i)
		}
	}
	eventually(t, "all requests arrive", func() bool { return len(late) == 50 })
	for range 25 { // all but the first wait behind it when the connection goes
		req := <-late
		if req.Header.CorrelationID > 50 {
			reply(req)
		} else {
			late <- req
		}
	}
	_ = c.Close()
	<-gone
	for len(late) > 0 {
		reply(<-late)
	}
	eventually(t, "all replies are released", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(released) == 100
	})
	for id, n := range released {
		if n != 1 {
			t.Errorf("reply %d released %d times", id, n)
		}
	}
}

func TestAnsweringTwicePanics(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{})
		r.Reply(Response{})
	}})
	c := r.dial()
	c.send(3, 1, 1, "")
	c.expectEnd()
	eventually(t, "panic is logged", func() bool { return r.log.count("handler panicked") == 1 })
}

func TestPanicClosesOnlyItsConnection(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(ctx context.Context, r *Request) {
		if r.Header.Key == 12 {
			panic("boom")
		}
		echo(ctx, r)
	}})
	bad, good := r.dial(), r.dial()
	good.send(3, 1, 1, "before")
	good.expect(1, "before")
	bad.send(12, 1, 1, "")
	bad.expectEnd()
	good.send(3, 1, 2, "after")
	good.expect(2, "after")
	if n := r.Metrics().Panics.Load(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestPanicWhileEncodingClosesTheConnection(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Msg: (*kmsg.MetadataResponse)(nil)})
	}})
	c := r.dial()
	c.send(3, 1, 1, "")
	c.expectEnd()
	if r.log.count("reply not encoded") != 1 {
		t.Error("nothing logged")
	}
}

func TestBadInput(t *testing.T) {
	whole := frame(wire.RequestHeader{Key: 3, Version: 1, CorrelationID: 1, ClientID: "c"}, []byte("body"))
	for name, input := range map[string][]byte{
		"http":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"tls hello":         {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00},
		"negative size":     {0xff, 0xff, 0xff, 0xff, 0, 0},
		"largest size":      {0x7f, 0xff, 0xff, 0xff, 0, 0},
		"zero size":         {0, 0, 0, 0},
		"tiny frame":        {0, 0, 0, 3, 0, 3, 0},
		"client id beyond":  {0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0, 50},
		"unknown key":       frame(wire.RequestHeader{Key: 1000, Version: 0}, nil),
		"negative key":      frame(wire.RequestHeader{Key: -1, Version: 0}, nil),
		"version too high":  frame(wire.RequestHeader{Key: 3, Version: 99}, nil),
		"version too low":   frame(wire.RequestHeader{Key: 0, Version: 2}, nil),
		"negative version":  frame(wire.RequestHeader{Key: 3, Version: -1}, nil),
		"size prefix only":  whole[:2],
		"truncated frame":   whole[:len(whole)-1],
		"garbage after one": append(bytes.Clone(whole), 0xff, 0xfe, 0xfd, 0xfc),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{}, &fake{handle: echo})
			c := r.dial()
			if _, err := c.Write(input); err != nil {
				t.Fatal(err)
			}
			if name == "garbage after one" {
				c.expect(1, "body")
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			c.expectEnd()
			eventually(t, "it is counted", func() bool { return r.Metrics().Rejected.Load() == 1 })
			if n := r.log.count("level=WARN"); n != 1 {
				t.Errorf("%d log lines", n)
			}
		})
	}
}

func TestComplaintsAreThrottled(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: echo})
	for range 50 {
		c := r.dial()
		_, _ = c.Write([]byte{0xff, 0xff, 0xff, 0xff})
		c.expectEnd()
	}
	eventually(t, "all are counted", func() bool { return r.Metrics().Rejected.Load() == 50 })
	if n := r.log.count("bad input"); n > 5 {
		t.Errorf("%d log lines", n)
	}
}

// TestRefusedRequestsAreBadInput: what the handler cannot read is counted and logged like a bad frame.
func TestRefusedRequestsAreBadInput(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) { r.Refuse(wire.ErrMalformed) }})
	for range 20 {
		c := r.dial()
		c.send(3, 1, 1, "x")
	}
	eventually(t, "all are counted", func() bool { return r.Metrics().Rejected.Load() == 20 && r.Metrics().Open.Load() == 0 })
	if n := r.log.count("bad input"); n < 1 || n > 5 {
		t.Errorf("%d log lines", n)
	}
	if used := r.InFlightBytes(); used != 0 {
		t.Errorf("%d bytes in flight", used)
	}
}

func TestLimitsOfConnections(t *testing.T) {
	t.Run("in all", func(t *testing.T) { testConnectionLimit(t, Config{MaxConnections: 2}) })
	t.Run("per address", func(t *testing.T) { testConnectionLimit(t, Config{MaxConnectionsPerIP: 2}) })
}

func testConnectionLimit(t *testing.T, cfg Config) {
	r := newRig(t, cfg, &fake{handle: echo})
	a, b := r.dial(), r.dial()
	for _, c := range []*client{a, b} {
		c.send(3, 1, 1, "x")
		c.expect(1, "x")
	}
	r.dial().expectEnd()
	if n := r.Metrics().Refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	_ = a.Close()
	eventually(t, "the place is free", func() bool { return r.Metrics().Open.Load() == 1 })
	c := r.dial()
	c.send(3, 1, 2, "y")
	c.expect(2, "y")
}

func TestConnectedMayRefuse(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: echo, connected: func(*Conn) error { return errors.New("not you") },
		disconnected: func(*Conn) { t.Error("disconnected without being connected") }})
	r.dial().expectEnd()
}

func TestFramesBeforeLoginAreSmall(t *testing.T) {
	r := newRig(t, Config{MaxLoginBytes: 1000, MaxRequestBytes: 10_000}, &fake{anonymous: true, handle: func(ctx context.Context, r *Request) {
		if string(r.Body) == "login" {
			r.Conn.SetPrincipal("User:me")
		}
		echo(ctx, r)
	}})
	c := r.dial()
	c.send(3, 1, 1, "login")
	c.expect(1, "login")
	c.send(3, 1, 2, strings.Repeat("x", 5000))
	c.expect(2, strings.Repeat("x", 5000))
	c.send(3, 1, 3, strings.Repeat("x", 10_000))
	c.expectEnd()
	d := r.dial()
	d.send(3, 1, 1, strings.Repeat("x", 5000))
	d.expectEnd()
}

func TestRawFrames(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		if r.Raw {
			if r.Header.Key != wire.KeySASLAuthenticate {
				t.Errorf("raw frame has key %d", r.Header.Key)
			}
			r.Conn.SetRaw(string(r.Body) != "last")
			r.Reply(Response{Buffers: net.Buffers{[]byte("raw "), bytes.Clone(r.Body)}})
			return
		}
		r.Conn.SetRaw(r.Header.Key == wire.KeySASLHandshake)
		r.Reply(Response{})
	}})
	c := r.dial()
	c.send(wire.KeySASLHandshake, 0, 1, "")
	c.expect(1, "")
	for _, token := range []string{"first", "last"} {
		_, _ = c.Write(append([]byte{0, 0, 0, byte(len(token))}, token...))
		if b, err := c.read(); err != nil || string(b) != "raw "+token {
			t.Fatalf("%q, %v", b, err)
		}
	}
	c.send(3, 1, 2, "")
	c.expect(2, "")
}

func TestReplyCanCloseTheConnection(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{[]byte("bye")}, Close: true})
	}})
	c := r.dial()
	c.send(3, 1, 1, "")
	c.expect(1, "bye")
	c.expectEnd()
}

func TestRequestClose(t *testing.T) {
	r := newRig(t, Config{}, &fake{handle: func(_ context.Context, r *Request) { r.Close() }})
	c := r.dial()
	c.send(3, 1, 1, "")
	c.expectEnd()
}

func TestConnKeepsWhatItIsTold(t *testing.T) {
	seen := make(chan *Conn, 1)
	r := newRig(t, Config{}, &fake{handle: func(ctx context.Context, r *Request) {
		r.Conn.SetSession(42)
		r.Conn.SetSoftware(Software{Name: "librdkafka", Version: "2.15"})
		seen <- r.Conn
		echo(ctx, r)
	}})
	c := r.dial()
	c.send(3, 1, 1, "")
	c.expect(1, "")
	conn := <-seen
	if conn.Session() != 42 || conn.Software().Name != "librdkafka" || conn.ClientID() != "test" || conn.Listener() != "plain" ||
		conn.Principal() != "User:ANONYMOUS" || conn.ID() == 0 || conn.TLS() != nil || conn.Since().IsZero() ||
		conn.RemoteAddr().String() != c.LocalAddr().String() || conn.LocalAddr().String() != r.addr {
		t.Errorf("%+v", conn)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{MaxRequestBytes: 5, IdleTimeout: -1, MaxConnections: -1}, &fake{}, World{})
	if !errors.Is(err, errConfig) || strings.Count(err.Error(), "must be") < 3 {
		t.Errorf("got %v", err)
	}
}
