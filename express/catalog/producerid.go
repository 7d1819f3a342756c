package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"millrace/base/kv"
)

// idBlock is how many producer ids a broker takes from the store at once.
const idBlock = 1000

// producerIDs hands out the ids of one block after the other, and keeps a block in reserve, so that producers can start
// for a while when the store is away. turn is a lock that a context can end the wait for; it may be held over a call to
// the store.
type producerIDs struct {
	turn      chan struct{} // capacity 1: who has put a token in owns what follows
	next, end int64
	spare     int64 // first id of the block in reserve; -1: none

	used chan struct{} // capacity 1: the reserve is gone
}

func newProducerIDs() producerIDs {
	ids := producerIDs{turn: make(chan struct{}, 1), spare: -1, used: make(chan struct{}, 1)}
	ids.used <- struct{}{}
	return ids
}

// lock takes the turn.
func (ids *producerIDs) lock(ctx context.Context) error {
	select {
	case ids.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (ids *producerIDs) unlock() { <-ids.turn }

// NextProducerID gives an id that nobody else ever got. A restart gives up the rest of a block.
func (c *Catalog) NextProducerID(ctx context.Context) (int64, error) {
	ids := &c.ids
	if err := ids.lock(ctx); err != nil {
		return 0, unavailable("next producer id", err)
	}
	defer ids.unlock()
	if ids.next == ids.end {
		first := ids.spare
		if first < 0 {
			var err error
			if first, err = c.takeProducerIDs(ctx); err != nil {
				return 0, fmt.Errorf("next producer id: %w", err)
			}
		}
		ids.next, ids.end, ids.spare = first, first+idBlock, -1
		select {
		case ids.used <- struct{}{}:
		default:
		}
	}
	ids.next++
	return ids.next - 1, nil
}

// keepReserve takes a block whenever the reserve is gone, until ctx ends.
func (c *Catalog) keepReserve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ids.used:
		}
		for ctx.Err() == nil && !c.fillReserve(ctx) {
			pause(ctx, retryPause)
		}
	}
}

// fillReserve reports whether there is a reserve now. The store is asked without the turn, so that nobody waits for it.
func (c *Catalog) fillReserve(ctx context.Context) bool {
	first, err := c.takeProducerIDs(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("no producer ids in reserve", "err", err)
		}
		return false
	}
	if c.ids.lock(ctx) != nil {
		return false
	}
	defer c.ids.unlock()
	c.ids.spare = first
	return true
}

// takeProducerIDs moves the mark in the store by one block.
func (c *Catalog) takeProducerIDs(ctx context.Context) (first int64, err error) {
	key := c.cfg.Prefix + "producer-ids"
	for {
		r := producerIDRecord{Version: formatVersion}
		item, err := c.kv.Get(ctx, key)
		switch {
		case err == nil:
			if r, err = decode[producerIDRecord](item.Value); err != nil {
				return 0, unavailable("read the last block", err) // starting over could give ids twice
			}
		case !errors.Is(err, kv.ErrNotFound):
			return 0, unavailable("read the last block", err)
		}
		if r.Next < 0 || r.Next > math.MaxInt64-idBlock {
			return 0, fmt.Errorf("%w: next producer id would be %d", ErrUnavailable, r.Next)
		}
		first, r.Next = r.Next, r.Next+idBlock
		_, err = c.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.Put(key, encode(r))})
		switch {
		case err == nil:
			return first, nil
		case errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil, errors.Is(err, kv.ErrConflict):
			// Somebody else took this block, or perhaps we did: either way, take the next.
		default:
			return 0, unavailable("take a block", err)
		}
	}
}
