package wal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"millrace/express/producer"
	"millrace/kafka/topic"
)

// Stream is one partition's part of the log. Get it from Log.Stream. Safe for concurrent use, but for Append.
type Stream struct {
	log       *Log
	partition topic.Partition

	// Guarded by Log.index.
	extents     []*extent // live ones, ascending
	first, end  int64     // see Bounds; first is the trim point and may lie below the first extent
	epochs      []EpochStart
	isForgotten bool

	// Guarded by queue.mu.
	next  int64 // the least offset that Append takes
	retry bool  // Append takes only next: the entry there failed

	// The committer's.
	tail   *extent // what it extended last; it may be dropped meanwhile
	gather uint64  // see slot
	slot   int
}

// Extent is the part of one file that belongs to one stream.
type Extent struct {
	File         uint64 // its number, as FileInfo.Seq
	Sealed       bool   // takes no more appends
	Base, End    int64  // offsets in [Base, End)
	Bytes        int64  // of record batches
	Pieces       int64  // contiguous runs in the file, of at most 128 KiB or one batch
	Batches      int64
	MaxTimestamp int64 // ms, over all batches
	LastAppend   int64 // ms, wall clock of the newest append
	FirstAppend  int64 // ms, wall clock of the oldest append; 0 once the file is sealed and was opened anew
}

// EpochStart says at which offset a leader epoch began.
type EpochStart struct {
	Epoch int32
	Start int64
}

// Bounds returns the offsets that are readable: [first, end). End moves only when the data is durable, and before Done is
// called. Both are equal, and the trim point or the former end, when the log holds nothing of the stream; 0 at first.
func (s *Stream) Bounds() (first, end int64) {
	s.log.index.RLock()
	defer s.log.index.RUnlock()
	return s.firstLocked(), s.end
}

func (s *Stream) firstLocked() int64 {
	if len(s.extents) == 0 {
		return s.end
	}
	return max(s.first, s.extents[0].Base)
}

// Extents lists what each file holds of the stream, in offset order. The result is the caller's. An extent that is
// trimmed in part is listed whole.
func (s *Stream) Extents() []Extent {
	s.log.index.RLock()
	defer s.log.index.RUnlock()
	list := make([]Extent, len(s.extents))
	for i, x := range s.extents {
		list[i] = x.Extent
	}
	return list
}

// Epochs returns the leader epochs seen in the log with the offsets where they begin here, ascending. The first may have
// begun before. The result is the caller's.
func (s *Stream) Epochs() []EpochStart {
	s.log.index.RLock()
	defer s.log.index.RUnlock()
	return slices.Clone(s.epochs)
}

// Producers returns the producer state that the log's files know of this stream, merged. It reads from disk, and is
// meant for the opening of a partition, before appends. The table is the caller's. Errors: a CorruptionError, ctx's.
func (s *Stream) Producers(ctx context.Context) (*producer.State, error) {
	merged := &producer.State{}
	offset, _ := s.Bounds()
	for {
		v, err := s.view(offset)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return merged, nil
		}
		err = s.mergeProducers(merged, v)
		s.log.release(v.file)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("producers of %s: %w", s.partition, err)
		}
		offset = v.end
	}
}

func (s *Stream) mergeProducers(into *producer.State, v *view) error {
	l := s.log
	l.index.RLock()
	if v.extent.producers != nil {
		l.producers.Lock()
		into.Merge(v.extent.producers)
		l.producers.Unlock()
	}
	at := v.extent.producersAt
	l.index.RUnlock()
	if at.bytes == 0 {
		return nil
	}
	b, err := l.readBlock(v.file, at)
	if err != nil {
		return err
	}
	t, err := producer.Decode(b)
	if err != nil {
		return &CorruptionError{File: v.file.path, Offset: at.pos, Err: err}
	}
	into.Merge(t)
	return nil
}

