package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"millrace/base/disk"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/tail"
	"millrace/express/wal"
	"millrace/kafka/record"
)

// host is a broker that does not have the partition now.
type host struct {
	mem *disk.Mem
	log *wal.Log
	cfg wal.Config
}

// newHost makes one more broker beside that of e.
func newHost(e *env, id int32) *host {
	e.t.Helper()
	h := &host{mem: disk.NewMem(), cfg: wal.Config{Dir: "wal", Broker: id, Incarnation: 1, FileSize: e.walCfg.FileSize}}
	must(e.t, h.mem.MkdirAll("wal", 0o700))
	e.swap(h)
	e.openLog()
	e.swap(h)
	e.t.Cleanup(func() { must(e.t, h.log.Close(context.Background())) })
	return h
}

// swap makes h the broker of e, and puts that of before in its place.
func (e *env) swap(h *host) {
	mem, _ := e.disk.(*disk.Mem)
	e.disk, h.mem = h.mem, mem
	e.log, h.log = h.log, e.log
	e.walCfg, h.cfg = h.cfg, e.walCfg
}

// crashLog opens the log of e anew on what a crash leaves.
func (e *env) crashLog(seed uint64) {
	e.t.Helper()
	old := e.log
	e.disk = e.disk.(*disk.Mem).CrashClone(rand.New(rand.NewPCG(seed, 3)))
	must(e.t, old.Close(context.Background()))
	e.walCfg.Incarnation++
	e.openLog()
}

// give freezes the partition and closes it; what it returns goes to the next owner.
func (e *env) give() (key string) {
	e.t.Helper()
	must(e.t, e.p.Freeze(context.Background()))
	key, err := e.p.WriteTail(context.Background())
	must(e.t, err)
	e.p.Close()
	e.log.Stream(e.id).Forget()
	return key
}

// take is what the new owner does before it serves.
func (e *env) take(key string) {
	e.t.Helper()
	s := e.log.Stream(e.id)
	s.Forget()
	if key == "" {
		return
	}
	k, ok := tail.ParseKey(key)
	if !ok {
		e.t.Fatalf("key %q", key)
	}
	must(e.t, partition.Import(context.Background(), e.objects, k, e.log.Stream(e.id)))
}

// TestMovesLoseNothing plays random producers, transactions, cuts and crashes while the partition goes from broker to
// broker: every acknowledged record stays at its offset, LSO is that of the oldest open transaction, duplicates get the
// first offset, and neither HW nor log start goes back.
func TestMovesLoseNothing(t *testing.T) {
	for seed := range seeds(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			e := newEnv(t, nil, fileSize(1<<20))
			hosts := []*host{newHost(e, 2), newHost(e, 3)}
			h := &history{open: map[int64]int64{}}
			sequence := map[int64]int32{}
			last := map[int64]struct {
				b  record.Batch
				at int64
			}{}
			for i := range 300 {
				before := e.p.Offsets()
				id := int64(1 + rng.IntN(4))
				switch n := rng.IntN(40); {
				case n < 20:
					value := fmt.Sprint("v", i, string(make([]byte, rng.IntN(20_000))))
					b := txnBatch(t, e.clock.Now().UnixMilli(), id, sequence[id], "k", value)
					copied := append(record.Batch(nil), b...)
					a := e.putTxn(b)
					must(t, a.Err)
					sequence[id]++
					if _, open := h.open[id]; !open {
						h.open[id] = a.BaseOffset
					}
					last[id] = struct {
						b  record.Batch
						at int64
					}{copied, a.BaseOffset}
					h.records = append(h.records, written{a.BaseOffset, id, fmt.Sprintf("%d:k=%s", a.BaseOffset, value), 'o'})
				case n < 28:
					commit := rng.IntN(2) == 0
					must(t, e.mark(record.Marker{ProducerID: id, Commit: commit}).Err)
					h.end(id, commit)
				case n < 31:
					at := e.put(rec{"k", fmt.Sprint("plain", i)})
					h.records = append(h.records, written{at, 0, fmt.Sprintf("%d:k=plain%d", at, i), 'c'})
				case n < 33:
					e.seal()
					_, err := e.p.Cut(context.Background(), cutAll())
					must(t, err)
				case n < 34:
					e.crash(e.disk.(*disk.Mem), seed+uint64(i), nil)
				case n < 35:
					must(t, e.p.Freeze(context.Background())) // a move that is called off
					_, err := e.p.WriteTail(context.Background())
					must(t, err)
					e.p.Thaw()
				default:
					e.move(rng, hosts[rng.IntN(len(hosts))])
				}
				o := e.p.Offsets()
				if want := h.lso(o.HW); o.LSO != want {
					t.Fatalf("step %d: last stable offset %d, want %d", i, o.LSO, want)
				}
				if o.HW < before.HW || o.LogStart < before.LogStart || o.LSO < before.LSO || o.Epoch < before.Epoch {
					t.Fatalf("step %d: from %+v to %+v", i, before, o)
				}
				if first, ok := last[id]; ok && h.open[id] != 0 {
					a := e.appendBatch(append([]byte(nil), first.b...))
					if a.Err != nil || a.BaseOffset != first.at {
						t.Fatalf("step %d: the duplicate of %d got %+v", i, first.at, a)
					}
				}
				if i%20 == 0 {
					from := rng.Int64N(o.LSO + 1)
					e.same(h.visible(from, o.LSO), e.committed(from, 1+rng.IntN(3000)))
				}
			}
		})
	}
}

