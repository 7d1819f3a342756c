package partition_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/wal"
	"millrace/kafka/record"
)

func TestAppendedRecordsAreReadBack(t *testing.T) {
	e := newEnv(t, nil)
	for i := range 20 {
		if base := e.put(rec{"a", fmt.Sprint(i)}, rec{"b", fmt.Sprint(i)}); base != int64(2*i) {
			t.Fatalf("batch %d got offset %d", i, base)
		}
	}
	e.offsets(0, 40)
	all := e.readAll(0)
	if len(all) != 40 || all[39] != "39:b=19" {
		t.Fatalf("read %v", all)
	}
	e.same(all[7:], e.readAll(7)) // from the middle of a batch
	var chain slab.Chain
	_, err := e.p.Read(context.Background(), &chain, 41, 1, true, false)
	wantErr(t, err, partition.ErrOffsetOutOfRange)
}

func TestRefusedBatchesGetNoOffset(t *testing.T) {
	e := newEnv(t, map[string]string{"max.message.bytes": "1000"})
	broken := batch(t, 1, nil, rec{"k", "v"})
	broken[len(broken)-1] ^= 1
	old := e.clock.Now().Add(48 * time.Hour).UnixMilli()
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"checksum":  {broken, record.ErrCorrupt},
		"truncated": {batch(t, 1, nil, rec{"k", "value"})[:65], record.ErrInvalid},
		"large":     {batch(t, 1, nil, rec{"k", string(make([]byte, 2000))}), record.ErrTooLarge},
		"future":    {batch(t, old, nil, rec{"k", "v"}), record.ErrTimestamp},
	} {
		a := e.appendBatch(c.b)
		if !errors.Is(a.Err, c.want) || a.BaseOffset != -1 {
			t.Errorf("%s: %+v, want %v and no offset", name, a, c.want)
		}
	}
	e.offsets(0, 0)
}

func TestTopicSettingsShapeWhatIsStored(t *testing.T) {
	e := newEnv(t, map[string]string{"compression.type": "zstd", "message.timestamp.type": "LogAppendTime"})
	e.clock.Advance(time.Minute)
	a := e.appendBatch(batch(t, 5, nil, rec{"k", "v"}))
	must(t, a.Err)
	if a.LogAppendTime != e.clock.Now().UnixMilli() {
		t.Fatalf("log append time %d, want now", a.LogAppendTime)
	}
	var chain slab.Chain
	_, err := e.p.Read(context.Background(), &chain, 0, 1<<20, true, false)
	must(t, err)
	b := record.Batch(chain.Parts()[0])
	if b.Codec() != record.Zstd || b.MaxTimestamp() != a.LogAppendTime || b.TimestampType() != record.LogAppendTime {
		t.Fatalf("stored with codec %v, time %d of type %v", b.Codec(), b.MaxTimestamp(), b.TimestampType())
	}
	e.same([]string{"0:k=v"}, e.readAll(0))
}

func idempotent(sequence int32) *record.Producer {
	return &record.Producer{ID: 7, Epoch: 0, Sequence: sequence}
}

func TestDuplicateGetsTheFirstOffset(t *testing.T) {
	e := newEnv(t, nil)
	e.put(rec{"x", "1"})
	first := e.appendBatch(batch(t, 1, idempotent(0), rec{"k", "v"}))
	must(t, first.Err)
	again := e.appendBatch(batch(t, 1, idempotent(0), rec{"k", "v"}))
	must(t, again.Err)
	if again.BaseOffset != first.BaseOffset || first.LogAppendTime != -1 || again.LogAppendTime != 1 {
		t.Fatalf("the duplicate got %+v, the first %+v", again, first)
	}
	wantErr(t, e.appendBatch(batch(t, 1, idempotent(5), rec{"k", "v"})).Err, producer.ErrOutOfOrderSequence)
	e.offsets(0, 2)
	e.reopen(nil) // the state survives a restart
	again = e.appendBatch(batch(t, 1, idempotent(0), rec{"k", "v"}))
	if again.Err != nil || again.BaseOffset != first.BaseOffset || again.LogAppendTime != 1 {
		t.Fatalf("after a restart the duplicate got %+v", again)
	}
}

