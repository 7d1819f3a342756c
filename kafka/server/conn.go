package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"millrace/kafka/wire"
)

var (
	errTooBig  = errors.New("frame larger than the limit")
	errVersion = errors.New("api key or version not served")
	errDrain   = errors.New("server is closing")
	errIdle    = errors.New("idle")
	errPanic   = errors.New("handler panicked")
	errTLS     = errors.New("tls handshake")
)

// readBuffer is the size of a connection's read buffer: enough for a pipeline of small requests. Larger frames go
// straight from the socket into their slab.
const readBuffer = 4 << 10

// smallFrame is up to how many bytes a frame needs no room in the budget, if nothing else of its connection is in flight. So what keeps a client or a
// broker alive (heartbeats, the probe of its agent) gets through when large frames have taken all the room.
const smallFrame = 512

// Conn is one connection of a client. Its methods are safe for concurrent use.
type Conn struct {
	id       uint64
	srv      *Server
	nc       net.Conn
	paced    *pacedConn // below nc, where that is of TLS; nil: there is none
	listener string
	ip       netip.Addr // invalid if the peer has none
	since    time.Time
	ctx      context.Context // of the handlers
	cancel   context.CancelFunc
	br       *bufio.Reader // of the reader goroutine

	dead   chan struct{} // closed by shut
	room   chan struct{} // holds a token when the queue has become shorter
	due    chan struct{} // capacity 1: the writer shall flush
	tls    atomic.Pointer[tls.ConnectionState]
	links  links          // guarded by Server.mu
	writer sync.WaitGroup // the writer goroutine

	mu         sync.Mutex
	queue      []*Request // not yet written, in request order
	queueBytes int        // of replies in the queue and in the write going on
	handling   *Request   // the one whose Handle is running
	flushing   bool       // somebody is writing, or about to
	hasWriter  bool       // the writer goroutine has begun
	draining   bool       // no more requests are to be read
	closed     bool
	muteUntil  time.Time
	lastReply  time.Time // when something was last written, or would have been; at first, when the connection was accepted
	raw        bool
	clientID   string
	software   Software
	principal  string
	session    any
}

// Software is what a client says it is, in ApiVersions.
type Software struct {
	Name    string
	Version string
}

// Valid says whether name and version are such as KIP-511 allows: letters and digits, and between them also dots and dashes.
func (s Software) Valid() bool { return softwareName(s.Name) && softwareName(s.Version) }

