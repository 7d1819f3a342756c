package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"millrace/base/kv"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/producer"
	"millrace/express/segment"
	"millrace/express/wal"
	"millrace/kafka/record"
)

// cutReadBytes is how much a cut holds in memory at a time.
const cutReadBytes = 1 << 20

// CutPolicy says when moving sealed parts of the log into segments pays. All
// fields must be set; see DefaultCutPolicy.
type CutPolicy struct {
	// SmallPiece: a part of a log file whose runs are shorter on average (bytes)
	// is dear to read where it lies.
	SmallPiece int64
	// MinBytes: parts with small pieces are left to gather until they are worth
	// a segment of so many bytes,
	MinBytes int64
	// MaxAge: or until their newest record is that old.
	MaxAge time.Duration
	// Release says whether a log file shall be emptied, however it reads.
	// Nil: none.
	Release func(file uint64) bool
}

// DefaultCutPolicy leaves large runs in the log, where they were written once,
// and gathers small ones.
func DefaultCutPolicy() CutPolicy {
	return CutPolicy{SmallPiece: 16 << 10, MinBytes: 8 << 20, MaxAge: 5 * time.Minute}
}

// Cut moves the sealed part of the log for which the policy asks into segments.
// It returns how many bytes it wrote. Nothing that a reader sees changes.
func (p *Partition) Cut(ctx context.Context, policy CutPolicy) (written int64, err error) {
	if !p.startMaintenance() {
		return 0, nil
	}
	defer p.maintenance.Unlock()
	for {
		to := p.cutEnd(policy)
		n, err := p.cutSegment(ctx, to)
		written += n
		if err != nil {
			return written, fmt.Errorf("cut %s-%d: %w", p.name, p.id.Index, err)
		}
		if n == 0 {
			return written, nil
		}
	}
}

// cutEnd gives the offset up to which to cut: segments must follow each other
// without a gap, so everything before the last part that asks for it goes too.
func (p *Partition) cutEnd(policy CutPolicy) (to int64) {
	p.mu.Lock()
	from := max(p.manifest.End, p.logStart)
	p.mu.Unlock()
	s := p.settings.Load()
	now := p.world.Clock.Now().UnixMilli()
	var bytes, small int64
	for _, e := range p.world.Stream.Extents() {
		if !e.Sealed {
			break
		}
		if e.End <= from {
			continue
		}
		bytes += e.Bytes
		if e.Bytes < policy.SmallPiece*e.Pieces {
			small += e.Bytes
		}
		aged := now-e.LastAppend >= policy.MaxAge.Milliseconds() || s.MaxCompactionLagMs < math.MaxInt64
		switch {
		case policy.Release != nil && policy.Release(e.File),
			small > 0 && (small >= policy.MinBytes || aged),
			s.Compact && (bytes >= policy.MinBytes || aged || now-e.LastAppend >= s.SegmentMs || bytes >= s.SegmentBytes):
			to = e.End
		}
	}
	return to
}

// cutSegment writes one segment from the manifest's end on, at most up to to,
// and commits it. The log is trimmed after the commit (P6).
func (p *Partition) cutSegment(ctx context.Context, to int64) (int64, error) {
	p.mu.Lock()
	m, epoch, from := p.manifest, p.epoch, max(p.manifest.End, p.logStart)
	to = min(to, p.hw, p.lso()) // P8
	p.mu.Unlock()
	if from >= to {
		return 0, nil
	}
	base := from
	if len(m.Segments) == 0 {
		// The log start may lie within a batch; the segment begins with it.
		first, err := p.batchAt(ctx, from)
		if err != nil {
			return 0, err
		}
		base = min(base, first)
	}
	w, err := segment.Create(ctx, p.world.Objects, p.writerConfig(base, epoch), p.world.Clock.Now().UnixMilli())
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	end, err := p.copyLog(ctx, w, from, to)
	if err != nil {
		return 0, err
	}
	w.SetAborted(p.abortedIn(base, end))
	info, err := w.Finish(ctx, end, p.producersBelow(end))
	if err != nil {
		return 0, err
	}
	next := m.Clone()
	next.Segments = append(next.Segments, info)
	next.End = end
	next.Epochs = p.epochsBelow(end)
	return info.DataBytes, p.commit(ctx, next)
}

func (p *Partition) writerConfig(base int64, epoch int32) segment.WriterConfig {
	return segment.WriterConfig{Partition: p.id, Epoch: epoch, Base: base, IndexBytes: p.settings.Load().IndexIntervalBytes}
}

func (p *Partition) producersBelow(end int64) *producer.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.producers.Below(end)
}

func (p *Partition) epochsBelow(end int64) []manifest.EpochStart {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].Start >= end })
	return slices.Clone(p.epochs[:n])
}

