package manifest

import (
	"fmt"
	"strings"

	"millrace/express/segment"
)

// check returns the first fault of m by itself: the invariants that hold for every manifest, whatever was before it.
func (m *Manifest) check() error {
	if m.Partition.Index < 0 || m.LogStart < 0 {
		return fmt.Errorf("partition %d, log start %d: must not be negative", m.Partition.Index, m.LogStart)
	}
	end := m.LogStart
	if n := len(m.Segments); n > 0 {
		if first := m.Segments[0].Base; first > m.LogStart {
			return fmt.Errorf("%w: %d to %d", ErrGap, m.LogStart, first)
		}
		end = m.Segments[n-1].End
	}
	if m.End != end {
		return fmt.Errorf("end is %d, but the segments reach to %d", m.End, end)
	}
	if m.CleanedEnd < 0 || m.CleanedEnd > m.End {
		return fmt.Errorf("cleaned end %d is not within 0 and end %d", m.CleanedEnd, m.End)
	}
	if err := m.checkSegments(); err != nil {
		return err
	}
	for i, e := range m.Epochs {
		if e.Epoch < 0 || e.Start < 0 || i > 0 && (e.Epoch <= m.Epochs[i-1].Epoch || e.Start < m.Epochs[i-1].Start) {
			return fmt.Errorf("leader epoch %d from %d does not ascend", e.Epoch, e.Start)
		}
	}
	return nil
}

// checkSegments is the coverage part of check: each offset in exactly one object, and each object of this partition only,
// which is what lets Sweep decide by one manifest.
func (m *Manifest) checkSegments() error {
	prefix := segment.Prefix(m.Partition)
	seen := make(map[string]bool, len(m.Segments))
	for i, s := range m.Segments {
		switch {
		case !strings.HasPrefix(s.Key, prefix):
			return fmt.Errorf("segment %q is not of partition %s", s.Key, m.Partition)
		case seen[s.Key]:
			return fmt.Errorf("segment %q stands twice", s.Key)
		case s.Base < 0 || s.End <= s.Base:
			return fmt.Errorf("segment %q covers %d to %d", s.Key, s.Base, s.End)
		case s.DataBytes < 0 || s.IndexPos < s.DataBytes || s.Size <= s.IndexPos:
			return fmt.Errorf("segment %q has sizes %d, %d, %d out of order", s.Key, s.DataBytes, s.IndexPos, s.Size)
		case i > 0 && s.Base > m.Segments[i-1].End:
			return fmt.Errorf("%w: %d to %d", ErrGap, m.Segments[i-1].End, s.Base)
		case i > 0 && s.Base < m.Segments[i-1].End:
			return fmt.Errorf("%w: %d to %d", ErrOverlap, s.Base, m.Segments[i-1].End)
		}
		seen[s.Key] = true
	}
	return nil
}

// checkStep returns the first fault of next as the successor of prev: nothing that readers were told goes back, and no
// object comes back that a sweep may already have taken.
func checkStep(prev, next *Manifest) error {
	switch {
	case next.Partition != prev.Partition:
		return fmt.Errorf("partition changes from %s to %s", prev.Partition, next.Partition)
	case next.Version != prev.Version:
		return fmt.Errorf("made from version %d, not from %d", next.Version, prev.Version)
	case next.LogStart < prev.LogStart:
		return fmt.Errorf("log start goes back from %d to %d", prev.LogStart, next.LogStart)
	case next.End < prev.End:
		return fmt.Errorf("end goes back from %d to %d", prev.End, next.End)
	}
	if n := len(prev.Epochs); n > 0 {
		last := prev.Epochs[n-1].Epoch
		if len(next.Epochs) == 0 || next.Epochs[len(next.Epochs)-1].Epoch < last {
			return fmt.Errorf("leader epoch %d is lost", last)
		}
	}
	known := make(map[string]segment.Info, len(prev.Segments))
	for _, s := range prev.Segments {
		known[s.Key] = s
	}
	for _, s := range next.Segments {
		if before, ok := known[s.Key]; ok && before != s {
			return fmt.Errorf("segment %q changes", s.Key)
		}
	}
	if len(prev.Segments) > 0 && len(next.Segments) > 0 && next.Segments[0].Base < prev.Segments[0].Base {
		return fmt.Errorf("first segment goes back from %d to %d", prev.Segments[0].Base, next.Segments[0].Base)
	}
	return nil
}
