package wal

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// goldenFile is an unsealed file with three groups, several partitions, epochs and producers, and a torn end.
func goldenFile() *fileOf {
	f := newFileOf(1, 0)
	f.next(1, batchSpec{base: 0, records: 3, size: 150, timestamp: 1000, producer: 4711, sequence: 0},
		batchSpec{base: 3, size: 90, timestamp: 1010})
	f.next(2, batchSpec{base: 4, records: 2, size: 200, timestamp: 1020, epoch: 1, producer: 4711, sequence: 3})
	f.next(3, batchSpec{base: 6, size: 61, timestamp: 990, epoch: 2})
	f.next(4, batchSpec{base: 7, size: 300})
	f.bytes = f.bytes[:len(f.bytes)-10]
	return f
}

// TestGolden holds the format of version 1 still: what it writes, byte for byte, and that files of it stay readable.
func TestGolden(t *testing.T) {
	unsealed := goldenFile().bytes
	golden(t, "unsealed.wal", unsealed)
	mem := withFile(t, "wal/"+fileName(1), readGolden(t, "unsealed.wal"))
	closeLog(t, open(t, mem))
	sealed, err := mem.CrashClone(rand.New(rand.NewPCG(1, 1))).ReadFile("wal/" + fileName(1))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sealed.wal", sealed)
	for _, name := range []string{"unsealed.wal", "sealed.wal"} {
		l := open(t, withFile(t, "wal/"+fileName(1), readGolden(t, name)))
		s := l.Stream(partition(0))
		if got := readAll(t, s, 0, 1000); len(got) != 501 || lastOffset(got) != 6 {
			t.Errorf("%s: %d bytes", name, len(got))
		}
		if got := s.Epochs(); !slices.Equal(got, []EpochStart{{0, 0}, {1, 4}, {2, 6}}) {
			t.Errorf("%s: epochs %v", name, got)
		}
		table, err := s.Producers(t.Context())
		if err != nil || table.Len() != 1 {
			t.Errorf("%s: producers %v, %v", name, table, err)
		}
		if x := s.Extents(); len(x) != 1 || x[0].Batches != 4 || x[0].MaxTimestamp != 1020 || x[0].LastAppend != 5 {
			t.Errorf("%s: extents %+v", name, x)
		}
		closeLog(t, l)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(goldenPath(name), got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, readGolden(t, name)) {
		t.Errorf("%s is written differently now; a changed format needs a new version", name)
	}
}

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldenPath(name string) string { return filepath.Join("testdata", "v1", name) }
