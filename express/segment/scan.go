package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"millrace/base/slab"
	"millrace/kafka/record"
)

// headBytes is the length of a batch header (magic 2).
const headBytes = 61

var (
	errHead  = errors.New("not a record batch")
	errCut   = errors.New("record batch reaches beyond its place")
	errOrder = errors.New("record batches out of order")
)

// head is what walking from batch to batch needs of a header, also of one whose batch is not wholly in memory.
type head struct {
	base, last int64 // offsets
	size       int64 // bytes with header
}

// headChain checks batches one after the other: lengths, and offsets that ascend. The zero headChain starts anywhere.
type headChain struct {
	started bool
	last    int64
}

// next reads the header that b begins with; b is at least headBytes long and room is how much data there is from there on.
func (c *headChain) next(b []byte, room int64) (head, error) {
	base := int64(binary.BigEndian.Uint64(b))
	h := head{
		base: base,
		last: base + int64(int32(binary.BigEndian.Uint32(b[23:]))),
		size: int64(int32(binary.BigEndian.Uint32(b[8:]))) + 12,
	}
	switch {
	case b[16] != 2 || h.size < headBytes || base < 0 || h.last < base:
		return h, errHead
	case h.size > room:
		return h, errCut
	case c.started && base <= c.last:
		return h, errOrder
	}
	c.started, c.last = true, h.last
	return h, nil
}

// scanChunk is how much each reads at a time.
const scanChunk = 1 << 20

// each calls f for every batch from the range that holds offset from on, with its position. The batch is valid only
// until f returns. Its checksum is not looked at.
func (r *Reader) each(ctx context.Context, slabs *slab.Pool, from int64, f func(b record.Batch, pos int64) error) error {
	if len(r.index) == 0 || from >= r.info.End {
		return nil
	}
	var chain headChain
	pos, want := r.index[r.index.find(from)].pos, int64(scanChunk)
	for pos < r.info.DataBytes {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("scan segment %s: %w", r.info.Key, err)
		}
		s := slabs.Get(int(min(want, r.info.DataBytes-pos)))
		n, next, err := r.eachIn(s.Bytes(), pos, &chain, f)
		s.Release()
		if err != nil {
			return err
		}
		pos, want = pos+n, max(next, scanChunk)
	}
	return nil
}

// eachIn fills buf and calls f for the whole batches in it. It returns their length, and that of the batch which is only
// begun in buf, 0 if not even its header is.
func (r *Reader) eachIn(buf []byte, pos int64, chain *headChain, f func(record.Batch, int64) error) (done, next int64, err error) {
	if err := r.readAt(buf, pos); err != nil {
		return 0, 0, err
	}
	n := int64(len(buf))
	for n-done >= headBytes {
		before := *chain
		h, err := chain.next(buf[done:], r.info.DataBytes-pos-done)
		if err != nil {
			return 0, 0, r.corrupt(pos+done, err)
		}
		if done+h.size > n {
			*chain = before // it comes again with the next read
			return done, h.size, nil
		}
		b, _, err := record.Next(buf[done : done+h.size])
		if err != nil {
			return 0, 0, r.corrupt(pos+done, err)
		}
		if err := f(b, pos+done); err != nil {
			return 0, 0, err
		}
		done += h.size
	}
	if left := r.info.DataBytes - pos - done; left > 0 && left < headBytes {
		return 0, 0, r.corrupt(pos+done, errCut)
	}
	return done, 0, nil
}
