package partition_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"millrace/base/disk"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/kafka/record"
)

// txnBatch is one record of a producer's transaction.
func txnBatch(t *testing.T, ts int64, id int64, sequence int32, key, value string) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.Options{Transactional: true, Producer: &record.Producer{ID: id, Sequence: sequence}})
	must(t, b.Add(ts, []byte(key), []byte(value)))
	out, err := b.Build(nil)
	must(t, err)
	return out
}

// putTxn appends a record of a transaction, as produce does once the coordinator has agreed.
func (e *env) putTxn(b record.Batch) partition.Appended {
	e.t.Helper()
	done := make(chan partition.Appended, 1)
	e.p.AppendGuarded(context.Background(), b, e.p.Begin(b, false), func(a partition.Appended) { done <- a })
	return <-done
}

func (e *env) mark(m record.Marker) partition.Appended {
	e.t.Helper()
	return e.markVersion(m, 0)
}

func (e *env) markVersion(m record.Marker, version int16) partition.Appended {
	e.t.Helper()
	m.Timestamp = e.clock.Now().UnixMilli()
	done := make(chan partition.Appended, 1)
	e.p.WriteMarker(context.Background(), m, version, func(a partition.Appended) { done <- a })
	return <-done
}

// committed reads as a read_committed consumer does: below the last stable offset, leaving out what the list of aborted
// transactions names, until the marker of its producer.
func (e *env) committed(from int64, maxBytes int) []string {
	e.t.Helper()
	var out []string
	for {
		var chain slab.Chain
		_, err := e.p.Read(context.Background(), &chain, from, maxBytes, true, true)
		must(e.t, err)
		if chain.Len() == 0 {
			return out
		}
		var batches []record.Batch
		for _, part := range chain.Parts() {
			for len(part) > 0 {
				b, rest, err := record.Next(part)
				must(e.t, err)
				batches, part = append(batches, b), rest
			}
		}
		next := batches[len(batches)-1].LastOffset() + 1
		list, err := e.p.Aborted(context.Background(), from, next)
		must(e.t, err)
		skip := map[int64]bool{}
		for _, b := range batches {
			for len(list) > 0 && list[0].First <= b.LastOffset() {
				skip[list[0].ProducerID], list = true, list[1:]
			}
			if b.IsControl() {
				delete(skip, b.ProducerID())
				continue
			}
			if b.IsTransactional() && skip[b.ProducerID()] {
				continue
			}
			for r, err := range b.Records(0) {
				must(e.t, err)
				out = append(out, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value))
			}
		}
		chain.Release()
		from = next
	}
}

// history is what was written, and what became of it.
type history struct {
	records []written
	open    map[int64]int64 // by producer: first offset
}

type written struct {
	offset   int64
	producer int64 // 0: no transaction
	text     string
	state    byte // 'o'pen, 'c'ommitted, 'a'borted
}

func (h *history) end(id int64, commit bool) {
	delete(h.open, id)
	for i := range h.records {
		if r := &h.records[i]; r.producer == id && r.state == 'o' {
			r.state = 'a'
			if commit {
				r.state = 'c'
			}
		}
	}
}

func (h *history) lso(hw int64) int64 {
	for _, first := range h.open {
		hw = min(hw, first)
	}
	return hw
}

func (h *history) visible(from, lso int64) (out []string) {
	for _, r := range h.records {
		if r.offset >= from && r.offset < lso && r.state == 'c' {
			out = append(out, r.text)
		}
	}
	return out
}

// TestTransactionsAreAllOrNothing plays random transactions with cuts, restarts and crashes in between: the last stable
// offset is that of the oldest open one, and a read_committed consumer sees what was committed below it and nothing else.
func TestTransactionsAreAllOrNothing(t *testing.T) {
	for seed := range seeds(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			mem := disk.NewMem()
			e := newEnv(t, nil, onDisk(mem), fileSize(1<<20))
			h := &history{open: map[int64]int64{}}
			sequence := map[int64]int32{}
			for i := range 400 {
				id := int64(1 + rng.IntN(4))
				switch n := rng.IntN(40); {
				case n < 20:
					value := fmt.Sprint("v", i, string(make([]byte, rng.IntN(20_000))))
					a := e.putTxn(txnBatch(t, e.clock.Now().UnixMilli(), id, sequence[id], "k", value))
					must(t, a.Err)
					sequence[id]++
					if _, open := h.open[id]; !open {
						h.open[id] = a.BaseOffset
					}
					h.records = append(h.records, written{a.BaseOffset, id, fmt.Sprintf("%d:k=%s", a.BaseOffset, value), 'o'})
				case n < 32:
					commit := rng.IntN(2) == 0
					must(t, e.mark(record.Marker{ProducerID: id, Commit: commit}).Err)
					h.end(id, commit)
				case n < 35:
					at := e.put(rec{"k", fmt.Sprint("plain", i)})
					h.records = append(h.records, written{at, 0, fmt.Sprintf("%d:k=plain%d", at, i), 'c'})
				case n < 37:
					e.seal()
					_, err := e.p.Cut(context.Background(), partition.CutPolicy{SmallPiece: 1 << 30, MinBytes: 1, MaxAge: 1, Release: func(uint64) bool { return true }})
					must(t, err)
				case n < 38:
					e.reopen(nil)
				case n < 39:
					e.crash(mem, seed+uint64(i), nil)
					mem = e.disk.(*disk.Mem)
				}
				o := e.p.Offsets()
				if want := h.lso(o.HW); o.LSO != want {
					t.Fatalf("step %d: last stable offset %d, want %d", i, o.LSO, want)
				}
				if i%20 == 0 {
					from := rng.Int64N(o.LSO + 1)
					e.same(h.visible(from, o.LSO), e.committed(from, 1+rng.IntN(3000)))
				}
			}
		})
	}
}

