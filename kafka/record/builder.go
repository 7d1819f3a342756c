package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Producer is the identity of an idempotent producer in a batch.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record; None in markers
}

// Options are the header fields of a batch to be built. The zero value makes a plain uncompressed batch at offset 0.
type Options struct {
	BaseOffset    int64
	LeaderEpoch   int32
	Codec         Codec
	Level         int           // of the codec; 0: its default
	TimestampType TimestampType // LogAppendTime: the largest timestamp counts for all records
	Producer      *Producer     // nil: none
	Transactional bool
	Control       bool

	// KeepOffsets takes the records' own offsets, which must rise from BaseOffset on and may have gaps, as compaction
	// leaves them. Otherwise the records get consecutive offsets.
	KeepOffsets bool

	// LastOffset, with KeepOffsets, is the batch's last offset even if no record has it; 0: that of the last record. A
	// batch that keeps its LastOffset may be built without records.
	LastOffset int64

	DeleteHorizon int64 // milliseconds since 1970; 0: none

	// MaxTimestamp, if not 0, is the batch's largest timestamp instead of that of the records: for LogAppendTime, and for
	// batches that compaction made smaller.
	MaxTimestamp int64
}

// Builder builds batches, one after the other, in memory that it keeps. The zero value must be Reset before use. Not safe
// for concurrent use.
type Builder struct {
	opt     Options
	records []byte
	count   int32
	last    int64 // offset of the last record
	baseMs  int64
	maxMs   int64
}

// NewBuilder returns a Builder that is ready to take the records of a batch.
func NewBuilder(o Options) *Builder {
	b := new(Builder)
	b.Reset(o)
	return b
}

// Reset drops the records taken so far and begins a new batch.
func (b *Builder) Reset(o Options) {
	*b = Builder{opt: o, records: b.records[:0], last: o.BaseOffset - 1, baseMs: None, maxMs: None}
	if o.DeleteHorizon != 0 {
		b.baseMs = o.DeleteHorizon
	}
}

// Append adds a copy of r. Its Offset counts only with KeepOffsets. The error is ErrInvalid: an offset that does not rise,
// or does not fit into the batch.
func (b *Builder) Append(r *Record) error {
	offset := b.last + 1
	if b.opt.KeepOffsets {
		offset = r.Offset
	}
	delta := offset - b.opt.BaseOffset
	if offset <= b.last || delta < 0 || delta > math.MaxInt32 || b.count == math.MaxInt32 {
		return fmt.Errorf("%w: offset %d after %d in a batch from %d", ErrInvalid, offset, b.last, b.opt.BaseOffset)
	}
	if b.count == 0 && b.opt.DeleteHorizon == 0 {
		b.baseMs = r.Timestamp
	}
	b.records = appendRecord(b.records, r, r.Timestamp-b.baseMs, int32(delta))
	b.count++
	b.last = offset
	b.maxMs = max(b.maxMs, r.Timestamp)
	return nil
}

// Add appends a record with the next offset.
func (b *Builder) Add(timestamp int64, key, value []byte, headers ...Header) error {
	return b.Append(&Record{Offset: b.last + 1, Timestamp: timestamp, Key: key, Value: value, Headers: headers})
}

// Count returns the number of records taken.
func (b *Builder) Count() int { return int(b.count) }

// Size returns the size of the batch if it were built now without compression, in bytes.
func (b *Builder) Size() int { return HeaderBytes + len(b.records) }

// Build appends the batch to dst and returns it as the slice of dst that it takes. The Builder can take more records
// afterwards, for a longer batch, or be Reset. Errors: ErrInvalid for a batch without records that keeps no LastOffset,
// ErrTooLarge beyond 2 GiB, ErrCodec.
func (b *Builder) Build(dst []byte) (Batch, error) {
	last := b.last
	if b.opt.KeepOffsets && b.opt.LastOffset != 0 {
		if b.opt.LastOffset < last || b.opt.LastOffset-b.opt.BaseOffset > math.MaxInt32 {
			return nil, fmt.Errorf("%w: last offset %d", ErrInvalid, b.opt.LastOffset)
		}
		last = b.opt.LastOffset
	}
	if last < b.opt.BaseOffset {
		return nil, fmt.Errorf("%w: no records", ErrInvalid)
	}
	if !b.opt.Codec.Known() {
		return nil, fmt.Errorf("%w: %v", ErrCodec, b.opt.Codec)
	}
	codec := b.opt.Codec
	if b.count == 0 {
		codec = Uncompressed
	}
	at := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	dst, err := compress(dst, codec, b.opt.Level, b.records)
	if err != nil {
		return nil, err
	}
	batch := Batch(dst[at:])
	if len(batch) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(batch))
	}
	b.putHeader(batch, codec, int32(last-b.opt.BaseOffset))
	return batch, nil
}

