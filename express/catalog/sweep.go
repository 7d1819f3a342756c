package catalog

import (
	"context"
	"time"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

const (
	// creationMost bounds how long the writes of one new topic may take.
	creationMost = time.Minute
	// sweepAfter is how long partitions without a topic are left alone: they may belong to a topic that is
	// being created. It is much longer than creationMost.
	sweepAfter = 10 * time.Minute
	sweepEvery = 5 * time.Minute
)

// sweepLoop removes what crashes left behind: partitions whose topic's record never came (C1).
func (c *Catalog) sweepLoop(ctx context.Context) error {
	seen := make(map[topic.ID]time.Time)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if c.IsController() {
			c.sweep(ctx, seen)
		}
	}
}

// sweep deletes the partitions of topics that were unknown at the last sweeps too; seen tells since when.
func (c *Catalog) sweep(ctx context.Context, seen map[topic.ID]time.Time) {
	now := c.clock.Now()
	orphans := c.orphans()
	for id := range seen {
		if !orphans[id] {
			delete(seen, id)
		}
	}
	for id := range orphans {
		since, known := seen[id]
		switch {
		case !known:
			seen[id] = now
		case now.Sub(since) >= sweepAfter:
			if _, err := c.kv.Txn(ctx, nil, []kv.Op{kv.DeletePrefix(c.partitionPrefix(id))}); err != nil {
				c.log.Warn("sweeping partitions without a topic failed", "topic_id", id.String(), "err", err)
				continue
			}
			c.log.Info("partitions without a topic swept", "topic_id", id.String())
		}
	}
}

// orphans are the topics that have partitions but no record. While some record cannot be read there are
// none: the partitions may be its.
func (c *Catalog) orphans() map[topic.ID]bool {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	out := make(map[topic.ID]bool)
	if len(c.state.unreadable) > 0 {
		return out
	}
	for id := range c.state.partitions {
		if _, ok := c.state.names[id]; !ok {
			out[id] = true
		}
	}
	return out
}
