package wal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"millrace/base/disk"
)

const (
	fileSuffix    = ".wal"
	lockName      = "lock"
	allocateBytes = 16 << 20 // a file's space is reserved in steps of this
	maxOpenFiles  = 64       // sealed files kept open while nobody reads them
)

// file is one file of the log.
//
// Its life: prepared (header only), active (the committer appends groups), rolled (complete, waiting for its footer),
// sealed, removed. A recovered file enters as rolled or as sealed.
type file struct {
	fileHeader
	path string
	aead cipher.AEAD // of the runs; nil: they are not encrypted

	// The committer's until the file is rolled, then the keeper's.
	end        int64 // after the last good group
	allocated  int64 // reserved on the disk
	firstGroup uint64
	lastGroup  uint64
	chain      uint32 // of the last group
	runs       int
	rolled     bool // takes no more groups
	inFlight   int  // groups that the Replica is not done with

	// Guarded by Log.index.
	extents     []*extent // dropped ones too
	sealed      bool
	payload     int64 // bytes
	groups      int64 // commit groups that were published
	live        int64 // bytes of extents that are not dropped
	liveExtents int
	base        uint64 // the first group that it can hold; 0 in a recovered file

	finished chan struct{} // closed when the file is sealed or removed

	mu     sync.Mutex // guards what follows
	handle disk.File  // nil while closed
	refs   int        // users of handle; one of them is the log itself until the file is sealed
	doomed bool       // to be removed when refs is zero
}

// fileName is the name of file seq within the directory: names sort as numbers do.
func fileName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, fileSuffix) }

// parseFileName is the inverse of fileName.
func parseFileName(name string) (seq uint64, ok bool) {
	hex, found := strings.CutSuffix(name, fileSuffix)
	seq, err := strconv.ParseUint(hex, 16, 64)
	return seq, found && err == nil && fileName(seq) == name
}

// createFile makes an empty file durable, with its first space reserved.
func (l *Log) createFile(seq, previous uint64) (_ *file, err error) {
	f := &file{
		fileHeader: fileHeader{
			broker: l.cfg.Broker, incarnation: l.cfg.Incarnation, seq: seq, previous: previous, salt: l.newSalt(),
		},
		path:      path.Join(l.cfg.Dir, fileName(seq)),
		end:       fileHeaderBytes,
		allocated: min(allocateBytes, l.cfg.FileSize),
		finished:  make(chan struct{}),
		refs:      1,
	}
	if l.world.Keys != nil {
		f.key = l.world.Keys.Newest()
		if err := f.unlock(l.running, l.world.Keys); err != nil {
			return nil, fmt.Errorf("create %s: %w", f.path, err)
		}
		f.check = f.proof()
	}
	f.handle, err = l.world.FS.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", f.path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("create %s: %w", f.path, errors.Join(err, f.handle.Close(), l.world.FS.Remove(f.path)))
		}
	}()
	if err := f.handle.Allocate(0, f.allocated); err != nil {
		return nil, err
	}
	if _, err := f.handle.WriteAt(f.encode(), 0); err != nil {
		return nil, err
	}
	if err := f.handle.Sync(); err != nil {
		return nil, err
	}
	return f, l.world.FS.SyncDir(l.cfg.Dir)
}

// newSalt is unpredictable, because a client that knew it could send bytes that pass for a group. No behaviour depends
// on its value, so it needs no seed in simulations. Scratch files are never searched for groups and have none, so that a
// Replica's groups can be read without their file.
func (l *Log) newSalt() uint64 {
	if l.world.Replica != nil {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// acquire keeps the file from being removed until release. The caller holds Log.index.
func (f *file) acquire() {
	f.mu.Lock()
	f.refs++
	f.mu.Unlock()
}

// reader returns the file's handle, opened if need be. The caller has acquired the file.
func (l *Log) reader(f *file) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle == nil {
		handle, err := l.world.FS.OpenFile(f.path, os.O_RDONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", f.path, err)
		}
		f.handle = handle
		l.openFiles.Add(1)
	}
	return f.handle, nil
}

// release ends an acquire. The last one closes the handle if too many are open, and hands a doomed file to the keeper.
func (l *Log) release(f *file) {
	f.mu.Lock()
	f.refs--
	bury := f.refs == 0 && f.doomed
	if f.refs == 0 && (f.doomed || l.readsEnded.Load() || l.openFiles.Load() > maxOpenFiles) {
		l.closeLocked(f)
	}
	f.mu.Unlock()
	if bury {
		l.keeper.bury(f)
	}
}

// closeLocked closes the handle; an error of a file whose bytes are synced, or unwanted, changes nothing.
func (l *Log) closeLocked(f *file) {
	if f.handle == nil {
		return
	}
	if err := f.handle.Close(); err != nil {
		l.world.Log.Warn("wal file not closed", "file", f.path, "err", err)
	}
	f.handle = nil
	l.openFiles.Add(-1)
}

// doom removes the file as soon as nobody reads it. The caller has taken it out of Log.files.
func (l *Log) doom(f *file) {
	f.mu.Lock()
	f.doomed = true
	bury := f.refs == 0
	if bury {
		l.closeLocked(f)
	}
	f.mu.Unlock()
	l.trimReplica(f)
	if bury {
		l.keeper.bury(f)
	}
}

// remove deletes a file. That it may reappear after a crash does no harm, so the directory is not synced.
func (l *Log) remove(f *file) {
	if err := l.world.FS.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.world.Log.Warn("wal file not removed", "file", f.path, "err", err)
		return
	}
	l.world.Log.Info("wal file removed", "file", f.path)
}
