package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/segment"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

const (
	// scanBytes is how much of a log is in memory at a time.
	scanBytes = 1 << 20
	// settleTries is how often a check looks again at a partition that changes while it is looked at.
	settleTries = 5
)

// Partition is what is checked of a partition that is served here; *partition.Partition is one.
type Partition interface {
	// ID is the partition's permanent identity.
	ID() topic.Partition
	// Name is the topic's name.
	Name() string
	// View is where the partition stands now.
	View() partition.View
	// Scan reads as fetches do, up to the high watermark, and counts as nobody's traffic.
	Scan(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) (partition.Offsets, error)
}

// Errors that end the check of a partition without a verdict.
var (
	errMoved    = errors.New("it went to another broker meanwhile")
	errClosed   = errors.New("its broker could not open it, so its log was not looked at")
	errUnstable = errors.New("it changed faster than it could be looked at")
)

// checker looks at things, once. It reports faults only when a second look, at what is current then, shows them too.
type checker struct {
	manifests *manifest.Store
	objects   object.Store
	slabs     *slab.Pool
	pace      *pacer
	now       func() time.Time
	expiry    func() time.Duration // of producers
	found     func(Finding)
}

// subject is one partition under check.
type subject struct {
	*checker
	id    topic.Partition
	name  string
	chain *chain
}

func (c *checker) subject(id topic.Partition, name string) *subject {
	return &subject{checker: c, id: id, name: name}
}

func (s *subject) report(kind Kind, object string, offset int64, detail string) {
	s.found(Finding{
		Kind: kind, Topic: s.name, TopicID: s.id.Topic, Partition: s.id.Index, Object: object, Offset: offset, Detail: detail, Found: s.now(),
	})
}

// served checks a partition of this broker: its manifest, its segments, its log. It returns nil when all of it was looked
// at, whatever was found; errMoved, or why something could not be looked at.
func (c *checker) served(ctx context.Context, p Partition) error {
	s := c.subject(p.ID(), p.Name())
	whole, err := s.settle(ctx, p)
	if err != nil {
		return err
	}
	v := p.View()
	s.chain = newChain(v.LogStart, v.Epochs, v.Epoch, s.expiry().Milliseconds())
	if len(v.Manifest.Segments) > 0 {
		s.chain.jump(v.Manifest.Segments[0].Base)
	}
	unread := s.segments(ctx, func() *manifest.Manifest {
		v := p.View()
		s.chain.epochs, s.chain.most = v.Epochs, v.Epoch
		return v.Manifest
	}, whole)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := s.log(ctx, p); err != nil {
		unread = errors.Join(unread, err)
	}
	if unread != nil && p.View().Leaving {
		return errMoved
	}
	return unread
}

// stored checks the segments of a partition by its manifest alone, as nobody serves it.
func (c *checker) stored(ctx context.Context, id topic.Partition, name string) error {
	s := c.subject(id, name)
	m, err := s.manifests.Load(ctx, id)
	if err != nil {
		return s.unreadable(ctx, err)
	}
	s.chain = newChain(m.LogStart, m.Epochs, math.MaxInt32, s.expiry().Milliseconds())
	if len(m.Segments) > 0 {
		s.chain.jump(m.Segments[0].Base)
	}
	return s.segments(ctx, func() *manifest.Manifest { return m }, true)
}

