package kv

import (
	"context"
	"slices"
	"strings"
)

// Watch implements KV. Watches read the shared history at their own pace; one that falls behind what is
// kept gets a Resync.
func (m *Memory) Watch(ctx context.Context, prefix string, fromRev int64) <-chan Event {
	events := make(chan Event)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		close(events)
		return events
	}
	if fromRev == 0 {
		fromRev = m.rev + 1
	}
	m.watches.Add(1)
	go func() {
		defer m.watches.Done()
		defer close(events)
		m.feed(ctx, events, prefix, fromRev)
	}()
	return events
}

// Compact forgets all changes up to and including rev, so that watches which need them get a Resync.
func (m *Memory) Compact(rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compactLocked(min(rev, m.rev))
	m.wakeLocked()
}

// feed sends the events from rev on until ctx or the store ends, or history is missing.
func (m *Memory) feed(ctx context.Context, events chan<- Event, prefix string, rev int64) {
	send := func(e Event) bool {
		select {
		case events <- e:
			return true
		case <-ctx.Done():
		case <-m.closing:
		}
		return false
	}
	for {
		batch, last, changed, ok := m.read(rev)
		if !ok {
			send(Event{Type: EventResync})
			return
		}
		for _, e := range batch {
			if strings.HasPrefix(e.Item.Key, prefix) && !send(e) {
				return
			}
		}
		rev = last + 1
		if len(batch) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-m.closing:
			return
		}
	}
}

// read returns the kept events from rev on, the last revision that they cover, and a channel that closes
// with the next change. It returns false when events from rev on have been forgotten.
func (m *Memory) read(rev int64) (batch []Event, last int64, changed <-chan struct{}, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rev <= m.compacted {
		return nil, 0, nil, false
	}
	start := m.indexLocked(rev)
	return slices.Clone(m.history[start:]), max(m.rev, rev-1), m.changed, true
}

// indexLocked returns where the events of revision rev or later begin.
func (m *Memory) indexLocked(rev int64) int {
	i, _ := slices.BinarySearchFunc(m.history, rev, func(e Event, rev int64) int {
		return int(e.Item.ModRev - rev)
	})
	return i
}

// publishLocked makes rev the current revision with its events, if there are any.
func (m *Memory) publishLocked(rev int64, events []Event) {
	if len(events) == 0 {
		return
	}
	m.rev = rev
	m.history = append(m.history, events...)
	if len(m.history) >= 2*historyEvents { // cut seldom, for it copies
		m.compactLocked(m.history[len(m.history)-historyEvents].Item.ModRev)
	}
	m.wakeLocked()
}

func (m *Memory) compactLocked(rev int64) {
	m.history = slices.Clone(m.history[m.indexLocked(rev+1):])
	m.compacted = max(m.compacted, rev)
}

func (m *Memory) wakeLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}
