package objectlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/object"
	"millrace/kafka/topic"
)

func TestID(t *testing.T) {
	if got := testID.String(); got != "3/00000000000018c2" {
		t.Errorf("%q", got)
	}
	if id, err := ParseID(testID.String()); err != nil || id != testID {
		t.Errorf("%v, %v", id, err)
	}
	for _, bad := range []string{"", "3", "3/18c2", "3/", "/00000000000018c2", "-1/00000000000018c2", "3/00000000000018C2",
		"03/00000000000018c2", "3/00000000000018c2/", "3/000000000000018c2", "4294967296/00000000000018c2"} {
		if _, err := ParseID(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCreateOnce: an incarnation has one log, and a Create whose answer was lost knows its own record.
func TestCreateOnce(t *testing.T) {
	e := newEnv(t)
	e.create(t, nil)
	if _, err := e.store.Create(t.Context(), testID, WriterConfig{}, WriterWorld{}); !errors.Is(err, ErrLogExists) {
		t.Errorf("second create: %v", err)
	}
	for _, cfg := range []WriterConfig{{PutTimeout: -1}, {HedgeAfter: -1}, {RetryMin: -1}, {RetryMax: -1}, {TrimInterval: -1}} {
		if _, err := e.store.Create(t.Context(), ID{Broker: 1}, cfg, WriterWorld{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := e.store.Create(t.Context(), ID{Broker: -1}, WriterConfig{}, WriterWorld{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("broker -1: %v", err)
	}
	ids, err := e.store.Logs(t.Context())
	if err != nil || !slices.Equal(ids, []ID{testID}) {
		t.Errorf("logs: %v, %v", ids, err)
	}
	for id, want := range map[ID]bool{testID: true, {Broker: 9}: false} {
		if ok, err := e.store.Exists(t.Context(), id); ok != want || err != nil {
			t.Errorf("%s exists: %v, %v", id, ok, err)
		}
	}
}

// TestSealAgain: sealing is idempotent, and what was written is between the bounds.
func TestSealAgain(t *testing.T) {
	e := newEnv(t)
	w := e.create(t, nil)
	mustPut(t, w, 1, 5)
	if _, err := e.store.Seal(t.Context(), ID{Broker: 8}, testID); !errors.Is(err, ErrNoLog) {
		t.Errorf("seal of nothing: %v", err)
	}
	for by := range int32(3) {
		sealed, err := e.store.Seal(t.Context(), testID, ID{Broker: by})
		if err != nil || sealed != (Sealed{ID: testID, First: 1, End: 6}) {
			t.Fatalf("sealed: %+v, %v", sealed, err)
		}
		if got := e.replay(t, sealed); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
			t.Errorf("replay: %v", got)
		}
	}
	if err := put(w, 6); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "0/0000000000000000") {
		t.Errorf("put behind the seal: %v", err)
	}
	if err := put(w, 7); !errors.Is(err, ErrSealed) {
		t.Errorf("put after the end: %v", err)
	}
}

// TestSealOfNothing: a log without a group ends where it begins.
func TestSealOfNothing(t *testing.T) {
	e := newEnv(t)
	w := e.create(t, nil)
	sealed, err := e.store.Seal(t.Context(), testID, testID)
	if err != nil || sealed.First != 1 || sealed.End != 1 || len(e.replay(t, sealed)) != 0 {
		t.Errorf("sealed: %+v, %v", sealed, err)
	}
	if err := put(w, 1); !errors.Is(err, ErrSealed) {
		t.Errorf("put: %v", err)
	}
}

// TestSealIntoGap: a group that is in flight while later ones are stored is lost or kept, but the log ends before the gap.
func TestSealIntoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				if op.Kind == object.OpPut && op.Key == testID.key(3) && op.Len > headerBytes {
					select {
					case <-held:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			})
		})
		w := e.create(t, nil)
		done := make([]chan error, 6)
		for seq := uint64(1); seq <= 5; seq++ {
			done[seq] = make(chan error, 1)
			w.Put(seq, single(seq), func(err error) { done[seq] <- err })
		}
		synctest.Wait()
		sealed, err := e.store.Seal(t.Context(), testID, ID{Broker: 4})
		if err != nil || sealed.End != 3 {
			t.Fatalf("sealed: %+v, %v", sealed, err)
		}
		close(held)
		for seq := 1; seq <= 5; seq++ {
			if err := <-done[seq]; (seq < 3) != (err == nil) || err != nil && !errors.Is(err, ErrSealed) {
				t.Errorf("group %d: %v", seq, err)
			}
		}
		if got := e.replay(t, sealed); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("replay: %v", got)
		}
	})
}

