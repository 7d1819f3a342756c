package object_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/objecttest"
)

func TestMemory(t *testing.T) {
	objecttest.Run(t, func(*testing.T) object.Store { return newMemory() })
}

func TestFaultyWithoutFaults(t *testing.T) {
	objecttest.Run(t, func(*testing.T) object.Store {
		return object.Faulty(newMemory(), func(context.Context, object.Op) error { return nil })
	})
}

func TestFilesOnDisk(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return openFiles(t, disk.OS(t.TempDir())) })
}

func TestFilesInMemory(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return openFiles(t, disk.NewMem()) })
}

// TestTwoOpenStores lets two processes' worth of stores share a directory: both see one set of objects, and
// opening one does not sweep away what the other uploads.
func TestTwoOpenStores(t *testing.T) {
	fsys := disk.OS(t.TempDir())
	a := openFiles(t, fsys)
	w, err := a.Create(t.Context(), "from-a")
	ok(t, err)
	_, err = w.Write([]byte("data"))
	ok(t, err)
	b := openFiles(t, fsys)
	ok(t, w.Commit(t.Context()))
	info, err := b.Stat(t.Context(), "from-a")
	if err != nil || info.Size != 4 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestSweepOfCrashedUploads(t *testing.T) {
	mem := disk.NewMem()
	s := openFiles(t, mem)
	ok(t, s.Put(t.Context(), "kept", [][]byte{[]byte("data")}, object.PutOptions{}))
	w, err := s.Create(t.Context(), "lost")
	ok(t, err)
	_, err = w.Write(make([]byte, 1000))
	ok(t, err)
	ok(t, mem.SyncDir("store/uploads"))
	for seed := range uint64(50) {
		crashed := mem.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		s := openFiles(t, crashed)
		infos, err := s.List(t.Context(), "", "", 10)
		if err != nil || len(infos) != 1 || infos[0].Key != "kept" || infos[0].Size != 4 {
			t.Fatalf("after the crash: %v, %v", infos, err)
		}
		entries, err := crashed.ReadDir("store/uploads")
		if err != nil || len(entries) != 3 { // the folder and lock of s, and the common lock
			t.Fatalf("after the sweep: %v, %v", entries, err)
		}
		if crashed.Used() > 100 { // the locks hold numbers of processes
			t.Fatalf("%d bytes left", crashed.Used())
		}
	}
}

// TestPutIsDurable crashes before every step of the disk: an object whose Put has returned is whole after the
// crash, and one whose Put has not is whole or not there (O1).
func TestPutIsDurable(t *testing.T) {
	mem := disk.NewMem()
	rng := rand.New(rand.NewPCG(5, 1))
	done := 0
	check := func() {
		crashed := openFiles(t, mem.CrashClone(rng))
		infos, err := crashed.List(t.Context(), "", "", 100)
		ok(t, err)
		if len(infos) < done || len(infos) > done+1 {
			t.Fatalf("%d objects after %d puts and a crash", len(infos), done)
		}
		for _, info := range infos {
			p := make([]byte, info.Size)
			n, err := crashed.ReadAt(t.Context(), info.Key, p, 0)
			if err != nil || string(p[:n]) != bodyOf(info.Key) {
				t.Fatalf("%s after a crash: %d bytes, %v", info.Key, n, err)
			}
		}
	}
	s := openFiles(t, disk.Faulty(mem, func(disk.Op) error {
		if done >= 0 {
			check()
		}
		return nil
	}))
	for i := range 12 {
		key := fmt.Sprintf("d%d/%d", i%3, i)
		if i%2 == 0 {
			ok(t, s.Put(t.Context(), key, [][]byte{[]byte(bodyOf(key))}, object.PutOptions{IfAbsent: i%4 == 0}))
		} else {
			w, err := s.Create(t.Context(), key)
			ok(t, err)
			_, err = w.Write([]byte(bodyOf(key)))
			ok(t, err)
			ok(t, w.Commit(t.Context()))
		}
		done++
		check()
	}
	done = -1 // no more checks while the store closes
}

// TestExistsIsDurable: who is told that an object exists finds it after a crash, also when the sync of whoever put it has failed.
func TestExistsIsDurable(t *testing.T) {
	mem := disk.NewMem()
	fails := false
	s := openFiles(t, disk.Faulty(mem, func(op disk.Op) error {
		if fails && op.Kind == disk.OpSyncDir {
			return errors.New("planned")
		}
		return nil
	}))
	body := [][]byte{[]byte("x")}
	ok(t, s.Put(t.Context(), "d/other", body, object.PutOptions{}))
	fails = true
	if err := s.Put(t.Context(), "d/key", body, object.PutOptions{IfAbsent: true}); err == nil || errors.Is(err, object.ErrExists) {
		t.Fatalf("put: %v", err)
	}
	if err := s.Put(t.Context(), "d/key", body, object.PutOptions{IfAbsent: true}); err == nil || errors.Is(err, object.ErrExists) {
		t.Fatalf("exists, without a sync: %v", err)
	}
	fails = false
	if err := s.Put(t.Context(), "d/key", body, object.PutOptions{IfAbsent: true}); !errors.Is(err, object.ErrExists) {
		t.Fatalf("put again: %v", err)
	}
	for seed := range uint64(20) {
		if _, err := openFiles(t, mem.CrashClone(rand.New(rand.NewPCG(seed, 1)))).Stat(t.Context(), "d/key"); err != nil {
			t.Errorf("after a crash: %v", err)
		}
	}
}

func bodyOf(key string) string { return fmt.Sprintf("%01500d %s", 7, key) }

func TestDeletePrunesDirectories(t *testing.T) {
	fsys := disk.NewMem()
	s := openFiles(t, fsys)
	ok(t, s.Put(t.Context(), "a/b/c/d", nil, object.PutOptions{}))
	ok(t, s.Put(t.Context(), "a/x", nil, object.PutOptions{}))
	ok(t, s.Delete(t.Context(), "a/b/c/d"))
	if _, err := fsys.Stat("store/objects/a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory stays: %v", err)
	}
	if _, err := fsys.Stat("store/objects/a/x"); err != nil {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	mem := disk.NewMem()
	s := openFiles(t, mem)
	mem.SetCapacity(mem.Used() + 1000)
	if err := s.Put(t.Context(), "a", [][]byte{make([]byte, 2000)}, object.PutOptions{}); !disk.IsNoSpace(err) {
		t.Errorf("put on a full disk: %v", err)
	}
	if err := s.Put(t.Context(), "a", [][]byte{make([]byte, 900)}, object.PutOptions{}); err != nil {
		t.Errorf("the failed put left its bytes: %v", err)
	}
}

func TestClosedFiles(t *testing.T) {
	fsys := disk.NewMem()
	s := openFiles(t, fsys)
	w, err := s.Create(t.Context(), "a")
	ok(t, err)
	ok(t, s.Close())
	ok(t, s.Close())
	if err := w.Commit(t.Context()); err == nil {
		t.Error("committed an upload of a closed store")
	}
	if err := s.Put(t.Context(), "b", nil, object.PutOptions{}); !errors.Is(err, object.ErrClosed) {
		t.Errorf("put to a closed store: %v", err)
	}
	entries, err := fsys.ReadDir("store/uploads")
	if err != nil || len(entries) != 1 {
		t.Errorf("a closed store left %v, %v", entries, err)
	}
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	var fail object.OpKind
	var fault error
	mem := newMemory()
	s := object.Faulty(mem, func(_ context.Context, op object.Op) error {
		if op.Kind == fail {
			return fault
		}
		return nil
	})
	ctx := t.Context()
	fail, fault = object.OpPut, boom
	if err := s.Put(ctx, "a", nil, object.PutOptions{}); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := mem.Stat(ctx, "a"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("a failed put took effect: %v", err)
	}
	fault = &object.LostAnswer{Err: boom}
	if err := s.Put(ctx, "a", nil, object.PutOptions{}); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := mem.Stat(ctx, "a"); err != nil {
		t.Errorf("a put with a lost answer took no effect: %v", err)
	}
	fail = object.OpCommit
	w, err := s.Create(ctx, "b")
	ok(t, err)
	if err := w.Commit(ctx); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := mem.Stat(ctx, "b"); err != nil {
		t.Errorf("a commit with a lost answer took no effect: %v", err)
	}
}

// BenchmarkPut is an object of the write-ahead log: made if absent, and durable.
func BenchmarkPut(b *testing.B) {
	s, err := object.OpenFiles(b.Context(), disk.OS(b.TempDir()), "store")
	if err != nil {
		b.Fatal(err)
	}
	body := [][]byte{make([]byte, 256<<10)}
	b.SetBytes(256 << 10)
	i := 0
	for b.Loop() {
		i++
		if err := s.Put(b.Context(), fmt.Sprintf("wal/1/1/%d", i), body, object.PutOptions{IfAbsent: true}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func newMemory() *object.Memory { return object.NewMemory(clock.NewManual(time.Unix(1e9, 0))) }

func openFiles(t *testing.T, fsys disk.FS) *object.Files {
	t.Helper()
	s, err := object.OpenFiles(t.Context(), fsys, "store")
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
