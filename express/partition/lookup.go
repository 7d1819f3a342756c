package partition

import (
	"context"
	"fmt"
	"sort"

	"millrace/base/slab"
	"millrace/express/segment"
	"millrace/kafka/record"
)

// scanBytes is how much a look-up reads at a time.
const scanBytes = 256 << 10

// Found is the answer to a look-up by time. Offset is -1 where no record fits.
type Found struct {
	Offset    int64
	Timestamp int64 // ms
	Epoch     int32 // leader epoch of the record
}

var notFound = Found{Offset: -1, Timestamp: -1, Epoch: -1}

// OffsetForTime finds the first record at or after ts (ms) that a reader may
// see: below the high watermark, or below the last stable offset where
// committed is set (KIP-79).
func (p *Partition) OffsetForTime(ctx context.Context, ts int64, committed bool) (Found, error) {
	o := p.Offsets()
	limit := o.HW
	if committed {
		limit = o.LSO
	}
	from, err := p.seekTime(ctx, ts, o.LogStart)
	if err != nil || from < 0 {
		return notFound, err
	}
	return p.firstAtOrAfter(ctx, ts, from, o.LogStart, limit)
}

// OffsetOfMaxTime finds the record with the largest timestamp; of several, the
// first (KIP-734).
func (p *Partition) OffsetOfMaxTime(ctx context.Context) (Found, error) {
	o := p.Offsets()
	maxTime := int64(-1)
	for _, e := range p.pieces() {
		maxTime = max(maxTime, e.maxTimestamp)
	}
	if maxTime < 0 {
		return notFound, nil
	}
	// The largest time may lie below the log start or above the high watermark;
	// then the largest of what can be seen is found by looking at every batch.
	from, err := p.seekTime(ctx, maxTime, o.LogStart)
	if err != nil {
		return notFound, err
	}
	if from >= 0 {
		f, err := p.firstAtOrAfter(ctx, maxTime, from, o.LogStart, o.HW)
		if err != nil || f.Offset >= 0 {
			return f, err
		}
	}
	maxTime = -1
	err = p.scan(ctx, o.LogStart, o.HW, func(b record.Batch) bool {
		maxTime = max(maxTime, b.MaxTimestamp())
		return true
	})
	if err != nil || maxTime < 0 {
		return notFound, err
	}
	return p.firstAtOrAfter(ctx, maxTime, o.LogStart, o.LogStart, o.HW)
}

// seekTime gives an offset, at or before the first record with time >= ts, from
// which to scan; -1 where there is no such record.
func (p *Partition) seekTime(ctx context.Context, ts, from int64) (int64, error) {
	p.mu.Lock()
	m := p.manifest
	p.mu.Unlock()
	i := sort.Search(len(m.Segments), func(i int) bool { return m.Segments[i].End > from })
	for ; i < len(m.Segments); i++ {
		if m.Segments[i].MaxTimestamp < ts {
			continue
		}
		offset, ok := int64(0), false
		err := p.world.Segments.With(ctx, m.Segments[i], func(r *segment.Reader) error {
			offset, ok = r.SeekTime(ts, from)
			return nil
		})
		if err != nil {
			return -1, fmt.Errorf("%w: seek time %s-%d: %w", ErrStorage, p.name, p.id.Index, err)
		}
		if ok {
			return max(offset, from), nil
		}
	}
	offset, ok, err := p.world.Stream.SeekTime(ctx, ts, max(from, m.End))
	if err != nil {
		return -1, fmt.Errorf("%w: seek time %s-%d: %w", ErrStorage, p.name, p.id.Index, err)
	}
	if !ok {
		return -1, nil
	}
	return max(offset, from), nil
}

