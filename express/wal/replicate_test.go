package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/disk"
	"millrace/kafka/topic"

	"pgregory.net/rapid"
)

// hangar is a Replica whose groups land when the test says so.
type hangar struct {
	t testing.TB

	mu      sync.Mutex
	groups  []hangared
	landed  int // of groups
	good    int // of landed
	trimmed uint64
	failure error
	isAuto  bool
}

type hangared struct {
	seq  uint64
	raw  [][]byte // as handed over
	body []byte   // a copy
	runs []Run
	done func(error)
	at   time.Time
}

func (h *hangar) Put(seq uint64, group [][]byte, done func(error)) {
	body := bytes.Join(group, nil)
	at, runs, err := DecodeGroup(body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || at != seq || seq != uint64(len(h.groups))+1 {
		h.t.Errorf("group %d of header %d after %d groups: %v", seq, at, len(h.groups), err)
	}
	h.groups = append(h.groups, hangared{seq, group, body, runs, done, time.Now()})
	if h.isAuto {
		h.landLocked(1)
	}
}

func (h *hangar) Trim(first uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trimmed = max(h.trimmed, first)
}

// land ends up to n groups, all with an error once one had one.
func (h *hangar) land(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.landLocked(n)
}

func (h *hangar) landLocked(n int) {
	for ; n > 0 && h.landed < len(h.groups); n-- {
		g := h.groups[h.landed]
		if !bytes.Equal(bytes.Join(g.raw, nil), g.body) {
			h.t.Errorf("group %d was changed in flight", g.seq)
		}
		h.landed++
		if h.failure == nil {
			h.good++
		}
		g.done(h.failure)
	}
}

func (h *hangar) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = err
	h.landLocked(len(h.groups))
}

func (h *hangar) counts() (groups, landed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.groups), h.landed
}

// setAuto lets all land at once from now on.
func (h *hangar) setAuto() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isAuto = true
	h.landLocked(len(h.groups))
}

// openReplicated opens a log with a hangar. At the end of the test everything lands.
func openReplicated(t testing.TB, fs disk.FS, change ...func(*Config)) (*Log, *hangar) {
	t.Helper()
	h := &hangar{t: t}
	cfg := Config{Dir: "wal", Broker: 1, Incarnation: 7, FileSize: 1 << 20, GroupBytes: 64 << 10}
	for _, f := range change {
		f(&cfg)
	}
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	w := testWorld(t, fs)
	w.Replica = h
	l, err := Open(t.Context(), cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.setAuto()
		closeLog(t, l)
	})
	return l, h
}

// TestReplicaInFlight: with room in the pipeline groups begin without waiting for each other, at most as many as may, and are readable and
// done only when they have landed, in order.
func TestReplicaInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := openReplicated(t, disk.NewMem(), func(c *Config) { c.Pipeline = 3 })
		var hist history
		for range 8 {
			if err := hist.submit(t, l, 0, batchSpec{size: 40 << 10}); err != nil { // two do not fit a group
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for landed := range 8 {
			if groups, _ := h.counts(); groups != min(8, landed+3) {
				t.Fatalf("%d groups begun when %d have landed", groups, landed)
			}
			if acked, _ := hist.snapshot(); acked != landed {
				t.Fatalf("%d acknowledged when %d have landed", acked, landed)
			}
			if _, end := l.Stream(partition(0)).Bounds(); end != int64(landed) {
				t.Fatalf("readable up to %d when %d have landed", end, landed)
			}
			h.land(1)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		hist.check(t, l, 8, 8)
	})
}

