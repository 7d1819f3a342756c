// Package cleaner does the background work on the partitions of one broker:
// retention, cutting the log into segments, compaction, the removal of objects
// that nothing needs any more.
//
// Flow: Run wakes when the log seals a file and at regular intervals; each time
// it visits the partitions that its Source lists, one at a time, and runs what
// is due. What a partition drops arrives at Retire and is deleted after the
// grace period; a sweep finds what a crash left behind.
//
// Invariants:
//
//	K1  One partition's failure is logged and never keeps another from its turn.
//	K2  An object is deleted no earlier than Grace after it was retired (E6).
//	K3  The work is paced by itself: one goroutine, so a broker under load gives
//	    at most one core and one stream of disk writes to it.
//	K4  With MaxLog and MaxGroups, what lies in the log and in no segment returns below them with each round, but for the active file
//	    and for open transactions: it is what another broker must read before it can take over.
package cleaner

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/object"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/express/wal"
)

// Config says how often and how much. A zero field takes its default.
type Config struct {
	Grace      time.Duration // before a retired object is deleted; default 1 min, at least 1 s
	SweepEvery time.Duration // between sweeps for orphans; default 1 h
	MinLive    float64       // a sealed log file with a smaller live part is emptied; default 0.5, in [0, 1]
	Idle       time.Duration // pause between rounds at the most; default 5 s
	// MaxMapBytes bounds the memory for the keys of one compaction, whatever
	// log.cleaner.dedupe.buffer.size says; default 16 MiB.
	MaxMapBytes int64
	// MaxLog bounds the bytes that are in the log and not in segments: above it the oldest log files are emptied. 0: nothing does.
	MaxLog int64
	// MaxGroups does the same for commit groups: each is an object to be read, however small. 0: nothing does.
	MaxGroups int64
	Cut       partition.CutPolicy // zero: partition.DefaultCutPolicy
}

// World is what the cleaner works on. All fields but Sweeps and Orphans are needed.
type World struct {
	Partitions func() []*partition.Partition
	Settings   func() *settings.Broker
	Log        *wal.Log
	Manifests  *manifest.Store
	Objects    object.Store
	Segments   *segment.Cache
	Clock      clock.Clock
	Logger     *slog.Logger
	// Sweeps tells whether it is for this broker to look for what nobody refers to, which one broker does for the
	// whole cluster; nil: it is.
	Sweeps func() bool
	// Orphans is part of that look: it deletes what else crashes may have left in the store, and tells how many objects
	// that were; nil: nothing.
	Orphans func(ctx context.Context, now time.Time) (int, error)
}

// Stats counts since New.
type Stats struct {
	CutBytes       int64 // record bytes written a second time
	RecordsRemoved int64 // by compaction
	ObjectsDeleted int64
}

// Cleaner is made by New; Run does the work.
type Cleaner struct {
	cfg   Config
	world World

	mu      sync.Mutex
	retired []retired
	stats   Stats

	lastRetention, lastCompaction, lastSweep time.Time // of Run's goroutine
}

type retired struct {
	key string
	due time.Time
}

// New fills in defaults.
func New(cfg Config, w World) *Cleaner {
	if cfg.Grace < time.Second {
		cfg.Grace = time.Minute
	}
	if cfg.SweepEvery <= 0 {
		cfg.SweepEvery = time.Hour
	}
	if cfg.MinLive <= 0 {
		cfg.MinLive = 0.5
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 5 * time.Second
	}
	if cfg.MaxMapBytes <= 0 {
		cfg.MaxMapBytes = 16 << 20
	}
	if cfg.Cut.MinBytes == 0 {
		cfg.Cut = partition.DefaultCutPolicy()
	}
	return &Cleaner{cfg: cfg, world: w}
}

// Retire takes the keys of objects that no manifest references any more. Safe
// for concurrent use; it does not block.
func (c *Cleaner) Retire(keys []string) {
	due := c.world.Clock.Now().Add(c.cfg.Grace)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.retired = append(c.retired, retired{key: k, due: due})
	}
}

// Stats so far.
func (c *Cleaner) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Run works until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	timer := time.NewTimer(c.cfg.Idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.world.Log.Sealed():
		case <-timer.C:
		}
		c.Round(ctx)
		timer.Reset(c.pause())
	}
}

func (c *Cleaner) pause() time.Duration {
	s := c.world.Settings()
	shortest := min(s.RetentionCheckMs, s.CleanerBackoffMs)
	return max(min(c.cfg.Idle, time.Duration(shortest)*time.Millisecond), 100*time.Millisecond)
}

// Round does once all that is due.
func (c *Cleaner) Round(ctx context.Context) {
	now := c.world.Clock.Now()
	s := c.world.Settings()
	retain := due(&c.lastRetention, now, s.RetentionCheckMs)
	compact := due(&c.lastCompaction, now, s.CleanerBackoffMs)
	if c.manyGroups() || (compact || retain) && c.wantsRoll() {
		c.roll(ctx)
	}
	policy := c.cfg.Cut
	release := c.toEmpty()
	policy.Release = func(file uint64) bool { return release[file] }
	for _, p := range c.world.Partitions() {
		if ctx.Err() != nil {
			return
		}
		if retain {
			_, err := p.ApplyRetention(ctx)
			c.report(ctx, "retention", p, err)
			p.ExpireProducers(time.Duration(s.ProducerIDExpirationMs) * time.Millisecond)
		}
		c.cut(ctx, p, policy)
		if compact {
			c.compact(ctx, p, s)
		}
	}
	c.deleteRetired(ctx)
	c.sweep(ctx, now)
}

