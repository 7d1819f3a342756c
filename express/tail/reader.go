package tail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"millrace/base/object"
	"millrace/kafka/record"
)

// Run is some batches of a tail: contiguous and of one leader epoch, so that a log takes them as one entry.
type Run struct {
	Data         []byte // whole batches; the caller's
	Base, Last   int64  // offsets of the first and the last record
	MaxTimestamp int64  // ms, over all batches
}

// Reader reads one tail from its begin to its end.
type Reader struct {
	in    object.Reader
	info  Info
	pos   int64
	order order
	total footer
}

// Open reads the header of the tail at key, which must be one of key's partition and epoch. Errors: object.ErrNotFound,
// ErrCorrupt, ErrNewer, those of the store. The caller closes the Reader.
func Open(ctx context.Context, objects object.Store, key Key) (*Reader, error) {
	in, err := objects.Open(ctx, key.String())
	if err != nil {
		return nil, fmt.Errorf("open tail: %w", err)
	}
	r, err := newReader(in)
	if err == nil && (r.info.Partition != key.Partition || r.info.Epoch != key.Epoch) {
		err = fmt.Errorf("%w: it is of %s, epoch %d", ErrCorrupt, r.info.Partition, r.info.Epoch)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open tail %s: %w", key, err), in.Close())
	}
	return r, nil
}

func newReader(in object.Reader) (*Reader, error) {
	r := &Reader{in: in, pos: headerBytes}
	head, err := r.read(0, headerBytes)
	if err != nil {
		return nil, err
	}
	if r.info, err = decodeHeader(head); err != nil {
		return nil, err
	}
	r.order = order{next: r.info.Base, epoch: -1, limit: r.info.Epoch}
	return r, nil
}

// Info is what the header says.
func (r *Reader) Info() Info { return r.info }

// Close gives the object back.
func (r *Reader) Close() error { return r.in.Close() }

// Next returns the run after the one before, or io.EOF where the tail ends whole. Errors: ErrCorrupt, those of the store.
func (r *Reader) Next() (Run, error) {
	head, err := r.read(r.pos, frameBytes)
	if err != nil {
		return Run{}, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	if n == 0 && binary.BigEndian.Uint32(head[4:]) == 0 {
		return Run{}, r.finish()
	}
	if n == 0 || n > maxRun {
		return Run{}, fmt.Errorf("%w: run of %d bytes at byte %d", ErrCorrupt, n, r.pos)
	}
	data, err := r.read(r.pos+frameBytes, n)
	if err != nil {
		return Run{}, err
	}
	if crc32.Checksum(data, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return Run{}, fmt.Errorf("%w: checksum of the run at byte %d", ErrCorrupt, r.pos)
	}
	run, err := r.take(data)
	if err != nil {
		return Run{}, fmt.Errorf("%w: run at byte %d: %w", ErrCorrupt, r.pos, err)
	}
	r.pos += frameBytes + n
	r.total.runs++
	r.total.bytes += n
	return run, nil
}

// take checks the batches of a run.
func (r *Reader) take(data []byte) (Run, error) {
	run := Run{Data: data, Base: r.order.next, MaxTimestamp: -1}
	for first, rest := true, data; len(rest) > 0; first = false {
		b, after, err := record.Next(rest)
		if err != nil {
			return run, err
		}
		if before := r.order.epoch; !first && b.PartitionLeaderEpoch() != before {
			return run, fmt.Errorf("%w: leader epochs %d and %d in one run", ErrOrder, before, b.PartitionLeaderEpoch())
		}
		if err := r.order.take(b); err != nil {
			return run, err
		}
		run.MaxTimestamp = max(run.MaxTimestamp, b.MaxTimestamp())
		rest = after
	}
	run.Last = r.order.next - 1
	if r.order.next > r.info.End {
		return run, fmt.Errorf("%w: offset %d is behind the end at %d", ErrOrder, run.Last, r.info.End)
	}
	return run, nil
}

// finish checks the end of the object, and gives io.EOF where it is right.
func (r *Reader) finish() error {
	b, err := r.read(r.pos+frameBytes, footerBytes)
	if err != nil {
		return err
	}
	r.total.end = r.order.next
	if err := r.total.check(b); err != nil {
		return err
	}
	if end := r.pos + frameBytes + footerBytes; r.order.next != r.info.End || end != r.in.Size() {
		return fmt.Errorf("%w: ends at offset %d, byte %d; expected %d, %d", ErrCorrupt, r.order.next, end, r.info.End, r.in.Size())
	}
	return io.EOF
}

// read returns n bytes at off. No more is allocated than the object holds.
func (r *Reader) read(off, n int64) ([]byte, error) {
	if off+n > r.in.Size() {
		return nil, fmt.Errorf("%w: %d bytes, %d are needed", ErrCorrupt, r.in.Size(), off+n)
	}
	b := make([]byte, n)
	if _, err := r.in.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read tail: %w", err)
	}
	return b, nil
}
