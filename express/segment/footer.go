package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"millrace/kafka/topic"
)

// The layout is told in docs/formats/segment.md. In short:
//
//	data | producers | aborted | index | footer: summary, directory | trailer: length, CRC, version, CRC, magic
//
// The trailer never changes over versions, so that every build can say which version it has before it.
const (
	formatVersion = 1
	magic         = 0x4d52_5345_474d_4e54 // "MRSEGMNT"
	trailerBytes  = 24
	summaryBytes  = 108
	entryBytes    = 24 // of the section directory
	maxSections   = 64

	// maxTailBytes bounds what Open reads at once: index, footer and trailer.
	maxTailBytes = maxIndexEntries*indexEntryBytes + summaryBytes + maxSections*entryBytes + trailerBytes
)

// Types of sections. A reader passes over types that it does not know; what must not be passed over raises formatVersion.
const (
	sectionIndex     = 1
	sectionProducers = 2
	sectionAborted   = 3 // only where there are some
)

const flagCompacted = 1

// castagnoli makes the table of CRC-32C; the standard library keeps it after the first call.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// section is one entry of the directory.
type section struct {
	kind   uint32
	crc    uint32 // CRC-32C of the section's bytes
	pos    int64  // in the object
	length int64
}

// footer is what stands behind the sections.
type footer struct {
	partition topic.Partition
	epoch     int32
	info      Info // without Key
	sections  []section
}

// find returns the section of a kind.
func (f *footer) find(kind uint32) (section, bool) {
	for _, s := range f.sections {
		if s.kind == kind {
			return s, true
		}
	}
	return section{}, false
}

// appendTo encodes footer and trailer after dst.
func (f *footer) appendTo(dst []byte) []byte {
	start := len(dst)
	i := f.info
	var flags uint32
	if i.Compacted {
		flags |= flagCompacted
	}
	be := binary.BigEndian
	dst = append(dst, f.partition.Topic[:]...)
	dst = be.AppendUint32(dst, uint32(f.partition.Index))
	dst = be.AppendUint32(dst, uint32(f.epoch))
	for _, v := range []int64{i.Base, i.End, i.DataBytes, i.Batches, i.Records, i.MaxTimestamp, i.MaxTimestampOffset, i.Created, i.DeleteHorizon} {
		dst = be.AppendUint64(dst, uint64(v))
	}
	dst = be.AppendUint32(dst, flags)
	dst = be.AppendUint32(dst, uint32(len(f.sections)))
	// One reserved word keeps the summary open for something small without a new version.
	dst = be.AppendUint32(dst, 0)
	for _, s := range f.sections {
		dst = be.AppendUint32(dst, s.kind)
		dst = be.AppendUint32(dst, s.crc)
		dst = be.AppendUint64(dst, uint64(s.pos))
		dst = be.AppendUint64(dst, uint64(s.length))
	}
	body := dst[start:]
	trailer := len(dst)
	dst = be.AppendUint32(dst, uint32(len(body)))
	dst = be.AppendUint32(dst, checksum(body))
	dst = be.AppendUint32(dst, formatVersion)
	dst = be.AppendUint32(dst, checksum(dst[trailer:]))
	return be.AppendUint64(dst, magic)
}

var (
	errShort     = errors.New("too short for a footer")
	errMagic     = errors.New("not a segment: wrong magic")
	errTrailer   = errors.New("trailer checksum does not match")
	errFooter    = errors.New("footer checksum does not match")
	errLayout    = errors.New("footer contradicts itself")
	errNoSection = errors.New("section is missing")
	errSection   = errors.New("section checksum does not match")
)

// newerError tells which version was found; it wraps ErrNewer.
func newerError(key string, version uint32) error {
	return fmt.Errorf("%w: %s has format %d, this build reads up to %d", ErrNewer, key, version, formatVersion)
}

// decodeFooter reads the end of an object of size bytes, of which tail is the last part, and checks all it can without
// reading more: the sections lie between data and footer, and do not overlap.
func decodeFooter(key string, tail []byte, size int64) (*footer, error) {
	if len(tail) < trailerBytes {
		return nil, errShort
	}
	be := binary.BigEndian
	t := tail[len(tail)-trailerBytes:]
	if be.Uint64(t[16:]) != magic {
		return nil, errMagic
	}
	if be.Uint32(t[12:]) != checksum(t[:12]) {
		return nil, errTrailer
	}
	if v := be.Uint32(t[8:]); v != formatVersion {
		if v > formatVersion {
			return nil, newerError(key, v)
		}
		return nil, fmt.Errorf("format version %d was never released", v)
	}
	length := int64(be.Uint32(t))
	if length < summaryBytes || length > int64(len(tail)-trailerBytes) {
		return nil, errShort
	}
	body := tail[int64(len(tail)-trailerBytes)-length : len(tail)-trailerBytes]
	if be.Uint32(t[4:]) != checksum(body) {
		return nil, errFooter
	}
	return decodeBody(body, size)
}

// decodeBody reads summary and directory; body is at least summaryBytes long and its checksum is right.
func decodeBody(body []byte, size int64) (*footer, error) {
	be := binary.BigEndian
	f := &footer{epoch: int32(be.Uint32(body[20:]))}
	copy(f.partition.Topic[:], body)
	f.partition.Index = int32(be.Uint32(body[16:]))
	i := &f.info
	for n, v := range []*int64{&i.Base, &i.End, &i.DataBytes, &i.Batches, &i.Records, &i.MaxTimestamp, &i.MaxTimestampOffset, &i.Created, &i.DeleteHorizon} {
		*v = int64(be.Uint64(body[24+8*n:]))
	}
	flags, sections := be.Uint32(body[96:]), int(be.Uint32(body[100:]))
	i.Compacted = flags&flagCompacted != 0
	i.Size = size
	if sections > maxSections || len(body) != summaryBytes+sections*entryBytes {
		return nil, errLayout
	}
	if i.Base < 0 || i.End <= i.Base || i.DataBytes < 0 || i.Batches < 0 || i.Records < 0 || (i.Batches == 0) != (i.DataBytes == 0) {
		return nil, errLayout
	}
	// Sections stand in the order of the directory, gapless from the end of the data to the footer.
	pos := i.DataBytes
	for n := range sections {
		e := body[summaryBytes+n*entryBytes:]
		s := section{kind: be.Uint32(e), crc: be.Uint32(e[4:]), pos: int64(be.Uint64(e[8:])), length: int64(be.Uint64(e[16:]))}
		if s.pos != pos || s.length < 0 || s.length > size-pos {
			return nil, errLayout
		}
		pos += s.length
		f.sections = append(f.sections, s)
	}
	if pos != size-trailerBytes-int64(len(body)) {
		return nil, errLayout
	}
	x, ok := f.find(sectionIndex)
	if !ok {
		return nil, errNoSection
	}
	i.IndexPos = x.pos
	return f, nil
}
