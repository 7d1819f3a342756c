package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/share/state"
	"millrace/kafka/kerr"
)

// shareFromStart has a share group begin at the start of its topics.
func (c *peers) shareFromStart(ctx context.Context, group string) {
	c.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: kmsg.StringPtr("earliest")}}
	q.Resources = append(q.Resources, r)
	answer, err := q.RequestWith(ctx, c.client())
	must(c.t, err)
	if code := kerr.Code(answer.Resources[0].ErrorCode); code != kerr.None {
		c.t.Fatalf("configure group: %v", code)
	}
}

// stateKeeper is the broker that keeps the state of a share-partition.
func (c *peers) stateKeeper(ctx context.Context, k state.Key) int32 {
	c.t.Helper()
	q := kmsg.NewPtrFindCoordinatorRequest()
	q.CoordinatorType, q.CoordinatorKeys = 2, []string{k.String()}
	r, err := q.RequestWith(ctx, c.client())
	must(c.t, err)
	if r.Coordinators[0].ErrorCode != 0 {
		c.t.Fatalf("no coordinator for %s: %d", k, r.Coordinators[0].ErrorCode)
	}
	return r.Coordinators[0].NodeID
}

// sharer is a member of a share group that accepts all it gets.
func (c *peers) sharer(group, topic string) *kgo.Client {
	return c.client(kgo.ConsumeTopics(topic), kgo.ShareGroup(group), kgo.FetchMaxWait(200*time.Millisecond))
}

// share reads n records through a share group, accepts them and returns their values in order.
func (c *peers) share(ctx context.Context, cl *kgo.Client, n int) []string {
	c.t.Helper()
	var out []string
	for len(out) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%d of %d records: %v, %v", len(out), n, out, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			out = append(out, string(r.Value))
			r.Ack(kgo.AckAccept)
		})
	}
	must(c.t, cl.FlushAcks(ctx))
	slices.Sort(out)
	return out
}

func (c *peers) produceAll(ctx context.Context, topic, value string, partitions int) {
	c.t.Helper()
	p := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(c.t, p.ProduceSync(ctx, toAll(value, partitions)...).FirstErr())
}

// A share group's coordinator, the leaders of its partitions and the keepers of their state are different brokers.
func TestShareGroupsOverBrokers(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	for broker := range int32(3) {
		t.Run(fmt.Sprintf("group's coordinator %d", broker+1), func(t *testing.T) {
			t.Parallel() // members wait for the interval of heartbeats
			c := c.with(t)
			const partitions = 6
			topic := fmt.Sprint("s-", broker)
			c.create(ctx, topic, partitions)
			group := c.idAt(ctx, topic+"-group", 0, broker+1)
			c.shareFromStart(ctx, group)
			c.produceAll(ctx, topic, "a", partitions)
			first := c.sharer(group, topic)
			wantSorted(t, c.share(ctx, first, partitions), values(partitions, "a")...)
			first.Close()
			c.wantLag(ctx, group, topic, partitions, 0)
			c.produceAll(ctx, topic, "b", partitions)
			c.wantLag(ctx, group, topic, partitions, 1)
			c.rewind(ctx, group, topic, partitions)
			c.wantLag(ctx, group, topic, partitions, 2)
			second := c.sharer(group, topic)
			wantSorted(t, c.share(ctx, second, 2*partitions), values(partitions, "a", "b")...)
			second.Close()
			c.deleteShareGroup(ctx, group)
		})
	}
}

// wantLag waits until the group is that many records behind on each partition.
func (c *peers) wantLag(ctx context.Context, group, topic string, partitions int, lag int64) {
	c.t.Helper()
	cl := c.client()
	for {
		q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		q.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: group}}
		r, err := q.RequestWith(ctx, cl)
		must(c.t, err)
		right := 0
		for _, t := range r.Groups[0].Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic && p.Lag == lag {
					right++
				}
			}
		}
		if right == partitions {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("lag is not %d everywhere: %+v", lag, r.Groups)
		}
	}
}

