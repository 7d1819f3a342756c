package catalog

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/kv"
)

// batchOps is how many keys one transaction changes; it stays below kv.MaxOps with a condition for each.
const batchOps = 100

// Claim takes the partitions that are assigned to this broker but were served by another incarnation of it:
// their leader epoch grows by one, compared and swapped in batches. It is the first step of a take-over and
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
	var conds []kv.Cond
	var ops []kv.Op
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := c.kv.Txn(ctx, conds, ops)
		conds, ops = conds[:0], ops[:0]
		switch {
		case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil:
			again = true
		case err != nil:
			return unavailable("write", err)
		}
		return nil
	}
	for _, item := range items {
		r, err := decode[partitionRecord](item.Value)
		if err != nil {
			c.log.Error("unreadable cluster metadata skipped", "key", item.Key, "err", err)
			continue
		}
		if r.Owner != c.cfg.Self.ID || r.Incarnation == c.cfg.Self.Incarnation {
			continue
		}
		r.Epoch++
		r.Incarnation = c.cfg.Self.Incarnation
		conds = append(conds, kv.ModRevEquals(item.Key, item.ModRev))
		ops = append(ops, kv.Put(item.Key, encode(r)))
		if len(ops) == batchOps {
			if err := flush(); err != nil {
				return false, err
			}
		}
	}
	err = flush()
	return again, err
}