// TestReplicaGathers: small groups begin at least Interval apart, full ones at once.
func TestReplicaGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := openReplicated(t, disk.NewMem(), func(c *Config) { c.Interval, c.Pipeline = 10*time.Millisecond, 8 })
		h.setAuto()
		time.Sleep(time.Second)
		var hist history
		start := time.Now()
		for range 50 {
			if err := hist.submit(t, l, 0, batchSpec{size: 100}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if groups, _ := h.counts(); groups != 6 {
			t.Errorf("%d groups in 50 ms", groups)
		}
		for i, g := range h.groups {
			if want := time.Duration(i) * 10 * time.Millisecond; g.at.Sub(start) != want {
				t.Errorf("group %d begins after %v", i, g.at.Sub(start))
			}
		}
		time.Sleep(15 * time.Millisecond)
		before, _ := h.counts()
		for range 6 {
			if err := hist.submit(t, l, 0, batchSpec{size: 64 << 10}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if groups, _ := h.counts(); groups != before+6 {
			t.Errorf("%d full groups begun without a pause", groups-before)
		}
		hist.check(t, l, 56, 56)
	})
}

// TestReplicaFails: everything in flight and queued fails in order, with the cause, and nothing is taken any more.
func TestReplicaFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := openReplicated(t, disk.NewMem(), func(c *Config) { c.Pipeline = 2 })
		cause := errors.New("sealed")
		var got []string
		for i := range 6 {
			e := entryOf(batchSpec{base: int64(i), size: 40 << 10})
			e.Done = func(err error) {
				if i > 0 && (!errors.Is(err, ErrFailed) || !errors.Is(err, cause)) {
					t.Errorf("entry %d: %v", i, err)
				}
				got = append(got, fmt.Sprint(i, err == nil))
			}
			if err := l.Stream(partition(0)).Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		h.land(1)
		synctest.Wait()
		h.fail(cause)
		synctest.Wait()
		want := []string{"0 true", "1 false", "2 false", "3 false", "4 false", "5 false"}
		if !slices.Equal(got, want) {
			t.Errorf("done: %q", got)
		}
		select {
		case <-l.Failed():
		default:
			t.Error("the log is not dead")
		}
		if err := l.Stream(partition(0)).Append(t.Context(), entryOf(batchSpec{base: 1})); !errors.Is(err, cause) {
			t.Errorf("append after the end: %v", err)
		}
		if _, end := l.Stream(partition(0)).Bounds(); end != 1 {
			t.Errorf("readable up to %d", end)
		}
		if groups, _ := h.counts(); groups != 3 {
			t.Errorf("%d groups", groups)
		}
	})
}

// TestReplicaRoll: a file is sealed only when its last group has landed, and then holds all of it.
func TestReplicaRoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := openReplicated(t, disk.NewMem())
		var hist history
		for range 3 {
			if err := hist.submit(t, l, 0, batchSpec{size: 40 << 10}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		rolled := make(chan error, 1)
		go func() { rolled <- l.Roll(t.Context()) }()
		synctest.Wait()
		time.Sleep(time.Second)
		h.land(2)
		synctest.Wait()
		if len(rolled) > 0 || l.Files()[0].Sealed {
			t.Fatal("sealed with a group in flight")
		}
		h.land(1)
		synctest.Wait()
		if err := <-rolled; err != nil || !l.Files()[0].Sealed || len(l.Stream(partition(0)).Extents()) != 1 {
			t.Fatalf("roll: %v, %+v", err, l.Files())
		}
		hist.check(t, l, 3, 3)
		l.Stream(partition(0)).Trim(2)
		if h.trimmed != 0 {
			t.Fatalf("trimmed to %d, and the file is in use", h.trimmed)
		}
		l.Stream(partition(0)).Trim(3)
		if h.trimmed != 4 {
			t.Errorf("trimmed to %d", h.trimmed)
		}
	})
}

// TestReplicaNoSpace: a local disk that is full fails only what cannot be kept, after what was in flight, and recovers.
func TestReplicaNoSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		fs := disk.Faulty(disk.NewMem(), func(op disk.Op) error {
			if full.Load() && op.Kind == disk.OpWrite {
				return syscall.ENOSPC
			}
			return nil
		})
		l, h := openReplicated(t, fs)
		s := l.Stream(partition(0))
		var got []error
		submit := func(base int64) {
			e := entryOf(batchSpec{base: base, size: 40 << 10})
			e.Done = func(err error) { got = append(got, err) }
			if err := s.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		submit(0)
		full.Store(true)
		submit(1)
		if len(got) > 0 {
			t.Fatal("the second entry failed before the first was done")
		}
		h.land(1)
		synctest.Wait()
		if len(got) != 2 || got[0] != nil || !errors.Is(got[1], ErrNoSpace) {
			t.Fatalf("done: %v", got)
		}
		full.Store(false)
		submit(1)
		h.land(1)
		synctest.Wait()
		if len(got) != 3 || got[2] != nil || len(readAll(t, s, 0, 1<<20)) != 80<<10 {
			t.Errorf("done: %v", got)
		}
	})
}

