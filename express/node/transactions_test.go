package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// committed reads topic at read_committed until it has n records, and returns their values.
func (e *env) committed(topic string, n int) []string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := e.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var out []string
	for len(out) < n {
		fetches := c.PollFetches(ctx)
		must(e.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { out = append(out, string(r.Value)) })
	}
	return out
}

func TestTransactionsCommitAndAbort(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	defer func() { must(t, stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := e.admin().CreateTopic(ctx, 1, -1, nil, "t")
	must(t, err)
	c := e.client(kgo.TransactionalID("txn"), kgo.DefaultProduceTopic("t"))
	for i := range 6 {
		must(t, c.BeginTransaction())
		must(t, c.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr())
		must(t, c.EndTransaction(ctx, kgo.TransactionEndTry(i%2 == 0)))
	}
	got := e.committed("t", 3)
	if fmt.Sprint(got) != "[0 2 4]" {
		t.Error(got)
	}
	d, err := kadm.NewClient(c).DescribeTransactions(ctx, "txn")
	must(t, err)
	if d["txn"].State != "CompleteAbort" && d["txn"].State != "PrepareAbort" {
		t.Errorf("%+v", d["txn"])
	}
}

// firstProtocol keeps a client to what librdkafka and older Java clients speak: partitions are added by the client, and the
// epoch stays.
func firstProtocol() kgo.Opt {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	v.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	v.SetMaxKeyVersion(int16(kmsg.ApiVersions), 2) // knows no features
	return kgo.MaxVersions(v)
}

// Read, change, write and commit, exactly once, with every third attempt aborted.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]kgo.Opt{"first protocol": {firstProtocol()}, "second protocol": nil} {
		t.Run(name, func(t *testing.T) { exactlyOnce(t, opts) })
	}
}

func exactlyOnce(t *testing.T, opts []kgo.Opt) {
	e := newEnv(t)
	stop := e.run()
	defer func() { must(t, stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := e.admin().CreateTopics(ctx, 2, -1, nil, "in", "out")
	must(t, err)
	const n = 30
	e.produceMany("in", n)

	s, err := kgo.NewGroupTransactSession(append([]kgo.Opt{
		kgo.SeedBrokers(e.cfg.Listen), kgo.TransactionalID("eos"), kgo.DefaultProduceTopic("out"), kgo.ConsumeTopics("in"),
		kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.SessionTimeout(10 * time.Second), kgo.TransactionTimeout(30 * time.Second),
	}, opts...)...)
	must(t, err)
	defer s.Close()
	seen := 0
	for turn := 0; seen < n; turn++ {
		fetches := s.PollRecords(ctx, 3)
		must(t, fetches.Err())
		must(t, s.Begin())
		batch := 0
		fetches.EachRecord(func(r *kgo.Record) {
			batch++
			s.Produce(ctx, kgo.StringRecord("seen "+string(r.Value)), nil)
		})
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 2))
		must(t, err)
		if committed {
			seen += batch
		}
	}
	got := map[string]int{}
	for _, v := range e.committed("out", n) {
		got[v]++
	}
	for i := range n {
		if v := fmt.Sprint("seen ", i); got[v] != 1 {
			t.Errorf("%q is there %d times", v, got[v])
		}
	}
	if sum := e.stableOffsets(ctx, "g"); sum != n {
		t.Errorf("the group has committed %d records, want %d", sum, n)
	}
}

// stableOffsets adds up what a group has committed, once no transaction with offsets of it is open: a commit of the
// first protocol is answered before its markers are written.
func (e *env) stableOffsets(ctx context.Context, group string) int64 {
	e.t.Helper()
	c := e.client()
	for {
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		req.RequireStable, req.Groups = true, []kmsg.OffsetFetchRequestGroup{g}
		resp, err := req.RequestWith(ctx, c)
		must(e.t, err)
		sum, unstable := int64(0), false
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				unstable = unstable || p.ErrorCode == kerr.UnstableOffsetCommit.Code
				sum += p.Offset
			}
		}
		if !unstable {
			return sum
		}
	}
}

// produceMany spreads records numbered from 0 over the partitions of topic.
func (e *env) produceMany(topic string, n int) {
	e.t.Helper()
	c := e.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	var records []*kgo.Record
	for i := range n {
		records = append(records, kgo.StringRecord(fmt.Sprint(i)))
	}
	must(e.t, c.ProduceSync(context.Background(), records...).FirstErr())
}

// A transaction that is open over a restart goes on; one whose producer has a successor does not.
func TestTransactionsOverARestart(t *testing.T) {
	e := newEnv(t)
	stop := e.run()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := e.admin().CreateTopic(ctx, 1, -1, nil, "t")
	must(t, err)
	c := e.client(kgo.TransactionalID("txn"), kgo.DefaultProduceTopic("t"))
	must(t, c.BeginTransaction())
	must(t, c.ProduceSync(ctx, kgo.StringRecord("before")).FirstErr())
	must(t, stop())
	stop = e.run()
	defer func() { must(t, stop()) }()
	must(t, c.ProduceSync(ctx, kgo.StringRecord("after")).FirstErr())
	must(t, c.EndTransaction(ctx, kgo.TryCommit))
	if got := e.committed("t", 2); fmt.Sprint(got) != "[before after]" {
		t.Error(got)
	}

	must(t, c.BeginTransaction())
	must(t, c.ProduceSync(ctx, kgo.StringRecord("lost")).FirstErr())
	next := e.client(kgo.TransactionalID("txn"), kgo.DefaultProduceTopic("t"))
	must(t, next.BeginTransaction())
	must(t, next.ProduceSync(ctx, kgo.StringRecord("kept")).FirstErr())
	if err := c.EndTransaction(ctx, kgo.TryCommit); err == nil {
		t.Error("a fenced producer could commit")
	}
	must(t, next.EndTransaction(ctx, kgo.TryCommit))
	if got := e.committed("t", 3); fmt.Sprint(got) != "[before after kept]" {
		t.Error(got)
	}
}
