package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/express/node"
)

// peers is several brokers in one process: they share an etcd and a store, and talk over real sockets.
type peers struct {
	t       *testing.T
	brokers []*env
	stops   []func() error // nil: not running
}

func newPeers(t *testing.T, n int) *peers {
	t.Helper()
	c := &peers{t: t, stops: make([]func() error, n)}
	world := node.World{
		KV: kv.NewMemory(), Objects: object.NewMemory(clock.System{}), FS: disk.NewMem(), Clock: clock.System{},
		Log: slog.New(slog.DiscardHandler),
	}
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := l.Addr().String()
		must(t, l.Close())
		c.brokers = append(c.brokers, &env{t: t, world: world, cfg: node.Config{
			ID: int32(i + 1), Zone: fmt.Sprint("zone-", i+1), Listen: address, Dir: fmt.Sprint("broker-", i+1), Prefix: "clusters/c/",
		}})
	}
	for id := range int32(n) {
		c.start(id + 1)
	}
	t.Cleanup(func() {
		for id := range int32(n) {
			c.stop(id + 1)
		}
	})
	c.settled()
	return c
}

// settled waits until all running brokers see just each other.
func (c *peers) settled() {
	c.t.Helper()
	running := 0
	for _, stop := range c.stops {
		if stop != nil {
			running++
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.everywhere(ctx, func(cl *kgo.Client) bool {
		all, err := kadm.NewClient(cl).ListBrokers(ctx)
		return err == nil && len(all) == running
	})
}

// with is the cluster for a test within the test.
func (c *peers) with(t *testing.T) *peers {
	return &peers{t: t, brokers: c.brokers, stops: c.stops}
}

func (c *peers) start(id int32) {
	c.t.Helper()
	c.stops[id-1] = c.brokers[id-1].run()
}

func (c *peers) stop(id int32) {
	c.t.Helper()
	if stop := c.stops[id-1]; stop != nil {
		c.stops[id-1] = nil
		must(c.t, stop())
	}
}

func (c *peers) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.addresses()...), kgo.MetadataMinAge(10 * time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}, opts...)...)
	must(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

// addresses are those of the running brokers.
func (c *peers) addresses() []string {
	var out []string
	for i, b := range c.brokers {
		if c.stops[i] != nil {
			out = append(out, b.cfg.Listen)
		}
	}
	return out
}

func (c *peers) admin() *kadm.Client { return kadm.NewClient(c.client()) }

// create makes a topic of which each broker leads as many partitions, by explicit assignment: partition i is broker i%n+1's.
func (c *peers) create(ctx context.Context, name string, partitions int) {
	c.t.Helper()
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	for i := range partitions {
		t.ReplicaAssignment = append(t.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{
			Partition: int32(i), Replicas: []int32{int32(i%len(c.brokers) + 1)},
		})
	}
	q.Topics = append(q.Topics, t)
	r, err := q.RequestWith(ctx, c.client())
	must(c.t, err)
	if r.Topics[0].ErrorCode != 0 {
		c.t.Fatalf("create %s: %d %s", name, r.Topics[0].ErrorCode, *r.Topics[0].ErrorMessage)
	}
	c.everywhere(ctx, func(cl *kgo.Client) bool { // all brokers have heard of it
		all, err := kadm.NewClient(cl).ListTopics(ctx, name)
		return err == nil && len(all[name].Partitions) == partitions && all[name].Partitions.Numbers() != nil && live(all[name])
	})
}

func live(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Leader < 0 || p.Err != nil {
			return false
		}
	}
	return true
}

// everywhere waits until each running broker says so.
func (c *peers) everywhere(ctx context.Context, ok func(cl *kgo.Client) bool) {
	c.t.Helper()
	for i, b := range c.brokers {
		if c.stops[i] == nil {
			continue
		}
		// Whichever broker the client means to ask, it is this one that answers.
		here := kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, b.cfg.Listen)
		})
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.cfg.Listen), here, kgo.MetadataMinAge(10*time.Millisecond)) // kadm is content with what is not older
		must(c.t, err)
		for !ok(cl) {
			if ctx.Err() != nil {
				c.t.Fatalf("broker %d does not come to it: %v", i+1, ctx.Err())
			}
		}
		cl.Close()
	}
}

