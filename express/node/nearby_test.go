package node_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
)

// fetched counts what each broker gave to a consumer.
type fetched struct {
	mu    sync.Mutex
	bytes map[int32]int
}

func (f *fetched) OnBrokerRead(meta kgo.BrokerMetadata, key int16, n int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Fetch) {
		f.mu.Lock()
		f.bytes[meta.NodeID] += n
		f.mu.Unlock()
	}
}

var _ kgo.HookBrokerRead = (*fetched)(nil)

// A consumer of another zone than the owner's reads what lies in segments from a broker of its own, and the rest, up to the newest
// record, from the owner; without losing, doubling or reordering any (KIP-392). A consumer that names no zone, or the owner's, is
// served by the owner alone.
func TestConsumersReadSegmentsInTheirOwnZone(t *testing.T) {
	c := newCluster(t, 2)
	cl := c.client(kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	_, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 2, nil, "t")
	must(t, err)
	tp := c.find("t", func(*catalog.Topic) bool { return true })
	c.move(tp, 0, 1)
	const records = 600
	value := bytes.Repeat([]byte{'x'}, 20<<10) // in all more than a move leaves out of segments
	for i := range records {
		must(t, cl.ProduceSync(t.Context(), &kgo.Record{Key: fmt.Append(nil, i), Value: value}).FirstErr())
	}
	c.move(tp, 0, 2)
	cl.Close()
	for _, test := range []struct {
		zone   string
		nearby bool
	}{{"a", true}, {"b", false}, {"", false}, {"of nobody", false}} {
		for _, level := range []kgo.IsolationLevel{kgo.ReadUncommitted(), kgo.ReadCommitted()} {
			got := c.readFrom(t, records, kgo.Rack(test.zone), kgo.FetchIsolationLevel(level))
			if test.nearby != (got.bytes[1] > records*len(value)/4) || !test.nearby && got.bytes[1] > records*100 || got.bytes[2] == 0 {
				t.Errorf("zone %q: bytes by broker %v", test.zone, got.bytes)
			}
		}
	}
}

// readFrom reads all records in order and says which brokers gave them.
func (c *cluster) readFrom(t *testing.T, records int, opts ...kgo.Opt) *fetched {
	t.Helper()
	got := &fetched{bytes: map[int32]int{}}
	cl := c.client(append(opts, kgo.WithHooks(got), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(1<<20))...)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for next := 0; next < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d records are read: %v", next, records, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != int64(next) || string(r.Key) != fmt.Sprint(next) {
				t.Fatalf("record %s at offset %d, want %d", r.Key, r.Offset, next)
			}
			next++
		})
	}
	return got
}
