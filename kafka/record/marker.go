package record

import (
	"encoding/binary"
	"fmt"
)

// Marker ends a producer's transaction in one partition.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	Commit           bool // else abort
	CoordinatorEpoch int32
	Timestamp        int64 // milliseconds since 1970
}

// Types of control records, and the version of their keys and values.
const (
	controlAbort   = 0
	controlCommit  = 1
	controlVersion = 0
)

// EncodeMarker appends a control batch with the marker to dst and returns it. Its base offset is 0.
func EncodeMarker(dst []byte, m Marker) Batch {
	var key [4]byte
	var value [6]byte
	binary.BigEndian.PutUint16(key[0:], controlVersion)
	binary.BigEndian.PutUint16(key[2:], controlAbort)
	if m.Commit {
		binary.BigEndian.PutUint16(key[2:], controlCommit)
	}
	binary.BigEndian.PutUint16(value[0:], controlVersion)
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	b := NewBuilder(Options{
		Producer:      &Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch, Sequence: None},
		Transactional: true,
		Control:       true,
	})
	err := b.Add(m.Timestamp, key[:], value[:])
	batch, buildErr := b.Build(dst)
	if err != nil || buildErr != nil {
		panic("record: marker not built") // one small record at offset 0 always fits
	}
	return batch
}

// DecodeMarker returns the marker that a control batch holds. Errors: ErrInvalid if it is not a transaction marker (there
// are other control batches), ErrCorrupt.
func DecodeMarker(b Batch) (Marker, error) {
	m := Marker{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch()}
	if !b.IsControl() || b.NumRecords() != 1 {
		return m, fmt.Errorf("%w: not a marker", ErrInvalid)
	}
	for r, err := range b.Records(DefaultMaxDecompressed) {
		if err != nil {
			return m, fmt.Errorf("marker: %w", err)
		}
		if len(r.Key) < 4 {
			return m, fmt.Errorf("%w: marker key of %d bytes", ErrCorrupt, len(r.Key))
		}
		kind := binary.BigEndian.Uint16(r.Key[2:])
		if kind != controlAbort && kind != controlCommit {
			return m, fmt.Errorf("%w: control record of type %d", ErrInvalid, kind)
		}
		if len(r.Value) < 6 {
			return m, fmt.Errorf("%w: marker value of %d bytes", ErrCorrupt, len(r.Value))
		}
		m.Commit = kind == controlCommit
		m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
		m.Timestamp = r.Timestamp
	}
	return m, nil
}
