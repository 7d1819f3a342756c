package node_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/object"
	"millrace/express/catalog"
	"millrace/express/tail"
	"millrace/kafka/record"
)

// tails lists the tail objects in the store.
func (c *cluster) tails() (keys []string) {
	c.t.Helper()
	page, err := c.objects.List(context.Background(), tail.Root, "", 1000)
	must(c.t, err)
	for _, o := range page {
		keys = append(keys, o.Key)
	}
	return keys
}

// TestPartitionsMoveUnderLoad moves partitions between three brokers while idempotent producers write (N1 to N5): no
// error, no record lost, doubled or moved. It logs how long producers were without acks.
func TestPartitionsMoveUnderLoad(t *testing.T) {
	c := newCluster(t, 3)
	const partitions = 2 // so few that the controller lets them be
	tp := c.topic("t", partitions, 1)
	tr := c.produce("t", partitions, 500)
	for i := range 30 {
		tr.await(100)
		c.move(tp, i%partitions, int32(1+(i/partitions+i)%3))
	}
	n := tr.end()
	t.Logf("%d records", n)
	if left := c.tails(); len(left) > 1 { // the last one may be about to go
		t.Errorf("tails are left: %v", left)
	}
}

// TestNothingIsServedDuringTheRelease holds the release back: a record that were taken meanwhile would be lost, and
// nobody may be told where the log ends (N1, N3). What waits is answered all the same.
func TestNothingIsServedDuringTheRelease(t *testing.T) {
	ctx := deadline(t)
	c := newCluster(t, 2)
	tp := c.topic("t", 1, 1)
	cl := c.client()
	defer cl.Close()
	w := c.members[1].wire
	held, hold := make(chan struct{}, 10), make(chan struct{})
	w.mu.Lock()
	w.held, w.hold = held, hold
	w.mu.Unlock()
	c.order(tp, 0, 2)
	<-held
	b := record.NewBuilder(record.Options{})
	must(t, b.Add(1, nil, []byte("v")))
	batch, err := b.Build(nil)
	must(t, err)
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 1000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", TopicID: tp.ID, Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
	answer, err := produce.RequestWith(ctx, cl.Broker(1))
	must(t, err)
	if code := answer.Topics[0].Partitions[0].ErrorCode; code != kerr.NotLeaderForPartition.Code {
		t.Errorf("a batch is answered with %d", code)
	}
	list := kmsg.NewPtrListOffsetsRequest()
	at := kmsg.NewListOffsetsRequestTopicPartition()
	at.Timestamp = -1
	list.ReplicaID, list.Topics = -1, []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{at}}}
	listed, err := list.RequestWith(ctx, cl.Broker(1))
	must(t, err)
	if code := listed.Topics[0].Partitions[0].ErrorCode; code != kerr.NotLeaderForPartition.Code {
		t.Errorf("the end of the log is told, code %d", code)
	}
	w.mu.Lock()
	w.held = nil
	w.mu.Unlock()
	close(hold)
	<-c.moved(tp, 2)
	must(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr())
}

// TestTimeWithoutAcks logs how long one producer is without acks while its partition moves, with everything in memory
// and with etcd and files.
func TestTimeWithoutAcks(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) { timeWithoutAcks(t, newCluster(t, 2)) })
	t.Run("disk", func(t *testing.T) {
		ctx, dir := context.Background(), t.TempDir()
		e, err := etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
		must(t, err)
		t.Cleanup(func() { must(t, e.Close()) })
		store, err := etcd.Dial(ctx, []string{e.Endpoint()}, etcd.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, store.Close()) })
		objects, err := object.OpenFiles(ctx, disk.OS(dir), "store")
		must(t, err)
		t.Cleanup(func() { must(t, objects.Close()) })
		timeWithoutAcks(t, newClusterOver(t, 2, store, objects, func(id int32) disk.FS {
			return disk.OS(filepath.Join(dir, fmt.Sprint("broker-", id)))
		}))
	})
}