// gate holds syncs up until it is opened.
type gate struct {
	held atomic.Bool
	open chan struct{}
	hit  chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{}), hit: make(chan struct{}, 100)} }

func (g *gate) hook(op disk.Op) error {
	if op.Kind == disk.OpDatasync && g.held.Load() {
		g.hit <- struct{}{}
		<-g.open
	}
	return nil
}

func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	g := newGate()
	e := newEnv(t, nil, onDisk(disk.Faulty(disk.NewMem(), g.hook)))
	e.put(rec{"k", "0"})
	g.held.Store(true)
	done := make(chan partition.Appended, 2)
	report := func(a partition.Appended) { done <- a }
	w := partition.NewWaiter()
	cancel := e.p.Wait(w, 1)
	defer cancel()
	e.p.Append(context.Background(), batch(t, 1, idempotent(0), rec{"k", "1"}), report)
	<-g.hit
	e.p.Append(context.Background(), batch(t, 1, idempotent(0), rec{"k", "1"}), report) // its retry
	select {
	case a := <-done:
		t.Fatalf("answered before the sync: %+v", a)
	case <-w.C:
		t.Fatal("waiter woken before the sync")
	default:
	}
	if o := e.p.Offsets(); o.HW != 1 || o.End != 2 {
		t.Fatalf("offsets before the sync: %+v", o)
	}
	e.same([]string{"0:k=0"}, e.readAll(0))
	close(g.open)
	for range 2 {
		if a := <-done; a.Err != nil || a.BaseOffset != 1 {
			t.Fatalf("answer %+v, want offset 1", a)
		}
	}
	<-w.C
	e.offsets(0, 2)
}

func TestFailedWriteLeavesNoTrace(t *testing.T) {
	var full atomic.Bool
	e := newEnv(t, nil, onDisk(disk.Faulty(disk.NewMem(), func(op disk.Op) error {
		if op.Kind == disk.OpWrite && full.Load() {
			return syscall.ENOSPC
		}
		return nil
	})))
	must(t, e.appendBatch(batch(t, 1, idempotent(0), rec{"k", "0"})).Err)
	full.Store(true)
	for range 3 {
		a := e.appendBatch(batch(t, 1, idempotent(1), rec{"k", "1"}))
		wantErr(t, a.Err, partition.ErrStorage)
		if a.BaseOffset != -1 {
			t.Fatalf("an error carries offset %d", a.BaseOffset)
		}
	}
	e.offsets(0, 1)
	e.same([]string{"0:k=0"}, e.readAll(0)) // reads go on
	full.Store(false)
	a := e.appendBatch(batch(t, 1, idempotent(1), rec{"k", "1"})) // the retry is no duplicate and not out of order
	if a.Err != nil || a.BaseOffset != 1 {
		t.Fatalf("after room returned: %+v", a)
	}
	e.same([]string{"0:k=0", "1:k=1"}, e.readAll(0))
}

func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	for seed := range uint64(20) {
		mem := disk.NewMem()
		e := newEnv(t, nil, onDisk(mem), fileSize(1<<20))
		e.fill(int(seed)*7, 3000)
		want := e.readAll(0)
		e.crash(mem, seed, nil)
		got := e.readAll(0)
		e.same(want, got[:min(len(want), len(got))])
		next := e.put(rec{"k", "after"})
		if next != int64(len(got)) {
			t.Fatalf("seed %d: the next offset is %d after %d records", seed, next, len(got))
		}
	}
}

func cutAll() partition.CutPolicy {
	return partition.CutPolicy{SmallPiece: 1, MinBytes: 1, MaxAge: time.Hour, Release: func(uint64) bool { return true }}
}

