package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"millrace/base/disk"
)

// every is the step between the cases of a long row of like ones: n where -short asks for fewer, as the race detector does, for which they are
// all the same; 1 otherwise.
func every(n int) int {
	if testing.Short() {
		return n
	}
	return 1
}

// TestCrashAnywhere takes what a crash may leave before every write, sync and change of a file, several times over, and
// demands W6 of each (W1 too: an entry acknowledged before it is durable is missing in some clone).
func TestCrashAnywhere(t *testing.T) {
	const seeds = 2
	mem := disk.NewMem()
	var h history
	type moment struct {
		fs          *disk.Mem
		low, high   int
		description string
	}
	var (
		mu      sync.Mutex
		moments []moment
		seed    uint64
		changes int
	)
	faulty := disk.Faulty(mem, func(op disk.Op) error {
		if op.Kind == disk.OpRead || op.Kind == disk.OpStat || op.Kind == disk.OpReadDir || op.Kind == disk.OpLock {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if changes++; changes%every(5) != 0 {
			return nil
		}
		for range seeds {
			seed++
			low, _ := h.snapshot()
			clone := mem.CrashClone(rand.New(rand.NewPCG(seed, 1)))
			_, high := h.snapshot()
			moments = append(moments, moment{clone, low, high, fmt.Sprintf("seed %d before %s of %s at %d", seed, op.Kind, op.Name, op.Off)})
		}
		return nil
	})
	l := open(t, faulty)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 50 {
		specs := make([]batchSpec, 1+rng.IntN(3))
		for j := range specs {
			specs[j] = batchSpec{records: 1 + rng.Int32N(5), size: 61 + rng.IntN(40<<10), producer: int64(rng.IntN(3))}
		}
		if err := h.submit(t, l, rng.IntN(5), specs...); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 { // let groups form in many ways
			mustAppend(t, l.Stream(partition(20)), batchSpec{base: int64(i), size: 61})
			l.Stream(partition(20)).Trim(int64(i) + 1)
		}
	}
	closeLog(t, l)
	low, high := h.snapshot()
	moments = append(moments, moment{mem, low, high, "after close"})
	recovered := make(map[int]bool)
	for i, m := range moments {
		crashed, err := tryOpen(t, m.fs)
		if err != nil {
			t.Fatalf("%s: %v", m.description, err)
		}
		crashed.Stream(partition(20)).Forget()
		k := h.check(t, crashed, m.low, m.high)
		recovered[k] = true
		if i%25 == 0 {
			goOn(t, crashed, m.fs, &h, k)
		}
		if t.Failed() {
			t.Fatal(m.description)
		}
	}
	if len(moments) < 100/every(5) || len(recovered) < 10/every(2) {
		t.Errorf("%d moments with %d outcomes are too few to mean much", len(moments), len(recovered))
	}
}

// TestCrashWhileSealing takes many clones before each operation of one seal: a footer that counts must be whole.
func TestCrashWhileSealing(t *testing.T) {
	mem := disk.NewMem()
	var sealing atomic.Bool
	var mu sync.Mutex
	var clones []*disk.Mem
	l := open(t, disk.Faulty(mem, func(op disk.Op) error {
		if sealing.Load() && op.Name == "wal/"+fileName(1) {
			mu.Lock()
			defer mu.Unlock()
			for range 40 / every(5) {
				clones = append(clones, mem.CrashClone(rand.New(rand.NewPCG(uint64(len(clones)), 5))))
			}
		}
		return nil
	}))
	var h history
	for i := range 24 {
		if err := h.submit(t, l, i%12, batchSpec{size: 100, producer: 3}); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, l.Stream(partition(12)), batchSpec{size: 100})
	sealing.Store(true)
	if err := l.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, clone := range clones {
		crashed := forget(open(t, clone), 12)
		h.check(t, crashed, 24, 24)
		if _, err := crashed.Stream(partition(3)).Producers(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// goOn appends to a recovered log, crashes once more and checks again: recovery itself must be durable.
func goOn(t *testing.T, l *Log, mem *disk.Mem, h *history, k int) {
	t.Helper()
	again := &history{submitted: h.submitted[:k:k], acked: k, next: make(map[int]int64)}
	for p := range 5 {
		_, again.next[p] = l.Stream(partition(p)).Bounds()
		if err := again.submit(t, l, p, batchSpec{size: 5000}); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l.Stream(partition(21)), batchSpec{base: int64(p), size: 61})
	}
	for seed := range uint64(2) {
		second := open(t, mem.CrashClone(rand.New(rand.NewPCG(seed, 9))))
		second.Stream(partition(20)).Forget()
		second.Stream(partition(21)).Forget()
		again.check(t, second, k+5, k+5)
	}
}

// TestTornTail cuts, zeroes and garbles the last group at every byte.
func TestTornTail(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	s := l.Stream(partition(0))
	first := mustAppend(t, s, batchSpec{base: 0, size: 200}, batchSpec{base: 1, size: 100})
	start := l.files[0].end
	mustAppend(t, s, batchSpec{base: 2, size: 150})
	end := l.files[0].end
	name := l.files[0].path
	whole, err := mem.CrashClone(rand.New(rand.NewPCG(1, 1))).ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := start; at < end; at += int64(every(11)) {
		cut := append(bytes.Clone(whole[:at]), make([]byte, 4096)...)
		short := whole[:at]
		garbled := bytes.Clone(whole)
		garbled[at] ^= 0x40
		for kind, content := range map[string][]byte{"cut": cut, "short": short, "garbled": garbled} {
			broken := withFile(t, name, content)
			l, err := tryOpen(t, broken)
			if err != nil {
				t.Fatalf("%s at %d: %v", kind, at, err)
			}
			if got := readAll(t, l.Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, first) {
				t.Fatalf("%s at %d: %d bytes recovered, want %d", kind, at, len(got), len(first))
			}
			mustAppend(t, l.Stream(partition(0)), batchSpec{base: 2, size: 80})
			closeLog(t, l)
		}
	}
}

// withFile makes a file system with one log file.
func withFile(t testing.TB, name string, content []byte) *disk.Mem {
	t.Helper()
	mem := disk.NewMem()
	if err := mem.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	putFile(t, mem, name, content)
	return mem
}

func putFile(t testing.TB, mem *disk.Mem, name string, content []byte) {
	t.Helper()
	f, err := mem.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close(), mem.SyncDir("wal")); err != nil {
		t.Fatal(err)
	}
}

// TestDamageInside garbles every byte that a whole group follows: none may be dropped in silence.
func TestDamageInside(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	s := l.Stream(partition(0))
	mustAppend(t, s, batchSpec{base: 0, size: 100})
	mustAppend(t, s, batchSpec{base: 1, size: 150, epoch: 1})
	end := l.files[0].end
	mustAppend(t, s, batchSpec{base: 2, size: 100, epoch: 1})
	name := l.files[0].path
	whole, err := mem.CrashClone(rand.New(rand.NewPCG(1, 1))).ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < end; at += int64(every(11)) {
		if at >= 48 && at < 60 { // reserved bytes of the file header do count, those between salt and checksum
			continue
		}
		garbled := bytes.Clone(whole)
		garbled[at] ^= 0x01
		_, err := tryOpen(t, withFile(t, name, garbled))
		var corruption *CorruptionError
		isVersion := at == 8 || at == 9
		switch {
		case isVersion && errors.Is(err, ErrNewer):
		case !errors.Is(err, ErrCorrupt) || !errors.As(err, &corruption) || corruption.File != name:
			t.Fatalf("byte %d garbled: %v", at, err)
		}
	}
}

// TestMissingEnd cuts whole groups off a file that another file continues.
func TestMissingEnd(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	s := l.Stream(partition(0))
	var ends []int64
	for i := range int64(3) {
		mustAppend(t, s, batchSpec{base: i, size: 100})
		ends = append(ends, l.files[0].end)
	}
	first := l.files[0].path
	if err := l.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batchSpec{base: 3, size: 100})
	for i, end := range append([]int64{fileHeaderBytes}, ends[:2]...) {
		clone := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
		content, err := clone.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, clone, first, content[:end])
		var corruption *CorruptionError
		if _, err := tryOpen(t, clone); !errors.As(err, &corruption) || corruption.File != first || corruption.Offset != end {
			t.Errorf("after group %d: %v", i, err)
		}
	}
	clone := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
	content, err := clone.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, clone, first, content[:ends[2]]) // only the footer is gone: rebuilt
	if got := readAll(t, open(t, clone).Stream(partition(0)), 0, 1<<20); len(got) != 400 {
		t.Errorf("%d bytes without the footer", len(got))
	}
}