func softwareName(s string) bool {
	for i := range len(s) {
		c := s[i]
		inner := i > 0 && i < len(s)-1
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', inner && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

func newConn(ctx context.Context, s *Server, listener string, nc net.Conn) *Conn {
	c := &Conn{
		id: s.lastID.Add(1), srv: s, nc: nc, paced: pacedOf(nc), listener: listener, since: s.world.Clock.Now(),
		br:   bufio.NewReaderSize(nc, readBuffer),
		dead: make(chan struct{}), room: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
	c.lastReply = c.since
	c.ctx, c.cancel = context.WithCancel(ctx)
	if a, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		c.ip = a.Addr().Unmap()
	}
	return c
}

// ID returns a number that no other connection of the server ever has.
func (c *Conn) ID() uint64 { return c.id }

// Listener returns the name given to Serve.
func (c *Conn) Listener() string { return c.listener }

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr returns the address that the client connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// TLS returns the state of the TLS connection, or nil if there is none, or the handshake is not over; it is when Connected is called. The
// caller must not change it.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls.Load() }

// Since returns when the connection was accepted.
func (c *Conn) Since() time.Time { return c.since }

// ClientID returns the client id of the latest request.
func (c *Conn) ClientID() string { return get(c, &c.clientID) }

// Principal returns who is logged in; empty before login.
func (c *Conn) Principal() string { return get(c, &c.principal) }

// SetPrincipal logs the connection in.
func (c *Conn) SetPrincipal(p string) {
	set(c, &c.principal, p)
	c.srv.loggedIn(c)
}

// Software returns what the client said it is; zero until it did.
func (c *Conn) Software() Software { return get(c, &c.software) }

// SetSoftware keeps what the client said it is.
func (c *Conn) SetSoftware(s Software) { set(c, &c.software, s) }

// Session returns what the handler kept with SetSession, such as the state of a login.
func (c *Conn) Session() any { return get(c, &c.session) }

// SetSession keeps a value of the handler's with the connection.
func (c *Conn) SetSession(v any) { set(c, &c.session, v) }

// SetRaw makes the next frames come as they are, without a request header, and their replies go out without a response
// header: the login after SaslHandshake version 0. Call it in Handle, before the reply.
func (c *Conn) SetRaw(raw bool) { set(c, &c.raw, raw) }

// Mute lets no further request of the connection in for d from now on; one that is being handled is answered. It is what
// Response.Throttle does, for a client that is to wait before its answer is there.
func (c *Conn) Mute(d time.Duration) {
	if d <= 0 {
		return
	}
	until := c.srv.world.Clock.Now().Add(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if until.After(c.muteUntil) {
		c.muteUntil = until
	}
}

// Close cuts the connection at once. Replies not yet written are dropped. It does not wait.
func (c *Conn) Close() { c.shut() }

func get[T any](c *Conn, field *T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *field
}

func set[T any](c *Conn, field *T, v T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*field = v
}

// run serves the connection until it ends.
func (c *Conn) run() {
	err := c.open()
	if err == nil {
		err = c.serve()
		c.guard(func() { c.srv.handler.Disconnected(c) })
	}
	c.report(err)
	c.shut()
	c.writer.Wait()
}

// open does the TLS handshake and asks the handler.
func (c *Conn) open() error {
	if err := c.handshake(); err != nil {
		return err
	}
	err := errPanic
	c.guard(func() { err = c.srv.handler.Connected(c.ctx, c) })
	if err != nil {
		c.srv.metrics.Refused.Add(1)
		return fmt.Errorf("refused: %w", err)
	}
	return nil
}

// serve reads and handles requests until the connection ends, and says why.
func (c *Conn) serve() error {
	for {
		r, err := c.next()
		if errors.Is(err, errDrain) {
			if err := c.waitAnswers(); err != nil {
				return err
			}
			c.part()
			return nil
		}
		if err != nil {
			return err
		}
		c.handle(r)
	}
}

// handle lets the handler answer r and writes what is ready then.
func (c *Conn) handle(r *Request) {
	c.srv.metrics.request(r.Header.Key)
	c.mu.Lock()
	c.handling = r
	c.mu.Unlock()
	if !c.guard(func() { c.srv.handler.Handle(c.ctx, r) }) {
		c.shut()
		r.abandon()
	}
	c.mu.Lock()
	c.handling = nil
	mine := c.claimFlushLocked()
	c.mu.Unlock()
	if mine {
		c.flush()
	}
}

// guard calls f, which is the handler's code, and reports false if it panicked.
func (c *Conn) guard(f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.Panics.Add(1)
			c.srv.world.Log.Error("handler panicked", "remote", c.RemoteAddr(), "panic", fmt.Sprint(p),
				"stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// next reads the next request.
func (c *Conn) next() (*Request, error) {
	if err := c.waitRoom(); err != nil {
		return nil, err
	}
	size, err := c.awaitFrame()
	if err != nil {
		return nil, err
	}
	r := &Request{Conn: c, size: size, budget: int64(size)}
	if size <= smallFrame && c.isQuiet() {
		r.budget = 0
	}
	if r.budget > 0 {
		if err := c.srv.takeRoom(c.ctx, r.budget); err != nil {
			return nil, errDrain
		}
	}
	r.frame = c.srv.world.Slabs.Get(size)
	if err := c.readFrame(r); err != nil {
		r.freeFrame()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		r.freeFrame()
		return nil, net.ErrClosed
	}
	c.queue = append(c.queue, r)
	return r, nil
}

// isQuiet says that every request of the connection is answered, and the answer written.
func (c *Conn) isQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) == 0
}

// waitRoom waits until the queue of replies has room, which is when the client has read enough of them.
func (c *Conn) waitRoom() error {
	return c.waitQueue(func() bool {
		return len(c.queue) < c.srv.cfg.MaxInFlightPerConn && c.queueBytes < c.srv.cfg.ReplyQueueBytes
	})
}

// waitAnswers waits until every request is answered and written.
func (c *Conn) waitAnswers() error {
	return c.waitQueue(func() bool { return len(c.queue) == 0 && !c.flushing })
}

// waitQueue waits until ok, which is called under c.mu.
func (c *Conn) waitQueue(ok func() bool) error {
	for {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-c.room:
		case <-c.dead:
			return net.ErrClosed
		}
	}
}

// awaitFrame waits for the start of a frame, and for the end of a mute, and returns the frame's size, checked. The size
// prefix stays in the buffer.
func (c *Conn) awaitFrame() (int, error) {
	for {
		if err := c.setReadDeadline(c.requestDeadline()); err != nil {
			return 0, err
		}
		prefix, err := c.br.Peek(wire.SizeBytes)
		if err == nil {
			if err := c.waitMute(); err != nil {
				return 0, err
			}
			return c.frameSize(prefix)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == io.EOF && len(prefix) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		if get(c, &c.draining) {
			return 0, errDrain
		}
		if !c.requestDeadline().After(c.srv.world.Clock.Now()) {
			return 0, errIdle
		}
	}
}

// requestDeadline returns until when the next request must have come, as things are now: a client that waits for an answer
// is not idle, nor is one that has just got it.
func (c *Conn) requestDeadline() time.Time {
	now := c.srv.world.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.principal == "":
		return c.since.Add(c.srv.cfg.HandshakeTimeout)
	case len(c.queue) > 0 || c.flushing:
		return now.Add(c.srv.cfg.IdleTimeout)
	default:
		return c.lastReply.Add(c.srv.cfg.IdleTimeout)
	}
}

// setReadDeadline sets the deadline unless the connection is to end: drain sets one in the past to stop the reader,
// which must not be overwritten.
func (c *Conn) setReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDrain
	}
	return c.nc.SetReadDeadline(t)
}

