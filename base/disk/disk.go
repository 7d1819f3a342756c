package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// ErrLocked is returned by Lock when somebody else holds the lock. The error's text names the process
// that holds it when that is known.
var ErrLocked = errors.New("disk: locked")

// FS is a file system. Errors match fs.ErrNotExist, fs.ErrExist and ErrLocked by errors.Is, and a full
// disk is recognised by IsNoSpace.
type FS interface {
	// OpenFile opens or creates a file with the flags of package os. O_APPEND is not allowed: all
	// writes name their offset.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Rename moves a file or directory and replaces a file that has the new name.
	Rename(oldName, newName string) error
	// Link gives a file a second name; fs.ErrExist when that name is taken. Of concurrent links to
	// one name exactly one succeeds.
	Link(oldName, newName string) error
	// MkdirAll creates a directory and its missing parents, and makes them durable (D3);
	// syscall.ENOTDIR when one of them is a file.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a directory sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the entries of a directory durable (D2).
	SyncDir(name string) error
	// Lock creates the file if need be and takes an exclusive lock on it without waiting, or returns
	// ErrLocked. It excludes other holders in this process too. Close releases; the file stays.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes an unprivileged process may still write on the volume of name.
	Free(name string) (availableBytes uint64, err error)
	// ReadFile returns the whole of a file. The bytes are the caller's.
	ReadFile(name string) ([]byte, error)
	// WriteFileAtomic replaces a file's content durably: after a crash the file holds all of the old
	// or all of the new content. It writes name+".tmp" on the way, so two writers of one name must
	// not run at the same time.
	WriteFileAtomic(name string, data []byte) error
}

// File is an open file. Closing it does not sync it.
type File interface {
	io.Closer
	io.ReaderAt
	io.WriterAt
	// WritevAt writes the buffers one after the other at off, with as few system calls as the
	// system allows (one per 1,024 buffers on Linux). It does not change bufs or keep them. It
	// returns the bytes written, less than the sum only with an error.
	WritevAt(bufs [][]byte, off int64) (int, error)
	// WritevSync is WritevAt and then Datasync, as one step where the system has it: with a nil error
	// the bytes are durable. After an error any part of them may be written, and any part durable.
	WritevSync(bufs [][]byte, off int64) error
	// Datasync makes the file's bytes and size durable, but not its times. See D1 and D5.
	Datasync() error
	// Sync makes the file's bytes and all of its metadata durable.
	Sync() error
	// Truncate cuts the file or extends it with zeros.
	Truncate(size int64) error
	// Allocate reserves space for a range and extends the file with zeros to the range's end if it
	// was shorter. Where the file system cannot reserve, it only extends.
	Allocate(off, length int64) error
	// Size returns the file's length in bytes.
	Size() (int64, error)
	// Name returns the name that the file was opened by.
	Name() string
}

// IsNoSpace reports whether err says that the volume, or the owner's share of it, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

const (
	dirPerm  fs.FileMode = 0o700
	filePerm fs.FileMode = 0o600
)

// readFile is FS.ReadFile in terms of the other methods.
func readFile(fsys FS, name string) (data []byte, err error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data = make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}

// writeFileAtomic is FS.WriteFileAtomic in terms of the other methods.
func writeFileAtomic(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeSynced(fsys, tmp, data); err != nil {
		return errors.Join(err, removeIfThere(fsys, tmp))
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return errors.Join(err, removeIfThere(fsys, tmp))
	}
	return fsys.SyncDir(path.Dir(name))
}

func writeSynced(fsys FS, name string, data []byte) (err error) {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writevSync is WritevSync in terms of the other methods.
func writevSync(f File, bufs [][]byte, off int64) error {
	if _, err := f.WritevAt(bufs, off); err != nil {
		return err
	}
	return f.Datasync()
}

// writevLoop is WritevAt by one WriteAt per buffer, for files that have nothing better.
func writevLoop(f io.WriterAt, bufs [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func checkFlag(name string, flag int) error {
	if flag&os.O_APPEND != 0 {
		return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("O_APPEND: %w", fs.ErrInvalid)}
	}
	return nil
}