// TestKilledProcess recovers what only the page cache holds, and then loses the machine: what Open showed must stay.
func TestKilledProcess(t *testing.T) {
	mem := disk.NewMem()
	var fail atomic.Bool
	faulty := disk.Faulty(mem, func(op disk.Op) error {
		if fail.Load() && op.Kind == disk.OpDatasync {
			return syscall.EIO
		}
		return nil
	})
	l := open(t, faulty)
	s := l.Stream(partition(0))
	mustAppend(t, s, batchSpec{base: 0, size: 5000})
	fail.Store(true)
	if err := appendSync(t, s, entryOf(batchSpec{base: 1, size: 5000})); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	closeLog(t, l)
	for _, sealing := range []func(disk.Op) error{
		func(op disk.Op) error { // fails, first of all

			if op.Kind == disk.OpWrite {
				return syscall.ENOSPC
			}
			return nil
		},
		func(disk.Op) error { return nil },
	} {
		l = open(t, disk.Faulty(mem, sealing))
		_, end := l.Stream(partition(0)).Bounds()
		if end != 2 {
			t.Fatalf("end %d: the test needs the unsynced group", end)
		}
		for seed := range uint64(20) {
			crashed := open(t, mem.CrashClone(rand.New(rand.NewPCG(seed, 1))))
			if _, end := crashed.Stream(partition(0)).Bounds(); end != 2 {
				t.Fatalf("end went back to %d", end)
			}
		}
		closeLog(t, l)
	}
}