func TestTransactionNeedsAGuard(t *testing.T) {
	e := newEnv(t, nil)
	first := txnBatch(t, 1, 7, 0, "k", "v")
	wantErr(t, e.appendBatch(first).Err, partition.ErrTransactionState)

	g := e.p.Begin(first, false)
	must(t, e.mark(record.Marker{ProducerID: 7}).Err) // somebody ends it before it begins
	done := make(chan partition.Appended, 1)
	e.p.AppendGuarded(context.Background(), first, g, func(a partition.Appended) { done <- a })
	wantErr(t, (<-done).Err, partition.ErrTransactionState)

	must(t, e.putTxn(first).Err)
	if g := e.p.Begin(txnBatch(t, 1, 7, 1, "k", "v"), false); g != nil {
		t.Error("a transaction that has begun is asked for again")
	}
	must(t, e.appendBatch(txnBatch(t, 1, 7, 1, "k", "v")).Err)
	wantErr(t, e.appendBatch(batch(t, 1, &record.Producer{ID: 7, Sequence: 2}, rec{"k", "v"})).Err, partition.ErrTransactionState)
	must(t, e.mark(record.Marker{ProducerID: 7, Commit: true}).Err)
	wantErr(t, e.appendBatch(txnBatch(t, 1, 7, 2, "k", "v")).Err, partition.ErrTransactionState)
	must(t, e.appendBatch(batch(t, 1, &record.Producer{ID: 7, Sequence: 2}, rec{"k", "v"})).Err)
}

// A write that begins a transaction fails, while the batch behind it, which found the transaction begun, is held up: it is told to
// come again. INVALID_TXN_STATE would end the producer.
func TestTransactionWhoseBeginFails(t *testing.T) {
	var full atomic.Bool
	e := newEnv(t, nil, onDisk(disk.Faulty(disk.NewMem(), func(op disk.Op) error {
		if op.Kind == disk.OpWrite && full.Load() {
			return syscall.ENOSPC
		}
		return nil
	})))
	first, second := txnBatch(t, 1, 7, 0, "k", "v"), txnBatch(t, 1, 7, 1, "k", "v")
	g := e.p.Begin(first, false)
	guarded := func(b record.Batch, g *partition.Guard) error {
		done := make(chan partition.Appended, 1)
		e.p.AppendGuarded(context.Background(), slices.Clone(b), g, func(a partition.Appended) { done <- a })
		return (<-done).Err
	}
	full.Store(true)
	wantErr(t, guarded(first, g), partition.ErrStorage)
	full.Store(false)
	wantErr(t, guarded(second, nil), partition.ErrStorage)
	wantErr(t, guarded(second, g), partition.ErrStorage)
	must(t, guarded(first, e.p.Begin(first, false)))
	must(t, guarded(second, e.p.Begin(second, false)))

	full.Store(true) // a marker that fails undoes nothing
	wantErr(t, e.mark(record.Marker{ProducerID: 7, Commit: true}).Err, partition.ErrStorage)
	full.Store(false)
	must(t, guarded(txnBatch(t, 1, 7, 2, "k", "v"), nil))
	must(t, e.mark(record.Marker{ProducerID: 7, Commit: true}).Err)
	wantErr(t, guarded(txnBatch(t, 1, 7, 3, "k", "v"), nil), partition.ErrTransactionState)
}

// A producer of the second protocol begins its next transaction, with the next epoch, while the markers of the last one are
// still on the way: its records must not get into that transaction, and the permission that it asked for stays good.
func TestNextTransactionBeforeTheMarker(t *testing.T) {
	e := newEnv(t, nil)
	must(t, e.putTxn(epochBatch(t, 7, 0, 0)).Err)
	next := epochBatch(t, 7, 1, 0)
	wantErr(t, e.appendBatch(next).Err, partition.ErrTransactionState)
	g := e.p.Begin(next, true)
	if g == nil {
		t.Fatal("the transaction before is taken for this one")
	}
	must(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 1, Commit: true}).Err)
	done := make(chan partition.Appended, 1)
	e.p.AppendGuarded(context.Background(), next, g, func(a partition.Appended) { done <- a })
	must(t, (<-done).Err)

	late := epochBatch(t, 7, 2, 0) // its guard is asked for, and then its transaction is aborted
	must(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 2}).Err)
	g = e.p.Begin(late, true)
	must(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 3}).Err)
	e.p.AppendGuarded(context.Background(), late, g, func(a partition.Appended) { done <- a })
	wantErr(t, (<-done).Err, producer.ErrInvalidEpoch)
}

