package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/limit"
	"millrace/kafka/wire"
)

// upstream is the connection to a broker that belongs to one connection of a client. Requests are sent by one goroutine, in order; their
// answers are taken by another.
type upstream struct {
	g       *Gateway
	w       *wireConn
	node    int32
	held    *limit.Budget // bytes of answers that this client has not yet read
	light   atomic.Bool   // a small answer is out without a budget
	ctx     context.Context
	cancel  context.CancelFunc
	ended   func(error)    // called once, when the connection has ended, after all that waited were told
	reading sync.WaitGroup // the reading goroutine

	mu      sync.Mutex
	pending []waiting // sent and not yet answered, oldest first
	err     error     // why the connection has ended
	written int32     // correlation id of the last request that is sent whole
	sent    sync.Cond // of written and err
}

// waiting is a request whose answer has to come.
type waiting struct {
	correlation  int32
	key, version int16
	since        time.Time
	to           taker
}

// taker gets the answer to one request. Exactly one of the two is called, once.
type taker interface {
	// took gets an answer, which it gives back.
	took(a answer)
	// lost is called when there will be no answer.
	lost(err error)
}

// answer is a broker's answer: its body, without header, and what holds it.
type answer struct {
	body   []byte
	giveUp func() // gives the memory back
}

func (g *Gateway) newUpstream(ctx context.Context, w *wireConn, node int32, ended func(error)) *upstream {
	u := &upstream{g: g, w: w, node: node, held: limit.NewBudget(g.cfg.ConnAnswerBytes), ended: ended}
	u.sent.L = &u.mu
	u.ctx, u.cancel = context.WithCancel(context.WithoutCancel(ctx)) // outlives the handler: answers are taken while a server drains
	u.reading.Go(u.read)
	return u
}

// send sends a request and has its answer given to t. After an error t will hear nothing of it.
func (u *upstream) send(key, version int16, id string, bufs net.Buffers, t taker) error {
	now := u.g.world.Clock.Now()
	u.mu.Lock()
	if u.err != nil {
		u.mu.Unlock()
		return u.err
	}
	// It has to stand in the list before its answer can come. Only the sender counts correlation ids.
	if t != nil {
		u.pending = append(u.pending, waiting{correlation: u.w.correlation + 1, key: key, version: version, since: now, to: t})
	}
	first := len(u.pending) == 1
	u.mu.Unlock()
	if first {
		_ = u.w.nc.SetReadDeadline(now.Add(u.g.cfg.ResponseTimeout))
	}
	correlation, err := u.w.write(key, version, id, bufs)
	if err != nil {
		u.stop(fmt.Errorf("send to broker: %w", err)) // the reader tells t
		return nil
	}
	u.mu.Lock()
	u.written = correlation
	u.mu.Unlock()
	u.sent.Broadcast()
	return nil
}

// stop ends the connection; the reading goroutine then tells everybody who waits.
func (u *upstream) stop(err error) {
	u.mu.Lock()
	if u.err == nil {
		u.err = err
	}
	u.mu.Unlock()
	u.sent.Broadcast()
	u.cancel()
	u.w.close()
}

// read takes answers until the connection ends.
func (u *upstream) read() {
	err := u.answers()
	u.stop(err)
	u.mu.Lock()
	left := u.pending
	u.pending = nil
	err = u.err
	u.mu.Unlock()
	for _, p := range left {
		p.to.lost(err)
	}
	u.ended(err)
}

func (u *upstream) answers() error {
	for {
		size, err := u.awaitFrame()
		if err != nil {
			return err
		}
		if err := u.take(size); err != nil {
			return err
		}
	}
}

// awaitFrame waits for a frame: without bound while nothing is asked, and for ResponseTimeout otherwise.
func (u *upstream) awaitFrame() (int, error) {
	for {
		u.mu.Lock()
		until := time.Time{}
		if len(u.pending) > 0 {
			until = u.pending[0].since.Add(u.g.cfg.ResponseTimeout)
		}
		// Under the lock, so that send, which sets the deadline for the first, does not set it in between.
		err := u.w.nc.SetReadDeadline(until)
		u.mu.Unlock()
		if err != nil {
			return 0, err
		}
		size, err := u.w.peekSize()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return size, err
		}
		if !until.IsZero() && !u.g.world.Clock.Now().Before(until) {
			return 0, fmt.Errorf("no answer for %v: %w", u.g.cfg.ResponseTimeout, err)
		}
	}
}

// smallAnswer is up to how many bytes an answer needs no room, if the connection has no other such: what keeps a client alive gets
// through when others do not read.
const smallAnswer = 4 << 10

// take reads one frame, once there is room for it, and gives it to whom it answers.
func (u *upstream) take(size int) error {
	giveUp, err := u.room(size)
	if err != nil {
		return err
	}
	s := u.g.world.Slabs.Get(size)
	give := sync.OnceFunc(func() {
		s.Release()
		giveUp()
	})
	if err := u.w.fill(s.Bytes()); err != nil {
		give()
		return fmt.Errorf("answer of %d bytes: %w", size, err)
	}
	u.mu.Lock()
	if len(u.pending) == 0 {
		u.mu.Unlock()
		give()
		return fmt.Errorf("an answer that nobody asked for: %w", errBroker)
	}
	p := u.pending[0]
	// A broker that answers before the request is sent must not have its bytes given away under the writer.
	for u.written < p.correlation && u.err == nil {
		u.sent.Wait()
	}
	u.mu.Unlock()
	id, body, err := wire.DecodeResponseHeader(p.key, p.version, s.Bytes())
	if err == nil && id != p.correlation {
		err = fmt.Errorf("answer to request %d, not to %d: %w", id, p.correlation, errBroker)
	}
	if err != nil {
		give()
		return err
	}
	u.mu.Lock()
	u.pending[0] = waiting{}
	u.pending = u.pending[1:]
	u.mu.Unlock()
	return u.give(p.to, answer{body: body, giveUp: give})
}

// room takes what an answer of so many bytes needs, and returns how to give it back.
func (u *upstream) room(size int) (func(), error) {
	if size <= smallAnswer && u.light.CompareAndSwap(false, true) {
		return func() { u.light.Store(false) }, nil
	}
	n := int64(size)
	if err := u.held.Acquire(u.ctx, n); err != nil {
		return nil, err
	}
	if err := u.g.answers.Acquire(u.ctx, n); err != nil {
		u.held.Release(n)
		return nil, err
	}
	return func() {
		u.g.answers.Release(n)
		u.held.Release(n)
	}, nil
}

// isEnd says that err is how connections end ordinarily.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
}
