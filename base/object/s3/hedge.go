package s3

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"millrace/base/clock"
)

const (
	// hedgeFactor: a read is asked for again when it has taken that many times the usual.
	hedgeFactor = 4
	hedgeLeast  = 50 * time.Millisecond // below that a second request costs more than it gains
	hedgeShare  = 20                    // at most one read in so many is asked for twice
	hedgeBurst  = 10                    // that may be asked for twice in a row
	usualWeight = 32                    // reads over which the usual duration is averaged
)

// hedge asks a second time for a read that takes much longer than reads usually do, and takes the answer that comes first: the
// slowest requests of an object store are slow because of one server or connection. The share of extra requests is bounded, so a store that is slow
// as a whole gets no more load than before.
type hedge struct {
	clock clock.Clock

	mu     sync.Mutex // guards the rest
	usual  time.Duration
	tokens int // hedgeShare make one extra request
}

func newHedge(clk clock.Clock) *hedge {
	return &hedge{clock: clk, usual: hedgeLeast, tokens: hedgeShare * hedgeBurst}
}

// outcome is an answer to one of the requests.
type outcome struct {
	n   int
	err error
	buf []byte // of at least one byte
}

// failed: the end of an object is an answer too.
func (o outcome) failed() bool { return o.err != nil && !errors.Is(o.err, io.EOF) }

// read fills p by get. The second request has a buffer of its own, since the first may still write to p; so p is not touched any more when read
// returns.
func (h *hedge) read(ctx context.Context, p []byte, get func(context.Context, []byte) (int, error)) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := h.clock.Now()
	answers := make(chan outcome, 2)
	ask := func(buf []byte) {
		n, err := get(ctx, buf)
		answers <- outcome{n, err, buf}
	}
	go ask(p)
	timer := time.NewTimer(h.patience())
	defer timer.Stop()
	select {
	case a := <-answers:
		h.note(h.clock.Now().Sub(began))
		return a.n, a.err
	case <-timer.C:
	}
	if !h.spend() {
		a := <-answers
		h.note(h.clock.Now().Sub(began))
		return a.n, a.err
	}
	go ask(make([]byte, len(p)))
	a := <-answers
	if a.failed() && ctx.Err() == nil { // perhaps the other has more luck
		a = <-answers
	} else if &a.buf[0] != &p[0] {
		cancel()
		<-answers // the first request may still write to p until it has ended
	}
	h.note(h.clock.Now().Sub(began))
	if &a.buf[0] != &p[0] {
		copy(p, a.buf[:a.n])
	}
	return a.n, a.err
}

// patience is how long a read may take before it is asked for again.
func (h *hedge) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(hedgeFactor*h.usual, hedgeLeast)
}

// note takes the duration of a read into the usual, and earns a token.
func (h *hedge) note(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.usual += (took - h.usual) / usualWeight
	h.tokens = min(h.tokens+1, hedgeShare*hedgeBurst)
}

// spend takes the price of an extra request, if it is there.
func (h *hedge) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens < hedgeShare {
		return false
	}
	h.tokens -= hedgeShare
	return true
}
