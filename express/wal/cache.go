package wal

import (
	"container/list"
	"sync"
)

// cacheRuns bounds the indexes of sealed files in memory: 64 Ki runs are 3 MiB.
const cacheRuns = 64 << 10

// runCache keeps the runs of the extents of sealed files that were used last. One index that is larger than the bound is
// kept alone. The zero value is ready.
type runCache struct {
	mu    sync.Mutex
	runs  int
	order list.List // of *extent, the one used last in front
}

// get returns the runs of x, or nil.
func (c *runCache) get(x *extent) []run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.cachedAt == nil {
		return nil
	}
	c.order.MoveToFront(x.cachedAt)
	return x.cached
}

// put adds what was loaded. Nobody changes runs afterwards.
func (c *runCache) put(x *extent, runs []run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.cachedAt != nil {
		return // somebody else was quicker
	}
	x.cached, x.cachedAt = runs, c.order.PushFront(x)
	for c.runs += len(runs); c.runs > cacheRuns && c.order.Len() > 1; {
		c.dropLocked(c.order.Back().Value.(*extent))
	}
}

// drop forgets an extent that is no longer live. A reader that is under way may put it back; it goes with time.
func (c *runCache) drop(x *extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.cachedAt != nil {
		c.dropLocked(x)
	}
}

func (c *runCache) dropLocked(x *extent) {
	c.order.Remove(x.cachedAt)
	c.runs -= len(x.cached)
	x.cached, x.cachedAt = nil, nil
}
