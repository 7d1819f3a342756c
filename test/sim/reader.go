package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// entry is one record as a reader is given it.
type entry struct {
	offset   int64
	value    []byte
	producer int64
	marker   *record.Marker // nil: a client's record
}

// read reads a partition from an offset on, once: what one fetch gives. Committed leaves out what was aborted, and markers. It
// returns the offset to go on from, and errNothing where nothing was there.
func (c *client) read(ctx context.Context, name string, partition int32, from int64, committed bool, wait time.Duration) ([]entry, int64, error) {
	to, err := c.leader(ctx, name, partition)
	if err != nil {
		return nil, from, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 12, int32(wait.Milliseconds()), 1, 1<<20, -1
	if committed {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic = name
	if c.names == byID {
		req.Version, t.TopicID = 13, c.topic[name].id
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, from, 1<<20, to.epoch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := c.ask(ctx, to.address, req)
	if err != nil {
		c.forget(name, partition)
		return nil, from, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 {
		return nil, from, kerr.Code(resp.ErrorCode)
	}
	got := resp.Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		c.forget(name, partition)
		return nil, from, kerr.Code(got.ErrorCode)
	}
	return decode(got, from, committed)
}

// decode takes the records of a fetch.
func decode(p kmsg.FetchResponseTopicPartition, from int64, committed bool) (entries []entry, next int64, err error) {
	next = from
	gone := aborted(p.AbortedTransactions)
	for rest := p.RecordBatches; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Next(rest); err != nil {
			if len(rest) == 0 && next > from {
				break
			}
			return entries, next, fmt.Errorf("a fetch from %d: %w", from, err)
		}
		if b.ComputeCRC() != b.CRC() {
			return entries, next, fmt.Errorf("a fetch from %d: the batch at %d is damaged", from, b.BaseOffset())
		}
		next = max(next, b.LastOffset()+1)
		var marker *record.Marker
		if b.IsControl() {
			m, err := record.DecodeMarker(b)
			if err != nil {
				return entries, next, err
			}
			marker = &m
		}
		if committed && (marker != nil || b.IsTransactional() && gone.at(b.ProducerID(), b.BaseOffset())) {
			if marker != nil && !marker.Commit {
				gone.end(b.ProducerID(), b.BaseOffset())
			}
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				return entries, next, err
			}
			if r.Offset >= from {
				entries = append(entries, entry{r.Offset, slices.Clone(r.Value), b.ProducerID(), marker})
			}
		}
	}
	return entries, next, nil
}

// abortedBy is where the aborted transactions of a producer begin, ascending.
type abortedBy map[int64][]int64

func aborted(list []kmsg.FetchResponseTopicPartitionAbortedTransaction) abortedBy {
	a := abortedBy{}
	for _, t := range list {
		a[t.ProducerID] = append(a[t.ProducerID], t.FirstOffset)
	}
	for _, firsts := range a {
		slices.Sort(firsts)
	}
	return a
}

// at says whether a record belongs to an aborted transaction.
func (a abortedBy) at(producer, offset int64) bool {
	firsts := a[producer]
	return len(firsts) > 0 && firsts[0] <= offset
}

// end is called with the abort marker of a producer. There may be one without a transaction before it, written twice.
func (a abortedBy) end(producer, offset int64) {
	if a.at(producer, offset) {
		a[producer] = a[producer][1:]
	}
}

// ends asks where a partition ends, for readers of the isolation level.
func (c *client) ends(ctx context.Context, name string, partition int32, committed bool) (int64, error) {
	to, err := c.leader(ctx, name, partition)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	if committed {
		req.IsolationLevel = 1
	}
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = name
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, -1, to.epoch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := c.ask(ctx, to.address, req)
	if err != nil {
		c.forget(name, partition)
		return 0, err
	}
	got := answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		c.forget(name, partition)
		return 0, kerr.Code(got.ErrorCode)
	}
	return got.Offset, nil
}

// whole reads a partition from its begin to where it ends now, waiting for what is to come up.
func (c *client) whole(ctx context.Context, name string, partition int32, committed bool) (all []entry, err error) {
	end := int64(-1)
	for from := int64(0); end < 0 || from < end; {
		if end < 0 {
			var known int64
			if known, err = c.ends(ctx, name, partition, committed); err == nil {
				end = known
			}
		} else {
			var some []entry
			some, from, err = c.read(ctx, name, partition, from, committed, 0)
			all = append(all, some...)
		}
		if err == nil {
			continue
		}
		if wrong := unfit(err); wrong != nil || !c.pause(ctx) {
			return all, fmt.Errorf("read %s-%d from %d to %d: %w", name, partition, from, end, errors.Join(wrong, ctx.Err()))
		}
	}
	return all, nil
}

// first reads a partition from its begin until it has that many records, and once more: there may be none behind them.
func (c *client) first(ctx context.Context, name string, partition int32, records int) (all []entry, err error) {
	for from, last := int64(0), false; !last; {
		last = len(all) >= records
		var some []entry
		some, from, err = c.read(ctx, name, partition, from, false, 0)
		all = append(all, some...)
		if err == nil && (last || len(some) > 0) {
			continue
		}
		last = false
		if wrong := unfit(err); err != nil && wrong != nil || !c.pause(ctx) {
			return all, fmt.Errorf("read %s-%d from %d for %d records: %w", name, partition, from, records, errors.Join(wrong, ctx.Err()))
		}
	}
	return all, nil
}

// unfit returns the errors that no reader of what exists is given.
func unfit(err error) error {
	var code kerr.Code
	isFit := !errors.Is(err, record.ErrCorrupt) && !errors.Is(err, record.ErrInvalid)
	if errors.As(err, &code) {
		isFit = code.Retriable() && code != kerr.OffsetOutOfRange || code == kerr.UnknownLeaderEpoch || code == kerr.FencedLeaderEpoch
	}
	if isFit {
		return nil
	}
	return err
}
