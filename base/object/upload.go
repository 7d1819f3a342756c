package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"millrace/base/disk"
)

const lockSuffix = ".lock"

// uploads is the folder of one open Files for objects that are not complete.
type uploads struct {
	fs   disk.FS
	dir  string
	lock string // lock file beside dir

	mu     sync.Mutex // guards the rest
	held   io.Closer
	next   int
	closed bool
}

// openUploads makes and locks a folder below root, and removes the folders whose owners are dead. A lock on
// the whole root makes sure that nobody takes a folder for dead that is just being made.
func openUploads(ctx context.Context, fsys disk.FS, root string) (*uploads, error) {
	if err := fsys.MkdirAll(root, dirPerm); err != nil {
		return nil, err
	}
	all, err := waitLock(ctx, fsys, path.Join(root, "all"+lockSuffix))
	if err != nil {
		return nil, err
	}
	u, err := makeUploads(fsys, root)
	return u, errors.Join(err, all.Close())
}

func makeUploads(fsys disk.FS, root string) (*uploads, error) {
	if err := sweepUploads(fsys, root); err != nil {
		return nil, err
	}
	dir := path.Join(root, uuid.NewString())
	u := &uploads{fs: fsys, dir: dir, lock: dir + lockSuffix}
	held, err := fsys.Lock(u.lock)
	if err != nil {
		return nil, err
	}
	u.held = held
	if err := fsys.MkdirAll(dir, dirPerm); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return u, nil
}

// sweepUploads removes the folders that nobody holds.
func sweepUploads(fsys disk.FS, root string) error {
	entries, err := fsys.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := path.Join(root, strings.TrimSuffix(e.Name(), lockSuffix))
		if e.Name() == "all"+lockSuffix {
			continue
		}
		held, err := fsys.Lock(dir + lockSuffix)
		if errors.Is(err, disk.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		err = errors.Join(removeFolder(fsys, dir), fsys.Remove(dir+lockSuffix), held.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

func removeFolder(fsys disk.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fsys.Remove(path.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}

// waitLock takes a lock that others hold only for moments.
func waitLock(ctx context.Context, fsys disk.FS, name string) (io.Closer, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := fsys.Lock(name)
		if !errors.Is(err, disk.ErrLocked) {
			return held, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (u *uploads) newFile() (disk.File, error) {
	u.mu.Lock()
	closed := u.closed
	u.next++
	name := path.Join(u.dir, strconv.Itoa(u.next))
	u.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	return u.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
}

func (u *uploads) close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.closed = true
	return errors.Join(removeFolder(u.fs, u.dir), u.fs.Remove(u.lock), u.held.Close())
}

// upload is the Writer of Files.
type upload struct {
	store *Files
	key   string
	file  disk.File
	size  int64
	ended bool
}

func (u *upload) Write(p []byte) (int, error) {
	if u.ended {
		return 0, ErrClosed
	}
	n, err := u.file.WriteAt(p, u.size)
	u.size += int64(n)
	return n, err
}

func (u *upload) Commit(ctx context.Context) error {
	if err := u.finish(ctx, true); err != nil {
		return fmt.Errorf("create %q: %w", u.key, err)
	}
	return nil
}

// finish syncs the file and gives it its name.
func (u *upload) finish(ctx context.Context, ifAbsent bool) error {
	if u.ended {
		return ErrClosed
	}
	err := ctx.Err()
	if err == nil {
		err = u.file.Datasync()
	}
	if err == nil {
		err = u.publish(ifAbsent)
	}
	return errors.Join(err, u.Abort())
}

// publish links or moves the file to its place and makes the new entry durable. The directory may be
// pruned by a Delete at any moment until something stands in it, hence the loop.
func (u *upload) publish(ifAbsent bool) error {
	fsys, target := u.store.fs, u.store.path(u.key)
	place := fsys.Rename
	if ifAbsent {
		place = fsys.Link
	}
	for {
		err := fsys.MkdirAll(path.Dir(target), dirPerm)
		if err == nil {
			err = place(u.file.Name(), target)
		}
		switch {
		case err == nil:
			err = fsys.SyncDir(path.Dir(target))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted again, with its directory
			}
			return err
		case errors.Is(err, fs.ErrNotExist):
			if _, serr := fsys.Stat(u.file.Name()); serr != nil {
				return serr // it is our file that is gone
			}
		case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
			return fmt.Errorf("%w: part of it is an object", ErrBadKey)
		case errors.Is(err, fs.ErrExist):
			return u.taken(target)
		default:
			return err
		}
	}
}

// taken tells an object in the way from a directory in the way. The object may be this process's own, of a call whose last sync
// failed, or another's that has not synced yet; who is told that it exists may build on it, so it is made durable first.
func (u *upload) taken(target string) error {
	if info, err := u.store.fs.Stat(target); err == nil && info.IsDir() {
		return fmt.Errorf("%w: other keys go on from it", ErrBadKey)
	}
	if err := u.store.fs.SyncDir(path.Dir(target)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ErrExists
}

func (u *upload) Abort() error {
	if u.ended {
		return nil
	}
	u.ended = true
	err := u.store.fs.Remove(u.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it has moved to its place
	}
	return errors.Join(err, u.file.Close())
}
