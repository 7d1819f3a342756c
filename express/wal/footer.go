package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"millrace/base/disk"
	"millrace/kafka/topic"
)

// A sealed file ends with sections, the table of the sections and the trailer.
const (
	trailerMagic      = "MLRCend\n"
	trailerBytes      = 64
	sectionEntryBytes = 24
	flagOptional      = 1 // a reader that does not know the section skips it

	sectionStreams   = 1 // the directory: what the file holds of each stream, and where the blocks of the others lie
	sectionRuns      = 2 // per stream: its runs
	sectionProducers = 3 // per stream: a producer snapshot

	minStreamBytes = 112 // of a stream in the directory
	maxTailBytes   = 64 << 10
)

// footer is what a sealed file says about itself.
type footer struct {
	dataEnd            int64 // where the groups end
	firstGroup         uint64
	lastGroup          uint64
	extents            []*extent
	directory, runs    []byte // section bodies, while encoding
	producers, trailer []byte
}

// encodeFooter builds the sections for a file whose groups end at dataEnd. Extents without an entry in producers have
// no idempotent batches. The blocks of the extents are set in the encoded form only; commitFooter sets them in memory
// when the footer is durable.
func encodeFooter(h *fileHeader, f *footer, snapshots [][]byte) (blocks [][2]block) {
	blocks = make([][2]block, len(f.extents))
	for i, x := range f.extents {
		start := len(f.runs)
		f.runs = appendRuns(f.runs, x.runs)
		blocks[i][0] = blockOf(f.runs[start:], f.dataEnd+int64(start))
	}
	runsEnd := f.dataEnd + int64(len(f.runs))
	for i := range f.extents {
		start := len(f.producers)
		f.producers = append(f.producers, snapshots[i]...)
		blocks[i][1] = blockOf(f.producers[start:], runsEnd+int64(start))
	}
	f.directory = binary.BigEndian.AppendUint32(nil, uint32(len(f.extents)))
	for i, x := range f.extents {
		f.directory = x.appendTo(f.directory, blocks[i])
	}
	at := f.dataEnd
	var table []byte
	for _, s := range []struct {
		kind uint16
		body []byte
	}{{sectionRuns, f.runs}, {sectionProducers, f.producers}, {sectionStreams, f.directory}} {
		table = binary.BigEndian.AppendUint16(table, s.kind)
		table = binary.BigEndian.AppendUint16(table, 0)
		table = binary.BigEndian.AppendUint32(table, crc32.Checksum(s.body, castagnoli))
		table = binary.BigEndian.AppendUint64(table, uint64(at))
		table = binary.BigEndian.AppendUint64(table, uint64(len(s.body)))
		at += int64(len(s.body))
	}
	f.trailer = append(table, make([]byte, trailerBytes)...)
	t := f.trailer[len(table):]
	copy(t, trailerMagic)
	binary.BigEndian.PutUint16(t[8:], formatVersion)
	binary.BigEndian.PutUint32(t[12:], uint32(len(table)/sectionEntryBytes))
	binary.BigEndian.PutUint64(t[16:], uint64(f.dataEnd))
	binary.BigEndian.PutUint64(t[24:], f.firstGroup)
	binary.BigEndian.PutUint64(t[32:], f.lastGroup)
	binary.BigEndian.PutUint32(t[40:], crc32.Checksum(table, castagnoli))
	binary.BigEndian.PutUint32(t[60:], h.checksum(t[:60]))
	return blocks
}

func blockOf(b []byte, pos int64) block {
	return block{pos: pos, bytes: uint32(len(b)), crc: crc32.Checksum(b, castagnoli)}
}

// appendTo encodes an extent for the directory.
func (x *extent) appendTo(b []byte, blocks [2]block) []byte {
	p := x.stream.partition
	b = append(b, p.Topic[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Index))
	for _, v := range []int64{x.Base, x.End, x.Bytes, x.Pieces, x.Batches, x.MaxTimestamp, x.LastAppend} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	for _, at := range blocks {
		b = binary.BigEndian.AppendUint64(b, uint64(at.pos))
		b = binary.BigEndian.AppendUint32(b, at.bytes)
		b = binary.BigEndian.AppendUint32(b, at.crc)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(x.epochs)))
	for _, e := range x.epochs {
		b = binary.BigEndian.AppendUint32(b, uint32(e.Epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Start))
	}
	return b
}