func timeWithoutAcks(t *testing.T, c *cluster) {
	tp := c.topic("t", 1, 1)
	tr := c.produce("t", 1, 1000)
	var gaps []time.Duration
	for i := range 21 {
		tr.await(100)
		tr.takeGap()
		c.move(tp, 0, int32(2-i%2))
		tr.await(50)
		gaps = append(gaps, tr.takeGap())
	}
	tr.end()
	slices.Sort(gaps)
	t.Logf("time without acks: median %v, worst %v", gaps[len(gaps)/2], gaps[len(gaps)-1])
}

// TestMovesSurviveCrashes crashes the broker that releases, or the one that takes over, at each of its writes during a
// move, with the write done or not (N1, N4).
func TestMovesSurviveCrashes(t *testing.T) {
	t.Parallel()
	for _, victim := range []int32{1, 2} {
		for _, after := range []bool{false, true} {
			for at := 1; at <= 5; at++ {
				t.Run(fmt.Sprintf("broker=%d,done=%v,write=%d", victim, after, at), func(t *testing.T) {
					c := newCluster(t, 2)
					tp := c.topic("t", 1, 1)
					tr := c.produce("t", 1, 300)
					c.move(tp, 0, 2)
					c.move(tp, 0, 1)
					tr.await(50)
					m := c.members[victim]
					fired := make(chan struct{})
					m.wire.mu.Lock()
					m.wire.at, m.wire.after, m.wire.fired = m.wire.steps+at, after, func() { close(fired) }
					m.wire.mu.Unlock()
					c.order(tp, 0, 2)
					select {
					case <-fired:
						c.crash(victim, uint64(at))
					case <-c.moved(tp, 2):
						m.wire.mu.Lock()
						m.wire.at = 0
						m.wire.mu.Unlock()
						if m.wire.isCut() {
							c.crash(victim, uint64(at))
						}
					}
					c.order(tp, 0, 2) // if the crash came before the order was seen, or it is undone
					<-c.moved(tp, 2)
					tr.await(20)
					c.move(tp, 0, 1)
					tr.end()
				})
			}
		}
	}
}

// moved is closed when a partition is at a broker, imported.
func (c *cluster) moved(t *catalog.Topic, to int32) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.find(t.Name, func(now *catalog.Topic) bool {
			p := now.Partitions[0]
			return p.Owner == to && p.Tail == ""
		})
	}()
	return done
}

// TestCrashesWhilePartitionsMove has brokers crash at any time while partitions go to and fro.
func TestCrashesWhilePartitionsMove(t *testing.T) {
	c := newCluster(t, 3)
	const partitions = 2
	tp := c.topic("t", partitions, 1)
	tr := c.produce("t", partitions, 300)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		tr.await(100)
		for range 1 + rng.IntN(6) {
			c.order(tp, rng.IntN(partitions), int32(1+rng.IntN(3)))
		}
		c.crash(int32(1+rng.IntN(3)), rng.Uint64())
	}
	for i := range partitions {
		c.move(tp, i, int32(1+i%3))
	}
	t.Logf("%d records", tr.end())
}

// TestTopicIsDeletedWhileItMoves leaves nothing behind, wherever the move is.
func TestTopicIsDeletedWhileItMoves(t *testing.T) {
	c := newCluster(t, 2)
	cl := c.client(kgo.AllowAutoTopicCreation())
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for round := range 12 {
		name := fmt.Sprint("t", round)
		tp := c.topic(name, 3, 1)
		for i := range 30 {
			must(t, cl.ProduceSync(context.Background(), &kgo.Record{Topic: name, Value: []byte(fmt.Sprint(i))}).FirstErr())
		}
		for i := range 3 {
			c.order(tp, i, 2)
		}
		if round%3 == 0 {
			c.find(name, func(now *catalog.Topic) bool { return now.Partitions[0].Owner == 2 })
		}
		_, err := admin.DeleteTopics(context.Background(), name)
		must(t, err)
	}
	for id := range c.members {
		must(t, c.members[id].stop())
	}
	for id, m := range c.members {
		c.start(id, m.mem) // what a stop left undone, a start does
	}
	items, _, err := c.kv.List(context.Background(), "clusters/c/manifests/")
	must(t, err)
	if len(items) != 0 {
		t.Errorf("%d manifests are left", len(items))
	}
}

