package manifest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/segment"
	"millrace/kafka/topic"
)

// world is what a Store needs, with ways to break it.
type world struct {
	clock   *clock.Manual
	kv      *faultyKV
	memory  *object.Memory
	objects object.Store
	hook    func(object.Op) error // asked before each call of objects; nil: none
	store   *Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	memory := kv.NewMemory()
	t.Cleanup(func() { memory.Close() })
	w := &world{clock: clock.NewManual(time.UnixMilli(1_000_000)), kv: &faultyKV{KV: memory}}
	w.memory = object.NewMemory(w.clock)
	w.objects = object.Faulty(w.memory, func(_ context.Context, op object.Op) error {
		if w.hook == nil {
			return nil
		}
		return w.hook(op)
	})
	w.restart()
	return w
}

// restart gives a Store that knows nothing of before.
func (w *world) restart() {
	w.store = NewStore(w.kv, w.objects, "test/manifests", slog.New(slog.DiscardHandler))
}

func (w *world) nowMs() int64 { return w.clock.Now().UnixMilli() }

// faultyKV lets a transaction fail, before or after it was applied.
type faultyKV struct {
	kv.KV
	before func() error // not applied when it returns an error
	after  func() error // applied, but the answer is lost
	get    func() error // asked before each Get
}

func (f *faultyKV) Get(ctx context.Context, key string) (kv.Item, error) {
	if f.get != nil {
		if err := f.get(); err != nil {
			return kv.Item{}, err
		}
	}
	return f.KV.Get(ctx, key)
}

func (f *faultyKV) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if f.before != nil {
		if err := f.before(); err != nil {
			return 0, err
		}
	}
	rev, err := f.KV.Txn(ctx, cond, then)
	if f.after != nil && err == nil {
		if err := f.after(); err != nil {
			return 0, err
		}
	}
	return rev, err
}

var errPlanted = errors.New("planted")

func partition(n byte) topic.Partition {
	return topic.Partition{Topic: topic.ID{n, 1, 2}, Index: int32(n)}
}