// settle compares the manifest that the partition works with and the one that etcd and the store hold. whole is false
// where the latter cannot be read; then what it refers to is not known for certain.
func (s *subject) settle(ctx context.Context, p Partition) (whole bool, err error) {
	for try := 0; ; try++ {
		before := p.View()
		if before.Leaving {
			return false, errMoved
		}
		stored, err := s.manifests.Load(ctx, s.id)
		now := p.View()
		switch {
		case now.Leaving:
			return false, errMoved
		case err != nil && damaged(err):
			return false, s.unreadable(ctx, err)
		case err != nil:
			return false, err
		case stored.Version < before.Manifest.Version:
			s.report(BadManifest, stored.Body(), -1, fmt.Sprintf("the manifest went back from version %d to %d", before.Manifest.Version, stored.Version))
			return true, nil
		case stored.Version == now.Manifest.Version && !manifest.Same(stored, now.Manifest):
			s.report(BadManifest, stored.Body(), -1, fmt.Sprintf("version %d of the manifest is another one than the broker committed", stored.Version))
			return true, nil
		case stored.Version <= now.Manifest.Version:
			return true, nil
		}
		// Ahead: a commit of ours has just got there, or another broker took over and we have yet to hear of it.
		if try == settleTries {
			return false, errMoved
		}
		if err := pause(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// damaged says whether the manifest itself is at fault, and not the way to it.
func damaged(err error) bool { return errors.Is(err, manifest.ErrCorrupt) }

// unreadable reports a manifest that cannot be read, where a second look agrees.
func (s *subject) unreadable(ctx context.Context, err error) error {
	if !damaged(err) {
		return err
	}
	_, again := s.manifests.Load(ctx, s.id)
	switch {
	case again == nil:
		return errUnstable
	case !damaged(again):
		return again
	}
	kind := BadManifest
	switch {
	case errors.Is(again, manifest.ErrGap):
		kind = Gap
	case errors.Is(again, manifest.ErrOverlap):
		kind = Overlap
	}
	s.report(kind, "", -1, again.Error())
	return nil
}

// segments checks each segment of the manifest that current gives, which may change meanwhile: what compaction or
// retention replaced is passed over. confirm says that what etcd holds is to be believed.
func (s *subject) segments(ctx context.Context, current func() *manifest.Manifest, confirm bool) (unread error) {
	for pos, misses := int64(-1), 0; ; {
		m := current()
		i := sort.Search(len(m.Segments), func(i int) bool { return m.Segments[i].End > pos })
		if i == len(m.Segments) {
			return unread
		}
		info := m.Segments[i]
		if info.Base != s.chain.next {
			s.chain.jump(info.Base) // deleted, or compacted with what was before, while we looked elsewhere
		}
		err := s.segment(ctx, info)
		if err == nil {
			pos, misses = info.End, 0
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, object.ErrNotFound) && misses < settleTries && !refers(current(), info.Key) {
			misses++ // replaced meanwhile: look at what stands there now
			continue
		}
		if e := s.verdict(ctx, info, err, confirm); e != nil {
			unread = errors.Join(unread, e)
		}
		s.chain.jump(info.End)
		pos, misses = info.End, 0
	}
}

func refers(m *manifest.Manifest, key string) bool {
	for _, g := range m.Segments {
		if g.Key == key {
			return true
		}
	}
	return false
}

// segment reads one segment through.
func (s *subject) segment(ctx context.Context, info segment.Info) error {
	if err := s.pace.take(ctx, requestCost); err != nil {
		return err
	}
	stat, err := s.objects.Stat(ctx, info.Key)
	if err != nil {
		return err
	}
	if stat.Size != info.Size {
		return &segment.CorruptionError{Key: info.Key, Offset: min(stat.Size, info.Size), Err: fmt.Errorf("%d bytes, the manifest says %d", stat.Size, info.Size)}
	}
	r, err := segment.Open(ctx, s.objects, info)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // what was read is read
	err = r.VerifyEach(ctx, s.slabs, func(b record.Batch) error {
		if f := s.chain.take(b, !info.Compacted); f != nil {
			return f
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !info.Compacted && s.chain.next < info.End {
		return &fault{Gap, s.chain.next, fmt.Sprintf("offsets %d to %d are in no batch", s.chain.next, info.End-1)}
	}
	s.chain.next, s.chain.started = max(s.chain.next, info.End), true
	return nil
}

// verdict reports what a segment's fault is, if it still is one: the current manifest refers to the segment.
func (s *subject) verdict(ctx context.Context, info segment.Info, err error, confirm bool) error {
	kind, offset, detail := DamagedObject, info.Base, err.Error()
	var f *fault
	switch {
	case errors.As(err, &f):
		kind, offset, detail = f.kind, f.offset, f.detail
	case errors.Is(err, object.ErrNotFound):
		kind, detail = LostObject, fmt.Sprintf("the object is not in the store; it held offsets %d to %d", info.Base, info.End-1)
	case !errors.Is(err, segment.ErrCorrupt):
		return err // the store does not answer, or this build is too old
	}
	if confirm {
		m, err := s.manifests.Load(ctx, s.id)
		if err != nil {
			return err
		}
		if !refers(m, info.Key) {
			return nil
		}
	}
	s.report(kind, info.Key, offset, detail)
	return nil
}

// log reads what is in no segment, as a fetch would, up to the high watermark of now.
func (s *subject) log(ctx context.Context, p Partition) error {
	v := p.View()
	from, to := max(v.Manifest.End, v.LogStart), v.HW
	if from > s.chain.next || len(v.Manifest.Segments) == 0 {
		s.chain.jump(from)
	}
	for from < to {
		next, err := s.piece(ctx, p, from)
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// piece reads on from an offset and returns where to go on; beyond any high watermark after damage that hides what follows.
func (s *subject) piece(ctx context.Context, p Partition, from int64) (next int64, err error) {
	var chain slab.Chain
	defer chain.Release()
	o, err := p.Scan(ctx, &chain, from, scanBytes)
	if e := s.pace.take(ctx, int64(chain.Len())); e != nil {
		return 0, e
	}
	v := p.View()
	s.chain.epochs, s.chain.most = v.Epochs, v.Epoch
	switch {
	case v.Leaving, errors.Is(err, partition.ErrNotOwner):
		return 0, errMoved
	case from < v.LogStart: // deleted while we looked
		s.chain.jump(v.LogStart)
		return v.LogStart, nil
	case err != nil:
		return s.broken(from, err)
	case chain.Len() == 0 && from < v.Manifest.End: // cut and compacted meanwhile
		s.chain.jump(v.Manifest.End)
		return v.Manifest.End, nil
	case chain.Len() == 0:
		s.report(Gap, "", from, fmt.Sprintf("nothing can be read at offset %d, the high watermark is %d", from, o.HW))
		return math.MaxInt64, nil
	}
	return s.batches(chain.Parts(), from, v.Manifest.End)
}

// batches judges what was read at an offset. What lies below cut may have been compacted.
func (s *subject) batches(parts [][]byte, from, cut int64) (next int64, err error) {
	for _, part := range parts {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				return s.broken(from, fmt.Errorf("%w: %w", wal.ErrCorrupt, err))
			}
			if b.CRC() != b.ComputeCRC() {
				s.report(DamagedLog, "", b.BaseOffset(), "the checksum of a batch does not match")
				s.chain.jump(max(b.LastOffset(), from) + 1)
			} else if f := s.chain.take(b, b.BaseOffset() >= cut); f != nil {
				if f.kind == DamagedObject {
					f.kind = DamagedLog
				}
				s.report(f.kind, "", f.offset, f.detail)
			}
			from, part = max(b.LastOffset(), from)+1, rest
		}
	}
	return from, nil
}

// broken tells damage from trouble in reading.
func (s *subject) broken(at int64, err error) (next int64, _ error) {
	for _, damage := range []error{wal.ErrCorrupt, segment.ErrCorrupt, object.ErrNotFound} {
		if errors.Is(err, damage) {
			s.report(DamagedLog, "", at, err.Error())
			return math.MaxInt64, nil
		}
	}
	return 0, err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
