package first

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// latencies sends records at a fixed rate to a topic of one partition and returns how long after its due time each was
// in the consumer's hands, sorted. Being late with sending counts: the clock of a record starts when it was due.
func latencies(ctx context.Context, bootstrap, topic string, o Options) ([]time.Duration, error) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()

	// The clients' first requests find the cluster and open connections; a record has to pass before the clock counts.
	due := func(i int) time.Duration { return time.Duration(i) * time.Second / time.Duration(o.Rate) }
	record := func(i int, at time.Duration) *kgo.Record {
		value := make([]byte, max(o.RecordSize, 16))
		binary.BigEndian.PutUint64(value, uint64(i))
		binary.BigEndian.PutUint64(value[8:], uint64(at))
		return &kgo.Record{Value: value}
	}
	for i := range o.Rate / 10 {
		if err := producer.ProduceSync(ctx, record(i, -1)).FirstErr(); err != nil {
			return nil, fmt.Errorf("produce: %w", err)
		}
	}
	total := o.Rate * o.LatencySeconds
	if err := drain(ctx, consumer, o.Rate/10, func([]byte) {}); err != nil {
		return nil, err
	}

	var failed atomic.Pointer[error]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range total {
			if wait := due(i) - time.Since(begin); wait > 0 {
				timer := time.NewTimer(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
					return
				}
			}
			producer.Produce(ctx, record(i, due(i)), func(_ *kgo.Record, err error) {
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					cancel()
				}
			})
		}
	}()
	all := make([]time.Duration, 0, total)
	err = drain(ctx, consumer, total, func(value []byte) {
		all = append(all, time.Since(begin)-time.Duration(binary.BigEndian.Uint64(value[8:])))
	})
	cancel()
	<-sent
	if cause := failed.Load(); cause != nil && !errors.Is(*cause, context.Canceled) {
		return nil, fmt.Errorf("produce: %w", *cause)
	}
	slices.Sort(all)
	return all, err
}

// drain hands so many records' values to visit.
func drain(ctx context.Context, consumer *kgo.Client, records int, visit func(value []byte)) error {
	for records > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			visit(r.Value)
			records--
		})
	}
	return nil
}

// percentile returns the value that so many percent of the sorted values do not pass.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*percent/100))]
}
