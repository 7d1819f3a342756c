package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// reader takes primitives off the front of b. After the first fault bad stays set, b is empty and every further read
// yields zero, so callers check once at the end.
type reader struct {
	b   []byte
	bad bool
}

// err names what was being read if any of it was malformed.
func (r *reader) err(what string) error {
	if r.bad {
		return fmt.Errorf("%s: %w", what, ErrMalformed)
	}
	return nil
}

func (r *reader) fail() { r.b, r.bad = nil, true }

// bytes takes n bytes. A negative n is the null value: it takes nothing and returns nil.
func (r *reader) bytes(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(r.b) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) int8() int8 {
	if v := r.bytes(1); v != nil {
		return int8(v[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if v := r.bytes(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (r *reader) int32() int32 {
	if v := r.bytes(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

// uvarint takes an unsigned varint of at most 32 bits. More than five bytes are refused as others do, even if the value
// would fit.
func (r *reader) uvarint() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > binary.MaxVarintLen32 || v > math.MaxUint32 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// compactLen takes a compact length: one more than the length, 0 for null, which becomes -1.
func (r *reader) compactLen() int { return int(r.uvarint()) - 1 }

// string takes a string or nullable string in either form; nil is null.
func (r *reader) string(flexible bool) []byte {
	if flexible {
		return r.bytes(r.compactLen())
	}
	return r.bytes(int(r.int16()))
}

// requiredString takes a string that must not be null.
func (r *reader) requiredString(flexible bool) []byte {
	var n int
	if flexible {
		n = r.compactLen()
	} else {
		n = int(r.int16())
	}
	if n < 0 {
		r.fail()
	}
	return r.bytes(n)
}

// nullableBytes takes bytes in either form; nil is null.
func (r *reader) nullableBytes(flexible bool) []byte {
	if flexible {
		return r.bytes(r.compactLen())
	}
	return r.bytes(int(r.int32()))
}

// arrayLen takes an array's length in either form, -1 for null. It fails if the array cannot fit into what is left, at
// minBytes for each element.
func (r *reader) arrayLen(flexible bool, minBytes int) int {
	var n int
	if flexible {
		n = r.compactLen()
	} else {
		n = int(r.int32())
	}
	if n < -1 || n > len(r.b)/max(1, minBytes) {
		r.fail()
		return 0
	}
	return n
}

// requiredLen takes the length of an array that must not be null.
func (r *reader) requiredLen(flexible bool, minBytes int) int {
	n := r.arrayLen(flexible, minBytes)
	if n < 0 {
		r.fail()
		return 0
	}
	return n
}

// skipTags passes over a tagged-field section and returns its number of tags.
func (r *reader) skipTags() (tags int) {
	n := r.uvarint()
	if uint64(n)*2 > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	for range n {
		r.uvarint()
		r.bytes(int(r.uvarint()))
	}
	return int(n)
}
