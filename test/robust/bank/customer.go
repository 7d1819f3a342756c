package bank

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// order places orders at the rate until there shall be no more, and waits until each is accepted.
func (b *Bank) order() {
	client, err := kgo.NewClient(b.options(kgo.WithContext(b.gone), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.DefaultProduceTopic(ordersTopic))...)
	if err != nil {
		b.fault(err)
		return
	}
	defer client.Close()
	ticker := time.NewTicker(time.Second / time.Duration(b.config.Orders))
	defer ticker.Stop()
	for open := true; open; {
		select {
		case <-b.noOrders.Done():
			open = false
			continue
		case <-ticker.C:
		}
		number := b.book.NewOrder(b.transfer())
		record := &kgo.Record{Value: strconv.AppendInt(nil, number, 10)}
		client.Produce(b.gone, record, func(_ *kgo.Record, err error) {
			switch {
			case err == nil:
				b.book.Accepted(number)
			case b.gone.Err() == nil && !errors.Is(err, context.Canceled):
				b.fault(fmt.Errorf("place order %d: %w", number, err))
			}
		})
	}
	if err := client.Flush(b.gone); err != nil {
		b.note("flush orders", err)
	}
}
