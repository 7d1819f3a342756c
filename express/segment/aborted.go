package segment

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"millrace/express/producer"
	"millrace/kafka/record"
)

var errAborted = errors.New("section of aborted transactions contradicts itself")

// minAbortedBytes is the least that one transaction takes.
const minAbortedBytes = 3

// appendAborted encodes transactions after dst: varints; the first offset is the distance from the one before.
func appendAborted(dst []byte, aborted []producer.Aborted) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(aborted)))
	before := int64(0)
	for _, a := range aborted {
		dst = binary.AppendUvarint(dst, uint64(a.ProducerID))
		dst = binary.AppendUvarint(dst, uint64(a.First-before))
		dst = binary.AppendUvarint(dst, uint64(a.Last-a.First))
		before = a.First
	}
	return dst
}

// decodeAborted reads what appendAborted wrote, all of b.
func decodeAborted(b []byte) ([]producer.Aborted, error) {
	failed := false
	number := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64 {
			failed = true
			return 0
		}
		b = b[n:]
		return int64(v)
	}
	count := number()
	if failed || count > int64(len(b)/minAbortedBytes) {
		return nil, errAborted
	}
	out := make([]producer.Aborted, count)
	before := int64(0)
	for i := range out {
		a := &out[i]
		a.ProducerID, a.First = number(), before+number()
		a.Last = a.First + number()
		if failed || a.First < before || a.Last < a.First {
			return nil, errAborted
		}
		before = a.First
	}
	if len(b) > 0 {
		return nil, errAborted
	}
	return out, nil
}

// loadAborted reads what the inputs know of aborted transactions.
func (c *compaction) loadAborted(ctx context.Context, in []Info) error {
	for _, s := range in {
		err := c.open(ctx, s, func(r *Reader) error {
			aborted, err := r.Aborted(ctx)
			for _, a := range aborted {
				known := c.aborted[a.ProducerID] // one that reaches into many segments stands in all of them
				if len(known) == 0 || known[len(known)-1].First < a.First {
					c.aborted[a.ProducerID] = append(known, a)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isAborted reports whether a data batch belongs to an aborted transaction: its records go, and make nothing obsolete.
func (c *compaction) isAborted(b record.Batch) bool {
	if !b.IsTransactional() || len(c.aborted) == 0 {
		return false
	}
	all := c.aborted[b.ProducerID()]
	// A producer has one transaction at a time, so the first that ends behind the batch is the one.
	i, _ := slices.BinarySearchFunc(all, b.BaseOffset(), func(a producer.Aborted, at int64) int { return cmp.Compare(a.Last, at) })
	return i < len(all) && all[i].First <= b.BaseOffset()
}

// abortedIn returns the aborted transactions that reach into [from, to), by first offset.
func (c *compaction) abortedIn(from, to int64) []producer.Aborted {
	var out []producer.Aborted
	for _, all := range c.aborted {
		for _, a := range all {
			if a.First < to && a.Last >= from {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b producer.Aborted) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.ProducerID, b.ProducerID))
	})
	return out
}

// copyMarker takes a control batch over. Once its transaction has no record left, it gets a delete horizon as a tombstone
// does, and goes when that is past: until then a consumer that is in the midst of the transaction needs it.
func (c *compaction) copyMarker(r *Reader, b record.Batch, pos int64) error {
	needed := c.remaining[b.ProducerID()]
	delete(c.remaining, b.ProducerID())
	if needed {
		return c.writer.Append(b)
	}
	if b.HasDeleteHorizon() && c.policy.NowMs >= b.BaseTimestamp() {
		c.removed += int64(b.NumRecords())
		return nil
	}
	horizon := c.horizonOf(b, true)
	if c.horizon == 0 || horizon < c.horizon {
		c.horizon = horizon
	}
	if b.HasDeleteHorizon() {
		return c.writer.Append(b)
	}
	c.verdicts = c.verdicts[:0]
	for range b.NumRecords() {
		c.verdicts = append(c.verdicts, true)
	}
	return c.rewrite(r, b, pos, horizon)
}
