package coord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/express/group"
	"millrace/express/settings"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// ErrClosed is returned by Load once Close has begun.
var ErrClosed = errors.New("coord: closed")

// ErrLoaded is returned by Load for a partition that is loaded or loading already.
var ErrLoaded = errors.New("coord: partition is loaded already")

// ErrUnloaded is returned by Load when Unload or Close ended it.
var ErrUnloaded = errors.New("coord: partition was unloaded")

// Log is one partition of __consumer_offsets, owned by this broker. Implementations are safe for concurrent use.
type Log interface {
	// Append makes b durable after everything appended before, then calls done, exactly once, from any goroutine, maybe
	// before Append returns. b is the log's until then. An error means that the batch will never be read; kerr.Of tells
	// its reason (NotLeaderOrFollower, KafkaStorageError, MessageTooLarge; anything else counts as KafkaStorageError).
	// Append may block for back-pressure, bounded by ctx; done is then called all the same.
	Append(ctx context.Context, b record.Batch, done func(offset int64, err error))
	// Offsets returns the log start and the high watermark.
	Offsets() (start, high int64)
	// Read appends to dst whole batches from offset from on, below the high watermark, about maxBytes or the first batch
	// if it is larger. No part of the chain ends within a batch.
	Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error
}

// Topic is what the coordinator needs to know about a topic.
type Topic struct {
	Name       string
	ID         topic.ID
	Partitions int32
}

// Topics finds topics in the cluster's metadata as it is now. It must not block.
type Topics interface {
	// TopicByName returns the topic that has this name now; false if there is none.
	TopicByName(name string) (Topic, bool)
	// TopicByID returns the topic with this id; false if there is none any more.
	TopicByID(id topic.ID) (Topic, bool)
}

// Settings are read anew for every event, so that configuration changes take effect at once.
type Settings struct {
	Limits         group.Limits
	ExpireInterval time.Duration // offsets.retention.check.interval.ms; 0: 10 minutes
}

// FromBroker takes over what the broker's configuration says and leaves the rest at its default.
func FromBroker(b *settings.Broker) Settings {
	l := group.DefaultLimits()
	l.MinSessionTimeout = time.Duration(b.GroupMinSessionTimeoutMs) * time.Millisecond
	l.MaxSessionTimeout = time.Duration(b.GroupMaxSessionTimeoutMs) * time.Millisecond
	l.InitialRebalanceDelay = time.Duration(b.GroupInitialRebalanceDelayMs) * time.Millisecond
	l.OffsetsRetention = time.Duration(b.OffsetsRetentionMs) * time.Millisecond
	l.MaxOffsetMetadata = b.OffsetMetadataMaxBytes
	l.MaxSize = int(b.GroupMaxSize)
	return Settings{Limits: l, ExpireInterval: time.Duration(b.OffsetsRetentionCheckMs) * time.Millisecond}
}

// Config is read once by New.
type Config struct {
	Partitions int32           // of __consumer_offsets; at least 1, no default
	Settings   func() Settings // must not block; default: Kafka's defaults
	QueueLen   int             // requests that wait for one partition before callers do; default 256
	BatchBytes int             // most record bytes in one batch, unless a single request needs more; default 512 KiB
	MaxBytes   int             // most record bytes that a single request may need; default 32 MiB
}

func (c *Config) validate() error {
	if c.Partitions < 1 {
		return fmt.Errorf("coord: %d partitions, at least 1 is needed", c.Partitions)
	}
	if c.Settings == nil {
		c.Settings = func() Settings { return Settings{Limits: group.DefaultLimits()} }
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

// World is what the coordinator touches outside itself.
type World struct {
	Clock  clock.Clock
	Log    *slog.Logger
	Topics Topics                     // nil: topics are not checked, and requests by topic id are refused
	NewID  func(prefix string) string // makes member ids; nil: the prefix and a random UUID
}

// Coordinator answers the group APIs for the partitions of __consumer_offsets that are loaded. Make one with New. Safe for
// concurrent use.
type Coordinator struct {
	cfg   Config
	world World

	mu     sync.RWMutex
	shards map[int32]*shard
	closed bool
}

// New returns a Coordinator without partitions.
func New(cfg Config, w World) (*Coordinator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if w.NewID == nil {
		w.NewID = func(prefix string) string { return prefix + "-" + uuid.NewString() }
	}
	return &Coordinator{cfg: cfg, world: w, shards: map[int32]*shard{}}, nil
}

// PartitionFor returns the partition of __consumer_offsets that keeps a group: the absolute value of Java's hash of the
// group id, where the one number that has none counts as zero, modulo the number of partitions.
func (c *Coordinator) PartitionFor(groupID string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(groupID)) {
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
func (c *Coordinator) Load(ctx context.Context, index int32, log Log) error {
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
func (c *Coordinator) Unload(index int32) {
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
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	shards := c.shards
	c.shards = map[int32]*shard{}
	c.mu.Unlock()
	for _, s := range shards {
		s.cancel()
	}
	for _, s := range shards {
		<-s.done
	}
}

// TopicDeleted removes all offsets of a topic from the partitions loaded here. It only takes note, and does not block.
func (c *Coordinator) TopicDeleted(name string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.shards {
		s.topicDeleted(name)
	}
}

func (c *Coordinator) forget(s *shard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shards[s.index] == s {
		delete(c.shards, s.index)
	}
}

// shard returns the partition that keeps a group, or why it cannot answer.
func (c *Coordinator) shard(groupID string) (*shard, kerr.Code) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, kerr.CoordinatorNotAvailable
	}
	s := c.shards[c.PartitionFor(groupID)]
	switch {
	case s == nil:
		return nil, kerr.NotCoordinator
	case !s.ready.Load():
		return nil, kerr.CoordinatorLoadInProgress
	default:
		return s, kerr.None
	}
}
