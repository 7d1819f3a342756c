package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// batch is a record batch under construction: a right one, until a test changes it.
type batch struct {
	kmsg.RecordBatch
	crc    func(uint32) uint32 // nil: the right one
	length func(int32) int32   // nil: the right one
}

// good returns a batch of n records with keys, uncompressed.
func good(n int) *batch {
	var b batch
	now := time.Now().UnixMilli()
	b.Magic = 2
	b.PartitionLeaderEpoch = -1
	b.LastOffsetDelta, b.NumRecords = int32(n-1), int32(n)
	b.FirstTimestamp, b.MaxTimestamp = now, now
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = -1, -1, -1
	for i := range n {
		b.Records = append(b.Records, oneRecord(int32(i), []byte("key"), []byte("value"))...)
	}
	return &b
}

// oneRecord encodes a record.
func oneRecord(delta int32, key, value []byte) []byte {
	r := kmsg.Record{OffsetDelta: delta, Key: key, Value: value}
	r.Length = int32(len(r.AppendTo(nil)) - 1)
	return r.AppendTo(nil)
}

// with changes the batch.
func (b *batch) with(change func(*batch)) *batch {
	change(b)
	return b
}

// encode gives the bytes; size and checksum are right unless the test has changed them.
func (b *batch) encode() []byte {
	encoded := b.RecordBatch.AppendTo(nil)
	// kmsg writes records as bytes with their length; on the wire they stand without it.
	const headerBytes = 61
	encoded = append(encoded[:headerBytes:headerBytes], b.Records...)
	length := int32(len(encoded) - 12)
	if b.length != nil {
		length = b.length(length)
	}
	binary.BigEndian.PutUint32(encoded[8:], uint32(length))
	crc := crc32.Checksum(encoded[21:], crc32.MakeTable(crc32.Castagnoli))
	if b.crc != nil {
		crc = b.crc(crc)
	}
	binary.BigEndian.PutUint32(encoded[17:], crc)
	return encoded
}

// messageSet is one message of an older format.
func messageSet(magic int8) []byte {
	value := []byte("old")
	rest := []byte{byte(magic), 0}
	if magic == 1 {
		rest = binary.BigEndian.AppendUint64(rest, uint64(time.Now().UnixMilli()))
	}
	rest = append(rest, 0xff, 0xff, 0xff, 0xff) // no key
	rest = binary.BigEndian.AppendUint32(rest, uint32(len(value)))
	rest = append(rest, value...)
	message := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(rest))
	message = append(message, rest...)
	set := binary.BigEndian.AppendUint32(make([]byte, 8), uint32(len(message)))
	return append(set, message...)
}

// codecs are the codecs of the protocol; each compresses with the library that the test names, not with the broker's code.
func codecs(t testing.TB) map[record.Codec]func([]byte) []byte {
	return map[record.Codec]func([]byte) []byte{
		record.Gzip: func(plain []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			closeAfter(t, w, plain)
			return out.Bytes()
		},
		record.Snappy: func(plain []byte) []byte { return s2.EncodeSnappyBest(nil, plain) },
		record.LZ4: func(plain []byte) []byte {
			var out bytes.Buffer
			w := lz4.NewWriter(&out)
			if err := w.Apply(lz4.ChecksumOption(false), lz4.BlockSizeOption(lz4.Block4Mb)); err != nil {
				t.Fatal(err)
			}
			closeAfter(t, w, plain)
			return out.Bytes()
		},
		record.Zstd: func(plain []byte) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll(plain, nil)
		},
	}
}

func closeAfter(t testing.TB, w interface {
	Write([]byte) (int, error)
	Close() error
}, plain []byte) {
	t.Helper()
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// compressed makes the records of a batch the payload, which need not fit the codec.
func (b *batch) compressed(codec record.Codec, payload []byte) *batch {
	b.Attributes = b.Attributes&^7 | int16(codec)
	b.Records = payload
	return b
}
