package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Errors of this package; each is tested with errors.Is. The Kafka code that a producer gets stands behind each.
var (
	ErrTruncated = errors.New("record: truncated")                             // INVALID_RECORD; the bytes end before the batch does
	ErrCorrupt   = errors.New("record: corrupt")                               // CORRUPT_MESSAGE; sizes or checksum do not fit, or the contents of a stored batch
	ErrMagic     = errors.New("record: format is not version 2")               // INVALID_RECORD for older formats, CORRUPT_MESSAGE for unknown ones
	ErrInvalid   = errors.New("record: invalid")                               // INVALID_RECORD; well formed, but against the rules
	ErrNotOne    = fmt.Errorf("%w: not exactly one batch", ErrInvalid)         // INVALID_RECORD
	ErrNoKey     = fmt.Errorf("%w: no key", ErrInvalid)                        // INVALID_RECORD; a compacted topic needs keys
	ErrTooLarge  = errors.New("record: too large")                             // MESSAGE_TOO_LARGE
	ErrTimestamp = errors.New("record: invalid timestamp")                     // INVALID_TIMESTAMP
	ErrCodec     = errors.New("record: unknown compression")                   // UNSUPPORTED_COMPRESSION_TYPE
	ErrBomb      = fmt.Errorf("%w: decompresses beyond the limit", ErrInvalid) // INVALID_RECORD
)

// Sizes of the format, in bytes.
const (
	HeaderBytes   = 61 // of a batch, up to its first record
	OverheadBytes = 12 // base offset and length, which the length does not count
)

// Positions of the header's fields.
const (
	posBaseOffset  = 0
	posLength      = 8
	posEpoch       = 12
	posMagic       = 16
	posCRC         = 17
	posAttributes  = 21 // the checksum covers from here to the end
	posLastDelta   = 23
	posBaseTime    = 27
	posMaxTime     = 35
	posProducerID  = 43
	posProdEpoch   = 51
	posBaseSeq     = 53
	posNumRecords  = 57
	magic2         = 2
	attrCodec      = 0x07
	attrAppendTime = 0x08
	attrTxn        = 0x10
	attrControl    = 0x20
	attrHorizon    = 0x40
)

// None stands for no producer id, no epoch, no sequence, no timestamp.
const None = -1

// castagnoli makes CRC-32C, with the processor's instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a view of one whole record batch. The methods trust its sizes: get one from Next, Check or a Builder.
type Batch []byte

// TimestampType says who set the timestamps of a batch.
type TimestampType int8

// The timestamp types, as in the protocol.
const (
	CreateTime    TimestampType = 0 // the producer
	LogAppendTime TimestampType = 1 // the broker
)

// Next splits the first batch off b, which holds batches back to back. Only sizes and magic are checked, so what follows
// is as cheap as a few comparisons. Errors: ErrTruncated if b ends before the batch does (also when b is empty), ErrCorrupt
// if the length is impossible, ErrMagic for another format.
func Next(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) < posMagic+1 {
		return nil, b, fmt.Errorf("%w: %d bytes", ErrTruncated, len(b))
	}
	if b[posMagic] != magic2 {
		return nil, b, fmt.Errorf("%w: magic %d", ErrMagic, int8(b[posMagic]))
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < HeaderBytes-OverheadBytes || length > math.MaxInt32-OverheadBytes {
		return nil, b, fmt.Errorf("%w: length %d", ErrCorrupt, length)
	}
	n := int(length) + OverheadBytes
	if n > len(b) {
		return nil, b, fmt.Errorf("%w: %d of %d bytes", ErrTruncated, len(b), n)
	}
	return Batch(b[:n:n]), b[n:], nil
}

func (b Batch) int16(pos int) int16 { return int16(binary.BigEndian.Uint16(b[pos:])) }
func (b Batch) int32(pos int) int32 { return int32(binary.BigEndian.Uint32(b[pos:])) }
func (b Batch) int64(pos int) int64 { return int64(binary.BigEndian.Uint64(b[pos:])) }

