//go:build linux || darwin

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// osFS is the file system of the machine.
type osFS struct{ root string }

// OS returns the machine's file system with all names below root, or, when root is empty, with names as
// they stand (absolute, or relative to the working directory). It does not check that root exists, and
// it does not confine: ".." and symbolic links lead out of root.
func OS(root string) FS { return osFS{root: root} }

func (o osFS) path(name string) string { return filepath.Join(o.root, filepath.FromSlash(name)) }

func (o osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := checkFlag(name, flag); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(o.path(name), flag, perm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, raw: raw, name: name}, nil
}

func (o osFS) Remove(name string) error { return os.Remove(o.path(name)) }

func (o osFS) Rename(oldName, newName string) error {
	return os.Rename(o.path(oldName), o.path(newName))
}

func (o osFS) Link(oldName, newName string) error {
	return os.Link(o.path(oldName), o.path(newName))
}

// MkdirAll creates from the top down and syncs each parent that got a new entry.
func (o osFS) MkdirAll(name string, perm fs.FileMode) error { return mkdirAll(o.path(name), perm) }

func mkdirAll(dir string, perm fs.FileMode) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := mkdirAll(parent, perm); err != nil {
		return err
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osFS{}.SyncDir(parent) // also when somebody else was quicker, who may not have synced yet
}

func (o osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(o.path(name)) }

func (o osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(o.path(name)) }

func (o osFS) SyncDir(name string) (err error) {
	d, err := os.Open(o.path(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

func (o osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	err = retryInterrupted(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		// The holder's number is only for the other side's error message, so it is not synced
		// and a failure to write it (a full disk) does not matter.
		_ = f.Truncate(0)
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w%s", name, ErrLocked, lockHolder(f))
	} else {
		err = &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return nil, errors.Join(err, f.Close())
}

// lockHolder returns " by process N" from the content of a lock file, or nothing.
func lockHolder(f *os.File) string {
	var buf [20]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" by process %d", pid)
}

func (o osFS) Free(name string) (uint64, error) {
	var st unix.Statfs_t
	err := retryInterrupted(func() error { return unix.Statfs(o.path(name), &st) })
	if err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

func (o osFS) ReadFile(name string) ([]byte, error) { return readFile(o, name) }

func (o osFS) WriteFileAtomic(name string, data []byte) error {
	return writeFileAtomic(o, name, data)
}

// osFile adds to os.File what needs the bare descriptor.
type osFile struct {
	*os.File
	raw  rawControl
	name string
}

// rawControl is the part of syscall.RawConn in use: it keeps the descriptor open while the function
// runs, and, unlike its Write, lets several run at once.
type rawControl interface {
	Control(f func(fd uintptr)) error
}

func (f *osFile) Name() string { return f.name }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// control runs a system call on the descriptor, again when a signal interrupted it.
func (f *osFile) control(op string, call func(fd int) error) error {
	var err error
	cerr := f.raw.Control(func(fd uintptr) {
		err = retryInterrupted(func() error { return call(int(fd)) })
	})
	if cerr != nil {
		err = fs.ErrClosed // Control fails for no other reason, but does not say so in a usable way
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.name, Err: err}
	}
	return nil
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// extend makes the file at least size bytes long.
func (f *osFile) extend(size int64) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	return f.Truncate(size)
}