// TestOpenTransactionMoves: a transaction that was begun at one broker is committed, another aborted, when everything
// has moved to the other one.
func TestOpenTransactionMoves(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := newCluster(t, 1)
	c.topic("t", 1, 1)
	var txns []*kgo.Client
	for _, id := range []string{"commits", "aborts"} {
		cl := c.client(kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"))
		defer cl.Close()
		must(t, cl.BeginTransaction())
		for i := range 10 {
			must(t, cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(id, i))).FirstErr())
		}
		txns = append(txns, cl)
	}
	c.start(2, disk.NewMem())
	c.members[1].drain <- struct{}{}
	for _, name := range []string{"__transaction_state", "t"} {
		c.find(name, func(now *catalog.Topic) bool {
			return !slices.ContainsFunc(now.Partitions, func(p catalog.Partition) bool { return p.Owner != 2 || p.Tail != "" })
		})
	}
	must(t, txns[0].EndTransaction(ctx, kgo.TryCommit))
	must(t, txns[1].EndTransaction(ctx, kgo.TryAbort))
	cl := c.client(kgo.DefaultProduceTopic("t"))
	defer cl.Close()
	must(t, cl.ProduceSync(ctx, kgo.StringRecord("last")).FirstErr())
	reader := c.client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer reader.Close()
	var got []string
	for len(got) == 0 || got[len(got)-1] != "last" {
		fetches := reader.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if len(got) != 11 || got[0] != "commits0" || got[9] != "commits9" {
		t.Errorf("a read_committed consumer sees %v", got)
	}
}

// TestUnreadableManifestKeepsOnePartitionOffline, until it can be read: the others are served (N7).
func TestUnreadableManifestKeepsOnePartitionOffline(t *testing.T) {
	c := newCluster(t, 1)
	tp := c.topic("t", 2, 1)
	m := c.members[1]
	key := fmt.Sprintf("clusters/c/manifests/%s/0", tp.ID)
	must(t, m.stop())
	putKey(t, c, key, "no manifest")
	c.start(1, m.mem)
	cl := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	must(t, cl.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Partition: 1, Value: []byte("v")}).FirstErr())
	deleteKey(t, c, key)
	must(t, cl.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Partition: 0, Value: []byte("v")}).FirstErr())
}

// TestStopHandsOver: a broker that stops gives away what it has, while another can take it; one alone stops at once (N6).
// A drained one stays up.
func TestStopHandsOver(t *testing.T) {
	c := newCluster(t, 2)
	tp := c.topic("t", 2, 1)
	m := c.members[1]
	tr := c.produce("t", 2, 100)
	m.drain <- struct{}{}
	c.find("t", func(now *catalog.Topic) bool { return now.Partitions[0].Owner == 2 && now.Partitions[1].Owner == 2 })
	must(t, m.probe(deadline(t)))
	must(t, m.stop())
	m = c.start(1, m.mem)
	for i := range tp.Partitions {
		c.move(tp, i, 1)
	}
	must(t, m.stop())
	m.cfg.DrainTimeout = time.Minute
	m.stop = sync.OnceValue(m.run())
	must(t, m.stop())
	// Nobody can take them from a broker that has stopped, so it was before.
	c.find("t", func(now *catalog.Topic) bool { return now.Partitions[0].Owner == 2 && now.Partitions[1].Owner == 2 })
	tr.end()
	m = c.members[2]
	must(t, m.stop())
	m.cfg.DrainTimeout = 100 * time.Hour // nobody can take over: it does not wait
	m.stop = sync.OnceValue(m.run())
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func putKey(t *testing.T, c *cluster, key, value string) {
	t.Helper()
	_, err := c.kv.Txn(context.Background(), nil, []kv.Op{kv.Put(key, []byte(value))})
	must(t, err)
}

func deleteKey(t *testing.T, c *cluster, key string) {
	t.Helper()
	_, err := c.kv.Txn(context.Background(), nil, []kv.Op{kv.Delete(key)})
	must(t, err)
}