// epochBatch is a batch of one record in a transaction.
func epochBatch(t *testing.T, id int64, epoch int16, sequence int32) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.Options{Transactional: true, Producer: &record.Producer{ID: id, Epoch: epoch, Sequence: sequence}})
	must(t, b.Add(1, []byte("k"), []byte("v")))
	out, err := b.Build(nil)
	must(t, err)
	return out
}

// An unknown producer may begin anywhere (its state may have expired), but not behind a batch of its own that is still
// being verified, and at 0 if its epoch is new with each transaction.
func TestFirstSequenceOfATransaction(t *testing.T) {
	e := newEnv(t, nil)
	zero, five, six := txnBatch(t, 1, 7, 0, "k", "v"), txnBatch(t, 1, 7, 5, "k", "v"), txnBatch(t, 1, 7, 6, "k", "v")
	e.p.Begin(five, false)
	wantErr(t, e.putTxn(six).Err, producer.ErrOutOfOrderSequence)
	must(t, e.putTxn(five).Err)

	other := txnBatch(t, 1, 8, 5, "k", "v")
	done := make(chan partition.Appended, 1)
	e.p.AppendGuarded(context.Background(), other, e.p.Begin(other, true), func(a partition.Appended) { done <- a })
	wantErr(t, (<-done).Err, producer.ErrOutOfOrderSequence)
	_ = zero
}

func TestStaleMarkersAreRefused(t *testing.T) {
	e := newEnv(t, nil)
	must(t, e.putTxn(txnBatch(t, 1, 7, 0, "k", "v")).Err)
	must(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 5}).Err)
	wantErr(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 4}).Err, partition.ErrCoordinatorFenced)
	wantErr(t, e.mark(record.Marker{ProducerID: 7, ProducerEpoch: 2, CoordinatorEpoch: 5}).Err, producer.ErrInvalidEpoch)
}

func TestProducersAreDescribed(t *testing.T) {
	e := newEnv(t, nil)
	must(t, e.putTxn(txnBatch(t, 11, 7, 0, "k", "v")).Err)
	must(t, e.mark(record.Marker{ProducerID: 7, CoordinatorEpoch: 5, Commit: true}).Err)
	must(t, e.putTxn(txnBatch(t, 12, 7, 1, "k", "v")).Err)
	want := []partition.ActiveProducer{{
		Entry: producer.Entry{ID: 7, LastSequence: 1, Timestamp: 12}, CoordinatorEpoch: 5, TxnStart: 2,
	}}
	if got := e.p.ActiveProducers(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	e.clock.Advance(24 * 3600e9)
	if n := e.p.ExpireProducers(1); n != 0 {
		t.Error("a producer with an open transaction expired")
	}
	must(t, e.mark(record.Marker{ProducerID: 7, CoordinatorEpoch: 5}).Err)
	e.clock.Advance(24 * 3600e9)
	if n := e.p.ExpireProducers(1); n != 1 {
		t.Errorf("%d producers expired, want 1", n)
	}
}

// Compaction takes aborted records out at once, committed ones by key, and markers when their transaction has no record
// left for delete.retention.ms.
func TestCompactionOfTransactions(t *testing.T) {
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "1000"}
	e := newEnv(t, configs)
	must(t, e.putTxn(txnBatch(t, 1, 1, 0, "a", "aborted")).Err)
	must(t, e.mark(record.Marker{ProducerID: 1}).Err)
	must(t, e.putTxn(txnBatch(t, 1, 2, 0, "a", "committed")).Err)
	must(t, e.mark(record.Marker{ProducerID: 2, Commit: true}).Err)
	must(t, e.putTxn(txnBatch(t, 1, 1, 1, "a", "aborted again")).Err)
	must(t, e.mark(record.Marker{ProducerID: 1}).Err)
	must(t, e.putTxn(txnBatch(t, 1, 3, 0, "a", "open")).Err)
	compact := func() {
		t.Helper()
		e.put(rec{"b", "b"})
		e.reopen(configs) // seals the log
		_, err := e.p.Cut(context.Background(), partition.CutPolicy{SmallPiece: 1 << 30, MinBytes: 1, MaxAge: 1, Release: func(uint64) bool { return true }})
		must(t, err)
		_, err = e.p.Compact(context.Background(), partition.CompactLimits{MaxMapBytes: 1 << 20})
		must(t, err)
	}
	compact()
	e.same([]string{"2:a=committed"}, e.committed(0, 1<<20))
	all := e.readAll(0)
	if len(all) != 6 || all[1] != "2:a=committed" { // two markers, the committed record and its marker, the open record, b
		t.Fatalf("left: %q", all)
	}
	e.clock.Advance(2000e6)
	must(t, e.mark(record.Marker{ProducerID: 3, Commit: true}).Err)
	compact()
	e.same([]string{"6:a=open", "9:b=b"}, e.committed(0, 1<<20))
}

// seeds is how many random histories a test plays: with -short, as under the race detector, for which they are much the same, a quarter.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 4
	}
	return n
}