// TestReplicaScratch: nothing is synced, and an Open begins with nothing.
func TestReplicaScratch(t *testing.T) {
	mem := disk.NewMem()
	var syncs atomic.Int64
	var isOpen atomic.Bool
	fs := disk.Faulty(mem, func(op disk.Op) error {
		if isOpen.Load() && (op.Kind == disk.OpSync || op.Kind == disk.OpDatasync || op.Kind == disk.OpSyncDir) {
			syncs.Add(1)
		}
		return nil
	})
	for round := range 2 {
		l, h := openReplicated(t, fs)
		isOpen.Store(true)
		h.setAuto()
		if len(l.Partitions())+len(l.Files()) > 0 {
			t.Fatalf("round %d begins with %d partitions", round, len(l.Partitions()))
		}
		for i := range int64(50) {
			mustAppend(t, l.Stream(partition(0)), batchSpec{base: i, size: 40 << 10})
		}
		if err := l.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		isOpen.Store(false)
	}
	if n := syncs.Load(); n > 0 {
		t.Errorf("%d syncs", n)
	}
}

// TestReplicaKindIsFixed: a log with a Replica does not wipe one without, nor is the other way taken for a log.
func TestReplicaKindIsFixed(t *testing.T) {
	for _, isReplicated := range []bool{false, true} {
		fs := disk.NewMem()
		var first *Log
		if isReplicated {
			l, h := openReplicated(t, fs)
			h.setAuto()
			first = l
		} else {
			first = open(t, fs)
		}
		data := mustAppend(t, first.Stream(partition(0)), batchSpec{size: 100})
		closeLog(t, first)
		w := testWorld(t, fs)
		if !isReplicated {
			w.Replica = &hangar{t: t}
		}
		if _, err := Open(t.Context(), Config{Dir: "wal"}, w); !errors.Is(err, ErrInvalid) {
			t.Fatalf("replicated first %v: %v", isReplicated, err)
		}
		if !isReplicated {
			if got := readAll(t, open(t, fs).Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, data) {
				t.Errorf("%d bytes are left", len(got))
			}
		}
	}
}

// TestReplicaHoldsAll is W1 to W3, W7 and W8 as a property: over random appends, landings, rolls, trims, forgets and a failure, what is
// done is what has landed, what is readable is what is done, and the groups that are not trimmed hold all of it.
func TestReplicaHoldsAll(t *testing.T) {
	kinds := []string{"append", "append", "append", "append", "land", "land", "wait", "wait", "roll", "trim", "forget", "fail"}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			kind:      rapid.SampledFrom(kinds).Draw(t, "kind"),
			partition: rapid.IntRange(0, 2).Draw(t, "partition"),
			n:         rapid.IntRange(0, 60).Draw(t, "n"),
		}
	}), 20, 100)
	rapid.Check(t, func(rt *rapid.T) {
		script := steps.Draw(rt, "steps")
		var fault error
		synctest.Test(t, func(t *testing.T) {
			m := newReplicaModel(t)
			defer m.close()
			for i, s := range script {
				m.do(s)
				if fault = m.check(i%8 == 0 || i == len(script)-1); fault != nil {
					fault = fmt.Errorf("after step %d: %w", i, fault)
					return
				}
			}
		})
		if fault != nil {
			rt.Fatal(fault)
		}
	})
}

// step is one thing that happens; what n means depends on the kind.
type step struct {
	kind         string
	partition, n int
}

