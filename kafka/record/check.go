package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Limits is what Check holds a produced batch to. The zero value sets no limits.
type Limits struct {
	MaxBytes        int  // largest batch, header included; 0: any (max.message.bytes)
	MaxDecompressed int  // most bytes that a batch may decompress to where it must be looked into; 0: DefaultMaxDecompressed
	KeyRequired     bool // every record needs a key: the topic is compacted
	NoZstd          bool // the Produce version (below 7) does not know zstd
	AppendTime      bool // the broker sets the times, so that those of the records do not matter (message.timestamp.type)
	Open            bool // the records are looked at in any case: the batch is decompressed afterwards anyway

	// Bounds of the records' timestamps around Now, as in message.timestamp.before.max.ms and after.max.ms; 0: any.
	// See Opens for the batches that are held to them by their header.
	Now       time.Time
	MaxBefore time.Duration
	MaxAfter  time.Duration
}

// DefaultMaxDecompressed bounds what a batch is decompressed to unless Limits says otherwise.
const DefaultMaxDecompressed = 64 << 20

// Opens reports whether Check decompresses b to look at its records: where they need keys, and where the header gives a
// time that is out of bounds, so that the records have to tell which of them are. A header that is within the bounds is
// believed, because decompressing costs many times what all the rest of the way of a batch does (BenchmarkCheckCompressed).
func (l *Limits) Opens(b Batch) bool {
	switch {
	case b.Codec() == Uncompressed:
		return false
	case l.KeyRequired, l.Open:
		return true
	case l.AppendTime || b.TimestampType() == LogAppendTime:
		return l.checkTime(b, b.MaxTimestamp()) != nil
	}
	return l.checkTime(b, b.BaseTimestamp()) != nil || l.checkTime(b, b.MaxTimestamp()) != nil
}

// Check validates what a producer sent for one partition: exactly one batch, fit to be stored as it is, which it returns. A
// piece of another batch behind it is cut off. It allocates nothing unless it refuses or has to decompress; see Limits.Opens.
//
// As in Kafka it mends the header in place, unless Limits.AppendTime: MaxTimestamp becomes the largest time of the records,
// where they were looked at, and TimestampType the producer's.
//
// Producers send a batch again that is ErrCorrupt, which may have been damaged on the way. So only sizes and checksums
// that do not fit are; a batch whose checksum is right and whose contents are not is ErrInvalid, as in Kafka. All errors of
// this package are possible, each wrapped with what is wrong; see there for their Kafka codes.
func Check(b []byte, l Limits) (Batch, error) {
	batch, err := single(b)
	if err != nil {
		return nil, err
	}
	if l.MaxBytes > 0 && len(batch) > l.MaxBytes {
		return nil, fmt.Errorf("%w: batch of %d bytes, at most %d", ErrTooLarge, len(batch), l.MaxBytes)
	}
	if want := batch.ComputeCRC(); batch.CRC() != want {
		return nil, fmt.Errorf("%w: checksum %08x, computed %08x", ErrCorrupt, batch.CRC(), want)
	}
	if err := batch.checkHeader(l); err != nil {
		return nil, err
	}
	latest, err := batch.checkRecords(l)
	if err != nil {
		return nil, err
	}
	if !l.AppendTime {
		batch.setCreateTime(latest)
	}
	return batch, nil
}

// single returns the only batch in b. What breaks off behind it is passed over, as in Kafka.
func single(b []byte) (Batch, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: none", ErrNotOne)
	}
	batch, rest, err := Next(b)
	if err != nil {
		return nil, refusal(b, err)
	}
	return batch, behind(rest)
}

// behind says what is wrong with bytes behind a batch, by Kafka's rules, which are those of all formats that there were.
func behind(rest []byte) error {
	const smallestRecord = 14
	if len(rest) < OverheadBytes {
		return nil
	}
	size := int32(binary.BigEndian.Uint32(rest[posLength:]))
	switch {
	case size < smallestRecord:
		return fmt.Errorf("%w: length %d behind the batch", ErrCorrupt, size)
	case len(rest) <= posMagic:
		return nil
	case rest[posMagic] > magic2:
		return fmt.Errorf("%w: magic %d behind the batch", ErrCorrupt, int8(rest[posMagic]))
	case int64(size)+OverheadBytes > int64(len(rest)):
		return nil
	}
	return fmt.Errorf("%w: %d bytes after the first one", ErrNotOne, len(rest))
}

