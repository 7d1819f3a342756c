// Package disktest is the suite that every disk.FS passes.
//
// A test of an implementation calls Run with a function that makes an empty file system. The suite checks
// the contract as far as a running process can see it; what a crash leaves is checked on disk.Mem by its own
// tests.
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"testing"

	"millrace/base/disk"
)

// Run runs the suite; open returns a new, empty file system for each test.
func Run(t *testing.T, open func(t *testing.T) disk.FS) {
	tests := []struct {
		name string
		test func(t *testing.T, fsys disk.FS)
	}{
		{"read and write", testReadWrite},
		{"vectored write", testWritev},
		{"open flags", testOpenFlags},
		{"truncate and allocate", testTruncateAllocate},
		{"directories", testDirectories},
		{"rename", testRename},
		{"link", testLink},
		{"link race", testLinkRace},
		{"removed while open", testRemovedWhileOpen},
		{"lock", testLock},
		{"atomic write", testWriteFileAtomic},
		{"missing names", testMissing},
		{"closed file", testClosed},
		{"free space", testFree},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

func testReadWrite(t *testing.T, fsys disk.FS) {
	f := create(t, fsys, "a")
	n, err := f.WriteAt([]byte("hello"), 3)
	check(t, err)
	equal(t, n, 5)
	size, err := f.Size()
	check(t, err)
	equal(t, size, 8)
	equal(t, f.Name(), "a")
	buf := make([]byte, 8)
	n, err = f.ReadAt(buf, 0)
	check(t, err)
	equal(t, string(buf[:n]), "\x00\x00\x00hello")
	n, err = f.ReadAt(buf, 6)
	equal(t, n, 2)
	is(t, err, io.EOF)
	n, err = f.ReadAt(buf, 100)
	equal(t, n, 0)
	is(t, err, io.EOF)
	check(t, f.Datasync())
	check(t, f.Sync())
	data, err := fsys.ReadFile("a")
	check(t, err)
	equal(t, string(data), "\x00\x00\x00hello")
	if _, err := f.WriteAt([]byte("x"), -1); err == nil {
		t.Error("write at a negative offset succeeded")
	}
}

func testWritev(t *testing.T, fsys disk.FS) {
	f := create(t, fsys, "a")
	var bufs [][]byte
	var want []byte
	for i := range 3000 { // more than a kernel takes at once
		b := bytes.Repeat([]byte{byte(i)}, i%5)
		bufs = append(bufs, b)
		want = append(want, b...)
	}
	n, err := f.WritevAt(bufs, 7)
	check(t, err)
	equal(t, n, len(want))
	equal(t, len(bufs[4]), 4)
	got, err := fsys.ReadFile("a")
	check(t, err)
	if !bytes.Equal(got[7:], want) {
		t.Error("the file differs from the buffers")
	}
	n, err = f.WritevAt(nil, 0)
	check(t, err)
	equal(t, n, 0)
	for _, part := range [][][]byte{bufs, bufs[:20], nil} { // in one call, in several, in none
		check(t, f.WritevSync(part, int64(7+len(want))))
	}
	got, err = fsys.ReadFile("a")
	check(t, err)
	if !bytes.Equal(got[7:], append(want, want...)) {
		t.Error("the synced write differs from the buffers")
	}
}

func testOpenFlags(t *testing.T, fsys disk.FS) {
	write(t, fsys, "a", "content")
	_, err := fsys.OpenFile("a", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	is(t, err, fs.ErrExist)
	_, err = fsys.OpenFile("a", os.O_WRONLY|os.O_APPEND, 0)
	is(t, err, fs.ErrInvalid)
	r, err := fsys.OpenFile("a", os.O_RDONLY, 0)
	check(t, err)
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file that is open for reading took a write")
	}
	check(t, r.Close())
	w, err := fsys.OpenFile("a", os.O_WRONLY|os.O_TRUNC, 0)
	check(t, err)
	size, err := w.Size()
	check(t, err)
	equal(t, size, 0)
	if _, err := w.ReadAt(make([]byte, 1), 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading a file that is open for writing: %v", err)
	}
	check(t, w.Close())
	check(t, fsys.MkdirAll("d", 0o700))
	if _, err := fsys.OpenFile("d", os.O_RDWR, 0); err == nil {
		t.Error("a directory was opened for writing")
	}
}

func testTruncateAllocate(t *testing.T, fsys disk.FS) {
	f := create(t, fsys, "a")
	_, err := f.WriteAt([]byte("abcdef"), 0)
	check(t, err)
	check(t, f.Truncate(3))
	check(t, f.Truncate(5))
	content(t, fsys, "a", "abc\x00\x00")
	check(t, f.Allocate(0, 4))
	content(t, fsys, "a", "abc\x00\x00")
	check(t, f.Allocate(4, 4))
	content(t, fsys, "a", "abc\x00\x00\x00\x00\x00")
}

func testDirectories(t *testing.T, fsys disk.FS) {
	check(t, fsys.MkdirAll("x/y/z", 0o700))
	check(t, fsys.MkdirAll("x/y", 0o700))
	write(t, fsys, "x/b", "22")
	write(t, fsys, "x/a", "1")
	entries, err := fsys.ReadDir("x")
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, fmt.Sprint(e.Name(), e.IsDir()))
	}
	equal(t, fmt.Sprint(names), "[afalse bfalse ytrue]")
	info, err := entries[1].Info()
	check(t, err)
	equal(t, info.Size(), 2)
	info, err = fsys.Stat("x/y")
	check(t, err)
	equal(t, info.IsDir(), true)
	check(t, fsys.SyncDir("x"))
	if err := fsys.Remove("x"); err == nil {
		t.Error("a directory that is not empty was removed")
	}
	check(t, fsys.Remove("x/y/z"))
	check(t, fsys.Remove("x/y"))
	is(t, fsys.MkdirAll("x/a/d", 0o700), syscall.ENOTDIR)
	is(t, fsys.MkdirAll("x/a", 0o700), syscall.ENOTDIR)
}