// idAt gives a name that starts with prefix and is coordinated by that broker.
func (c *peers) idAt(ctx context.Context, prefix string, kind int8, broker int32) string {
	c.t.Helper()
	cl := c.client()
	for i := range 200 {
		q := kmsg.NewPtrFindCoordinatorRequest()
		name := fmt.Sprint(prefix, i)
		q.CoordinatorType, q.CoordinatorKeys = kind, []string{name}
		r, err := q.RequestWith(ctx, cl)
		must(c.t, err)
		if found := r.Coordinators[0]; found.ErrorCode == 0 && found.NodeID == broker {
			return name
		}
	}
	c.t.Fatalf("no name is coordinated by broker %d", broker)
	return ""
}

// committed reads a topic at read_committed until it has n records, and returns their values in order.
func (c *peers) committed(ctx context.Context, name string, n int) []string {
	c.t.Helper()
	cl := c.client(kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var out []string
	for len(out) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%d of %d records: %v", len(out), n, out)
		}
		fetches.EachRecord(func(r *kgo.Record) { out = append(out, string(r.Value)) })
	}
	slices.Sort(out)
	return out
}

// toAll gives a record for each of n partitions.
func toAll(value string, n int) []*kgo.Record {
	var out []*kgo.Record
	for i := range n {
		out = append(out, &kgo.Record{Partition: int32(i), Value: fmt.Appendf(nil, "%s-%d", value, i)})
	}
	return out
}

