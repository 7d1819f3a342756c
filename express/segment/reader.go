package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/producer"
)

// Reader reads one object. In memory it keeps the index, at most 192 KiB, and the aborted transactions once they were asked
// for, unless they are too many. Safe for concurrent use.
type Reader struct {
	object         object.Reader
	info           Info
	index          index
	producers      section
	abortedSection section // length 0: there are none
	abortedKept    atomic.Pointer[[]producer.Aborted]
}

// Open reads index and footer with one read and checks them against info and their checksums. It returns a
// *CorruptionError, an error that matches ErrNewer, or the store's error (object.ErrNotFound). The caller calls Close.
func Open(ctx context.Context, store object.Store, info Info) (*Reader, error) {
	o, err := store.Open(ctx, info.Key)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", info.Key, err)
	}
	r := &Reader{object: o, info: info}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("open segment: %w", errors.Join(err, o.Close()))
	}
	return r, nil
}

func (r *Reader) load() error {
	size := r.object.Size()
	length := size - r.info.IndexPos
	if size != r.info.Size || r.info.IndexPos < 0 || length < 0 || length > maxTailBytes {
		return r.corrupt(size, fmt.Errorf("%d bytes with the index at %d, want %d bytes", size, r.info.IndexPos, r.info.Size))
	}
	tail := make([]byte, length)
	if err := r.readAt(tail, r.info.IndexPos); err != nil {
		return err
	}
	f, err := decodeFooter(r.info.Key, tail, size)
	if errors.Is(err, ErrNewer) {
		return err
	}
	if err != nil {
		return r.corrupt(size, err)
	}
	f.info.Key = r.info.Key
	if f.info != r.info {
		return r.corrupt(size, fmt.Errorf("footer says %+v, the manifest %+v", f.info, r.info))
	}
	x, _ := f.find(sectionIndex) // decodeFooter insists on it
	raw := tail[:x.length]
	if checksum(raw) != x.crc {
		return r.corrupt(x.pos, errSection)
	}
	if r.index, err = decodeIndex(raw, r.info); err != nil {
		return r.corrupt(x.pos, err)
	}
	var ok bool
	if r.producers, ok = f.find(sectionProducers); !ok {
		return r.corrupt(size, errNoSection)
	}
	r.abortedSection, _ = f.find(sectionAborted)
	return nil
}

// Info is what the segment was opened with.
func (r *Reader) Info() Info { return r.info }

// Close gives the handle back. No call may be under way or follow.
func (r *Reader) Close() error { return r.object.Close() }

// Read appends to dst whole batches: from the one that contains offset from, or the first after it, as many as end below
// upTo and fit into maxBytes, or fewer where the first lies far from its index entry. When the first alone is larger than
// maxBytes, it is delivered if oversize is set. Nothing is appended when there is nothing. The bytes lie in slabs that dst then holds; normally they come with one read.
func (r *Reader) Read(ctx context.Context, slabs *slab.Pool, dst *slab.Chain, from, upTo int64, maxBytes int, oversize bool) error {
	upTo = min(upTo, r.info.End)
	if from >= upTo || len(r.index) == 0 {
		return nil
	}
	first := r.index.find(from)
	w := window{from: from, upTo: upTo, maxBytes: int64(max(maxBytes, 0)), oversize: oversize, end: r.endBelow(upTo)}
	w.pos = r.index[first].pos
	// What precedes from in its range is read for nothing, so no more than usual of it at once.
	want := w.maxBytes + min(r.index.after(first, w.end)-w.pos, maxSkip)
	for w.pos < w.end {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read segment %s: %w", r.info.Key, err)
		}
		s := slabs.Get(int(min(max(want, minRead), w.end-w.pos)))
		run, next, err := r.readWindow(&w, s.Bytes())
		if len(run) > 0 {
			dst.Hold(s)
			dst.Append(run)
			return nil
		}
		s.Release()
		if err != nil || next == 0 {
			return err
		}
		want = next
	}
	return nil
}

const (
	minRead = 4 << 10  // so that a header always fits
	maxSkip = 64 << 10 // of bytes in front of the wanted offset, read along with the wanted ones
)

// window is a Read under way.
type window struct {
	from, upTo int64 // offsets
	maxBytes   int64
	oversize   bool
	pos, end   int64 // in the data
}

