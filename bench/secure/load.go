package secure

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// options is the size of a run.
type options struct {
	Rounds, MB, Batch      int
	Rate                   int           // records per second of the latency part
	Latency                time.Duration // how long that is
	Logins                 int           // by each method
	Patience               time.Duration // longest wait for a process to come to rest
	Partitions, RecordSize int
}

func (o options) records() int { return o.MB * 1_000_000 / o.RecordSize }

// figures are what came of one turn, by name; report.go says what each means and in which unit.
type figures map[string]float64

// turn is one way's part of a round.
func (w *way) turn(ctx context.Context, topic string, o options) (_ figures, err error) {
	admin, err := kgo.NewClient(kgo.SeedBrokers(w.admin))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	a, lag := kadm.NewClient(admin), topic+"-latency"
	for name, partitions := range map[string]int{topic: o.Partitions, lag: 1} {
		if _, err := a.CreateTopic(ctx, int32(partitions), 1, nil, name); err != nil {
			return nil, fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	f := figures{}
	for _, part := range []struct {
		name string
		work func(context.Context, string, options) error
	}{{"produce", w.produce}, {"consume", w.consume}} {
		if err := w.weigh(ctx, f, part.name, o, func() error { return part.work(ctx, topic, o) }); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	f["both_cpu"] = f["produce_cpu"] + f["consume_cpu"]
	late, err := w.latencies(ctx, lag, o)
	if err != nil {
		return nil, fmt.Errorf("latency: %w", err)
	}
	f["p50"], f["p99"] = percentile(late, 50).Seconds()*1e3, percentile(late, 99).Seconds()*1e3
	if _, err := a.DeleteTopics(ctx, topic, lag); err != nil {
		return nil, fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return f, nil
}

// weigh takes time and CPU of some work, which moves o.MB.
func (w *way) weigh(ctx context.Context, f figures, name string, o options, work func() error) error {
	if _, err := settle(ctx, w.pids, o.Patience); err != nil {
		return err
	}
	var before, after [2]time.Duration // all, the first process
	take := func(into *[2]time.Duration) (err error) {
		if into[0], err = cpuOf(w.pids); err == nil {
			into[1], err = cpuOf(w.pids[:1])
		}
		return err
	}
	if err := take(&before); err != nil {
		return err
	}
	began := time.Now()
	if err := work(); err != nil {
		return err
	}
	f[name] = float64(o.MB) / time.Since(began).Seconds()
	if _, err := settle(ctx, w.pids, o.Patience); err != nil {
		return err
	}
	if err := take(&after); err != nil {
		return err
	}
	gb := float64(o.MB) / 1e3
	f[name+"_cpu"] = (after[0] - before[0]).Seconds() / gb
	if len(w.pids) > 1 {
		f[name+"_cpu_front"] = (after[1] - before[1]).Seconds() / gb
	}
	return nil
}

// client comes by this way.
func (w *way) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(slices.Concat([]kgo.Opt{kgo.SeedBrokers(w.bootstrap)}, w.opts, opts)...)
}

// produce sends the records as fast as it goes.
func (w *way) produce(ctx context.Context, topic string, o options) error {
	c, err := w.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(32<<10),
		kgo.ProducerBatchMaxBytes(int32(o.Batch)), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, o.RecordSize)
	for i := range value {
		value[i] = byte(i * 31)
	}
	var failed atomic.Pointer[error]
	for range o.records() {
		c.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	err = c.Flush(ctx)
	if cause := failed.Load(); cause != nil {
		err = errors.Join(*cause, err)
	}
	return err
}

// consume reads them all.
func (w *way) consume(ctx context.Context, topic string, o options) error {
	c, err := w.client(kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer c.Close()
	return drain(ctx, c, o.records(), func([]byte) {})
}

// latencies sends records at a fixed rate and returns how long after its due time each was in the consumer's hands, sorted. Being late with
// sending counts: the clock of a record starts when it was due.
func (w *way) latencies(ctx context.Context, topic string, o options) ([]time.Duration, error) {
	producer, err := w.client(kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := w.client(kgo.ConsumeTopics(topic), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	record := func(due time.Duration) *kgo.Record {
		value := make([]byte, max(o.RecordSize, 8))
		binary.BigEndian.PutUint64(value, uint64(due))
		return &kgo.Record{Value: value}
	}
	// Connections, and the way of a record, are there before the clock counts.
	const warm = 50
	for range warm {
		if err := producer.ProduceSync(ctx, record(0)).FirstErr(); err != nil {
			return nil, err
		}
	}
	if err := drain(ctx, consumer, warm, func([]byte) {}); err != nil {
		return nil, err
	}
	total := int(o.Latency.Seconds() * float64(o.Rate))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin, sent := time.Now(), make(chan struct{})
	go func() {
		defer close(sent)
		for i := range total {
			due := time.Duration(i) * time.Second / time.Duration(o.Rate)
			select {
			case <-time.After(due - time.Since(begin)):
			case <-ctx.Done():
				return
			}
			producer.Produce(ctx, record(due), func(_ *kgo.Record, err error) {
				if err != nil {
					cancel(err)
				}
			})
		}
	}()
	all := make([]time.Duration, 0, total)
	err = drain(ctx, consumer, total, func(value []byte) {
		all = append(all, time.Since(begin)-time.Duration(binary.BigEndian.Uint64(value)))
	})
	if err != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	cancel(nil)
	<-sent
	slices.Sort(all)
	return all, err
}

// drain hands so many records' values to visit.
func drain(ctx context.Context, c *kgo.Client, records int, visit func(value []byte)) error {
	for records > 0 {
		fetches := c.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			visit(r.Value)
			records--
		})
	}
	return nil
}

// percentile returns the value that so many percent of the sorted values do not pass.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}
