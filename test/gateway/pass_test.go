package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// TestPassOne and its siblings let a client work through the gateway in front of each kind of cluster.
func TestPassOne(t *testing.T) {
	harness.Long(t, "make suite SUITE=gateway")
	pass(t, harness.StartKafka(t, harness.KafkaOptions{}).Bootstrap, 1)
}

func TestPassThree(t *testing.T) {
	harness.Long(t, "make suite SUITE=gateway")
	kafka := harness.StartKafkas(t, 3, harness.KafkaOptions{HeapMB: 256})
	t.Cleanup(func() { kafka.Stop(t) }) // before each is asked to stop, which they do not do well together
	pass(t, kafka.Bootstrap, 3)
}

func TestPassExpress(t *testing.T) {
	pass(t, harness.StartMillrace(t, harness.MillraceOptions{}).Bootstrap, 1)
}

func pass(t *testing.T, upstream string, brokers int) {
	f := start(t, upstream, nil)
	createTopic(t, upstream, "orders", 6, int16(brokers))
	createTopic(t, upstream, "single", 6, 1) // whose partitions not every broker has
	t.Run("addresses", func(t *testing.T) { addresses(t, f, brokers) })
	t.Run("records", func(t *testing.T) { records(t, f) })
	t.Run("order", func(t *testing.T) { order(t, f) })
	t.Run("transactions", func(t *testing.T) { transactions(t, f) })
	t.Run("groups", func(t *testing.T) { groups(t, f) })
	if f.slabs == nil {
		t.Fatal("no slabs")
	}
}

// addresses: no answer names a broker's own address.
func addresses(t *testing.T, f *fixture, brokers int) {
	c := f.client(t, "alice")
	admin := kadm.NewClient(c)
	var meta kadm.Metadata
	harness.Eventually(t, patience, "the topic is known", func(ctx context.Context) (err error) {
		if meta, err = admin.Metadata(ctx); err == nil && !meta.Topics.Has("single") {
			err = errors.New("it is not")
		}
		return err
	})
	if len(meta.Brokers) != brokers {
		t.Fatalf("%d brokers, want %d", len(meta.Brokers), brokers)
	}
	check := func(what, host string, port int32) {
		t.Helper()
		address := fmt.Sprintf("%s:%d", host, port)
		if strings.Contains(f.upstream, address) || host != "127.0.0.1" {
			t.Errorf("%s names %s", what, address)
		}
	}
	for _, b := range meta.Brokers {
		check("Metadata", b.Host, b.Port)
	}
	harness.Eventually(t, patience, "the groups have coordinators", func(ctx context.Context) error {
		found := admin.FindGroupCoordinators(ctx, "g1", "g2")
		for _, x := range found {
			if x.Err != nil {
				return x.Err
			}
			check("FindCoordinator", x.Host, x.Port)
		}
		return nil
	})
	req := kmsg.NewPtrDescribeClusterRequest()
	resp, err := req.RequestWith(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.Brokers {
		check("DescribeCluster", b.Host, b.Port)
	}
	if brokers > 1 { // the wrong broker tells where the right one is
		for id := range int32(brokers) {
			hint := kmsg.NewPtrFetchRequest()
			hint.MaxBytes, hint.MaxWaitMillis, hint.SessionEpoch = 1<<20, 10, -1
			ft := kmsg.NewFetchRequestTopic()
			ft.Topic, ft.TopicID = "single", meta.Topics["single"].ID
			for p := range int32(6) {
				fp := kmsg.NewFetchRequestTopicPartition()
				fp.Partition, fp.PartitionMaxBytes = p, 1<<20
				ft.Partitions = append(ft.Partitions, fp)
			}
			hint.Topics = append(hint.Topics, ft)
			resp, err := c.Broker(int(id)+1).RetriableRequest(deadline(t), hint)
			if err != nil {
				t.Fatal(err)
			}
			nodes := resp.(*kmsg.FetchResponse).Brokers
			if len(nodes) == 0 {
				t.Errorf("no hints of other leaders: version %d, %+v", resp.GetVersion(), resp)
			}
			for _, n := range nodes {
				check("Fetch", n.Host, n.Port)
			}
		}
	}
}

// records: what goes in comes out, byte for byte, with each codec.
func records(t *testing.T, f *fixture) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		key := fmt.Sprintf("codec-%d", i)
		w := f.client(t, "alice", kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("orders"))
		want := map[string][]byte{}
		var all []*kgo.Record
		for n := range 200 {
			v := make([]byte, rng.IntN(20_000))
			for b := range v {
				v[b] = byte(rng.IntN(7))
			}
			k := fmt.Sprintf("%s-%d", key, n)
			want[k] = v
			all = append(all, &kgo.Record{Key: []byte(k), Value: v, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(k)}}})
		}
		if err := w.ProduceSync(deadline(t), all...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		r := f.client(t, "alice", kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		for len(want) > 0 {
			fetches := r.PollFetches(deadline(t))
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				v, ok := want[string(rec.Key)]
				if !ok {
					return
				}
				if !bytes.Equal(v, rec.Value) {
					t.Fatalf("%s: value differs", rec.Key)
				}
				delete(want, string(rec.Key))
			})
		}
		w.Close()
		r.Close()
	}
}