// rewind sets all offsets of the group to 0.
func (c *peers) rewind(ctx context.Context, group, topic string, partitions int) {
	c.t.Helper()
	q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	q.GroupID = group
	in := kmsg.AlterShareGroupOffsetsRequestTopic{Topic: topic}
	for i := range partitions {
		in.Partitions = append(in.Partitions, kmsg.AlterShareGroupOffsetsRequestTopicPartition{Partition: int32(i)})
	}
	q.Topics = append(q.Topics, in)
	r, err := q.RequestWith(ctx, c.client())
	must(c.t, err)
	if r.ErrorCode != 0 {
		c.t.Fatalf("alter offsets: %v", kerr.Code(r.ErrorCode))
	}
	for _, p := range r.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			c.t.Errorf("alter offset of partition %d: %v", p.Partition, kerr.Code(p.ErrorCode))
		}
	}
}

func (c *peers) deleteShareGroup(ctx context.Context, group string) {
	c.t.Helper()
	r, err := c.admin().DeleteGroups(ctx, group)
	must(c.t, err)
	must(c.t, r[group].Err)
}

// While the keeper of its state is away, a share-partition on another broker does not acknowledge; it goes on when the keeper is back.
func TestShareGroupWaitsForTheKeeperOfItsState(t *testing.T) {
	t.Parallel()
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.create(ctx, "t", 1) // broker 1's
	all, err := c.admin().ListTopics(ctx, "t")
	must(t, err)
	group := ""
	for i := 0; group == ""; i++ { // coordinated by 2, with its state at 3
		name := c.idAt(ctx, fmt.Sprintf("g%d-", i), 0, 2)
		if c.stateKeeper(ctx, state.Key{Group: name, Topic: [16]byte(all["t"].ID)}) == 3 {
			group = name
		}
	}
	c.shareFromStart(ctx, group)
	c.produceAll(ctx, "t", "a", 1)
	cl := c.sharer(group, "t")
	fetches := cl.PollFetches(ctx)
	must(t, fetches.Err())
	c.stop(3)
	for _, r := range fetches.Records() {
		r.Ack(kgo.AckAccept)
	}
	var started atomic.Bool
	flushed := make(chan error, 1)
	go func() {
		err := cl.FlushAcks(ctx)
		if !started.Load() {
			err = errors.Join(err, errors.New("acknowledged while the keeper was away"))
		}
		flushed <- err
	}()
	started.Store(true) // before it can answer
	c.start(3)
	must(t, <-flushed)
	c.produceAll(ctx, "t", "b", 1)
	wantSorted(t, c.share(ctx, cl, 1), "b-0")
}

// Groups of both protocols work whichever broker coordinates them, and a broker that does not says so.
func TestGroupsOverBrokers(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.create(ctx, "t", 3)
	c.produceAll(ctx, "t", "a", 3)
	plain := make([]string, 3)
	for broker := range int32(3) {
		plain[broker] = c.idAt(ctx, "plain-", 0, broker+1)
		must(t, c.admin().CommitAllOffsets(ctx, plain[broker], offsets("t", int64(broker))))
		group := c.idAt(ctx, "g", 0, broker+1)
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		cl := c.client()
		q.Group, q.MemberID, q.RebalanceTimeoutMillis = group, "member", 10_000
		q.SubscribedTopicNames, q.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		r, err := q.RequestWith(ctx, cl)
		must(t, err)
		if r.ErrorCode != 0 {
			t.Fatalf("heartbeat: %v", kerr.Code(r.ErrorCode))
		}
		for other := range int32(3) {
			wrong, err := cl.Broker(int(other+1)).Request(ctx, q)
			must(t, err)
			got := kerr.Code(wrong.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode)
			if (got == kerr.NotCoordinator) != (other != broker) {
				t.Errorf("broker %d answers %v for a group of broker %d", other+1, got, broker+1)
			}
		}
	}
	listed, err := c.admin().ListGroups(ctx)
	must(t, err)
	if len(listed) != 6 {
		t.Errorf("%d groups are listed, want 6: %v", len(listed), listed.Groups())
	}
	// The offsets of a deleted topic go on every broker.
	_, err = c.admin().DeleteTopics(ctx, "t")
	must(t, err)
	for _, group := range plain {
		for {
			got, err := c.admin().FetchOffsets(ctx, group)
			must(t, err)
			if _, ok := got.Lookup("t", 0); !ok {
				break
			}
			must(t, ctx.Err())
		}
	}
}
