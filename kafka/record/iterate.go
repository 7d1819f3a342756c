package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"
)

// Records iterates over the records of the batch, decompressing as it goes. limit bounds the decompressed size in bytes; 0
// means no bound, for batches that were checked before. Key, Value and Headers of a record are valid until the next one.
// After an error, which comes with an empty Record, the iteration ends. Errors: ErrCorrupt, ErrCodec, ErrBomb.
func (b Batch) Records(limit int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		w := b.walk(limit)
		defer w.release()
		var headers []Header
		for w.next() {
			headers = w.raw.appendHeaders(headers[:0])
			more := yield(Record{
				Offset:    b.BaseOffset() + int64(w.raw.offsetDelta),
				Timestamp: b.timestamp(w.raw.timeDelta),
				Key:       w.raw.key,
				Value:     w.raw.value,
				Headers:   headers,
			}, nil)
			if !more {
				return
			}
		}
		if w.err != nil {
			yield(Record{}, w.err)
		}
	}
}

// timestamp returns the timestamp of a record with the given delta.
func (b Batch) timestamp(delta int64) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + delta
}

// walker goes over the records of a batch. The number of records must be as the header says, and their offsets must rise
// within the range of the header.
type walker struct {
	batch Batch
	src   source
	raw   rawRecord // the present record; its slices live until the next
	n     int32     // records passed
	last  int32     // offset delta of the present record
	err   error
}

// walk begins to go over the records; release must follow. limit is as in Records.
func (b Batch) walk(limit int) walker {
	if limit <= 0 {
		limit = math.MaxInt
	}
	src, err := b.open(limit)
	return walker{batch: b, src: src, last: -1, err: err}
}

// next goes to the next record and reports false at the end or at an error.
func (w *walker) next() bool {
	if w.err != nil {
		return false
	}
	if w.n >= w.batch.NumRecords() {
		w.err = w.src.end()
		return false
	}
	body, err := w.src.next()
	if err == nil {
		err = w.raw.parse(body)
	}
	if err != nil {
		w.err = fmt.Errorf("record %d of %d: %w", w.n, w.batch.NumRecords(), err)
		return false
	}
	if d := w.raw.offsetDelta; d <= w.last || d > w.batch.LastOffsetDelta() {
		w.err = fmt.Errorf("%w: record %d has offset delta %d", ErrInvalid, w.n, d)
		return false
	}
	w.last = w.raw.offsetDelta
	w.n++
	return true
}

func (w *walker) release() { w.src.release() }

// source yields the bodies of records.
type source struct {
	plain []byte  // uncompressed: what is left
	flow  *stream // compressed
}

func (b Batch) open(limit int) (source, error) {
	if b.Codec() == Uncompressed {
		return source{plain: b.payload()}, nil
	}
	flow, err := openStream(b.Codec(), b.payload(), limit)
	return source{flow: flow}, err
}

// next returns the body of the next record, valid until the one after it.
func (s *source) next() (body []byte, err error) {
	if s.flow != nil {
		return s.flow.next()
	}
	body, s.plain, err = splitRecord(s.plain)
	return body, err
}

// end fails unless all bytes have been used.
func (s *source) end() error {
	if s.flow != nil {
		return s.flow.end()
	}
	if len(s.plain) != 0 {
		return fmt.Errorf("%w: %d bytes after the last record", ErrCorrupt, len(s.plain))
	}
	return nil
}

func (s *source) release() {
	if s.flow != nil {
		s.flow.release()
	}
}

// stream cuts the output of a decompressor into records. Its buffer holds one record at least and grows no faster than
// bytes really come out, so a record that claims to be huge costs nothing.
type stream struct {
	dec  decompressor
	buf  []byte
	r, w int // buf[r:w] is read from dec and not yet used
	left int // more bytes than that must not come out
}

// errEnd is returned by stream.fill when the decompressor has come to a good end. It is an error of its own because a
// decompressor that breaks off says io.ErrUnexpectedEOF.
var errEnd = errors.New("no more bytes")

const (
	streamBuffer     = 16 << 10
	keepStreamBuffer = 256 << 10 // a larger buffer is not kept in the pool
)

// streams keeps idle streams with their buffers. It is a cache: nothing depends on what is in it.
var streams = sync.Pool{New: func() any { return &stream{buf: make([]byte, streamBuffer)} }}

func openStream(codec Codec, payload []byte, limit int) (*stream, error) {
	dec, err := decompress(codec, payload, limit)
	if err != nil {
		return nil, err
	}
	s := streams.Get().(*stream)
	s.dec, s.r, s.w, s.left = dec, 0, 0, limit
	return s, nil
}

func (s *stream) release() {
	s.dec.release()
	s.dec = nil
	if len(s.buf) <= keepStreamBuffer {
		streams.Put(s)
	}
}

// fill reads until n bytes are there to use.
func (s *stream) fill(n int) error {
	for s.w-s.r < n {
		if s.r > 0 {
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		}
		if s.w == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		m, err := s.dec.Read(s.buf[s.w:])
		s.w += m
		if s.left -= m; s.left < 0 {
			return ErrBomb
		}
		if errors.Is(err, io.EOF) && s.w-s.r < n {
			return errEnd
		}
		if errors.Is(err, ErrBomb) {
			return err
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return nil
}

// next returns the body of the next record.
func (s *stream) next() ([]byte, error) {
	n, size, err := s.length()
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, fmt.Errorf("%w: record length %d", ErrCorrupt, n)
	}
	if n > s.left+(s.w-s.r) {
		return nil, ErrBomb
	}
	if err := s.fill(size + n); err != nil {
		return nil, asCorrupt(err)
	}
	body := s.buf[s.r+size : s.r+size+n]
	s.r += size + n
	return body, nil
}

// all returns everything that is left. The slice is the caller's.
func (s *stream) all() ([]byte, error) {
	var out []byte
	for {
		err := s.fill(1)
		out = append(out, s.buf[s.r:s.w]...)
		s.r = s.w
		if errors.Is(err, errEnd) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// length looks at the length of the next record and returns it with the number of bytes it takes.
func (s *stream) length() (n, size int, err error) {
	for want := 1; want <= binary.MaxVarintLen32; want++ {
		if err := s.fill(want); err != nil {
			return 0, 0, asCorrupt(err)
		}
		if v, size := binary.Varint(s.buf[s.r : s.r+want]); size > 0 {
			return int(v), size, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: record length", ErrCorrupt)
}

// end fails unless the decompressor is at its end.
func (s *stream) end() error {
	switch err := s.fill(1); {
	case err == nil:
		return fmt.Errorf("%w: bytes after the last record", ErrCorrupt)
	case errors.Is(err, errEnd):
		return nil
	default:
		return err
	}
}

// asCorrupt says that an early end of the data is a corruption.
func asCorrupt(err error) error {
	if errors.Is(err, errEnd) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
