package history

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
)

// ID names one record that was sent: the Seq-th (from 0) that the producer sent to the partition.
type ID struct {
	Producer  int
	Partition int32
	Seq       int64
}

// valueHead is the length of the part of a value that names the record; the rest is filling.
const valueHead = 4 + 4 + 8

// Value returns the bytes of a record: its name and then filling that follows from the name, so that every byte can be
// checked without being kept. The length lies between minSize and twice that, and is never below the head's.
func (id ID) Value(minSize int) []byte {
	filling := rand.New(rand.NewPCG(uint64(id.Producer)<<32|uint64(id.Partition), uint64(id.Seq)))
	size := max(minSize, valueHead) + filling.IntN(minSize+1)
	value := make([]byte, 0, size+8)
	value = binary.BigEndian.AppendUint32(value, uint32(id.Producer))
	value = binary.BigEndian.AppendUint32(value, uint32(id.Partition))
	value = binary.BigEndian.AppendUint64(value, uint64(id.Seq))
	for len(value) < size {
		value = binary.BigEndian.AppendUint64(value, filling.Uint64())
	}
	return value[:size]
}

// ParseValue returns the name in a record's bytes; intact is false when they are not exactly what Value made. Bytes too
// short for a name give a name that nobody has.
func ParseValue(value []byte, minSize int) (id ID, intact bool) {
	if len(value) < valueHead {
		return ID{Seq: -1}, false
	}
	id = ID{
		Producer:  int(binary.BigEndian.Uint32(value)),
		Partition: int32(binary.BigEndian.Uint32(value[4:])),
		Seq:       int64(binary.BigEndian.Uint64(value[8:])),
	}
	if id.Partition < 0 || id.Seq < 0 {
		return id, false
	}
	return id, bytes.Equal(value, id.Value(minSize))
}

// digest is what is kept of a value that a reader saw; 0 stands for nothing seen.
func (h *History) digest(value []byte) uint64 {
	return max(1, maphash.Bytes(h.seed, value))
}
