package node_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"millrace/express/audit"
	"millrace/express/catalog"
)

// audited asks for an audit and waits until all brokers have answered.
func (c *cluster) audited(ctx context.Context) map[int32]*audit.Pass {
	c.t.Helper()
	n, err := audit.Ask(ctx, c.kv, "clusters/c/", 1<<40, time.Now())
	must(c.t, err)
	for changes := c.kv.Watch(ctx, "clusters/c/audited/", 0); ; {
		results, err := audit.Results(ctx, c.kv, "clusters/c/")
		must(c.t, err)
		passes := map[int32]*audit.Pass{}
		for _, r := range results {
			if r.Answered >= n {
				passes[r.Broker] = r.Last
			}
		}
		if len(passes) == len(c.members) {
			return passes
		}
		if _, more := <-changes; !more {
			c.t.Fatalf("the brokers that have answered: %v; %v", passes, ctx.Err())
		}
	}
}

// TestAuditsFindNothingWhilePartitionsMove audits all the time while partitions go to and fro and brokers crash: there is
// nothing to be found. In the end, when all is quiet, every partition is seen.
func TestAuditsFindNothingWhilePartitionsMove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := newCluster(t, 3)
	const partitions = 2
	tp := c.topic("t", partitions, 1)
	tr := c.produce("t", partitions, 3000)
	rng := rand.New(rand.NewPCG(5, 6))
	checked, moved, skipped := 0, 0, 0 // a partition may take its time to open, which is said and is no finding
	look := func() {
		t.Helper()
		for id, p := range c.audited(ctx) {
			if p.Total() > 0 {
				t.Fatalf("broker %d: %v, %+v", id, p.Findings, p.Skips)
			}
			checked, moved, skipped = checked+p.Checked, moved+p.Moved, skipped+p.Skipped
		}
	}
	for i := range 8 {
		tr.await(200)
		for range 1 + rng.IntN(4) {
			c.order(tp, rng.IntN(partitions), int32(1+rng.IntN(3)))
		}
		if i%3 == 2 {
			c.crash(int32(1+rng.IntN(3)), rng.Uint64())
		}
		look()
	}
	c.find("t", func(now *catalog.Topic) bool { // the last orders are followed, or a further one would be dropped
		return now.Partitions[0].To == 0 && now.Partitions[1].To == 0
	})
	for i := range partitions {
		c.move(tp, i, int32(1+i))
	}
	records := tr.end()
	before, lost := checked, skipped
	look()
	if checked-before != partitions || skipped != lost {
		t.Errorf("%d partitions checked in the end, want %d; %d skipped", checked-before, partitions, skipped-lost)
	}
	t.Logf("%d records; %d partitions checked, %d moved while they were", records, checked, moved)
}
