package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// moveWriters bounds how many partitions are written at once where a batch met a conflict.
const moveWriters = 8

// Move is an order to the owner of a partition.
type Move struct {
	ID   topic.Partition
	From int32 // the owner that it is for
	To   int32 // the broker to release it to; 0 or From: stay
}

// Move puts orders into the partitions' records, compared and swapped, and waits for the view. A partition
// that is gone, or has another owner than the order is for, is left as it is. No partition may be in moves
// twice. After ErrUnavailable some orders may be in force.
func (c *Catalog) Move(ctx context.Context, moves []Move) error {
	for len(moves) > 0 {
		n := min(batchOps, len(moves))
		if err := c.moveBatch(ctx, moves[:n]); err != nil {
			return fmt.Errorf("move partitions: %w", err)
		}
		moves = moves[n:]
	}
	return nil
}

// moveBatch goes by the records as the view knows them, and one by one by the store's where that is behind.
func (c *Catalog) moveBatch(ctx context.Context, moves []Move) error {
	conds := make([]kv.Cond, 0, len(moves))
	ops := make([]kv.Op, 0, len(moves))
	c.feeding.Lock()
	for _, m := range moves {
		r, ok := c.state.partition(m.ID)
		if !ok || !m.changes(&r) {
			continue
		}
		key := c.partitionKey(m.ID)
		conds, ops = append(conds, kv.ModRevEquals(key, r.rev)), append(ops, kv.Put(key, encode(r)))
	}
	c.feeding.Unlock()
	if len(ops) == 0 {
		return nil
	}
	rev, err := c.kv.Txn(ctx, conds, ops)
	switch {
	case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil:
		return c.moveEach(ctx, moves)
	case err != nil:
		return unavailable("write", err)
	}
	return c.await(ctx, sawMoves(moves, rev))
}

// sawMoves is an await condition: orders that were in force at rev are in the view, or so much later a change
// that they must have been.
func sawMoves(moves []Move, rev int64) func(*view) bool {
	return func(v *view) bool {
		return v.rev > rev || !slices.ContainsFunc(moves, func(m Move) bool {
			t := v.byID[m.ID.Topic]
			return t != nil && uint32(m.ID.Index) < uint32(len(t.Partitions)) && m.applies(t.Partitions[m.ID.Index])
		})
	}
}

// changes puts the order into the record; false: there is nothing to do.
func (m Move) changes(r *partitionRecord) bool {
	if !m.applies(r.partition()) {
		return false
	}
	r.To = m.order()
	return true
}

// order is what stands in the record.
func (m Move) order() int32 {
	if m.To == m.From {
		return 0
	}
	return m.To
}

// applies tells whether the order is for the partition as it is, and not yet in force.
func (m Move) applies(p Partition) bool { return p.Owner == m.From && p.To != m.order() }

func (c *Catalog) moveEach(ctx context.Context, moves []Move) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(moveWriters)
	for _, m := range moves {
		g.Go(func() error { return c.moveOne(ctx, m) })
	}
	return g.Wait()
}

func (c *Catalog) moveOne(ctx context.Context, m Move) error {
	for {
		r, err := c.getPartition(ctx, m.ID)
		switch {
		case errors.Is(err, ErrUnknownTopic):
			return nil
		case err != nil:
			return err
		}
		read := r.rev
		if !m.changes(&r) {
			return c.await(ctx, sawMoves([]Move{m}, read))
		}
		rev, err := c.swapPartition(ctx, m.ID, r)
		if err != nil {
			return err
		}
		if rev != 0 {
			return c.await(ctx, sawMoves([]Move{m}, rev))
		}
	}
}

// partition gives a partition's record as last read.
func (s *state) partition(id topic.Partition) (partitionRecord, bool) {
	all := s.partitions[id.Topic]
	if id.Index < 0 || int(id.Index) >= len(all) || all[id.Index].rev == 0 {
		return partitionRecord{}, false
	}
	return all[id.Index], true
}