// seal closes the log's active file, and waits until that is done.
func (e *env) seal() {
	e.t.Helper()
	must(e.t, e.log.Roll(context.Background()))
	for slices.ContainsFunc(e.log.Stream(e.id).Extents(), func(x wal.Extent) bool { return !x.Sealed }) {
		<-e.log.Sealed()
	}
}

func TestCutChangesNothingForReaders(t *testing.T) {
	e := newEnv(t, map[string]string{"segment.bytes": "1048576"}, fileSize(1<<20))
	e.fill(900, 4000)
	e.seal()
	want := e.readAll(0)
	written, err := e.p.Cut(context.Background(), cutAll())
	must(t, err)
	if written < 900*4000 {
		t.Fatalf("cut wrote %d bytes", written)
	}
	e.same(want, e.readAll(0))
	if first, end := e.log.Stream(e.id).Bounds(); first != end && first < 900 {
		t.Fatalf("the log still holds [%d, %d)", first, end)
	}
	e.put(rec{"k", "tail"})
	want = append(want, "900:k=tail")
	e.same(want, e.readAll(0))
	e.same(want[450:], e.readAll(450))
	e.reopen(nil)
	e.same(want, e.readAll(0))
	e.offsets(0, 901)
}

func TestCutLeavesLargeRunsWhereTheyAre(t *testing.T) {
	e := newEnv(t, nil, fileSize(1<<20))
	e.fill(100, 64<<10)
	e.seal()
	written, err := e.p.Cut(context.Background(), partition.DefaultCutPolicy())
	must(t, err)
	if written != 0 {
		t.Fatalf("%d bytes were written a second time", written)
	}
}

func TestDeleteRecordsMovesTheLogStartForGood(t *testing.T) {
	e := newEnv(t, nil, fileSize(1<<20))
	e.fill(50, 10)
	ctx := context.Background()
	_, err := e.p.DeleteRecords(ctx, 51)
	wantErr(t, err, partition.ErrOffsetOutOfRange)
	got, err := e.p.DeleteRecords(ctx, 20)
	must(t, err)
	if got != 20 {
		t.Fatalf("log start %d, want 20", got)
	}
	if got, err = e.p.DeleteRecords(ctx, 10); err != nil || got != 20 {
		t.Fatalf("going back gave %d, %v", got, err)
	}
	var chain slab.Chain
	_, err = e.p.Read(ctx, &chain, 19, 1, true, false)
	wantErr(t, err, partition.ErrOffsetOutOfRange)
	e.reopen(nil)
	e.offsets(20, 50)
	got, err = e.p.DeleteRecords(ctx, -1)
	must(t, err)
	e.offsets(50, 50)
	e.reopen(nil)
	e.offsets(got, 50)
	if base := e.put(rec{"k", "v"}); base != 50 {
		t.Fatalf("after all was deleted the next offset is %d", base)
	}
	e.p.SetSettings(topicSettings(t, map[string]string{"cleanup.policy": "compact"}))
	_, err = e.p.DeleteRecords(ctx, -1)
	wantErr(t, err, partition.ErrPolicy)
}

func TestRetentionByTime(t *testing.T) {
	e := newEnv(t, map[string]string{"retention.ms": "60000"}, fileSize(1<<20))
	e.fill(300, 4000)
	e.clock.Advance(50 * time.Second)
	e.seal()
	e.fill(10, 4000)
	e.clock.Advance(20 * time.Second)
	moved, err := e.p.ApplyRetention(context.Background())
	must(t, err)
	if moved != 300 {
		t.Fatalf("log start moved by %d, want 300", moved)
	}
	e.offsets(300, 310)
	e.clock.Advance(time.Hour) // what is still being appended to expires too
	_, err = e.p.ApplyRetention(context.Background())
	must(t, err)
	e.offsets(310, 310)
	e.reopen(nil)
	e.offsets(310, 310)
}

