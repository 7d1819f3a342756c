package traffic

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/history"
)

// read reads the topic in passes until ctx ends: each from a random place in what was seen before to what is
// acknowledged when the pass begins, with a new client, so that most offsets are read more than once. Most passes
// begin near the end, for the sake of the load; some begin anywhere.
func (t *Traffic) read(ctx context.Context) {
	const near, anywhereEvery = 10_000, 8
	for pass := 0; ctx.Err() == nil; pass++ {
		from, to := make([]int64, t.config.Partitions), make([]int64, t.config.Partitions)
		for i := range from {
			seen := t.history.Seen(int32(i))
			back := seen
			if pass%anywhereEvery != 0 {
				back = min(seen, near)
			}
			from[i] = seen - rand.Int64N(back+1)
			to[i] = t.history.AckedEnd(int32(i)) + 1 // at least one record that is still on its way
		}
		err := t.readRange(ctx, from, to, func(r *kgo.Record) bool {
			t.history.Observe(r.Partition, r.Offset, r.Value)
			return true
		})
		if err != nil && ctx.Err() == nil {
			t.fault(fmt.Errorf("read: %w", err))
			return
		}
	}
}

// readRange hands each partition's records from its offset in from up to, not including, its offset in to. It waits
// for records that are not there yet, and goes on over lost connections.
func (t *Traffic) readRange(ctx context.Context, from, to []int64, visit func(*kgo.Record) bool) error {
	offsets := make(map[int32]kgo.Offset)
	for i := range from {
		if from[i] < to[i] {
			offsets[int32(i)] = kgo.NewOffset().At(from[i])
		}
	}
	client, err := t.client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.config.Topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.KeepRetryableFetchErrors(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for len(offsets) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readError(fetches); err != nil {
			return err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			if !visit(r) {
				return nil
			}
			if r.Offset+1 >= to[r.Partition] {
				delete(offsets, r.Partition)
			}
		}
	}
	return nil
}

// readError returns an answer that no reader of existing offsets should be given. Lost connections and answers that
// ask for a retry are a restart's signs.
func readError(fetches kgo.Fetches) (wrong error) {
	fetches.EachError(func(_ string, partition int32, err error) {
		var answer *kerr.Error
		if errors.As(err, &answer) && !answer.Retriable {
			wrong = fmt.Errorf("partition %d: %w", partition, err)
		}
		if errors.Is(err, kerr.OffsetOutOfRange) {
			wrong = fmt.Errorf("partition %d: %w", partition, err)
		}
	})
	return wrong
}

// watch asks for the end offsets until ctx ends.
func (t *Traffic) watch(ctx context.Context) {
	client, err := t.client()
	if err != nil {
		t.fault(fmt.Errorf("watch: %w", err))
		return
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	acked := make([]int64, t.config.Partitions)
	for {
		for i := range acked {
			acked[i] = t.history.AckedEnd(int32(i))
		}
		if ends, err := admin.ListEndOffsets(ctx, t.config.Topic); err == nil {
			ends.Each(func(o kadm.ListedOffset) {
				if o.Err == nil {
					t.history.Watermark(o.Partition, acked[o.Partition], o.Offset)
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Log returns the whole topic as it stands now, each partition in its order; records that come later are left out. The
// returned function tells, after the walk, what went wrong in it.
func (t *Traffic) Log(ctx context.Context) (log iter.Seq[history.Record], failed func() error) {
	var err error
	log = func(yield func(history.Record) bool) {
		err = t.walk(ctx, yield)
	}
	return log, func() error { return err }
}

func (t *Traffic) walk(ctx context.Context, yield func(history.Record) bool) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	from, to := make([]int64, t.config.Partitions), make([]int64, t.config.Partitions)
	bounds := func(list kadm.ListedOffsets, err error, into []int64) error {
		if err = errors.Join(err, list.Error()); err == nil {
			list.Each(func(o kadm.ListedOffset) { into[o.Partition] = o.Offset })
		}
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, t.config.Topic)
	if err := bounds(starts, err, from); err != nil {
		return fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, t.config.Topic)
	if err := bounds(ends, err, to); err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	return t.readRange(ctx, from, to, func(r *kgo.Record) bool {
		return r.Offset >= to[r.Partition] || yield(history.Record{Partition: r.Partition, Offset: r.Offset, Value: r.Value})
	})
}
