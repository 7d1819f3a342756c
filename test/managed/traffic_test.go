package managed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/harness"
)

// traffic is clients of a cluster that write and read a topic while things happen to it. Each partition gets the numbers from 0 on, one after
// the other, so that a reader knows what comes next.
type traffic struct {
	topic      string
	partitions int
	options    []kgo.Opt
	cancel     context.CancelFunc
	work       sync.WaitGroup

	mu      sync.Mutex
	acked   []int64 // by partition: how many are acknowledged
	read    []int64 // by partition: which comes next
	faults  []error
	longest time.Duration
}

// pace is between an acknowledgement and the next record of a partition: the load is there to notice, and not to be borne.
const pace = 5 * time.Millisecond

// startTraffic makes a topic and begins to write to and to read from all its partitions. It ends with the test.
func startTraffic(t *testing.T, topic string, partitions int, options ...kgo.Opt) *traffic {
	t.Helper()
	tr := &traffic{topic: topic, partitions: partitions, options: append(options, kgo.DisableClientMetrics())}
	tr.acked, tr.read = make([]int64, partitions), make([]int64, partitions)
	makeTopic(t, topic, partitions, tr.options...)
	ctx, cancel := context.WithCancel(context.Background())
	tr.cancel = cancel
	writer := newClient(t, append(tr.options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
	reader := newClient(t, append(tr.options, kgo.ConsumerGroup("readers of "+topic), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	for p := range partitions {
		tr.work.Go(func() { tr.write(ctx, writer, p) })
	}
	tr.work.Go(func() {
		for ctx.Err() == nil {
			tr.take(ctx, reader.PollFetches(ctx))
		}
	})
	t.Cleanup(func() { cancel(); tr.work.Wait() })
	return tr
}

func (tr *traffic) write(ctx context.Context, c *kgo.Client, p int) {
	for n := int64(0); ctx.Err() == nil; n++ {
		began := time.Now()
		record := &kgo.Record{Topic: tr.topic, Partition: int32(p), Value: strconv.AppendInt(nil, n, 10)}
		err := c.ProduceSync(context.Background(), record).FirstErr() // not ctx: what has begun is waited for
		tr.mu.Lock()
		tr.longest = max(tr.longest, time.Since(began))
		if err != nil {
			tr.faults = append(tr.faults, fmt.Errorf("write %d to partition %d: %w", n, p, err))
		} else {
			tr.acked[p]++
		}
		tr.mu.Unlock()
		if err != nil {
			return
		}
		timer := time.NewTimer(pace)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (tr *traffic) take(ctx context.Context, fetches kgo.Fetches) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	fetches.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil {
			tr.faults = append(tr.faults, fmt.Errorf("read %s-%d: %w", topic, p, err))
		}
	})
	fetches.EachRecord(func(r *kgo.Record) {
		want := tr.read[r.Partition]
		tr.read[r.Partition]++
		if got := string(r.Value); got != strconv.FormatInt(want, 10) && len(tr.faults) < 10 {
			tr.faults = append(tr.faults, fmt.Errorf("partition %d, offset %d: %s is read where %d comes next", r.Partition, r.Offset, got, want))
		}
	})
}

// goesOn waits until each partition has taken, and given back, a record that was sent after the call. It gives the slowest write since it was
// called last.
func (tr *traffic) goesOn(t *testing.T) time.Duration {
	t.Helper()
	tr.mu.Lock()
	before := append([]int64(nil), tr.acked...)
	tr.mu.Unlock()
	harness.Eventually(t, time.Minute, "all partitions to take records", func(context.Context) error {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for p, n := range tr.acked {
			if n < before[p]+2 && len(tr.faults) == 0 {
				return fmt.Errorf("partition %d has taken %d", p, n-before[p])
			}
			if tr.read[p] < before[p]+2 && len(tr.faults) == 0 {
				return fmt.Errorf("partition %d has given %d of %d", p, tr.read[p], n)
			}
		}
		return nil
	})
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.faults) > 0 {
		t.Fatalf("clients: %v", errors.Join(tr.faults...))
	}
	longest := tr.longest
	tr.longest = 0
	return longest
}

// stop ends the load, and fails the test unless all that was acknowledged is there, each once and in order.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.goesOn(t)
	tr.cancel()
	tr.work.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.faults) > 0 {
		t.Errorf("clients: %v", errors.Join(tr.faults...))
	}
	all := readAll(t, tr.topic, tr.acked, tr.options...)
	for p, values := range all {
		for n, value := range values {
			if value != strconv.Itoa(n) {
				t.Fatalf("partition %d has %s at offset %d", p, value, n)
			}
		}
	}
}

// readAll reads so many records of each partition from its beginning, and fails the test where there are fewer or more.
func readAll(t *testing.T, topic string, ends []int64, options ...kgo.Opt) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var total, read int64
	c := newClient(t, append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	found, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err == nil {
		err = found.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	for p, end := range ends {
		total += end
		if o, _ := found.Lookup(topic, int32(p)); o.Offset != end {
			t.Errorf("partition %d ends at %d, %d records were acknowledged", p, o.Offset, end)
		}
	}
	all := make([][]string, len(ends))
	for read < total && !t.Failed() {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v after %d of %d records", err, read, total)
		}
		fetches.EachRecord(func(r *kgo.Record) { all[r.Partition] = append(all[r.Partition], string(r.Value)); read++ })
	}
	return all
}

func makeTopic(t *testing.T, name string, partitions int, options ...kgo.Opt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := newClient(t, options...)
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, int32(partitions), -1, nil, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

func newClient(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