func (p *Partition) batchAt(ctx context.Context, offset int64) (base int64, err error) {
	var chain slab.Chain
	defer chain.Release()
	if err := p.world.Stream.Read(ctx, &chain, offset, p.Offsets().HW, 1, true); err != nil {
		return 0, err
	}
	if chain.Len() == 0 {
		return offset, nil
	}
	b, _, err := record.Next(chain.Parts()[0])
	if err != nil {
		return 0, err
	}
	return b.BaseOffset(), nil
}

// copyLog writes [from, to) of the log, or less where the segment is full, and
// returns the offset that it reached.
func (p *Partition) copyLog(ctx context.Context, w *segment.Writer, from, to int64) (int64, error) {
	limit := p.settings.Load().SegmentBytes
	for from < to && w.DataBytes() < limit {
		next, err := p.copyChunk(ctx, w, from, to)
		if err != nil {
			return 0, err
		}
		if next <= from {
			return 0, fmt.Errorf("%w: the log yields nothing at %d", ErrGap, from)
		}
		from = next
	}
	return from, nil
}

// appender takes whole batches: a segment, or a tail.
type appender interface {
	Append(batches []byte) error
}

// copyChunk copies some batches of the log from offset from on, and returns the offset that it reached.
func (p *Partition) copyChunk(ctx context.Context, w appender, from, to int64) (next int64, err error) {
	var chain slab.Chain
	defer chain.Release()
	if err := p.world.Stream.Read(ctx, &chain, from, to, cutReadBytes, true); err != nil {
		return 0, err
	}
	for _, part := range chain.Parts() {
		if err := w.Append(part); err != nil {
			return 0, err
		}
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				return 0, err
			}
			next, part = b.LastOffset()+1, rest
		}
	}
	return next, nil
}

// commit makes next the manifest, then lets go of what it no longer needs. The
// caller holds maintenance.
func (p *Partition) commit(ctx context.Context, next *manifest.Manifest) error {
	if err := p.startCommit(); err != nil {
		return err
	}
	defer p.committing.Unlock()
	p.mu.Lock()
	prev := p.manifest
	p.mu.Unlock()
	err := p.world.Manifests.Commit(ctx, prev, next)
	switch {
	case err == nil:
		p.install(prev, next)
		return nil
	case errors.Is(err, manifest.ErrFenced):
		return fmt.Errorf("%w: %w", ErrNotOwner, err)
	}
	if !errors.Is(err, kv.ErrUnknown) && !errors.Is(err, manifest.ErrConflict) {
		return err
	}
	// The pointer may have moved, by us where the outcome was unknown. What
	// stands there now is the truth; the next round goes on from it.
	now, loadErr := p.world.Manifests.Load(ctx, p.id)
	if loadErr == nil && now.Version > prev.Version && now.Fence() == prev.Fence() {
		p.install(prev, now)
	}
	return errors.Join(err, loadErr)
}

// install takes over a manifest that is committed.
func (p *Partition) install(prev, now *manifest.Manifest) {
	p.mu.Lock()
	p.manifest = now
	p.logStart = max(p.logStart, now.LogStart)
	trim := max(now.End, p.logStart)
	p.trimTransactions(now)
	p.notifyLocked()
	p.mu.Unlock()
	p.world.Stream.Trim(trim)
	if gone := dropped(prev.Segments, now.Segments); len(gone) > 0 && p.world.Retire != nil {
		p.world.Retire(gone)
	}
}

