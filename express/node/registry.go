package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

const (
	// patience is how long requests wait for a partition that is on its way here, or whose release has no answer yet,
	// counted from when that began.
	patience = time.Second
	// openingAtOnce and leavingAtOnce bound the work on partitions that come and go.
	openingAtOnce = 16
	leavingAtOnce = 8
)

// registry keeps the partitions that this broker serves in step with the
// catalog. Partition is on the path of every request; the rest follows the catalog's
// changes, which come one at a time, and does its work beside them (slot.go).
type registry struct {
	self      catalog.Broker
	selfLog   string // as records name it
	catalog   *catalog.Catalog
	log       *wal.Log
	manifests *manifest.Store
	logs      logStore        // nil where logs are on the brokers' disks
	world     partition.World // what all partitions share; Stream is set for each
	clock     clock.Clock
	logger    *slog.Logger
	opened    func(t *catalog.Topic, p *partition.Partition)
	closed    func(t *catalog.Topic, p *partition.Partition)
	deleted   func(t *catalog.Topic) // a topic is gone from the cluster, wherever it was served

	topics map[topic.ID]*catalog.Topic // as slots know them: without Partitions, of which they would keep many copies; of change

	mu         sync.RWMutex
	partitions map[topic.Partition]*partition.Partition // what requests find
	slots      map[topic.Partition]*slot                // what is here, comes or goes
	expected   map[topic.Partition]time.Time            // what others are ordered to release to us, and since when we know
	untried    int                                      // slots whose first step has not ended
	news       chan struct{}                            // closed and replaced with each change of the above
	opening    lane
	leaving    lane
	replays    map[string]*replay // by the log that is imported from
	ended      bool
	work       sync.WaitGroup
}

func newRegistry(c *catalog.Catalog) *registry {
	return &registry{
		self: c.Self(), selfLog: catalog.LogID(c.Self().ID, c.Self().Incarnation), catalog: c, replays: map[string]*replay{}, news: make(chan struct{}), opening: lane{most: openingAtOnce}, leaving: lane{most: leavingAtOnce},
		partitions: map[topic.Partition]*partition.Partition{}, slots: map[topic.Partition]*slot{},
		expected: map[topic.Partition]time.Time{}, topics: map[topic.ID]*catalog.Topic{},
	}
}

