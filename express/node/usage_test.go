package node_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/meter"
	"millrace/kafka/record"
)

// user is a client that knows to the byte what it sent and got.
type user struct {
	t       *testing.T
	cl      *kgo.Client
	in, out int64
}

func (u *user) produce(t *catalog.Topic, index, broker int32, n int) {
	u.t.Helper()
	b := record.NewBuilder(record.Options{})
	for range n {
		must(u.t, b.Add(time.Now().UnixMilli(), nil, []byte("some value")))
	}
	batch, err := b.Build(nil)
	must(u.t, err)
	q := kmsg.NewPtrProduceRequest()
	q.Acks, q.TimeoutMillis = -1, 5000
	in := kmsg.NewProduceRequestTopic()
	in.Topic, in.TopicID = t.Name, t.ID
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = index, batch
	in.Partitions = append(in.Partitions, p)
	q.Topics = append(q.Topics, in)
	resp, err := q.RequestWith(deadline(u.t), u.cl.Broker(int(broker)))
	must(u.t, err)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code == 0 {
		u.in += int64(len(batch))
	}
}

func (u *user) fetch(t *catalog.Topic, index, broker int32) {
	u.t.Helper()
	q := kmsg.NewPtrFetchRequest()
	q.ReplicaID, q.MaxWaitMillis, q.MaxBytes, q.SessionEpoch = -1, 0, 1<<20, -1
	in := kmsg.NewFetchRequestTopic()
	in.Topic, in.TopicID = t.Name, t.ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = index, 1<<20
	in.Partitions = append(in.Partitions, p)
	q.Topics = append(q.Topics, in)
	resp, err := q.RequestWith(deadline(u.t), u.cl.Broker(int(broker)))
	must(u.t, err)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			u.out += int64(len(p.RecordBatches))
		}
	}
}

// TestUsageIsExact: what brokers record is, to the byte, what clients sent and got, over clean restarts and moves of partitions, and
// with requests that were refused.
func TestUsageIsExact(t *testing.T) {
	c := newCluster(t, 2)
	tp := c.topic("t", 2, 1)
	began := time.Now()
	u := &user{t: t, cl: c.client()}
	t.Cleanup(u.cl.Close)
	rnd := rand.New(rand.NewPCG(1, 2))
	use := func(owner int32) {
		for range 5 {
			for index := range int32(2) {
				u.produce(tp, index, owner, 1+rnd.IntN(50))
				u.produce(tp, index, 3-owner, 3) // who does not lead it
				u.fetch(tp, index, owner)
			}
		}
	}
	owner := int32(1)
	for range 3 {
		use(owner)
		owner = 3 - owner
		for i := range tp.Partitions {
			c.move(tp, i, owner)
		}
		use(owner)
		m := c.members[owner]
		must(t, m.stop())
		m.stop = sync.OnceValue(m.run())
		use(owner)
	}
	for _, m := range c.members {
		must(t, m.stop())
	}
	got, err := meter.Report(context.Background(), c.objects, meter.Query{From: began, To: time.Now().Add(time.Hour)})
	must(t, err)
	if sum := got.Total(); sum.In != u.in || sum.Out != u.out || u.in == 0 || u.out == 0 {
		t.Errorf("recorded %d bytes in and %d out, clients sent %d and got %d", sum.In, sum.Out, u.in, u.out)
	}
	if got.Cluster != c.orders.ClusterID() {
		t.Errorf("of cluster %q", got.Cluster)
	}
}
