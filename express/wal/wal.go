package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/slab"
	"millrace/kafka/topic"
)

// Sentinels, for errors.Is.
var (
	// ErrClosed is returned by all calls once Close has begun; the entry was not taken.
	ErrClosed = errors.New("wal: closed")
	// ErrNoSpace refuses an entry because the device is full. Nothing of it will ever be read; appends work again when
	// there is room.
	ErrNoSpace = errors.New("wal: no space left on the device")
	// ErrFailed says that a write or sync failed in a way that cannot be repaired safely. The log is dead: its broker
	// must end and recover. What was queued then has an unknown outcome.
	ErrFailed = errors.New("wal: failed")
	// ErrTrimmed is returned by reads below the first offset of a stream.
	ErrTrimmed = errors.New("wal: offset is no longer in the log")
	// ErrCorrupt is wrapped in a CorruptionError.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrNewer is returned by Open for files whose format this version does not know; nothing was changed.
	ErrNewer = errors.New("wal: written by a newer version")
	// ErrInvalid refuses an entry or a Config that breaks the rules of its type.
	ErrInvalid = errors.New("wal: invalid")
)

// CorruptionError says where acknowledged data is damaged. It matches ErrCorrupt.
type CorruptionError struct {
	File   string // path
	Offset int64  // bytes from the file's start
	Err    error  // what is wrong there
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: corrupt: %s at byte %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns ErrCorrupt and the cause.
func (e *CorruptionError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// Config is read once by Open. A zero field takes its default.
type Config struct {
	Dir         string // must exist; belongs to the log; no default
	Broker      int32  // written into each file
	Incarnation uint64 // written into each file
	FileSize    int64  // bytes after which a file is sealed; default 128 MiB, from 1 MiB to 1 GiB
	GroupBytes  int    // most payload bytes of a commit group (a larger entry goes alone); default 4 MiB, at most 64 MiB
	QueueBytes  int64  // most bytes queued and not yet durable (a larger entry goes alone); default 64 MiB

	// Only with a World.Replica.
	Pipeline int           // most groups that are being stored at once; default 4, at most 64
	Interval time.Duration // least time between the begins of two groups of less than GroupBytes; default 5 ms, at most 1 s
}

// Validate fills defaults and returns every fault, each matching ErrInvalid.
func (c *Config) Validate() error {
	setDefault(&c.FileSize, 128<<20)
	setDefault(&c.GroupBytes, 4<<20)
	setDefault(&c.QueueBytes, 64<<20)
	var faults []error
	if c.Dir == "" {
		faults = append(faults, fmt.Errorf("%w: dir is empty", ErrInvalid))
	}
	if c.FileSize < 1<<20 || c.FileSize > 1<<30 {
		faults = append(faults, fmt.Errorf("%w: file size %d is not within 1 MiB and 1 GiB", ErrInvalid, c.FileSize))
	}
	if c.GroupBytes < 1 || c.GroupBytes > 64<<20 {
		faults = append(faults, fmt.Errorf("%w: group bytes %d are not within 1 and 64 MiB", ErrInvalid, c.GroupBytes))
	}
	if c.QueueBytes < 1 {
		faults = append(faults, fmt.Errorf("%w: queue bytes %d", ErrInvalid, c.QueueBytes))
	}
	setDefault(&c.Pipeline, 4)
	setDefault(&c.Interval, 5*time.Millisecond)
	if c.Pipeline < 1 || c.Pipeline > 64 {
		faults = append(faults, fmt.Errorf("%w: pipeline of %d groups is not within 1 and 64", ErrInvalid, c.Pipeline))
	}
	if c.Interval < 0 || c.Interval > time.Second {
		faults = append(faults, fmt.Errorf("%w: interval %v is not within 0 and 1s", ErrInvalid, c.Interval))
	}
	return errors.Join(faults...)
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// World is all that wal touches outside itself.
type World struct {
	FS    disk.FS
	Clock clock.Clock
	Log   *slog.Logger
	Slabs *slab.Pool // for Read

	Replica Replica // where the log is durable, if not in its files; nil: in its files
	Keys    Keys    // that new files are encrypted with; nil: they are not. What a Replica gets is not encrypted here
}

// Log is the write-ahead log of one broker: the file that takes appends and all earlier files that hold data somebody
// may still need. Safe for concurrent use.
//
// Locks: queue.mu and index are never held together; file.mu, producers and the mutexes of runCache and keeper are
// innermost, and may be taken under index. None is held over IO, except file.mu while opening or closing that file.
type Log struct {
	cfg   Config
	world World
	lock  io.Closer // on the directory

	queue  queue
	cache  runCache
	keeper keeper
	failed chan struct{} // closed with the first ErrFailed
	sealed chan struct{} // Sealed

	index     sync.RWMutex // guards streams, files, and what Stream, file and extent say
	streams   map[topic.Partition]*Stream
	files     []*file    // ascending
	trimmedTo uint64     // with a Replica: behind the last group of all files that left the list
	producers sync.Mutex // guards the tables of extents of the active file

	openFiles  atomic.Int64
	readsEnded atomic.Bool

	running   context.Context // ends with Close, for what is derived meanwhile
	stop      context.CancelFunc
	ready     chan prepared // the preparer's next file, or why there is none
	stopping  chan struct{} // closed when the committer has ended: ends the preparer
	closeOnce sync.Once
	done      chan struct{} // closed when everything has ended
}

// Open recovers what the directory holds. Sealed files are known by their footers; the others are replayed, cut after
// their last whole group and sealed. Errors: disk.ErrLocked when another log has the directory, a CorruptionError when
// acknowledged data is damaged, ErrNewer, ErrInvalid. Ctx bounds only Open.
//
// Open succeeds on a full device: then reads and Trim work, and appends fail with ErrNoSpace until there is room.
func Open(ctx context.Context, cfg Config, w World) (_ *Log, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if w.Replica != nil {
		w.FS = scratchFS{w.FS}
	}
	l := newLog(cfg, w)
	l.running, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	if l.lock, err = w.FS.Lock(path.Join(cfg.Dir, lockName)); err != nil {
		return nil, fmt.Errorf("open wal: %w", err)
	}
	if w.Replica != nil {
		err = l.wipe()
	}
	var last position
	if err == nil {
		last, err = l.recover(ctx)
	}
	if err != nil {
		l.abandon()
		return nil, errors.Join(fmt.Errorf("open wal: %w", err), l.lock.Close())
	}
	l.start(last)
	return l, nil
}

// newLog makes a Log that knows nothing and runs nothing yet.
func newLog(cfg Config, w World) *Log {
	l := &Log{
		cfg:      cfg,
		world:    w,
		failed:   make(chan struct{}),
		sealed:   make(chan struct{}, 1),
		streams:  make(map[topic.Partition]*Stream),
		ready:    make(chan prepared),
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
		stop:     func() {},
	}
	l.queue.init(cfg.QueueBytes)
	l.keeper.init(l)
	return l
}

// start begins the three goroutines; each ends when the one before it has, see Close.
func (l *Log) start(last position) {
	prepareDone := make(chan struct{})
	go func() {
		defer close(prepareDone)
		l.prepare(last)
	}()
	go func() {
		c := committer{log: l, groupSeq: last.group}
		if l.world.Replica == nil {
			c.run()
		} else {
			c.runReplicated()
		}
		close(l.stopping)
		<-prepareDone
		c.retire()
		l.keeper.stop()
	}()
	go func() {
		l.keeper.run()
		l.closeFiles()
		if err := l.lock.Close(); err != nil {
			l.world.Log.Warn("wal directory not unlocked", "err", err)
		}
		l.stop()
		close(l.done)
	}()
}

// Close refuses new appends, makes what is queued durable and calls its Done, seals the active file so that the next
// Open is quick, and waits for the log's goroutines, but not for reads that are under way. Safe to call twice. When ctx
// ends first, Close returns its error and the closing goes on.
func (l *Log) Close(ctx context.Context) error {
	l.closeOnce.Do(l.queue.close)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close wal: %w", ctx.Err())
	}
}

// closeFiles ends reading: handles that nobody uses are closed now, the others when their readers release them.
func (l *Log) closeFiles() {
	l.readsEnded.Store(true)
	l.index.RLock()
	files := slices.Clone(l.files)
	l.index.RUnlock()
	for _, f := range files {
		f.mu.Lock()
		if f.refs == 0 {
			l.closeLocked(f)
		}
		f.mu.Unlock()
	}
}

// abandon closes what a failed Open has opened.
func (l *Log) abandon() {
	l.stop()
	for _, f := range l.files {
		f.mu.Lock()
		l.closeLocked(f)
		f.mu.Unlock()
	}
}

// Stream returns the stream of p, made when absent.
func (l *Log) Stream(p topic.Partition) *Stream {
	l.index.Lock()
	defer l.index.Unlock()
	return l.streamLocked(p)
}

func (l *Log) streamLocked(p topic.Partition) *Stream {
	s := l.streams[p]
	if s == nil {
		s = &Stream{log: l, partition: p}
		l.streams[p] = s
	}
	return s
}

// Partitions lists the partitions that have data in the log, in no order. Deleted ones and those that moved to another
// broker are to be dropped by Stream.Forget.
func (l *Log) Partitions() []topic.Partition {
	l.index.RLock()
	defer l.index.RUnlock()
	var list []topic.Partition
	for p, s := range l.streams {
		if len(s.extents) > 0 {
			list = append(list, p)
		}
	}
	return list
}

// Sealed delivers a value after files were sealed, one for any number since the last was taken. It never closes.
func (l *Log) Sealed() <-chan struct{} { return l.sealed }

// Failed is closed when the log is dead (ErrFailed).
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err is why the log is dead, an error that matches ErrFailed; nil while it is not.
func (l *Log) Err() error {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.queue.failure
}

// FileInfo describes one file.
type FileInfo struct {
	Seq     uint64            // ascends with time over all incarnations
	Sealed  bool              // complete and indexed
	Bytes   int64             // of record batches written
	Groups  int64             // commit groups written since Open, which are objects of a Replica
	Live    int64             // of record batches in extents that are not trimmed whole
	Streams []topic.Partition // with live data, in no order
}

// Files describes all files that hold data, oldest first. The result is the caller's.
func (l *Log) Files() []FileInfo {
	l.index.RLock()
	defer l.index.RUnlock()
	infos := make([]FileInfo, 0, len(l.files))
	for _, f := range l.files {
		info := FileInfo{Seq: f.seq, Sealed: f.sealed, Bytes: f.payload, Live: f.live, Groups: f.groups}
		live := make(map[topic.Partition]bool, f.liveExtents)
		for _, x := range f.extents {
			if !x.dropped {
				live[x.stream.partition] = true
			}
		}
		info.Streams = slices.Collect(maps.Keys(live))
		infos = append(infos, info)
	}
	return infos
}

// Roll seals the active file if it holds data, for instance so that idle data can be cut. It returns when the file is
// sealed. Errors: ErrClosed, ErrFailed, ctx's.
func (l *Log) Roll(ctx context.Context) error {
	rolled := make(chan *file, 1)
	if err := l.queue.roll(rolled); err != nil {
		return err
	}
	var finished chan struct{}
	select {
	case f := <-rolled:
		if f == nil {
			return nil
		}
		finished = f.finished
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("roll wal: %w", ctx.Err())
	}
	select {
	case <-finished:
		return nil
	case <-l.failed:
		return ErrFailed
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("roll wal: %w", ctx.Err())
	}
}
