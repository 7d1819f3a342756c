package server

import (
	"container/list"
	"context"
	"fmt"
	"net/netip"
	"sync"
)

// turns hands out the slots in which TLS handshakes compute. Those that wait for one are served one place after the other, and the oldest
// of each: so who comes in numbers waits for itself, and all others wait for as many turns as there are places. Safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	free  int                    // slots; 0 while somebody waits
	lines map[netip.Prefix]*line // those in order
	order list.List              // of *line: whose turn it is comes first
}

// line are those of one place that wait, the oldest first. It is never empty.
type line struct {
	place   netip.Prefix
	waiting list.List     // of *waiter
	at      *list.Element // in turns.order
}

// waiter is one that waits.
type waiter struct {
	line *line
	at   *list.Element // in line.waiting
	turn chan struct{} // closed when a slot is its own
}

func newTurns(slots int) *turns {
	return &turns{free: slots, lines: make(map[netip.Prefix]*line)}
}

// acquire takes a slot, and waits for one until ctx ends.
func (t *turns) acquire(ctx context.Context, place netip.Prefix) error {
	w := t.join(place)
	if w == nil {
		return nil
	}
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	if !t.leave(w) { // the slot has come meanwhile
		t.release()
	}
	return fmt.Errorf("wait to compute the handshake: %w", ctx.Err())
}

// join takes a slot where one is free, and returns nil then; else it gets in line.
func (t *turns) join(place netip.Prefix) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil
	}
	l := t.lines[place]
	if l == nil {
		l = &line{place: place}
		t.lines[place] = l
		l.at = t.order.PushBack(l)
	}
	w := &waiter{line: l, turn: make(chan struct{})}
	w.at = l.waiting.PushBack(w)
	return w
}

// leave takes one that waits out of its line, and returns false where it waits no more.
func (t *turns) leave(w *waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-w.turn:
		return false
	default:
	}
	w.line.waiting.Remove(w.at)
	if w.line.waiting.Len() == 0 {
		t.order.Remove(w.line.at)
		delete(t.lines, w.line.place)
	}
	return true
}

// release gives a slot back, to who is next.
func (t *turns) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked()
}

func (t *turns) releaseLocked() {
	first := t.order.Front()
	if first == nil {
		t.free++
		return
	}
	l := first.Value.(*line)
	close(l.waiting.Remove(l.waiting.Front()).(*waiter).turn)
	if l.waiting.Len() > 0 {
		t.order.MoveToBack(first)
		return
	}
	t.order.Remove(first)
	delete(t.lines, l.place)
}
