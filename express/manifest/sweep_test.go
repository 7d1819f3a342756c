package manifest

import (
	"errors"
	"testing"
	"time"

	"millrace/base/object"
	"millrace/express/segment"
)

const grace = int64(60_000)

// pass lets ms go by and sweeps.
func (w *world) pass(t *testing.T, ms int64) int {
	t.Helper()
	w.clock.Advance(time.Duration(ms) * time.Millisecond)
	n, err := w.store.Sweep(t.Context(), grace, w.nowMs())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSweepTakesWhatACrashLeftAfterGrace(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	before := w.keys(t, "")

	// A crash between body and pointer.
	next := m.Clone()
	next.Segments = append(next.Segments, w.addSegment(t, m.Partition, 10, 20))
	next.End = 20
	w.kv.before = func() error { return errPlanted }
	if err := w.store.Commit(t.Context(), m, next); !errors.Is(err, errPlanted) {
		t.Fatal(err)
	}
	w.kv.before = nil
	left := len(w.keys(t, "")) - len(before)
	if left != 2 {
		t.Fatalf("the crash left %d objects, want segment and body", left)
	}
	w.restart()
	for _, ms := range []int64{0, grace - 1, 2, grace - 1} { // young; young; noted; noted, but not for long enough
		if n := w.pass(t, ms); n != 0 {
			t.Fatalf("%d objects went before their time", n)
		}
	}
	if n := w.pass(t, 1); n != left {
		t.Fatalf("%d objects went, want %d", n, left)
	}
	after := w.keys(t, "")
	if len(after) != len(before) {
		t.Fatalf("left: %q, want %q", after, before)
	}
	if got := w.load(t, m.Partition); !same(got, m) || !w.exists(t, m.Segments[0].Key) {
		t.Fatal("the current manifest was touched")
	}
	if len(w.store.sweep.orphans) != 0 {
		t.Fatalf("still noted: %v", w.store.sweep.orphans)
	}
}

func TestSweepGivesReplacedSegmentsTheirGrace(t *testing.T) {
	w := newWorld(t)
	m := w.load(t, partition(1))
	for range 4 {
		m = w.grow(t, m)
	}
	w.pass(t, 100*grace) // all are old, and the earlier bodies are noted
	next := m.Clone()
	next.Segments = []segment.Info{w.addSegment(t, m.Partition, 0, 30), m.Segments[3]}
	if err := w.store.Commit(t.Context(), m, next); err != nil {
		t.Fatal(err)
	}
	w.pass(t, 1)
	for _, s := range m.Segments {
		if !w.exists(t, s.Key) {
			t.Fatal("a segment went without grace after it was replaced")
		}
	}
	w.pass(t, grace)
	for i, s := range m.Segments {
		if w.exists(t, s.Key) != (i == 3) {
			t.Fatalf("segment %d: exists %v", i, i != 3)
		}
	}
	if n := len(w.keys(t, Root)); n != 1 {
		t.Fatalf("%d bodies left, want the current one", n)
	}
	if got := w.load(t, m.Partition); !same(got, next) {
		t.Fatal("the current manifest was touched")
	}
}

func TestSweepTakesTheSegmentsOfADeletedPartition(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	if err := w.store.Delete(t.Context(), m.Partition); err != nil {
		t.Fatal(err)
	}
	w.pass(t, grace)
	if n := w.pass(t, grace); n != 1 || len(w.keys(t, "")) != 0 {
		t.Fatalf("%d went, left %q", n, w.keys(t, ""))
	}
}

func TestSweepLeavesAloneWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	broken := w.grow(t, w.load(t, partition(1)))
	away := w.grow(t, w.load(t, partition(2)))
	orphans := []string{w.addSegment(t, broken.Partition, 50, 60).Key, w.addSegment(t, away.Partition, 50, 60).Key}
	foreign := []string{"segments/readme", segment.Root + "00/x/y/z", Root + "zz/" + partition(1).Topic.String() + "/1/x", "other/thing"}
	for _, key := range foreign {
		if err := w.memory.Put(t.Context(), key, nil, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.memory.Put(t.Context(), broken.bodyKey, [][]byte{[]byte("rubbish")}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w.hook = func(op object.Op) error {
		if op.Kind == object.OpOpen && op.Key == away.bodyKey {
			return errPlanted
		}
		return nil
	}
	for range 3 {
		w.clock.Advance(time.Duration(grace) * time.Millisecond)
		n, err := w.store.Sweep(t.Context(), grace, w.nowMs())
		if n != 0 || !errors.Is(err, ErrCorrupt) || !errors.Is(err, errPlanted) {
			t.Fatalf("%d went, %v", n, err)
		}
	}
	for _, key := range append(foreign, append(orphans, broken.Segments[0].Key, away.Segments[0].Key)...) {
		if !w.exists(t, key) {
			t.Fatalf("%s went", key)
		}
	}
}

func TestSweepGoesOnAfterAFailedDelete(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	stuck := w.addSegment(t, m.Partition, 50, 60).Key
	w.addSegment(t, m.Partition, 70, 80)
	w.pass(t, grace)
	w.hook = func(op object.Op) error {
		if op.Kind == object.OpDelete && op.Key == stuck {
			return errPlanted
		}
		return nil
	}
	w.clock.Advance(time.Duration(grace) * time.Millisecond)
	if n, err := w.store.Sweep(t.Context(), grace, w.nowMs()); n != 1 || !errors.Is(err, errPlanted) {
		t.Fatalf("%d went, %v", n, err)
	}
	w.hook = nil
	if n := w.pass(t, 1); n != 1 {
		t.Fatalf("%d went, want the one that was stuck", n)
	}
}

// A commit between the listing and the look at the manifest: the object must be seen as referred to.
func TestSweepAgainstACommitAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	m := w.grow(t, w.load(t, partition(1)))
	next := m.Clone()
	next.Segments = append(next.Segments, w.addSegment(t, m.Partition, 10, 20))
	next.End = 20
	w.pass(t, grace) // the writer is slow beyond the rules: its segment is noted as an orphan
	listed, committed := false, false
	w.hook = func(op object.Op) error {
		listed = listed || op.Kind == object.OpList && op.Key == segment.Root
		return nil
	}
	w.kv.get = func() error {
		if !listed || committed {
			return nil
		}
		committed = true
		return w.store.Commit(t.Context(), m, next)
	}
	w.pass(t, grace)
	if !committed || !w.exists(t, next.Segments[1].Key) {
		t.Fatal("a segment went that was committed in time")
	}
	w.pass(t, 10*grace)
	w.pass(t, 10*grace)
	if got := w.load(t, m.Partition); !same(got, next) || !w.exists(t, next.Segments[1].Key) {
		t.Fatal("the current manifest was touched")
	}
}

func TestSweepIsBoundedAndGoesOn(t *testing.T) {
	w := newWorld(t)
	w.store.page, w.store.sweepMax = 10, 200
	m := w.grow(t, w.load(t, partition(1)))
	const orphans = 220
	for i := range orphans {
		key := segment.Prefix(m.Partition) + "orphan-" + time.Duration(i).String()
		if err := w.memory.Put(t.Context(), key, nil, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	total := w.pass(t, grace) + w.pass(t, 0)
	if total != 0 || len(w.store.sweep.orphans) != orphans {
		t.Fatalf("%d went, %d noted", total, len(w.store.sweep.orphans))
	}
	first := w.pass(t, grace)
	if first == 0 || first > 200 {
		t.Fatalf("one call deleted %d", first)
	}
	for range 3 {
		total += w.pass(t, 1)
	}
	if first+total != orphans {
		t.Fatalf("%d went, want %d", first+total, orphans)
	}
	if !w.exists(t, m.Segments[0].Key) || !w.exists(t, m.bodyKey) {
		t.Fatal("the current manifest was touched")
	}
}
