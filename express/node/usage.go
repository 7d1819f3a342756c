package node

import (
	"context"

	"millrace/express/meter"
	"millrace/kafka/topic"
)

// meter counts what clients use of this incarnation of the broker.
func (b *broker) meter(cfg Config, w World, incarnation uint64) *meter.Meter {
	return meter.New(meter.Config{Cluster: b.catalog.ClusterID(), Broker: cfg.ID, Incarnation: incarnation, Interval: cfg.Usage},
		meter.World{Objects: w.Objects, Clock: w.Clock, Log: w.Log, Stored: b.registry.stored})
}

// stored tells what is kept here for clients.
func (r *registry) stored() []meter.Stored {
	at := make(map[topic.ID]int)
	var all []meter.Stored
	for _, p := range r.All() {
		id := p.ID().Topic
		t, ok := r.catalog.TopicByID(id)
		if !ok || t.Internal {
			continue
		}
		i, ok := at[id]
		if !ok {
			i = len(all)
			at[id] = i
			all = append(all, meter.Stored{ID: id, Name: t.Name})
		}
		all[i].Partitions++
		all[i].Bytes += p.Size()
	}
	return all
}

// endUsage records what is left, but does not keep the log from being closed when the store does not answer.
func (b *broker) endUsage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout/2)
	defer cancel()
	return b.usage.Close(ctx)
}