// waitMute waits until a throttled connection may go on. One that is to wait for longer than it may be idle ends then:
// nothing is read meanwhile, so whether the client is still there does not show.
func (c *Conn) waitMute() error {
	for {
		now := c.srv.world.Clock.Now()
		mute := get(c, &c.muteUntil).Sub(now)
		if mute <= 0 {
			return nil
		}
		idle := c.requestDeadline().Sub(now)
		if idle <= 0 {
			return errIdle
		}
		if !sleep(c.ctx, min(mute, idle)) {
			return errDrain
		}
	}
}

func (c *Conn) frameSize(prefix []byte) (int, error) {
	size, err := wire.FrameSize(prefix)
	if err != nil {
		return 0, err
	}
	most := c.srv.cfg.MaxRequestBytes
	if c.Principal() == "" {
		most = c.srv.cfg.MaxLoginBytes
	}
	if size > most {
		return 0, fmt.Errorf("frame of %d bytes, at most %d: %w", size, most, errTooBig)
	}
	return size, nil
}

// readFrame reads the frame into r and decodes its header.
func (c *Conn) readFrame(r *Request) error {
	frame := r.frame.Bytes()
	_, _ = c.br.Discard(wire.SizeBytes) // peeked before, so it cannot fail
	if err := c.fill(frame); err != nil {
		if get(c, &c.draining) {
			return errDrain
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("frame of %d bytes: %w", len(frame), err)
	}
	c.srv.metrics.BytesIn.Add(int64(len(frame) + wire.SizeBytes))
	r.Received = c.srv.world.Clock.Now()
	return c.readHeader(r, frame)
}

// stallBytes is by how much a frame must get on in StallTimeout.
const stallBytes = 64 << 10

// fill reads the whole frame. Its room is taken since its size is known, so while others wait for room its bytes have to
// keep coming: else a few peers that claim large frames and send nothing would keep everybody out.
func (c *Conn) fill(frame []byte) error {
	now := c.srv.world.Clock.Now
	end := now().Add(c.srv.cfg.FrameTimeout)
	for len(frame) > 0 {
		least := min(len(frame), stallBytes)
		if c.br.Buffered() < least {
			stall := now().Add(c.srv.cfg.StallTimeout)
			if stall.After(end) {
				stall = end
			}
			if err := c.setReadDeadline(stall); err != nil {
				return err
			}
		}
		n, err := io.ReadAtLeast(c.br, frame, least)
		frame = frame[n:]
		stalled := errors.Is(err, os.ErrDeadlineExceeded) && c.srv.waiting.Load() == 0 && now().Before(end)
		if err != nil && !stalled {
			return err
		}
	}
	return nil
}

// readHeader decodes the header of the frame and checks that its version is served.
func (c *Conn) readHeader(r *Request, frame []byte) error {
	if get(c, &c.raw) {
		r.Raw, r.Body = true, frame
		r.Header = wire.RequestHeader{Key: wire.KeySASLAuthenticate, ClientID: c.ClientID()}
		return nil
	}
	last := c.ClientID()
	h, body, err := wire.DecodeHeader(frame, last)
	if err != nil {
		return err
	}
	if h.ClientID != last {
		set(c, &c.clientID, h.ClientID)
	}
	r.Header, r.Body, r.version = h, body, h.Version
	low, high, ok := c.srv.handler.Versions(h.Key)
	if ok && h.Version >= low && h.Version <= high {
		return nil
	}
	if h.Key != wire.KeyAPIVersions {
		return fmt.Errorf("key %d version %d: %w", h.Key, h.Version, errVersion)
	}
	r.version = 0 // a client that is too new gets an answer it can surely read
	return nil
}

// report counts and logs why the connection ended.
func (c *Conn) report(err error) {
	m := &c.srv.metrics
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, errDrain):
	case errors.Is(err, errIdle):
		m.IdleEnded.Add(1)
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, errTLS), errors.Is(err, errTooBig), errors.Is(err, errVersion),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		m.Rejected.Add(1)
		c.srv.complain(c, "connection closed for bad input", err)
	default:
		c.srv.world.Log.Debug("connection ended", "remote", c.RemoteAddr(), "err", err)
	}
}

// drain ends the handlers' context and lets no more requests in; the reader then waits for the answers and ends.
func (c *Conn) drain() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	_ = c.nc.SetReadDeadline(c.since) // any time in the past wakes the reader
}

// shut cuts the connection and drops the replies that are ready. Those that come later are dropped as they come.
func (c *Conn) shut() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	queue := c.queue
	c.queue = nil
	var ready []*Request
	for _, r := range queue {
		if r.ready {
			ready = append(ready, r)
		}
	}
	c.mu.Unlock()
	close(c.dead)
	c.cancel()
	if c.paced != nil && c.paced.out.busy.Load() {
		_ = c.paced.Conn.Close() // as package tls does it where it knows of a write: its farewell would wait for a peer that does not read
	}
	_ = c.nc.Close()
	for _, r := range ready {
		r.resp.release()
	}
}
