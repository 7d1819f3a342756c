package partition_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"millrace/express/partition"
	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// runsOf cuts n batches of one record each from offset from on into runs of these lengths.
func runsOf(t *testing.T, id topic.Partition, from, n int64, lengths func() int) (runs []wal.Run) {
	t.Helper()
	for at := from; at < from+n; {
		run := wal.Run{Partition: id, Base: at, MaxTimestamp: -1}
		for range min(int64(lengths()), from+n-at) {
			b := batch(t, 1, nil, rec{fmt.Sprint(at), "v"})
			first, _, err := record.Next(b)
			must(t, err)
			first.SetBaseOffset(at)
			first.SetLeaderEpoch(0)
			run.Data = append(run.Data, first...)
			run.MaxTimestamp = max(run.MaxTimestamp, first.MaxTimestamp())
			at++
		}
		run.Last = at - 1
		runs = append(runs, run)
	}
	return runs
}

// P14: whatever lies twice in a log, and wherever the manifest ends, what is there from then on is imported once.
func TestReplayTakesWhatIsNew(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		id := topic.Partition{Topic: topic.NewID()}
		lengths := func() int { return rapid.IntRange(1, 5).Draw(rt, "batches") }
		from := rapid.Int64Range(0, 20).Draw(rt, "from")
		end := from
		r := partition.NewReplay()
		stream := e.log.Stream(id)
		r.Add(id, from, stream)
		for range rapid.IntRange(1, 5).Draw(rt, "parts") {
			// A part begins at or below what was there, as after an import, or is of another partition.
			begin := rapid.Int64Range(max(0, end-12), end).Draw(rt, "begin")
			n := rapid.Int64Range(1, 20).Draw(rt, "n")
			for _, run := range runsOf(t, id, begin, n, lengths) {
				must(t, r.Take(ctx, run))
				must(t, r.Take(ctx, wal.Run{Partition: topic.Partition{Index: 77}, Base: run.Base, Last: run.Last, Data: run.Data}))
			}
			end = max(end, begin+n)
		}
		failed, err := r.Finish(ctx)
		must(t, err)
		must(t, failed[id])
		if first, last := stream.Bounds(); end > from && (last != end || first != from) {
			rt.Fatalf("the stream is [%d, %d), want [%d, %d)", first, last, from, end)
		}
	})
}

// A partition that left a log and came back is in it twice, and of its first stay the begin may be trimmed by then.
func TestReplayPassesOverTheRestOfAnEarlierStay(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		id := topic.Partition{Topic: topic.NewID()}
		lengths := func() int { return rapid.IntRange(1, 5).Draw(rt, "batches") }
		r := partition.NewReplay()
		stream := e.log.Stream(id)
		from := rapid.Int64Range(0, 10).Draw(rt, "from") // where the manifest ends
		r.Add(id, from, stream)
		end := from
		for range rapid.IntRange(0, 3).Draw(rt, "stays") {
			trimmed := rapid.Int64Range(0, end+5).Draw(rt, "trimmed")
			end += rapid.Int64Range(0, 10).Draw(rt, "written")
			for _, run := range runsOf(t, id, trimmed, end-trimmed, lengths) {
				must(t, r.Take(ctx, run))
			}
		}
		begin := rapid.Int64Range(0, from).Draw(rt, "begin")
		end += rapid.Int64Range(1, 10).Draw(rt, "written")
		for _, run := range runsOf(t, id, begin, end-begin, lengths) {
			must(t, r.Take(ctx, run))
		}
		failed, err := r.Finish(ctx)
		must(t, err)
		must(t, failed[id])
		if first, last := stream.Bounds(); last != end || first != from {
			rt.Fatalf("the stream is [%d, %d), want [%d, %d)", first, last, from, end)
		}
	})
}

// A partition of which something is missing fails, and the others do not.
func TestReplayWithAGap(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil, fileSize(1<<20))
	whole, broken := e.id, topic.Partition{Topic: topic.NewID()}
	r := partition.NewReplay()
	r.Add(whole, 0, e.log.Stream(whole))
	r.Add(broken, 0, e.log.Stream(broken))
	five := func() int { return 5 }
	for _, id := range []topic.Partition{whole, broken} {
		for i, run := range runsOf(t, id, 0, 20, five) {
			if id == whole || i != 1 {
				must(t, r.Take(ctx, run))
			}
		}
	}
	late := topic.Partition{Topic: topic.NewID()}
	r.Add(late, 10, e.log.Stream(late))
	for _, run := range runsOf(t, late, 11, 5, five) {
		must(t, r.Take(ctx, run))
	}
	failed, err := r.Finish(ctx)
	must(t, err)
	if len(failed) != 2 || !errors.Is(failed[broken], partition.ErrGap) || !errors.Is(failed[late], partition.ErrGap) {
		t.Errorf("failed: %v", failed)
	}
	if _, end := e.log.Stream(whole).Bounds(); end != 20 {
		t.Errorf("the other one ends at %d", end)
	}
}

// What does not become durable is not said to be.
func TestReplayIntoALogThatFails(t *testing.T) {
	ctx := context.Background()
	e := newEnv(t, nil, fileSize(1<<20))
	must(t, e.log.Close(context.Background()))
	r := partition.NewReplay()
	r.Add(e.id, 0, e.log.Stream(e.id))
	run := runsOf(t, e.id, 0, 1, func() int { return 1 })[0]
	wantErr(t, r.Take(ctx, run), wal.ErrClosed)
}
