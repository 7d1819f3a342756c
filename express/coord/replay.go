package coord

import (
	"context"
	"fmt"

	"millrace/base/slab"
	"millrace/express/group"
	"millrace/kafka/record"
)

const (
	loadBytes       = 1 << 20  // of one read
	maxDecompressed = 64 << 20 // of one batch; what we write is not compressed
)

// load replays the log from its start to the high watermark.
func (s *shard) load(ctx context.Context) error {
	start := s.now()
	r := replay{machine: s.machine}
	from, high := s.log.Offsets()
	for from < high {
		next, err := r.read(ctx, s.log, from)
		if err != nil {
			return err
		}
		if next == from {
			break // compaction has emptied the end of the log
		}
		from = next
	}
	if r.skipped > 0 {
		s.c.world.Log.Warn("records skipped", "partition", s.index, "records", r.skipped, "err", r.firstSkip)
	}
	now := s.now()
	s.settle(s.machine.Loaded(now))
	s.scheduleExpiry(now)
	s.c.world.Log.Info("groups loaded", "partition", s.index, "groups", s.machine.Groups(), "records", r.records,
		"duration", now.Sub(start))
	s.ready.Store(true)
	return nil
}

// replay counts what goes into a machine.
type replay struct {
	machine   *group.Machine
	records   int
	skipped   int
	firstSkip error
}

// read replays the batches of one read and returns the offset after them, from if there were none.
func (r *replay) read(ctx context.Context, log Log, from int64) (next int64, err error) {
	var chain slab.Chain
	defer chain.Release()
	if err := log.Read(ctx, &chain, from, loadBytes); err != nil {
		return 0, fmt.Errorf("read at %d: %w", from, err)
	}
	next = from
	for _, part := range chain.Parts() {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				return 0, fmt.Errorf("read at %d: %w", next, err)
			}
			if err := r.batch(b, from); err != nil {
				return 0, err
			}
			next, part = max(next, b.LastOffset()+1), rest
		}
	}
	return next, nil
}

// batch replays one batch. A record that makes no sense is skipped: one bad record must not cost all groups.
func (r *replay) batch(b record.Batch, from int64) error {
	if b.IsControl() {
		return nil
	}
	for rec, err := range b.Records(maxDecompressed) {
		if err != nil {
			return fmt.Errorf("batch at %d: %w", b.BaseOffset(), err)
		}
		if rec.Offset < from {
			continue
		}
		r.records++
		if err := r.machine.Replay(rec.Key, rec.Value); err != nil {
			r.skipped++
			if r.firstSkip == nil {
				r.firstSkip = fmt.Errorf("offset %d: %w", rec.Offset, err)
			}
		}
	}
	return nil
}
