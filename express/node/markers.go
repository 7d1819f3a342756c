package node

import (
	"context"

	"millrace/base/clock"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/machine"
	"millrace/express/partition"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// markers ends transactions on the partitions of this broker. It implements
// api.Markers.
type markers struct {
	catalog   *catalog.Catalog
	groups    *coord.Coordinator
	clock     clock.Clock
	partition func(id topic.Partition) (*partition.Partition, bool)
}

// WriteMarker implements api.Markers. On the offsets topic the coordinator of
// the groups writes the marker itself, so that it hears of the end in the log's
// order.
func (w *markers) WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker) error {
	t, ok := w.catalog.Topic(tp.Topic)
	if !ok || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) {
		return kerr.UnknownTopicOrPartition
	}
	if tp.Topic == topic.ConsumerOffsets {
		if code := w.groups.EndTransaction(ctx, tp.Partition, m); code != kerr.None {
			return code
		}
		return nil
	}
	p, ok := w.partition(topic.Partition{Topic: t.ID, Index: tp.Partition})
	if !ok {
		return kerr.NotLeaderOrFollower
	}
	done := make(chan error, 1)
	p.WriteMarker(ctx, record.Marker{
		ProducerID: m.ID, ProducerEpoch: m.Epoch, Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch,
		Timestamp: w.clock.Now().UnixMilli(),
	}, m.TransactionVersion, func(a partition.Appended) { done <- appendError(a.Err) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
