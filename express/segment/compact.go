package segment

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/producer"
	"millrace/kafka/record"
)

// CompactPolicy is Kafka's rules as of one moment.
type CompactPolicy struct {
	NowMs           int64 // ms since 1970
	DeleteRetention int64 // delete.retention.ms: how long a tombstone stays after it was first compacted (KIP-534)
	// KeepFrom: batches that reach it are neither changed nor make earlier records obsolete (min.compaction.lag.ms, last
	// stable offset, the last record of the log).
	KeepFrom int64
	// MaxMapBytes bounds the memory for keys. When it is used up, compaction goes as far as it got; one batch always fits.
	MaxMapBytes int64
	// TargetBytes is the data that an output segment gets before the next is begun (segment.bytes). Inputs are not split.
	TargetBytes int64
}

// Compacted says what a compaction made.
type Compacted struct {
	// Out covers exactly what the inputs covered. Inputs that were out of reach stand at its end as they are, with their
	// own keys; all others are new objects.
	Out        []Info
	CleanedEnd int64 // the next compaction's dirtyFrom
	Removed    int64 // records dropped
}

// ErrCoverage is returned by Compact for inputs that are no contiguous range.
var ErrCoverage = errors.New("segment: ranges do not join")

// Compact keeps of each key only the last record: it reads the segments from dirtyFrom to policy.KeepFrom for the last
// offset of each key, and then writes all of them anew without what is obsolete. In must be contiguous and begin with the
// first segment of the log, or a dropped tombstone could bring back an older value; what lies below dirtyFrom was
// compacted before. Where KeepFrom lies below dirtyFrom, nothing is done. Of cfg, Base is not used.
//
// Offsets, timestamps, producer fields, codecs and the offset range of each batch that keeps a record are preserved, and
// batches that lose none are copied byte for byte (but for the delete horizon, see rewrite). Records without a key go, as
// in Kafka. What the segments say was aborted goes too; a marker goes delete.retention.ms after its transaction has no record
// left. Kafka also keeps the last batch of each producer, as an empty batch, because it rebuilds
// producer state from the log; here each output carries the snapshot of the last input in it, and no empty batch is
// written: a client that loops on one (sarama) stays well.
//
// Inputs are not touched. On an error new objects may be left without reference; Sweep of package manifest finds them.
func Compact(ctx context.Context, store object.Store, slabs *slab.Pool, cfg WriterConfig, in []Info, dirtyFrom int64, policy CompactPolicy) (Compacted, error) {
	if err := checkJoined(in); err != nil {
		return Compacted{}, fmt.Errorf("compact %s: %w", cfg.Partition, err)
	}
	c := compaction{
		store: store, slabs: slabs, cfg: cfg, policy: policy, keys: newKeyMap(policy.MaxMapBytes),
		aborted: map[int64][]producer.Aborted{}, remaining: map[int64]bool{},
	}
	result, err := c.run(ctx, in, dirtyFrom)
	if err != nil {
		return Compacted{}, fmt.Errorf("compact %s: %w", cfg.Partition, err)
	}
	return result, nil
}

// checkJoined returns ErrCoverage unless each segment begins where the one before ends.
func checkJoined(infos []Info) error {
	for i, s := range infos {
		if s.End <= s.Base || i > 0 && s.Base != infos[i-1].End {
			return fmt.Errorf("%w: %s covers %d to %d", ErrCoverage, s.Key, s.Base, s.End)
		}
	}
	return nil
}

// compaction is one Compact under way.
type compaction struct {
	store  object.Store
	slabs  *slab.Pool
	cfg    WriterConfig
	policy CompactPolicy

	keys     *keyMap
	frontier int64 // batches that end below are cleaned; always a batch boundary
	removed  int64

	out      []Info
	writer   *Writer // nil between outputs
	snapshot []byte  // producers as of the end of the last input in writer
	horizon  int64   // smallest delete horizon in writer; 0: none

	aborted   map[int64][]producer.Aborted // by producer, by first offset: what the inputs know
	remaining map[int64]bool               // producers whose transaction at hand has a record that stays

	verdicts []bool // of the batch at hand, by record: keep it
	builder  record.Builder
	scratch  []byte // for rewritten batches
}

func (c *compaction) run(ctx context.Context, in []Info, dirtyFrom int64) (Compacted, error) {
	if len(in) == 0 || c.policy.KeepFrom < dirtyFrom { // the lag was raised: what is clean already must wait, too
		return Compacted{Out: in, CleanedEnd: dirtyFrom}, nil
	}
	if err := c.loadAborted(ctx, in); err != nil {
		return Compacted{}, err
	}
	if err := c.mapKeys(ctx, in, dirtyFrom); err != nil {
		return Compacted{}, err
	}
	reached := 0
	for reached < len(in) && in[reached].Base < c.frontier {
		reached++
	}
	if err := c.copyAll(ctx, in[:reached]); err != nil {
		return Compacted{}, err
	}
	out := append(c.out, in[reached:]...)
	if err := checkSame(in, out, c.removed); err != nil {
		return Compacted{}, err
	}
	return Compacted{Out: out, CleanedEnd: c.frontier, Removed: c.removed}, nil
}

