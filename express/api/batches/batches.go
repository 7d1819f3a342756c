// Package batches looks at batches of a Produce request before the partition does, and says in the answer what is wrong with them.
//
// Flow: a request -> HasTransactional, IsTransactional, IsZstd; an error of the partition -> AboutRecords, Faults -> the answer.
//
// All functions are pure. Files: batches.go.
package batches

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/wire"
)

// HasTransactional looks whether a batch of the request is part of a transaction.
func HasTransactional(req *wire.ProduceRequest) bool {
	for t := range req.Topics() {
		for in := range t.Partitions() {
			if IsTransactional(in.Records) {
				return true
			}
		}
	}
	return false
}

// IsTransactional looks at a batch that nobody has checked yet; what is no batch is not.
func IsTransactional(b []byte) bool {
	batch, _, err := record.Next(b)
	return err == nil && batch.IsTransactional()
}

// IsZstd looks at the codec of a batch that nobody has checked yet.
func IsZstd(b []byte) bool {
	return len(b) >= record.HeaderBytes && record.Batch(b).Codec() == record.Zstd
}

// AboutRecords says whether an error is about the contents of a batch that is well formed: only then Kafka tells the log
// start along with it.
func AboutRecords(code kerr.Code, err error) bool {
	switch code {
	case kerr.InvalidTimestamp, kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnsupportedCompressionType:
		return true
	case kerr.InvalidRecord:
		return !errors.Is(err, record.ErrTruncated) && !errors.Is(err, record.ErrMagic) && !errors.Is(err, record.ErrNotOne)
	default:
		return false
	}
}

// Faults lists the records for which a batch is refused; nil where it is not for single ones.
func Faults(err error) []kmsg.ProduceResponseTopicPartitionErrorRecord {
	var bad *record.BadRecords
	if !errors.As(err, &bad) {
		return nil
	}
	out := make([]kmsg.ProduceResponseTopicPartitionErrorRecord, len(bad.Records))
	for i, r := range bad.Records {
		out[i].RelativeOffset, out[i].ErrorMessage = r.Index, kmsg.StringPtr(r.Err.Error())
	}
	return out
}
