package atrest

import (
	"context"

	"millrace/base/object"
)

// framer cuts a content into frames and encrypts them.
type framer struct {
	box   *box
	out   []byte // encrypted, not yet taken
	frame []byte // gathers
	index int64  // of the frame that gathers
}

// take adds the begin of p and returns the rest. A full frame is only encrypted when more comes, since it may be the last.
func (f *framer) take(p []byte) []byte {
	if len(f.frame) == frameBytes {
		f.out = f.box.seal(f.out, f.frame, f.index, false)
		f.frame = f.frame[:0]
		f.index++
	}
	if len(f.frame) == 0 && len(p) > frameBytes {
		f.out = f.box.seal(f.out, p[:frameBytes], f.index, false)
		f.index++
		return p[frameBytes:]
	}
	if f.frame == nil {
		f.frame = make([]byte, 0, frameBytes)
	}
	n := min(len(p), frameBytes-len(f.frame))
	f.frame = append(f.frame, p[:n]...)
	return p[n:]
}

// finish encrypts the last frame.
func (f *framer) finish() {
	f.out = f.box.seal(f.out, f.frame, f.index, true)
	f.frame = nil
}

// writer uploads in pieces.
type writer struct {
	inner object.Writer
	framer
	ended bool // Commit or Abort was called
}

// writeBytes is how much is gathered before it is handed on.
const writeBytes = 4 * boxBytes

// Write implements object.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, object.ErrClosed
	}
	n := len(p)
	for len(p) > 0 {
		p = w.take(p)
		if len(w.out) >= writeBytes {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *writer) flush() error {
	_, err := w.inner.Write(w.out)
	w.out = w.out[:0]
	return err
}

// Commit implements object.Writer.
func (w *writer) Commit(ctx context.Context) error {
	if w.ended {
		return w.inner.Commit(ctx)
	}
	w.ended = true
	w.finish()
	if err := w.flush(); err != nil {
		_ = w.inner.Abort() // the write's error says it all
		return err
	}
	return w.inner.Commit(ctx)
}

// Abort implements object.Writer.
func (w *writer) Abort() error {
	w.ended = true
	return w.inner.Abort()
}