// addSegment puts an object that stands for the segment [base, end) and returns its entry.
func (w *world) addSegment(t *testing.T, p topic.Partition, base, end int64) segment.Info {
	t.Helper()
	info := describe(p, base, end, fmt.Sprintf("%020d-0-%d", base, w.clock.Advance(time.Millisecond).UnixNano()))
	if err := w.memory.Put(t.Context(), info.Key, [][]byte{make([]byte, info.Size)}, object.PutOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	return info
}

func describe(p topic.Partition, base, end int64, name string) segment.Info {
	return segment.Info{
		Key: segment.Prefix(p) + name, Base: base, End: end, DataBytes: 100, IndexPos: 110, Size: 200,
		Batches: end - base, Records: end - base, MaxTimestamp: -1, MaxTimestampOffset: -1, Created: 1,
	}
}

func (w *world) load(t *testing.T, p topic.Partition) *Manifest {
	t.Helper()
	m, err := w.store.Load(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// grow commits one more segment of ten offsets.
func (w *world) grow(t *testing.T, m *Manifest) *Manifest {
	t.Helper()
	next := m.Clone()
	next.Segments = append(next.Segments, w.addSegment(t, m.Partition, m.End, m.End+10))
	next.End += 10
	if err := w.store.Commit(t.Context(), m, next); err != nil {
		t.Fatal(err)
	}
	return next
}

func (w *world) exists(t *testing.T, key string) bool {
	t.Helper()
	_, err := w.memory.Stat(t.Context(), key)
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func (w *world) keys(t *testing.T, prefix string) []string {
	t.Helper()
	infos, err := w.memory.List(t.Context(), prefix, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, i := range infos {
		keys = append(keys, i.Key)
	}
	return keys
}

// same compares all that a manifest says.
func same(a, b *Manifest) bool {
	return a.Partition == b.Partition && a.Version == b.Version && a.LogStart == b.LogStart && a.End == b.End &&
		a.rev == b.rev && a.bodyKey == b.bodyKey && sameBody(a, b)
}

func TestLoadOfNothing(t *testing.T) {
	w := newWorld(t)
	m := w.load(t, partition(1))
	if m.Version != 0 || m.Partition != partition(1) || m.End != 0 || len(m.Segments) != 0 {
		t.Fatalf("got %+v", m)
	}
}

func TestCommitIsWhatLoadReturns(t *testing.T) {
	w := newWorld(t)
	m := w.load(t, partition(1))
	for range 3 {
		next := m.Clone()
		next.Epochs = append(next.Epochs, EpochStart{Epoch: int32(len(next.Epochs)), Start: next.End})
		next.CleanedEnd = next.End
		next.Segments = append(next.Segments, w.addSegment(t, m.Partition, m.End, m.End+10))
		next.End += 10
		if err := w.store.Commit(t.Context(), m, next); err != nil {
			t.Fatal(err)
		}
		if next.Version != m.Version+1 {
			t.Fatalf("version %d follows %d", next.Version, m.Version)
		}
		if got := w.load(t, m.Partition); !same(got, next) {
			t.Fatalf("loaded %+v, committed %+v", got, next)
		}
		m = next
	}
}

func TestLogStartAloneWritesNoBody(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	bodies := len(w.keys(t, Root))
	for _, start := range []int64{5, 10, 25} { // within, at the end, in what is not cut yet
		next := m.Clone()
		next.LogStart = start
		if err := w.store.Commit(t.Context(), m, next); err != nil {
			t.Fatal(err)
		}
		if got := w.load(t, m.Partition); !same(got, next) || got.LogStart != start || got.Version != m.Version+1 {
			t.Fatalf("loaded %+v, committed %+v", got, next)
		}
		m = next
	}
	if n := len(w.keys(t, Root)); n != bodies {
		t.Fatalf("%d bodies, before %d", n, bodies)
	}
	// What was deleted can go, and the log goes on behind.
	next := m.Clone()
	next.Segments, next.End = nil, 25
	if err := w.store.Commit(t.Context(), m, next); err != nil {
		t.Fatal(err)
	}
	m = next.Clone()
	m.LogStart, m.End = 30, 30
	if err := w.store.Commit(t.Context(), next, m); err != nil {
		t.Fatal(err)
	}
	if got := w.load(t, m.Partition); !same(got, m) || got.End != 30 {
		t.Fatalf("loaded %+v, committed %+v", got, m)
	}
}

func TestCommitRefusesWhatBreaksAnInvariant(t *testing.T) {
	p := partition(1)
	f := func(name string, change func(w *world, m *Manifest)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.load(t, p)
			for range 3 {
				m = w.grow(t, m)
			}
			prev := m.Clone()
			prev.LogStart, prev.Epochs = 2, []EpochStart{{1, 0}, {4, 20}}
			if err := w.store.Commit(t.Context(), m, prev); err != nil {
				t.Fatal(err)
			}
			before := w.keys(t, "")
			next := prev.Clone()
			change(w, next)
			kept := next.Clone()
			if err := w.store.Commit(t.Context(), prev, next); !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			if !same(kept, next) {
				t.Fatal("a refused commit changed its argument")
			}
			if got := w.load(t, p); !same(got, prev) {
				t.Fatal("a refused commit changed the manifest")
			}
			if after := w.keys(t, Root); len(after) != len(w.keys(t, Root)) || len(before) > len(w.keys(t, "")) {
				t.Fatal("objects were lost")
			}
		})
	}
	add := func(base, end int64) func(*world, *Manifest) {
		return func(w *world, m *Manifest) {
			m.Segments = append(m.Segments, w.addSegment(t, p, base, end))
			m.End = end
		}
	}
	f("gap behind", add(31, 40))
	f("overlap behind", add(29, 40))
	f("hole within", func(_ *world, m *Manifest) { m.Segments = append(m.Segments[:1:1], m.Segments[2:]...) })
	f("order", func(_ *world, m *Manifest) { m.Segments[0], m.Segments[1] = m.Segments[1], m.Segments[0] })
	f("twice", func(_ *world, m *Manifest) {
		s := m.Segments[2]
		s.Base, s.End = 30, 40
		m.Segments, m.End = append(m.Segments, s), 40
	})
	f("first segment above the log start", func(_ *world, m *Manifest) { m.Segments = m.Segments[1:] })
	f("last segment lost", func(_ *world, m *Manifest) { m.Segments, m.End = m.Segments[:2], 20 })
	f("all segments lost", func(_ *world, m *Manifest) { m.Segments, m.End = nil, 2 })
	f("all lost, log start short of the end", func(_ *world, m *Manifest) { m.Segments, m.End, m.LogStart = nil, 29, 29 })
	f("end wrong", func(_ *world, m *Manifest) { m.End++ })
	f("log start back", func(_ *world, m *Manifest) { m.LogStart-- })
	f("log start negative", func(_ *world, m *Manifest) { m.LogStart = -1 })
	f("cleaned beyond the end", func(_ *world, m *Manifest) { m.CleanedEnd = m.End + 1 })
	f("epoch back", func(_ *world, m *Manifest) { m.Epochs = m.Epochs[:1] })
	f("epochs lost", func(_ *world, m *Manifest) { m.Epochs = nil })
	f("epochs out of order", func(_ *world, m *Manifest) { m.Epochs = append(m.Epochs, EpochStart{4, 25}) })
	f("epoch start back", func(_ *world, m *Manifest) { m.Epochs = append(m.Epochs, EpochStart{5, 19}) })
	f("other partition", func(_ *world, m *Manifest) { m.Partition.Index++ })
	f("not from prev", func(_ *world, m *Manifest) { m.Version++ })
	f("foreign segment", func(w *world, m *Manifest) {
		m.Segments = append(m.Segments, w.addSegment(t, partition(2), 30, 40))
		m.End = 40
	})
	f("segment changed", func(_ *world, m *Manifest) { m.Segments[1].Records++ })
	f("segment not in the store", func(_ *world, m *Manifest) {
		m.Segments = append(m.Segments, describe(p, 30, 40, "gone"))
		m.End = 40
	})
	f("segment of another size", func(w *world, m *Manifest) {
		s := w.addSegment(t, p, 30, 40)
		s.Size++
		m.Segments, m.End = append(m.Segments, s), 40
	})
	f("sizes out of order", func(w *world, m *Manifest) {
		s := w.addSegment(t, p, 30, 40)
		s.IndexPos = s.Size
		m.Segments, m.End = append(m.Segments, s), 40
	})
}

func TestOneOfConcurrentCommitsWins(t *testing.T) {
	w := newWorld(t)
	m := w.load(t, partition(1))
	for round := range 20 {
		const committers = 8
		var wins [committers]*Manifest
		var group sync.WaitGroup
		for i := range committers {
			next := m.Clone()
			if round%2 == 0 {
				next.Segments = append(next.Segments, w.addSegment(t, m.Partition, m.End, m.End+10))
				next.End += 10
			} else {
				next.LogStart++ // all write the same: still only one wins
			}
			group.Go(func() {
				err := w.store.Commit(t.Context(), m, next)
				if err == nil {
					wins[i] = next
				} else if !errors.Is(err, ErrConflict) {
					t.Errorf("got %v, want ErrConflict", err)
				}
			})
		}
		group.Wait()
		var winner *Manifest
		for _, next := range wins {
			if next != nil && winner != nil {
				t.Fatal("two commits over one version won")
			}
			if next != nil {
				winner = next
			}
		}
		if winner == nil {
			t.Fatal("nobody won")
		}
		if got := w.load(t, m.Partition); !same(got, winner) {
			t.Fatalf("loaded %+v, the winner committed %+v", got, winner)
		}
		m = winner
	}
}

func TestLostAnswerOfTheTransactionIsNoConflict(t *testing.T) {
	for _, lost := range []error{kv.ErrUnknown, kv.ErrConflict} { // a client that repeats itself sees its own write as a conflict
		w := newWorld(t)
		m := w.grow(t, w.load(t, partition(1)))
		w.kv.after = func() error { return lost }
		next := m.Clone()
		next.LogStart = 3
		if err := w.store.Commit(t.Context(), m, next); err != nil {
			t.Fatalf("applied, but got %v", err)
		}
		w.kv.after = nil
		if got := w.load(t, m.Partition); !same(got, next) {
			t.Fatalf("loaded %+v, committed %+v", got, next)
		}
		w.grow(t, next) // the revision is right
	}
}

func TestFailedCommitCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	next := m.Clone()
	next.Segments = append(next.Segments, w.addSegment(t, m.Partition, 10, 20))
	next.End = 20
	fail := func(name string) {
		t.Helper()
		if err := w.store.Commit(t.Context(), m, next); !errors.Is(err, errPlanted) || errors.Is(err, ErrConflict) {
			t.Fatalf("%s: got %v", name, err)
		}
		if got := w.load(t, m.Partition); !same(got, m) {
			t.Fatalf("%s: manifest changed", name)
		}
	}
	w.hook = func(op object.Op) error {
		if op.Kind == object.OpStat {
			return errPlanted
		}
		return nil
	}
	fail("stat")
	w.hook = func(op object.Op) error {
		if op.Kind == object.OpPut {
			return errPlanted
		}
		return nil
	}
	fail("put")
	w.hook = func(op object.Op) error {
		if op.Kind == object.OpPut {
			return &object.LostAnswer{Err: errPlanted}
		}
		return nil
	}
	fail("put, answer lost")
	w.hook = nil
	w.kv.before = func() error { return errPlanted }
	fail("pointer")
	w.kv.before = nil
	if err := w.store.Commit(t.Context(), m, next); err != nil {
		t.Fatal(err)
	}
}

func TestPartitionsListsPointers(t *testing.T) {
	w := newWorld(t)
	want := map[topic.Partition]bool{}
	for n := range byte(40) {
		want[w.grow(t, w.load(t, partition(n))).Partition] = true
	}
	if _, err := w.kv.Txn(t.Context(), nil, []kv.Op{kv.Put(w.store.prefix+"foreign", nil)}); err != nil {
		t.Fatal(err)
	}
	all, err := w.store.Partitions(t.Context())
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d manifests of %d, %v", len(all), len(want), err)
	}
	for _, p := range all {
		if !want[p] {
			t.Fatalf("%v is listed", p)
		}
	}
}

func TestLoadLooksAgainWhenTheBodyWasSwept(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	var newer *Manifest
	w.hook = func(op object.Op) error {
		if op.Kind != object.OpOpen || newer != nil {
			return nil
		}
		newer = m
		newer = w.grow(t, m)
		return w.memory.Delete(t.Context(), m.bodyKey)
	}
	if got := w.load(t, m.Partition); !same(got, newer) {
		t.Fatalf("loaded %+v, current is %+v", got, newer)
	}
	w.hook = nil
	if err := w.memory.Delete(t.Context(), newer.bodyKey); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Load(t.Context(), m.Partition); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("body is gone for good: got %v, want ErrCorrupt", err)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	keep := w.grow(t, w.load(t, partition(1)))
	m := w.load(t, partition(2))
	for range 3 {
		m = w.grow(t, m)
	}
	for range 2 {
		if err := w.store.Delete(t.Context(), m.Partition); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.load(t, m.Partition); got.Version != 0 {
		t.Fatalf("still there: %+v", got)
	}
	if left := w.keys(t, bodyPrefix(m.Partition)); len(left) != 0 {
		t.Fatalf("bodies are left: %q", left)
	}
	if !w.exists(t, m.Segments[0].Key) {
		t.Fatal("segments went without grace")
	}
	if got := w.load(t, keep.Partition); !same(got, keep) {
		t.Fatal("another partition was touched")
	}
	// A zombie that still holds the manifest cannot bring the partition back.
	next := m.Clone()
	next.LogStart++
	if err := w.store.Commit(t.Context(), m, next); !errors.Is(err, ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
}
