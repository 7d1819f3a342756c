package audit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"millrace/kafka/topic"
)

// look is the work of a pass.
func (a *Auditor) look(ctx context.Context, now *Pass) {
	c := &checker{
		manifests: a.world.Manifests, objects: paced{a.world.Objects, a.pace}, slabs: a.world.Slabs, pace: a.pace,
		now: a.world.Clock.Now, expiry: a.world.Expiry, found: func(f Finding) { a.found(now, f) },
	}
	visited := map[topic.Partition]bool{}
	for { // partitions come meanwhile
		todo := a.unvisited(visited)
		a.mu.Lock()
		now.Partitions = len(visited) + len(todo)
		a.mu.Unlock()
		if len(todo) == 0 {
			break
		}
		for _, p := range todo {
			visited[p.ID()] = true
			err := c.served(ctx, p)
			if ctx.Err() != nil {
				return
			}
			a.checked(now, p, err)
		}
	}
	for _, id := range a.closed(visited) {
		err := a.lookClosed(ctx, c, id)
		if ctx.Err() != nil {
			return
		}
		a.notOpen(now, id, err)
	}
	if !a.world.Whole() {
		return
	}
	records := func(context.Context) (map[topic.Partition]Record, error) { return a.world.Records(), nil }
	s := &storeCheck{checker: c, records: records, current: a.world.Current, suspects: a.suspects, age: a.cfg.Orphan}
	err := s.run(ctx)
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now.Store, now.Waiting = true, s.waiting
	if err != nil {
		a.skipLocked(now, Skip{Partition: -1, Reason: "the store as a whole: " + err.Error()})
	}
}

// unvisited lists partitions that came since the pass looked, in a steady order.
func (a *Auditor) unvisited(visited map[topic.Partition]bool) (todo []Partition) {
	for _, p := range a.world.Partitions() {
		if !visited[p.ID()] {
			todo = append(todo, p)
		}
	}
	slices.SortFunc(todo, func(x, y Partition) int {
		return cmp.Or(cmp.Compare(x.Name(), y.Name()), cmp.Compare(x.ID().Index, y.ID().Index))
	})
	return todo
}

// closed lists partitions that are this broker's by the catalog and that it does not serve: they could not be opened, or
// are just being.
func (a *Auditor) closed(visited map[topic.Partition]bool) (ids []topic.Partition) {
	for id, r := range a.world.Records() {
		if r.Owner == a.cfg.Broker && !visited[id] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y topic.Partition) int {
		return cmp.Or(cmp.Compare(x.Topic.String(), y.Topic.String()), cmp.Compare(x.Index, y.Index))
	})
	return ids
}

// lookClosed gives a partition some time to open, and then looks at what is in the store of it. It returns nil where the
// partition was checked whole after all.
func (a *Auditor) lookClosed(ctx context.Context, c *checker, id topic.Partition) error {
	for try := range settleTries {
		for _, p := range a.world.Partitions() {
			if p.ID() == id {
				return c.served(ctx, p)
			}
		}
		if a.world.Records()[id].Owner != a.cfg.Broker {
			return errMoved
		}
		if err := pause(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.Join(errClosed, c.stored(ctx, id, a.world.Records()[id].Topic))
}

// notOpen notes what came of a partition that was not served when the pass came to it.
func (a *Auditor) notOpen(now *Pass, id topic.Partition, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now.Partitions++
	if err == nil {
		now.Checked++
		return
	}
	a.skipLocked(now, Skip{
		Topic: a.world.Records()[id].Topic, TopicID: id.Topic, Partition: id.Index, Reason: err.Error(), Moved: errors.Is(err, errMoved),
	})
}

// checked notes what came of one partition.
func (a *Auditor) checked(now *Pass, p Partition, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		now.Checked++
		return
	}
	a.skipLocked(now, Skip{
		Topic: p.Name(), TopicID: p.ID().Topic, Partition: p.ID().Index, Reason: err.Error(), Moved: errors.Is(err, errMoved),
	})
}
