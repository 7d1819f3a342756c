package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

// Take gives a partition whose owner is gone to another broker.
type Take struct {
	ID          topic.Partition
	From        int32  // the owner that is gone,
	Incarnation uint64 // as the partition's record names it
	To          int32  // the broker that shall import its log, and serve
}

// Take writes new owners into the partitions' records, where nobody who could serve them is there: all in a few
// transactions, each of which compares the records, that the owner before is not registered, and that the new one is
// and does not drain. A partition for which that does not hold, or which has changed hands since, is left as it is; no
// partition may be in takes twice. It waits for the view. ErrLogKind: the owners' logs are on their disks. After
// ErrUnavailable some may be taken.
func (c *Catalog) Take(ctx context.Context, takes []Take) error {
	if c.cfg.Log != LogObject {
		return fmt.Errorf("take partitions: %w", ErrLogKind)
	}
	for range takeRounds {
		raced, rev, err := c.takeRound(ctx, takes)
		if err == nil && len(raced) == 0 {
			return c.await(ctx, func(v *view) bool { return v.rev >= rev })
		}
		if err == nil {
			err = c.Refresh(ctx) // the view was behind, or an answer was lost
		}
		if err != nil {
			return fmt.Errorf("take partitions: %w", err)
		}
		takes = raced
	}
	for _, t := range takes {
		if err := c.takeOne(ctx, t); err != nil {
			return fmt.Errorf("take partitions: %w", err)
		}
	}
	return c.Refresh(ctx)
}

// takeRounds is how often Take goes by a new view before it asks the store for one partition after another.
const takeRounds = 3

// takeRound goes by the view once, and gives what that was wrong about, and the last revision that it wrote.
func (c *Catalog) takeRound(ctx context.Context, takes []Take) (raced []Take, last int64, err error) {
	b, which := c.takeBatches(takes)
	var mu sync.Mutex
	err = b.write(ctx, c.kv, func(_ context.Context, one batch, rev int64, err error) error {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, rev)
		if errors.Is(err, errRace) {
			raced = append(raced, of(one, which)...)
			return nil
		}
		return err
	})
	return raced, last, err
}

// takeBatches goes by what the view knows; which gives the order of the operations.
func (c *Catalog) takeBatches(takes []Take) (b batches, which []Take) {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	for _, t := range takes {
		r, ok := c.state.partition(t.ID)
		_, lives := c.state.brokers[t.From]
		to, registered := c.state.brokers[t.To]
		if !ok || lives || !registered || to.Draining || !t.applies(r) {
			continue
		}
		key := c.partitionKey(t.ID)
		conds := []kv.Cond{kv.ModRevEquals(key, r.rev), kv.KeyMissing(c.brokerKey(t.From)), kv.ModRevEquals(c.brokerKey(to.ID), to.rev)}
		b.add(kv.Put(key, encode(taken(r, to))), conds...)
		which = append(which, t)
	}
	return b, which
}

// applies tells whether the partition is still as it was when somebody chose to take it.
func (t Take) applies(r partitionRecord) bool {
	return r.Owner == t.From && r.Incarnation == t.Incarnation
}

func taken(r partitionRecord, to Broker) partitionRecord {
	r.inherit(to, LogObject)
	r.To = 0
	return r
}

// takeOne goes by the store.
func (c *Catalog) takeOne(ctx context.Context, t Take) error {
	for {
		r, err := c.getPartition(ctx, t.ID)
		switch {
		case errors.Is(err, ErrUnknownTopic):
			return nil
		case err != nil:
			return err
		case !t.applies(r):
			return nil
		}
		_, err = c.kv.Get(ctx, c.brokerKey(t.From))
		if err == nil {
			return nil // it is back
		}
		if !errors.Is(err, kv.ErrNotFound) {
			return unavailable("read registration", err)
		}
		item, err := c.kv.Get(ctx, c.brokerKey(t.To))
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return unavailable("read registration", err)
		}
		to, ok := taker(t.To, item)
		if !ok {
			return nil
		}
		rev, err := c.swapPartition(ctx, t.ID, taken(r, to), kv.KeyMissing(c.brokerKey(t.From)), kv.ModRevEquals(item.Key, item.ModRev))
		if err != nil || rev != 0 {
			return err
		}
	}
}

// taker is the broker of a registration, which may be missing, if it takes partitions.
func taker(id int32, registration kv.Item) (Broker, bool) {
	if registration.ModRev == 0 {
		return Broker{}, false
	}
	r, err := decode[brokerRecord](registration.Value)
	return Broker{ID: id, Incarnation: r.Incarnation}, err == nil && !r.Draining
}

// Import is a partition that this process serves at an epoch, once it has what others had of it.
type Import struct {
	ID    topic.Partition
	Epoch int32
}

// ImportedAll is Imported for many partitions, none of them twice, in a few transactions. It gives the errors of those
// for which it did not come to pass, or is not known to.
func (c *Catalog) ImportedAll(ctx context.Context, all []Import) (failed map[topic.Partition]error) {
	failed = make(map[topic.Partition]error)
	var mu sync.Mutex
	note := func(id topic.Partition, err error) {
		if err != nil {
			mu.Lock()
			failed[id] = err
			mu.Unlock()
		}
	}
	b, batched, single := c.importedBatches(all)
	_ = b.write(ctx, c.kv, func(_ context.Context, one batch, _ int64, err error) error {
		for _, i := range of(one, batched) {
			if errors.Is(err, errRace) {
				note(i.ID, c.Imported(ctx, i.ID, i.Epoch))
			} else {
				note(i.ID, err)
			}
		}
		return nil // the others have their own fates
	})
	for _, i := range single {
		note(i.ID, c.Imported(ctx, i.ID, i.Epoch))
	}
	return failed
}

// importedBatches goes by what the view knows. Where that is not what was to be imported, the store is to be asked.
func (c *Catalog) importedBatches(all []Import) (b batches, batched, single []Import) {
	c.feeding.Lock()
	defer c.feeding.Unlock()
	for _, i := range all {
		r, ok := c.state.partition(i.ID)
		if !ok || !r.servedBy(c.cfg.Self, i.Epoch) || !r.imports() {
			single = append(single, i)
			continue
		}
		key := c.partitionKey(i.ID)
		b.add(kv.Put(key, encode(r.imported())), kv.ModRevEquals(key, r.rev))
		batched = append(batched, i)
	}
	return b, batched, single
}
