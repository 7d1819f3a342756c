package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/base/kv"
)

// retryPause lies between two attempts to reach a store that is away.
const retryPause = 200 * time.Millisecond

// batchMost bounds how many changes enter the view at once, and so how long reads may wait for them.
const batchMost = 4096

// Run follows the watch, keeps this broker registered (registering again after a lost lease) and sweeps
// what crashes left behind, until ctx ends; it then returns nil. A store that is away is logged and tried
// again, never fatal; ErrFenced is.
func (c *Catalog) Run(ctx context.Context) error {
	c.following.Store(true)
	defer c.following.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.keepRegistered(ctx) })
	g.Go(func() error { return c.sweepLoop(ctx) })
	g.Go(func() error { return c.keepReserve(ctx) })
	g.Go(func() error { return c.pollLoop(ctx) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("run catalog: %w", err)
	}
	return nil
}

// follow feeds the view until ctx ends. Resync, or a watch that ended, means to list again.
func (c *Catalog) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		c.followWatch(ctx)
		for ctx.Err() == nil {
			err := c.relist(ctx)
			if err == nil {
				break
			}
			c.log.Warn("listing cluster metadata failed", "err", err)
			pause(ctx, retryPause)
		}
	}
	return nil
}

// followWatch applies changes from the state's revision on until the watch ends, or brings nothing any more.
func (c *Catalog) followWatch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c.feeding.Lock()
	from := c.state.rev + 1
	c.feeding.Unlock()
	events := c.kv.Watch(ctx, c.cfg.Prefix, from)
	defer func() {
		cancel()
		for range events { // let the watch end before the next begins
		}
	}()
	for {
		select {
		case e, ok := <-events:
			if !ok || !c.feed(e, events) {
				return
			}
		case <-c.stale:
			return
		}
	}
}

// feed applies first and what else has already arrived as one batch. It reports false at a resync.
func (c *Catalog) feed(first kv.Event, more <-chan kv.Event) bool {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	defer c.publish()
	e, ok := first, true
	for n := 1; ok && e.Type != kv.EventResync; n++ {
		c.applyEvent(e)
		if n == batchMost {
			return true
		}
		select {
		case e, ok = <-more:
		default:
			return true
		}
	}
	return !ok // an ended watch ends the caller's loop by itself
}

// applyEvent takes one change of the watch into the state, unless a listing had it; c.feeding is held.
func (c *Catalog) applyEvent(e kv.Event) {
	if e.Item.ModRev <= c.state.listed {
		return
	}
	c.state.rev = max(c.state.rev, e.Item.ModRev)
	c.apply(e)
}

func (c *Catalog) apply(e kv.Event) {
	path, ok := strings.CutPrefix(e.Item.Key, c.cfg.Prefix)
	if !ok {
		return
	}
	if err := c.state.apply(path, e); err != nil {
		c.log.Error("unreadable cluster metadata skipped", "key", e.Item.Key, "err", err)
	}
}

// relist reads everything anew and publishes the difference to what was known.
func (c *Catalog) relist(ctx context.Context) error {
	items, rev, err := c.kv.List(ctx, c.cfg.Prefix)
	if err != nil {
		return fmt.Errorf("list cluster metadata: %w", err)
	}
	c.feeding.Lock()
	defer c.feeding.Unlock()
	if rev < c.state.rev {
		return nil // the view has moved on meanwhile
	}
	old := c.state
	c.state = newState()
	c.state.rev, c.state.listed = rev, rev
	for _, item := range items {
		c.keepUnreadable(&old, item)
		c.apply(kv.Event{Type: kv.EventPut, Item: item})
	}
	for name := range old.topics {
		c.state.dirty[name] = true
	}
	c.state.dirtyBrokers, c.state.dirtyConfigs, c.state.dirtyQuotas, c.state.dirtyTelem = true, true, true, true
	c.publish()
	return nil
}

// Refresh brings into the view what is in the store now, however far the watch is behind.
func (c *Catalog) Refresh(ctx context.Context) error {
	if err := c.relist(ctx); err != nil {
		return unavailable("refresh", err)
	}
	return nil
}

// keepUnreadable carries the last readable state of a topic over a listing in which its record cannot be
// read (C4).
func (c *Catalog) keepUnreadable(old *state, item kv.Item) {
	name, ok := strings.CutPrefix(item.Key, c.cfg.Prefix+"topics/")
	if !ok {
		return
	}
	if _, err := readTopic(name, item.Value, item.ModRev); err == nil {
		return
	}
	if r, had := old.topics[name]; had {
		c.state.topics[name], c.state.names[r.ID] = r, name
	}
}

// await blocks until the view fulfils ok and the subscribers have heard of it, or ctx ends; ok reads the view and is
// called with mu held. So whoever has made a topic finds its partitions open. While
// Run is not running nobody else feeds the view, so await lists by itself; ok must hold after a listing.
func (c *Catalog) await(ctx context.Context, ok func(*view) bool) error {
	for {
		c.mu.RLock()
		done, changed := ok(&c.view) && !c.telling, c.changed
		c.mu.RUnlock()
		if done {
			return nil
		}
		if !c.following.Load() {
			if err := c.relist(ctx); err != nil {
				return unavailable("read back", err)
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable("read back", ctx.Err())
		}
	}
}

// sawTopic is an await condition: the write of a topic's record at rev is in the view, or so much later a
// change that it must have been.
func sawTopic(name string, rev int64) func(*view) bool {
	return func(v *view) bool { return v.made[name].rev >= rev || v.rev > rev }
}

func (c *Catalog) unsubscribe(s *subscriber) {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	c.subscribers = slices.DeleteFunc(slices.Clone(c.subscribers), func(other *subscriber) bool { return other == s })
}

// unavailable marks an error of the store as retriable; conflicts are the caller's business and stay.
func unavailable(what string, err error) error {
	if errors.Is(err, kv.ErrTooLarge) || errors.Is(err, kv.ErrBadTxn) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