func dropped(before, now []segment.Info) (keys []string) {
	kept := make(map[string]bool, len(now))
	for _, s := range now {
		kept[s.Key] = true
	}
	for _, s := range before {
		if !kept[s.Key] {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// DeleteRecords moves the log start to before, -1 meaning the high watermark,
// and returns the new log start once that is durable. An offset below the log
// start changes nothing (KIP-107). Errors: ErrPolicy where the topic is only
// compacted, ErrOffsetOutOfRange, ErrNotOwner, ErrStorage.
func (p *Partition) DeleteRecords(ctx context.Context, before int64) (int64, error) {
	if err := p.awaitMaintenance(ctx); err != nil {
		return p.Offsets().LogStart, err
	}
	defer p.maintenance.Unlock()
	o := p.Offsets()
	switch {
	case !p.settings.Load().Delete:
		return o.LogStart, fmt.Errorf("%w: records of a topic with cleanup.policy=compact are not deleted by offset", ErrPolicy)
	case before == -1:
		before = o.HW
	case before < 0 || before > o.HW:
		return o.LogStart, fmt.Errorf("%w: %d is past the high watermark %d", ErrOffsetOutOfRange, before, o.HW)
	}
	if err := p.advance(ctx, before); errors.Is(err, ErrNotOwner) {
		return o.LogStart, err
	} else if err != nil {
		return o.LogStart, fmt.Errorf("%w: delete records: %w", ErrStorage, err)
	}
	return p.Offsets().LogStart, nil
}

// advance moves the log start forward. The caller holds maintenance.
func (p *Partition) advance(ctx context.Context, start int64) error {
	p.mu.Lock()
	m, now := p.manifest, p.logStart
	p.mu.Unlock()
	if start <= now {
		return nil
	}
	next := m.Clone()
	next.LogStart = start
	n := sort.Search(len(next.Segments), func(i int) bool { return next.Segments[i].End > start })
	next.Segments = next.Segments[n:]
	if len(next.Segments) == 0 {
		next.End = start
		next.CleanedEnd = start
	}
	return p.commit(ctx, next)
}

// ApplyRetention drops what the topic's retention.ms and retention.bytes no
// longer keep, by whole segments and log files. It returns by how many offsets
// the log start moved.
func (p *Partition) ApplyRetention(ctx context.Context) (int64, error) {
	if !p.startMaintenance() {
		return 0, nil
	}
	defer p.maintenance.Unlock()
	s := p.settings.Load()
	if !s.Delete {
		return 0, nil
	}
	o := p.Offsets()
	now := p.world.Clock.Now().UnixMilli()
	start := min(retained(p.pieces(), now, s.RetentionMs, s.RetentionBytes), o.HW)
	if start <= o.LogStart {
		return 0, nil
	}
	if err := p.advance(ctx, start); err != nil {
		return 0, fmt.Errorf("retention of %s-%d: %w", p.name, p.id.Index, err)
	}
	return start - o.LogStart, nil
}

// retained gives the offset at which what is kept begins; -1 where all is kept.
// As in Kafka a piece goes by time when its newest record is too old, and by
// size when at least retentionBytes remain without it; what is still being
// appended to goes by time only.
func retained(pieces []piece, now, retentionMs, retentionBytes int64) int64 {
	start := int64(-1)
	var total int64
	for _, e := range pieces {
		total += e.bytes
	}
	for _, e := range pieces {
		newest := e.maxTimestamp
		if newest < 0 {
			newest = e.written
		}
		expired := retentionMs >= 0 && now-newest > retentionMs
		excess := retentionBytes >= 0 && !e.active && total-e.bytes >= retentionBytes
		if !expired && !excess {
			break
		}
		start = e.end
		total -= e.bytes
	}
	return start
}

func piecesOf(m *manifest.Manifest, logStart int64, extents []wal.Extent) (out []piece) {
	for _, s := range m.Segments {
		if s.End > logStart {
			out = append(out, piece{base: s.Base, end: s.End, bytes: s.DataBytes, maxTimestamp: s.MaxTimestamp, written: s.Created})
		}
	}
	for _, e := range extents {
		if e.End > max(m.End, logStart) {
			out = append(out, piece{base: e.Base, end: e.End, bytes: e.Bytes, maxTimestamp: e.MaxTimestamp, written: e.LastAppend, active: !e.Sealed})
		}
	}
	return out
}

// WantsRoll says whether the partition's data in the active log file is old or
// large enough, by the topic's segment.ms and segment.bytes, that the file
// should be sealed: only sealed data is compacted or goes by size. Where records
// must be compacted within max.compaction.lag.ms, that counts like segment.ms.
func (p *Partition) WantsRoll() bool {
	s := p.settings.Load()
	now := p.world.Clock.Now().UnixMilli()
	extents := p.world.Stream.Extents()
	if len(extents) == 0 {
		return false
	}
	e := extents[len(extents)-1]
	lifetime := s.SegmentMs
	if s.Compact {
		lifetime = min(lifetime, s.MaxCompactionLagMs)
	}
	return !e.Sealed && e.Bytes > 0 && (now-e.FirstAppend >= lifetime || e.Bytes >= s.SegmentBytes)
}

// Delete removes what the partition keeps, once its topic is gone: it closes the
// partition, drops its stream and deletes its manifest; the segments go by the
// grace period.
func (p *Partition) Delete(ctx context.Context) error {
	p.Close()
	p.maintenance.Lock()
	defer p.maintenance.Unlock()
	p.mu.Lock()
	m := p.manifest
	p.mu.Unlock()
	if err := p.world.Manifests.Delete(ctx, p.id); err != nil {
		return fmt.Errorf("delete %s-%d: %w", p.name, p.id.Index, err)
	}
	p.world.Stream.Forget()
	if keys := dropped(m.Segments, nil); len(keys) > 0 && p.world.Retire != nil {
		p.world.Retire(keys)
	}
	return nil
}
