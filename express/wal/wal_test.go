package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"millrace/base/disk"
	"millrace/base/slab"
)

func TestAppendRead(t *testing.T) {
	l := open(t, disk.NewMem())
	s := l.Stream(partition(0))
	var want []byte
	for i := range int64(50) {
		want = append(want, mustAppend(t, s, batchSpec{base: 3 * i, records: 3, size: 100 + int(i)*37, timestamp: 1000 + i})...)
	}
	if first, end := s.Bounds(); first != 0 || end != 150 {
		t.Fatalf("bounds %d, %d", first, end)
	}
	for _, maxBytes := range []int{1, 150, 4000, 1 << 20} {
		if got := readAll(t, s, 0, maxBytes); !bytes.Equal(got, want) {
			t.Fatalf("reading %d bytes at a time gives other data", maxBytes)
		}
	}
	if got := readOnce(t, s, 0, 31, 1<<20); lastOffset(got) != 29 {
		t.Errorf("read below 31 ends at %d", lastOffset(got))
	}
	if got := readOnce(t, s, 150, 1<<62, 1<<20); len(got) != 0 {
		t.Errorf("read at the end gives %d bytes", len(got))
	}
	var chain slab.Chain
	if err := s.Read(t.Context(), &chain, 0, 150, 99, false); err != nil || chain.Len() != 0 {
		t.Errorf("a batch larger than the limit was delivered: %d bytes, %v", chain.Len(), err)
	}
}

// TestReadWithinRun reads from the middle of entries with many batches.
func TestReadWithinRun(t *testing.T) {
	for _, size := range []int{200, 40 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			l := open(t, disk.NewMem(), func(c *Config) { c.FileSize = 16 << 20 })
			s := l.Stream(partition(0))
			specs := make([]batchSpec, 40/every(3))
			for i := range specs {
				specs[i] = batchSpec{base: int64(i) * 5, records: 5, size: size + i}
			}
			all := mustAppend(t, s, specs...)
			if err := l.Roll(t.Context()); err != nil {
				t.Fatal(err)
			}
			at := 0
			for i := range specs {
				want := all[at:]
				for _, from := range []int64{int64(i) * 5, int64(i)*5 + 4} {
					if got := readAll(t, s, from, 3*size); !bytes.Equal(got, want) {
						t.Fatalf("reading from %d: %d bytes, want %d", from, len(got), len(want))
					}
					got := readOnce(t, s, from, int64(i)*5+12, 1<<30)
					if n := min(2, len(specs)-i); len(got) != sizes(specs[i:i+n]) {
						t.Fatalf("reading from %d up to two batches: %d bytes", from, len(got))
					}
				}
				at += size + i
			}
		})
	}
}

func sizes(specs []batchSpec) int {
	n := 0
	for _, s := range specs {
		n += s.size
	}
	return n
}

