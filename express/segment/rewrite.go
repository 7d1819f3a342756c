package segment

import (
	"math"

	"millrace/kafka/record"
)

// maxDecompressed bounds what one batch may decompress to; what producers may send is bounded by no more.
const maxDecompressed = 256 << 20

// copyBatch takes one batch into the output: as it is, with fewer records, or not at all.
func (c *compaction) copyBatch(r *Reader, b record.Batch, pos int64) error {
	if b.LastOffset() >= c.frontier {
		return c.writer.Append(b)
	}
	if b.CRC() != b.ComputeCRC() {
		return r.corrupt(pos, errChecksum) // a new checksum would hide the damage for good
	}
	if b.IsControl() {
		return c.copyMarker(r, b, pos)
	}
	if c.isAborted(b) {
		c.removed += int64(b.NumRecords())
		return nil
	}
	kept, tombstones, err := c.judge(b)
	if err != nil {
		return r.corrupt(pos, err)
	}
	if kept > 0 && b.IsTransactional() {
		c.remaining[b.ProducerID()] = true
	}
	all := int(b.NumRecords())
	c.removed += int64(all - kept)
	horizon := c.horizonOf(b, tombstones)
	switch {
	case kept == 0:
		return nil
	case kept == all && (horizon == 0 || b.HasDeleteHorizon()):
		err = c.writer.Append(b)
	default:
		err = c.rewrite(r, b, pos, horizon)
	}
	if tombstones && (c.horizon == 0 || horizon < c.horizon) {
		c.horizon = horizon
	}
	return err
}

// judge decides over each record of b, into c.verdicts: as Kafka, a record stays that is the last of its key and has a value,
// or is a tombstone whose delete horizon is not known or not past.
func (c *compaction) judge(b record.Batch) (kept int, tombstones bool, err error) {
	c.verdicts = c.verdicts[:0]
	expired := b.HasDeleteHorizon() && c.policy.NowMs >= b.BaseTimestamp()
	for rec, err := range b.Records(maxDecompressed) {
		if err != nil {
			return 0, false, err
		}
		tombstone := rec.Value == nil
		keep := rec.Key != nil && !(tombstone && expired) && !c.keys.superseded(rec.Key, rec.Offset)
		if keep {
			kept++
			tombstones = tombstones || tombstone
		}
		c.verdicts = append(c.verdicts, keep)
	}
	return kept, tombstones, nil
}

// horizonOf is the delete horizon that b is to carry, 0 for none: the one that it has, or a new one if it keeps tombstones.
func (c *compaction) horizonOf(b record.Batch, tombstones bool) int64 {
	switch {
	case b.HasDeleteHorizon():
		return b.BaseTimestamp()
	case !tombstones:
		return 0
	case c.policy.DeleteRetention > math.MaxInt64-c.policy.NowMs:
		return math.MaxInt64
	default:
		return max(1, c.policy.NowMs+c.policy.DeleteRetention) // 0 would be none
	}
}

// rewrite makes b again from the records that stay. What identifies the batch is kept: its range of offsets, hence its
// sequence numbers, producer, codec, leader epoch. With a delete horizon as the base timestamp, the deltas of the records
// change and their timestamps do not. As in Kafka the largest timestamp is that of the records left, or under
// LogAppendTime the batch's own, which is all that its records have.
func (c *compaction) rewrite(r *Reader, b record.Batch, pos, horizon int64) error {
	opts := record.Options{
		BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), KeepOffsets: true, LeaderEpoch: b.PartitionLeaderEpoch(),
		Codec: b.Codec(), TimestampType: b.TimestampType(), Transactional: b.IsTransactional(),
		Control: b.IsControl(), DeleteHorizon: horizon,
	}
	if b.HasProducerID() {
		opts.Producer = &record.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()}
	}
	if b.TimestampType() == record.LogAppendTime {
		opts.MaxTimestamp = b.MaxTimestamp()
	}
	c.builder.Reset(opts)
	i := 0
	for rec, err := range b.Records(maxDecompressed) {
		if err != nil {
			return r.corrupt(pos, err)
		}
		if c.verdicts[i] {
			if err := c.builder.Append(&rec); err != nil {
				return r.corrupt(pos, err)
			}
		}
		i++
	}
	made, err := c.builder.Build(c.scratch[:0])
	if err != nil {
		return r.corrupt(pos, err)
	}
	c.scratch = made
	return c.writer.Append(made)
}
