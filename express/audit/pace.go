package audit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
)

// requestCost is what a request to the store counts at the least, in bytes: where much is small, requests are the load.
const requestCost = 4 << 10

// pacer spreads work over time. Safe for concurrent use.
type pacer struct {
	mu    sync.Mutex
	rate  int64     // bytes per second; 0: as fast as it goes
	ready time.Time // when what was taken so far is paid for
	total atomic.Int64
}

func (p *pacer) setRate(rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.ready = rate, time.Time{}
}

// take waits until n more bytes may be read. It returns ctx's error.
func (p *pacer) take(ctx context.Context, n int64) error {
	p.total.Add(n)
	p.mu.Lock()
	if p.rate <= 0 {
		p.mu.Unlock()
		return ctx.Err()
	}
	now := clock.System{}.Now()
	if p.ready.Before(now) {
		p.ready = now
	}
	wait := p.ready.Sub(now)
	p.ready = p.ready.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("audit: %w", ctx.Err())
	}
}

// paced is a store whose reads wait for the pacer. The context of an Open bounds the reads of its handle, too.
type paced struct {
	object.Store
	pace *pacer
}

// Open implements object.Store.
func (s paced) Open(ctx context.Context, key string) (object.Reader, error) {
	if err := s.pace.take(ctx, requestCost); err != nil {
		return nil, err
	}
	r, err := s.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return pacedReader{r, ctx, s.pace}, nil
}

// List implements object.Store.
func (s paced) List(ctx context.Context, prefix, after string, limit int) ([]object.Info, error) {
	if err := s.pace.take(ctx, requestCost); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, prefix, after, limit)
}

type pacedReader struct {
	object.Reader
	ctx  context.Context // io.ReaderAt takes none, and a handle lives within one check
	pace *pacer
}

// ReadAt implements io.ReaderAt.
func (r pacedReader) ReadAt(p []byte, off int64) (int, error) {
	if err := r.pace.take(r.ctx, int64(len(p))); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(p, off)
}
