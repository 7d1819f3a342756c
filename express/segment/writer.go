package segment

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"millrace/base/object"
	"millrace/express/producer"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// writeBuffer gathers small batches before they go to the object store.
const writeBuffer = 256 << 10

// WriterConfig says what to write. It is read once by Create or Compact.
type WriterConfig struct {
	Partition  topic.Partition // whose records these are
	Epoch      int32           // leader epoch of the writer; part of the key
	Base       int64           // first offset covered; not used by Compact
	IndexBytes int             // data bytes per index entry, at least (index.interval.bytes); default 4096; a large segment uses more
}

// Writer builds one object. Nothing of it is visible until Finish. Not safe for concurrent use.
type Writer struct {
	out       object.Writer
	buf       *bufio.Writer
	partition topic.Partition
	epoch     int32
	info      Info
	index     indexBuilder
	aborted   []producer.Aborted
	next      int64 // lowest offset that may follow
	done      bool
	err       error // the first failed write; the object cannot be finished any more
}

// Create begins a segment; nowMs is its creation time. The ctx bounds all writes until Finish.
func Create(ctx context.Context, store object.Store, cfg WriterConfig, nowMs int64) (*Writer, error) {
	if cfg.Base < 0 || cfg.IndexBytes < 0 {
		return nil, fmt.Errorf("create segment of %s: %w: base %d, index bytes %d", cfg.Partition, ErrOrder, cfg.Base, cfg.IndexBytes)
	}
	key := newKey(cfg.Partition, cfg.Base, cfg.Epoch)
	out, err := store.Create(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", key, err)
	}
	interval := int64(cfg.IndexBytes)
	if interval == 0 {
		interval = defaultIndexBytes
	}
	return &Writer{
		out: out, buf: bufio.NewWriterSize(out, writeBuffer), partition: cfg.Partition, epoch: cfg.Epoch, next: cfg.Base,
		info:  Info{Key: key, Base: cfg.Base, Created: nowMs, MaxTimestamp: noTimestamp, MaxTimestampOffset: -1},
		index: indexBuilder{interval: interval},
	}, nil
}

// Append adds whole batches in offset order; gaps between them are allowed. It looks at headers only: checksums are the
// business of whoever took the batches in. It does not keep run.
func (w *Writer) Append(run []byte) error {
	if err := w.append(run); err != nil {
		w.err = errors.Join(w.err, err)
		return fmt.Errorf("append to segment %s: %w", w.info.Key, err)
	}
	return nil
}

func (w *Writer) append(run []byte) error {
	for rest := run; len(rest) > 0; {
		b, tail, err := record.Next(rest)
		if err != nil {
			return err
		}
		if err := w.note(b, int64(len(rest)-len(tail))); err != nil {
			return err
		}
		rest = tail
	}
	_, err := w.buf.Write(run)
	return err
}

// note takes the next batch, of size bytes, into counts and index.
func (w *Writer) note(b record.Batch, size int64) error {
	base, last := b.BaseOffset(), b.LastOffset()
	if base < w.next || last < base {
		return fmt.Errorf("%w: batch %d to %d where %d is next", ErrOrder, base, last, w.next)
	}
	i := &w.info
	w.index.add(base, i.DataBytes, b.MaxTimestamp())
	if t := b.MaxTimestamp(); t > i.MaxTimestamp {
		i.MaxTimestamp, i.MaxTimestampOffset = t, base
	}
	w.next = last + 1
	i.DataBytes += size
	i.Batches++
	i.Records += int64(b.NumRecords())
	return nil
}

// DataBytes is how many bytes of batches were appended.
func (w *Writer) DataBytes() int64 { return w.info.DataBytes }

// SetAborted says which aborted transactions reach into the segment; it keeps the slice. Without it there are none.
func (w *Writer) SetAborted(aborted []producer.Aborted) { w.aborted = aborted }

// Finish writes producers (the state as of end; nil: no producer), index and footer, makes the object durable and returns
// its Info, which covers up to end. It returns ErrEmpty when nothing was appended. Whatever it returns, the Writer is done.
func (w *Writer) Finish(ctx context.Context, end int64, producers *producer.Table) (Info, error) {
	if w.info.Batches == 0 {
		w.Abort()
		return Info{}, fmt.Errorf("finish segment %s: %w", w.info.Key, ErrEmpty)
	}
	var snapshot []byte
	if producers != nil {
		snapshot = producers.AppendTo(nil)
	}
	return w.finish(ctx, end, snapshot)
}

// finish is Finish with an encoded snapshot, and with no batches allowed: what compaction leaves of a range may be nothing.
func (w *Writer) finish(ctx context.Context, end int64, snapshot []byte) (Info, error) {
	defer w.Abort()
	if err := w.seal(ctx, end, snapshot); err != nil {
		return Info{}, fmt.Errorf("finish segment %s: %w", w.info.Key, err)
	}
	return w.info, nil
}

func (w *Writer) seal(ctx context.Context, end int64, snapshot []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.done {
		return errFinished
	}
	if end < w.next || end <= w.info.Base {
		return fmt.Errorf("%w: end %d where %d is next", ErrOrder, end, w.next)
	}
	i := &w.info
	i.End = end
	f := footer{partition: w.partition, epoch: w.epoch}
	pos := i.DataBytes
	add := func(kind uint32, b []byte) error {
		f.sections = append(f.sections, section{kind: kind, crc: checksum(b), pos: pos, length: int64(len(b))})
		pos += int64(len(b))
		_, err := w.buf.Write(b)
		return err
	}
	if err := add(sectionProducers, snapshot); err != nil {
		return err
	}
	if len(w.aborted) > 0 {
		if err := add(sectionAborted, appendAborted(nil, w.aborted)); err != nil {
			return err
		}
	}
	i.IndexPos = pos
	if err := add(sectionIndex, w.index.entries.appendTo(nil)); err != nil {
		return err
	}
	f.info = *i
	tail := f.appendTo(nil)
	if _, err := w.buf.Write(tail); err != nil {
		return err
	}
	i.Size = pos + int64(len(tail))
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if err := w.out.Commit(ctx); err != nil {
		return err
	}
	w.done = true
	return nil
}

var errFinished = errors.New("segment: writer is done")

// Abort drops the unfinished object. It does nothing after Finish, and may be called again.
func (w *Writer) Abort() {
	if !w.done {
		w.done = true
		_ = w.out.Abort() // what it leaves behind is the store's to clean up
	}
}