// TestSyncFailure demands W5: the log is dead after the first failed sync, reads go on, and recovery has what was
// acknowledged.
func TestSyncFailure(t *testing.T) {
	for _, kind := range []disk.OpKind{disk.OpWrite, disk.OpDatasync, disk.OpAllocate} {
		t.Run(kind.String(), func(t *testing.T) {
			mem := disk.NewMem()
			var mu sync.Mutex
			failing := false
			faulty := disk.Faulty(mem, func(op disk.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if failing && op.Kind == kind {
					return syscall.EIO
				}
				return nil
			})
			l := open(t, faulty, func(c *Config) { c.FileSize = 64 << 20 })
			s := l.Stream(partition(0))
			kept := mustAppend(t, s, batchSpec{base: 0, size: 1000})
			mu.Lock()
			failing = true
			mu.Unlock()
			if err := appendSync(t, s, entryOf(batchSpec{base: 1, size: 17 << 20})); !errors.Is(err, ErrFailed) {
				t.Fatalf("append: %v", err)
			}
			select {
			case <-l.Failed():
			default:
				t.Error("not marked as failed")
			}
			if err := s.Append(t.Context(), entryOf(batchSpec{base: 1})); !errors.Is(err, ErrFailed) {
				t.Errorf("later append: %v", err)
			}
			if got := readAll(t, s, 0, 1<<20); !bytes.Equal(got, kept) {
				t.Error("reads do not go on")
			}
			if err := l.Roll(t.Context()); !errors.Is(err, ErrFailed) {
				t.Errorf("roll: %v", err)
			}
			closeLog(t, l)
			crashed := open(t, mem.CrashClone(rand.New(rand.NewPCG(1, 1))))
			if got := readAll(t, crashed.Stream(partition(0)), 0, 1<<20); !bytes.HasPrefix(got, kept) {
				t.Error("acknowledged data is gone")
			}
		})
	}
}

