package state

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"millrace/express/share"
	"millrace/kafka/topic"
)

// ErrUnknownRecord is returned by Replay for a record of a kind or version that this package does not know; skip it.
var ErrUnknownRecord = errors.New("unknown kind or version of record")

// ErrCorruptRecord is returned by Replay for a record that cannot be read; skip it.
var ErrCorruptRecord = errors.New("corrupt record")

// Versions of keys and values. The key's version says what the record is about.
const (
	snapshotKey  = 0
	updateKey    = 1
	valueVersion = 0
)

// tagComplete is the tagged field DeliveryCompleteCount of both values (KIP-1226); without it the count is -1.
const tagComplete = 0

// Key names a share-partition.
type Key struct {
	Group     string
	Topic     topic.ID
	Partition int32
}

// String is what Kafka hashes to find the partition of __share_group_state.
func (k Key) String() string { return fmt.Sprintf("%s:%s:%d", k.Group, k.Topic, k.Partition) }

func (k Key) appendTo(kind int16) []byte {
	dst := kbin.AppendInt16(nil, kind)
	dst = kbin.AppendString(dst, k.Group)
	dst = kbin.AppendUuid(dst, k.Topic)
	return kbin.AppendInt32(dst, k.Partition)
}

func readKey(b []byte) (kind int16, k Key, err error) {
	r := kbin.Reader{Src: b}
	kind = r.Int16()
	if r.Ok() && kind != snapshotKey && kind != updateKey {
		return kind, k, fmt.Errorf("%w: key %d", ErrUnknownRecord, kind)
	}
	k = Key{Group: r.String(), Topic: r.Uuid(), Partition: r.Int32()}
	if err := r.Complete(); err != nil {
		return kind, k, fmt.Errorf("%w: key: %w", ErrCorruptRecord, err)
	}
	return kind, k, nil
}

// value is what a record says. Update records leave out stateEpoch, created and written.
type value struct {
	snapshotEpoch int32
	stateEpoch    int32
	leaderEpoch   int32
	start         int64 // -1: not known yet, or as before
	complete      int32 // records from start on that are done; -1 not known
	created       int64 // ms
	written       int64 // ms
	batches       []share.Batch
}

func (v *value) appendSnapshot() []byte {
	dst := kbin.AppendInt16(nil, valueVersion)
	dst = kbin.AppendInt32(dst, v.snapshotEpoch)
	dst = kbin.AppendInt32(dst, v.stateEpoch)
	dst = kbin.AppendInt32(dst, v.leaderEpoch)
	dst = kbin.AppendInt64(dst, v.start)
	dst = kbin.AppendInt64(dst, v.created)
	dst = kbin.AppendInt64(dst, v.written)
	return v.appendTail(dst)
}

func (v *value) appendUpdate() []byte {
	dst := kbin.AppendInt16(nil, valueVersion)
	dst = kbin.AppendInt32(dst, v.snapshotEpoch)
	dst = kbin.AppendInt32(dst, v.leaderEpoch)
	dst = kbin.AppendInt64(dst, v.start)
	return v.appendTail(dst)
}

func (v *value) appendTail(dst []byte) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(v.batches))
	for _, b := range v.batches {
		dst = kbin.AppendInt64(dst, b.First)
		dst = kbin.AppendInt64(dst, b.Last)
		dst = kbin.AppendInt8(dst, int8(b.State))
		dst = kbin.AppendInt16(dst, b.Count)
		dst = kbin.AppendUvarint(dst, 0)
	}
	if v.complete == -1 {
		return kbin.AppendUvarint(dst, 0)
	}
	dst = kbin.AppendUvarint(dst, 1)
	dst = kbin.AppendUvarint(dst, tagComplete)
	dst = kbin.AppendUvarint(dst, 4)
	return kbin.AppendInt32(dst, v.complete)
}

// batchBytes is the least size of one batch in a value.
const batchBytes = 8 + 8 + 1 + 2 + 1

func readValue(kind int16, b []byte) (*value, error) {
	r := kbin.Reader{Src: b}
	version := r.Int16()
	if r.Ok() && version != valueVersion {
		return nil, fmt.Errorf("%w: version %d of value %d", ErrUnknownRecord, version, kind)
	}
	v := &value{complete: -1, snapshotEpoch: r.Int32()}
	if kind == snapshotKey {
		v.stateEpoch = r.Int32()
	}
	v.leaderEpoch, v.start = r.Int32(), r.Int64()
	if kind == snapshotKey {
		v.created, v.written = r.Int64(), r.Int64()
	}
	v.readTail(&r)
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("%w: value %d: %w", ErrCorruptRecord, kind, err)
	}
	for _, b := range v.batches {
		switch {
		case b.First < 0, b.Last < b.First, b.Count < 0,
			b.State != share.Available && b.State != share.Acknowledged && b.State != share.Archived:
			return nil, fmt.Errorf("%w: value %d: batch %+v", ErrCorruptRecord, kind, b)
		}
	}
	return v, nil
}

func (v *value) readTail(r *kbin.Reader) {
	n := int(r.CompactArrayLen())
	if n < 0 || n*batchBytes > len(r.Src) {
		r.Span(len(r.Src) + 1) // there cannot be so many
		return
	}
	v.batches = make([]share.Batch, 0, n)
	for range n {
		v.batches = append(v.batches, share.Batch{First: r.Int64(), Last: r.Int64(), State: share.State(r.Int8()), Count: r.Int16()})
		skipTags(r, nil)
	}
	skipTags(r, func(tag uint32, b []byte) {
		if tag == tagComplete && len(b) == 4 {
			in := kbin.Reader{Src: b}
			v.complete = in.Int32()
		}
	})
}

func skipTags(r *kbin.Reader, each func(tag uint32, b []byte)) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		tag := r.Uvarint()
		b := r.Span(int(r.Uvarint()))
		if r.Ok() && each != nil {
			each(tag, b)
		}
	}
}
