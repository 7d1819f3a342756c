package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"millrace/kafka/topic"
)

// The layout of a file and of a commit group; docs/formats/wal.md describes every field. All numbers are big-endian.
const (
	formatVersion    = 1 // of groups and footers, and of files that are not encrypted
	sealedVersion    = 2 // of files whose runs are encrypted
	fileMagic        = "MLRCWAL\n"
	groupMagic       = "MLRCgrp\n"
	fileHeaderBytes  = 64
	groupHeaderBytes = 64
	rowBytes         = 56
	minBatchBytes    = 61 // a Kafka record batch without records
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is wrapped by all that parsing finds wrong. Whether damage is a torn write or corruption depends on what
// follows it, so that only recovery turns it into a CorruptionError.
var errDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// fileHeader begins a file.
type fileHeader struct {
	broker      int32
	incarnation uint64
	seq         uint64 // of the file
	previous    uint64 // the file that got its groups before this one; 0: none that is known
	salt        uint64 // goes into every CRC of the file, so that no bytes from elsewhere can pass for a part of it
	key         uint32 // id of the data key that the runs are encrypted with; 0: they are not
	check       uint64 // with a key: what file.proof gives
}

func (h *fileHeader) encode() []byte {
	b := make([]byte, fileHeaderBytes)
	copy(b, fileMagic)
	binary.BigEndian.PutUint16(b[8:], formatVersion)
	if h.key != 0 {
		binary.BigEndian.PutUint16(b[8:], sealedVersion)
	}
	binary.BigEndian.PutUint16(b[10:], fileHeaderBytes)
	binary.BigEndian.PutUint32(b[12:], uint32(h.broker))
	binary.BigEndian.PutUint64(b[16:], h.incarnation)
	binary.BigEndian.PutUint64(b[24:], h.seq)
	binary.BigEndian.PutUint64(b[32:], h.previous)
	binary.BigEndian.PutUint64(b[40:], h.salt)
	binary.BigEndian.PutUint32(b[48:], h.key)
	binary.BigEndian.PutUint64(b[52:], h.check)
	binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// identity is all of the header that makes a file another one than any other.
func (h *fileHeader) identity() []byte {
	bare := *h
	bare.check = 0
	return bare.encode()[:52]
}

// decodeFileHeader returns ErrNewer or an error that wraps errDamaged.
func decodeFileHeader(b []byte) (h fileHeader, err error) {
	if len(b) < fileHeaderBytes || string(b[:8]) != fileMagic {
		return h, damaged("no file header")
	}
	version := binary.BigEndian.Uint16(b[8:])
	if version > sealedVersion {
		return h, fmt.Errorf("%w: format %d, this version reads up to %d", ErrNewer, version, sealedVersion)
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]) {
		return h, damaged("file header checksum")
	}
	h.broker = int32(binary.BigEndian.Uint32(b[12:]))
	h.incarnation = binary.BigEndian.Uint64(b[16:])
	h.seq = binary.BigEndian.Uint64(b[24:])
	h.previous = binary.BigEndian.Uint64(b[32:])
	h.salt = binary.BigEndian.Uint64(b[40:])
	if version == sealedVersion {
		h.key = binary.BigEndian.Uint32(b[48:])
		h.check = binary.BigEndian.Uint64(b[52:])
		if h.key == 0 {
			return h, damaged("encrypted file without a key")
		}
	}
	return h, nil
}

// checksum is CRC-32C of the file's salt and b.
func (h *fileHeader) checksum(b []byte) uint32 {
	var salt [8]byte
	binary.BigEndian.PutUint64(salt[:], h.salt)
	return crc32.Update(crc32.Checksum(salt[:], castagnoli), castagnoli, b)
}

// groupHeader is the fixed part of a group's header; the rows follow it, then the payload.
type groupHeader struct {
	seq          uint64 // of the group; counts on over files
	chain        uint32 // crc of the group before it in the file; of the file's first group 0
	rows         int
	payloadBytes int64
	time         int64 // of the append, ms
	crc          uint32
}

func (g *groupHeader) headerBytes() int64 { return groupHeaderBytes + int64(g.rows)*rowBytes }
func (g *groupHeader) bytes() int64       { return g.headerBytes() + g.payloadBytes }

// seal writes the fixed part into the front of b, whose rest holds the encoded rows, and sets g.crc.
func (g *groupHeader) seal(f *fileHeader, b []byte) {
	copy(b, groupMagic)
	binary.BigEndian.PutUint16(b[8:], formatVersion)
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint32(b[12:], uint32(g.rows))
	binary.BigEndian.PutUint64(b[16:], g.seq)
	binary.BigEndian.PutUint64(b[24:], uint64(g.payloadBytes))
	binary.BigEndian.PutUint64(b[32:], uint64(g.time))
	binary.BigEndian.PutUint32(b[40:], g.chain)
	binary.BigEndian.PutUint32(b[44:], f.checksum(b[groupHeaderBytes:]))
	clear(b[48:60])
	g.crc = f.checksum(b[:60])
	binary.BigEndian.PutUint32(b[60:], g.crc)
}

// decodeGroupHeader parses the fixed part. Its own checksum makes it cheap to look for headers in arbitrary bytes.
func decodeGroupHeader(f *fileHeader, b []byte) (g groupHeader, err error) {
	if len(b) < groupHeaderBytes || string(b[:8]) != groupMagic {
		return g, damaged("no group header")
	}
	g.crc = binary.BigEndian.Uint32(b[60:])
	if f.checksum(b[:60]) != g.crc {
		return g, damaged("group header checksum")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v > formatVersion {
		return g, fmt.Errorf("%w: group of format %d, this version reads up to %d", ErrNewer, v, formatVersion)
	}
	g.rows = int(binary.BigEndian.Uint32(b[12:]))
	g.seq = binary.BigEndian.Uint64(b[16:])
	g.payloadBytes = int64(binary.BigEndian.Uint64(b[24:]))
	g.time = int64(binary.BigEndian.Uint64(b[32:]))
	g.chain = binary.BigEndian.Uint32(b[40:])
	if g.rows == 0 || g.payloadBytes < int64(g.rows)*minBatchBytes || g.payloadBytes > 1<<40 {
		return g, damaged("group of %d rows and %d bytes", g.rows, g.payloadBytes)
	}
	return g, nil
}

// row describes one contiguous run of batches of one partition in a group.
type row struct {
	partition    topic.Partition
	epoch        int32
	base, last   int64
	maxTimestamp int64
	bytes        int
	batches      int
}

func (r *row) appendTo(b []byte) []byte {
	b = append(b, r.partition.Topic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition.Index))
	b = binary.BigEndian.AppendUint32(b, uint32(r.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(r.base))
	b = binary.BigEndian.AppendUint64(b, uint64(r.last))
	b = binary.BigEndian.AppendUint64(b, uint64(r.maxTimestamp))
	b = binary.BigEndian.AppendUint32(b, uint32(r.bytes))
	return binary.BigEndian.AppendUint32(b, uint32(r.batches))
}

// decodeRows parses the rows of a group whose whole header is b. overhead is what each run takes beside its bytes.
func decodeRows(f *fileHeader, g *groupHeader, b []byte, overhead int) ([]row, error) {
	if f.checksum(b[groupHeaderBytes:]) != binary.BigEndian.Uint32(b[44:]) {
		return nil, damaged("group rows checksum")
	}
	rows := make([]row, g.rows)
	payload := int64(0)
	for i := range rows {
		r, at := &rows[i], b[groupHeaderBytes+i*rowBytes:]
		r.partition = topic.Partition{Topic: topic.ID(at[:16]), Index: int32(binary.BigEndian.Uint32(at[16:]))}
		r.epoch = int32(binary.BigEndian.Uint32(at[20:]))
		r.base = int64(binary.BigEndian.Uint64(at[24:]))
		r.last = int64(binary.BigEndian.Uint64(at[32:]))
		r.maxTimestamp = int64(binary.BigEndian.Uint64(at[40:]))
		r.bytes = int(binary.BigEndian.Uint32(at[48:]))
		r.batches = int(binary.BigEndian.Uint32(at[52:]))
		if r.base < 0 || r.last < r.base || r.batches < 1 || r.bytes < r.batches*minBatchBytes || r.bytes > maxEntryBytes {
			return nil, damaged("group row %d of %s", i, r.partition)
		}
		payload += int64(r.bytes + overhead)
	}
	if payload != g.payloadBytes {
		return nil, damaged("group of %d bytes has rows of %d", g.payloadBytes, payload)
	}
	return rows, nil
}

// zeroes says whether b holds nothing but zero bytes.
func zeroes(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