// refusal gives what Next says of produced bytes the class that Kafka gives it: bytes that hold no whole batch, and message
// sets of the formats before batches, are refused for good; what is no format at all is taken for damage.
func refusal(b []byte, err error) error {
	const lastMessageSet = 1
	switch {
	case errors.Is(err, ErrTruncated), errors.Is(err, ErrMagic) && b[posMagic] <= lastMessageSet:
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(err, ErrMagic):
		return fmt.Errorf("%w: magic %d", ErrCorrupt, int8(b[posMagic]))
	default:
		return err
	}
}

// checkHeader holds the header to the rules for producers.
func (b Batch) checkHeader(l Limits) error {
	codec, count := b.Codec(), b.NumRecords()
	switch {
	case !codec.Known(), codec == Zstd && l.NoZstd:
		return fmt.Errorf("%w: %v", ErrCodec, codec)
	case b.BaseOffset() != 0:
		return fmt.Errorf("%w: base offset %d, must be 0", ErrInvalid, b.BaseOffset())
	case count < 1:
		return fmt.Errorf("%w: %d records", ErrInvalid, count)
	case int64(b.LastOffsetDelta())+1 != int64(count):
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalid, count, b.LastOffsetDelta())
	case b.IsControl():
		return fmt.Errorf("%w: control batch from a client", ErrInvalid)
	case b.HasDeleteHorizon():
		return fmt.Errorf("%w: delete horizon from a client", ErrInvalid)
	case b.IsTransactional() && !b.HasProducerID():
		return fmt.Errorf("%w: transactional without producer id", ErrInvalid)
	case b.HasProducerID() && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return fmt.Errorf("%w: producer id with sequence %d, epoch %d", ErrInvalid, b.BaseSequence(), b.ProducerEpoch())
	}
	return nil
}

// checkRecords looks at the records, unless they are compressed and Opens says otherwise, and returns the largest of their
// timestamps, None where none has one.
func (b Batch) checkRecords(l Limits) (latest int64, err error) {
	if b.Codec() != Uncompressed && !l.Opens(b) {
		return b.MaxTimestamp(), invalid(sniff(b.Codec(), b.payload()))
	}
	most := l.MaxDecompressed
	if most <= 0 {
		most = DefaultMaxDecompressed
	}
	w := b.walk(most)
	defer w.release()
	base, fixed := b.BaseTimestamp(), b.TimestampType() == LogAppendTime
	latest = None
	var bad *BadRecords
	for w.next() {
		at := base + w.raw.timeDelta
		if fixed {
			at = b.MaxTimestamp()
		}
		if err := l.checkRecord(b, &w.raw, at); err != nil {
			bad = bad.add(w.n-1, err)
		}
		latest = max(latest, at)
	}
	switch {
	case w.err != nil:
		return None, invalid(w.err)
	case bad != nil:
		return None, bad
	}
	return latest, nil
}

// checkRecord holds one record, of a time in milliseconds, to the rules of the topic.
func (l *Limits) checkRecord(b Batch, r *rawRecord, at int64) error {
	if l.KeyRequired && r.key == nil {
		return fmt.Errorf("%w: the topic is compacted", ErrNoKey)
	}
	return l.checkTime(b, at)
}

// invalid makes a fault in the contents of a batch whose checksum is right one that sending again does not mend.
func invalid(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// checkTime holds one timestamp of b, in milliseconds, to the bounds. Only a broker may say that it has set the times; Kafka
// lets it pass where the time counts for nothing but itself.
func (l *Limits) checkTime(b Batch, ms int64) error {
	if l.AppendTime || ms == None {
		if b.TimestampType() == LogAppendTime {
			return fmt.Errorf("%w: the batch says that the broker has set it", ErrTimestamp)
		}
		return nil
	}
	if l.MaxBefore <= 0 && l.MaxAfter <= 0 {
		return nil
	}
	now := l.Now.UnixMilli()
	if l.MaxBefore > 0 && ms < now-l.MaxBefore.Milliseconds() {
		return fmt.Errorf("%w: %d is more than %v before now", ErrTimestamp, ms, l.MaxBefore)
	}
	if l.MaxAfter > 0 && ms > now+l.MaxAfter.Milliseconds() {
		return fmt.Errorf("%w: %d is more than %v after now", ErrTimestamp, ms, l.MaxAfter)
	}
	return nil
}
