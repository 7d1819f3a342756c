package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"millrace/base/disk"
)

// Files is a Store on a file system. Several processes may have the same directory open. Make one with
// OpenFiles.
//
// Below the directory, objects/ holds a file per object at the path of its key, and uploads/ a folder per
// open Files, for objects that are not complete, next to the lock file that tells whether its owner lives.
type Files struct {
	fs      disk.FS
	objects string // directory
	uploads *uploads
}

// OpenFiles opens or creates the store in dir, and removes what crashed uploads have left.
func OpenFiles(ctx context.Context, fsys disk.FS, dir string) (*Files, error) {
	f := &Files{fs: fsys, objects: path.Join(dir, "objects")}
	if err := fsys.MkdirAll(f.objects, dirPerm); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	up, err := openUploads(ctx, fsys, path.Join(dir, "uploads"))
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	f.uploads = up
	return f, nil
}

const (
	dirPerm  fs.FileMode = 0o700
	filePerm fs.FileMode = 0o600
)

// Close drops uploads that were not committed. Readers stay usable. Later creations fail with ErrClosed.
func (f *Files) Close() error { return f.uploads.close() }

// Put implements Store.
func (f *Files) Put(ctx context.Context, key string, body [][]byte, opts PutOptions) error {
	err := f.put(ctx, key, body, opts)
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (f *Files) put(ctx context.Context, key string, body [][]byte, opts PutOptions) error {
	up, err := f.begin(ctx, key)
	if err != nil {
		return err
	}
	if _, err := up.file.WritevAt(body, 0); err != nil {
		return errors.Join(err, up.Abort())
	}
	return up.finish(ctx, opts.IfAbsent)
}

// Create implements Store.
func (f *Files) Create(ctx context.Context, key string) (Writer, error) {
	up, err := f.begin(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", key, err)
	}
	return up, nil
}

func (f *Files) begin(ctx context.Context, key string) (*upload, error) {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	file, err := f.uploads.newFile()
	if err != nil {
		return nil, err
	}
	return &upload{store: f, key: key, file: file}, nil
}

// ReadAt implements Store.
func (f *Files) ReadAt(ctx context.Context, key string, p []byte, off int64) (n int, err error) {
	r, err := f.Open(ctx, key)
	if err != nil {
		return 0, err
	}
	n, err = r.ReadAt(p, off)
	if cerr := r.Close(); cerr != nil {
		return n, cerr
	}
	return n, err
}

// Open implements Store. The Reader holds a file descriptor.
func (f *Files) Open(ctx context.Context, key string) (Reader, error) {
	r, err := f.open(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return r, nil
}

func (f *Files) open(ctx context.Context, key string) (*fileReader, error) {
	if _, err := f.stat(ctx, key); err != nil { // a directory opens too, and must not be an object
		return nil, err
	}
	file, err := f.fs.OpenFile(f.path(key), os.O_RDONLY, 0)
	if err != nil {
		return nil, notFound(err)
	}
	size, err := file.Size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &fileReader{File: file, size: size}, nil
}

// fileReader keeps the size: an object does not change.
type fileReader struct {
	disk.File
	size int64
}

func (r *fileReader) Size() int64 { return r.size }

// Stat implements Store.
func (f *Files) Stat(ctx context.Context, key string) (Info, error) {
	info, err := f.stat(ctx, key)
	if err != nil {
		return Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return info, nil
}

func (f *Files) stat(ctx context.Context, key string) (Info, error) {
	if err := errors.Join(ValidKey(key), ctx.Err()); err != nil {
		return Info{}, err
	}
	info, err := f.fs.Stat(f.path(key))
	if err != nil {
		return Info{}, notFound(err)
	}
	if info.IsDir() {
		return Info{}, ErrNotFound
	}
	return Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// Delete implements Store. Directories that it leaves empty are removed.
func (f *Files) Delete(ctx context.Context, key string) error {
	_, err := f.stat(ctx, key)
	if err == nil {
		err = notFound(f.fs.Remove(f.path(key)))
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("delete %q: %w", key, err)
	}
	if err := f.pruneAbove(key); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// pruneAbove removes the directories that a removed object leaves empty, and makes the last change durable.
func (f *Files) pruneAbove(key string) error {
	dir := path.Dir(f.path(key))
	for dir != f.objects && f.fs.Remove(dir) == nil { // fails when somebody else uses it
		dir = path.Dir(dir)
	}
	err := f.fs.SyncDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else removes the rest
	}
	return err
}

// List implements Store.
func (f *Files) List(ctx context.Context, prefix, after string, limit int) ([]Info, error) {
	l := lister{f: f, ctx: ctx, prefix: prefix, after: after, limit: limit}
	if err := l.walk(""); err != nil && !errors.Is(err, errFull) {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	return l.found, nil
}

// errFull ends a walk that has found enough.
var errFull = errors.New("list is full")

// lister walks the tree in the order of keys and leaves out directories that cannot hold a result.
type lister struct {
	f             *Files
	ctx           context.Context
	prefix, after string
	limit         int
	found         []Info
}

// walk visits the directory whose keys begin with dir, which is empty or ends with a slash.
func (l *lister) walk(dir string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := l.f.fs.ReadDir(path.Join(l.f.objects, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // pruned meanwhile
	}
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortName(a), sortName(b)) })
	for _, e := range entries {
		key := dir + sortName(e)
		switch {
		case !strings.HasPrefix(key, l.prefix) && !(e.IsDir() && strings.HasPrefix(l.prefix, key)):
		case e.IsDir() && (key > l.after || strings.HasPrefix(l.after, key)):
			err = l.walk(key)
		case !e.IsDir() && key > l.after:
			err = l.add(key, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) add(key string, e fs.DirEntry) error {
	if len(l.found) >= l.limit {
		return errFull
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	l.found = append(l.found, Info{Key: key, Size: info.Size(), ModTime: info.ModTime()})
	return nil
}

// sortName puts a directory where its keys belong: "a-b" sorts before the keys of directory "a".
func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (f *Files) path(key string) string { return path.Join(f.objects, key) }

// notFound turns a file system's ways to say so into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ErrNotFound
	}
	return err
}