// move gives the partition to h. Brokers crash on the way.
func (e *env) move(rng *rand.Rand, h *host) {
	e.t.Helper()
	if rng.IntN(3) == 0 {
		must(e.t, e.p.Shrink(context.Background(), int64(rng.IntN(100_000)), e.log.Roll))
	}
	key := e.give()
	if rng.IntN(4) == 0 {
		e.crashLog(rng.Uint64()) // after the release: what it has must not come back
		e.log.Stream(e.id).Forget()
	}
	e.swap(h)
	for range rng.IntN(3) { // imports that did not get to be told
		e.take(key)
		e.crashLog(rng.Uint64())
	}
	e.take(key)
	e.epoch++
	if rng.IntN(4) == 0 {
		e.crashLog(rng.Uint64()) // after it was told
		e.epoch++
	}
	e.openPartition(nil)
}

func TestFrozenPartitionChangesNothing(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil, fileSize(1<<20))
	e.fill(20, 1000)
	must(t, e.p.Freeze(ctx))
	must(t, e.p.Freeze(ctx)) // twice is once
	done := make(chan partition.Appended, 1)
	appending := make(chan struct{})
	go func() {
		close(appending)
		e.p.Append(ctx, batch(t, 1, nil, rec{"k", "waits"}), func(a partition.Appended) { done <- a })
	}()
	<-appending
	e.seal()
	if n, err := e.p.Cut(ctx, cutAll()); n != 0 || err != nil {
		t.Errorf("cut %d bytes, %v", n, err)
	}
	key, err := e.p.WriteTail(ctx)
	must(t, err)
	k, _ := tail.ParseKey(key)
	r, err := tail.Open(ctx, e.objects, k)
	must(t, err)
	if i := r.Info(); i.Base != 0 || i.End != 20 || i.Partition != e.id || i.Epoch != e.epoch {
		t.Errorf("tail %+v", i)
	}
	must(t, r.Close())
	if got := e.readAll(0); len(got) != 20 {
		t.Errorf("%d records are read", len(got))
	}
	select {
	case a := <-done:
		t.Errorf("appended to a frozen partition: %+v", a)
	default:
	}
	e.p.Thaw()
	if a := <-done; a.Err != nil || a.BaseOffset != 20 {
		t.Errorf("after the thaw: %+v", a)
	}
	if _, err := e.p.WriteTail(ctx); !errors.Is(err, partition.ErrNotFrozen) {
		t.Errorf("a tail of what changes: %v", err)
	}
}

