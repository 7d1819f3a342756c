package kv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/base/clock"
)

// historyEvents is how many events Memory keeps at least for watches that start in the past or lag.
const historyEvents = 1 << 15

// Memory is a KV in this process, for tests. Besides the contract it can lose history and leases when it
// is told to. Make one with NewMemory.
type Memory struct {
	kept    *Leases
	closing chan struct{} // closed by Close

	mu        sync.Mutex // guards the rest
	closed    bool
	rev       int64
	items     map[string]Item
	leases    map[LeaseID]*memLease
	nextLease LeaseID
	away      bool // keep-alives and grants get no answer

	history   []Event       // of the revisions after compacted, in order
	compacted int64         // watches need to start after this revision
	changed   chan struct{} // closed and replaced at every change that a watch may wait for
	watches   sync.WaitGroup
}

type memLease struct {
	ttl    time.Duration
	expiry *time.Timer
}

// NewMemory returns an empty store at revision 1, as a new etcd is.
func NewMemory() *Memory {
	m := &Memory{
		closing: make(chan struct{}), rev: 1,
		items: make(map[string]Item), leases: make(map[LeaseID]*memLease), changed: make(chan struct{}),
	}
	m.kept = NewLeases(memLeases{m}, clock.System{})
	return m
}

// Get implements KV.
func (m *Memory) Get(ctx context.Context, key string) (Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(ctx); err != nil {
		return Item{}, fmt.Errorf("get %q: %w", key, err)
	}
	item, ok := m.items[key]
	if !ok {
		return Item{}, fmt.Errorf("get %q: %w", key, ErrNotFound)
	}
	return item.clone(), nil
}

// List implements KV.
func (m *Memory) List(ctx context.Context, prefix string) ([]Item, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(ctx); err != nil {
		return nil, 0, fmt.Errorf("list %q: %w", prefix, err)
	}
	var items []Item
	for _, key := range m.keysLocked(prefix) {
		items = append(items, m.items[key].clone())
	}
	return items, m.rev, nil
}

// Txn implements KV. It never returns ErrUnknown.
func (m *Memory) Txn(ctx context.Context, cond []Cond, then []Op) (int64, error) {
	if err := CheckTxn(cond, then); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(ctx); err != nil {
		return 0, fmt.Errorf("txn: %w", err)
	}
	for _, c := range cond {
		if !m.holdsLocked(c) {
			return 0, fmt.Errorf("txn on %q: %w", c.Key, ErrConflict)
		}
	}
	for _, op := range then {
		if op.Lease != 0 && m.leases[op.Lease] == nil {
			return 0, fmt.Errorf("put %q: %w", op.Key, ErrLeaseLost)
		}
	}
	return m.applyLocked(then), nil
}

// Grant implements KV.
func (m *Memory) Grant(ctx context.Context, ttl time.Duration) (Lease, error) {
	return m.kept.Grant(ctx, ttl)
}

// Close implements KV. Leases expire no more; keys stay.
func (m *Memory) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.closing)
	}
	for _, l := range m.leases {
		l.expiry.Stop()
	}
	m.mu.Unlock()
	m.kept.Close()
	m.watches.Wait()
	return nil
}

// LeaseStore is the server's side of leases: with NewLeases over it, something between can lose or hold up keep-alives, and the
// keeper can have a clock of its own.
func (m *Memory) LeaseStore() LeaseStore { return memLeases{m} }

// ExpireLease ends a lease as if its TTL had run out, and deletes its keys.
func (m *Memory) ExpireLease(id LeaseID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLeaseLocked(id)
}

// SetAway makes the store keep back answers to grants and keep-alives, as a server does that cannot be
// reached; leases run out meanwhile.
func (m *Memory) SetAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
	m.wakeLocked()
}

func (m *Memory) checkLocked(ctx context.Context) error {
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

func (m *Memory) keysLocked(prefix string) []string {
	var keys []string
	for key := range maps.Keys(m.items) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *Memory) holdsLocked(c Cond) bool {
	item, ok := m.items[c.Key]
	switch c.Kind {
	case CondMissing:
		return !ok
	case CondExists:
		return ok
	case CondModRev:
		return ok && item.ModRev == c.Rev
	default:
		return false
	}
}

// applyLocked makes the writes at one new revision. As in etcd a Txn that changes nothing makes none.
func (m *Memory) applyLocked(then []Op) int64 {
	rev := m.rev + 1
	var events []Event
	for _, op := range then {
		switch op.Kind {
		case OpPut:
			item := Item{Key: op.Key, Value: slices.Clone(op.Value), CreateRev: rev, ModRev: rev, Lease: op.Lease}
			if old, ok := m.items[op.Key]; ok {
				item.CreateRev = old.CreateRev
			}
			m.items[op.Key] = item
			events = append(events, Event{Type: EventPut, Item: item})
		case OpDelete:
			if _, ok := m.items[op.Key]; ok {
				events = append(events, m.deleteLocked(op.Key, rev))
			}
		case OpDeletePrefix:
			for _, key := range m.keysLocked(op.Key) {
				events = append(events, m.deleteLocked(key, rev))
			}
		}
	}
	m.publishLocked(rev, events)
	return m.rev
}

func (m *Memory) deleteLocked(key string, rev int64) Event {
	delete(m.items, key)
	return Event{Type: EventDelete, Item: Item{Key: key, ModRev: rev}}
}

// dropLeaseLocked ends a lease and its keys.
func (m *Memory) dropLeaseLocked(id LeaseID) bool {
	lease := m.leases[id]
	if lease == nil || m.closed {
		return false
	}
	lease.expiry.Stop()
	delete(m.leases, id)
	var events []Event
	for _, key := range m.keysLocked("") {
		if m.items[key].Lease == id {
			events = append(events, m.deleteLocked(key, m.rev+1))
		}
	}
	m.publishLocked(m.rev+1, events)
	return true
}

func (i Item) clone() Item {
	i.Value = slices.Clone(i.Value)
	return i
}

// memLeases is the LeaseStore of a Memory.
type memLeases struct{ m *Memory }

func (s memLeases) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	if err := s.m.waitReachable(ctx); err != nil {
		return 0, 0, err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.nextLease++
	id := s.m.nextLease
	s.m.leases[id] = &memLease{ttl: ttl, expiry: time.AfterFunc(ttl, func() { s.m.ExpireLease(id) })}
	return id, ttl, nil
}

func (s memLeases) KeepAlive(ctx context.Context, id LeaseID) (time.Duration, error) {
	if err := s.m.waitReachable(ctx); err != nil {
		return 0, err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	lease := s.m.leases[id]
	if lease == nil {
		return 0, ErrLeaseLost
	}
	lease.expiry.Reset(lease.ttl)
	return lease.ttl, nil
}

func (s memLeases) Revoke(ctx context.Context, id LeaseID) error {
	if err := s.m.waitReachable(ctx); err != nil {
		return err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if !s.m.dropLeaseLocked(id) {
		return ErrLeaseLost
	}
	return nil
}

// waitReachable blocks while the store is away.
func (m *Memory) waitReachable(ctx context.Context) error {
	for {
		m.mu.Lock()
		err, away, changed := m.checkLocked(ctx), m.away, m.changed
		m.mu.Unlock()
		if err != nil || !away {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.closing:
			return ErrClosed
		case <-changed:
		}
	}
}
