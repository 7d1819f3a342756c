package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"millrace/kafka/topic"
)

var (
	// ErrCorrupt is wrapped by every *CorruptionError.
	ErrCorrupt = errors.New("segment: corrupt")
	// ErrNewer is returned by Open for an object of a format that this build does not know. The object is left alone.
	ErrNewer = errors.New("segment: written by a newer version")
	// ErrEmpty is returned by Finish when no batch was appended.
	ErrEmpty = errors.New("segment: no batches")
	// ErrOrder is returned by Writer and Compact for offsets that do not ascend or leave the range that they are meant for.
	ErrOrder = errors.New("segment: offsets out of order")
)

// CorruptionError says which object is damaged and where. It wraps ErrCorrupt and the fault.
type CorruptionError struct {
	Key    string // object key
	Offset int64  // byte position in the object
	Err    error  // what is wrong there
}

// Error names the object, the position and the fault.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d: %v", ErrCorrupt, e.Key, e.Offset, e.Err)
}

// Unwrap gives ErrCorrupt and the fault to errors.Is and errors.As.
func (e *CorruptionError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// noTimestamp is Kafka's "no record carries a timestamp".
const noTimestamp = -1

// Info is a segment's entry in the manifest: enough to choose it, to delete it and to open it with one read. It is a plain
// value; the object's own footer repeats all of it but the key.
type Info struct {
	Key                string `json:"key"`                      // object key
	Base               int64  `json:"base"`                     // first offset covered
	End                int64  `json:"end"`                      // next offset after the covered range, which is gapless over a manifest even where compaction left holes
	DataBytes          int64  `json:"data_bytes"`               // bytes of record batches
	Size               int64  `json:"size"`                     // bytes of the whole object
	Batches            int64  `json:"batches"`                  // record batches
	Records            int64  `json:"records"`                  // records over all batches
	MaxTimestamp       int64  `json:"max_timestamp"`            // ms since 1970; -1 when there is none
	MaxTimestampOffset int64  `json:"max_timestamp_offset"`     // base offset of the first batch with MaxTimestamp; -1 when there is none
	IndexPos           int64  `json:"index_pos"`                // where the index begins: one read from here to the end gets index and footer
	Created            int64  `json:"created"`                  // ms since 1970
	Compacted          bool   `json:"compacted"`                // written by Compact
	DeleteHorizon      int64  `json:"delete_horizon,omitempty"` // ms since 1970 from which on a compaction may drop a tombstone kept here; 0: it keeps none
}

// Root is the first part of every segment's key.
const Root = "segments/"

// Prefix is what the keys of all segments of p begin with. Two digits of a hash come first, because object stores limit
// requests by prefix.
func Prefix(p topic.Partition) string {
	return fmt.Sprintf("%s%s/%s/%d/", Root, Shard(p), p.Topic, p.Index)
}

// Shard is the hash part of the keys of p: two hexadecimal digits.
func Shard(p topic.Partition) string {
	h := fnv.New32a()
	_, _ = h.Write(binary.BigEndian.AppendUint32(p.Topic[:], uint32(p.Index))) // a hash takes every write
	return fmt.Sprintf("%02x", byte(h.Sum32()))
}

// newKey gives a key that nobody else ever gets: two owners that cut the same range do not meet.
func newKey(p topic.Partition, base int64, epoch int32) string {
	return fmt.Sprintf("%s%020d-%d-%s", Prefix(p), base, epoch, uuid.New())
}

// ParseKey tells whose object a key is, for the key of a segment and of anything else that stands below root in the same
// way; ok is false for foreign keys.
func ParseKey(root, key string) (p topic.Partition, ok bool) {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return p, false
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 || parts[3] == "" {
		return p, false
	}
	id, err := topic.ParseID(parts[1])
	if err != nil {
		return p, false
	}
	index, err := strconv.ParseInt(parts[2], 10, 32)
	if err != nil || index < 0 || parts[2] != strconv.FormatInt(index, 10) {
		return p, false
	}
	p = topic.Partition{Topic: id, Index: int32(index)}
	return p, parts[0] == Shard(p)
}
