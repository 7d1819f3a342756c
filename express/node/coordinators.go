package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/slab"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/sharing"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// loadsAtOnce bounds how many partitions of internal topics replay at a time.
const loadsAtOnce = 4

// coordinators gives each coordinator the partitions of its internal topic that
// this broker owns, as the registry opens and closes them.
type coordinators struct {
	groups       *coord.Coordinator
	transactions *coord.Transactions
	shares       *coord.Shares
	sharing      *sharing.Manager

	byTopic map[string]coordinator
	logger  *slog.Logger
	slots   chan struct{}
	loads   sync.WaitGroup

	mu     sync.Mutex
	loaded map[loadKey]*load
}

// loadKey is one partition of an internal topic.
type loadKey struct {
	topic string
	index int32
}

// load is a partition that a coordinator has, or is about to have.
type load struct {
	p    *partition.Partition
	stop context.CancelFunc
	done chan struct{} // closed when nothing is being loaded any more
}

// coordinator is what an internal topic's partitions are for.
type coordinator struct {
	load   func(ctx context.Context, index, epoch int32, log coord.Log) error
	unload func(index int32)
}

func newCoordinators(
	groups *coord.Coordinator, transactions *coord.Transactions, shares *coord.Shares, share *sharing.Manager, log *slog.Logger,
) *coordinators {
	return &coordinators{
		groups: groups, transactions: transactions, shares: shares, sharing: share, logger: log,
		slots: make(chan struct{}, loadsAtOnce), loaded: map[loadKey]*load{},
		byTopic: map[string]coordinator{
			topic.ConsumerOffsets: {
				load:   func(ctx context.Context, index, _ int32, l coord.Log) error { return groups.Load(ctx, index, l) },
				unload: groups.Unload,
			},
			topic.TransactionState: {load: transactions.Load, unload: transactions.Unload},
			topic.ShareGroupState: {
				load:   func(ctx context.Context, index, _ int32, l coord.Log) error { return shares.Load(ctx, index, l) },
				unload: shares.Unload,
			},
		},
	}
}

// reloadPause is how long a load that failed rests.
const reloadPause = time.Second

// opened starts to load a partition of an internal topic. Until it is loaded
// clients are told to wait. What a partition of before left is unloaded first.
func (c *coordinators) opened(ctx context.Context, t *catalog.Topic, p *partition.Partition) {
	of, ok := c.byTopic[t.Name]
	if !ok {
		return
	}
	key := loadKey{t.Name, p.ID().Index}
	ctx, stop := context.WithCancel(ctx)
	l := &load{p: p, stop: stop, done: make(chan struct{})}
	c.mu.Lock()
	before := c.loaded[key]
	c.loaded[key] = l
	c.mu.Unlock()
	c.loads.Go(func() {
		defer close(l.done)
		if before != nil {
			before.end(of, key.index)
		}
		c.load(ctx, of, key, p)
	})
}

// load tries until it succeeds or ctx ends.
func (c *coordinators) load(ctx context.Context, of coordinator, key loadKey, p *partition.Partition) {
	for ctx.Err() == nil {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := of.load(ctx, key.index, p.Offsets().Epoch, internalLog{p})
		<-c.slots
		if err == nil || ctx.Err() != nil || errors.Is(err, coord.ErrUnloaded) || errors.Is(err, coord.ErrClosed) {
			return
		}
		c.logger.Error("coordinator partition could not be loaded, to be tried again", "topic", key.topic, "partition", key.index, "err", err)
		select {
		case <-time.After(reloadPause):
		case <-ctx.Done():
		}
	}
}

// end takes a partition from its coordinator.
func (l *load) end(of coordinator, index int32) {
	l.stop()
	<-l.done
	of.unload(index)
}

// closed takes a partition from its coordinator, and waits until nothing is answered from what it held.
func (c *coordinators) closed(t *catalog.Topic, p *partition.Partition) {
	c.sharing.PartitionClosed(p.ID())
	key := loadKey{t.Name, p.ID().Index}
	of, ok := c.byTopic[t.Name]
	c.mu.Lock()
	l := c.loaded[key]
	ok = ok && l != nil && l.p == p
	if ok {
		delete(c.loaded, key)
	}
	c.mu.Unlock()
	if ok {
		l.end(of, key.index)
	}
}

// deleted makes groups forget what they committed to a topic, or have in
// flight of it.
func (c *coordinators) deleted(t *catalog.Topic) {
	c.groups.TopicDeleted(t.Name, t.ID)
	c.shares.TopicDeleted(t.ID)
}

// close ends all requests of coordinators and waits for loads.
func (c *coordinators) close() {
	c.sharing.Close()
	c.transactions.Close()
	c.groups.Close()
	c.shares.Close()
	c.loads.Wait()
}

// internalLog is a partition as coordinators want to see it.
type internalLog struct{ p *partition.Partition }

// Append implements coord.Log.
func (l internalLog) Append(ctx context.Context, b record.Batch, done func(offset int64, err error)) {
	l.p.AppendInternal(ctx, b, func(a partition.Appended) { done(a.BaseOffset, appendError(a.Err)) })
}

// AppendMarker implements coord.Log.
func (l internalLog) AppendMarker(ctx context.Context, m record.Marker, version int16, done func(offset int64, err error)) {
	l.p.WriteMarker(ctx, m, version, func(a partition.Appended) { done(a.BaseOffset, appendError(a.Err)) })
}

// appendError gives coordinators the code that they act on.
func appendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, partition.ErrNotOwner):
		return fmt.Errorf("%w: %w", kerr.NotLeaderOrFollower, err)
	case errors.Is(err, producer.ErrInvalidEpoch):
		return fmt.Errorf("%w: %w", kerr.InvalidProducerEpoch, err)
	case errors.Is(err, partition.ErrCoordinatorFenced):
		return fmt.Errorf("%w: %w", kerr.TransactionCoordinatorFenced, err)
	default:
		return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
}

// Offsets implements coord.Log.
func (l internalLog) Offsets() (start, high int64) {
	o := l.p.Offsets()
	return o.LogStart, o.HW
}

// Read implements coord.Log.
func (l internalLog) Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error {
	_, err := l.p.Read(ctx, dst, from, maxBytes, true, false)
	return err
}

// Trim implements coord.Trimmer.
func (l internalLog) Trim(ctx context.Context, before int64) error {
	_, err := l.p.DeleteRecords(ctx, before)
	return err
}

// topics is the catalog as the coordinator wants to see it.
type topics struct {
	catalog *catalog.Catalog
	version atomic.Int64
}

// changed takes note of a change that the catalog shows already.
func (t *topics) changed(old, now *catalog.Topic) {
	if old == nil || now == nil || old.ID != now.ID || len(old.Partitions) != len(now.Partitions) {
		t.version.Add(1)
	}
}

// TopicByName implements coord.Topics.
func (t *topics) TopicByName(name string) (coord.Topic, bool) {
	return coordTopic(t.catalog.Topic(name))
}

// TopicByID implements coord.Topics.
func (t *topics) TopicByID(id topic.ID) (coord.Topic, bool) {
	return coordTopic(t.catalog.TopicByID(id))
}

// TopicNames implements coord.Topics.
func (t *topics) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, found := range t.catalog.Topics() {
			if !yield(found.Name) {
				return
			}
		}
	}
}

// TopicsVersion implements coord.Topics.
func (t *topics) TopicsVersion() int64 { return t.version.Load() }

func coordTopic(t *catalog.Topic, ok bool) (coord.Topic, bool) {
	if !ok {
		return coord.Topic{}, false
	}
	return coord.Topic{Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions))}, true
}
