package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// briefTopic is made and deleted again and again.
const briefTopic = "brief"

// churn makes a topic, writes to it, reads it and deletes it, again and again: nothing of the one before may be left, and
// nothing of it lost before it is deleted.
//
// A deletion that was acknowledged is not known to every broker, as with Apache Kafka, whose Admin says so; one that is cut off from
// etcd may not know for long. Such a broker means the topic of before when it is asked by name. So what is asked by name is asked of
// brokers that have told the id of the new topic; and what is asked by id is asked of any.
func (w *World) churn(ctx, stop context.Context, c *client) {
	defer c.close()
	c.gone = map[topic.ID]bool{}
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
	c.names, c.mapped = byMutualNames+naming(c.rng.IntN(2)), map[string]topic.ID{}
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
		if err := c.compare(ctx, b); err != nil {
			return fmt.Errorf("partition %d of %s: %w", i, c.topic[briefTopic].id, err)
		}
	}
	return c.deleteTopic(ctx, briefTopic)
}

// compare reads what is in a partition: the batch, and nothing else.
func (c *client) compare(ctx context.Context, b *batch) error {
	var all []entry
	var err error
	if c.names == byID { // where a partition ends can be asked for by name only
		all, err = c.first(ctx, b.topic, b.partition, len(b.values))
	} else {
		all, err = c.whole(ctx, b.topic, b.partition, false)
	}
	if err != nil {
		return err
	}
	for n, e := range all {
		if n >= len(b.values) || string(e.value) != string(b.values[n]) || e.offset != int64(n) {
			return fmt.Errorf("offset %d holds %q", e.offset, e.value)
		}
	}
	if len(all) != len(b.values) {
		return fmt.Errorf("%d of %d records are read", len(all), len(b.values))
	}
	return nil
}

// deleteTopic deletes a topic, and waits until that is acknowledged, or nobody knows it: an answer may be lost.
func (c *client) deleteTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 4, 3000, []string{name}
	unaware := map[string]bool{}
	for len(unaware) < len(c.world.machines) {
		whom := c.somebody()
		answer, err := c.ask(ctx, whom, req)
		if err == nil {
			code := kerr.Code(answer.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode)
			if code == kerr.None {
				break
			}
			switch {
			case code == kerr.UnknownTopicOrPartition:
				unaware[whom] = true // its view may still be behind
			case !code.Retriable():
				return code
			}
		}
		if !c.pause(ctx) {
			return ctx.Err()
		}
	}
	c.gone[c.topic[name].id] = true
	delete(c.topic, name)
	return nil
}