// order: many requests in flight on one connection are answered, and stored, in their order.
func order(t *testing.T, f *fixture) {
	w := f.client(t, "alice", kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(10_000))
	admin := kadm.NewClient(w)
	before, err := admin.ListEndOffsets(deadline(t), "orders")
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	last := int64(-1)
	failed := make(chan error, n)
	for i := range n {
		w.Produce(deadline(t), &kgo.Record{Partition: 3, Value: fmt.Appendf(nil, "%d", i)}, func(r *kgo.Record, err error) {
			if err == nil && r.Offset <= last {
				err = fmt.Errorf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
			if err != nil {
				failed <- err
			}
		})
	}
	if err := w.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	from, _ := before.Lookup("orders", 3)
	r := f.client(t, "alice", kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {3: kgo.NewOffset().At(from.Offset)}}))
	next := 0
	for next < n {
		fetches := r.PollFetches(deadline(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if string(rec.Value) != fmt.Sprint(next) {
				t.Fatalf("record %s, want %d", rec.Value, next)
			}
			next++
		})
	}
}

func transactions(t *testing.T, f *fixture) {
	w := f.client(t, "alice", kgo.TransactionalID("tx-1"), kgo.DefaultProduceTopic("orders"))
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := w.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := w.ProduceSync(deadline(t), &kgo.Record{Key: []byte("tx"), Value: fmt.Appendf(nil, "%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := w.EndTransaction(deadline(t), commit); err != nil {
			t.Fatal(err)
		}
	}
	r := f.client(t, "alice", kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < 2 {
		fetches := r.PollFetches(deadline(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if string(rec.Key) == "tx" {
				got = append(got, string(rec.Value))
			}
		})
	}
	for _, v := range got {
		if v == "1" {
			t.Error("an aborted record was read")
		}
	}
}

func groups(t *testing.T, f *fixture) {
	r := f.client(t, "alice", kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("g1"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := r.PollFetches(deadline(t))
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.CommitUncommittedOffsets(deadline(t)); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(f.client(t, "alice"))
	lags, err := admin.Lag(deadline(t), "g1")
	g := lags["g1"]
	if err != nil || g.Error() != nil {
		t.Fatal(err, g.Error())
	}
	if g.State != "Stable" || len(g.Members) != 1 {
		t.Errorf("group is %q with %d members", g.State, len(g.Members))
	}
	r.LeaveGroup()
	if resp, err := admin.DeleteGroup(deadline(t), "g1"); err != nil || resp.Err != nil {
		t.Error(err, resp.Err)
	}
}