// firstAtOrAfter scans [from, limit) for the first record with time >= ts at or
// after logStart.
func (p *Partition) firstAtOrAfter(ctx context.Context, ts, from, logStart, limit int64) (Found, error) {
	found := notFound
	var inBatch error
	err := p.scan(ctx, from, limit, func(b record.Batch) bool {
		if b.MaxTimestamp() < ts || b.IsControl() {
			return true
		}
		found, inBatch = p.firstInBatch(ctx, b, ts, logStart)
		return inBatch == nil && found.Offset < 0
	})
	if err == nil {
		err = inBatch
	}
	if err != nil {
		return notFound, err
	}
	return found, nil
}

func (p *Partition) firstInBatch(ctx context.Context, b record.Batch, ts, logStart int64) (found Found, err error) {
	if b.TimestampType() == record.LogAppendTime {
		return Found{Offset: max(b.BaseOffset(), logStart), Timestamp: b.MaxTimestamp(), Epoch: b.PartitionLeaderEpoch()}, nil
	}
	err = p.inflate(ctx, len(b), func(most int) (err error) {
		found, err = firstRecord(b, ts, logStart, most)
		return err
	})
	return found, err
}

func firstRecord(b record.Batch, ts, logStart int64, most int) (Found, error) {
	for r, err := range b.Records(most) {
		if err != nil {
			return notFound, fmt.Errorf("%w: batch at %d: %w", ErrStorage, b.BaseOffset(), err)
		}
		if r.Timestamp >= ts && r.Offset >= logStart {
			return Found{Offset: r.Offset, Timestamp: r.Timestamp, Epoch: b.PartitionLeaderEpoch()}, nil
		}
	}
	return notFound, nil
}

// scan calls f for each batch that overlaps [from, limit) until f returns false.
func (p *Partition) scan(ctx context.Context, from, limit int64, f func(record.Batch) bool) error {
	for from < limit {
		next, more, err := p.scanOnce(ctx, from, limit, f)
		if err != nil || !more {
			return err
		}
		from = next
	}
	return nil
}

func (p *Partition) scanOnce(ctx context.Context, from, limit int64, f func(record.Batch) bool) (next int64, more bool, err error) {
	var chain slab.Chain
	defer chain.Release()
	if _, err := p.Read(ctx, &chain, from, scanBytes, true, false); err != nil {
		return 0, false, err
	}
	if chain.Len() == 0 {
		return 0, false, nil
	}
	for _, part := range chain.Parts() {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				return 0, false, fmt.Errorf("%w: scan %s-%d: %w", ErrStorage, p.name, p.id.Index, err)
			}
			if b.BaseOffset() >= limit || !f(b) {
				return 0, false, nil
			}
			next, part = b.LastOffset()+1, rest
		}
	}
	return next, true, nil
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch at or below the one
// asked for, and the offset at which it ended. Both are -1 where the epoch is
// not known here (KIP-101, KIP-320).
func (p *Partition) EpochEnd(epoch int32) (int32, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch == p.epoch {
		return epoch, p.hw
	}
	higher := sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].Epoch > epoch })
	switch {
	case epoch == record.None || higher == len(p.epochs):
		return -1, -1
	case higher == 0: // all that is left of the log is of later epochs
		return epoch, max(p.epochs[0].Start, p.logStart)
	default:
		return p.epochs[higher-1].Epoch, p.epochs[higher].Start
	}
}

// EpochAt gives the leader epoch of the record at offset, or of the next record.
func (p *Partition) EpochAt(offset int64) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	after := sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].Start > offset })
	if after == 0 {
		return p.epochs[0].Epoch
	}
	return p.epochs[after-1].Epoch
}

// piece is a part of the partition that can be dropped whole: a segment, or
// what one log file holds.
type piece struct {
	base, end    int64
	bytes        int64
	maxTimestamp int64
	written      int64 // ms: stands in where records carry no time
	active       bool  // still being appended to
}

// pieces lists the partition in offset order, without what lies below the log start.
func (p *Partition) pieces() []piece {
	p.mu.Lock()
	m, start := p.manifest, p.logStart
	p.mu.Unlock()
	return piecesOf(m, start, p.world.Stream.Extents())
}