// due says whether ms have passed since last, and if so moves it to now.
func due(last *time.Time, now time.Time, ms int64) bool {
	if now.Sub(*last) < time.Duration(ms)*time.Millisecond {
		return false
	}
	*last = now
	return true
}

// activeShare: the file that is written has at most this part of MaxGroups, so that the rest can be emptied.
const activeShare = 4

// manyGroups says whether the file that is written is to be sealed for the number of its groups (K4).
func (c *Cleaner) manyGroups() bool {
	if c.cfg.MaxGroups == 0 {
		return false
	}
	files := c.world.Log.Files()
	return len(files) > 0 && !files[len(files)-1].Sealed && files[len(files)-1].Groups >= c.cfg.MaxGroups/activeShare
}

func (c *Cleaner) wantsRoll() bool {
	return slices.ContainsFunc(c.world.Partitions(), (*partition.Partition).WantsRoll)
}

func (c *Cleaner) roll(ctx context.Context) {
	if err := c.world.Log.Roll(ctx); err != nil && ctx.Err() == nil {
		c.world.Logger.Warn("log file could not be sealed early", "err", err)
	}
}

// toEmpty finds the sealed log files that keep more dead bytes than live ones
// on the disk, and the oldest of a log that is too long (K4).
func (c *Cleaner) toEmpty() map[uint64]bool {
	empty := map[uint64]bool{}
	files := c.world.Log.Files()
	var bytes, groups int64 // in files that are not looked at yet
	for _, f := range files {
		bytes, groups = bytes+f.Bytes, groups+f.Groups
	}
	for _, f := range files {
		dead, long := float64(f.Live) < c.cfg.MinLive*float64(f.Bytes), c.cfg.MaxLog > 0 && bytes > c.cfg.MaxLog || c.cfg.MaxGroups > 0 && groups > c.cfg.MaxGroups
		if f.Sealed && (dead || long) {
			empty[f.Seq] = true
		}
		bytes, groups = bytes-f.Bytes, groups-f.Groups
	}
	return empty
}

func (c *Cleaner) cut(ctx context.Context, p *partition.Partition, policy partition.CutPolicy) {
	n, err := p.Cut(ctx, policy)
	c.report(ctx, "cut", p, err)
	c.mu.Lock()
	c.stats.CutBytes += n
	c.mu.Unlock()
}

func (c *Cleaner) compact(ctx context.Context, p *partition.Partition, s *settings.Broker) {
	n, err := p.Compact(ctx, partition.CompactLimits{MaxMapBytes: min(s.CleanerDedupeBytes, c.cfg.MaxMapBytes)})
	c.report(ctx, "compaction", p, err)
	c.mu.Lock()
	c.stats.RecordsRemoved += n
	c.mu.Unlock()
}

func (c *Cleaner) report(ctx context.Context, work string, p *partition.Partition, err error) {
	if err != nil && ctx.Err() == nil {
		c.world.Logger.Warn("background work failed and will be tried again", "work", work, "topic", p.Name(), "partition", p.ID().Index, "err", err)
	}
}

func (c *Cleaner) deleteRetired(ctx context.Context) {
	now := c.world.Clock.Now()
	c.mu.Lock()
	n := 0
	for n < len(c.retired) && !c.retired[n].due.After(now) {
		n++
	}
	ready := c.retired[:n:n]
	c.retired = c.retired[n:]
	c.mu.Unlock()
	for _, r := range ready {
		c.world.Segments.Forget(r.key)
		if err := c.world.Objects.Delete(ctx, r.key); err != nil {
			if ctx.Err() == nil {
				c.world.Logger.Warn("object could not be deleted, the sweep will try again", "key", r.key, "err", err)
			}
			continue
		}
		c.mu.Lock()
		c.stats.ObjectsDeleted++
		c.mu.Unlock()
	}
}

func (c *Cleaner) sweep(ctx context.Context, now time.Time) {
	if c.world.Sweeps != nil && !c.world.Sweeps() || !due(&c.lastSweep, now, c.cfg.SweepEvery.Milliseconds()) {
		return
	}
	n, err := c.world.Manifests.Sweep(ctx, c.cfg.Grace.Milliseconds(), now.UnixMilli())
	if err != nil && ctx.Err() == nil {
		c.world.Logger.Warn("sweep failed", "err", err)
	}
	if c.world.Orphans != nil {
		more, err := c.world.Orphans(ctx, now)
		if err != nil && ctx.Err() == nil {
			c.world.Logger.Warn("sweep failed", "err", err)
		}
		n += more
	}
	c.mu.Lock()
	c.stats.ObjectsDeleted += int64(n)
	c.mu.Unlock()
	if n > 0 {
		c.world.Logger.Info("orphaned objects deleted", "count", n)
	}
}
