package tail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"millrace/express/segment"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// Root is the first part of every tail's key.
const Root = "tails/"

// Errors, for errors.Is.
var (
	// ErrCorrupt: the object is not what a Writer wrote, or not of the partition that it is wanted for.
	ErrCorrupt = errors.New("tail: corrupt")
	// ErrNewer: the object has a format that this build does not know.
	ErrNewer = errors.New("tail: written by a newer version")
	// ErrOrder refuses a batch that does not follow the one before, or is damaged.
	ErrOrder = errors.New("tail: batch does not follow")
)

// The layout; docs/formats/tail.md describes every field. All numbers are big-endian.
const (
	formatVersion = 1
	headerMagic   = "MLRCtail"
	headerBytes   = 64
	frameBytes    = 8 // length and checksum before the batches of a run
	footerMagic   = "MLRCtend"
	footerBytes   = 40

	runBytes = 1 << 20 // a run takes more only where one batch is larger
	maxRun   = 1 << 30 // as an entry of the log
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Key says where a tail lies and what it is for.
type Key struct {
	Partition topic.Partition
	Epoch     int32 // leader epoch of the owner that wrote it, which ends with the release
	nonce     string
}

// NewKey gives a key that nobody else ever gets.
func NewKey(p topic.Partition, epoch int32) Key {
	return Key{Partition: p, Epoch: epoch, nonce: uuid.New().String()}
}

// String is the object key.
func (k Key) String() string {
	return fmt.Sprintf("%s%s/%s/%d/%010d-%s", Root, segment.Shard(k.Partition), k.Partition.Topic, k.Partition.Index, k.Epoch, k.nonce)
}

// ParseKey is the inverse of String; false for any other text.
func ParseKey(key string) (k Key, ok bool) {
	p, ok := segment.ParseKey(Root, key)
	if !ok {
		return k, false
	}
	epoch, nonce, ok := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], "-")
	if !ok || nonce == "" {
		return k, false
	}
	n, err := strconv.ParseInt(epoch, 10, 32)
	if err != nil {
		return k, false
	}
	k = Key{Partition: p, Epoch: int32(n), nonce: nonce}
	return k, k.String() == key
}

// Info is what a tail holds.
type Info struct {
	Partition topic.Partition
	Epoch     int32 // as in Key
	Base, End int64 // offsets in [Base, End); Base is that of the first batch
}

func (i *Info) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, headerMagic)
	binary.BigEndian.PutUint16(b[8:], formatVersion)
	binary.BigEndian.PutUint16(b[10:], headerBytes)
	copy(b[12:28], i.Partition.Topic[:])
	binary.BigEndian.PutUint32(b[28:], uint32(i.Partition.Index))
	binary.BigEndian.PutUint32(b[32:], uint32(i.Epoch))
	binary.BigEndian.PutUint64(b[36:], uint64(i.Base))
	binary.BigEndian.PutUint64(b[44:], uint64(i.End))
	sign(b)
	return b
}

func decodeHeader(b []byte) (i Info, err error) {
	switch {
	case len(b) < headerBytes || string(b[:8]) != headerMagic:
		return i, fmt.Errorf("%w: no header", ErrCorrupt)
	case !signed(b[:headerBytes]):
		return i, fmt.Errorf("%w: checksum of the header", ErrCorrupt)
	case binary.BigEndian.Uint16(b[8:]) != formatVersion || binary.BigEndian.Uint16(b[10:]) != headerBytes:
		return i, fmt.Errorf("%w: format %d", ErrNewer, binary.BigEndian.Uint16(b[8:]))
	}
	copy(i.Partition.Topic[:], b[12:28])
	i.Partition.Index = int32(binary.BigEndian.Uint32(b[28:]))
	i.Epoch = int32(binary.BigEndian.Uint32(b[32:]))
	i.Base = int64(binary.BigEndian.Uint64(b[36:]))
	i.End = int64(binary.BigEndian.Uint64(b[44:]))
	if i.Partition.Index < 0 || i.Epoch < 0 || i.Base < 0 || i.End <= i.Base {
		return i, fmt.Errorf("%w: header of partition %d, epoch %d, offsets %d to %d", ErrCorrupt, i.Partition.Index, i.Epoch, i.Base, i.End)
	}
	return i, nil
}

// footer ends an object; it repeats what the runs add up to.
type footer struct {
	runs, bytes int64
	end         int64
}

func (f *footer) encode() []byte {
	b := make([]byte, footerBytes)
	copy(b, footerMagic)
	binary.BigEndian.PutUint64(b[8:], uint64(f.runs))
	binary.BigEndian.PutUint64(b[16:], uint64(f.bytes))
	binary.BigEndian.PutUint64(b[24:], uint64(f.end))
	sign(b)
	return b
}

// check compares a footer with what was read before it.
func (f *footer) check(b []byte) error {
	switch {
	case len(b) != footerBytes || string(b[:8]) != footerMagic || !signed(b):
		return fmt.Errorf("%w: no footer", ErrCorrupt)
	case string(b) != string(f.encode()):
		return fmt.Errorf("%w: the footer does not fit the runs", ErrCorrupt)
	}
	return nil
}

// sign puts the checksum of b into its last four bytes.
func sign(b []byte) {
	n := len(b) - 4
	binary.BigEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
}

func signed(b []byte) bool {
	n := len(b) - 4
	return crc32.Checksum(b[:n], castagnoli) == binary.BigEndian.Uint32(b[n:])
}

// order keeps T2 over the batches of a tail.
type order struct {
	next  int64
	epoch int32 // of the batch before; -1: none yet
	limit int32 // the highest epoch that may come
}

// take checks that b comes next and is whole.
func (o *order) take(b record.Batch) error {
	switch {
	case b.BaseOffset() != o.next || b.LastOffsetDelta() < 0:
		return fmt.Errorf("%w: offset %d, expected %d", ErrOrder, b.BaseOffset(), o.next)
	case b.PartitionLeaderEpoch() < o.epoch || b.PartitionLeaderEpoch() > o.limit:
		return fmt.Errorf("%w: leader epoch %d at offset %d, after %d", ErrOrder, b.PartitionLeaderEpoch(), b.BaseOffset(), o.epoch)
	case b.ComputeCRC() != b.CRC():
		return fmt.Errorf("%w: checksum of the batch at offset %d", ErrOrder, b.BaseOffset())
	}
	o.next, o.epoch = b.LastOffset()+1, b.PartitionLeaderEpoch()
	return nil
}
