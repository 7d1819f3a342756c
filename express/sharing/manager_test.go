package sharing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

var tp = topic.Partition{Topic: topic.ID{1}, Index: 0}

// fakeLog is a partition in memory.
type fakeLog struct {
	mu      sync.Mutex
	batches []record.Batch
	start   int64
	next    int64
	waiters map[*partition.Waiter]int64
	aborted []producer.Aborted
}

func newFakeLog() *fakeLog { return &fakeLog{waiters: map[*partition.Waiter]int64{}} }

// add appends a batch of n records.
func (l *fakeLog) add(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := record.NewBuilder(record.Options{BaseOffset: l.next})
	for range n {
		if err := b.Add(1, nil, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.batches = append(l.batches, batch)
	l.next = batch.LastOffset() + 1
	for w, from := range l.waiters {
		if l.next > from {
			select {
			case w.C <- struct{}{}:
			default:
			}
		}
	}
}

func (l *fakeLog) Name() string { return "t" }

func (l *fakeLog) Offsets() partition.Offsets {
	l.mu.Lock()
	defer l.mu.Unlock()
	return partition.Offsets{LogStart: l.start, LSO: l.next, HW: l.next, End: l.next, Epoch: 3}
}

func (l *fakeLog) Read(_ context.Context, dst *slab.Chain, from int64, maxBytes int, _, _ bool) (partition.Offsets, error) {
	o := l.Offsets()
	if from < o.LogStart || from > o.End {
		return o, partition.ErrOffsetOutOfRange
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.LastOffset() >= from && dst.Len() <= maxBytes {
			dst.Append(b)
		}
	}
	return o, nil
}

func (l *fakeLog) Wait(w *partition.Waiter, from int64) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiters[w] = from
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiters, w)
	}
}

func (l *fakeLog) OffsetForTime(context.Context, int64, bool) (partition.Found, error) {
	return partition.Found{Offset: 2}, nil
}

func (l *fakeLog) Aborted(context.Context, int64, int64) ([]producer.Aborted, error) {
	return l.aborted, nil
}

// fakeStore is a Persister that can be held up, and fail.
type fakeStore struct {
	mu     sync.Mutex
	stored map[state.Key]*state.Snapshot
	fail   kerr.Code
	gate   chan struct{} // writes wait for it, if there is one
	writes int
}

func (s *fakeStore) ReadState(_ context.Context, k state.Key, _ int32) (state.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.stored[k]; v != nil {
		return *v, nil
	}
	return state.Snapshot{}, kerr.InvalidRequest
}

func (s *fakeStore) WriteState(ctx context.Context, k state.Key, u state.Update) error {
	s.mu.Lock()
	gate, fail := s.gate, s.fail
	s.writes++
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return kerr.CoordinatorNotAvailable
		}
	}
	if fail != kerr.None {
		return fmt.Errorf("store: %w", fail)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stored[k]
	v.Start = max(v.Start, u.Start)
	v.Batches = share.Combine(v.Batches, u.Batches, v.Start)
	return nil
}

// rig is a Manager of one partition in a synctest bubble.
type rig struct {
	*testing.T
	*Manager
	log      *fakeLog
	store    *fakeStore
	settings Settings
	epochs   map[Member]int32
	minBytes int
}

// bubble runs f with a rig, with time that stands still until everybody waits.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, log: newFakeLog(), store: &fakeStore{stored: map[state.Key]*state.Snapshot{}}, settings: DefaultSettings(), epochs: map[Member]int32{}, minBytes: 1}
		r.settings.Reset = ResetEarliest
		r.initialize("g")
		r.Manager = New(t.Context(), Config{MaxSessions: func() int { return 3 }}, World{
			Partition: func(id topic.Partition) (Log, bool) { return r.log, id == tp },
			Persister: r.store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
			Settings: func(string) Settings { return r.settings },
		})
		defer r.Close()
		f(r)
	})
}

func (r *rig) initialize(group string) {
	r.store.stored[state.Key{Group: group, Topic: tp.Topic, Partition: tp.Index}] = &state.Snapshot{Start: -1}
}

// fetch is one ShareFetch of member "g/id".
func (r *rig) fetch(id string, wait time.Duration) []Result {
	r.Helper()
	who := Member{Group: "g", ID: id}
	parts, err := r.Open(Open{Member: who, Conn: uint64(id[0]), Epoch: r.epochs[who], Add: []topic.Partition{tp}})
	if err != nil {
		r.Fatalf("open %s: %v", id, err)
	}
	r.epochs[who]++
	var chain slab.Chain
	return r.Fetch(r.Context(), Fetch{
		Member: who, Parts: parts, Wait: wait, MinBytes: r.minBytes, MaxBytes: 1 << 20, MaxRecords: 100, BatchSize: 100,
		Read: func(ctx context.Context, log Log, from int64, maxBytes int, first, committed bool) ([][]byte, error) {
			before := len(chain.Parts())
			_, err := log.Read(ctx, &chain, from, maxBytes, first, committed)
			return chain.Parts()[before:], err
		},
		Drop: chain.Release,
	})
}

