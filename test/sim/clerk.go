package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/test/robust/ledger"
)

// The topic of orders has one partition; the group that reads them has no members: its offsets are committed with transactions.
const (
	orderTopic  = "orders"
	clerksGroup = "clerks"
)

// order places orders until stop ends, with an idempotent producer.
func (w *World) order(ctx, stop context.Context, c *client, book *ledger.Book) {
	defer c.close()
	who, err := c.identity(ctx)
	if err != nil {
		return
	}
	for next := int32(0); sleep(stop, time.Duration(c.rng.Int64N(int64(4*w.plan.Think)))); next++ {
		number := book.NewOrder(c.transfer())
		b := &batch{topic: orderTopic, values: [][]byte{[]byte(strconv.FormatInt(number, 10))}, acked: func(int64) { book.Accepted(number) }}
		if err := b.encode(who, next, false); err != nil {
			w.fault("%s: encode: %w", c.name, err)
			return
		}
		if err := c.deliver(ctx, []*batch{b}, nil); err != nil {
			if ctx.Err() == nil {
				w.fault("%s: %w", c.name, err)
			}
			return
		}
	}
}

// take reads some orders. There may be none yet; errDone: there will be none.
func (t *teller) take(ctx context.Context) ([]ledger.Transfer, error) {
	last := false
	select {
	case <-t.placed:
		last = true
	default:
	}
	entries, _, err := t.read(ctx, orderTopic, 0, t.position, true, 100*time.Millisecond)
	if err != nil {
		if wrong := unfit(err); wrong != nil {
			return nil, fmt.Errorf("read orders from %d: %w", t.position, wrong)
		}
		t.pause(ctx)
		return nil, nil
	}
	if len(entries) == 0 && last {
		end, err := t.ends(ctx, orderTopic, 0, false)
		if err == nil && end == t.position {
			return nil, errDone
		}
	}
	var transfers []ledger.Transfer
	for _, e := range entries[:min(len(entries), 3)] {
		number, err := strconv.ParseInt(string(e.value), 10, 64)
		transfer, known := t.book.Ordered(number)
		if err != nil || !known || e.offset != t.position {
			return nil, fmt.Errorf("order %q at offset %d, read from %d", e.value, e.offset, t.position)
		}
		transfers = append(transfers, transfer)
		t.position++
	}
	return transfers, nil
}

// commitOffset makes how far the clerk got part of its transaction.
func (t *teller) commitOffset(ctx context.Context) error {
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = 3, t.id, t.who.id, t.who.epoch, clerksGroup
	err := t.insist(ctx, t.id, 1, func(address string) (kerr.Code, error) {
		answer, err := t.ask(ctx, address, add)
		if err != nil {
			return 0, err
		}
		return kerr.Code(answer.(*kmsg.AddOffsetsToTxnResponse).ErrorCode), nil
	})
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = 3, t.id, clerksGroup, t.who.id, t.who.epoch
	req.Generation = -1
	in := kmsg.NewTxnOffsetCommitRequestTopic()
	in.Topic = orderTopic
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = t.position
	in.Partitions = append(in.Partitions, p)
	req.Topics = append(req.Topics, in)
	return t.insist(ctx, clerksGroup, 0, func(address string) (kerr.Code, error) {
		answer, err := t.ask(ctx, address, req)
		if err != nil {
			return 0, err
		}
		return kerr.Code(answer.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode), nil
	})
}

// fetchOffset asks how far the clerks got, once no transaction can change that any more.
func (t *teller) fetchOffset(ctx context.Context) (offset int64, err error) {
	return t.committed(ctx, clerksGroup, orderTopic, 0)
}

// committed asks for the committed offset of a group; 0 where there is none.
func (c *client) committed(ctx context.Context, group, topic string, partition int32) (offset int64, err error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = 7, group, true
	in := kmsg.NewOffsetFetchRequestTopic()
	in.Topic, in.Partitions = topic, []int32{partition}
	req.Topics = append(req.Topics, in)
	err = c.insist(ctx, group, 0, func(address string) (kerr.Code, error) {
		answer, err := c.ask(ctx, address, req)
		if err != nil {
			return 0, err
		}
		resp := answer.(*kmsg.OffsetFetchResponse)
		if resp.ErrorCode != 0 {
			return kerr.Code(resp.ErrorCode), nil
		}
		p := resp.Topics[0].Partitions[0]
		offset = p.Offset
		return kerr.Code(p.ErrorCode), nil
	})
	return max(offset, 0), err
}

// identity asks for one of an idempotent producer until it is given.
func (c *client) identity(ctx context.Context) (identity, error) {
	for {
		who, err := c.initialize(ctx, c.somebody(), nil, 0)
		if err == nil {
			return who, nil
		}
		if !c.pause(ctx) {
			return who, errors.Join(ctx.Err(), err)
		}
	}
}