// TestLiveWriterIsSealed: a writer that goes on as fast as it can is sealed all the same.
func TestLiveWriterIsSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				time.Sleep(30 * time.Millisecond)
				return ctx.Err()
			})
		})
		w := e.create(t, nil)
		var acked atomic.Uint64
		var all sync.WaitGroup
		all.Go(func() {
			slots, failed := make(chan struct{}, 64), make(chan struct{})
			for seq := uint64(1); ; seq++ {
				slots <- struct{}{}
				select {
				case <-failed:
					return
				default:
				}
				var once sync.Once
				w.Put(seq, single(seq), func(err error) {
					if err == nil {
						acked.Store(seq)
					} else if seq == acked.Load()+1 {
						once.Do(func() { close(failed) })
					}
					<-slots
				})
			}
		})
		time.Sleep(300 * time.Millisecond)
		sealed, err := e.store.Seal(t.Context(), testID, ID{Broker: 4})
		if err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if acked.Load() >= sealed.End {
			t.Errorf("%d are done, sealed at %d", acked.Load(), sealed.End)
		}
	})
}

// TestLeaseHolds: what is stored while the lease is over is told when it is valid again, and never if the log is being sealed.
func TestLeaseHolds(t *testing.T) {
	for _, isSealing := range []bool{false, true} {
		t.Run(fmt.Sprint("sealing ", isSealing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t)
				var lease atomic.Pointer[time.Time]
				lease.Store(&time.Time{})
				w := e.create(t, func() time.Time { return *lease.Load() })
				mustPut(t, w, 1, 1) // none was taken yet
				valid := time.Now().Add(time.Second)
				lease.Store(&valid)
				mustPut(t, w, 2, 2)
				time.Sleep(time.Second)

				done := make(chan error, 1)
				w.Put(3, single(3), func(err error) { done <- err })
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(done) > 0 {
					t.Fatal("done without a lease")
				}
				if _, err := e.memory.Stat(t.Context(), testID.key(3)); err != nil {
					t.Errorf("held before it was stored: %v", err)
				}
				if isSealing {
					_, err := e.store.update(t.Context(), testID, func(r *record) (bool, error) { r.Sealer = "9/1"; return true, nil })
					if err != nil {
						t.Fatal(err)
					}
				}
				later := time.Now().Add(time.Second)
				lease.Store(&later)
				if err := <-done; isSealing != errors.Is(err, ErrSealed) || !isSealing && err != nil {
					t.Errorf("done: %v", err)
				}
			})
		})
	}
}

// TestZombieDiesHeld: a writer whose lease never comes back learns from the record that it is sealed, with no put on its way.
func TestZombieDiesHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		ends := time.Now().Add(time.Second)
		w := e.create(t, func() time.Time { return ends })
		time.Sleep(time.Second)
		done := make(chan error, 1)
		w.Put(1, single(1), func(err error) { done <- err })
		time.Sleep(time.Second)
		sealed, err := e.store.Seal(t.Context(), testID, ID{Broker: 4})
		if err != nil || sealed.End != 2 {
			t.Fatalf("sealed: %+v, %v", sealed, err)
		}
		if err := <-done; !errors.Is(err, ErrSealed) {
			t.Errorf("done: %v", err)
		}
	})
}

// TestCloseGivesUp: what the store does not take is given up by Close.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error { return errFault })
		})
		w := e.create(t, nil)
		var got []error
		for seq := uint64(1); seq <= 3; seq++ {
			w.Put(seq, single(seq), func(err error) { got = append(got, err) })
		}
		time.Sleep(time.Hour)
		if len(got) > 0 {
			t.Fatalf("done: %v", got)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Put(4, single(4), func(err error) { got = append(got, err) })
		if len(got) != 4 || slices.ContainsFunc(got, func(err error) bool { return !errors.Is(err, ErrClosed) }) {
			t.Errorf("done: %v", got)
		}
	})
}