func text(results []Result) string {
	var out []string
	for _, r := range results {
		if r.Err != nil {
			out = append(out, kerr.Of(r.Err).Name())
		}
		for _, d := range r.Deliveries {
			out = append(out, fmt.Sprintf("%d-%d x%d", d.First, d.Last, d.Count))
		}
	}
	return strings.Join(out, ", ")
}

func (r *rig) want(got []Result, want string) {
	r.Helper()
	if text(got) != want {
		r.Fatalf("fetched %q, want %q", text(got), want)
	}
}

func (r *rig) ack(id string, kind int8, first, last int64) kerr.Code {
	r.Helper()
	return kerr.Of(r.Acknowledge(r.Context(), Member{"g", id}, []Acknowledgement{{tp, []share.Ack{{First: first, Last: last, Types: []int8{kind}}}}})[0])
}

func TestFetchWaitsForTheLog(t *testing.T) {
	bubble(t, func(r *rig) {
		began := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			r.log.add(t, 4)
		}()
		r.want(r.fetch("a", time.Minute), "0-3 x1")
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("waited %v", waited)
		}
		r.want(r.fetch("b", 2*time.Second), "")
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("an empty fetch came back after %v", waited-3*time.Second)
		}
	})
}

// A fetch that asks for no bytes is content with none: it must neither wait nor look again and again.
func TestFetchWithoutMinBytes(t *testing.T) {
	bubble(t, func(r *rig) {
		r.want(r.fetch("a", 0), "") // it is being loaded
		synctest.Wait()
		r.minBytes = 0
		began := time.Now()
		r.want(r.fetch("a", time.Minute), "")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Minute), "0-3 x1")
	})
}

// SH1: the answer comes after the write, and says so if that failed.
func TestAcknowledgementIsAnsweredWhenDurable(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		r.store.gate = make(chan struct{})
		answered := make(chan kerr.Code, 1)
		go func() { answered <- r.ack("a", share.Accept, 0, 3) }()
		synctest.Wait()
		select {
		case code := <-answered:
			t.Fatalf("answered %v before it was durable", code)
		default:
		}
		close(r.store.gate)
		if code := <-answered; code != kerr.None {
			t.Fatal(code)
		}
		r.log.add(t, 1)
		r.want(r.fetch("a", time.Second), "4-4 x1")
		r.store.fail = kerr.CoordinatorNotAvailable
		if code := r.ack("a", share.Accept, 4, 4); code != kerr.CoordinatorNotAvailable {
			t.Fatalf("a failed write: %v", code)
		}
		r.store.fail = kerr.None
		if code := r.ack("a", share.Accept, 4, 4); code != kerr.None {
			t.Fatalf("once more: %v", code)
		}
	})
}

func TestLocksRunOut(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		began := time.Now()
		r.want(r.fetch("b", time.Minute), "0-3 x2")
		if waited := time.Since(began); waited < 30*time.Second || waited > 30*time.Second+2*lockGrain {
			t.Errorf("came back after %v", waited)
		}
		if code := r.ack("a", share.Accept, 0, 3); code != kerr.InvalidRecordState {
			t.Errorf("acknowledged after the lock: %v", code)
		}
	})
}

// A group whose locks were made shorter does not wait for the end of those that are held.
func TestLocksMadeShorter(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 1)
		r.want(r.fetch("a", time.Second), "0-0 x1")
		synctest.Wait() // the Manager waits for the end of this lock
		r.settings.Limits.Lock = 5 * time.Second
		r.log.add(t, 1)
		r.want(r.fetch("a", time.Second), "1-1 x1")
		began := time.Now()
		r.want(r.fetch("b", time.Minute), "1-1 x2")
		if waited := time.Since(began); waited > 5*time.Second+2*lockGrain {
			t.Errorf("came back after %v", waited)
		}
	})
}

