package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
	"millrace/test/robust/history"
)

// logTopic is the topic of the idempotent producers.
const logTopic = "log"

// identity is what the cluster gave a producer.
type identity struct {
	id    int64
	epoch int16
}

// batch is some records on their way to one partition.
type batch struct {
	topic     string
	partition int32
	values    [][]byte
	bytes     record.Batch
	acked     func(base int64) // is told where they stand
	tried     bool             // it was sent, and may have been taken
}

// encode makes the batch as the producer numbers it.
func (b *batch) encode(who identity, sequence int32, transactional bool) error {
	builder := record.NewBuilder(record.Options{
		Producer: &record.Producer{ID: who.id, Epoch: who.epoch, Sequence: sequence}, Transactional: transactional,
	})
	for _, v := range b.values {
		if err := builder.Add(time.Now().UnixMilli(), nil, v); err != nil {
			return err
		}
	}
	var err error
	b.bytes, err = builder.Build(nil)
	return err
}

// request is what carries the batch; id is that of its topic, where topics are named so.
func (b *batch) request(transactional *string, id *topic.ID) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.TransactionID = 9, -1, 3000, transactional
	t := kmsg.NewProduceRequestTopic()
	t.Topic = b.topic
	if id != nil {
		req.Version, t.TopicID = 13, *id
	}
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = b.partition, b.bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// initialize asks for an identity; id is a transactional id or nil.
func (c *client) initialize(ctx context.Context, address string, id *string, timeout time.Duration) (identity, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, id, int32(timeout.Milliseconds())
	answer, err := c.ask(ctx, address, req)
	if err != nil {
		return identity{}, err
	}
	resp := answer.(*kmsg.InitProducerIDResponse)
	return identity{resp.ProducerID, resp.ProducerEpoch}, kerr.Code(resp.ErrorCode).Err()
}

// produce is one idempotent producer, from its first record to its last. It begins nothing more once stop ends, and gives up
// with ctx.
func (w *World) produce(ctx, stop context.Context, c *client, h *history.History) {
	defer c.close()
	rng := c.rng
	who, err := c.identity(ctx)
	if err != nil {
		return
	}
	p := h.NewProducer()
	next := make([]int32, w.plan.Partitions)
	for sleep(stop, time.Duration(rng.Int64N(int64(2*w.plan.Think)))) {
		partition := int32(rng.IntN(w.plan.Partitions))
		var batches []*batch
		together := 1 + rng.IntN(4)
		if next[partition] == 0 {
			together = 1 // a broker that knows nothing of a producer takes its second batch without the first, as Kafka's does
		}
		for range together {
			b := &batch{topic: logTopic, partition: partition}
			var ids []history.ID
			for range 1 + rng.IntN(3) {
				id, value := p.Invoke(partition)
				ids, b.values = append(ids, id), append(b.values, value)
			}
			b.acked = func(base int64) {
				for i, id := range ids {
					p.Ack(id, base+int64(i))
				}
			}
			if err := b.encode(who, next[partition], false); err != nil {
				w.fault("%s: encode: %w", c.name, err)
				return
			}
			next[partition] += int32(len(ids))
			batches = append(batches, b)
		}
		if err := c.deliver(ctx, batches, nil); err != nil {
			if ctx.Err() == nil {
				w.fault("%s: %w", c.name, err)
			}
			return
		}
	}
}

// deliver sends batches for one partition, all at once, and again until each is acknowledged: an idempotent producer's way.
func (c *client) deliver(ctx context.Context, batches []*batch, transactional *string) error {
	for len(batches) > 0 {
		to, err := c.leader(ctx, batches[0].topic, batches[0].partition)
		if err != nil {
			return err
		}
		acked, err := c.attempt(ctx, to.address, batches, transactional)
		batches = batches[acked:]
		var code kerr.Code
		switch {
		case err == nil:
			continue
		case errors.As(err, &code) && !code.Retriable():
			return err
		}
		c.forget(batches[0].topic, batches[0].partition)
		if !c.pause(ctx) {
			return ctx.Err()
		}
	}
	return nil
}

// attempt sends batches and returns how many of the first were acknowledged, and what befell the one after them.
func (c *client) attempt(ctx context.Context, address string, batches []*batch, transactional *string) (acked int, err error) {
	var id *topic.ID
	if k := c.topic[batches[0].topic]; c.names == byID && k != nil {
		id = &k.id
	}
	first := make([]bool, len(batches))
	for i, b := range batches {
		first[i], b.tried = !b.tried, true
		if err := c.send(ctx, address, b.request(transactional, id)); err != nil {
			return 0, err
		}
	}
	var failed error
	for i, b := range batches {
		answer, err := c.receive(ctx, address, b.request(transactional, id))
		if err != nil {
			if failed == nil {
				failed = err
			}
			return acked, failed
		}
		p := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		switch code := kerr.Code(p.ErrorCode); {
		case code != kerr.None:
			if failed == nil {
				failed = fmt.Errorf("produce to %s-%d at %s: %w", b.topic, b.partition, address, code)
			}
		case failed != nil && !first[i]: // it was taken at an earlier attempt
		case failed != nil:
			c.world.fault("%s: a batch was taken at offset %d of %s-%d after one before it failed: %w", c.name, p.BaseOffset, b.topic, b.partition, failed)
		default:
			b.acked(p.BaseOffset)
			acked++
		}
	}
	return acked, failed
}
