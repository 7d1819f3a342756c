package segment

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/slab"
	"millrace/kafka/record"
)

var (
	errChecksum = errors.New("record batch checksum does not match")
	errRange    = errors.New("record batch outside of the segment's range")
	errIndex    = errors.New("index does not match the batches")
)

// Verify reads the whole segment and compares all that can be compared: the checksum of every batch and section, the
// index, and the figures of Info. It returns nil or, for damage, a *CorruptionError.
func (r *Reader) Verify(ctx context.Context, slabs *slab.Pool) error {
	return r.VerifyEach(ctx, slabs, func(record.Batch) error { return nil })
}

// VerifyEach is Verify that also calls also for each batch, in order, once the batch's checksum was found right; the
// batch is valid only until also returns. An error of also ends it and is returned as it is.
func (r *Reader) VerifyEach(ctx context.Context, slabs *slab.Pool, also func(record.Batch) error) error {
	if _, err := r.Producers(ctx); err != nil {
		return err
	}
	if _, err := r.Aborted(ctx); err != nil {
		return err
	}
	v := verifier{info: Info{MaxTimestamp: noTimestamp, MaxTimestampOffset: -1}, index: r.index}
	err := r.each(ctx, slabs, r.info.Base, func(b record.Batch, pos int64) error {
		if err := v.batch(b, pos, r.info); err != nil {
			return r.corrupt(pos, err)
		}
		return also(b)
	})
	if err != nil {
		return err
	}
	if err := v.end(r.info); err != nil {
		return r.corrupt(r.info.DataBytes, err)
	}
	return nil
}

// verifier counts again what the Writer counted.
type verifier struct {
	info    Info // only the figures
	index   index
	ranges  int   // of the index, begun so far
	largest int64 // timestamp in the range that was begun last
}

// batch takes the next batch, which stands at pos.
func (v *verifier) batch(b record.Batch, pos int64, want Info) error {
	if b.CRC() != b.ComputeCRC() {
		return errChecksum
	}
	if b.BaseOffset() < want.Base || b.LastOffset() >= want.End {
		return errRange
	}
	v.info.Batches++
	v.info.Records += int64(b.NumRecords())
	v.info.DataBytes += int64(len(b))
	if t := b.MaxTimestamp(); t > v.info.MaxTimestamp {
		v.info.MaxTimestamp, v.info.MaxTimestampOffset = t, b.BaseOffset()
	}
	if v.ranges < len(v.index) && v.index[v.ranges].pos <= pos {
		if e := v.index[v.ranges]; !v.rangeFits() || e.pos != pos || e.offset != b.BaseOffset() {
			return errIndex
		}
		v.ranges++
		v.largest = b.MaxTimestamp()
	}
	v.largest = max(v.largest, b.MaxTimestamp())
	return nil
}

// rangeFits says whether the timestamp of the range that ends here is right.
func (v *verifier) rangeFits() bool {
	return v.ranges == 0 || v.index[v.ranges-1].maxTimestamp == v.largest
}

// end compares the sums.
func (v *verifier) end(want Info) error {
	if v.ranges != len(v.index) || !v.rangeFits() {
		return errIndex
	}
	got := v.info
	if got.Batches != want.Batches || got.Records != want.Records || got.DataBytes != want.DataBytes ||
		got.MaxTimestamp != want.MaxTimestamp || got.MaxTimestampOffset != want.MaxTimestampOffset {
		return fmt.Errorf("counted %+v, the footer says %+v", got, want)
	}
	return nil
}
