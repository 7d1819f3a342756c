package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// OpKind names an operation of FS or File.
type OpKind int

// The operations that Faulty shows to its hook. Size and Name pass unseen; ReadFile and WriteFileAtomic
// show the operations that they are made of.
const (
	OpOpen OpKind = iota + 1
	OpRemove
	OpRename
	OpLink
	OpMkdir
	OpReadDir
	OpStat
	OpSyncDir
	OpLock
	OpFree
	OpRead
	OpWrite // WriteAt and WritevAt
	OpDatasync
	OpSync
	OpTruncate
	OpAllocate
	OpClose
)

var opNames = [...]string{
	OpOpen: "open", OpRemove: "remove", OpRename: "rename", OpLink: "link", OpMkdir: "mkdir",
	OpReadDir: "readdir", OpStat: "stat", OpSyncDir: "syncdir", OpLock: "lock", OpFree: "free",
	OpRead: "read", OpWrite: "write", OpDatasync: "datasync", OpSync: "sync", OpTruncate: "truncate",
	OpAllocate: "allocate", OpClose: "close",
}

// String returns the operation's name in lower case.
func (k OpKind) String() string {
	if k > 0 && int(k) < len(opNames) {
		return opNames[k]
	}
	return fmt.Sprintf("op(%d)", int(k))
}

// Op is an operation that is about to happen.
type Op struct {
	Kind    OpKind
	Name    string // as the caller gave it; the old name of a rename or link
	NewName string // of a rename or link
	Off     int64  // of a read, write, truncate (the size) or allocate
	Len     int    // bytes of a read, write or allocate
}

// ShortWrite as the error of a hook lets a write put down its first N bytes before it fails with Err.
type ShortWrite struct {
	N   int
	Err error
}

// Error returns the bytes written and Err's text.
func (s *ShortWrite) Error() string { return fmt.Sprintf("after %d bytes: %v", s.N, s.Err) }

// Unwrap returns Err.
func (s *ShortWrite) Unwrap() error { return s.Err }

// Faulty returns an FS that asks hook before each operation and fails it with the hook's error instead of
// doing it (see ShortWrite for the exception; a failed close still closes). Hook is called from many
// goroutines at once; it may block, to hold an operation up.
func Faulty(fsys FS, hook func(Op) error) FS { return faultyFS{fsys, hook} }

type faultyFS struct {
	fs   FS
	hook func(Op) error
}

func (f faultyFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := f.hook(Op{Kind: OpOpen, Name: name}); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, hook: f.hook}, nil
}

func (f faultyFS) Remove(name string) error {
	if err := f.hook(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

func (f faultyFS) Rename(oldName, newName string) error {
	if err := f.hook(Op{Kind: OpRename, Name: oldName, NewName: newName}); err != nil {
		return err
	}
	return f.fs.Rename(oldName, newName)
}

func (f faultyFS) Link(oldName, newName string) error {
	if err := f.hook(Op{Kind: OpLink, Name: oldName, NewName: newName}); err != nil {
		return err
	}
	return f.fs.Link(oldName, newName)
}

func (f faultyFS) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.hook(Op{Kind: OpMkdir, Name: name}); err != nil {
		return err
	}
	return f.fs.MkdirAll(name, perm)
}

func (f faultyFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.hook(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	return f.fs.ReadDir(name)
}

func (f faultyFS) Stat(name string) (fs.FileInfo, error) {
	if err := f.hook(Op{Kind: OpStat, Name: name}); err != nil {
		return nil, err
	}
	return f.fs.Stat(name)
}

func (f faultyFS) SyncDir(name string) error {
	if err := f.hook(Op{Kind: OpSyncDir, Name: name}); err != nil {
		return err
	}
	return f.fs.SyncDir(name)
}

func (f faultyFS) Lock(name string) (io.Closer, error) {
	if err := f.hook(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	return f.fs.Lock(name)
}

func (f faultyFS) Free(name string) (uint64, error) {
	if err := f.hook(Op{Kind: OpFree, Name: name}); err != nil {
		return 0, err
	}
	return f.fs.Free(name)
}

func (f faultyFS) ReadFile(name string) ([]byte, error) { return readFile(f, name) }

func (f faultyFS) WriteFileAtomic(name string, data []byte) error {
	return writeFileAtomic(f, name, data)
}

// faultyFile passes Size and Name through.
type faultyFile struct {
	File
	hook func(Op) error
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.hook(Op{Kind: OpRead, Name: f.Name(), Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WritevAt([][]byte{p}, off)
}

// WritevSync asks the hook for the write and for the sync.
func (f *faultyFile) WritevSync(bufs [][]byte, off int64) error { return writevSync(f, bufs, off) }

func (f *faultyFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	fault := f.hook(Op{Kind: OpWrite, Name: f.Name(), Off: off, Len: total})
	if fault == nil {
		return f.File.WritevAt(bufs, off)
	}
	var short *ShortWrite
	if !errors.As(fault, &short) {
		return 0, fault
	}
	n, err := f.File.WritevAt(firstBytes(bufs, short.N), off)
	return n, errors.Join(fault, err)
}

func (f *faultyFile) Datasync() error {
	if err := f.hook(Op{Kind: OpDatasync, Name: f.Name()}); err != nil {
		return err
	}
	return f.File.Datasync()
}

func (f *faultyFile) Sync() error {
	if err := f.hook(Op{Kind: OpSync, Name: f.Name()}); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.hook(Op{Kind: OpTruncate, Name: f.Name(), Off: size}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Allocate(off, length int64) error {
	if err := f.hook(Op{Kind: OpAllocate, Name: f.Name(), Off: off, Len: int(length)}); err != nil {
		return err
	}
	return f.File.Allocate(off, length)
}

func (f *faultyFile) Close() error {
	fault := f.hook(Op{Kind: OpClose, Name: f.Name()})
	return errors.Join(fault, f.File.Close())
}

// firstBytes returns buffers with the first n bytes of bufs.
func firstBytes(bufs [][]byte, n int) [][]byte {
	var first [][]byte
	for _, b := range bufs {
		b = b[:min(n, len(b))]
		n -= len(b)
		first = append(first, b)
	}
	return first
}
