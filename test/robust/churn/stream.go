package churn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produce sends records at the rate, to all partitions in turn, until there shall be no more.
func (c *Churn) produce() {
	client, err := kgo.NewClient(c.options(kgo.WithContext(c.gone), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond))...)
	if err != nil {
		c.fault(err)
		return
	}
	defer client.Close()
	const wakes = 100 // per second
	ticker := time.NewTicker(time.Second / wakes)
	defer ticker.Stop()
	for next := 0; c.noRecords.Err() == nil; {
		select {
		case <-c.noRecords.Done():
		case <-ticker.C:
			for range max(1, c.config.Rate/wakes) {
				c.send(client, int32(next%c.config.Partitions))
				next++
			}
		}
	}
	if err := client.Flush(c.gone); err != nil {
		c.note("flush", err)
	}
}

func (c *Churn) send(client *kgo.Client, partition int32) {
	record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("work")}
	client.Produce(c.gone, record, func(r *kgo.Record, err error) {
		switch {
		case err == nil:
			c.registry.Produced(r.Partition, r.Offset)
		case !errors.Is(err, context.Canceled) && c.gone.Err() == nil:
			c.fault(fmt.Errorf("produce: %w", err))
		}
	})
}
