package brokers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// driver writes to every partition of a topic at a fixed rate, with a client's default settings.
type driver struct {
	client *kgo.Client
	cancel context.CancelFunc
	ended  chan struct{}
	lanes  []lane
}

// lane is what came of one partition. Its mu guards the rest.
type lane struct {
	mu     sync.Mutex
	last   time.Time // of the latest ack, or of the start
	gap    time.Duration
	took   []time.Duration
	failed []error
}

// figures of a stretch of load.
type figures struct {
	WithoutAcks time.Duration `json:"without_acks"` // longest, of the worst partition
	P50         time.Duration `json:"p50"`
	P999        time.Duration `json:"p99.9"`
	Max         time.Duration `json:"max"`
	Acked       int           `json:"acked"`
	Failed      int           `json:"failed"`
	Fault       string        `json:"fault,omitempty"` // the first
}

// drive makes a topic and begins to write to it; every is the time between the records of a partition.
func drive(ctx context.Context, bootstrap []string, topic string, partitions int, every time.Duration) (*driver, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, int32(partitions), -1, nil, topic); err != nil {
		client.Close()
		return nil, fmt.Errorf("create topic %s: %w", topic, err)
	}
	d := &driver{client: client, ended: make(chan struct{}), lanes: make([]lane, partitions)}
	for p := range d.lanes { // connections and producer ids are not what is measured
		if err := client.ProduceSync(ctx, d.record(topic, p)).FirstErr(); err != nil {
			client.Close()
			return nil, err
		}
		d.lanes[p].last = time.Now()
	}
	ctx, d.cancel = context.WithCancel(ctx)
	go d.write(ctx, topic, every)
	return d, nil
}

func (d *driver) record(topic string, partition int) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: int32(partition), Value: make([]byte, 100)}
}

func (d *driver) write(ctx context.Context, topic string, every time.Duration) {
	defer close(d.ended)
	began := time.Now()
	for n := 0; ; n++ {
		due := began.Add(time.Duration(n) * every)
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return
		}
		for p := range d.lanes {
			d.client.Produce(context.Background(), d.record(topic, p), func(_ *kgo.Record, err error) { d.lanes[p].note(due, err) })
		}
	}
}

func (l *lane) note(due time.Time, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err)
		return
	}
	l.gap, l.last = max(l.gap, now.Sub(l.last)), now
	l.took = append(l.took, now.Sub(due))
}

// fresh forgets what has been, so that the figures are of what follows.
func (d *driver) fresh() {
	for p := range d.lanes {
		l := &d.lanes[p]
		l.mu.Lock()
		l.gap, l.took, l.failed, l.last = 0, nil, nil, time.Now()
		l.mu.Unlock()
	}
}

// stop ends the load, waits for what is under way and gives the figures.
func (d *driver) stop() figures {
	d.cancel()
	<-d.ended
	_ = d.client.Flush(context.Background())
	d.client.Close()
	return d.pause()
}

// pause gives the figures since fresh; the load goes on.
func (d *driver) pause() figures {
	var f figures
	var all []time.Duration
	for p := range d.lanes {
		l := &d.lanes[p]
		l.mu.Lock()
		f.WithoutAcks = max(f.WithoutAcks, l.gap)
		all = append(all, l.took...)
		f.Failed += len(l.failed)
		if f.Fault == "" && len(l.failed) > 0 {
			f.Fault = l.failed[0].Error()
		}
		l.mu.Unlock()
	}
	slices.Sort(all)
	f.Acked = len(all)
	f.P50, f.P999, f.Max = quantile(all, 0.5), quantile(all, 0.999), quantile(all, 1)
	return f
}

// quantile gives the value that so much of the sorted values does not pass.
func quantile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*part))]
}

// rest lets the load go on for a while.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
