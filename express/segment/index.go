package segment

import (
	"encoding/binary"
	"errors"
	"sort"
)

const (
	defaultIndexBytes = 4096
	// maxIndexEntries bounds the index of one segment in the object and in memory (192 KiB). When a segment has more
	// ranges, neighbours are joined: a large segment has a coarser index, and a reader walks a few more batch headers.
	maxIndexEntries = 8192
	indexEntryBytes = 24
)

// indexEntry describes a range of whole batches, up to where the next entry begins.
type indexEntry struct {
	offset       int64 // base offset of the first batch
	pos          int64 // where that batch begins in the data
	maxTimestamp int64 // largest batch timestamp of the range
}

// index is ordered by offset, and so by pos.
type index []indexEntry

// indexBuilder gathers the index while batches are written.
type indexBuilder struct {
	entries  index
	interval int64 // data bytes that a range has at least
}

// add takes the next batch.
func (b *indexBuilder) add(offset, pos, maxTimestamp int64) {
	if n := len(b.entries); n > 0 && pos-b.entries[n-1].pos < b.interval {
		last := &b.entries[n-1]
		last.maxTimestamp = max(last.maxTimestamp, maxTimestamp)
		return
	}
	if len(b.entries) == maxIndexEntries {
		b.thin(pos)
	}
	b.entries = append(b.entries, indexEntry{offset, pos, maxTimestamp})
}

// thin joins each two neighbours. The new interval goes by what ranges really have, which is much more than the old one
// where batches are large: otherwise only the front of the segment would lose, again and again.
func (b *indexBuilder) thin(pos int64) {
	joined := b.entries[:0]
	for i := 0; i < len(b.entries); i += 2 {
		e := b.entries[i]
		if i+1 < len(b.entries) {
			e.maxTimestamp = max(e.maxTimestamp, b.entries[i+1].maxTimestamp)
		}
		joined = append(joined, e)
	}
	b.entries = joined
	b.interval = max(2*b.interval, pos/int64(len(joined)))
}

// appendTo encodes the index after dst.
func (x index) appendTo(dst []byte) []byte {
	for _, e := range x {
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.offset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.pos))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.maxTimestamp))
	}
	return dst
}

var (
	errIndexSize  = errors.New("index of an odd size")
	errIndexOrder = errors.New("index out of order")
)

// decodeIndex reads what appendTo wrote and checks that it fits the segment it stands in.
func decodeIndex(b []byte, info Info) (index, error) {
	n := len(b) / indexEntryBytes
	if n*indexEntryBytes != len(b) || n > maxIndexEntries || (n == 0) != (info.DataBytes == 0) {
		return nil, errIndexSize
	}
	x := make(index, n)
	before := indexEntry{offset: info.Base - 1, pos: -1}
	for i := range x {
		e := indexEntry{
			offset:       int64(binary.BigEndian.Uint64(b[i*indexEntryBytes:])),
			pos:          int64(binary.BigEndian.Uint64(b[i*indexEntryBytes+8:])),
			maxTimestamp: int64(binary.BigEndian.Uint64(b[i*indexEntryBytes+16:])),
		}
		if e.offset <= before.offset || e.pos <= before.pos || (i == 0 && e.pos != 0) {
			return nil, errIndexOrder
		}
		x[i], before = e, e
	}
	if before.offset >= info.End || before.pos >= max(info.DataBytes, 0) && n > 0 {
		return nil, errIndexOrder
	}
	return x, nil
}

// find returns which range holds offset: the last one that begins at or before it, or the first one.
func (x index) find(offset int64) int {
	return max(0, sort.Search(len(x), func(i int) bool { return x[i].offset > offset })-1)
}

// after returns where the range behind range i begins, or end for the last.
func (x index) after(i int, end int64) int64 {
	if i+1 < len(x) {
		return x[i+1].pos
	}
	return end
}
