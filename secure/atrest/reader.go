package atrest

import (
	"errors"
	"fmt"
	"io"

	"millrace/base/object"
)

// reader reads one object of which the head is known.
type reader struct {
	inner object.Reader
	box   *box
	size  int64 // of the content
}

// Size implements object.Reader.
func (r *reader) Size() int64 { return r.size }

// Close implements object.Reader.
func (r *reader) Close() error { return r.inner.Close() }

// ReadAt implements object.Reader.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return r.inner.ReadAt(p, off) // refuses it
	}
	want := min(int64(len(p)), max(0, r.size-off))
	if want == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	first := off / frameBytes
	frames := max(1, (r.size+frameBytes-1)/frameBytes) // in the object
	last := min((off+want+frameBytes-1)/frameBytes, frames)
	end := min(headBytes+last*boxBytes, storedBytes(r.size))
	buf := make([]byte, max(0, end-headBytes-first*boxBytes))
	if n, err := r.inner.ReadAt(buf, headBytes+first*boxBytes); n < len(buf) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %s is cut off", ErrSealed, r.box.name)
		}
		return 0, err
	}
	n, skip := 0, off-first*frameBytes
	for i := first; i < last; i++ {
		piece := buf[:min(len(buf), boxBytes)]
		buf = buf[len(piece):]
		frame, err := r.box.open(piece, i, i == frames-1, false)
		if err != nil {
			return 0, err
		}
		n += copy(p[n:], frame[skip:])
		skip = 0
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
