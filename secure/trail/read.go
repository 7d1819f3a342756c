package trail

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"millrace/base/disk"
)

// Entry is one line of a trail.
type Entry struct {
	Writer string `json:"writer"`
	N      uint64 `json:"n"`
	Hash   Hash   `json:"hash"`
	Event

	Raw []byte `json:"-"` // the line as it stands in the file, without its break; the caller's
}

// Filter says which entries are wanted. A zero field wants all.
type Filter struct {
	Since     time.Time // this time and later
	Until     time.Time // before this time
	Kinds     []Kind
	Outcome   Outcome
	Writer    string
	Principal string // with or without "User:"
	Action    string // whole, or a prefix that ends with "*"
	Resource  string // likewise
	From      string // address
	// After are lines by writer up to which, that one included, nothing is wanted: files that hold nothing else are not opened.
	After map[string]uint64
}

func (f *Filter) wants(e *Entry) bool {
	switch {
	case e.N <= f.After[e.Writer],
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && !e.Time.Before(f.Until),
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind),
		f.Outcome != "" && e.Outcome != f.Outcome,
		f.Writer != "" && e.Writer != f.Writer,
		f.Principal != "" && e.Principal != f.Principal && e.Principal != "User:"+f.Principal,
		!like(f.Action, e.Action), !like(f.Resource, e.Resource),
		f.From != "" && e.From != f.From:
		return false
	}
	return true
}

func like(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return pattern == "" || pattern == s
}

// Writers lists the chains below a root, sorted.
func Writers(fsys disk.FS, root string) ([]string, error) {
	entries, err := fsys.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list trails: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && validWriter(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Reader reads the trails below one root in the order of time, while they are written too. It is for one goroutine; Close ends it.
type Reader struct {
	fs      disk.FS
	root    string
	filter  Filter
	cursors map[string]*cursor
	damaged error // lines that could not be read
}

// NewReader begins before the first entry that the filter wants.
func NewReader(fsys disk.FS, root string, filter Filter) *Reader {
	return &Reader{fs: fsys, root: root, filter: filter, cursors: map[string]*cursor{}}
}

// Next calls each for the wanted entries that came since the last call, those of several writers in the order of their times, until ctx ends or each returns an
// error, which Next returns. Lines that are damaged are passed over; Damaged tells of them.
func (r *Reader) Next(ctx context.Context, each func(Entry) error) error {
	writers, err := Writers(r.fs, r.root)
	if err != nil {
		return err
	}
	for _, writer := range writers {
		if r.cursors[writer] == nil && (r.filter.Writer == "" || r.filter.Writer == writer) {
			r.cursors[writer] = &cursor{fs: r.fs, dir: directory(r.root, writer), writer: writer, since: r.filter.Since, after: r.filter.After[writer]}
		}
	}
	heads := map[*cursor]*Entry{}
	pull := func(c *cursor) error {
		delete(heads, c)
		for ctx.Err() == nil {
			e, ok, err := c.next()
			switch {
			case errors.Is(err, ErrLine) || errors.Is(err, ErrNewer):
				r.damaged = cmp.Or(r.damaged, err)
			case err != nil || !ok:
				return err
			case r.filter.wants(&e):
				heads[c] = &e
				return nil
			}
		}
		return ctx.Err()
	}
	for _, c := range r.cursors {
		if err := pull(c); err != nil {
			return err
		}
	}
	for len(heads) > 0 {
		var first *cursor
		for c, e := range heads {
			if first == nil || e.Time.Before(heads[first].Time) || e.Time.Equal(heads[first].Time) && e.Writer < heads[first].Writer {
				first = c
			}
		}
		if err := each(*heads[first]); err != nil {
			return err
		}
		if err := pull(first); err != nil {
			return err
		}
	}
	return nil
}

// Damaged returns the first line that could not be read so far, or nil: ErrLine or ErrNewer.
func (r *Reader) Damaged() error { return r.damaged }

// Close gives the open files back.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.cursors {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// cursor reads the lines of one writer, file by file, and waits at the end of the newest.
type cursor struct {
	fs     disk.FS
	dir    string
	writer string
	since  time.Time // files that end before it are passed over
	after  uint64    // likewise those that end with this line, or before it

	name string // of the file; "": none yet
	file disk.File
	off  int64
	buf  []byte // read and not used
}

const readChunk = 64 << 10

// next returns the next line; ok is false where there is none yet.
func (c *cursor) next() (_ Entry, ok bool, _ error) {
	for {
		if c.file == nil {
			if opened, err := c.advance(); err != nil || !opened {
				return Entry{}, false, err
			}
		}
		b, ok, err := c.readLine()
		if err != nil {
			return Entry{}, false, err
		}
		if ok {
			l, hash, err := decodeLine(b)
			if err != nil {
				return Entry{}, false, fmt.Errorf("%s/%s: %w", c.writer, c.name, err)
			}
			return Entry{Writer: c.writer, N: l.N, Hash: hash, Event: l.Event, Raw: b}, true, nil
		}
		if opened, err := c.advance(); err != nil || !opened {
			return Entry{}, false, err
		}
	}
}

// readLine returns the next whole line without its break.
func (c *cursor) readLine() ([]byte, bool, error) {
	for {
		if end := bytes.IndexByte(c.buf, '\n'); end >= 0 {
			b := c.buf[:end]
			c.buf = c.buf[end+1:]
			return b, true, nil
		}
		if len(c.buf) > maxLine {
			c.buf = nil // no line of ours; go on behind what was read
			return nil, false, fmt.Errorf("%w: %s/%s: longer than %d bytes", ErrLine, c.writer, c.name, maxLine)
		}
		chunk := make([]byte, len(c.buf)+readChunk)
		copy(chunk, c.buf)
		n, err := c.file.ReadAt(chunk[len(c.buf):], c.off)
		c.off += int64(n)
		c.buf = chunk[:len(c.buf)+n]
		if n == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, false, fmt.Errorf("read trail: %w", err)
			}
			return nil, false, nil
		}
	}
}

// advance opens the file behind the current one, if there is one.
func (c *cursor) advance() (bool, error) {
	names, err := files(c.fs, c.dir)
	if err != nil {
		return false, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name <= c.name })
	for len(names) > 1 {
		if next, _ := firstOf(names[1]); next > c.after+1 {
			break
		}
		names = names[1:]
	}
	for len(names) > 1 && !c.since.IsZero() {
		begins, err := c.begins(names[1])
		if err != nil || !begins.Before(c.since) {
			break // a damaged file is met by next
		}
		names = names[1:]
	}
	if len(names) == 0 {
		return false, nil
	}
	file, err := c.fs.OpenFile(filepath.Join(c.dir, names[0]), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) { // removed as too old since it was listed
		c.name = names[0]
		return true, c.close()
	}
	if err != nil {
		return false, fmt.Errorf("open trail: %w", err)
	}
	err = c.close()
	c.name, c.file, c.off, c.buf = names[0], file, 0, nil
	return true, err
}

// begins is the time of a file's first line.
func (c *cursor) begins(name string) (time.Time, error) {
	other := cursor{fs: c.fs, dir: c.dir, writer: c.writer}
	var err error
	if other.file, err = c.fs.OpenFile(filepath.Join(c.dir, name), os.O_RDONLY, 0); err != nil {
		return time.Time{}, err
	}
	defer func() { _ = other.close() }() // it only read
	b, ok, err := other.readLine()
	if err != nil || !ok {
		return time.Time{}, errors.Join(ErrLine, err)
	}
	l, _, err := decodeLine(b)
	return l.Event.Time, err
}

func (c *cursor) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
