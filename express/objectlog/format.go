package objectlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"millrace/express/wal"
)

// The layout of objects; docs/formats/objectlog.md describes every field. All numbers are big-endian.
const (
	formatVersion = 1
	groupMagic    = "MLRCobj\n"
	sealMagic     = "MLRCseal"
	headerBytes   = 64 // of a group's object; a seal is nothing else
	maxGroupBytes = 1<<31 - 1
)

// isSealSize tells a seal by the length of its object: no group is as short.
func isSealSize(bytes int64) bool { return bytes <= headerBytes }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHeader appends the first 64 bytes of an object without what its kind adds, and without the checksum.
func appendHeader(b []byte, magic string, id ID, seq uint64) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = binary.BigEndian.AppendUint16(b, headerBytes)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Broker))
	b = binary.BigEndian.AppendUint64(b, id.Incarnation)
	b = binary.BigEndian.AppendUint64(b, seq)
	return append(b, make([]byte, headerBytes-32)...)
}

func putChecksum(b []byte) []byte {
	binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// encodeHeader returns what stands before a group of so many bytes in its object.
func encodeHeader(id ID, seq uint64, groupBytes int64) []byte {
	b := appendHeader(make([]byte, 0, headerBytes), groupMagic, id, seq)
	binary.BigEndian.PutUint64(b[32:], uint64(groupBytes))
	return putChecksum(b)
}

// encodeSeal returns the object that seals a log at seq.
func encodeSeal(id ID, seq uint64, by ID) []byte {
	b := appendHeader(make([]byte, 0, headerBytes), sealMagic, id, seq)
	binary.BigEndian.PutUint32(b[32:], uint32(by.Broker))
	binary.BigEndian.PutUint64(b[40:], by.Incarnation)
	return putChecksum(b)
}

// decodeHeader checks the first bytes of object seq of a log. Errors: ErrCorrupt, ErrNewer.
func decodeHeader(b []byte, id ID, seq uint64) (isSeal bool, err error) {
	if len(b) < headerBytes {
		return false, fmt.Errorf("%w: object of %d bytes", ErrCorrupt, len(b))
	}
	magic := string(b[:8])
	if magic != groupMagic && magic != sealMagic {
		return false, fmt.Errorf("%w: magic %q", ErrCorrupt, magic)
	}
	if v := binary.BigEndian.Uint16(b[8:]); v > formatVersion {
		return false, fmt.Errorf("%w: format %d, this build reads up to %d", ErrNewer, v, formatVersion)
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]) {
		return false, fmt.Errorf("%w: header checksum", ErrCorrupt)
	}
	of := ID{Broker: int32(binary.BigEndian.Uint32(b[12:])), Incarnation: binary.BigEndian.Uint64(b[16:])}
	if at := binary.BigEndian.Uint64(b[24:]); of != id || at != seq {
		return false, fmt.Errorf("%w: object %d of log %s stands in the place of %d of %s", ErrCorrupt, at, of, seq, id)
	}
	return magic == sealMagic, nil
}

// sealedBy returns who made a seal, whose header was checked before.
func sealedBy(b []byte) ID {
	return ID{Broker: int32(binary.BigEndian.Uint32(b[32:])), Incarnation: binary.BigEndian.Uint64(b[40:])}
}

// decodeGroup checks every byte of the object of group seq and returns its runs, which refer to b. Errors: ErrCorrupt, ErrNewer.
func decodeGroup(b []byte, id ID, seq uint64) ([]Run, error) {
	isSeal, err := decodeHeader(b, id, seq)
	if err != nil {
		return nil, err
	}
	if isSeal {
		return nil, fmt.Errorf("%w: a seal where a group must be", ErrCorrupt)
	}
	if length := binary.BigEndian.Uint64(b[32:]); length != uint64(len(b)-headerBytes) {
		return nil, fmt.Errorf("%w: %d bytes of a group of %d", ErrCorrupt, len(b)-headerBytes, length)
	}
	at, runs, err := wal.DecodeGroup(b[headerBytes:])
	switch {
	case err != nil:
		return nil, kindOf(err)
	case at != seq:
		return nil, fmt.Errorf("%w: group %d in object %d", ErrCorrupt, at, seq)
	}
	return runs, nil
}