// SH3: whatever ends a session releases what its member holds.
func TestSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"final epoch":       func(r *rig) { r.End(Member{"g", "a"}) },
		"connection closed": func(r *rig) { r.Disconnected(uint64('a')) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.want(r.fetch("b", 0), "")
				synctest.Wait() // it is loaded
				r.log.add(t, 4)
				r.want(r.fetch("a", time.Second), "0-3 x1")
				go func() {
					time.Sleep(time.Second)
					end(r)
				}()
				began := time.Now()
				r.want(r.fetch("b", time.Minute), "0-3 x2")
				if waited := time.Since(began); waited != time.Second {
					t.Errorf("released after %v", waited)
				}
				if _, err := r.Open(Open{Member: Member{"g", "a"}, Conn: 1, Epoch: r.epochs[Member{"g", "a"}]}); !errors.Is(err, kerr.ShareSessionNotFound) {
					t.Errorf("the session goes on: %v", err)
				}
			})
		})
	}
}

// SH2: a group that comes back reads its state only after what it still had to write.
func TestNewOneWaitsForTheOldOnesWrites(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		r.store.gate = make(chan struct{})
		answered := make(chan kerr.Code, 1)
		go func() { answered <- r.ack("a", share.Accept, 0, 1) }()
		synctest.Wait()
		r.End(Member{"g", "a"}) // the last session: the share-partition is let go of
		go func() {
			time.Sleep(5 * time.Second)
			close(r.store.gate)
		}()
		r.want(r.fetch("b", time.Minute), "2-3 x2")
		if code := <-answered; code != kerr.None {
			t.Errorf("the acknowledgement: %v", code)
		}
	})
}

// A fetch that has found a share-partition just before it was let go of must look again, and not wait for what nobody says any more.
func TestWhoComesLateIsTold(t *testing.T) {
	bubble(t, func(r *rig) {
		key := Member{"g", "b"}.key(tp)
		sp, err := r.get(key, r.log)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.dropGroup("g")
		w := partition.NewWaiter()
		defer sp.watch(w)()
		select {
		case <-w.C:
		default:
			t.Error("it was told nothing")
		}
	})
}

func TestPartitionThatIsGone(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		r.PartitionClosed(tp)
		if code := r.ack("a", share.Accept, 0, 3); code != kerr.UnknownTopicOrPartition {
			t.Errorf("acknowledged: %v", code)
		}
		who := Member{"g", "a"}
		got := r.Fetch(r.Context(), Fetch{Member: who, Parts: []topic.Partition{{Topic: tp.Topic, Index: 7}}, MaxBytes: 1, MaxRecords: 1, Wait: time.Hour, MinBytes: 1, Drop: func() {}})
		r.want(got, "NOT_LEADER_OR_FOLLOWER")
	})
}

func TestFencedOwnerLetsGo(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		r.store.fail = kerr.FencedLeaderEpoch
		if code := r.ack("a", share.Accept, 0, 3); code != kerr.NotLeaderOrFollower {
			t.Errorf("acknowledged: %v", code)
		}
		r.store.fail = kerr.None
		synctest.Wait()
		r.want(r.fetch("a", time.Second), "0-3 x1") // read anew
	})
}

func TestStateThatIsNotThere(t *testing.T) {
	bubble(t, func(r *rig) {
		clear(r.store.stored)
		r.log.add(t, 4)
		r.want(r.fetch("a", time.Minute), "UNKNOWN_SERVER_ERROR")
	})
}

func TestWhereAGroupBegins(t *testing.T) {
	for _, tc := range []struct {
		reset ResetKind
		want  string
	}{{ResetLatest, "4-4 x1"}, {ResetEarliest, "0-3 x1"}, {ResetByDuration, "2-3 x1"}} {
		bubble(t, func(r *rig) {
			r.settings.Reset = tc.reset
			r.log.add(t, 4)
			if tc.reset == ResetLatest {
				go func() {
					time.Sleep(time.Second)
					r.log.add(t, 1)
				}()
			}
			r.want(r.fetch("a", time.Minute), tc.want)
		})
	}
}

func TestLogStartMoves(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 2)
		r.log.add(t, 2)
		r.want(r.fetch("a", time.Second), "0-3 x1")
		r.log.mu.Lock()
		r.log.start, r.log.batches = 2, r.log.batches[1:]
		r.log.mu.Unlock()
		r.log.add(t, 1)
		r.want(r.fetch("b", time.Second), "4-4 x1")
		if code := r.ack("a", share.Accept, 0, 3); code != kerr.None {
			t.Errorf("what is left of it: %v", code)
		}
	})
}

