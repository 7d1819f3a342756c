package wal

import (
	"bytes"
	"errors"
	"testing"
)

// fileOf builds the bytes of a file by hand.
type fileOf struct {
	header fileHeader
	bytes  []byte
	chain  uint32
}

func newFileOf(seq, previous uint64) *fileOf {
	f := &fileOf{header: fileHeader{broker: 1, incarnation: 7, seq: seq, previous: previous, salt: 0x5a17}}
	f.bytes = f.header.encode()
	return f
}

// group appends a group of one entry.
func (f *fileOf) group(seq uint64, chain uint32, specs ...batchSpec) *fileOf {
	e := entryOf(specs...)
	e.stream = &Stream{partition: partition(0)}
	if err := e.inspect(); err != nil {
		panic(err)
	}
	c := committer{}
	c.arrange([]*Entry{e})
	head := groupHeader{seq: seq, chain: chain, rows: len(c.rows), payloadBytes: int64(len(e.Data)), time: 5}
	c.encode(&head, &file{fileHeader: f.header})
	f.bytes = append(f.bytes, bytes.Join(c.bufs, nil)...)
	f.chain = head.crc
	return f
}

func (f *fileOf) next(seq uint64, specs ...batchSpec) *fileOf { return f.group(seq, f.chain, specs...) }

// TestChain: a group that is whole, but not the successor of the one before it, is never taken.
func TestChain(t *testing.T) {
	good := newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100}).next(2, batchSpec{base: 1, size: 100})
	l := open(t, withFile(t, "wal/"+fileName(1), good.bytes))
	if _, end := l.Stream(partition(0)).Bounds(); end != 2 {
		t.Fatalf("end %d", end)
	}
	first := newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100})
	for name, f := range map[string]*fileOf{
		"stale":   newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100}).group(2, first.chain+1, batchSpec{base: 1, size: 100}),
		"skipped": newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100}).next(3, batchSpec{base: 1, size: 100}),
		"again":   newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100}).next(1, batchSpec{base: 1, size: 100}),
		"first":   newFileOf(1, 0).group(1, 9, batchSpec{base: 0, size: 100}),
	} {
		if _, err := tryOpen(t, withFile(t, "wal/"+fileName(1), f.bytes)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForeignGroups: groups of another file, whole and in order, are not groups of this one, wherever they lie: another
// salt makes them arbitrary bytes, even inside a batch that a client sent.
func TestForeignGroups(t *testing.T) {
	f := newFileOf(1, 0).next(1, batchSpec{base: 0, size: 100})
	f.header.salt++
	f.next(2, batchSpec{base: 1, size: 100}).next(3, batchSpec{base: 2, size: 100})
	l := open(t, withFile(t, "wal/"+fileName(1), f.bytes))
	if _, end := l.Stream(partition(0)).Bounds(); end != 1 {
		t.Fatalf("end %d", end)
	}
}

// TestLeaderEpochAndOffsetAreCovered: the fields outside the batches' own checksums are covered by the rows.
func TestLeaderEpochAndOffsetAreCovered(t *testing.T) {
	f := newFileOf(1, 0).next(1, batchSpec{base: 7, size: 100}, batchSpec{base: 8, size: 100}).bytes
	second := len(f) - 100
	for _, at := range []int{second - 100 + 7, second - 100 + 15, second + 7, second + 15, second + 11} {
		garbled := append(bytes.Clone(f), newFileOf(1, 0).bytes...)
		garbled[at] ^= 1
		l := open(t, withFile(t, "wal/"+fileName(1), garbled))
		if _, end := l.Stream(partition(0)).Bounds(); end != 0 {
			t.Errorf("byte %d: taken up to %d", at, end)
		}
	}
}

// TestSupersede: what a stream had before it was forgotten does not come back once it begins anew below.
func TestSupersede(t *testing.T) {
	f := newFileOf(1, 0).next(1, batchSpec{base: 0, records: 50, size: 100}).next(2, batchSpec{base: 30, size: 120})
	mem := withFile(t, "wal/"+fileName(1), f.bytes)
	for range 2 { // by replay, then by footer
		l := open(t, mem)
		s := l.Stream(partition(0))
		if first, end := s.Bounds(); first != 30 || end != 31 {
			t.Fatalf("bounds %d, %d", first, end)
		}
		if got := readAll(t, s, 30, 1000); len(got) != 120 {
			t.Fatalf("%d bytes", len(got))
		}
		closeLog(t, l)
	}
}

// TestNewerFormat refuses before it changes anything.
func TestNewerFormat(t *testing.T) {
	f := newFileOf(2, 0)
	f.bytes[9] = sealedVersion + 1
	mem := withFile(t, "wal/"+fileName(2), f.bytes)
	putFile(t, mem, "wal/"+fileName(1), newFileOf(1, 0).bytes) // empty: would be removed
	if _, err := tryOpen(t, mem); !errors.Is(err, ErrNewer) {
		t.Fatalf("open: %v", err)
	}
	if names := walFiles(t, mem); len(names) != 2 {
		t.Errorf("files %v", names)
	}
}

// TestUnusedFiles: prepared files go at the next open, however little of them a crash left.
func TestUnusedFiles(t *testing.T) {
	for name, content := range map[string][]byte{
		"header": newFileOf(5, 0).bytes, "zeroes": make([]byte, 5000), "nothing": nil, "short": newFileOf(5, 0).bytes[:40],
	} {
		mem := withFile(t, "wal/"+fileName(5), content)
		l := open(t, mem)
		mustAppend(t, l.Stream(partition(0)), batchSpec{size: 100})
		closeLog(t, l)
		if names := walFiles(t, mem); len(names) != 1 || names[0] != fileName(6) {
			t.Errorf("%s: files %v", name, names)
		}
	}
	used := append(make([]byte, 100), 1)
	if _, err := tryOpen(t, withFile(t, "wal/"+fileName(5), used)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no header, but data: %v", err)
	}
}
