package tail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"

	"millrace/base/clock"
	"millrace/base/object"
)

// memory is an object for the fuzzer.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// FuzzRead reads arbitrary bytes with their checksums made right: it must end without a panic, with io.EOF or an error
// that says why, and what it hands out must be in order.
func FuzzRead(f *testing.F) {
	objects := object.NewMemory(clock.NewManual(begin))
	write(f, objects, fixed, goldenBatches(f)...)
	f.Add(content(f, objects, fixed))
	f.Add(make([]byte, headerBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = mend(b)
		r, err := newReader(memory{bytes.NewReader(b)})
		if err != nil {
			return
		}
		next := r.Info().Base
		for {
			run, err := r.Next()
			if errors.Is(err, io.EOF) {
				if next != r.Info().End {
					t.Errorf("ends at %d, not at %d", next, r.Info().End)
				}
				return
			}
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error %v", err)
				}
				return
			}
			if run.Base != next || run.Last < run.Base || len(run.Data) == 0 {
				t.Errorf("run %d to %d, expected at %d", run.Base, run.Last, next)
			}
			next = run.Last + 1
		}
	})
}

// mend makes the checksums of header and runs right.
func mend(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < headerBytes {
		return b
	}
	sign(b[:headerBytes])
	for at := headerBytes; at+frameBytes < len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n == 0 {
			if rest := b[at+frameBytes:]; len(rest) >= footerBytes {
				sign(rest[:footerBytes])
			}
			break
		}
		if n > len(b)-at-frameBytes {
			break
		}
		binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+frameBytes:at+frameBytes+n], castagnoli))
		at += frameBytes + n
	}
	return b
}
