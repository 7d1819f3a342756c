// Package limit bounds what is in flight by bytes.
//
// A Budget is a counting semaphore over bytes: a connection takes a request's size before it reads the
// request, and gives it back when the reply is written, so memory stays within the budget whatever the
// clients do.
//
// L1: Waiters are served in the order of their arrival; a large request is never starved by small ones.
// L2: What is taken exceeds the budget only by a single request that is larger than the whole budget,
// and such a request is admitted only when nothing else is taken.
//
// A Budget is safe for concurrent use. Files: limit.go.
package limit

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// Budget hands out a fixed number of bytes. Make one with NewBudget.
type Budget struct {
	mu      sync.Mutex
	total   int64
	used    int64
	waiters list.List // of *waiter, oldest first
}

// waiter is one blocked Acquire. ready is closed under the budget's lock once n has been taken for it.
type waiter struct {
	n     int64
	ready chan struct{}
}

// NewBudget returns a Budget of n bytes. It panics when n is not positive.
func NewBudget(n int64) *Budget {
	if n <= 0 {
		panic(fmt.Sprintf("limit: budget of %d bytes", n))
	}
	return &Budget{total: n}
}

// Acquire takes n bytes and blocks until they are free or ctx ends, in which case nothing is taken and
// ctx's error is returned. Zero bytes wait their turn too. It panics when n is negative.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	checkSize(n)
	b.mu.Lock()
	if b.waiters.Len() == 0 && b.fitsLocked(n) {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	el := b.waiters.PushBack(w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready: // taken at the same moment: keep it rather than wake the next in vain
		return nil
	default:
	}
	b.waiters.Remove(el)
	b.admitLocked() // the one who left may have been holding up smaller requests
	return fmt.Errorf("limit: wait for %d bytes: %w", n, ctx.Err())
}

// TryAcquire takes n bytes if that is possible at once, without passing anybody who waits, and says
// whether it did. It panics when n is negative.
func (b *Budget) TryAcquire(n int64) bool {
	checkSize(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters.Len() > 0 || !b.fitsLocked(n) {
		return false
	}
	b.used += n
	return true
}

// Release gives back n bytes that were taken. Several acquisitions may be given back as one sum, and
// one in parts. It panics when more is given back than was taken.
func (b *Budget) Release(n int64) {
	checkSize(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.used {
		panic(fmt.Sprintf("limit: release of %d bytes with %d taken", n, b.used))
	}
	b.used -= n
	b.admitLocked()
}

// Used returns the bytes that are taken now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Total returns the size of the budget in bytes.
func (b *Budget) Total() int64 { return b.total }

func (b *Budget) fitsLocked(n int64) bool {
	return b.used == 0 || n <= b.total-b.used
}

// admitLocked lets waiters in, oldest first, as long as they fit.
func (b *Budget) admitLocked() {
	for el := b.waiters.Front(); el != nil; el = b.waiters.Front() {
		w := el.Value.(*waiter)
		if !b.fitsLocked(w.n) {
			return
		}
		b.used += w.n
		b.waiters.Remove(el)
		close(w.ready)
	}
}

func checkSize(n int64) {
	if n < 0 {
		panic(fmt.Sprintf("limit: %d bytes", n))
	}
}