// SeekTime finds the first indexed run that ends at or after offset from and has a max timestamp of at least ts (ms). It
// returns the run's base offset, or from when that lies within the run; ok is false when there is none. Errors:
// ErrTrimmed when from is below the first offset, a CorruptionError, ctx's.
func (s *Stream) SeekTime(ctx context.Context, ts, from int64) (offset int64, ok bool, err error) {
	for at := from; ; {
		v, err := s.view(at)
		if err != nil || v == nil {
			return 0, false, err
		}
		if v.maxTimestamp >= ts {
			runs, err := s.log.runsOf(v)
			if err != nil {
				s.log.release(v.file)
				return 0, false, fmt.Errorf("seek %s: %w", s.partition, err)
			}
			for _, r := range runs[findRun(runs, at):] {
				if r.maxTimestamp >= ts && r.base < v.end {
					s.log.release(v.file)
					return max(r.base, from), true, nil
				}
			}
		}
		s.log.release(v.file)
		if err := ctx.Err(); err != nil {
			return 0, false, fmt.Errorf("seek %s: %w", s.partition, err)
		}
		at = v.end
	}
}

// Trim tells that offsets below before are not needed from this log any more: they are no longer readable, and files
// without live data are removed. It does not block on the disk. After a reopen, trimmed data that shares a file with
// live data is there again, until it is trimmed again.
func (s *Stream) Trim(before int64) {
	l := s.log
	l.index.Lock()
	var dead []*file
	for len(s.extents) > 0 && s.extents[0].End <= before {
		dead = l.dropLocked(s.extents[0], dead)
		s.extents = s.extents[1:]
	}
	s.first = max(s.first, before)
	s.end = max(s.end, before)
	for len(s.epochs) > 1 && s.epochs[1].Start <= s.first {
		s.epochs = s.epochs[1:]
	}
	l.index.Unlock()
	l.doomAll(dead)

	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if s.next < before {
		s.next, s.retry = before, false
	}
}

// Forget drops the stream whole: its topic was deleted, or its partition belongs to another broker now. An owner that
// gets the partition back later begins with a new Stream. The s of before must not be used after.
func (s *Stream) Forget() {
	l := s.log
	l.index.Lock()
	var dead []*file
	for _, x := range s.extents {
		dead = l.dropLocked(x, dead)
	}
	s.extents, s.epochs, s.isForgotten = nil, nil, true
	if l.streams[s.partition] == s {
		delete(l.streams, s.partition)
	}
	l.index.Unlock()
	l.doomAll(dead)
}

// dropLocked takes a live extent out of its file's account, and appends the file to dead if it was the last.
func (l *Log) dropLocked(x *extent, dead []*file) []*file {
	f := x.file
	x.dropped = true
	f.live -= x.Bytes
	f.liveExtents--
	l.cache.drop(x)
	if f.sealed && f.liveExtents == 0 && l.unlistLocked(f) {
		dead = append(dead, f)
	}
	return dead
}

func (l *Log) doomAll(files []*file) {
	for _, f := range files {
		l.doom(f)
	}
}

// extend adds a run of the active file f. The caller is the committer and holds Log.index.
func (s *Stream) extend(f *file, r run, epoch int32, timeMs int64) {
	if s.tail == nil || s.tail.file != f || s.tail.dropped {
		s.tail = &extent{Extent: Extent{File: f.seq}, stream: s, file: f}
		s.attach(s.tail)
	}
	s.tail.add(r, epoch, timeMs)
	f.live += int64(r.bytes)
	s.end = max(s.end, r.last+1)
	s.epochs = addEpoch(s.epochs, EpochStart{Epoch: epoch, Start: r.base})
}

// attach makes x the newest extent. The caller holds Log.index.
func (s *Stream) attach(x *extent) {
	s.extents = append(s.extents, x)
	x.file.extents = append(x.file.extents, x)
	x.file.liveExtents++
}

// findExtent returns the index of the extent that contains offset, or of the first after it.
func findExtent(extents []*extent, offset int64) int {
	i, _ := slices.BinarySearchFunc(extents, offset, func(x *extent, offset int64) int { return cmp.Compare(x.End, offset+1) })
	return i
}
