package wal

import (
	"cmp"
	"container/list"
	"encoding/binary"
	"slices"

	"millrace/express/producer"
	"millrace/kafka/topic"
)

// runBytes is up to how many bytes neighbouring batches of a stream share one entry of the index. A read that starts
// within a run reads it from its begin, so larger runs would cost readers more than the smaller index saves.
const runBytes = 128 << 10

// run is a contiguous piece of one stream in one file: whole batches without a gap between their offsets.
type run struct {
	base, last   int64
	pos          int64 // in the file
	maxTimestamp int64
	bytes        int32
	batches      int32
}

// extent is the part of one file that belongs to one stream. Guarded by Log.index, except that producers is guarded by
// Log.producers and cached by the run cache. While the file takes groups only the committer changes it.
type extent struct {
	Extent
	stream  *Stream
	file    *file
	epochs  []EpochStart
	dropped bool // trimmed, forgotten or superseded

	// Until the file is sealed.
	runs      []run
	producers *producer.State

	// Once it is sealed: where in the file the same is found.
	runsAt, producersAt block

	// Guarded by runCache.mu: the index of a sealed file, while it is in memory.
	cached   []run
	cachedAt *list.Element
}

// block is a piece of a footer, with its checksum.
type block struct {
	pos   int64
	bytes uint32
	crc   uint32
}

// add appends a run to the extent.
func (x *extent) add(r run, epoch int32, timeMs int64) {
	if len(x.runs) == 0 {
		x.Base, x.MaxTimestamp, x.FirstAppend = r.base, r.maxTimestamp, timeMs
	}
	x.runs = append(x.runs, r)
	x.End = r.last + 1
	x.Bytes += int64(r.bytes)
	x.Pieces++
	x.Batches += int64(r.batches)
	x.MaxTimestamp = max(x.MaxTimestamp, r.maxTimestamp)
	x.LastAppend = max(x.LastAppend, timeMs)
	x.epochs = addEpoch(x.epochs, EpochStart{Epoch: epoch, Start: r.base})
}

// addEpoch appends e if it begins a new epoch.
func addEpoch(epochs []EpochStart, e EpochStart) []EpochStart {
	if n := len(epochs); n > 0 && epochs[n-1].Epoch >= e.Epoch {
		return epochs
	}
	return append(epochs, e)
}

// findRun returns the index of the run that contains offset, or of the first after it.
func findRun(runs []run, offset int64) int {
	i, _ := slices.BinarySearchFunc(runs, offset, func(r run, offset int64) int { return cmp.Compare(r.last, offset) })
	return i
}

// minRunBytes is the least that appendRuns writes for one run.
const minRunBytes = 6

// appendRuns encodes runs: varints, most of them the distance from the run before.
func appendRuns(b []byte, runs []run) []byte {
	b = binary.AppendUvarint(b, uint64(len(runs)))
	var former run
	former.last = -1
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.base-former.last-1))
		b = binary.AppendUvarint(b, uint64(r.last-r.base))
		b = binary.AppendUvarint(b, uint64(r.pos-former.pos-int64(former.bytes)))
		b = binary.AppendUvarint(b, uint64(r.bytes))
		b = binary.AppendUvarint(b, uint64(r.batches))
		b = binary.AppendVarint(b, r.maxTimestamp-former.maxTimestamp)
		former = r
	}
	return b
}

// decodeRuns is the inverse; every run lies below dataEnd.
func decodeRuns(b []byte, dataEnd int64) ([]run, error) {
	d := decoder{b: b}
	count := d.uvarint(uint64(len(b)) / minRunBytes)
	runs := make([]run, count)
	var former run
	former.last = -1
	for i := range runs {
		r := &runs[i]
		r.base = former.last + 1 + int64(d.uvarint(1<<62))
		r.last = r.base + int64(d.uvarint(1<<62))
		r.pos = former.pos + int64(former.bytes) + int64(d.uvarint(uint64(dataEnd)))
		r.bytes = int32(d.uvarint(1<<31 - 1))
		r.batches = int32(d.uvarint(1<<31 - 1))
		r.maxTimestamp = former.maxTimestamp + d.varint()
		if d.failed || r.base <= former.last || r.last < r.base || r.pos+int64(r.bytes) > dataEnd {
			return nil, damaged("index run %d of %d", i, count)
		}
		former = *r
	}
	if d.failed || len(d.b) > 0 {
		return nil, damaged("index block of %d bytes", len(b))
	}
	return runs, nil
}

// decoder takes numbers off b; after a failure all are zero.
type decoder struct {
	b      []byte
	failed bool
}

// uvarint returns at most limit.
func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.failed || n <= 0 || v > limit {
		d.failed = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.failed || n <= 0 {
		d.failed = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// fixed returns the next n bytes, zeroes when there are less.
func (d *decoder) fixed(n int) []byte {
	if d.failed || len(d.b) < n {
		d.failed = true
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 { return binary.BigEndian.Uint32(d.fixed(4)) }
func (d *decoder) int64() int64   { return int64(binary.BigEndian.Uint64(d.fixed(8))) }

func (d *decoder) block() block { return block{pos: d.int64(), bytes: d.uint32(), crc: d.uint32()} }

func (d *decoder) partition() topic.Partition {
	return topic.Partition{Topic: topic.ID(d.fixed(16)), Index: int32(d.uint32())}
}
