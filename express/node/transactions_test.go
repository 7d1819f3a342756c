package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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
