package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A real client with its defaults: idempotent, compressing, by topic id, in sessions, in a group of either protocol.
func TestFranzGoProducesAndConsumes(t *testing.T) {
	t.Run("classic", func(t *testing.T) { produceAndConsume(t, "classic") })
	t.Run("consumer", func(t *testing.T) { produceAndConsume(t, "consumer", kgo.ServerSideBalancer()) })
}

func produceAndConsume(t *testing.T, groupType string, group ...kgo.Opt) {
	e := newEnv(t, options{static: map[string]string{"auto.create.topics.enable": "true", "num.partitions": "3"}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("flights"))
	must(t, err)
	defer producer.Close()
	const n = 3000
	want := make(map[string]bool)
	for i := range n {
		value := fmt.Sprintf("flight-%d", i)
		want[value] = true
		producer.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "carrier-%d", i%16), Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	must(t, producer.Flush(ctx))

	consume := func(most int) {
		t.Helper()
		c, err := kgo.NewClient(append(group, kgo.SeedBrokers(e.addr), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("flights"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
		must(t, err)
		defer c.Close()
		for got := 0; got < most; {
			fetches := c.PollRecords(ctx, most-got)
			must(t, fetches.Err())
			got += fetches.NumRecords()
			fetches.EachRecord(func(r *kgo.Record) {
				if !want[string(r.Value)] {
					t.Errorf("%s-%d@%d: %q comes twice or from nowhere", r.Topic, r.Partition, r.Offset, r.Value)
				}
				delete(want, string(r.Value))
			})
			must(t, c.CommitRecords(ctx, fetches.Records()...))
		}
	}
	consume(n / 3) // the second member goes on where the first has committed
	consume(n - n/3)
	list := ask[*kmsg.ListGroupsResponse](e.dial(), 5, kmsg.NewPtrListGroupsRequest())
	if len(list.Groups) != 1 || list.Groups[0].GroupType != groupType {
		t.Errorf("groups %+v, want one of type %s", list.Groups, groupType)
	}
	if len(want) > 0 {
		t.Errorf("%d records were not seen", len(want))
	}
}
