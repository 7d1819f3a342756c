package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"millrace/base/disk"
	"millrace/kafka/topic"
)

// TestEncrypted is what every log promises, with encryption.
func TestEncrypted(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"CrashAnywhere": TestCrashAnywhere, "CrashWhileSealing": TestCrashWhileSealing, "TornTail": TestTornTail, "DamageInside": TestDamageInside,
		"MissingEnd": TestMissingEnd, "KilledProcess": TestKilledProcess, "SyncFailure": TestSyncFailure, "NoSpace": TestNoSpace,
		"CutBackFailure": TestCutBackFailure, "QueueFailsTogether": TestQueueFailsTogether, "Supersede": TestSupersede, "UnusedFiles": TestUnusedFiles,
		"ReplicaInFlight": TestReplicaInFlight, "ReplicaGathers": TestReplicaGathers, "ReplicaFails": TestReplicaFails, "ReplicaRoll": TestReplicaRoll,
		"ReplicaNoSpace": TestReplicaNoSpace, "ReplicaScratch": TestReplicaScratch, "ReplicaKindIsFixed": TestReplicaKindIsFixed,
		"ReplicaHoldsAll": TestReplicaHoldsAll, "AppendRead": TestAppendRead, "ReadWithinRun": TestReadWithinRun, "RollSealReopen": TestRollSealReopen,
		"ReturnSupersedesWhatWasForgotten": TestReturnSupersedesWhatWasForgotten, "ProducersSurvive": TestProducersSurvive,
		"TrimRemovesFiles": TestTrimRemovesFiles, "RemovalWaitsForReaders": TestRemovalWaitsForReaders, "QueueBytes": TestQueueBytes,
		"Concurrent": TestConcurrent, "ManySealedFiles": TestManySealedFiles, "SealingWaitsForRoom": TestSealingWaitsForRoom,
		"HandlesAreClosed": TestHandlesAreClosed, "RealDisk": TestRealDisk, "Golden": TestGolden,
	} {
		t.Run(name, test)
	}
}

// openWith opens a log in "wal" with keys.
func openWith(t testing.TB, fs disk.FS, keys Keys) (*Log, error) {
	t.Helper()
	if err := fs.MkdirAll("wal", 0o700); err != nil {
		t.Fatal(err)
	}
	w := testWorld(t, fs)
	w.Keys = keys
	return Open(t.Context(), Config{Dir: "wal", Broker: 1, Incarnation: 7, FileSize: 1 << 20, GroupBytes: 128 << 10}, w)
}

// What is appended is nowhere on the disk in the clear, neither in a file that takes groups nor in a sealed one; without encryption the test finds it.
func TestNothingInTheClear(t *testing.T) {
	for _, keys := range []Keys{nil, testKeys{1: "first"}} {
		fs := disk.NewMem()
		l, err := openWith(t, fs, keys)
		if err != nil {
			t.Fatal(err)
		}
		data := mustAppend(t, l.Stream(partition(0)), batchSpec{base: 0, size: 3000}, batchSpec{base: 1, size: 200_000})
		look := func() bool {
			for _, name := range walFiles(t, fs) {
				b, err := fs.ReadFile("wal/" + name)
				if err != nil {
					t.Fatal(err)
				}
				for at := minBatchBytes; at+16 < len(data); at += 16 {
					if at < 3000+minBatchBytes && at+16 > 3000 {
						continue // the head of the second batch has long rows of zeros, as a file has
					}
					if bytes.Contains(b, data[at:at+16]) {
						return true
					}
				}
			}
			return false
		}
		if clear := keys == nil; look() != clear {
			t.Errorf("found in the clear: %v", !clear)
		}
		closeLog(t, l)
		if clear := keys == nil; look() != clear {
			t.Errorf("found in the clear in a sealed file: %v", !clear)
		}
	}
}

// Encryption can be turned on, and keys change: what was written stays readable, what is written takes the newest key.
func TestKeysChange(t *testing.T) {
	fs := disk.NewMem()
	var want []byte
	for i, keys := range []Keys{nil, testKeys{1: "a"}, testKeys{1: "a", 2: "b"}, testKeys{1: "a", 2: "b", 9: "c"}} {
		l, err := openWith(t, fs, keys)
		if err != nil {
			t.Fatal(err)
		}
		s := l.Stream(partition(0))
		want = append(want, mustAppend(t, s, batchSpec{base: int64(i), size: 500})...)
		if got := readAll(t, s, 0, 1<<20); !bytes.Equal(got, want) {
			t.Errorf("keys %v: %d bytes of %d", keys, len(got), len(want))
		}
		newest := uint32(0)
		if keys != nil {
			newest = keys.Newest()
		}
		if f := l.files[len(l.files)-1]; f.key != newest {
			t.Errorf("file has key %d, want %d", f.key, newest)
		}
		closeLog(t, l)
	}
}

// A key that is missing or another one is a clear error, and nothing is changed.
func TestWrongKey(t *testing.T) {
	fs := disk.NewMem()
	l, err := openWith(t, fs, testKeys{3: "right"})
	if err != nil {
		t.Fatal(err)
	}
	s := l.Stream(partition(0))
	want := mustAppend(t, s, batchSpec{base: 0, size: 500})
	crashed := fs.CrashClone(rand.New(rand.NewPCG(1, 1)))
	closeLog(t, l)
	for name, fs := range map[string]*disk.Mem{"sealed": fs, "unsealed": crashed} {
		before := walFiles(t, fs)
		for _, keys := range []Keys{nil, testKeys{3: "wrong"}, testKeys{4: "right"}} {
			if _, err := openWith(t, fs, keys); !errors.Is(err, ErrKey) {
				t.Errorf("%s: keys %v: %v", name, keys, err)
			}
		}
		if after := walFiles(t, fs); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: %v became %v", name, before, after)
		}
		l, err := openWith(t, fs, testKeys{3: "right"})
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, l.Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes", name, len(got))
		}
		closeLog(t, l)
	}
}

