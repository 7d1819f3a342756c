package coord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf16"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// ErrClosed is returned by Load once Close has begun.
var ErrClosed = errors.New("coord: closed")

// ErrLoaded is returned by Load for a partition that is loaded or loading already.
var ErrLoaded = errors.New("coord: partition is loaded already")

// ErrUnloaded is returned by Load when Unload or Close ended it.
var ErrUnloaded = errors.New("coord: partition was unloaded")

// Log is one partition of an internal topic, owned by this broker. Implementations are safe for concurrent use.
type Log interface {
	// Append makes b durable after everything appended before, then calls done, exactly once, from any goroutine, maybe
	// before Append returns. b is the log's until then. An error means that the batch will never be read; kerr.Of tells
	// its reason (NotLeaderOrFollower, KafkaStorageError, MessageTooLarge, InvalidProducerEpoch; anything else counts as
	// KafkaStorageError). Append may block for back-pressure, bounded by ctx; done is then called all the same.
	Append(ctx context.Context, b record.Batch, done func(offset int64, err error))
	// AppendMarker is Append for the marker that ends a transaction of that version (machine.Marker); TransactionCoordinatorFenced
	// is a reason too.
	AppendMarker(ctx context.Context, m record.Marker, version int16, done func(offset int64, err error))
	// Offsets returns the log start and the high watermark.
	Offsets() (start, high int64)
	// Read appends to dst whole batches from offset from on, below the high watermark, about maxBytes or the first batch
	// if it is larger. No part of the chain ends within a batch.
	Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error
}

// Machine is the pure state of one partition of an internal topic, as the runtime drives it (package machine has the rules).
// Replay and ReplayMarker come first, then Loaded once, then everything else, and Close last. The time never goes back.
type Machine interface {
	// Replay takes in one record of the log; tx is not nil if it is part of a transaction. Nothing of the bytes is kept. An
	// error leaves the machine as it was, and the record is skipped.
	Replay(r machine.Record, tx *machine.Producer) error
	// ReplayMarker takes in the end of a transaction.
	ReplayMarker(m machine.Marker)
	// Loaded ends the replay.
	Loaded(now time.Time) machine.Effects
	// Appended reports the outcome of an append: kerr.None when it is durable.
	Appended(now time.Time, id int64, code kerr.Code) machine.Effects
	// Deadline is when Advance must be called next; ok is false when nothing waits for time.
	Deadline() (at time.Time, ok bool)
	// Advance handles all deadlines up to now.
	Advance(now time.Time) machine.Effects
	// Expire removes what nobody has needed for long. It is called from time to time (Config.Every).
	Expire(now time.Time) machine.Effects
	// Close answers every request that waits; the effects carry no appends.
	Close(now time.Time) machine.Effects
}

// Config is read once by NewRuntime. Functions must not block.
type Config[M Machine] struct {
	Name       string                 // of the topic, for messages
	Partitions int32                  // of the topic; at least 1, no default
	New        func(index int32) M    // makes an empty machine for a partition
	Configure  func(M)                // nil, or called before each event, so that configuration changes take effect at once
	After      func(index int32, m M) // nil, or called by the partition's goroutine after the load and each event
	Leads      func() bool            // nil: yes. Whether this broker still may answer for what it owns, which a lease may bound
	Every      func() time.Duration   // between calls of Machine.Expire; nil or 0: 10 minutes
	QueueLen   int                    // requests that wait for one partition before callers do; default 256
	BatchBytes int                    // most record bytes in one batch, unless a single request needs more; default 512 KiB
	MaxBytes   int                    // most record bytes that a single request may need; default 32 MiB
}

func (c *Config[M]) validate() error {
	if c.Partitions < 1 {
		return fmt.Errorf("coord: %s with %d partitions, at least 1 is needed", c.Name, c.Partitions)
	}
	for _, d := range []struct {
		value *int
		def   int
	}{{&c.QueueLen, 256}, {&c.BatchBytes, 512 << 10}, {&c.MaxBytes, 32 << 20}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	return nil
}

// Runtime drives the machines of those partitions of one internal topic that this broker owns. Make one with NewRuntime.
// Safe for concurrent use.
type Runtime[M Machine] struct {
	cfg   Config[M]
	clock clock.Clock
	log   *slog.Logger

	mu     sync.RWMutex
	shards map[int32]*shard[M]
	closed bool
}

// NewRuntime returns a Runtime without partitions.
func NewRuntime[M Machine](cfg Config[M], c clock.Clock, log *slog.Logger) (*Runtime[M], error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Runtime[M]{cfg: cfg, clock: c, log: log, shards: map[int32]*shard[M]{}}, nil
}

// PartitionFor returns the partition that keeps what has this id (a group, a transactional id): the absolute value of
// Java's hash of the id, where the one number that has none counts as zero, modulo the number of partitions.
func (c *Runtime[M]) PartitionFor(id string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(id)) {
		h = 31*h + int32(unit)
	}
	switch {
	case h == -1<<31:
		h = 0
	case h < 0:
		h = -h
	}
	return h % c.cfg.Partitions
}

