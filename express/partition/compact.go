package partition

import (
	"context"
	"fmt"

	"millrace/express/manifest"
	"millrace/express/segment"
	"millrace/express/settings"
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
	p.maintenance.Lock()
	defer p.maintenance.Unlock()
	p.mu.Lock()
	m, epoch := p.manifest, p.epoch
	p.mu.Unlock()
	now := p.world.Clock.Now().UnixMilli()
	keepFrom := compactable(m, s, now)
	if !worthCompacting(m, s, now, keepFrom) {
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
// by tombstones whose time has come.
func worthCompacting(m *manifest.Manifest, s *settings.Topic, now, keepFrom int64) bool {
	var dirty, total int64
	overdue, tombstones := false, false
	for _, seg := range m.Segments {
		if seg.End > keepFrom {
			break
		}
		total += seg.DataBytes
		if seg.End > m.CleanedEnd {
			dirty += seg.DataBytes
			overdue = overdue || now-oldest(seg) > s.MaxCompactionLagMs
		}
		tombstones = tombstones || seg.DeleteHorizon > 0 && seg.DeleteHorizon <= now
	}
	return dirty > 0 && (float64(dirty) >= s.MinCleanableRatio*float64(total) || overdue) || tombstones
}

// oldest stands in for the first record's time, which a segment does not keep:
// its records were written before it was.
func oldest(seg segment.Info) int64 {
	if seg.MaxTimestamp > 0 && seg.MaxTimestamp < seg.Created {
		return seg.MaxTimestamp
	}
	return seg.Created
}