// writes remembers what was written where, also what the disk refused.
type writes struct {
	disk.FS
	t    *testing.T
	seen map[string][]byte // by file, its salt and the place of a group
	full atomic.Bool       // writes put down half of what they should
}

func (w *writes) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := w.FS.OpenFile(name, flag, perm)
	return &writtenFile{File: f, w: w}, err
}

type writtenFile struct {
	disk.File
	w *writes
}

func (f *writtenFile) WritevSync(bufs [][]byte, off int64) error {
	head := make([]byte, fileHeaderBytes)
	if err := readFull(f.File, head, 0); err != nil {
		f.w.t.Error(err)
	}
	key := fmt.Sprintf("%s %x %d", f.Name(), head[40:48], off)
	group := bytes.Join(bufs, nil)
	if old, ok := f.w.seen[key]; ok && !bytes.Equal(old, group) {
		f.w.t.Errorf("two groups were encrypted for byte %d of %s", off, f.Name())
	}
	f.w.seen[key] = group
	if f.w.full.Load() {
		_, _ = f.File.WriteAt(group[:len(group)/2], off)
		return syscall.ENOSPC
	}
	return f.File.WritevSync(bufs, off)
}

// No nonce is used twice under one key: neither after a device that was full, nor after a crash that tore a group.
func TestNoncesDoNotRepeat(t *testing.T) {
	mem := disk.NewMem()
	w := &writes{t: t, seen: map[string][]byte{}}
	refused := 0
	for round := range 10 / every(3) {
		w.FS = mem
		l, err := openWith(t, w, testKeys{1: "first"})
		if err != nil {
			t.Fatal(err)
		}
		s := l.Stream(partition(0))
		_, next := s.Bounds()
		for i := range 16 {
			full := i%5 == 0 // in an empty file, and in one with groups
			w.full.Store(full)
			err := appendSync(t, s, entryOf(batchSpec{base: next, size: 200_000, timestamp: int64(round*100 + i)}))
			w.full.Store(false)
			switch {
			case err == nil:
				next++
			case errors.Is(err, ErrNoSpace):
				refused++
			default:
				t.Fatal(err)
			}
		}
		crashed := mem.CrashClone(rand.New(rand.NewPCG(uint64(round), 1)))
		closeLog(t, l)
		mem = crashed
	}
	if refused == 0 {
		t.Error("the disk was never full")
	}
}

// Whatever is changed in a run, or about it in the index, does not decrypt.
func TestTamperedRuns(t *testing.T) {
	f := &file{}
	f.key = 1
	if err := f.unlock(t.Context(), testKeys{1: "a"}); err != nil {
		t.Fatal(err)
	}
	r := row{partition: partition(1), base: 5, last: 7, bytes: 1000, batches: 2}
	data := bytes.Repeat([]byte("record"), 200)[:1000]
	sealed := f.seal(nil, 64, &r, [][]byte{data[:10], data[10:600], data[600:]})
	if one := f.seal(nil, 64, &r, [][]byte{data}); !bytes.Equal(one, sealed) {
		t.Error("pieces make another ciphertext")
	}
	try := func(sealed []byte, pos int64, p topic.Partition, base, last int64, batches int) error {
		sealed = bytes.Clone(sealed)
		if err := f.open(sealed, pos, p, base, last, batches); err != nil {
			return err
		}
		if !bytes.Equal(sealed[:1000], data) {
			t.Error("other bytes")
		}
		return nil
	}
	if err := try(sealed, 64, r.partition, 5, 7, 2); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"position":  try(sealed, 65, r.partition, 5, 7, 2),
		"partition": try(sealed, 64, partition(2), 5, 7, 2),
		"base":      try(sealed, 64, r.partition, 4, 7, 2),
		"last":      try(sealed, 64, r.partition, 5, 8, 2),
		"batches":   try(sealed, 64, r.partition, 5, 7, 3),
		"shorter":   try(sealed[:len(sealed)-1], 64, r.partition, 5, 7, 2),
	} {
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at := range sealed {
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		if f.open(changed, 64, r.partition, 5, 7, 2) == nil {
			t.Fatalf("byte %d", at)
		}
	}
}

// TestGoldenEncrypted: a file of version 2 that stays readable.
func TestGoldenEncrypted(t *testing.T) {
	name := filepath.Join("testdata", "v2", "sealed.wal")
	if *rewrite {
		fs := disk.NewMem()
		l, err := openWith(t, fs, testKeys{1: "golden"})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l.Stream(partition(0)), batchSpec{base: 0, size: 100}, batchSpec{base: 1, size: 200, producer: 4, sequence: 1})
		mustAppend(t, l.Stream(partition(1)), batchSpec{base: 9, size: 300})
		closeLog(t, l)
		b, err := fs.ReadFile("wal/" + fileName(1))
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fs := withFile(t, "wal/"+fileName(1), b)
	l, err := openWith(t, fs, testKeys{1: "golden"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, l)
	want := append(batchSpec{base: 0, size: 100}.make(), batchSpec{base: 1, size: 200, producer: 4, sequence: 1}.make()...)
	if got := readAll(t, l.Stream(partition(0)), 0, 1<<20); !bytes.Equal(got, want) {
		t.Error("other bytes than were written")
	}
	if got := readAll(t, l.Stream(partition(1)), 9, 1<<20); !bytes.Equal(got, batchSpec{base: 9, size: 300}.make()) {
		t.Error("other bytes than were written")
	}
}
