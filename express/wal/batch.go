package wal

import (
	"fmt"

	"millrace/express/producer"
	"millrace/kafka/record"
)

// inspect checks that the entry is what its fields say, and learns what the committer needs. It runs with the caller,
// so that the committer has less to do; only headers of batches are read.
func (e *Entry) inspect() error {
	if len(e.Data) > maxEntryBytes || e.Done == nil || e.BaseOffset < 0 {
		return fmt.Errorf("%w: entry of %d bytes at offset %d", ErrInvalid, len(e.Data), e.BaseOffset)
	}
	next := e.BaseOffset
	e.batches, e.idempotent = 0, false
	for rest := e.Data; len(rest) > 0; e.batches++ {
		b, after, err := record.Next(rest)
		if err != nil {
			return fmt.Errorf("%w: batch %d: %w", ErrInvalid, e.batches, err)
		}
		if e.batches == 0 {
			e.epoch = b.PartitionLeaderEpoch()
		}
		if b.BaseOffset() != next || b.LastOffsetDelta() < 0 || b.PartitionLeaderEpoch() != e.epoch {
			return fmt.Errorf("%w: batch %d has offsets %d to %d, epoch %d; expected offset %d, epoch %d", ErrInvalid,
				e.batches, b.BaseOffset(), b.LastOffset(), b.PartitionLeaderEpoch(), next, e.epoch)
		}
		e.idempotent = e.idempotent || b.HasProducerID()
		next = b.LastOffset() + 1
		rest = after
	}
	if e.batches == 0 || next != e.LastOffset+1 {
		return fmt.Errorf("%w: %d batches end at %d, not at %d", ErrInvalid, e.batches, next, e.LastOffset)
	}
	return nil
}

// eachRun calls f for the entry, or, when it is too large for one run, for pieces of it.
func (e *Entry) eachRun(f func(row)) {
	r := row{
		partition: e.stream.partition, epoch: e.epoch, base: e.BaseOffset, last: e.LastOffset,
		maxTimestamp: e.MaxTimestamp, bytes: len(e.Data), batches: e.batches,
	}
	if e.batches == 1 || r.bytes <= runBytes {
		f(r)
		return
	}
	eachBatch(e.Data, func(b record.Batch) bool {
		r.base, r.last, r.maxTimestamp = b.BaseOffset(), b.LastOffset(), b.MaxTimestamp()
		r.bytes, r.batches = len(b), 1
		f(r)
		return true
	})
}

// eachBatch calls f for each batch of a run that was checked before, until f returns false or the bytes end.
func eachBatch(data []byte, f func(record.Batch) bool) {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil || !f(b) {
			return
		}
		data = rest
	}
}

// applyBatches adds what a run says about producers.
func applyBatches(t *producer.State, data []byte) {
	eachBatch(data, func(b record.Batch) bool {
		t.Apply(b)
		return true
	})
}

// verify checks every byte of a row's batches: their own checksums cover all but base offset, leader epoch and length,
// and these follow from the row, which the group header's checksum covers.
func (r *row) verify(data []byte) error {
	next, batches := r.base, 0
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		switch {
		case err != nil:
			return damaged("batch at offset %d: %v", next, err)
		case b.BaseOffset() != next || b.LastOffsetDelta() < 0 || b.PartitionLeaderEpoch() != r.epoch:
			return damaged("batch at offset %d has offset %d, epoch %d", next, b.BaseOffset(), b.PartitionLeaderEpoch())
		case b.ComputeCRC() != b.CRC():
			return damaged("checksum of the batch at offset %d", next)
		}
		next = b.LastOffset() + 1
		batches++
		data = rest
	}
	if next != r.last+1 || batches != r.batches {
		return damaged("%d batches end at offset %d, not %d at %d", batches, next-1, r.batches, r.last)
	}
	return nil
}