func wantSorted(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func values(partitions int, names ...string) []string {
	var out []string
	for _, name := range names {
		for i := range partitions {
			out = append(out, fmt.Sprintf("%s-%d", name, i))
		}
	}
	return out
}

func protocols() map[string][]kgo.Opt {
	return map[string][]kgo.Opt{"first protocol": {firstProtocol()}, "second protocol": nil}
}

// Transactions over partitions of all brokers, with the coordinator on each of them in turn.
func TestTransactionsOverBrokers(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const partitions = 6
	for name, opts := range protocols() {
		for broker := range int32(3) {
			t.Run(fmt.Sprintf("%s, coordinator %d", name, broker+1), func(t *testing.T) {
				c := c.with(t)
				topic := fmt.Sprintf("t-%c-%d", name[0], broker)
				c.create(ctx, topic, partitions)
				cl := c.client(append([]kgo.Opt{
					kgo.TransactionalID(c.idAt(ctx, topic, 1, broker+1)), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				}, opts...)...)
				for i := range 4 {
					must(t, cl.BeginTransaction())
					must(t, cl.ProduceSync(ctx, toAll(fmt.Sprint(i), partitions)...).FirstErr())
					must(t, cl.EndTransaction(ctx, kgo.TransactionEndTry(i%2 == 0)))
				}
				wantSorted(t, c.committed(ctx, topic, 2*partitions), values(partitions, "0", "2")...)
				c.noneOpen(ctx, topic)
			})
		}
	}
}

// noneOpen waits until no partition of a topic has an open transaction: the last stable offset is the end.
func (c *peers) noneOpen(ctx context.Context, name string) {
	c.t.Helper()
	a := c.admin()
	for {
		ends, err := a.ListEndOffsets(ctx, name)
		must(c.t, err)
		stable, err := a.ListCommittedOffsets(ctx, name)
		must(c.t, err)
		open := 0
		ends.Each(func(o kadm.ListedOffset) {
			must(c.t, o.Err)
			if s, ok := stable.Lookup(name, o.Partition); !ok || s.Err != nil || s.Offset != o.Offset {
				open++
			}
		})
		if open == 0 {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("%d partitions of %s have an open transaction", open, name)
		}
	}
}

// A producer whose successor has begun can neither write nor commit, wherever partitions and coordinator are.
func TestZombieIsFencedOverBrokers(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, opts := range protocols() {
		t.Run(name, func(t *testing.T) {
			c := c.with(t)
			topic := fmt.Sprintf("z-%c", name[0])
			c.create(ctx, topic, 3)
			opts := append([]kgo.Opt{
				kgo.TransactionalID(c.idAt(ctx, topic, 1, 2)), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			}, opts...)
			zombie := c.client(opts...)
			must(t, zombie.BeginTransaction())
			must(t, zombie.ProduceSync(ctx, toAll("lost", 3)...).FirstErr())
			next := c.client(opts...)
			must(t, next.BeginTransaction())
			must(t, next.ProduceSync(ctx, toAll("kept", 3)...).FirstErr())
			if err := zombie.ProduceSync(ctx, toAll("late", 3)...).FirstErr(); err == nil {
				t.Error("a fenced producer could write")
			}
			if err := zombie.EndTransaction(ctx, kgo.TryCommit); err == nil {
				t.Error("a fenced producer could commit")
			}
			must(t, next.EndTransaction(ctx, kgo.TryCommit))
			wantSorted(t, c.committed(ctx, topic, 3), values(3, "kept")...)
			c.noneOpen(ctx, topic)
		})
	}
}

// Offsets become part of a transaction whose coordinator is another broker than the group's.
func TestOffsetsInTransactionsOverBrokers(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	for name, opts := range protocols() {
		for broker := range int32(3) {
			t.Run(fmt.Sprintf("%s, group's coordinator %d", name, broker+1), func(t *testing.T) {
				t.Parallel() // each waits for the first rebalance of its group
				c.with(t).offsetsInTransactions(ctx, broker+1, name, opts)
			})
		}
	}
}

func (c *peers) offsetsInTransactions(ctx context.Context, broker int32, protocol string, opts []kgo.Opt) {
	t := c.t
	in, out := fmt.Sprintf("in-%c-%d", protocol[0], broker), fmt.Sprintf("out-%c-%d", protocol[0], broker)
	c.create(ctx, in, 3)
	c.create(ctx, out, 3)
	const n = 12
	p := c.client(kgo.DefaultProduceTopic(in), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	for i := range n {
		must(t, p.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	group := c.idAt(ctx, in+"-group", 0, broker)
	s, err := kgo.NewGroupTransactSession(append([]kgo.Opt{
		kgo.SeedBrokers(c.addresses()...), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.TransactionalID(c.idAt(ctx, out, 1, broker%3+1)), kgo.DefaultProduceTopic(out),
		kgo.ConsumeTopics(in), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.SessionTimeout(10 * time.Second), kgo.TransactionTimeout(30 * time.Second),
	}, opts...)...)
	must(t, err)
	defer s.Close()
	for seen, turn := 0, 0; seen < n; turn++ {
		fetches := s.PollRecords(ctx, 4)
		must(t, fetches.Err())
		must(t, s.Begin())
		batch := 0
		fetches.EachRecord(func(r *kgo.Record) {
			batch++
			s.Produce(ctx, kgo.StringRecord(string(r.Value)), nil)
		})
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 1))
		must(t, err)
		if committed {
			seen += batch
		}
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	wantSorted(t, c.committed(ctx, out, n), want...)
	sum := int64(0)
	for sum != n { // offsets take effect with their marker, which comes after the answer
		offsets, err := c.admin().FetchOffsets(ctx, group)
		must(t, err)
		sum = 0
		offsets.Each(func(o kadm.OffsetResponse) { sum += max(o.At, 0) })
		if ctx.Err() != nil || sum > n {
			t.Fatalf("the group has committed %d records, want %d", sum, n)
		}
	}
}

// A decision is carried out on a broker that was away, once it is back; meanwhile the others have theirs.
func TestMarkersWaitForABrokerThatIsAway(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.create(ctx, "t", 3)
	id := c.idAt(ctx, "txn", 1, 1)
	cl := c.client(kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, cl.BeginTransaction())
	must(t, cl.ProduceSync(ctx, toAll("kept", 3)...).FirstErr())
	c.stop(3)
	c.settled()
	must(t, cl.EndTransaction(ctx, kgo.TryCommit))
	one := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for got := 0; got < 2; {
		fetches := one.PollFetches(ctx)
		must(t, ctx.Err())
		got += fetches.NumRecords()
	}
	d, err := c.admin().DescribeTransactions(ctx, id)
	must(t, err)
	if d[id].State != "PrepareCommit" {
		t.Errorf("the transaction is in state %s while a broker is away", d[id].State)
	}
	c.start(3)
	wantSorted(t, c.committed(ctx, "t", 3), values(3, "kept")...)
	for {
		d, err := c.admin().DescribeTransactions(ctx, id)
		must(t, err)
		if d[id].State == "CompleteCommit" {
			break
		}
		must(t, ctx.Err())
	}
	must(t, cl.BeginTransaction())
	must(t, cl.ProduceSync(ctx, toAll("next", 3)...).FirstErr())
	must(t, cl.EndTransaction(ctx, kgo.TryCommit))
	wantSorted(t, c.committed(ctx, "t", 6), values(3, "kept", "next")...)
}
