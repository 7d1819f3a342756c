package record

import (
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

	// Bounds of the records' timestamps around Now, as in message.timestamp.before.max.ms and after.max.ms; 0: any.
	// Compressed batches that need not be opened are held to them by their first and largest timestamp.
	Now       time.Time
	MaxBefore time.Duration
	MaxAfter  time.Duration
}

// DefaultMaxDecompressed bounds what a batch is decompressed to unless Limits says otherwise.
const DefaultMaxDecompressed = 64 << 20

// Check validates what a producer sent for one partition: exactly one batch, fit to be stored as it is. It allocates
// nothing unless it has to decompress, which it does only when keys are required.
//
// Producers send a batch again that is ErrCorrupt, which may have been damaged on the way. So only sizes and checksums
// that do not fit are; a batch whose checksum is right and whose contents are not is ErrInvalid, as in Kafka. All errors of
// this package are possible, each wrapped with what is wrong; see there for their Kafka codes.
func Check(b []byte, l Limits) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: no batch", ErrInvalid)
	}
	batch, rest, err := Next(b)
	if err != nil {
		return refusal(b, err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes after the batch, only one is allowed", ErrInvalid, len(rest))
	}
	if l.MaxBytes > 0 && len(b) > l.MaxBytes {
		return fmt.Errorf("%w: batch of %d bytes, at most %d", ErrTooLarge, len(b), l.MaxBytes)
	}
	if want := batch.ComputeCRC(); batch.CRC() != want {
		return fmt.Errorf("%w: checksum %08x, computed %08x", ErrCorrupt, batch.CRC(), want)
	}
	if err := batch.checkHeader(l); err != nil {
		return err
	}
	return batch.checkRecords(l)
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
	case b.TimestampType() != CreateTime:
		return fmt.Errorf("%w: log append time from a client", ErrTimestamp)
	case b.IsTransactional() && !b.HasProducerID():
		return fmt.Errorf("%w: transactional without producer id", ErrInvalid)
	case b.HasProducerID() && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return fmt.Errorf("%w: producer id with sequence %d, epoch %d", ErrInvalid, b.BaseSequence(), b.ProducerEpoch())
	}
	return nil
}

// checkRecords walks the records if that is cheap or needed, and checks timestamps.
func (b Batch) checkRecords(l Limits) error {
	if b.Codec() != Uncompressed && !l.KeyRequired {
		if err := l.checkTime(b.BaseTimestamp()); err != nil {
			return err
		}
		return l.checkTime(b.MaxTimestamp())
	}
	most := l.MaxDecompressed
	if most <= 0 {
		most = DefaultMaxDecompressed
	}
	w := b.walk(most)
	defer w.release()
	for w.next() {
		if l.KeyRequired && w.raw.key == nil {
			return fmt.Errorf("%w: record %d", ErrNoKey, w.raw.offsetDelta)
		}
		if err := l.checkTime(b.BaseTimestamp() + w.raw.timeDelta); err != nil {
			return err
		}
	}
	return invalid(w.err)
}

// invalid makes a fault in the contents of a batch whose checksum is right one that sending again does not mend.
func invalid(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// checkTime holds one timestamp, in milliseconds, to the bounds.
func (l *Limits) checkTime(ms int64) error {
	if ms == None || l.MaxBefore <= 0 && l.MaxAfter <= 0 {
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
