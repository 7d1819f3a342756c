package wal

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/slab"
	"millrace/kafka/record"
)

const (
	spanBytes   = 256 << 10 // runs that lie near each other are read together up to this
	spanDensity = 2         // and when at least one byte in so many is wanted
	pieceBytes  = 4 << 10   // smaller pieces are moved together, so that a socket write needs few vectors
)

// view is what a reader needs of an extent, taken under the lock. It holds the file, which must be released.
type view struct {
	extent *extent
	file   *file
	runs   []run // of an unsealed file
	sealed bool
	block
	end, maxTimestamp int64
}

// view returns the extent that contains offset, or the first after it; nil when there is none. Errors: ErrClosed,
// ErrTrimmed.
func (s *Stream) view(offset int64) (*view, error) {
	if s.log.readsEnded.Load() {
		return nil, ErrClosed
	}
	s.log.index.RLock()
	defer s.log.index.RUnlock()
	if first := s.firstLocked(); offset < first {
		return nil, fmt.Errorf("%w: %s at %d, first is %d", ErrTrimmed, s.partition, offset, first)
	}
	i := findExtent(s.extents, offset)
	if i == len(s.extents) {
		return nil, nil
	}
	x := s.extents[i]
	x.file.acquire()
	return &view{
		extent: x, file: x.file, runs: x.runs, sealed: x.file.sealed, block: x.runsAt, end: x.End,
		maxTimestamp: x.MaxTimestamp,
	}, nil
}

// Read appends to dst whole batches, in offset order: from the one that contains offset from, or the first after it, as
// long as they end below upTo and fit maxBytes together. When the first batch alone is larger, it is delivered if
// oversize is true. Nothing is appended at the end of the stream. Checksums are not verified again.
//
// The bytes lie in slabs that dst holds; after an error too. Errors: ErrTrimmed, ErrClosed, a CorruptionError, ctx's,
// and those of the disk.
func (s *Stream) Read(ctx context.Context, dst *slab.Chain, from, upTo int64, maxBytes int, oversize bool) error {
	w := window{from: from, upTo: upTo, budget: maxBytes, oversize: oversize}
	for !w.full {
		v, err := s.view(w.from)
		if errors.Is(err, ErrTrimmed) && w.from > from {
			return nil // what comes next was trimmed meanwhile; the next call will say so
		}
		if err != nil || v == nil {
			return err
		}
		err = s.log.readExtent(dst, v, &w)
		s.log.release(v.file)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", s.partition, w.from, err)
		}
		w.from = max(w.from, v.end)
	}
	return nil
}

// window is what is still to be read.
type window struct {
	from, upTo int64
	budget     int  // bytes
	oversize   bool // the next batch may be larger than budget
	full       bool // no batch may follow
}

// took accounts for delivered bytes.
func (w *window) took(bytes int) {
	w.budget -= bytes
	w.oversize = false
	w.full = w.full || w.budget <= 0
}

// readExtent reads the runs of one extent.
func (l *Log) readExtent(dst *slab.Chain, v *view, w *window) error {
	runs, err := l.runsOf(v)
	if err != nil {
		return err
	}
	for runs = runs[findRun(runs, w.from):]; len(runs) > 0 && !w.full; {
		n := w.span(runs, v.file.overhead())
		if n == 0 {
			w.full = true
			return nil
		}
		if err := l.readSpan(dst, v, runs[:n], w); err != nil {
			return err
		}
		runs = runs[n:]
	}
	return nil
}

// span is how many of the first runs to read with one call; 0 when not even one has a place in the window.
func (w *window) span(runs []run, overhead int) int {
	n, used := 0, 0
	for n < len(runs) {
		r := &runs[n]
		fits := used+int(r.bytes) <= w.budget || r.batches > 1 && used < w.budget || n == 0 && w.oversize
		if r.base >= w.upTo || !fits {
			break
		}
		if n > 0 {
			total := r.pos + int64(int(r.bytes)+overhead) - runs[0].pos
			if total > spanBytes || int64(used+int(r.bytes))*spanDensity < total {
				break
			}
		}
		used += int(r.bytes)
		n++
	}
	return n
}

