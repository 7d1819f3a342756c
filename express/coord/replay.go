package coord

import (
	"context"
	"fmt"

	"millrace/base/slab"
	"millrace/express/machine"
	"millrace/kafka/record"
)

const (
	loadBytes       = 1 << 20  // of one read
	maxDecompressed = 64 << 20 // of one batch; what we write is not compressed
)

// load replays the log from its start to the high watermark.
func (s *shard[M]) load(ctx context.Context) error {
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
		s.c.log.Warn("records skipped", "topic", s.c.cfg.Name, "partition", s.index, "records", r.skipped, "err", r.firstSkip)
	}
	now := s.now()
	s.settle(s.machine.Loaded(now))
	s.scheduleExpiry(now)
	s.c.log.Info("coordinator partition loaded", "topic", s.c.cfg.Name, "partition", s.index, "records", r.records,
		"duration", now.Sub(start))
	s.ready.Store(true)
	return nil
}

// replay counts what goes into a machine.
type replay struct {
	machine   Machine
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

// batch replays one batch. A record that makes no sense is skipped: one bad record must not cost all the others.
func (r *replay) batch(b record.Batch, from int64) error {
	if b.IsControl() {
		r.control(b)
		return nil
	}
	var tx *machine.Producer
	if b.IsTransactional() {
		tx = &machine.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
	}
	for rec, err := range b.Records(maxDecompressed) {
		if err != nil {
			return fmt.Errorf("batch at %d: %w", b.BaseOffset(), err)
		}
		if rec.Offset < from {
			continue
		}
		r.records++
		if err := r.machine.Replay(machine.Record{Key: rec.Key, Value: rec.Value}, tx); err != nil {
			r.skip(rec.Offset, err)
		}
	}
	return nil
}

// control replays a marker; other control batches mean nothing here.
func (r *replay) control(b record.Batch) {
	m, err := record.DecodeMarker(b)
	if err != nil {
		r.skip(b.BaseOffset(), err)
		return
	}
	r.machine.ReplayMarker(machine.Marker{
		Producer: machine.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch,
	})
}

func (r *replay) skip(offset int64, err error) {
	r.skipped++
	if r.firstSkip == nil {
		r.firstSkip = fmt.Errorf("offset %d: %w", offset, err)
	}
}