func testRename(t *testing.T, fsys disk.FS) {
	check(t, fsys.MkdirAll("d/e", 0o700))
	write(t, fsys, "a", "new")
	write(t, fsys, "d/b", "old")
	check(t, fsys.Rename("a", "d/b"))
	content(t, fsys, "d/b", "new")
	missing(t, fsys, "a")
	check(t, fsys.Rename("d/b", "d/b"))
	check(t, fsys.Rename("d", "f"))
	content(t, fsys, "f/b", "new")
	if err := fsys.Rename("f", "f/e/g"); err == nil {
		t.Error("a directory was moved below itself")
	}
	if err := fsys.Rename("f/b", "f/e"); err == nil {
		t.Error("a file replaced a directory")
	}
	is(t, fsys.Rename("none", "f/b"), fs.ErrNotExist)
}

func testLink(t *testing.T, fsys disk.FS) {
	write(t, fsys, "a", "1")
	check(t, fsys.Link("a", "b"))
	is(t, fsys.Link("a", "b"), fs.ErrExist)
	is(t, fsys.Link("none", "c"), fs.ErrNotExist)
	write(t, fsys, "a", "22")
	content(t, fsys, "b", "22")
	check(t, fsys.Remove("a"))
	content(t, fsys, "b", "22")
}

func testLinkRace(t *testing.T, fsys disk.FS) {
	const writers = 16
	won := make([]bool, writers)
	var wg sync.WaitGroup
	for i := range writers {
		write(t, fsys, fmt.Sprint("from", i), fmt.Sprint(i))
		wg.Go(func() {
			err := fsys.Link(fmt.Sprint("from", i), "to")
			won[i] = err == nil
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	winners := 0
	for i, w := range won {
		if w {
			winners++
			content(t, fsys, "to", fmt.Sprint(i))
		}
	}
	equal(t, winners, 1)
}

func testRemovedWhileOpen(t *testing.T, fsys disk.FS) {
	f := create(t, fsys, "a")
	check(t, fsys.Remove("a"))
	_, err := f.WriteAt([]byte("still here"), 0)
	check(t, err)
	buf := make([]byte, 10)
	_, err = f.ReadAt(buf, 0)
	check(t, err)
	equal(t, string(buf), "still here")
	missing(t, fsys, "a")
}

func testLock(t *testing.T, fsys disk.FS) {
	held, err := fsys.Lock("lock")
	check(t, err)
	_, err = fsys.Lock("lock")
	is(t, err, disk.ErrLocked)
	if want := fmt.Sprint("process ", os.Getpid()); err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
		t.Errorf("%v does not name the holder", err)
	}
	check(t, held.Close())
	is(t, held.Close(), fs.ErrClosed)
	held, err = fsys.Lock("lock")
	check(t, err)
	check(t, held.Close())
}

func testWriteFileAtomic(t *testing.T, fsys disk.FS) {
	check(t, fsys.MkdirAll("d", 0o700))
	for _, want := range []string{"first", "", "third"} {
		check(t, fsys.WriteFileAtomic("d/a", []byte(want)))
		content(t, fsys, "d/a", want)
	}
	entries, err := fsys.ReadDir("d")
	check(t, err)
	equal(t, len(entries), 1)
}

func testMissing(t *testing.T, fsys disk.FS) {
	_, err := fsys.OpenFile("none", os.O_RDWR, 0)
	is(t, err, fs.ErrNotExist)
	_, err = fsys.OpenFile("none/a", os.O_RDWR|os.O_CREATE, 0o600)
	is(t, err, fs.ErrNotExist)
	_, err = fsys.ReadDir("none")
	is(t, err, fs.ErrNotExist)
	is(t, fsys.SyncDir("none"), fs.ErrNotExist)
	is(t, fsys.Remove("none"), fs.ErrNotExist)
	_, err = fsys.ReadFile("none")
	is(t, err, fs.ErrNotExist)
	missing(t, fsys, "none")
}

func testClosed(t *testing.T, fsys disk.FS) {
	f, err := fsys.OpenFile("a", os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	check(t, f.Close())
	is(t, f.Close(), fs.ErrClosed)
	_, err = f.WriteAt([]byte("x"), 0)
	is(t, err, fs.ErrClosed)
	_, err = f.WritevAt([][]byte{{1}}, 0)
	is(t, err, fs.ErrClosed)
	is(t, f.Datasync(), fs.ErrClosed)
}

func testFree(t *testing.T, fsys disk.FS) {
	free, err := fsys.Free(".")
	check(t, err)
	if free == 0 {
		t.Error("no free space")
	}
	_, err = fsys.Free("none")
	is(t, err, fs.ErrNotExist)
}

func create(t *testing.T, fsys disk.FS, name string) disk.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	check(t, err)
	t.Cleanup(func() { check(t, f.Close()) })
	return f
}

func write(t *testing.T, fsys disk.FS, name, data string) {
	t.Helper()
	f, err := fsys.OpenFile(path.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	check(t, err)
	_, err = f.WriteAt([]byte(data), 0)
	check(t, err)
	check(t, f.Close())
}

func content(t *testing.T, fsys disk.FS, name, want string) {
	t.Helper()
	got, err := fsys.ReadFile(name)
	check(t, err)
	equal(t, string(got), want)
}

func missing(t *testing.T, fsys disk.FS, name string) {
	t.Helper()
	_, err := fsys.Stat(name)
	is(t, err, fs.ErrNotExist)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