// checkSame is the last look before inputs may be replaced: the outputs cover what the inputs covered, and no record went
// that was not counted.
func checkSame(in, out []Info, removed int64) error {
	if err := checkJoined(out); err != nil {
		return err
	}
	if len(out) == 0 || out[0].Base != in[0].Base || out[len(out)-1].End != in[len(in)-1].End {
		return fmt.Errorf("%w: outputs cover another range than inputs", ErrCoverage)
	}
	if before, after := records(in), records(out); before-removed != after {
		return fmt.Errorf("%w: of %d records %d were dropped and %d are left", ErrCoverage, before, removed, after)
	}
	return nil
}

func records(infos []Info) (n int64) {
	for _, s := range infos {
		n += s.Records
	}
	return n
}

// errFull ends the first pass early; it goes no further than mapKeys.
var errFull = errors.New("key map is full")

// mapKeys is the first pass. It sets the frontier: behind the last batch whose keys are in the map.
func (c *compaction) mapKeys(ctx context.Context, in []Info, dirtyFrom int64) error {
	end := min(c.policy.KeepFrom, in[len(in)-1].End)
	c.frontier = max(in[0].Base, dirtyFrom)
	for _, s := range in {
		if s.End <= c.frontier || s.Base >= end {
			continue
		}
		err := c.open(ctx, s, func(r *Reader) error {
			return r.each(ctx, c.slabs, c.frontier, func(b record.Batch, pos int64) error {
				return c.mapBatch(r, b, pos)
			})
		})
		if errors.Is(err, errFull) {
			return nil
		}
		if err != nil {
			return err
		}
		c.frontier = min(s.End, end) // holes and all
	}
	return nil
}

// mapBatch notes the keys of one batch, or ends the pass in front of it.
func (c *compaction) mapBatch(r *Reader, b record.Batch, pos int64) error {
	last := b.LastOffset()
	if last < c.frontier {
		return nil
	}
	if last >= c.policy.KeepFrom || c.keys.full() {
		c.frontier = max(c.frontier, min(b.BaseOffset(), c.policy.KeepFrom))
		return errFull
	}
	if b.CRC() != b.ComputeCRC() {
		return r.corrupt(pos, errChecksum)
	}
	if !b.IsControl() && !c.isAborted(b) {
		for rec, err := range b.Records(maxDecompressed) {
			if err != nil {
				return r.corrupt(pos, err)
			}
			if rec.Key != nil && rec.Offset >= c.frontier {
				c.keys.put(rec.Key, rec.Offset)
			}
		}
	}
	c.frontier = last + 1
	return nil
}

// copyAll is the second pass: it writes the inputs anew, several into one output where they fit.
func (c *compaction) copyAll(ctx context.Context, in []Info) error {
	defer c.abort()
	for i, s := range in {
		if c.writer != nil && c.writer.DataBytes()+s.DataBytes > c.policy.TargetBytes {
			if err := c.finish(ctx, s.Base); err != nil {
				return err
			}
		}
		if err := c.begin(ctx, s.Base); err != nil {
			return err
		}
		err := c.open(ctx, s, func(r *Reader) (err error) {
			if c.snapshot, err = r.snapshot(ctx); err != nil {
				return err
			}
			return r.each(ctx, c.slabs, s.Base, func(b record.Batch, pos int64) error { return c.copyBatch(r, b, pos) })
		})
		if err != nil {
			return err
		}
		if i == len(in)-1 {
			return c.finish(ctx, s.End)
		}
	}
	return nil
}

// begin makes a writer where there is none.
func (c *compaction) begin(ctx context.Context, base int64) error {
	if c.writer != nil {
		return nil
	}
	cfg := c.cfg
	cfg.Base = base
	w, err := Create(ctx, c.store, cfg, c.policy.NowMs)
	c.writer = w
	return err
}

// finish ends the current output where the next one begins.
func (c *compaction) finish(ctx context.Context, end int64) error {
	w := c.writer
	c.writer = nil
	w.info.Compacted, w.info.DeleteHorizon = true, c.horizon
	w.SetAborted(c.abortedIn(max(w.info.Base, c.frontier), end))
	c.horizon = 0
	info, err := w.finish(ctx, end, c.snapshot)
	if err == nil {
		c.out = append(c.out, info)
	}
	return err
}

func (c *compaction) abort() {
	if c.writer != nil {
		c.writer.Abort()
	}
}

func (c *compaction) open(ctx context.Context, s Info, f func(*Reader) error) error {
	r, err := Open(ctx, c.store, s)
	if err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}
