package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// briefTopic is made and deleted again and again.
const briefTopic = "brief"

// churn makes a topic, writes to it, reads it and deletes it, again and again: nothing of the one before may be left, and
// nothing of it lost before it is deleted.
func (w *World) churn(ctx, stop context.Context, c *client) {
	defer c.close()
	for round := 0; sleep(stop, time.Duration(c.rng.Int64N(int64(2*w.plan.Think)))); round++ {
		if err := c.live(ctx, round); err != nil {
			if ctx.Err() == nil {
				w.fault("%s: topic %s, round %d: %w", c.name, briefTopic, round, err)
			}
			return
		}
	}
}

// live is one life of the topic.
func (c *client) live(ctx context.Context, round int) error {
	partitions := int32(1 + c.rng.IntN(2))
	if err := c.createTopic(ctx, briefTopic, partitions, nil); err != nil {
		return err
	}
	who, err := c.identity(ctx)
	if err != nil {
		return err
	}
	for i := range partitions {
		b := &batch{topic: briefTopic, partition: i, acked: func(int64) {}}
		for n := range 1 + c.rng.IntN(3) {
			b.values = append(b.values, fmt.Appendf(nil, "%d-%d-%d", round, i, n))
		}
		if err := b.encode(who, 0, false); err != nil {
			return err
		}
		if err := c.deliver(ctx, []*batch{b}, nil); err != nil {
			return err
		}
		all, err := c.whole(ctx, briefTopic, i, false)
		if err != nil {
			return err
		}
		for n, e := range all {
			if n >= len(b.values) || string(e.value) != string(b.values[n]) || e.offset != int64(n) {
				return fmt.Errorf("partition %d: offset %d holds %q", i, e.offset, e.value)
			}
		}
		if len(all) != len(b.values) {
			return fmt.Errorf("partition %d: %d of %d records are read", i, len(all), len(b.values))
		}
	}
	return c.deleteTopic(ctx, briefTopic)
}

// deleteTopic deletes a topic, and waits until nobody knows it.
func (c *client) deleteTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 4, 3000, []string{name}
	for gone := 0; gone < 2*len(c.world.machines); {
		answer, err := c.ask(ctx, c.somebody(), req)
		if err == nil {
			switch code := kerr.Code(answer.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode); {
			case code == kerr.UnknownTopicOrPartition:
				gone++ // some broker's view may still be behind
			case code != kerr.None && !code.Retriable():
				return code
			}
		}
		if !c.pause(ctx) {
			return ctx.Err()
		}
	}
	delete(c.topic, name)
	return nil
}
