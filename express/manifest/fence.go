package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

const (
	fenceLoads = 32  // manifests that one Fence reads at once
	fenceLists = 200 // manifests from which on all pointers are listed instead
	fenceOps   = 100 // pointers that it moves in one transaction; fewer than kv.MaxOps
)

// Fence makes partitions their new owner's, at the leader epochs in owners, and gives their manifests: whatever the owner
// before is about to commit fails with ErrFenced from now on (M6). It may be repeated. Failed has those for which it did not
// come to pass, or is not known to; for ErrFenced an owner of a later epoch was there before.
func (s *Store) Fence(ctx context.Context, owners map[topic.Partition]int32) (all map[topic.Partition]*Manifest, failed map[topic.Partition]error) {
	f := fencing{store: s, owners: owners, all: make(map[topic.Partition]*Manifest), failed: make(map[topic.Partition]error)}
	todo := make([]topic.Partition, 0, len(owners))
	for p := range owners {
		todo = append(todo, p)
	}
	for len(todo) > 0 { // again for those that somebody committed meanwhile: once each, as the last commit fails
		todo = f.round(ctx, todo)
	}
	return f.all, f.failed
}

// fencing is one Fence under way.
type fencing struct {
	store  *Store
	owners map[topic.Partition]int32

	mu     sync.Mutex
	all    map[topic.Partition]*Manifest
	failed map[topic.Partition]error
	again  []topic.Partition
}

// round tries each once, and gives those that are to be tried again.
func (f *fencing) round(ctx context.Context, todo []topic.Partition) (again []topic.Partition) {
	f.again = nil
	pointers := f.list(ctx, todo)
	var g errgroup.Group
	g.SetLimit(fenceLoads)
	loaded := make([]*Manifest, len(todo))
	for i, p := range todo {
		g.Go(func() error {
			m, err := f.load(ctx, p, pointers)
			switch {
			case err != nil:
				f.fail(p, err)
			case m.fence > f.owners[p]:
				f.fail(p, fmt.Errorf("manifest of %s: %w, of leader epoch %d", p, ErrFenced, m.fence))
			case m.fence == f.owners[p]:
				f.done(p, m)
			default:
				loaded[i] = m
			}
			return nil
		})
	}
	_ = g.Wait() // each partition has its own outcome
	var batch []*Manifest
	for i, m := range loaded {
		if m != nil {
			batch = append(batch, m)
		}
		if len(batch) == fenceOps || i == len(loaded)-1 && len(batch) > 0 {
			moving := batch
			batch = nil
			g.Go(func() error {
				f.move(ctx, moving)
				return nil
			})
		}
	}
	_ = g.Wait()
	return f.again
}

// list reads the pointers of all partitions at once, where that is less work than to read those of some; nil: it is not.
func (f *fencing) list(ctx context.Context, todo []topic.Partition) map[string]kv.Item {
	if len(todo) < fenceLists {
		return nil
	}
	items, _, err := f.store.kv.List(ctx, f.store.prefix)
	if err != nil {
		return nil // reading them one by one will tell
	}
	pointers := make(map[string]kv.Item, len(items))
	for _, item := range items {
		pointers[item.Key] = item
	}
	return pointers
}

// load is Load by a listing, which may be behind: then the fence does not take, and the next round sees more.
func (f *fencing) load(ctx context.Context, p topic.Partition, pointers map[string]kv.Item) (*Manifest, error) {
	if pointers == nil {
		return f.store.Load(ctx, p)
	}
	item, ok := pointers[f.store.pointerKey(p)]
	if !ok {
		return &Manifest{Partition: p}, nil
	}
	m, err := f.store.follow(ctx, p, item)
	if err != nil {
		return f.store.Load(ctx, p)
	}
	return m, nil
}

// move writes the fence into some pointers, in one transaction.
func (f *fencing) move(ctx context.Context, batch []*Manifest) {
	conds, ops := make([]kv.Cond, 0, len(batch)), make([]kv.Op, 0, len(batch))
	for _, m := range batch {
		key := f.store.pointerKey(m.Partition)
		value, err := json.Marshal(pointer{
			Format: formatVersion, Version: m.Version + 1, Body: m.bodyKey, LogStart: m.LogStart, Nonce: uuid.New().String(), Fence: f.owners[m.Partition],
		})
		if err != nil {
			f.fail(m.Partition, fmt.Errorf("encode pointer: %w", err))
			continue
		}
		conds, ops = append(conds, kv.ModRevEquals(key, m.rev)), append(ops, kv.Put(key, value))
	}
	rev, err := f.store.kv.Txn(ctx, conds, ops)
	for _, m := range batch {
		switch {
		case err == nil:
			next := *m
			next.Version, next.rev, next.fence = m.Version+1, rev, f.owners[m.Partition]
			f.done(m.Partition, &next)
		case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil:
			f.retry(m.Partition)
		default:
			f.fail(m.Partition, fmt.Errorf("fence manifest of %s: %w", m.Partition, err))
		}
	}
}

func (f *fencing) fail(p topic.Partition, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed[p] = err
}

func (f *fencing) done(p topic.Partition, m *Manifest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[p] = m
}

func (f *fencing) retry(p topic.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = append(f.again, p)
}
