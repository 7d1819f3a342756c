package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"millrace/base/kv"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrCorrupt: the file is not a backup, or is damaged, or ends early.
	ErrCorrupt = errors.New("backup: corrupt")
	// ErrNewer: the file was written by a newer version of Millrace.
	ErrNewer = errors.New("backup: written by a newer version")
	// ErrNotEmpty: etcd holds something already.
	ErrNotEmpty = errors.New("backup: etcd is not empty")
	// ErrServing: brokers are registered in etcd, or have a lock on their data.
	ErrServing = errors.New("backup: brokers are running")
	// ErrMissing: the store lacks something that the backup refers to.
	ErrMissing = errors.New("backup: data is missing")
	// ErrUnknownTopics: the store or the logs hold topics that the backup does not know.
	ErrUnknownTopics = errors.New("backup: there are topics that the backup does not know, which were made after it or deleted before")
	// ErrForeignStore: the store belongs to another cluster.
	ErrForeignStore = errors.New("backup: the object store belongs to another cluster")
)

const (
	magic         = "millrace-backup"
	formatVersion = 1
	lineMost      = 4 << 20 // bytes of one line; etcd takes no value of half of that
	keysMost      = 10_000_000
)

// Header is the first line of a backup.
type Header struct {
	Format   string    `json:"format"`
	Version  int       `json:"version"`
	Taken    time.Time `json:"taken"`
	Revision int64     `json:"revision"` // of etcd
	Keys     int       `json:"keys"`
}

// Backup is everything that etcd held at one revision, but for what belongs to processes.
type Backup struct {
	Header
	Items []kv.Item // ascending by key; Key and Value only
	Sum   string    // of the content: it names the backup; set by Write and Read
}

// Memory gives the backup's records as a store of their own, which the caller closes.
func (b *Backup) Memory(ctx context.Context) (*kv.Memory, error) {
	store := kv.NewMemory()
	for _, item := range b.Items {
		if _, err := store.Txn(ctx, nil, []kv.Op{kv.Put(item.Key, item.Value)}); err != nil {
			return nil, errors.Join(fmt.Errorf("backup: %s: %w", item.Key, err), store.Close())
		}
	}
	return store, nil
}

type line struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

type footer struct {
	Keys int    `json:"keys"`
	Sum  string `json:"sha256"` // of all lines before
}

// Write writes the file form.
func (b *Backup) Write(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	enc := json.NewEncoder(out)
	b.Format, b.Version, b.Keys = magic, formatVersion, len(b.Items)
	if err := enc.Encode(b.Header); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	for _, item := range b.Items {
		if err := enc.Encode(line{item.Key, item.Value}); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	b.Sum = hex.EncodeToString(sum.Sum(nil))
	if err := json.NewEncoder(w).Encode(footer{len(b.Items), b.Sum}); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

// Read reads what Write wrote, and checks all of it. Errors: ErrCorrupt, ErrNewer, those of r.
func Read(r io.Reader) (*Backup, error) {
	in := reader{sum: sha256.New(), lines: bufio.NewScanner(r)}
	in.lines.Buffer(make([]byte, 0, 1<<16), lineMost)
	b := &Backup{}
	if err := in.header(&b.Header); err != nil {
		return nil, err
	}
	for range b.Keys {
		var l line
		if err := in.next(&l); err != nil {
			return nil, err
		}
		if n := len(b.Items); l.Key == "" || n > 0 && l.Key <= b.Items[n-1].Key {
			return nil, fmt.Errorf("%w: key %q out of order", ErrCorrupt, l.Key)
		}
		b.Items = append(b.Items, kv.Item{Key: l.Key, Value: l.Value})
	}
	b.Sum = hex.EncodeToString(in.sum.Sum(nil))
	end, err := in.line()
	if err != nil {
		return nil, err
	}
	want, err := json.Marshal(footer{len(b.Items), b.Sum})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read backup: %w", err)
	case !bytes.Equal(end, want):
		return nil, fmt.Errorf("%w: the checksum does not match", ErrCorrupt)
	case in.lines.Scan():
		return nil, fmt.Errorf("%w: more behind the end", ErrCorrupt)
	}
	return b, in.lines.Err()
}

// reader takes one JSON value per line.
type reader struct {
	lines *bufio.Scanner
	sum   hash.Hash
}

// header reads the first line. The format is looked at before anything else is, so that a newer one is called newer.
func (r *reader) header(h *Header) error {
	raw, err := r.line()
	if err != nil {
		return err
	}
	if json.Unmarshal(raw, h) != nil || h.Format != magic {
		return fmt.Errorf("%w: not a backup", ErrCorrupt)
	}
	if h.Version > formatVersion {
		return fmt.Errorf("%w: format %d, this program reads up to %d", ErrNewer, h.Version, formatVersion)
	}
	if h.Version < 1 || h.Keys < 0 || h.Keys > keysMost {
		return fmt.Errorf("%w: format %d, %d keys", ErrCorrupt, h.Version, h.Keys)
	}
	return nil
}

func (r *reader) next(into any) error {
	raw, err := r.line()
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || d.More() {
		return fmt.Errorf("%w: line %.60q", ErrCorrupt, raw)
	}
	return nil
}

func (r *reader) line() ([]byte, error) {
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("read backup: %w", err)
		}
		return nil, fmt.Errorf("%w: it ends early, or a line is too long", ErrCorrupt)
	}
	r.sum.Write(r.lines.Bytes())
	r.sum.Write([]byte{'\n'})
	return r.lines.Bytes(), nil
}
