package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/history"
)

// burstsPerSecond is how often a producer wakes to send what its rate allows.
const burstsPerSecond = 500

// producer is one idempotent client that sends in turn to all partitions.
type producer struct {
	traffic *Traffic
	record  *history.Producer
	client  *kgo.Client
	stop    context.CancelFunc
	sending sync.WaitGroup
	leaving bool // guarded by mu
	mu      sync.Mutex
}

func (t *Traffic) startProducer(ctx context.Context) (*producer, error) {
	client, err := t.client(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(2000), // what a producer sends into a dead broker before it waits
		kgo.StopProducerOnDataLossDetected(),
	)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	p := &producer{traffic: t, record: t.history.NewProducer(), client: client, stop: stop}
	p.sending.Go(func() { p.send(ctx) })
	return p, nil
}

// send produces at the rate until ctx ends. A full client makes it wait, and what was missed is not made up for.
func (p *producer) send(ctx context.Context) {
	ticker := time.NewTicker(time.Second / burstsPerSecond)
	defer ticker.Stop()
	burst := max(1, p.traffic.config.Rate/burstsPerSecond)
	partition := int32(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for range burst {
			p.produce(ctx, partition)
			partition = (partition + 1) % int32(p.traffic.config.Partitions)
		}
	}
}

// produce sends one record. Its own ctx never ends: once sent, a record is retried until the cluster answers or the
// client is abandoned.
func (p *producer) produce(ctx context.Context, partition int32) {
	if ctx.Err() != nil {
		return
	}
	id, value := p.record.Invoke(partition)
	record := &kgo.Record{Topic: p.traffic.config.Topic, Partition: partition, Value: value}
	p.client.Produce(context.WithoutCancel(ctx), record, func(r *kgo.Record, err error) {
		switch {
		case err == nil:
			p.record.Ack(id, r.Offset)
		case p.isLeaving() && (errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled)):
			// The outcome stays unknown.
		default:
			p.traffic.fault(fmt.Errorf("produce %v: %w", id, err))
		}
	})
}

// finish sends nothing more, waits for outstanding acks and closes.
func (p *producer) finish(ctx context.Context) error {
	p.stop()
	p.sending.Wait()
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	p.client.Close()
	return nil
}

// abandon closes the client with records on their way. It is safe after finish.
func (p *producer) abandon() {
	p.mu.Lock()
	p.leaving = true
	p.mu.Unlock()
	p.stop()
	p.client.Close()
	p.sending.Wait()
}

func (p *producer) isLeaving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaving
}