// Load replays a partition from its log and begins to serve it. It blocks until then, bounded by ctx; meanwhile requests
// are answered COORDINATOR_LOAD_IN_PROGRESS. After an error the partition is not loaded. Errors: ErrClosed, ErrLoaded,
// ErrUnloaded, those of ctx and of log.
func (c *Runtime[M]) Load(ctx context.Context, index int32, log Log) error {
	if index < 0 || index >= c.cfg.Partitions {
		return fmt.Errorf("coord: load partition %d of %d", index, c.cfg.Partitions)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := newShard(c, index, log, cancel)
	c.mu.Lock()
	var err error
	switch {
	case c.closed:
		err = ErrClosed
	case c.shards[index] != nil:
		err = ErrLoaded
	default:
		c.shards[index] = s
	}
	c.mu.Unlock()
	if err != nil {
		cancel()
		return fmt.Errorf("load partition %d: %w", index, err)
	}

	stop := context.AfterFunc(ctx, cancel) // while it loads, ctx counts too
	err = s.load(life)
	if stop() && life.Err() != nil {
		err = ErrUnloaded
	} else if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.forget(s)
		cancel()
		close(s.done)
		return fmt.Errorf("load partition %d: %w", index, err)
	}
	go s.run(life) // ends with life; Unload and Close wait for it
	return nil
}

// Unload stops serving a partition and waits until that is so. Requests that wait are answered NOT_COORDINATOR. What is on
// its way to the log may or may not become durable, which nobody is told. Unloading what is not loaded does nothing.
func (c *Runtime[M]) Unload(index int32) {
	c.mu.Lock()
	s := c.shards[index]
	delete(c.shards, index)
	c.mu.Unlock()
	if s != nil {
		s.cancel()
		<-s.done
	}
}

// Close unloads all partitions; from then on everything is answered COORDINATOR_NOT_AVAILABLE. It waits for all goroutines
// that Load started, and may be called again.
func (c *Runtime[M]) Close() {
	c.mu.Lock()
	c.closed = true
	shards := c.shards
	c.shards = map[int32]*shard[M]{}
	c.mu.Unlock()
	for _, s := range shards {
		s.cancel()
	}
	for _, s := range shards {
		<-s.done
	}
}

// Tell has the machine of a partition handle an event that nobody waits for. It does not block; a partition that is not
// loaded here hears nothing.
func (c *Runtime[M]) Tell(index int32, event func(m M, now time.Time) machine.Effects) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.shards[index]; s != nil {
		s.tell(event)
	}
}

// TellAll is Tell for all partitions that are loaded here or being loaded.
func (c *Runtime[M]) TellAll(event func(m M, now time.Time) machine.Effects) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.shards {
		s.tell(event)
	}
}

func (c *Runtime[M]) leads() bool { return c.cfg.Leads == nil || c.cfg.Leads() }

func (c *Runtime[M]) forget(s *shard[M]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shards[s.index] == s {
		delete(c.shards, s.index)
	}
}

// shard returns the partition that keeps what has this id, or why it cannot answer.
func (c *Runtime[M]) shard(id string) (*shard[M], kerr.Code) { return c.shardAt(c.PartitionFor(id)) }

// shardAt returns a partition, or why it cannot answer.
func (c *Runtime[M]) shardAt(index int32) (*shard[M], kerr.Code) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, kerr.CoordinatorNotAvailable
	}
	s := c.shards[index]
	switch {
	case s == nil:
		return nil, kerr.NotCoordinator
	case !s.ready.Load():
		return nil, kerr.CoordinatorLoadInProgress
	default:
		return s, kerr.None
	}
}

// loaded returns all partitions, or an error if one of them cannot be asked.
func (c *Runtime[M]) loaded() ([]*shard[M], kerr.Code) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, kerr.CoordinatorNotAvailable
	}
	var out []*shard[M]
	for _, s := range c.shards {
		if !s.ready.Load() {
			return nil, kerr.CoordinatorLoadInProgress
		}
		out = append(out, s)
	}
	return out, kerr.None
}
