package kv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace/base/clock"
)

// LeaseStore is what a KV needs to offer so that Leases can keep its leases alive.
type LeaseStore interface {
	// Grant makes a lease of at least ttl and returns the TTL that the store has given.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)
	// KeepAlive starts the lease's TTL anew and returns it, or ErrLeaseLost when the lease is gone.
	KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error)
	// Revoke ends the lease and deletes its keys; ErrLeaseLost when it is already gone.
	Revoke(ctx context.Context, id LeaseID) error
}

// Leases grants leases of a store and keeps them alive; every KV uses it. Make one with NewLeases.
type Leases struct {
	store LeaseStore
	clock clock.Clock

	mu     sync.Mutex // guards the rest
	kept   map[*lease]bool
	closed bool
}

// NewLeases returns Leases without any. The clock must be in step with the timers of package time.
func NewLeases(store LeaseStore, clk clock.Clock) *Leases {
	return &Leases{store: store, clock: clk, kept: make(map[*lease]bool)}
}

// Grant makes a lease and keeps it alive until it is closed or lost, or the Leases are closed. ctx bounds
// only the grant.
func (s *Leases) Grant(ctx context.Context, ttl time.Duration) (Lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("grant a lease of %s: %w", ttl, ErrBadTxn)
	}
	sent := s.clock.Now()
	id, ttl, err := s.store.Grant(ctx, roundUp(ttl))
	if err != nil {
		return nil, fmt.Errorf("grant a lease: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &lease{
		set: s, id: id, stop: stop, deadline: sent.Add(ttl),
		done: make(chan struct{}), ended: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		stop()
		return nil, fmt.Errorf("grant a lease: %w", ErrClosed)
	}
	s.kept[l] = true
	go l.keep(run, ttl)
	return l, nil
}

// Close stops keeping all leases and waits until nothing runs for them. It does not revoke them.
func (s *Leases) Close() {
	s.mu.Lock()
	s.closed = true
	kept := slices.Collect(maps.Keys(s.kept))
	s.mu.Unlock()
	for _, l := range kept {
		l.stop()
		<-l.ended
	}
}

func (s *Leases) forget(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, l)
}

// lease is the Lease of every KV: it sends a keep-alive each third of the TTL, again soon after one that
// failed, and gives itself up when its deadline has passed.
type lease struct {
	set   *Leases
	id    LeaseID
	stop  context.CancelFunc
	done  chan struct{} // the lease is over
	ended chan struct{} // the goroutine has returned

	mu       sync.Mutex // guards the rest
	deadline time.Time
	over     bool
}

func (l *lease) ID() LeaseID { return l.id }

func (l *lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline
}

func (l *lease) Done() <-chan struct{} { return l.done }

func (l *lease) Close(ctx context.Context) error {
	l.finish()
	l.stop()
	<-l.ended
	if err := l.set.store.Revoke(ctx, l.id); err != nil && !errors.Is(err, ErrLeaseLost) {
		return fmt.Errorf("revoke lease %x: %w", int64(l.id), err)
	}
	return nil
}

// keep sends keep-alives until the lease is over.
func (l *lease) keep(ctx context.Context, ttl time.Duration) {
	defer close(l.ended)
	defer l.set.forget(l)
	defer l.finish()
	pause := ttl / 3
	for {
		left := l.Deadline().Sub(l.set.clock.Now())
		if left <= 0 {
			return
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		next, err := l.renew(ctx, ttl)
		switch {
		case errors.Is(err, ErrLeaseLost):
			return
		case err != nil:
			pause = ttl / 20
		default:
			ttl, pause = next, next/3
		}
	}
}

// renew sends one keep-alive and moves the deadline when it succeeds. It gives up after a third of the
// TTL, so that a lost answer leaves time for another attempt.
func (l *lease) renew(ctx context.Context, ttl time.Duration) (time.Duration, error) {
	sent := l.set.clock.Now()
	limit := min(ttl/3, l.Deadline().Sub(sent))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ttl, err := l.set.store.KeepAlive(ctx, l.id)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0, ErrLeaseLost
	}
	l.deadline = sent.Add(ttl)
	return ttl, nil
}

// finish declares the lease over.
func (l *lease) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.done)
	}
}

// roundUp returns the TTL in whole seconds, at least one.
func roundUp(ttl time.Duration) time.Duration {
	return (ttl + time.Second - 1).Truncate(time.Second)
}