// putHeader fills in the header of the built batch.
func (b *Builder) putHeader(batch Batch, codec Codec, lastDelta int32) {
	producer := Producer{ID: None, Epoch: None, Sequence: None}
	if b.opt.Producer != nil {
		producer = *b.opt.Producer
	}
	maxMs := b.maxMs
	if b.opt.MaxTimestamp != 0 {
		maxMs = b.opt.MaxTimestamp
	}
	batch.SetBaseOffset(b.opt.BaseOffset)
	batch.SetLeaderEpoch(b.opt.LeaderEpoch)
	batch.putLength()
	batch[posMagic] = magic2
	binary.BigEndian.PutUint16(batch[posAttributes:], uint16(b.attributes(codec)))
	binary.BigEndian.PutUint32(batch[posLastDelta:], uint32(lastDelta))
	binary.BigEndian.PutUint64(batch[posBaseTime:], uint64(b.baseMs))
	binary.BigEndian.PutUint64(batch[posMaxTime:], uint64(maxMs))
	binary.BigEndian.PutUint64(batch[posProducerID:], uint64(producer.ID))
	binary.BigEndian.PutUint16(batch[posProdEpoch:], uint16(producer.Epoch))
	binary.BigEndian.PutUint32(batch[posBaseSeq:], uint32(producer.Sequence))
	binary.BigEndian.PutUint32(batch[posNumRecords:], uint32(b.count))
	batch.sign()
}

func (b *Builder) attributes(codec Codec) int16 {
	a := int16(codec)
	if b.opt.TimestampType == LogAppendTime {
		a |= attrAppendTime
	}
	if b.opt.Transactional {
		a |= attrTxn
	}
	if b.opt.Control {
		a |= attrControl
	}
	if b.opt.DeleteHorizon != 0 {
		a |= attrHorizon
	}
	return a
}

// putLength writes the length field for the slice's length.
func (b Batch) putLength() {
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-OverheadBytes))
}

// Recompress appends to dst a copy of b whose records are compressed with codec at level, and returns it. Everything else
// of the batch stays. The records must be as many as the header says, and well formed. limit bounds the decompressed size in
// bytes; 0 means DefaultMaxDecompressed. Errors: ErrCodec, ErrInvalid, ErrBomb, ErrTooLarge.
func Recompress(dst []byte, b Batch, codec Codec, level, limit int) (Batch, error) {
	plain, err := b.decompressed(limit)
	if err == nil {
		err = b.walkPlain(plain)
	}
	if err != nil {
		return nil, invalid(err)
	}
	at := len(dst)
	dst = append(dst, b[:HeaderBytes]...)
	if dst, err = compress(dst, codec, level, plain); err != nil {
		return nil, err
	}
	out := Batch(dst[at:])
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(out))
	}
	out.putLength()
	binary.BigEndian.PutUint16(out[posAttributes:], uint16(b.Attributes()&^attrCodec)|uint16(codec))
	out.sign()
	return out, nil
}

// decompressed returns the records as they are without compression.
func (b Batch) decompressed(limit int) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxDecompressed
	}
	if b.Codec() == Uncompressed {
		return b.payload(), nil
	}
	s, err := openStream(b.Codec(), b.payload(), limit)
	if err != nil {
		return nil, err
	}
	defer s.release()
	return s.all()
}

// walkPlain goes over the decompressed records and says what is wrong with them.
func (b Batch) walkPlain(plain []byte) error {
	w := walker{batch: b, src: source{plain: plain}, last: -1}
	for w.next() {
	}
	return w.err
}