func (m *replicaModel) do(s step) {
	switch s.kind {
	case "append":
		m.append(s.partition, []int{100, 2 << 10, 70 << 10}[s.n%3])
	case "land":
		m.h.land(1 + s.n%4)
	case "wait":
		time.Sleep(m.l.cfg.Interval)
	case "roll":
		go func() { _ = m.l.Roll(m.t.Context()) }()
	case "trim":
		stream := m.l.Stream(partition(s.partition))
		first, end := stream.Bounds()
		stream.Trim(first + int64(s.n)*(end-first)/60)
	case "forget":
		m.forget(s.partition)
	case "fail":
		if s.n == 0 {
			m.h.fail(errPlanned)
		}
	}
}

var errPlanned = errors.New("planned")

// replicaModel is a log with a hangar and what the test knows of it.
type replicaModel struct {
	t    *testing.T
	l    *Log
	h    *hangar
	next map[int]int64

	submitted int
	done      []int // numbers of entries, in the order of Done
	failed    int
	acked     map[int]int64 // ends of what is done
	ends      map[int]int64 // the same, of what was not forgotten since
}

func newReplicaModel(t *testing.T) *replicaModel {
	m := &replicaModel{t: t, h: &hangar{t: t}, next: map[int]int64{}, acked: map[int]int64{}, ends: map[int]int64{}}
	fs := disk.NewMem()
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	w := testWorld(t, fs)
	w.Replica = m.h
	cfg := Config{Dir: "wal", FileSize: 1 << 20, GroupBytes: 64 << 10, Pipeline: 3, QueueBytes: 1 << 40}
	var err error
	if m.l, err = Open(t.Context(), cfg, w); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *replicaModel) close() {
	m.h.setAuto()
	closeLog(m.t, m.l)
}

func (m *replicaModel) append(p, size int) {
	e := entryOf(batchSpec{base: m.next[p], size: size, producer: 9, sequence: int32(m.next[p])})
	number := m.submitted
	e.Done = func(err error) {
		switch {
		case err != nil:
			m.failed++
		case m.failed > 0:
			m.t.Error("done after a failure")
		default:
			m.done = append(m.done, number)
			m.ends[p], m.acked[p] = e.LastOffset+1, e.LastOffset+1
		}
	}
	if err := m.l.Stream(partition(p)).Append(m.t.Context(), e); err != nil {
		if !errors.Is(err, ErrFailed) {
			m.t.Error(err)
		}
		return
	}
	m.submitted++
	m.next[p]++
}

// forget waits for what is under way, as an owner does who gives a partition away.
func (m *replicaModel) forget(p int) {
	for m.failed == 0 && m.acked[p] < m.next[p] {
		m.h.land(1)
		time.Sleep(m.l.cfg.Interval)
		synctest.Wait()
	}
	m.l.Stream(partition(p)).Forget()
	delete(m.ends, p)
}

func (m *replicaModel) check(isDeep bool) error {
	synctest.Wait()
	for i, number := range m.done {
		if number != i {
			return fmt.Errorf("entry %d was done at place %d", number, i)
		}
	}
	_, landed := m.h.counts()
	entries := 0
	stored := map[topic.Partition][]byte{}
	for i, g := range m.h.groups[:m.h.good] {
		for _, r := range g.runs {
			entries += int(r.Last - r.Base + 1)
			if uint64(i+1) >= m.h.trimmed {
				stored[r.Partition] = append(stored[r.Partition], r.Data...)
			}
		}
	}
	if entries != len(m.done) {
		return fmt.Errorf("%d entries have landed, %d are done", entries, len(m.done))
	}
	for p, end := range m.ends {
		s := m.l.Stream(partition(p))
		first, to := s.Bounds()
		if to != end {
			return fmt.Errorf("partition %d is readable to %d, and done to %d", p, to, end)
		}
		if !isDeep {
			continue
		}
		if got := readAll(m.t, s, first, 1<<20); !bytes.HasSuffix(stored[partition(p)], got) || first < end && len(got) == 0 {
			return fmt.Errorf("partition %d from %d to %d: the groups from %d on do not hold it", p, first, end, m.h.trimmed)
		}
	}
	if groups, _ := m.h.counts(); groups-landed > m.l.cfg.Pipeline {
		return fmt.Errorf("%d groups in flight", groups-landed)
	}
	return nil
}
