package segment

import (
	"context"
	"slices"
	"sort"

	"millrace/base/slab"
	"millrace/express/producer"
)

// first gives the index of the segment of in that holds from, or the first after it. The segments ascend, as those of a manifest do.
func first(in []Info, from int64) int {
	return sort.Search(len(in), func(i int) bool { return in[i].End > from })
}

// Read appends to dst what the segments of in, which ascend, hold from the batch with offset from on; see Reader.Read. A segment
// whose end was compacted away yields nothing; then the next is asked. Nothing is appended where none of them has anything.
func (c *Cache) Read(ctx context.Context, slabs *slab.Pool, in []Info, dst *slab.Chain, from, upTo int64, maxBytes int, oversize bool) error {
	start := dst.Len()
	for _, info := range in[first(in, from):] {
		if info.Base >= upTo {
			return nil
		}
		err := c.With(ctx, info, func(r *Reader) error {
			return r.Read(ctx, slabs, dst, max(from, info.Base), upTo, maxBytes, oversize)
		})
		if err != nil || dst.Len() > start {
			return err
		}
	}
	return nil
}

// Aborted lists the aborted transactions that reach into [from, to) of the segments of in, which ascend; each once, in no order.
func (c *Cache) Aborted(ctx context.Context, in []Info, from, to int64) (out []producer.Aborted, err error) {
	for _, info := range in[first(in, from):] {
		if info.Base >= to {
			break
		}
		err = c.With(ctx, info, func(r *Reader) error {
			aborted, err := r.Aborted(ctx)
			for _, a := range aborted {
				if a.First < to && a.Last >= from && !slices.Contains(out, a) {
					out = append(out, a)
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
