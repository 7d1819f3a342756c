package manifest

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/object"
	"millrace/express/segment"
	"millrace/kafka/topic"
)

const (
	listPage     = 1000    // objects per listing
	sweepObjects = 20_000  // objects that one Sweep looks at; the next goes on behind them
	maxOrphans   = 100_000 // orphans remembered; further ones wait until some are gone
)

// sweepState is what one Sweep leaves for the next.
type sweepState struct {
	root    int    // index in sweepRoots
	after   string // key behind which to go on; "": from the start of the root
	round   int    // counts full passes
	orphans map[string]orphan
}

// orphan is an old object that no manifest referred to when it was looked at.
type orphan struct {
	since int64 // ms: when a Sweep noted it
	round int   // in which it was seen last
}

// sweepRoots are the listings of one pass; their order has no meaning.
var sweepRoots = [...]string{Root, segment.Root}

// Sweep deletes segments and bodies that no current manifest refers to, and returns how many. An object goes in two steps,
// by two calls: a call notes it when it is older than graceMs and without reference, a later one that is at least graceMs
// after the first deletes it if that is still so. What was noted is forgotten with the Store, which only delays. One call
// looks at a bounded number of objects, the next one goes on behind them. Objects whose manifest cannot be read stay, and so
// do foreign ones; the error joins what went wrong and does not mean that nothing was deleted. Calls take turns.
//
// nowMs is the time by the clock that also dates the objects. graceMs must outlast any read that began before its segment
// was replaced, and any cut or compaction from its first finished object to its Commit.
func (s *Store) Sweep(ctx context.Context, graceMs, nowMs int64) (int, error) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, fmt.Errorf("sweep: %w", ctx.Err())
	}
	st := &s.sweep
	var (
		deleted int
		faults  error
	)
	for seen := 0; seen < s.sweepMax; {
		page, err := s.objects.List(ctx, sweepRoots[st.root], st.after, s.page)
		if err != nil {
			return deleted, errors.Join(faults, fmt.Errorf("sweep %s: %w", sweepRoots[st.root], err))
		}
		n, err := s.sweepPage(ctx, page, graceMs, nowMs)
		deleted += n
		faults = errors.Join(faults, err)
		if ctx.Err() != nil {
			return deleted, faults
		}
		seen += len(page)
		if !st.advance(page, s.page) {
			break
		}
	}
	return deleted, faults
}

// advance moves behind page, the answer to a listing of at most limit; it returns false when a full pass ends there.
func (st *sweepState) advance(page []object.Info, limit int) bool {
	if len(page) == limit {
		st.after = page[len(page)-1].Key
		return true
	}
	st.after = ""
	st.root = (st.root + 1) % len(sweepRoots)
	if st.root != 0 {
		return true
	}
	// What was not seen in this pass is gone, or has a reference now.
	for key, o := range st.orphans {
		if o.round != st.round {
			delete(st.orphans, key)
		}
	}
	st.round++
	return false
}

// sweepPage handles the objects of one listing, which is ordered by key and so by partition.
//
// Safe against commits at the same time: an object is finished before it is referred to, and here it is listed before the
// manifest is read. So a listed object is either committed when the manifest is read, and then its reference is seen; or
// its commit is still to come, and then it is young, because no writer takes longer than the grace period (Commit refuses
// one that did, by looking whether the objects are there). The other order, manifests first, would take an object for an
// orphan that was committed between the two steps.
//
// Safe against readers: an object's age says nothing about when it lost its reference, so a second grace period counts
// from when it was first seen without one. Being old by then, it is none whose first commit is still to come; and keys are
// never used again, so without reference once it stays so.
func (s *Store) sweepPage(ctx context.Context, page []object.Info, graceMs, nowMs int64) (deleted int, faults error) {
	var (
		current    topic.Partition
		loaded     bool
		references map[string]bool // nil: not known, keep all
	)
	for _, o := range page {
		p, ok := segment.ParseKey(sweepRoots[s.sweep.root], o.Key)
		if !ok {
			continue
		}
		if !loaded || p != current {
			var err error
			references, err = s.references(ctx, p)
			faults = errors.Join(faults, err)
			current, loaded = p, true
		}
		if references == nil || references[o.Key] || !s.sweep.due(o, graceMs, nowMs) {
			continue
		}
		if err := s.objects.Delete(ctx, o.Key); err != nil {
			faults = errors.Join(faults, fmt.Errorf("sweep %s: %w", o.Key, err))
			continue
		}
		s.log.DebugContext(ctx, "orphan deleted", "key", o.Key, "bytes", o.Size)
		delete(s.sweep.orphans, o.Key)
		deleted++
	}
	return deleted, faults
}

// due notes that an object has no reference and says whether its time has come.
func (st *sweepState) due(found object.Info, graceMs, nowMs int64) bool {
	o, noted := st.orphans[found.Key]
	if !noted {
		if nowMs-found.ModTime.UnixMilli() < graceMs || len(st.orphans) >= maxOrphans {
			return false
		}
		o.since = nowMs
	}
	o.round = st.round
	st.orphans[found.Key] = o
	return noted && nowMs-o.since >= graceMs
}

// references returns the keys of all objects that the current manifest of p needs.
func (s *Store) references(ctx context.Context, p topic.Partition) (map[string]bool, error) {
	m, err := s.Load(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	keys := make(map[string]bool, len(m.Segments)+1)
	if m.bodyKey != "" {
		keys[m.bodyKey] = true
	}
	for _, g := range m.Segments {
		keys[g.Key] = true
	}
	return keys, nil
}
