package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Errors of a Store, to be tested with errors.Is.
var (
	// ErrNotFound: there is no object with this key.
	ErrNotFound = errors.New("object: not found")
	// ErrExists: the object was to be created and there is one already.
	ErrExists = errors.New("object: exists")
	// ErrBadKey: the key breaks the rules of ValidKey, or a part of it before a slash is itself the
	// key of an object (a file system cannot hold "a" and "a/b").
	ErrBadKey = errors.New("object: bad key")
	// ErrClosed: the Store, Reader or Writer was closed.
	ErrClosed = errors.New("object: closed")
)

// Store keeps objects.
type Store interface {
	// Put stores an object whose content is the buffers of body one after the other. Without
	// IfAbsent it replaces an object that is there. The buffers are not changed, and not kept after
	// Put has returned.
	Put(ctx context.Context, key string, body [][]byte, opts PutOptions) error
	// Create begins to upload an object in pieces. Nothing is visible until Commit. The caller must
	// call Commit or Abort. ctx bounds only the begin.
	Create(ctx context.Context, key string) (Writer, error)
	// ReadAt reads len(p) bytes at off, as io.ReaderAt does: fewer only with an error, io.EOF at the
	// end of the object.
	ReadAt(ctx context.Context, key string, p []byte, off int64) (n int, err error)
	// Open returns a handle for many reads of one object. It keeps reading the object that it has
	// opened, even when that is deleted meanwhile (or fails; it never reads another one).
	Open(ctx context.Context, key string) (Reader, error)
	// Stat describes an object.
	Stat(ctx context.Context, key string) (Info, error)
	// List returns up to limit objects whose keys have the prefix and are greater than after, sorted
	// by key, byte by byte. Fewer than limit mean that there are no more. An empty prefix lists
	// everything. Objects that come or go meanwhile may or may not be listed.
	List(ctx context.Context, prefix, after string, limit int) ([]Info, error)
	// Delete removes an object. It is no error when there is none.
	Delete(ctx context.Context, key string) error
}

// PutOptions say how to store. The zero value replaces.
type PutOptions struct {
	IfAbsent bool // only create; ErrExists when the key is taken
}

// Info describes an object.
type Info struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // when it was stored, by the store's clock
}

// Writer uploads one object. It is not safe for concurrent use. After an error only Abort makes sense.
type Writer interface {
	// Write appends p. It does not keep p. Writers do not gather small writes.
	io.Writer
	// Commit makes the object durable and visible, or returns ErrExists when the key was taken, and
	// ends the upload in any case.
	Commit(ctx context.Context) error
	// Abort drops the upload. After Commit or Abort it does nothing, so it may be deferred.
	Abort() error
}

// Reader reads one object.
type Reader interface {
	io.ReaderAt
	io.Closer
	// Size returns the object's length in bytes.
	Size() int64
}

// Bounds of keys.
const (
	maxKeyBytes  = 1024
	maxPartBytes = 200 // file systems allow 255
)

// ValidKey returns an error that matches ErrBadKey unless the key is parts of 1 to 200 bytes joined by
// slashes, at most 1,024 bytes of UTF-8 without control characters or backslashes, and no part is "." or
// "..".
func ValidKey(key string) error {
	if len(key) > maxKeyBytes || !utf8.ValidString(key) {
		return fmt.Errorf("%w: %d bytes or not UTF-8", ErrBadKey, len(key))
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > maxPartBytes {
			return fmt.Errorf("%w: %q", ErrBadKey, key)
		}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return fmt.Errorf("%w: %q", ErrBadKey, key)
	}
	return nil
}
