package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"millrace/base/disk"
	"millrace/kafka/topic"
)

// Replica stores commit groups away from this host. With one in World the log is durable there, and its files are only what
// serves reads: they are never synced, and Open empties the directory,
// unless it finds a log without a Replica there.
type Replica interface {
	// Put begins to store a group and returns at once. Seq ascends by one from 1. The bytes of group must not change until done
	// is called, which happens once for each Put, in order of seq, and perhaps before Put returns: with nil when the group and all
	// before it are stored and may be acknowledged, or with the error that ended the Replica for ever. Done does not block.
	Put(seq uint64, group [][]byte, done func(error))
	// Trim tells that groups below first are not needed any more. It does not block. A lower first than before means nothing.
	Trim(first uint64)
}

// Run is a piece of one partition in a group: whole batches without a gap between their offsets, of one leader epoch.
type Run struct {
	Partition    topic.Partition
	Epoch        int32
	Base, Last   int64 // offsets
	MaxTimestamp int64 // ms, over all batches
	Data         []byte
}

// DecodeGroup parses a group as a Replica got it, and checks every byte. The runs refer to b. Errors: ErrCorrupt, ErrNewer.
func DecodeGroup(b []byte) (seq uint64, runs []Run, err error) {
	h := &fileHeader{} // scratch files have no salt
	g, err := decodeGroupHeader(h, b)
	if err != nil {
		return 0, nil, undecoded(err)
	}
	if g.bytes() != int64(len(b)) {
		return 0, nil, undecoded(damaged("%d bytes of a group of %d", len(b), g.bytes()))
	}
	rows, err := decodeRows(h, &g, b[:g.headerBytes()], 0)
	if err != nil {
		return 0, nil, undecoded(err)
	}
	runs = make([]Run, len(rows))
	rest := b[g.headerBytes():]
	for i := range rows {
		r := &rows[i]
		data := rest[:r.bytes:r.bytes]
		if err := r.verify(data); err != nil {
			return 0, nil, undecoded(err)
		}
		runs[i] = Run{Partition: r.partition, Epoch: r.epoch, Base: r.base, Last: r.last, MaxTimestamp: r.maxTimestamp, Data: data}
		rest = rest[r.bytes:]
	}
	return g.seq, runs, nil
}

// undecoded says in exported words that a group is damaged.
func undecoded(err error) error {
	if errors.Is(err, errDamaged) {
		return fmt.Errorf("%w: group: %w", ErrCorrupt, err)
	}
	return err
}

// wipe removes the files of an earlier process, unless one of them is of a log that was durable there: nothing else has that.
func (l *Log) wipe() error {
	entries, err := l.world.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	var names []string
	for _, entry := range entries {
		if _, ok := parseFileName(entry.Name()); ok {
			names = append(names, path.Join(l.cfg.Dir, entry.Name()))
		}
	}
	for _, name := range names {
		if err := l.checkScratch(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := l.world.FS.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// checkScratch refuses a file that is not a scratch file. One without a header was never used.
func (l *Log) checkScratch(name string) (err error) {
	f, err := l.world.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, fileHeaderBytes)
	err = readFull(f, b, 0)
	if err == nil {
		var h fileHeader
		if h, err = decodeFileHeader(b); err == nil && !h.isScratch() {
			return fmt.Errorf("%w: %s belongs to a log that has no replica", ErrInvalid, name)
		}
	}
	if errors.Is(err, errDamaged) {
		return nil
	}
	return err
}

// isScratch says that the file was of a log with a Replica, see newSalt.
func (h *fileHeader) isScratch() bool { return h.salt == 0 }

// scratchFS syncs nothing.
type scratchFS struct{ disk.FS }

func (s scratchFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return scratchFile{f}, nil
}

func (scratchFS) SyncDir(string) error { return nil }

type scratchFile struct{ disk.File }

func (scratchFile) Sync() error     { return nil }
func (scratchFile) Datasync() error { return nil }

func (f scratchFile) WritevSync(bufs [][]byte, off int64) error {
	_, err := f.WritevAt(bufs, off)
	return err
}

// trimReplica tells the Replica which groups no file holds any more, after file f has left the list.
func (l *Log) trimReplica(f *file) {
	if l.world.Replica == nil {
		return
	}
	l.index.Lock()
	l.trimmedTo = max(l.trimmedTo, f.lastGroup+1)
	first := l.trimmedTo
	if len(l.files) > 0 {
		first = l.files[0].base
	}
	l.index.Unlock()
	l.world.Replica.Trim(first)
}