// One writes at a time, and what gathers meanwhile shares a write.
func TestWritesAreGathered(t *testing.T) {
	bubble(t, func(r *rig) {
		for range 20 {
			r.log.add(t, 1)
		}
		r.want(r.fetch("a", time.Second), "0-19 x1")
		r.store.gate = make(chan struct{})
		var done sync.WaitGroup
		ack := func(o int64) {
			done.Go(func() {
				if code := r.ack("a", share.Accept, o, o); code != kerr.None {
					t.Error(code)
				}
			})
		}
		ack(0)
		synctest.Wait() // The first write is at the gate; had all come at once, they could share it.
		for o := range int64(19) {
			ack(o + 1)
		}
		synctest.Wait()
		close(r.store.gate)
		done.Wait()
		if r.store.writes != 2 {
			t.Errorf("%d writes", r.store.writes)
		}
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, func(r *rig) {
		r.log.add(t, 6)
		r.want(r.fetch("a", time.Second), "0-5 x1")
		if got := r.Load(); got != (Load{Sessions: 1, Partitions: 1, InFlight: 6}) {
			t.Errorf("all is held: %+v", got)
		}
		each := []share.Ack{{First: 1, Last: 3, Types: []int8{share.Release, share.Reject, share.Renew}}}
		for _, err := range r.Acknowledge(r.Context(), Member{"g", "a"}, []Acknowledgement{{tp, each}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if code := r.ack("a", share.Accept, 4, 5); code != kerr.None {
			t.Fatal(code)
		}
		if code := r.ack("b", share.Accept, 0, 0); code != kerr.InvalidRecordState {
			t.Fatal(code)
		}
		r.want(r.fetch("b", time.Minute), "1-1 x2")
		r.want(r.fetch("b", time.Minute), "0-0 x2, 1-1 x3, 3-3 x2") // their locks ran out
		m, got := r.Metrics(), []int64{}
		for i := range m.Acknowledged {
			got = append(got, m.Acknowledged[i].Load())
		}
		if want := []int64{0, 2, 1, 1, 1}; !slices.Equal(got, want) {
			t.Errorf("acknowledged %v, want %v", got, want)
		}
		if d, out := m.Delivered.Load(), m.TimedOut.Load(); d != 10 || out != 3 {
			t.Errorf("%d deliveries, %d locks ran out", d, out)
		}
		r.End(Member{"g", "a"})
		r.End(Member{"g", "b"})
		synctest.Wait()
		if got := r.Load(); got != (Load{}) {
			t.Errorf("all have gone: %+v", got)
		}
	})
}

func TestSessionEpochs(t *testing.T) {
	bubble(t, func(r *rig) {
		who := Member{"g", "a"}
		f := func(epoch int32, acks bool, want kerr.Code) {
			t.Helper()
			_, err := r.Open(Open{Member: who, Conn: 1, Epoch: epoch, Add: []topic.Partition{tp}, Acknowledgements: acks})
			if kerr.Of(err) != want {
				t.Errorf("epoch %d: %v, want %v", epoch, err, want)
			}
		}
		f(1, false, kerr.ShareSessionNotFound)
		f(EpochFinal, false, kerr.ShareSessionNotFound)
		f(EpochInitial, true, kerr.InvalidRequest)
		f(EpochInitial, false, kerr.None)
		f(2, false, kerr.InvalidShareSessionEpoch)
		f(1, true, kerr.None)
		f(1, false, kerr.InvalidShareSessionEpoch)
		if err := r.Use(who, EpochInitial); !errors.Is(err, kerr.InvalidShareSessionEpoch) {
			t.Errorf("use in the initial epoch: %v", err)
		}
		if err := r.Use(who, 2); err != nil {
			t.Error(err)
		}
		f(3, false, kerr.None)
		for i := range 4 {
			_, err := r.Open(Open{Member: Member{"g", fmt.Sprint(i)}, Conn: uint64(10 + i)})
			if want := []kerr.Code{0, 0, kerr.ShareSessionLimitReached, kerr.ShareSessionLimitReached}[i]; kerr.Of(err) != want {
				t.Errorf("session %d: %v", i, err)
			}
		}
	})
}

func TestSessionPartitions(t *testing.T) {
	bubble(t, func(r *rig) {
		parts := make([]topic.Partition, 4)
		for i := range parts {
			parts[i] = topic.Partition{Topic: tp.Topic, Index: int32(i)}
		}
		who := Member{"g", "a"}
		open := func(epoch int32, add, forget []topic.Partition) []topic.Partition {
			t.Helper()
			got, err := r.Open(Open{Member: who, Conn: 1, Epoch: epoch, Add: add, Forget: forget})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		f := func(got []topic.Partition, want ...int32) {
			t.Helper()
			var indexes []int32
			for _, p := range got {
				indexes = append(indexes, p.Index)
			}
			if !slices.Equal(indexes, want) {
				t.Errorf("%v, want %v", indexes, want)
			}
		}
		f(open(0, parts[:3], nil), 0, 1, 2)
		f(open(1, nil, nil), 1, 2, 0)
		r.Moved(who, parts[:1])
		f(open(2, parts[3:], parts[1:2]), 3, 2, 0)
	})
}