// TestWhoWaitsForAFrozenPartitionIsAnswered: in bounded time, and at once when it closes (P10).
func TestWhoWaitsForAFrozenPartitionIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := newEnv(t, nil, fileSize(1<<20))
		e.fill(5, 10)
		must(t, e.p.Freeze(ctx))
		wantErr(t, e.appendBatch(batch(t, 1, nil, rec{"k", "v"})).Err, partition.ErrNotOwner)
		_, err := e.p.DeleteRecords(ctx, 3)
		wantErr(t, err, partition.ErrNotOwner)
		e.offsets(0, 5)
		done := make(chan partition.Appended, 1)
		go e.p.Append(ctx, batch(t, 1, nil, rec{"k", "v"}), func(a partition.Appended) { done <- a })
		synctest.Wait()
		e.p.Close()
		wantErr(t, (<-done).Err, partition.ErrNotOwner)
		must(t, e.log.Close(ctx))
	})
}

// TestFreezeWaitsForWhatIsInFlight: an answer that is still to come must find its record in the tail.
func TestFreezeWaitsForWhatIsInFlight(t *testing.T) {
	ctx := context.Background()
	g := newGate()
	e := newEnv(t, nil, onDisk(disk.Faulty(disk.NewMem(), g.hook)))
	g.held.Store(true)
	done := make(chan partition.Appended, 1)
	e.p.Append(ctx, batch(t, 1, idempotent(0), rec{"k", "v"}), func(a partition.Appended) { done <- a })
	<-g.hit
	short, cancel := context.WithCancel(ctx)
	cancel()
	for range 20 {
		wantErr(t, e.p.Freeze(short), context.Canceled)
	}
	frozen := make(chan error, 1)
	go func() { frozen <- e.p.Freeze(ctx) }()
	if _, err := e.p.WriteTail(ctx); !errors.Is(err, partition.ErrNotFrozen) {
		t.Errorf("a tail while a batch is in flight: %v", err)
	}
	g.held.Store(false)
	close(g.open)
	must(t, <-frozen)
	must(t, (<-done).Err)
	e.offsets(0, 1)
}

func TestImportOfADamagedTailFails(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil, fileSize(1<<20))
	e.fill(50, 5000)
	key := e.give()
	k, _ := tail.ParseKey(key)
	r, err := e.objects.Open(ctx, key)
	must(t, err)
	b := make([]byte, r.Size())
	_, _ = r.ReadAt(b, 0)
	b[len(b)-1000] ^= 1
	must(t, r.Close())
	must(t, e.objects.Delete(ctx, key))
	if err := partition.Import(ctx, e.objects, k, e.log.Stream(e.id)); err == nil {
		t.Error("a missing tail is imported")
	}
	w, err := e.objects.Create(ctx, key)
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Commit(ctx))
	wantErr(t, partition.Import(ctx, e.objects, k, e.log.Stream(e.id)), tail.ErrCorrupt)
}

// TestMoveOfAPartitionWithoutRecordsInTheLog has nothing to write, and one whose log start lies within a batch begins its
// tail below it.
func TestMovesAtTheEdges(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, map[string]string{"cleanup.policy": "delete"}, fileSize(1<<20))
	to := newHost(e, 2)
	if key := e.give(); key != "" {
		t.Errorf("an empty partition has the tail %q", key)
	}
	e.swap(to)
	e.take("")
	e.openPartition(nil)
	a := e.appendBatch(batch(t, 1, idempotent(0), rec{"a", "1"}, rec{"b", "2"}, rec{"c", "3"}))
	must(t, a.Err)
	if _, err := e.p.DeleteRecords(ctx, 1); err != nil {
		t.Fatal(err)
	}
	key := e.give()
	e.swap(to)
	e.take(key)
	e.openPartition(nil)
	e.offsets(1, 3)
	e.same([]string{"1:b=2", "2:c=3"}, e.readAll(1))
	again := e.appendBatch(batch(t, 1, idempotent(0), rec{"a", "1"}, rec{"b", "2"}, rec{"c", "3"}))
	if again.Err != nil || again.BaseOffset != 0 {
		t.Errorf("the duplicate got %+v", again)
	}
	wantErr(t, e.appendBatch(batch(t, 1, idempotent(9), rec{"k", "v"})).Err, producer.ErrOutOfOrderSequence)
	var chain slab.Chain
	_, err := e.p.Read(ctx, &chain, 0, 1, true, false)
	wantErr(t, err, partition.ErrOffsetOutOfRange)
}