// TestHedge: a put that hangs is overtaken by a second one, of one group at a time, and its bytes are given back when both have ended.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const groups = 3
		var puts atomic.Int64
		var reading [groups + 1]atomic.Int64 // puts under way, of each group
		answer := make(chan struct{})
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				if seq, _ := testID.parseKey(op.Key); op.Kind == object.OpPut {
					reading[seq].Add(1)
					defer reading[seq].Add(-1)
				}
				if op.Kind == object.OpPut && puts.Add(1) > groups {
					<-answer
				} else if op.Kind == object.OpPut {
					<-ctx.Done() // the first attempts hang
				}
				return ctx.Err()
			})
		})
		w := e.createWith(t, WriterConfig{PutTimeout: time.Hour, HedgeAfter: time.Second}, nil)
		done := make(chan error, groups)
		for seq := uint64(1); seq <= groups; seq++ {
			w.Put(seq, single(seq), func(err error) {
				if n := reading[seq].Load(); n > 0 {
					t.Errorf("group %d is done with %d puts under way", seq, n)
				}
				done <- err
			})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := puts.Load(); n != groups+1 {
			t.Errorf("%d puts of %d groups", n, groups)
		}
		close(answer)
		for range groups {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestBytesStay: wal gets its bytes back only when no put reads them any more, however the log ends.
func TestBytesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reading atomic.Int64
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				if op.Kind == object.OpPut && op.Len > headerBytes {
					reading.Add(1)
					time.Sleep(time.Minute) // deaf to ctx, as a system call is
					reading.Add(-1)
				}
				return nil
			})
		})
		w := e.create(t, nil)
		ended := 0
		for seq := uint64(1); seq <= 3; seq++ {
			w.Put(seq, single(seq), func(err error) {
				if ended++; err == nil || reading.Load() > 3-int64(ended) {
					t.Errorf("group %d ends with %d puts under way: %v", seq, reading.Load(), err)
				}
			})
			time.Sleep(time.Second)
		}
		if err := w.Close(t.Context()); err != nil || ended != 3 {
			t.Errorf("%d groups have ended: %v", ended, err)
		}
	})
}

// TestTrimIsRare: however often wal trims, the record changes once in TrimInterval, and before any object goes.
func TestTrimIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e *env
		e = newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				if op.Kind == object.OpDelete {
					seq, _ := testID.parseKey(op.Key)
					if r, _, err := e.store.load(ctx, testID); err != nil || r.First <= seq {
						t.Errorf("object %d is deleted, the record says %+v, %v", seq, r, err)
					}
				}
				return nil
			})
		})
		w := e.create(t, nil)
		_, before, err := e.store.load(t.Context(), testID)
		if err != nil {
			t.Fatal(err)
		}
		for seq := uint64(1); seq <= 500; seq++ {
			mustPut(t, w, seq, seq)
			w.Trim(seq)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		r, after, err := e.store.load(t.Context(), testID)
		if err != nil || r.First != 500 || after-before > 7 {
			t.Errorf("%d changes, %+v, %v", after-before, r, err)
		}
		left, err := e.memory.List(t.Context(), Root, "", 1000)
		if err != nil || len(left) != 1 {
			t.Errorf("%d objects are left: %v", len(left), err)
		}
		sealed, err := e.store.Seal(t.Context(), testID, testID)
		if err != nil || sealed.First != 500 || sealed.End != 501 {
			t.Errorf("sealed: %+v, %v", sealed, err)
		}
		w.Trim(501)
		time.Sleep(time.Minute)
		if r, _, err := e.store.load(t.Context(), testID); err != nil || r.First != 500 {
			t.Errorf("trimmed after the seal: %+v, %v", r, err)
		}
	})
}

// TestSweep: a log that nobody needs goes in steps, and a writer that was away all the time never tells of anything again.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		w := e.create(t, nil)
		mustPut(t, w, 1, 4)
		used, unused := func(ID) bool { return true }, func(ID) bool { return false }
		sweep := func(used func(ID) bool, want int) {
			t.Helper()
			if n, err := e.store.Sweep(t.Context(), time.Now(), used); n != want || err != nil {
				t.Fatalf("swept %d, %v", n, err)
			}
		}
		sweep(unused, 0) // too young to be abandoned
		if r, _, err := e.store.load(t.Context(), testID); err != nil || r.Sealer != "" {
			t.Fatalf("%+v, %v", r, err)
		}
		time.Sleep(2 * abandonAfter)
		sweep(used, 0)
		mustPut(t, w, 5, 5)
		sweep(unused, 5)
		sealed, err := e.store.Seal(t.Context(), testID, ID{Broker: 4})
		if err != nil || sealed.First != 6 || sealed.End != 6 || len(e.replay(t, sealed)) != 0 {
			t.Fatalf("sealed: %+v, %v", sealed, err)
		}
		time.Sleep(keepSeals - time.Minute)
		sweep(unused, 0)
		if err := put(w, 6); !errors.Is(err, ErrSealed) {
			t.Errorf("zombie: %v", err)
		}
		time.Sleep(2 * time.Minute)
		sweep(unused, 1)
		if _, err := e.store.Seal(t.Context(), testID, testID); !errors.Is(err, ErrNoLog) {
			t.Errorf("seal: %v", err)
		}
		if left, err := e.memory.List(t.Context(), "", "", 10); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestSweepTakesBehindTheSeal: groups that landed behind the seal have no reader and go with the others.