// readSpan reads the runs with one call and appends what of them is in the window.
func (l *Log) readSpan(dst *slab.Chain, v *view, runs []run, w *window) error {
	f := v.file
	handle, err := l.reader(f)
	if err != nil {
		return err
	}
	start := runs[0].pos
	last := &runs[len(runs)-1]
	s := l.world.Slabs.Get(int(last.pos+int64(last.bytes)-start) + f.overhead())
	p := packer{buf: s.Bytes()}
	if err := readFull(handle, p.buf, start); err != nil {
		s.Release()
		return corruptAt(f, start, err)
	}
	for i := range runs {
		at := int(runs[i].pos - start)
		data := p.buf[at : at+int(runs[i].bytes)]
		if f.aead != nil {
			r := &runs[i]
			err = f.open(p.buf[at:at+int(r.bytes)+tagBytes], r.pos, v.extent.stream.partition, r.base, r.last, int(r.batches))
		}
		var from, to int
		if err == nil {
			from, to, err = w.cut(data, &runs[i])
		}
		if err != nil {
			s.Release()
			return corruptAt(f, runs[i].pos, err)
		}
		p.add(at+from, at+to)
		w.took(to - from)
		if w.full {
			break
		}
	}
	p.flush()
	if len(p.parts) == 0 {
		s.Release()
		return nil
	}
	dst.Hold(s)
	for _, part := range p.parts {
		dst.Append(part)
	}
	return nil
}

// cut returns the part of a run's bytes that is in the window, and moves the window's begin past it. The batches of a
// run that is partly outside are walked.
func (w *window) cut(data []byte, r *run) (from, to int, err error) {
	if w.from <= r.base && r.last < w.upTo && (len(data) <= w.budget || r.batches == 1 && w.oversize) {
		w.from = r.last + 1
		return 0, len(data), nil
	}
	oversize := w.oversize
	for to < len(data) {
		b, _, err := record.Next(data[to:])
		if err != nil {
			return 0, 0, damaged("batch of the index run at offset %d: %v", r.base, err)
		}
		switch {
		case b.LastOffset() < w.from && to == from:
			from += len(b)
			to = from
			continue
		case b.LastOffset() >= w.upTo, to+len(b)-from > w.budget && !oversize:
			w.full = true
			return from, to, nil
		}
		to += len(b)
		oversize = false
		w.from = b.LastOffset() + 1
	}
	return from, to, nil
}

// packer makes parts of pieces of one buffer. Pieces that follow each other are one part, and small pieces are moved to
// the end of the part before.
type packer struct {
	buf        []byte
	parts      [][]byte
	start, end int // of the part under way
}

func (p *packer) add(from, to int) {
	if from == to {
		return
	}
	if p.start < p.end && (from == p.end || to-from < pieceBytes) {
		p.end += copy(p.buf[p.end:], p.buf[from:to])
		return
	}
	p.flush()
	p.start, p.end = from, to
}

func (p *packer) flush() {
	if p.start < p.end {
		p.parts = append(p.parts, p.buf[p.start:p.end:p.end])
		p.start = p.end
	}
}

// runsOf returns the index of an extent, from the file if need be.
func (l *Log) runsOf(v *view) ([]run, error) {
	if !v.sealed {
		return v.runs, nil
	}
	if runs := l.cache.get(v.extent); runs != nil {
		return runs, nil
	}
	b, err := l.readBlock(v.file, v.block)
	if err != nil {
		return nil, err
	}
	runs, err := decodeRuns(b, v.pos)
	if err != nil {
		return nil, corruptAt(v.file, v.pos, err)
	}
	l.cache.put(v.extent, runs)
	return runs, nil
}

// readBlock reads and checks a piece of a file's footer.
func (l *Log) readBlock(f *file, at block) ([]byte, error) {
	handle, err := l.reader(f)
	if err != nil {
		return nil, err
	}
	b, err := at.read(handle)
	return b, corruptAt(f, at.pos, err)
}

// corruptAt makes a CorruptionError of damage, and leaves other errors as they are.
func corruptAt(f *file, offset int64, err error) error {
	if errors.Is(err, errDamaged) {
		return &CorruptionError{File: f.path, Offset: offset, Err: err}
	}
	return err
}
