package acl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/kv"
)

// Bounds of the list and of one change.
const (
	MaxBindings = 200_000 // of a cluster
	MaxAtOnce   = 10_000  // bindings that one Create makes or one Delete takes away, as in Kafka
)

// Store is the list of a cluster in etcd. Make one with Open. It is safe for concurrent use.
type Store struct {
	kv     kv.KV
	prefix string

	now     atomic.Pointer[Snapshot]
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when now changes; under mu

	// Of the goroutine that runs Open, then Run.
	keys map[string]Binding // what stands in etcd, by key
}

// turnKey is the key that every change sets. It sorts after those of bindings, which are hexadecimal.
const turnKey = "turn"

// turn names a change, so that its writer knows it again.
type turn struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
}

// Open reads the list that stands below prefix, which ends with a slash. The Snapshot is that of the moment; Run keeps it current.
func Open(ctx context.Context, store kv.KV, prefix string) (*Store, error) {
	s := &Store{kv: store, prefix: prefix, changed: make(chan struct{}), keys: make(map[string]Binding)}
	s.now.Store(Empty())
	items, _, err := store.List(ctx, prefix)
	if err == nil {
		err = s.reset(items)
	}
	if err != nil {
		return nil, fmt.Errorf("read ACLs: %w", err)
	}
	return s, nil
}

// Run follows etcd until ctx ends; it then returns nil. An etcd that is away is waited for, while the Snapshot stays as it is. What
// is not understood ends Run with ErrFormat.
func (s *Store) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if errors.Is(err, ErrFormat) {
			return fmt.Errorf("follow ACLs: %w", err)
		}
		pause(ctx, retryPause)
	}
	return nil
}

const (
	// retryPause lies between two attempts to reach an etcd that is away.
	retryPause = 200 * time.Millisecond
	// checkEvery is how often it is checked that the watch brings what there is.
	checkEvery = 5 * time.Second
)

// follow follows the watch until it ends, or does not bring what etcd has.
func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		defer cancel()
		s.check(ctx)
	}()
	err := kv.Follow(ctx, s.kv, s.prefix, func(items []kv.Item, _ int64) error { return s.reset(items) }, s.apply)
	cancel()
	<-checked
	return err
}

// check returns when a change has been in etcd for the time between two checks and did not come, or ctx ends. A connection that was cut
// off without a word would otherwise leave in force for long what is denied since.
func (s *Store) check(ctx context.Context) {
	missed := int64(0)
	for ctx.Err() == nil {
		pause(ctx, checkEvery)
		if missed > s.Snapshot().turn {
			return
		}
		if item, err := s.kv.Get(ctx, s.prefix+turnKey); err == nil {
			missed = item.ModRev
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Snapshot is the list of the moment.
func (s *Store) Snapshot() *Snapshot { return s.now.Load() }

// reset takes the whole list.
func (s *Store) reset(items []kv.Item) error {
	keys := make(map[string]Binding, len(items))
	list := make([]Binding, 0, len(items))
	var last int64
	for _, item := range items {
		if item.Key == s.prefix+turnKey {
			last = item.ModRev
			continue
		}
		b, err := s.read(item)
		if err != nil {
			return err
		}
		keys[item.Key] = b
		list = append(list, b)
	}
	next := NewSnapshot(list)
	next.turn = last
	s.keys = keys
	s.publish(next)
	return nil
}

// apply takes one change of one key. The turn sorts last in a change, but events need not come sorted: the Snapshot that waiters
// look for is that with the turn's revision, so each event is in force at once and the turn only tells that all have come.
func (s *Store) apply(e kv.Event) error {
	now := s.now.Load()
	if e.Item.Key == s.prefix+turnKey {
		next := *now
		next.turn = e.Item.ModRev
		if e.Type == kv.EventDelete { // by somebody else than a Store
			next.turn = 0
		}
		s.publish(&next)
		return nil
	}
	old, had := s.keys[e.Item.Key]
	if e.Type == kv.EventDelete {
		delete(s.keys, e.Item.Key)
		if had {
			s.publish(now.with(nil, []Binding{old}))
		}
		return nil
	}
	b, err := s.read(e.Item)
	if err != nil {
		return err
	}
	s.keys[e.Item.Key] = b
	if !now.Has(b) {
		s.publish(now.with([]Binding{b}, nil))
	}
	return nil
}

func (s *Store) read(item kv.Item) (Binding, error) {
	b, err := decode(item.Value)
	if err == nil && item.Key != s.prefix+name(b) {
		err = fmt.Errorf("%w: it stands under the name of another", ErrFormat)
	}
	if err != nil {
		return b, fmt.Errorf("%s: %w", strings.TrimPrefix(item.Key, s.prefix), err)
	}
	return b, nil
}

func (s *Store) publish(next *Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Store(next)
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until the Snapshot has a change.
func (s *Store) await(ctx context.Context, rev int64) (*Snapshot, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if now := s.now.Load(); now.turn >= rev {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
