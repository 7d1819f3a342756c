package partition

import (
	"context"
	"fmt"
	"math"

	"millrace/express/manifest"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/kafka/record"
)

// CompactLimits bounds what one compaction may take.
type CompactLimits struct {
	MaxMapBytes int64 // memory for the keys; a larger dirty part takes several rounds
}

// Compact rewrites the partition's segments so that of each key the last record
// stays, by the topic's cleanup rules. It does nothing where the topic is not
// compacted or too little is dirty. It returns how many records went.
func (p *Partition) Compact(ctx context.Context, limits CompactLimits) (removed int64, err error) {
	s := p.settings.Load()
	if !s.Compact {
		return 0, nil
	}
	if !p.startMaintenance() {
		return 0, nil
	}
	defer p.maintenance.Unlock()
	p.mu.Lock()
	m, epoch := p.manifest, p.epoch
	p.mu.Unlock()
	now := p.world.Clock.Now().UnixMilli()
	keepFrom := compactable(m, s, now)
	worth, err := p.worthCompacting(ctx, m, s, now, keepFrom)
	if err != nil {
		return 0, fmt.Errorf("compact %s-%d: %w", p.name, p.id.Index, err)
	}
	if !worth {
		return 0, nil
	}
	in := m.Segments
	done, err := segment.Compact(ctx, p.world.Objects, p.world.Slabs, p.writerConfig(in[0].Base, epoch), in, m.CleanedEnd, segment.CompactPolicy{
		NowMs:           now,
		DeleteRetention: s.DeleteRetentionMs,
		KeepFrom:        keepFrom,
		MaxMapBytes:     limits.MaxMapBytes,
		TargetBytes:     s.SegmentBytes,
	})
	if err != nil {
		return 0, fmt.Errorf("compact %s-%d: %w", p.name, p.id.Index, err)
	}
	next := m.Clone()
	next.Segments = done.Out
	next.CleanedEnd = done.CleanedEnd
	if err := p.commit(ctx, next); err != nil {
		return 0, fmt.Errorf("compact %s-%d: %w", p.name, p.id.Index, err)
	}
	return done.Removed, nil
}

// compactable gives the offset before which min.compaction.lag.ms lets records be compacted.
func compactable(m *manifest.Manifest, s *settings.Topic, now int64) int64 {
	for _, seg := range m.Segments {
		if s.MinCompactionLagMs > 0 && seg.MaxTimestamp > now-s.MinCompactionLagMs {
			return seg.Base
		}
	}
	return m.End
}

// worthCompacting goes by min.cleanable.dirty.ratio, max.compaction.lag.ms, and
// by tombstones and markers whose time has come.
func (p *Partition) worthCompacting(ctx context.Context, m *manifest.Manifest, s *settings.Topic, now, keepFrom int64) (bool, error) {
	var dirty, total int64
	first := -1 // segment with records that were never compacted
	for i, seg := range m.Segments {
		if seg.End > keepFrom {
			break
		}
		if seg.DeleteHorizon > 0 && seg.DeleteHorizon <= now {
			return true, nil
		}
		total += seg.DataBytes
		if seg.End > m.CleanedEnd {
			dirty += seg.DataBytes
			if first < 0 {
				first = i
			}
		}
	}
	switch {
	case dirty == 0:
		return false, nil
	case float64(dirty) >= s.MinCleanableRatio*float64(total):
		return true, nil
	case s.MaxCompactionLagMs == math.MaxInt64:
		return false, nil
	}
	oldest, err := p.timestampAt(ctx, max(m.Segments[first].Base, m.CleanedEnd))
	return err == nil && oldest >= 0 && now-oldest > s.MaxCompactionLagMs, err
}

// timestampAt gives the largest timestamp of the batch at offset, or of the one
// after it; -1 where there is none.
func (p *Partition) timestampAt(ctx context.Context, offset int64) (ms int64, err error) {
	ms = -1
	err = p.scan(ctx, max(offset, p.Offsets().LogStart), math.MaxInt64, func(b record.Batch) bool {
		ms = b.MaxTimestamp()
		return false
	})
	return ms, err
}
