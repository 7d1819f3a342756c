package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"millrace/base/kv"
)

// Claim takes the partitions that are assigned to this broker but were served by another incarnation of it:
// their leader epoch grows by one, compared and swapped in batches, and where the logs are in the object
// store, that of the other incarnation is to be imported. It is the first step of a take-over and
// comes before Register; the log of the other incarnation must be sealed or locked after it and before
// anything is served. It can be repeated after an error.
func (c *Catalog) Claim(ctx context.Context) error {
	prefix := c.cfg.Prefix + "partitions/"
	for {
		items, _, err := c.kv.List(ctx, prefix)
		if err != nil {
			return unavailable("claim partitions", err)
		}
		again, err := c.claim(ctx, items)
		if err != nil {
			return fmt.Errorf("claim partitions: %w", err)
		}
		if !again {
			break
		}
	}
	if err := c.relist(ctx); err != nil { // the view, without a change per partition
		return unavailable("claim partitions", err)
	}
	return nil
}

// claim writes what of items is to be claimed; again says that something changed under it.
func (c *Catalog) claim(ctx context.Context, items []kv.Item) (again bool, err error) {
	var b batches
	for _, item := range items {
		r, err := decode[partitionRecord](item.Value)
		if err != nil {
			c.log.Error("unreadable cluster metadata skipped", "key", item.Key, "err", err)
			continue
		}
		if r.Owner == c.cfg.Self.ID && r.Incarnation != c.cfg.Self.Incarnation {
			r.inherit(c.cfg.Self, c.cfg.Log)
			b.add(kv.Put(item.Key, encode(r)), kv.ModRevEquals(item.Key, item.ModRev))
		}
	}
	var raced atomic.Bool
	err = b.write(ctx, c.kv, func(_ context.Context, _ batch, _ int64, err error) error {
		if errors.Is(err, errRace) {
			raced.Store(true)
			return nil
		}
		return err
	})
	return raced.Load(), err
}