func TestRetentionBySizeOverSegmentsAndLog(t *testing.T) {
	e := newEnv(t, map[string]string{"retention.bytes": "1000000", "segment.bytes": "1048576"}, fileSize(1<<20))
	e.fill(600, 4000)
	e.seal()
	_, err := e.p.Cut(context.Background(), cutAll())
	must(t, err)
	e.fill(300, 4000)
	e.seal()
	before := e.p.Size()
	_, err = e.p.ApplyRetention(context.Background())
	must(t, err)
	after := e.p.Size()
	if after >= before || after < 1_000_000 || after > 3_100_000 {
		t.Fatalf("size went from %d to %d, want at least 1,000,000 and little more than a segment above it", before, after)
	}
	if len(e.retired) == 0 {
		t.Fatal("no segment was retired")
	}
	e.same(e.readAll(e.p.Offsets().LogStart), e.readAll(e.p.Offsets().LogStart))
}

func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
	e := newEnv(t, configs, fileSize(1<<20))
	e.fill(500, 4000)
	e.put(rec{"k3", ""}) // a tombstone
	e.seal()
	_, err := e.p.Cut(context.Background(), cutAll())
	must(t, err)
	removed, err := e.p.Compact(context.Background(), partition.CompactLimits{MaxMapBytes: 1 << 20})
	must(t, err)
	if removed != 491 {
		t.Fatalf("removed %d of 501 records with 10 keys, want 491", removed)
	}
	got := e.readAll(0)
	if len(got) != 10 || got[9] != "500:k3=" {
		t.Fatalf("kept %d records, the last is %q", len(got), got[len(got)-1])
	}
	e.put(rec{"k1", "new"})
	e.reopen(configs)
	e.same(append(got, "501:k1=new"), e.readAll(0))
	if again, err := e.p.Compact(context.Background(), partition.CompactLimits{MaxMapBytes: 1 << 20}); err != nil || again != 0 {
		t.Fatalf("a second compaction removed %d, %v", again, err)
	}
}

func TestLookUpByTime(t *testing.T) {
	e := newEnv(t, nil, fileSize(1<<20))
	at := func(i int) int64 { return start.UnixMilli() + int64(i)*1000 }
	for i := range 400 {
		e.clock.Advance(time.Second)
		must(t, e.appendBatch(batch(t, at(i), nil, rec{"k", string(make([]byte, 5000))})).Err)
		if i == 200 {
			e.seal()
			_, err := e.p.Cut(context.Background(), cutAll())
			must(t, err)
		}
	}
	for _, i := range []int{0, 1, 57, 199, 200, 201, 399} {
		f, err := e.p.OffsetForTime(context.Background(), at(i)-300, false)
		must(t, err)
		if f.Offset != int64(i) || f.Timestamp != at(i) {
			t.Errorf("time of record %d: found %+v", i, f)
		}
	}
	if f, err := e.p.OffsetForTime(context.Background(), at(400), false); err != nil || f.Offset != -1 {
		t.Errorf("past the end: %+v, %v", f, err)
	}
	if f, err := e.p.OffsetOfMaxTime(context.Background()); err != nil || f.Offset != 399 {
		t.Errorf("largest time: %+v, %v", f, err)
	}
	_, err := e.p.DeleteRecords(context.Background(), 250)
	must(t, err)
	if f, err := e.p.OffsetForTime(context.Background(), at(10), false); err != nil || f.Offset != 250 {
		t.Errorf("below the log start: %+v, %v", f, err)
	}
}

func TestLeaderEpochsAreRemembered(t *testing.T) {
	e := newEnv(t, nil)
	e.fill(3, 1)
	e.reopen(nil) // epoch 1
	e.fill(4, 1)
	e.reopen(nil) // epoch 2, which gets no record
	e.reopen(nil) // epoch 3
	e.fill(2, 1)
	for epoch, want := range map[int32][2]int64{0: {0, 3}, 1: {1, 7}, 2: {1, 7}, 3: {3, 9}, 4: {-1, -1}, -1: {-1, -1}} {
		if got, end := e.p.EpochEnd(epoch); int64(got) != want[0] || end != want[1] {
			t.Errorf("epoch %d ended as (%d, %d), want %v", epoch, got, end, want)
		}
	}
	wantErr(t, e.p.CheckEpoch(2), partition.ErrFencedEpoch)
	wantErr(t, e.p.CheckEpoch(4), partition.ErrUnknownEpoch)
	must(t, e.p.CheckEpoch(3))
	must(t, e.p.CheckEpoch(-1))
}

