package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"millrace/base/slab"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/partition"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// loadsAtOnce bounds how many partitions of __consumer_offsets replay at a time.
const loadsAtOnce = 4

// groups gives the coordinator the partitions of __consumer_offsets that this
// broker owns, as the registry opens and closes them.
type groups struct {
	coordinator *coord.Coordinator
	logger      *slog.Logger
	slots       chan struct{}
	loads       sync.WaitGroup
}

func newGroups(c *coord.Coordinator, log *slog.Logger) *groups {
	return &groups{coordinator: c, logger: log, slots: make(chan struct{}, loadsAtOnce)}
}

// opened starts to load a partition of the offsets topic. Until it is loaded
// clients are told to wait.
func (g *groups) opened(ctx context.Context, t *catalog.Topic, p *partition.Partition) {
	if t.Name != topic.ConsumerOffsets {
		return
	}
	g.loads.Go(func() {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-g.slots }()
		err := g.coordinator.Load(ctx, p.ID().Index, offsetsLog{p})
		if err != nil && ctx.Err() == nil && !errors.Is(err, coord.ErrUnloaded) {
			g.logger.Error("groups could not be loaded", "partition", p.ID().Index, "err", err)
		}
	})
}

func (g *groups) closed(t *catalog.Topic, p *partition.Partition) {
	if t.Name == topic.ConsumerOffsets {
		g.coordinator.Unload(p.ID().Index)
	}
}

// deleted makes groups forget what they committed to a topic.
func (g *groups) deleted(t *catalog.Topic) { g.coordinator.TopicDeleted(t.Name) }

// close ends all groups' requests and waits for loads.
func (g *groups) close() {
	g.coordinator.Close()
	g.loads.Wait()
}

// offsetsLog is a partition as the coordinator wants to see it.
type offsetsLog struct{ p *partition.Partition }

// Append implements coord.Log.
func (l offsetsLog) Append(ctx context.Context, b record.Batch, done func(offset int64, err error)) {
	l.p.AppendInternal(ctx, b, func(a partition.Appended) { done(a.BaseOffset, appendError(a.Err)) })
}

// appendError gives the coordinator the code that it acts on.
func appendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, partition.ErrNotOwner):
		return fmt.Errorf("%w: %w", kerr.NotLeaderOrFollower, err)
	default:
		return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
}

// Offsets implements coord.Log.
func (l offsetsLog) Offsets() (start, high int64) {
	o := l.p.Offsets()
	return o.LogStart, o.HW
}

// Read implements coord.Log.
func (l offsetsLog) Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int) error {
	_, err := l.p.Read(ctx, dst, from, maxBytes, true, false)
	return err
}

// topics is the catalog as the coordinator wants to see it.
type topics struct{ catalog *catalog.Catalog }

// TopicByName implements coord.Topics.
func (t topics) TopicByName(name string) (coord.Topic, bool) {
	return coordTopic(t.catalog.Topic(name))
}

// TopicByID implements coord.Topics.
func (t topics) TopicByID(id topic.ID) (coord.Topic, bool) {
	return coordTopic(t.catalog.TopicByID(id))
}

func coordTopic(t *catalog.Topic, ok bool) (coord.Topic, bool) {
	if !ok {
		return coord.Topic{}, false
	}
	return coord.Topic{Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions))}, true
}