// readFooter returns the footer of a sealed file, with extents that have no stream yet but a partition each, or an
// error that wraps errDamaged when the file is not sealed, which includes that sealing it did not come to its end.
func readFooter(f io.ReaderAt, h *fileHeader, size int64) (*footer, []extentOf, error) {
	tail := make([]byte, min(size-fileHeaderBytes, maxTailBytes))
	if len(tail) < trailerBytes {
		return nil, nil, damaged("no trailer")
	}
	if err := readFull(f, tail, size-int64(len(tail))); err != nil {
		return nil, nil, err
	}
	t := tail[len(tail)-trailerBytes:]
	if string(t[:8]) != trailerMagic || h.checksum(t[:60]) != binary.BigEndian.Uint32(t[60:]) {
		return nil, nil, damaged("no trailer")
	}
	if v := binary.BigEndian.Uint16(t[8:]); v > formatVersion {
		return nil, nil, fmt.Errorf("%w: footer of format %d, this version reads up to %d", ErrNewer, v, formatVersion)
	}
	ft := &footer{
		dataEnd:    int64(binary.BigEndian.Uint64(t[16:])),
		firstGroup: binary.BigEndian.Uint64(t[24:]),
		lastGroup:  binary.BigEndian.Uint64(t[32:]),
	}
	tableBytes := int64(binary.BigEndian.Uint32(t[12:])) * sectionEntryBytes
	tableAt := size - trailerBytes - tableBytes
	if ft.dataEnd < fileHeaderBytes || tableAt < ft.dataEnd || ft.firstGroup == 0 || ft.lastGroup < ft.firstGroup {
		return nil, nil, damaged("trailer fields")
	}
	table, err := sectionBytes(f, tail, size, block{tableAt, uint32(tableBytes), binary.BigEndian.Uint32(t[40:])})
	if err != nil {
		return nil, nil, fmt.Errorf("section table: %w", err)
	}
	at, err := findDirectory(table, ft.dataEnd, tableAt)
	if err != nil {
		return nil, nil, err
	}
	body, err := sectionBytes(f, tail, size, at)
	if err != nil {
		return nil, nil, fmt.Errorf("directory: %w", err)
	}
	parts, err := decodeDirectory(body, ft.dataEnd, tableAt)
	return ft, parts, err
}

// findDirectory returns where the directory lies.
func findDirectory(table []byte, dataEnd, tableAt int64) (directory block, err error) {
	for d := (decoder{b: table}); len(d.b) > 0; {
		word, crc := d.uint32(), d.uint32()
		kind, flags := uint16(word>>16), uint16(word)
		pos, length := d.int64(), d.int64()
		if pos < dataEnd || length < 0 || length > tableAt-pos || length > 1<<32-1 {
			return directory, damaged("place of section %d", kind)
		}
		switch {
		case kind == sectionStreams:
			directory = block{pos: pos, bytes: uint32(length), crc: crc}
		case kind == sectionRuns, kind == sectionProducers:
			// Read in pieces, by the blocks of the directory.
		case flags&flagOptional == 0:
			return directory, fmt.Errorf("%w: footer section %d is not known here", ErrNewer, kind)
		}
	}
	if directory.pos == 0 {
		return directory, damaged("no directory")
	}
	return directory, nil
}

// extentOf is an extent of a partition whose stream is not known yet.
type extentOf struct {
	partition topic.Partition
	extent    *extent
}

func decodeDirectory(body []byte, dataEnd, sectionsEnd int64) ([]extentOf, error) {
	d := decoder{b: body}
	count := int(d.uint32())
	if count > len(body)/minStreamBytes {
		return nil, damaged("directory of %d streams in %d bytes", count, len(body))
	}
	parts := make([]extentOf, count)
	for i := range parts {
		x := &extent{}
		parts[i] = extentOf{d.partition(), x}
		x.Base, x.End, x.Bytes, x.Pieces = d.int64(), d.int64(), d.int64(), d.int64()
		x.Batches, x.MaxTimestamp, x.LastAppend = d.int64(), d.int64(), d.int64()
		x.runsAt, x.producersAt = d.block(), d.block()
		epochs := int(d.uint32())
		if epochs > len(d.b)/12 {
			return nil, damaged("directory epochs")
		}
		for range epochs {
			x.epochs = append(x.epochs, EpochStart{Epoch: int32(d.uint32()), Start: d.int64()})
		}
		if d.failed || x.Base < 0 || x.End <= x.Base || x.Bytes < 0 ||
			!x.runsAt.within(dataEnd, sectionsEnd) || !x.producersAt.within(dataEnd, sectionsEnd) {
			return nil, damaged("directory stream %d", i)
		}
	}
	if d.failed || len(d.b) > 0 {
		return nil, damaged("directory of %d bytes", len(body))
	}
	return parts, nil
}

func (b block) within(from, to int64) bool { return b.pos >= from && b.pos <= to-int64(b.bytes) }

// sectionBytes reads a block, from tail when that holds it, and checks it. tail is the end of the file of size bytes.
func sectionBytes(f io.ReaderAt, tail []byte, size int64, at block) ([]byte, error) {
	var b []byte
	if from := at.pos - (size - int64(len(tail))); from >= 0 {
		b = tail[from : from+int64(at.bytes)]
	} else {
		b = make([]byte, at.bytes)
		if err := readFull(f, b, at.pos); err != nil {
			return nil, err
		}
	}
	if crc32.Checksum(b, castagnoli) != at.crc {
		return nil, damaged("checksum of %d bytes at %d", at.bytes, at.pos)
	}
	return b, nil
}

// read reads a block and checks it.
func (b block) read(f io.ReaderAt) ([]byte, error) {
	return sectionBytes(f, nil, b.pos+int64(b.bytes), b)
}

// readFull reads all of b or fails.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if n == len(b) || err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: file ends at %d", errDamaged, at+int64(n))
	}
	return err
}

// writeFooter makes a file sealed. The trailer follows only when the sections are durable, so that a file with a valid
// trailer has valid sections, whatever a crash does.
func writeFooter(f disk.File, ft *footer) error {
	bufs := [][]byte{ft.runs, ft.producers, ft.directory}
	n, err := f.WritevAt(bufs, ft.dataEnd)
	if err != nil {
		return err
	}
	if err := f.Datasync(); err != nil {
		return err
	}
	at := ft.dataEnd + int64(n)
	if _, err := f.WriteAt(ft.trailer, at); err != nil {
		return err
	}
	if err := f.Truncate(at + int64(len(ft.trailer))); err != nil {
		return err
	}
	return f.Sync()
}
