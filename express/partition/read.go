package partition

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/wal"
)

// readTries is how often a read looks again after the background moved its
// bytes from the log to a segment, or from one segment to another.
const readTries = 4

// Read appends to dst whole batches from the one that holds offset from on:
// below the high watermark, or below the last stable offset where committed is
// set; at most maxBytes, but where oversize is set the first batch may be larger
// than that. At the end of the log it appends nothing, without an error. The
// first batch may begin before from. It returns where the partition stood.
//
// Errors: ErrNotOwner, ErrOffsetOutOfRange, ErrStorage.
func (p *Partition) Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int, oversize, committed bool) (Offsets, error) {
	before := dst.Len()
	o, err := p.read(ctx, dst, from, maxBytes, oversize, committed)
	if err == nil {
		p.bytesOut.Add(int64(dst.Len() - before))
	}
	return o, err
}

func (p *Partition) read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int, oversize, committed bool) (Offsets, error) {
	var err error
	for range readTries {
		var o Offsets
		var m *manifest.Manifest
		o, m, err = p.snapshot(from)
		if err != nil {
			return o, err
		}
		limit := o.HW
		if committed {
			limit = o.LSO
		}
		if from >= limit {
			return o, nil
		}
		err = p.readAt(ctx, m, dst, from, limit, maxBytes, oversize)
		if err == nil {
			return o, nil
		}
		if !errors.Is(err, wal.ErrTrimmed) && !errors.Is(err, object.ErrNotFound) {
			break
		}
	}
	if ctx.Err() != nil {
		return p.Offsets(), ctx.Err()
	}
	return p.Offsets(), fmt.Errorf("%w: read %s-%d at %d: %w", ErrStorage, p.name, p.id.Index, from, err)
}

func (p *Partition) snapshot(from int64) (Offsets, *manifest.Manifest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.offsetsLocked()
	switch {
	case p.closed:
		return o, nil, ErrNotOwner
	case from < p.logStart || from > p.end:
		return o, nil, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOffsetOutOfRange, from, p.logStart, p.end)
	}
	return o, p.manifest, nil
}

// readAt takes the bytes from the segment that holds from, or from the log.
func (p *Partition) readAt(ctx context.Context, m *manifest.Manifest, dst *slab.Chain, from, limit int64, maxBytes int, oversize bool) error {
	start := dst.Len()
	err := p.world.Segments.Read(ctx, p.world.Slabs, m.Segments, dst, from, limit, maxBytes, oversize)
	if err != nil || dst.Len() > start {
		return err
	}
	return p.world.Stream.Read(ctx, dst, max(from, m.End), limit, maxBytes, oversize)
}

// Sealed is how many bytes of records lie in segments at or after from, with the whole of the segment that holds it: what any
// broker can read (KIP-392).
func (p *Partition) Sealed(from int64) int64 {
	p.mu.Lock()
	m := p.manifest
	p.mu.Unlock()
	var n int64
	for i := len(m.Segments) - 1; i >= 0 && m.Segments[i].End > from; i-- {
		n += m.Segments[i].DataBytes
	}
	return n
}
