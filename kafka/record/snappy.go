package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Snappy comes in two forms. The Java client writes the framing of the xerial library: a header, and then blocks of 32 KiB,
// each with its compressed length before it. Others write one bare block. Both are read; the first is written, because it
// is decoded piece by piece.

// xerialMagic begins the framing; two 32-bit versions follow, which nobody looks at.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeaderBytes = 16
	xerialBlock       = 32 << 10
	keepSnappyBuffer  = 256 << 10

	// maxSnappyRatio bounds what a block may claim to decode to: the densest code is 64 bytes out of 3, so this is generous.
	maxSnappyRatio = 64
)

var snappyReaders = sync.Pool{New: func() any { return new(snappyReader) }}

// snappyReader decodes block by block.
type snappyReader struct {
	src    []byte // blocks not yet decoded
	framed bool
	limit  int    // no block may be larger decoded
	buf    []byte // decoded
	out    []byte // the part of buf not yet read
}

func openSnappy(src []byte, limit int) decompressor {
	r := snappyReaders.Get().(*snappyReader)
	r.framed = isXerial(src)
	if r.framed {
		src = src[xerialHeaderBytes:]
	}
	r.src, r.out, r.limit = src, nil, limit
	return r
}

func isXerial(src []byte) bool {
	return len(src) >= xerialHeaderBytes && bytes.HasPrefix(src, xerialMagic)
}

// sniffSnappy is sniff for the two forms: a bare block tells no more than how long it will be.
func sniffSnappy(src []byte) error {
	if isXerial(src) {
		return nil
	}
	_, err := blockLen(src)
	return err
}

func (r *snappyReader) release() {
	r.src, r.out = nil, nil
	if cap(r.buf) <= keepSnappyBuffer {
		snappyReaders.Put(r)
	}
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if len(r.src) == 0 {
			return 0, io.EOF
		}
		block, err := r.nextBlock()
		if err != nil {
			return 0, err
		}
		if err := r.decode(block); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// nextBlock takes one compressed block off src.
func (r *snappyReader) nextBlock() ([]byte, error) {
	if !r.framed {
		block := r.src
		r.src = nil
		return block, nil
	}
	if len(r.src) < 4 {
		return nil, fmt.Errorf("snappy: %w", io.ErrUnexpectedEOF)
	}
	n := binary.BigEndian.Uint32(r.src)
	if uint64(n) > uint64(len(r.src)-4) {
		return nil, fmt.Errorf("snappy: block of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	block := r.src[4 : 4+n]
	r.src = r.src[4+n:]
	return block, nil
}

// blockLen is the length that a block decodes to.
func blockLen(block []byte) (int, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return 0, fmt.Errorf("snappy: %w", err)
	}
	if n > len(block)*maxSnappyRatio {
		return 0, fmt.Errorf("snappy: block of %d bytes claims %d", len(block), n)
	}
	return n, nil
}

func (r *snappyReader) decode(block []byte) error {
	n, err := blockLen(block)
	if err != nil {
		return err
	}
	if n > r.limit {
		return ErrBomb
	}
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	r.out, err = s2.Decode(r.buf, block)
	if err != nil {
		return fmt.Errorf("snappy: %w", err)
	}
	return nil
}

// compressSnappy appends src in the xerial framing.
func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlock)]
		src = src[len(block):]
		at := len(dst)
		most := s2.MaxEncodedLen(len(block))
		dst = slices.Grow(dst, 4+most)[:at+4+most]
		n := len(snappyBlock(dst[at+4:], block))
		binary.BigEndian.PutUint32(dst[at:], uint32(n))
		dst = dst[:at+4+n]
	}
	return dst
}