// Partition finds a partition that is served here. It waits, for at most patience from when that began, where the catalog
// says that the partition is ours and it is not open yet, or is just being released, or is ordered to come here (N5): a
// client that was told by the owner of before may be here sooner than the news.
func (r *registry) Partition(id topic.Partition) (*partition.Partition, bool) {
	if p, ok := r.served(id); ok {
		return p, true
	}
	for {
		r.mu.RLock()
		p, ok := r.partitions[id]
		wait, news := r.waitLocked(id), r.news
		r.mu.RUnlock()
		if ok || wait <= 0 {
			return p, ok
		}
		timer := time.NewTimer(wait)
		select {
		case <-news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// waitLocked is how long a request may wait for a partition that is not served.
func (r *registry) waitLocked(id topic.Partition) time.Duration {
	s := r.slots[id]
	since, comes := r.expected[id]
	switch {
	case r.ended:
		return 0
	case comes:
	case s == nil || s.topic == nil || s.part.Owner != r.self.ID || s.failures > 0:
		return 0
	default:
		since = s.since
	}
	return patience - r.clock.Now().Sub(since)
}

// expectLocked notes whether a partition is ordered to come here from another broker.
func (r *registry) expectLocked(id topic.Partition, t *catalog.Topic, part catalog.Partition) {
	_, before := r.expected[id]
	comes := t != nil && part.To == r.self.ID && part.Owner != r.self.ID
	switch {
	case comes && !before:
		r.expected[id] = r.clock.Now()
	case before && !comes:
		delete(r.expected, id)
		r.tellLocked()
	}
}

// served is Partition without waiting.
func (r *registry) served(id topic.Partition) (*partition.Partition, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.partitions[id]
	return p, ok
}

// All lists the partitions that are served here, in no order.
func (r *registry) All() []*partition.Partition {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*partition.Partition, 0, len(r.partitions))
	for _, p := range r.partitions {
		all = append(all, p)
	}
	return all
}

// change follows one change of the catalog. It does not block.
func (r *registry) change(ctx context.Context, old, now *catalog.Topic) {
	if old != nil && (now == nil || now.ID != old.ID) {
		for i := range old.Partitions {
			r.tell(ctx, topic.Partition{Topic: old.ID, Index: int32(i)}, nil, catalog.Partition{})
		}
		r.deleted(old)
		delete(r.topics, old.ID)
		old = nil
	}
	if now == nil {
		return
	}
	if old == nil || r.topics[now.ID] == nil || old.Settings != now.Settings {
		old = nil
		alone := *now
		alone.Partitions = nil
		r.topics[now.ID] = &alone
	}
	for i, part := range now.Partitions {
		// A topic of thousands of partitions changes thousands of times while they move.
		if old == nil || i >= len(old.Partitions) || old.Partitions[i] != part {
			r.tell(ctx, topic.Partition{Topic: now.ID, Index: int32(i)}, r.topics[now.ID], part)
		}
	}
}

// tell brings what the catalog says of one partition to its slot. A deleted topic's partition ends at once; what it kept
// is removed beside.
func (r *registry) tell(ctx context.Context, id topic.Partition, t *catalog.Topic, part catalog.Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expectLocked(id, t, part)
	s := r.slots[id]
	if s == nil {
		if t == nil || part.Owner != r.self.ID {
			return
		}
		s = &slot{id: id, left: -1, durable: -1, imported: -1, since: r.clock.Now()}
		r.slots[id] = s
		r.untried++
	}
	s.topic = t
	p := r.partitions[id]
	switch {
	case t != nil:
		if part.Owner == r.self.ID && s.part.Owner != r.self.ID {
			s.since = r.clock.Now()
		}
		s.known, s.part = t, part
		if p != nil {
			p.SetSettings(t.Settings)
		}
	case p != nil:
		delete(r.partitions, id)
		p.Close()
	}
	r.kickLocked(ctx, s)
	r.tellLocked()
}

// tellLocked wakes who waits for a change.
func (r *registry) tellLocked() {
	close(r.news)
	r.news = make(chan struct{})
}

// show has requests find a partition.
func (r *registry) show(s *slot) {
	r.mu.Lock()
	t, p := s.topic, s.p
	if t != nil {
		p.SetSettings(t.Settings)
		r.partitions[s.id] = p
	}
	r.tellLocked()
	r.mu.Unlock()
	if t != nil {
		r.opened(t, p)
	}
}

// withdraw is the opposite of show. Once it has returned, nothing is answered for the partition that was not under way.
func (r *registry) withdraw(s *slot) {
	r.mu.Lock()
	delete(r.partitions, s.id)
	s.since = r.clock.Now()
	t, p := s.known, s.p
	r.mu.Unlock()
	r.closed(t, p)
}

// settled waits until each partition that was told of has been opened, or could not be.
func (r *registry) settled(ctx context.Context) error {
	for {
		r.mu.RLock()
		untried, news := r.untried, r.news
		r.mu.RUnlock()
		if untried == 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// closeAll takes every partition out of service and waits for the work beside, whose context must have ended.
func (r *registry) closeAll() {
	r.mu.Lock()
	r.ended = true
	for _, s := range r.slots {
		if s.p != nil {
			s.p.Close()
		}
		if s.retry != nil {
			s.retry.Stop()
		}
	}
	r.tellLocked()
	r.mu.Unlock()
	r.work.Wait()
}

// removeUnknown drops what was left behind, by a crash or because the broker was down: streams of the log whose
// partition is another broker's now, or gone, and manifests of partitions that are gone. pointers are manifests that
// were there before the catalog was read, so that none of them is newer than what it knows. A partition that exists and
// could not be opened keeps everything, and so does one whose owner is not known.
func (r *registry) removeUnknown(ctx context.Context, pointers []topic.Partition) error {
	for _, id := range r.log.Partitions() {
		if part, ok := r.record(id); !ok || part.Owner >= 0 && part.Owner != r.self.ID {
			r.log.Stream(id).Forget()
		}
	}
	var errs []error
	for _, id := range pointers {
		if _, ok := r.record(id); !ok {
			errs = append(errs, r.manifests.Delete(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// record is what the catalog says of a partition; false where it does not exist.
func (r *registry) record(id topic.Partition) (catalog.Partition, bool) {
	t, ok := r.catalog.TopicByID(id.Topic)
	if !ok || id.Index < 0 || int(id.Index) >= len(t.Partitions) {
		return catalog.Partition{}, false
	}
	return t.Partitions[id.Index], true
}