// BaseOffset returns the offset of the first record. In a compacted batch that record may be gone.
func (b Batch) BaseOffset() int64 { return b.int64(posBaseOffset) }

// Length returns the length field: the size of the batch less OverheadBytes.
func (b Batch) Length() int32 { return b.int32(posLength) }

// PartitionLeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) PartitionLeaderEpoch() int32 { return b.int32(posEpoch) }

// Magic returns the format version, which is 2.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC returns the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// ComputeCRC returns the checksum that the batch should have.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[posAttributes:], castagnoli) }

// Attributes returns the attribute bits.
func (b Batch) Attributes() int16 { return b.int16(posAttributes) }

// LastOffsetDelta returns the difference between last and base offset.
func (b Batch) LastOffsetDelta() int32 { return b.int32(posLastDelta) }

// LastOffset returns the offset of the last record the batch was made with. Compaction keeps it when it drops that record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp returns the time that the records' deltas count from, in milliseconds since 1970: the first record's, or
// the delete horizon when HasDeleteHorizon.
func (b Batch) BaseTimestamp() int64 { return b.int64(posBaseTime) }

// MaxTimestamp returns the largest timestamp in the batch, in milliseconds since 1970.
func (b Batch) MaxTimestamp() int64 { return b.int64(posMaxTime) }

// ProducerID returns the idempotent producer's id, or None.
func (b Batch) ProducerID() int64 { return b.int64(posProducerID) }

// ProducerEpoch returns the idempotent producer's epoch, or None.
func (b Batch) ProducerEpoch() int16 { return b.int16(posProdEpoch) }

// BaseSequence returns the sequence number of the first record, or None.
func (b Batch) BaseSequence() int32 { return b.int32(posBaseSeq) }

// LastSequence returns the sequence number of the last record, or None. Sequences wrap from 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == None {
		return None
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns sequence + n, wrapping from 2^31-1 to 0. Neither may be negative.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// NumRecords returns the number of records in the batch; compaction can leave 0.
func (b Batch) NumRecords() int32 { return b.int32(posNumRecords) }

// Codec returns the compression codec, which need not be a known one.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodec) }

// IsTransactional reports whether the batch is part of a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTxn != 0 }

// IsControl reports whether the records are the broker's own, such as transaction markers.
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// HasProducerID reports whether an idempotent or transactional producer made the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > None }

// HasDeleteHorizon reports whether BaseTimestamp is the time from which on tombstones may be removed.
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrHorizon != 0 }

// TimestampType returns who set the timestamps.
func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&attrAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// payload returns the records, compressed or not.
func (b Batch) payload() []byte { return b[HeaderBytes:] }

// SetBaseOffset moves the whole batch to begin at offset. The checksum does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(offset))
}

// SetLeaderEpoch sets the epoch of the appending leader. The checksum does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posEpoch:], uint32(epoch))
}

// SetLogAppendTime makes ms, in milliseconds since 1970, the timestamp of every record, and computes the checksum anew.
// The timestamps in the records stay as they are; readers ignore them.
func (b Batch) SetLogAppendTime(ms int64) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes())|attrAppendTime)
	binary.BigEndian.PutUint64(b[posMaxTime:], uint64(ms))
	b.sign()
}

// setCreateTime makes the records' own timestamps count, of which ms is the largest. Where that is so already it does nothing.
func (b Batch) setCreateTime(ms int64) {
	if b.TimestampType() == CreateTime && b.MaxTimestamp() == ms {
		return
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes())&^attrAppendTime)
	binary.BigEndian.PutUint64(b[posMaxTime:], uint64(ms))
	b.sign()
}

// sign stores the checksum of the batch as it is now.
func (b Batch) sign() { binary.BigEndian.PutUint32(b[posCRC:], b.ComputeCRC()) }
