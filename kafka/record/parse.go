package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Record is one record. Its slices belong to whoever made it: those of Records live until the next record.
type Record struct {
	Offset    int64
	Timestamp int64  // milliseconds since 1970
	Key       []byte // nil: null
	Value     []byte // nil: null, a tombstone in a compacted topic
	Headers   []Header
}

// Header is an application's header of a record. Keys may repeat.
type Header struct {
	Key   []byte // never null
	Value []byte // nil: null
}

// rawRecord is a record as it stands in a batch, its parts slices of the batch.
type rawRecord struct {
	timeDelta   int64
	offsetDelta int32
	key, value  []byte
	headers     []byte
	headerCount int32
}

// cursor takes the parts of a record off b. After a fault bad is set and everything reads as zero.
type cursor struct {
	b   []byte
	bad bool
}

// varint takes a varint of 32 bits. More than five bytes are refused even if the value would fit: readers choke on them.
func (c *cursor) varint() int32 {
	before := len(c.b)
	v := c.varlong()
	if v < math.MinInt32 || v > math.MaxInt32 || before-len(c.b) > binary.MaxVarintLen32 {
		c.fail()
		return 0
	}
	return int32(v)
}

// varlong takes a varint of 64 bits.
func (c *cursor) varlong() int64 {
	if len(c.b) > 0 && c.b[0] < 0x80 { // one byte, as nearly always
		v := int64(c.b[0]>>1) ^ -int64(c.b[0]&1)
		c.b = c.b[1:]
		return v
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) fail() { c.b, c.bad = nil, true }

// bytes takes a length and as many bytes; -1 is null and gives nil.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || int(n) > len(c.b) {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// splitRecord takes a length and that many bytes off b: the body of one record.
func splitRecord(b []byte) (body, rest []byte, err error) {
	c := cursor{b: b}
	n := c.varint()
	if c.bad || n < 0 || int(n) > len(c.b) {
		return nil, nil, fmt.Errorf("%w: record length", ErrCorrupt)
	}
	return c.b[:n:n], c.b[n:], nil
}

// parse decodes the body of one record into r, which must fill it exactly. The headers are checked and left as they are.
func (r *rawRecord) parse(body []byte) error {
	if len(body) == 0 {
		return fmt.Errorf("%w: empty record", ErrCorrupt)
	}
	c := cursor{b: body[1:]} // the attributes of a record are unused
	r.timeDelta = c.varlong()
	r.offsetDelta = c.varint()
	r.key = c.bytes()
	r.value = c.bytes()
	r.headerCount = c.varint()
	if c.bad || r.headerCount < 0 || int(r.headerCount) > len(c.b)/2 {
		return fmt.Errorf("%w: record fields", ErrCorrupt)
	}
	r.headers = c.b
	for range r.headerCount {
		if key := c.bytes(); key == nil || c.bad {
			return fmt.Errorf("%w: record header", ErrCorrupt)
		}
		c.bytes()
	}
	if c.bad || len(c.b) != 0 {
		return fmt.Errorf("%w: record length", ErrCorrupt)
	}
	return nil
}

// appendHeaders decodes the headers, which parse has checked, onto dst.
func (r *rawRecord) appendHeaders(dst []Header) []Header {
	c := cursor{b: r.headers}
	for range r.headerCount {
		dst = append(dst, Header{Key: c.bytes(), Value: c.bytes()})
	}
	return dst
}

// appendRecord appends a record with its length.
func appendRecord(dst []byte, r *Record, timeDelta int64, offsetDelta int32) []byte {
	n := 1 + varintLen(timeDelta) + varintLen(int64(offsetDelta)) + bytesLen(r.Key) + bytesLen(r.Value) +
		varintLen(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timeDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func varintLen(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