func TestSweepTakesBehindTheSeal(t *testing.T) {
	e := newEnv(t)
	w := e.create(t, nil)
	mustPut(t, w, 1, 2)
	if _, err := e.store.Seal(t.Context(), testID, testID); err != nil {
		t.Fatal(err)
	}
	if err := e.memory.Put(t.Context(), testID.key(5), [][]byte{make([]byte, 300)}, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := e.store.Sweep(t.Context(), time.Now(), func(ID) bool { return false }); n != 3 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	left, err := e.memory.List(t.Context(), Root, "", 10)
	if err != nil || len(left) != 1 || left[0].Key != testID.key(3) {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestReplayFilters: only what is wanted is taken, in order over partitions, and take's error ends it.
func TestReplayFilters(t *testing.T) {
	e := newEnv(t)
	w := e.create(t, nil)
	for seq := uint64(1); seq <= 30; seq++ {
		var runs []Run
		for p := range 3 {
			runs = append(runs, Run{Partition: partition(p), Base: int64(seq), Last: int64(seq), Data: batch(int64(seq), 0, 200)})
		}
		done := make(chan error, 1)
		w.Put(seq, groupOf(seq, runs...), func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := e.store.Seal(t.Context(), testID, testID)
	if err != nil {
		t.Fatal(err)
	}
	want := func(p topic.Partition) (int64, bool) { return 11, p == partition(1) }
	next := int64(11)
	err = e.store.Replay(t.Context(), sealed, want, func(r Run) error {
		if r.Base != next || r.Partition != partition(1) {
			t.Errorf("run %s at %d instead of %d", r.Partition, r.Base, next)
		}
		next++
		return nil
	})
	if err != nil || next != 31 {
		t.Errorf("replay to %d: %v", next, err)
	}
	if err := e.store.Replay(t.Context(), sealed, want, func(Run) error { return errFault }); !errors.Is(err, errFault) {
		t.Errorf("take's error: %v", err)
	}
}

// TestReplayIsWhole: an object that is missing or damaged anywhere ends the replay with ErrCorrupt, after what was before.
func TestReplayIsWhole(t *testing.T) {
	body := slices.Concat(append([][]byte{encodeHeader(testID, 2, int64(len(slices.Concat(single(2)...))))}, single(2)...)...)
	for at := range len(body) {
		for _, name := range []string{"flip", "cut"} {
			e := newEnv(t)
			w := e.create(t, nil)
			mustPut(t, w, 1, 3)
			sealed, err := e.store.Seal(t.Context(), testID, testID)
			if err != nil {
				t.Fatal(err)
			}
			damaged := slices.Clone(body)
			if name == "flip" {
				damaged[at] ^= 0x40
			} else {
				damaged = damaged[:at]
			}
			if err := e.memory.Put(t.Context(), testID.key(2), [][]byte{damaged}, object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			var got []int64
			err = e.store.Replay(t.Context(), sealed, everything, func(r Run) error { got = append(got, r.Base); return nil })
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) || !slices.Equal(got, []int64{1}) {
				t.Fatalf("%s at %d: %v, %v", name, at, got, err)
			}
		}
	}
	e := newEnv(t)
	mustPut(t, e.create(t, nil), 1, 3)
	sealed, err := e.store.Seal(t.Context(), testID, testID)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.memory.Delete(t.Context(), testID.key(2)); err != nil {
		t.Fatal(err)
	}
	if err := e.store.Replay(t.Context(), sealed, everything, func(Run) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("missing: %v", err)
	}
}

// TestReplayIsBounded: however large the objects are, those fetched ahead are few, and within the bound.
func TestReplayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20 << 20
		var reading, most atomic.Int64
		e := newEnv(t, func(s object.Store) object.Store {
			return object.Faulty(s, func(ctx context.Context, op object.Op) error {
				if op.Kind == object.OpRead {
					most.Store(max(most.Load(), reading.Add(int64(op.Len))))
					time.Sleep(time.Second)
					reading.Add(-int64(op.Len))
				}
				return nil
			})
		})
		w := e.create(t, nil)
		data := batch(1, 0, size)
		for seq := uint64(1); seq <= 5; seq++ {
			done := make(chan error, 1)
			w.Put(seq, groupOf(seq, Run{Partition: partition(0), Base: 1, Last: 1, Data: data}), func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		sealed, err := e.store.Seal(t.Context(), testID, testID)
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		err = e.store.Replay(t.Context(), sealed, everything, func(Run) error { runs++; return nil })
		if err != nil || runs != 5 || most.Load() > fetchBytes || most.Load() < 2*size {
			t.Errorf("%d runs, %d bytes at once: %v", runs, most.Load(), err)
		}
	})
}
