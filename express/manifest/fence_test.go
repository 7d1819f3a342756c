package manifest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// M6: an owner that was replaced commits nothing more, whether there was something before or not, and whatever it loads.
func TestFence(t *testing.T) {
	ctx := context.Background()
	for _, commits := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			w := newWorld(t)
			p := topic.Partition{Topic: topic.NewID(), Index: 2}
			m, err := w.store.Load(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			step := func(prev *Manifest) (*Manifest, error) {
				next := prev.Clone()
				next.LogStart++
				next.End = next.LogStart
				return next, w.store.Commit(ctx, prev, next)
			}
			for range commits {
				if m, err = step(m); err != nil {
					t.Fatal(err)
				}
			}
			fence := func(epoch int32) (*Manifest, error) {
				all, failed := w.store.Fence(ctx, map[topic.Partition]int32{p: epoch})
				return all[p], failed[p]
			}
			mine, err := fence(5)
			if err != nil || mine.Fence() != 5 || mine.LogStart != m.LogStart {
				t.Fatalf("%+v, %v", mine, err)
			}
			if _, err := step(m); !errors.Is(err, ErrFenced) || errors.Is(err, ErrInvalid) {
				t.Errorf("the owner of before: %v", err)
			}
			again, err := fence(5)
			if err != nil || again.Version != mine.Version {
				t.Errorf("again: %+v, %v", again, err)
			}
			if mine, err = step(mine); err != nil {
				t.Fatal(err)
			}
			if _, err := fence(4); !errors.Is(err, ErrFenced) {
				t.Errorf("an earlier epoch: %v", err)
			}
			loaded, err := w.store.Load(ctx, p)
			if err != nil || loaded.Fence() != 5 || loaded.LogStart != mine.LogStart || loaded.Version != mine.Version {
				t.Errorf("%+v, %v, want %+v", loaded, err, mine)
			}
			if _, err := fence(6); err != nil {
				t.Error(err)
			}
			if _, err := step(loaded); !errors.Is(err, ErrFenced) {
				t.Errorf("fenced in turn: %v", err)
			}
		})
	}
}

// Many at once, while their owners commit on, answers are lost and one cannot be read.
func TestFenceOfMany(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	owners := map[topic.Partition]int32{}
	var manifests []*Manifest
	for i := range 250 {
		p := topic.Partition{Topic: topic.ID{byte(i), 1}, Index: 1}
		owners[p] = 7
		if i%2 == 0 {
			m, err := w.store.Load(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			next := m.Clone()
			next.LogStart, next.End = 1, 1
			if err := w.store.Commit(ctx, m, next); err != nil {
				t.Fatal(err)
			}
			manifests = append(manifests, next)
		}
	}
	bad := manifests[0].Partition
	if _, err := w.kv.KV.Txn(ctx, nil, []kv.Op{kv.Put(w.store.pointerKey(bad), []byte("{}"))}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	calls := 0
	owner := NewStore(w.kv.KV, w.objects, "test/manifests", slog.New(slog.DiscardHandler))
	w.kv.before = func() error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls > 20 {
			return nil
		}
		m := manifests[calls]
		next := m.Clone()
		next.LogStart, next.End = 2, 2
		if err := owner.Commit(ctx, m, next); err != nil && !errors.Is(err, ErrFenced) {
			return err
		}
		return nil
	}
	w.kv.after = func() error {
		mu.Lock()
		defer mu.Unlock()
		if calls%3 == 0 {
			return kv.ErrUnknown
		}
		return nil
	}
	all, failed := w.store.Fence(ctx, owners)
	if len(all) != 249 || len(failed) != 1 || !errors.Is(failed[bad], ErrCorrupt) {
		t.Fatalf("%d fenced, failed: %v", len(all), failed)
	}
	for p, m := range all {
		now, err := w.store.Load(ctx, p)
		if err != nil || now.Fence() != 7 || now.rev != m.rev || now.LogStart != m.LogStart {
			t.Fatalf("%+v, %v, want %+v", now, err, m)
		}
	}
}
