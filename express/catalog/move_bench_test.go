package catalog

import (
	"fmt"
	"log/slog"
	"testing"

	"millrace/base/kv"
	"millrace/express/settings"
	"millrace/kafka/topic"
)

// BenchmarkPublish is one change of one partition of a topic that has many.
func BenchmarkPublish(b *testing.B) {
	base, err := settings.ParseLayers(settings.Layers{})
	if err != nil {
		b.Fatal(err)
	}
	c := &Catalog{log: slog.New(slog.DiscardHandler), state: newState(), view: newView(base), changed: make(chan struct{})}
	id := topic.NewID()
	put := func(rev int64, key string, record any) {
		c.apply(kv.Event{Type: kv.EventPut, Item: kv.Item{Key: key, Value: encode(record), ModRev: rev}})
	}
	const n = settings.MaxPartitions
	put(1, "topics/orders", topicRecord{Version: 1, ID: id, Partitions: n, ReplicationFactor: 1})
	for i := range n {
		put(1, fmt.Sprintf("partitions/%s/%d", id, i), partitionRecord{Version: 1, Owner: 1, Incarnation: 1})
	}
	c.publish()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		put(int64(i+2), fmt.Sprintf("partitions/%s/%d", id, i%n), partitionRecord{Version: 1, Owner: 1, Epoch: int32(i), Incarnation: 1})
		c.publish()
	}
}
