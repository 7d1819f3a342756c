package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"millrace/base/disk"
	"millrace/base/disk/disktest"
)

func TestOS(t *testing.T) {
	disktest.Run(t, func(t *testing.T) disk.FS { return disk.OS(t.TempDir()) })
}

func TestMem(t *testing.T) {
	disktest.Run(t, func(*testing.T) disk.FS { return disk.NewMem() })
}

func TestFaultyWithoutFaults(t *testing.T) {
	disktest.Run(t, func(*testing.T) disk.FS {
		return disk.Faulty(disk.NewMem(), func(disk.Op) error { return nil })
	})
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	var fail disk.OpKind
	var fault error
	mem := disk.NewMem()
	fsys := disk.Faulty(mem, func(op disk.Op) error {
		if op.Kind == fail {
			return fault
		}
		return nil
	})
	f, err := fsys.OpenFile("a", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	fail, fault = disk.OpWrite, &disk.ShortWrite{N: 4, Err: syscall.ENOSPC}
	n, err := f.WritevAt([][]byte{[]byte("abc"), []byte("def")}, 0)
	if n != 4 || !disk.IsNoSpace(err) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if data, _ := mem.ReadFile("a"); string(data) != "abcd" {
		t.Errorf("short write left %q", data)
	}
	fault = boom
	if n, err := f.WriteAt([]byte("x"), 0); n != 0 || !errors.Is(err, boom) {
		t.Errorf("failed write: %d, %v", n, err)
	}
	for _, kind := range []disk.OpKind{disk.OpOpen, disk.OpWrite, disk.OpSync, disk.OpRename, disk.OpSyncDir} {
		fail = kind
		if err := fsys.WriteFileAtomic("b", []byte("x")); !errors.Is(err, boom) {
			t.Errorf("write with failing %s: %v", kind, err)
		}
		if _, err := mem.Stat("b.tmp"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("write with failing %s left its temporary file: %v", kind, err)
		}
	}
}

func TestCapacity(t *testing.T) {
	m := disk.NewMem()
	m.SetCapacity(10)
	put := func(name, data string) (int, error) {
		f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.WriteAt([]byte(data), 0)
	}
	if _, err := put("a", "123456"); err != nil {
		t.Fatal(err)
	}
	n, err := put("b", "123456")
	if n != 4 || !disk.IsNoSpace(err) {
		t.Errorf("write beyond capacity: %d, %v", n, err)
	}
	if n, err := put("c", "x"); n != 0 || !disk.IsNoSpace(err) {
		t.Errorf("write to a full disk: %d, %v", n, err)
	}
	if _, err := put("a", "654321"); err != nil {
		t.Errorf("overwriting needs no space: %v", err)
	}
	held, err := m.OpenFile("a", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if used := m.Used(); used != 10 {
		t.Errorf("%d bytes used while the removed file is open, want 10", used)
	}
	held.Close()
	free, err := m.Free("/")
	if err != nil || free != 6 || m.Used() != 4 {
		t.Errorf("after the remove: %d free, %d used, %v", free, m.Used(), err)
	}
}

// TestCrash writes a file part by part, syncing some, and checks over many crashes that what was synced is
// always there, and that both outcomes occur for what was not.
func TestCrash(t *testing.T) {
	m := disk.NewMem()
	sector := func(b byte) []byte { return slices.Repeat([]byte{b}, 512) }
	f := open(t, m, "a")
	write(t, f, sector('1'), 0)
	write(t, f, sector('2'), 512)
	ok(t, f.Datasync())
	ok(t, m.SyncDir("."))
	write(t, f, sector('x'), 512)  // overwrites a synced sector
	write(t, f, sector('y'), 1024) // extends
	open(t, m, "new")              // not in a synced directory
	open(t, m, "gone")
	ok(t, m.SyncDir("."))
	ok(t, m.Remove("gone"))

	seen := make(map[string]int)
	for seed := range uint64(200) {
		c := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		data, err := c.ReadFile("a")
		ok(t, err)
		if len(data) < 1024 || string(data[:512]) != string(sector('1')) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
		seen[fmt.Sprintf("sector 2 is %c", data[512])]++
		seen[fmt.Sprintf("size %d", len(data)/512)]++
		if len(data) >= 1536 {
			seen[fmt.Sprintf("sector 3 is %q", data[1024])]++
		}
		if _, err := c.Stat("new"); err != nil {
			t.Fatalf("seed %d: synced entry is lost: %v", seed, err)
		}
		_, err = c.Stat("gone")
		seen[fmt.Sprint("gone is gone ", err != nil)]++
		again, err := m.CrashClone(rand.New(rand.NewPCG(seed, 1))).ReadFile("a")
		ok(t, err)
		if string(again) != string(data) {
			t.Fatalf("seed %d gives two different clones", seed)
		}
	}
	for _, want := range []string{
		"sector 2 is 2", "sector 2 is x", "size 2", "size 3", `sector 3 is 'y'`, `sector 3 is '\x00'`,
		"gone is gone true", "gone is gone false",
	} {
		if seen[want] == 0 {
			t.Errorf("never seen: %s (%v)", want, seen)
		}
	}
}

func TestCrashAfterTruncate(t *testing.T) {
	m := disk.NewMem()
	f := open(t, m, "a")
	write(t, f, slices.Repeat([]byte{'a'}, 2000), 0)
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	ok(t, f.Truncate(700))
	write(t, f, slices.Repeat([]byte{'b'}, 100), 600)
	for seed := range uint64(100) {
		data, err := m.CrashClone(rand.New(rand.NewPCG(seed, 1))).ReadFile("a")
		ok(t, err)
		for i, b := range data {
			if b != 'a' && (b != 'b' || i < 600 || i >= 700) && (b != 0 || i < 700) {
				t.Fatalf("seed %d: byte %d of %d is %q", seed, i, len(data), b)
			}
		}
	}
}

// TestCrashRename checks that a rename is never half done and that entries of one directory survive in the
// order of their changes.
func TestCrashRename(t *testing.T) {
	m := disk.NewMem()
	ok(t, m.MkdirAll("d", 0o700))
	open(t, m, "a")
	ok(t, m.SyncDir("."))
	ok(t, m.Rename("a", "d/b"))
	open(t, m, "d/later")
	moved, stayed := 0, 0
	for seed := range uint64(100) {
		c := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		_, errA := c.Stat("a")
		_, errB := c.Stat("d/b")
		_, errLater := c.Stat("d/later")
		if (errA == nil) == (errB == nil) {
			t.Fatalf("seed %d: old name: %v, new name: %v", seed, errA, errB)
		}
		if errB != nil && errLater == nil {
			t.Fatalf("seed %d: a later entry survived an earlier one", seed)
		}
		if errB == nil {
			moved++
		} else {
			stayed++
		}
	}
	if moved == 0 || stayed == 0 {
		t.Errorf("moved %d, stayed %d", moved, stayed)
	}
	ok(t, m.SyncDir("d")) // makes the whole rename durable, in the other directory too
	c := m.CrashClone(rand.New(rand.NewPCG(1, 1)))
	if _, err := c.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("old name after sync: %v", err)
	}
}

// TestCrashDurableCalls checks D3 at every crash.
func TestCrashDurableCalls(t *testing.T) {
	m := disk.NewMem()
	ok(t, m.MkdirAll("x/y", 0o700))
	ok(t, m.WriteFileAtomic("x/y/f", []byte("old")))
	// The file system as it is before each step of the second write.
	var states []*disk.Mem
	rng := rand.New(rand.NewPCG(1, 1))
	fsys := disk.Faulty(m, func(disk.Op) error {
		for range 20 {
			states = append(states, m.CrashClone(rng))
		}
		return nil
	})
	ok(t, fsys.WriteFileAtomic("x/y/f", []byte("newer")))
	for i, c := range states {
		data, err := c.ReadFile("x/y/f")
		if err != nil || string(data) != "old" && string(data) != "newer" {
			t.Fatalf("state %d: %q, %v", i, data, err)
		}
	}
	for range 20 {
		data, err := m.CrashClone(rng).ReadFile("x/y/f")
		if err != nil || string(data) != "newer" {
			t.Fatalf("after the write: %q, %v", data, err)
		}
	}
}

func TestCrashCloneKeepsLinksAndCapacity(t *testing.T) {
	m := disk.NewMem()
	m.SetCapacity(100)
	write(t, open(t, m, "a"), []byte("12345"), 0)
	ok(t, m.Link("a", "b"))
	ok(t, m.SyncDir("."))
	c := m.CrashClone(rand.New(rand.NewPCG(3, 1)))
	data, err := c.ReadFile("a")
	ok(t, err)
	if c.Used() != int64(len(data)) {
		t.Errorf("%d bytes used by one file of %d with two names", c.Used(), len(data))
	}
	write(t, open(t, c, "a"), []byte("xyz"), 0)
	if data, err := c.ReadFile("b"); err != nil || string(data[:3]) != "xyz" {
		t.Errorf("the link is no link any more: %q, %v", data, err)
	}
	if free, _ := c.Free("a"); free != uint64(100-c.Used()) {
		t.Errorf("%d free", free)
	}
}

func BenchmarkWritevAtDatasync(b *testing.B) {
	fsys := disk.OS(b.TempDir())
	f, err := fsys.OpenFile("a", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	bufs := [][]byte{make([]byte, 100), make([]byte, 16<<10), make([]byte, 48<<10)}
	b.SetBytes(64<<10 + 100)
	b.ReportAllocs()
	var off int64
	for b.Loop() {
		n, err := f.WritevAt(bufs, off)
		if err == nil {
			err = f.Datasync()
		}
		if err != nil {
			b.Fatal(err)
		}
		off += int64(n)
	}
}

func open(t *testing.T, fsys disk.FS, name string) disk.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	ok(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f disk.File, data []byte, off int64) {
	t.Helper()
	_, err := f.WriteAt(data, off)
	ok(t, err)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