// readWindow fills buf from w.pos and returns the wanted batches in it. When there is none whole, it moves w.pos to where
// one may begin and returns how many bytes to read there; 0 when there is nothing to be had.
func (r *Reader) readWindow(w *window, buf []byte) (run []byte, next int64, err error) {
	if err := r.readAt(buf, w.pos); err != nil {
		return nil, 0, err
	}
	var begin, p int64 // of the run, in buf
	var chain headChain
	n := int64(len(buf))
	for n-p >= headBytes {
		h, err := chain.next(buf[p:], w.end-w.pos-p)
		if err != nil {
			return nil, 0, r.corrupt(w.pos+p, err)
		}
		if h.last < w.from {
			p += h.size
			begin = p
			continue
		}
		length := p + h.size - begin
		if h.last >= w.upTo || length > w.maxBytes && (p > begin || !w.oversize) {
			return buf[begin:p], 0, nil
		}
		if p+h.size > n {
			next = max(h.size, w.maxBytes)
			break
		}
		p += h.size
	}
	if left := w.end - w.pos - p; left > 0 && left < headBytes {
		return nil, 0, r.corrupt(w.pos+p, errCut)
	}
	if p > begin {
		return buf[begin:p], 0, nil
	}
	if next == 0 {
		next = w.maxBytes
	}
	w.pos += p
	return nil, max(next, minRead), nil
}

// endBelow returns a position behind all batches that end below upTo.
func (r *Reader) endBelow(upTo int64) int64 {
	return r.index.after(r.index.find(upTo-1), r.info.DataBytes)
}

// SeekTime returns an offset at or after from such that no batch between from and it has a timestamp of ts (ms) or later,
// and a batch at or soon after it has; the search is by the ranges of the index, so the caller looks through the batches
// that follow. ok is false when the segment has no such batch. It reads nothing.
func (r *Reader) SeekTime(ts, from int64) (offset int64, ok bool) {
	if from >= r.info.End || len(r.index) == 0 {
		return 0, false
	}
	for _, e := range r.index[r.index.find(from):] {
		if e.maxTimestamp >= ts {
			return max(e.offset, from), true
		}
	}
	return 0, false
}

// Producers reads and decodes the producer state as of the segment's end. The table is the caller's.
func (r *Reader) Producers(ctx context.Context) (*producer.Table, error) {
	raw, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return &producer.Table{}, nil
	}
	s, err := producer.Decode(raw)
	if err != nil {
		return nil, r.corrupt(r.producers.pos, err)
	}
	return &s.Table, nil
}

// Aborted returns the aborted transactions that reach into the segment, by first offset. The slice is not to be changed.
func (r *Reader) Aborted(ctx context.Context) ([]producer.Aborted, error) {
	if r.abortedSection.length == 0 {
		return nil, nil
	}
	if kept := r.abortedKept.Load(); kept != nil {
		return *kept, nil
	}
	raw, err := r.section(ctx, r.abortedSection)
	if err != nil {
		return nil, err
	}
	aborted, err := decodeAborted(raw)
	if err != nil {
		return nil, r.corrupt(r.abortedSection.pos, err)
	}
	if len(aborted) <= keptAborted {
		r.abortedKept.Store(&aborted)
	}
	return aborted, nil
}

// keptAborted is how many aborted transactions stay in memory with an open segment.
const keptAborted = 4096

// snapshot reads the encoded producer state.
func (r *Reader) snapshot(ctx context.Context) ([]byte, error) { return r.section(ctx, r.producers) }

// section reads a section and checks it.
func (r *Reader) section(ctx context.Context, s section) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read section %d of segment %s: %w", s.kind, r.info.Key, err)
	}
	raw := make([]byte, s.length)
	if err := r.readAt(raw, s.pos); err != nil {
		return nil, err
	}
	if checksum(raw) != s.crc {
		return nil, r.corrupt(s.pos, errSection)
	}
	return raw, nil
}

// readAt fills p from position pos of the object.
func (r *Reader) readAt(p []byte, pos int64) error {
	n, err := r.object.ReadAt(p, pos)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return r.corrupt(pos+int64(n), io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read segment %s at byte %d: %w", r.info.Key, pos, err)
}

func (r *Reader) corrupt(pos int64, err error) error {
	return &CorruptionError{Key: r.info.Key, Offset: pos, Err: err}
}