func TestClosedPartitionRefusesAndWakes(t *testing.T) {
	e := newEnv(t, nil)
	w := partition.NewWaiter()
	defer e.p.Wait(w, 100)()
	e.p.Close()
	<-w.C
	wantErr(t, e.appendBatch(batch(t, 1, nil, rec{"k", "v"})).Err, partition.ErrNotOwner)
	var chain slab.Chain
	_, err := e.p.Read(context.Background(), &chain, 0, 1, true, false)
	wantErr(t, err, partition.ErrNotOwner)
}

func TestDeleteLeavesNothing(t *testing.T) {
	e := newEnv(t, nil, fileSize(1<<20))
	e.fill(300, 4000)
	e.seal()
	_, err := e.p.Cut(context.Background(), cutAll())
	must(t, err)
	must(t, e.p.Delete(context.Background()))
	m, err := e.manifests.Load(context.Background(), e.id)
	must(t, err)
	if m.Version != 0 || len(e.retired) == 0 {
		t.Fatalf("manifest version %d, %d objects retired", m.Version, len(e.retired))
	}
	if ps := e.log.Partitions(); len(ps) != 0 {
		t.Fatalf("the log still knows %v", ps)
	}
}

// forgetful loses the answer of the next transaction, once it was applied.
type forgetful struct {
	kv.KV
	lose atomic.Bool
}

func (f *forgetful) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	rev, err := f.KV.Txn(ctx, cond, then)
	if err == nil && f.lose.Swap(false) {
		return 0, kv.ErrUnknown
	}
	return rev, err
}

func (f *forgetful) Get(ctx context.Context, key string) (kv.Item, error) {
	if f.lose.Load() {
		return kv.Item{}, kv.ErrUnknown
	}
	return f.KV.Get(ctx, key)
}

func TestCommitWithALostAnswerIsNotLost(t *testing.T) {
	store := &forgetful{KV: kv.NewMemory()}
	e := newEnv(t, nil, onStore(store))
	e.fill(30, 10)
	store.lose.Store(true)
	_, _ = e.p.DeleteRecords(context.Background(), 10) // whether it is said to have worked does not matter
	got, err := e.p.DeleteRecords(context.Background(), 20)
	must(t, err)
	if got != 20 {
		t.Fatalf("log start %d, want 20", got)
	}
	e.reopen(nil)
	e.offsets(20, 30)
}

// max.compaction.lag.ms: a record is compacted within that time, however little is dirty and however steadily more comes.
func TestCompactionLagIsBounded(t *testing.T) {
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1", "max.compaction.lag.ms": "60000"}
	e := newEnv(t, configs, fileSize(1<<20))
	compact := func() int64 {
		t.Helper()
		if e.p.WantsRoll() {
			e.seal()
		}
		_, err := e.p.Cut(context.Background(), partition.DefaultCutPolicy())
		must(t, err)
		removed, err := e.p.Compact(context.Background(), partition.CompactLimits{MaxMapBytes: 1 << 20})
		must(t, err)
		return removed
	}
	e.fill(20, 100)
	e.clock.Advance(61 * time.Second)
	e.put(rec{"k1", "later"})
	if removed := compact(); removed != 11 {
		t.Fatalf("%d records removed after the first lag, want 11", removed)
	}
	for range 5 {
		e.put(rec{"k1", "again"})
		e.clock.Advance(11 * time.Second)
		if removed := compact(); removed != 0 {
			t.Fatalf("%d records removed before the second lag is over", removed)
		}
	}
	e.clock.Advance(10 * time.Second)
	e.put(rec{"k1", "last"})
	if removed := compact(); removed != 6 {
		t.Fatalf("%d records removed after the second lag, want 6", removed)
	}
}
