package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

func (c *Catalog) partitionKey(id topic.Partition) string {
	return c.partitionPrefix(id.Topic) + strconv.Itoa(int(id.Index))
}

// getPartition reads a partition's record from the store; ErrUnknownTopic when there is none.
func (c *Catalog) getPartition(ctx context.Context, id topic.Partition) (partitionRecord, error) {
	item, err := c.kv.Get(ctx, c.partitionKey(id))
	if errors.Is(err, kv.ErrNotFound) {
		return partitionRecord{}, ErrUnknownTopic
	}
	if err != nil {
		return partitionRecord{}, unavailable("read partition", err)
	}
	r, err := decode[partitionRecord](item.Value)
	if err != nil {
		return r, fmt.Errorf("read partition: %w: %w", ErrUnavailable, err)
	}
	r.rev = item.ModRev
	return r, nil
}

// swapPartition writes r if the record is as it was read and the other conditions hold, and gives the
// revision of that. Zero says to read anew: somebody else was faster, or the answer was lost.
func (c *Catalog) swapPartition(ctx context.Context, id topic.Partition, r partitionRecord, more ...kv.Cond) (rev int64, err error) {
	key := c.partitionKey(id)
	rev, err = c.kv.Txn(ctx, append(more, kv.ModRevEquals(key, r.rev)), []kv.Op{kv.Put(key, encode(r))})
	switch {
	case err == nil:
		return rev, nil
	case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil:
		return 0, nil
	default:
		return 0, unavailable("write partition", err)
	}
}

// Release gives a partition that this process serves at epoch to another broker, with the tail that it must
// import ("" none); the epoch grows by one. The caller has stopped serving it. The record must name the
// broker in To, and the broker be registered, as the incarnation in to, and not draining.
//
// It returns nil when the partition is no longer ours at that epoch: it must never be served at it again.
// It returns ErrNotReleased when it is still ours, and neither this nor an earlier call can change that any
// more: it may be served again. ErrUnknownTopic: the partition is deleted. After any other error nothing is
// known, and the partition must neither be served nor given up: ask again, with the same arguments or
// others. ErrNotOwner: it was taken from us, and its new owner reads what we have of it in our log. It does not wait for the view, so it may be called while a subscriber waits for its caller.
func (c *Catalog) Release(ctx context.Context, id topic.Partition, epoch int32, to Broker, tail string) error {
	if c.releaseSeen(ctx, id, epoch, to, tail) {
		return nil
	}
	for {
		over, err := c.release(ctx, id, epoch, to, tail)
		if err != nil {
			return fmt.Errorf("release partition %s to broker %d: %w", id, to.ID, err)
		}
		if over {
			return nil
		}
	}
}

// releaseSeen tries by the records that the view knows, without asking for them: a partition on its way serves nobody
// meanwhile. False says nothing. Whoever feeds the view is not waited for.
func (c *Catalog) releaseSeen(ctx context.Context, id topic.Partition, epoch int32, to Broker, tail string) (over bool) {
	if to.rev == 0 || to.Draining || !c.feeding.TryLock() {
		return false
	}
	r, ok := c.state.partition(id)
	c.feeding.Unlock()
	if !ok || r.To != to.ID || !r.servedBy(c.cfg.Self, epoch) {
		return false
	}
	rev, err := c.swapPartition(ctx, id, r.released(to, epoch, tail), kv.ModRevEquals(c.brokerKey(to.ID), to.rev))
	return rev != 0 && err == nil
}

// released is the record of a partition that has been given to another broker.
func (r partitionRecord) released(to Broker, epoch int32, tail string) partitionRecord {
	r.Owner, r.Epoch, r.Incarnation, r.To, r.Tail = to.ID, epoch+1, to.Incarnation, 0, tail
	return r
}

// release tries once; over says that the partition is not ours any more.
func (c *Catalog) release(ctx context.Context, id topic.Partition, epoch int32, to Broker, tail string) (over bool, err error) {
	r, err := c.getPartition(ctx, id)
	switch {
	case err != nil:
		return false, err
	case r.Epoch > epoch && r.Log == LogID(c.cfg.Self.ID, c.cfg.Self.Incarnation):
		return false, ErrNotOwner // it was taken: what is in our log must stay there
	case r.Epoch > epoch:
		return true, nil // by an earlier attempt, whose answer was lost
	case !r.servedBy(c.cfg.Self, epoch):
		return false, ErrNotOwner
	}
	target, err := c.kv.Get(ctx, c.brokerKey(to.ID))
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return false, unavailable("read registration", err)
	}
	if r.To != to.ID || !takes(target, to) {
		return false, c.keep(ctx, id, r)
	}
	rev, err := c.swapPartition(ctx, id, r.released(to, epoch, tail), kv.ModRevEquals(target.Key, target.ModRev))
	return rev != 0, err
}

// takes tells whether a registration, which may be missing, is that of broker to and takes partitions.
func takes(registration kv.Item, to Broker) bool {
	if registration.ModRev == 0 {
		return false
	}
	r, err := decode[brokerRecord](registration.Value)
	return err == nil && r.Incarnation == to.Incarnation && !r.Draining
}

// keep makes sure that the partition stays ours: the record is written as it is, so that no earlier attempt
// that is still on its way to the store finds what it compares with. nil says to look again.
func (c *Catalog) keep(ctx context.Context, id topic.Partition, r partitionRecord) error {
	rev, err := c.swapPartition(ctx, id, r)
	if rev == 0 || err != nil {
		return err
	}
	return ErrNotReleased
}

// Imported says that what the tail or the log of before held of a partition is durable here: the record names neither any more. It may
// be repeated. ErrNotOwner: this process does not own the partition at that epoch. It does not wait for the
// view.
func (c *Catalog) Imported(ctx context.Context, id topic.Partition, epoch int32) error {
	for {
		r, err := c.getPartition(ctx, id)
		if err == nil && !r.servedBy(c.cfg.Self, epoch) {
			err = ErrNotOwner
		}
		rev := r.rev
		if err == nil && r.imports() {
			rev, err = c.swapPartition(ctx, id, r.imported())
		}
		if err != nil {
			return fmt.Errorf("clear what partition %s has to import: %w", id, err)
		}
		if rev != 0 {
			return nil
		}
	}
}

// ClaimOne is Claim for one partition, which was released to an earlier incarnation of this broker: it was
// on its way here when we started. It gives the partition as it is then, and may be repeated. ErrNotOwner:
// it is another broker's. It does not wait for the view.
func (c *Catalog) ClaimOne(ctx context.Context, id topic.Partition) (Partition, error) {
	for {
		r, err := c.getPartition(ctx, id)
		if err == nil && r.Owner != c.cfg.Self.ID {
			err = ErrNotOwner
		}
		rev := r.rev
		if err == nil && r.Incarnation != c.cfg.Self.Incarnation {
			r.inherit(c.cfg.Self, c.cfg.Log)
			rev, err = c.swapPartition(ctx, id, r)
		}
		if err != nil {
			return Partition{}, fmt.Errorf("claim partition %s: %w", id, err)
		}
		if rev != 0 {
			return r.partition(), nil
		}
	}
}