// TestNoSpace fills the device at each operation that can notice it, and demands W3 and W4.
func TestNoSpace(t *testing.T) {
	for _, kind := range []disk.OpKind{disk.OpWrite, disk.OpDatasync, disk.OpOpen} {
		t.Run(kind.String(), func(t *testing.T) {
			mem := disk.NewMem()
			var mu sync.Mutex
			full := false
			faulty := disk.Faulty(mem, func(op disk.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if !full || op.Kind != kind {
					return nil
				}
				if kind == disk.OpWrite {
					return &disk.ShortWrite{N: op.Len / 2, Err: syscall.ENOSPC}
				}
				return syscall.ENOSPC
			})
			setFull := func(v bool) {
				mu.Lock()
				defer mu.Unlock()
				full = v
			}
			l := open(t, faulty)
			s, other := l.Stream(partition(0)), l.Stream(partition(1))
			kept := mustAppend(t, s, batchSpec{base: 0, size: 900 << 10})
			setFull(true)
			for attempt := range 3 { // with file creation failing, the prepared file takes one more group
				err := appendSync(t, s, entryOf(batchSpec{base: 1, records: 2, size: 900 << 10}))
				if err == nil && attempt == 0 && kind == disk.OpOpen {
					kept = append(kept, batchSpec{base: 1, records: 2, size: 900 << 10}.make()...)
					break
				}
				if !errors.Is(err, ErrNoSpace) {
					t.Fatalf("attempt %d: %v", attempt, err)
				}
			}
			next := lastOffset(kept) + 1
			if err := appendSync(t, s, entryOf(batchSpec{base: next, records: 2, size: 800 << 10})); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("append: %v", err)
			}
			if err := s.Append(t.Context(), entryOf(batchSpec{base: next + 2})); !errors.Is(err, ErrNoSpace) {
				t.Errorf("append over the failed entry: %v", err)
			}
			setFull(false)
			for seed := range uint64(10) {
				crashed := open(t, mem.CrashClone(rand.New(rand.NewPCG(seed, 1))))
				if got := readAll(t, crashed.Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, kept) {
					t.Fatalf("%d bytes recovered, want %d", len(got), len(kept))
				}
			}
			kept = append(kept, mustAppend(t, s, batchSpec{base: next, records: 1, size: 300})...)
			mustAppend(t, other, batchSpec{base: 0, size: 300})
			if got := readAll(t, s, 0, 1<<20); !bytes.Equal(got, kept) {
				t.Error("wrong bytes after the room came back")
			}
			closeLog(t, l)
			l = open(t, mem)
			if got := readAll(t, l.Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, kept) {
				t.Error("wrong bytes after reopen")
			}
		})
	}
}

// TestCutBackFailure: a full device that does not even let the file be cut ends the log.
func TestCutBackFailure(t *testing.T) {
	for _, kind := range []disk.OpKind{disk.OpTruncate, disk.OpSync} {
		var mu sync.Mutex
		full := false
		faulty := disk.Faulty(disk.NewMem(), func(op disk.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if full && (op.Kind == disk.OpWrite || op.Kind == kind) {
				return syscall.ENOSPC
			}
			return nil
		})
		l := open(t, faulty)
		s := l.Stream(partition(0))
		mustAppend(t, s, batchSpec{base: 0, size: 100})
		mu.Lock()
		full = true
		mu.Unlock()
		if err := appendSync(t, s, entryOf(batchSpec{base: 1})); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", kind, err)
		}
		mu.Lock()
		full = false
		mu.Unlock()
	}
}

// TestQueueFailsTogether demands W3: a failed group takes all that is queued with it, in order, and appends that come
// while the failures are told wait until all of them are.
func TestQueueFailsTogether(t *testing.T) {
	entered, gate := make(chan struct{}, 100), make(chan error)
	faulty := disk.Faulty(disk.NewMem(), func(op disk.Op) error {
		if op.Kind == disk.OpDatasync {
			entered <- struct{}{}
			return <-gate
		}
		return nil
	})
	l := open(t, faulty)
	defer close(gate)
	var order []int
	told, goOn, all := make(chan struct{}), make(chan struct{}), make(chan struct{})
	for i := range 10 {
		e := entryOf(batchSpec{base: int64(i / 2), size: 100})
		e.Done = func(err error) {
			if !errors.Is(err, ErrNoSpace) {
				t.Errorf("entry %d: %v", i, err)
			}
			if order = append(order, i); i == 0 {
				close(told)
				<-goOn
			}
			if i == 9 {
				close(all)
			}
		}
		if err := l.Stream(partition(i%2)).Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-entered // the others gather behind
		}
	}
	gate <- syscall.ENOSPC
	<-told
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Stream(partition(0)).Append(ctx, entryOf(batchSpec{base: 0})); !errors.Is(err, context.Canceled) {
		t.Errorf("append while failures are told: %v", err)
	}
	close(goOn)
	<-all
	retried := make(chan error, 1)
	e := entryOf(batchSpec{base: 0, size: 100})
	e.Done = func(err error) { retried <- err }
	if err := l.Stream(partition(0)).Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	<-entered
	gate <- nil
	if err := <-retried; err != nil {
		t.Error(err)
	}
	for i, got := range order {
		if got != i {
			t.Fatalf("told in order %v", order)
		}
	}
}