// TestRollSealReopen reads by index, before and after sealing, and after a reopen.
func TestRollSealReopen(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	var h history
	for i := range 200 {
		if err := h.submit(t, l, i%7, batchSpec{records: 2, size: 30 << 10, epoch: int32(i / 100), timestamp: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, l.Stream(partition(9)), batchSpec{size: 100}) // waits for all before it
	h.check(t, forget(l, 9), 200, 200)
	closeLog(t, l)
	if acked, _ := h.snapshot(); acked != 200 {
		t.Fatalf("%d acknowledged", acked)
	}
	l = open(t, mem)
	h.check(t, forget(l, 9), 200, 200)
	files := l.Files()
	if len(files) < 5 {
		t.Fatalf("%d files", len(files))
	}
	for i, f := range files {
		if !f.Sealed || i > 0 && f.Seq <= files[i-1].Seq {
			t.Errorf("file %+v", f)
		}
	}
	s := l.Stream(partition(3))
	if got := s.Epochs(); !slices.Equal(got, []EpochStart{{0, 0}, {1, 28}}) {
		t.Errorf("epochs %v", got)
	}
	if offset, ok, err := s.SeekTime(t.Context(), 100, 0); err != nil || !ok || offset != 28 {
		t.Errorf("seek: %d, %v, %v", offset, ok, err)
	}
	if _, ok, err := s.SeekTime(t.Context(), 200, 0); err != nil || ok {
		t.Errorf("seek beyond the newest: %v, %v", ok, err)
	}
	batches := int64(0)
	for i, x := range s.Extents() {
		batches += x.Batches
		if i > 0 && x.Base != s.Extents()[i-1].End {
			t.Errorf("gap before %+v", x)
		}
	}
	if batches != 29 {
		t.Errorf("%d batches in the extents", batches)
	}
}

func forget(l *Log, i int) *Log {
	l.Stream(partition(i)).Forget()
	return l
}

// TestReturnSupersedesWhatWasForgotten has a partition leave the broker and come back at the same offset, below it, or
// beyond it, in the same file. After a crash the log must not take two parts with a gap between them for one: what ended
// transactions in the gap is not in it.
func TestReturnSupersedesWhatWasForgotten(t *testing.T) {
	for back, first := range map[int64]int64{4: 4, 10: 0, 20: 20} {
		mem := disk.NewMem()
		l := open(t, mem)
		s := l.Stream(partition(1))
		for i := range int64(10) {
			mustAppend(t, s, batchSpec{base: i, size: 100, producer: 5, sequence: int32(i)})
		}
		s.Forget()
		mustAppend(t, l.Stream(partition(1)), batchSpec{base: back, size: 100, producer: 6})
		crashed := open(t, mem.CrashClone(rand.New(rand.NewPCG(1, 2))))
		s = crashed.Stream(partition(1))
		if f, end := s.Bounds(); f != first || end != back+1 {
			t.Errorf("back at %d: bounds %d, %d", back, f, end)
		}
		table, err := s.Producers(t.Context())
		if err != nil || table.Knows(5) != (back == 10) || !table.Knows(6) {
			t.Errorf("back at %d: producers %v, %v", back, table, err)
		}
		closeLog(t, crashed)
	}
}

func TestProducersSurvive(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	s := l.Stream(partition(1))
	for i := range int64(20) {
		mustAppend(t, s, batchSpec{base: i, records: 1, size: 100 << 10, producer: 5 + i%2, sequence: int32(i / 2)})
	}
	check := func(l *Log) {
		t.Helper()
		table, err := l.Stream(partition(1)).Producers(t.Context())
		if err != nil || table.Len() != 2 {
			t.Fatalf("%d producers, %v", table.Len(), err)
		}
		dup, err := table.Check(batchSpec{base: 0, records: 1, size: 61, producer: 6, sequence: 7}.make())
		if err != nil || dup == nil || dup.BaseOffset != 15 {
			t.Fatalf("duplicate %+v, %v", dup, err)
		}
	}
	check(l)
	closeLog(t, l)
	l = open(t, mem)
	check(l)
	crashed := open(t, mem.CrashClone(rand.New(rand.NewPCG(1, 2))))
	check(crashed)
}

func TestTrimRemovesFiles(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	a, b := l.Stream(partition(0)), l.Stream(partition(1))
	for i := range int64(40) {
		mustAppend(t, a, batchSpec{base: i, size: 60 << 10})
		if i == 20 {
			mustAppend(t, b, batchSpec{base: 0, size: 100})
		}
	}
	if err := l.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := walFiles(t, mem)
	a.Trim(30)
	if first, end := a.Bounds(); first != 30 || end != 40 {
		t.Errorf("bounds %d, %d", first, end)
	}
	var chain slab.Chain
	if err := a.Read(t.Context(), &chain, 29, 40, 1<<20, true); !errors.Is(err, ErrTrimmed) {
		t.Errorf("read below the trim point: %v", err)
	}
	if got := readAll(t, a, 30, 1<<20); lastOffset(got) != 39 || len(got) != 10*60<<10 {
		t.Errorf("%d bytes left", len(got))
	}
	if n := len(l.Files()); n != 2 {
		t.Errorf("%d files left", n)
	}
	b.Forget()
	a.Trim(40)
	if n := len(l.Files()); n != 0 {
		t.Errorf("%d files left", n)
	}
	if got := l.Partitions(); len(got) != 0 {
		t.Errorf("partitions %v", got)
	}
	mustAppend(t, a, batchSpec{base: 40, size: 100})
	closeLog(t, l)
	if after := walFiles(t, mem); len(before) < 3 || len(after) != 1 {
		t.Errorf("files %v, later %v", before, after)
	}
	l = open(t, mem)
	if first, end := l.Stream(partition(0)).Bounds(); first != 40 || end != 41 {
		t.Errorf("bounds %d, %d after reopen", first, end)
	}
}

func walFiles(t testing.TB, fsys disk.FS) []string {
	t.Helper()
	entries, err := fsys.ReadDir("wal")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), fileSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestRemovalWaitsForReaders trims while a read holds the file.
func TestRemovalWaitsForReaders(t *testing.T) {
	mem := disk.NewMem()
	l := open(t, mem)
	s := l.Stream(partition(0))
	mustAppend(t, s, batchSpec{size: 1000})
	if err := l.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := s.view(0)
	if err != nil {
		t.Fatal(err)
	}
	s.Trim(1)
	mustAppend(t, s, batchSpec{base: 1, size: 100})
	if err := l.Roll(t.Context()); err != nil { // the keeper is past the removals
		t.Fatal(err)
	}
	if _, err := mem.Stat(v.file.path); err != nil {
		t.Fatalf("removed under a reader: %v", err)
	}
	if _, err := l.runsOf(v); err != nil {
		t.Errorf("reading on: %v", err)
	}
	l.release(v.file)
	closeLog(t, l)
	if _, err := mem.Stat(v.file.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not removed: %v", err)
	}
}

func TestInvalidEntries(t *testing.T) {
	l := open(t, disk.NewMem())
	s := l.Stream(partition(0))
	mustAppend(t, s, batchSpec{base: 10, size: 100})
	gap := entryOf(batchSpec{base: 11}, batchSpec{base: 13})
	epochs := entryOf(batchSpec{base: 11}, batchSpec{base: 12, epoch: 1})
	long := entryOf(batchSpec{base: 11})
	long.LastOffset++
	cut := entryOf(batchSpec{base: 11})
	cut.Data = cut.Data[:60]
	for name, e := range map[string]*Entry{
		"gap": gap, "two epochs": epochs, "wrong end": long, "cut batch": cut,
		"empty":      {BaseOffset: 11, LastOffset: 10, Done: func(error) {}},
		"going back": entryOf(batchSpec{base: 10}),
	} {
		if err := s.Append(t.Context(), e); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustAppend(t, s, batchSpec{base: 20, size: 100}) // the stream came back from elsewhere
	if got := readAll(t, s, 11, 1<<20); len(got) != 100 {
		t.Errorf("read over a hole gives %d bytes", len(got))
	}
}

func TestClosed(t *testing.T) {
	l := open(t, disk.NewMem())
	s := l.Stream(partition(0))
	mustAppend(t, s, batchSpec{size: 100})
	closeLog(t, l)
	if err := s.Append(t.Context(), entryOf(batchSpec{base: 1})); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := s.Read(t.Context(), &slab.Chain{}, 0, 1, 1, true); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := l.Roll(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("roll: %v", err)
	}
}

func TestSecondLogIsRefused(t *testing.T) {
	mem := disk.NewMem()
	open(t, mem)
	if _, err := tryOpen(t, mem); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second open: %v", err)
	}
}

// TestQueueBytes holds a sync up until appends block, and then lets it go.
func TestQueueBytes(t *testing.T) {
	gate := make(chan struct{})
	faulty := disk.Faulty(disk.NewMem(), func(op disk.Op) error {
		if op.Kind == disk.OpDatasync {
			<-gate
		}
		return nil
	})
	l := open(t, faulty, func(c *Config) { c.QueueBytes = 1000 })
	s := l.Stream(partition(0))
	for i := range int64(2) {
		if err := s.Append(t.Context(), entryOf(batchSpec{base: i, size: 500})); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, entryOf(batchSpec{base: 2, size: 500})); !errors.Is(err, context.Canceled) {
		t.Errorf("append to a full queue: %v", err)
	}
	close(gate)
	mustAppend(t, s, batchSpec{base: 2, size: 500})
	mustAppend(t, s, batchSpec{base: 3, size: 5000}) // larger than the queue: goes alone
}

// TestConcurrent appends to many streams and reads them at the same time, over several files.
func TestConcurrent(t *testing.T) {
	l := open(t, disk.NewMem(), func(c *Config) { c.GroupBytes = 64 << 10 })
	const streams, entries = 8, 150
	var group sync.WaitGroup
	for p := range streams {
		s := l.Stream(partition(p))
		group.Go(func() {
			for i := range int64(entries) {
				e := entryOf(batchSpec{base: i, size: 1000 + int(i)*10, producer: int64(p + 1), sequence: int32(i)})
				if err := s.Append(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for next := int64(0); next < entries; {
				b := readOnce(t, s, next, 1<<62, 20_000)
				if len(b) == 0 {
					continue
				}
				if !bytes.HasPrefix(b, batchSpec{base: next, size: 1000 + int(next)*10, producer: int64(p + 1), sequence: int32(next)}.make()) {
					t.Errorf("stream %d: wrong bytes at %d", p, next)
					return
				}
				next = lastOffset(b) + 1
				if next > entries/2 {
					s.Trim(next - 20)
				}
			}
		})
	}
	group.Wait()
	l.Files()
}

// TestManySealedFiles reads round robin from more files, and more index entries, than are kept open and in memory.
func TestManySealedFiles(t *testing.T) {
	l := open(t, disk.NewMem())
	const files, runs = 2*maxOpenFiles + 3, 3
	s := l.Stream(partition(0))
	for i := range int64(files) {
		for j := range int64(runs) {
			mustAppend(t, s, batchSpec{base: i*runs + j, size: 61})
		}
		if err := l.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got := readAll(t, s, 0, 1<<20); len(got) != files*runs*61 {
			t.Fatalf("%d bytes", len(got))
		}
		if n := l.openFiles.Load(); n > maxOpenFiles+2 {
			t.Errorf("%d files open", n)
		}
	}
	var c runCache
	extents := make([]extent, 10)
	for i := range extents {
		c.put(&extents[i], make([]run, cacheRuns/4))
		c.get(&extents[0])
	}
	if c.runs > cacheRuns || c.get(&extents[0]) == nil || c.get(&extents[1]) != nil || c.get(&extents[9]) == nil {
		t.Errorf("cache holds %d runs, or the wrong ones", c.runs)
	}
}

// TestSealingWaitsForRoom: a full device delays sealing, not reading; the removal of another file lets it go on.
func TestSealingWaitsForRoom(t *testing.T) {
	mem := disk.NewMem()
	var full atomic.Bool
	refused := make(chan struct{}, 10)
	faulty := disk.Faulty(mem, func(op disk.Op) error {
		if full.Load() && op.Kind == disk.OpTruncate {
			refused <- struct{}{}
			return syscall.ENOSPC
		}
		return nil
	})
	l := open(t, faulty)
	a, b := l.Stream(partition(0)), l.Stream(partition(1))
	mustAppend(t, a, batchSpec{size: 100})
	if err := l.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, b, batchSpec{size: 100})
	full.Store(true)
	rolled := make(chan error, 1)
	go func() { rolled <- l.Roll(t.Context()) }()
	<-refused
	if got := readAll(t, b, 0, 1000); len(got) != 100 {
		t.Errorf("%d bytes", len(got))
	}
	full.Store(false)
	a.Trim(1)
	if err := <-rolled; err != nil {
		t.Error(err)
	}
	if files := l.Files(); len(files) != 1 || !files[0].Sealed {
		t.Errorf("files %+v", files)
	}
}

// TestHandlesAreClosed counts handles over a failed Open, a failed log and an ordinary one.
func TestHandlesAreClosed(t *testing.T) {
	var handles atomic.Int64
	var fail atomic.Bool
	count := func(mem *disk.Mem) disk.FS {
		return disk.Faulty(mem, func(op disk.Op) error {
			switch {
			case op.Kind == disk.OpOpen:
				handles.Add(1)
			case op.Kind == disk.OpClose:
				handles.Add(-1)
			case op.Kind == disk.OpDatasync && fail.Load():
				return syscall.EIO
			}
			return nil
		})
	}
	corrupt := newFileOf(1, 0).group(1, 77, batchSpec{base: 0, size: 100}).bytes
	if _, err := tryOpen(t, count(withFile(t, "wal/"+fileName(1), corrupt))); err == nil || handles.Load() != 0 {
		t.Errorf("failed open: %d handles, %v", handles.Load(), err)
	}
	for _, failing := range []bool{true, false} {
		mem := disk.NewMem()
		l := open(t, count(mem))
		s := l.Stream(partition(0))
		mustAppend(t, s, batchSpec{size: 100})
		if err := l.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, batchSpec{base: 1, size: 100})
		fail.Store(failing)
		_ = appendSync(t, s, entryOf(batchSpec{base: 2, size: 100}))
		readAll(t, s, 0, 1000)
		closeLog(t, l)
		fail.Store(false)
		if handles.Load() != 0 {
			t.Errorf("failing %v: %d handles", failing, handles.Load())
		}
	}
}

// TestRealDisk is a small round on the machine's own file system.
func TestRealDisk(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	l := open(t, fsys)
	var h history
	for i := range 300 {
		if err := h.submit(t, l, i%3, batchSpec{size: 10 << 10}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	h.check(t, open(t, fsys), 300, 300)
}
