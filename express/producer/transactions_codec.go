package producer

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	minStatusBytes = 4 // of an encoded status: id, open, marker, epoch
	minEndedBytes  = 4
)

// appendTo encodes the transactions: varints; offsets plus one, so that none is zero.
func (t *Transactions) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.next))
	dst = binary.AppendUvarint(dst, uint64(len(t.producers)))
	for _, id := range t.sorted() {
		s := t.producers[id]
		dst = binary.AppendUvarint(dst, uint64(id))
		dst = binary.AppendUvarint(dst, uint64(s.open+1))
		dst = binary.AppendUvarint(dst, uint64(s.marker+1))
		dst = binary.AppendUvarint(dst, uint64(s.epoch+1))
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.ended)))
	for _, e := range t.ended {
		outcome := byte(0)
		if e.commit {
			outcome = 1
		}
		dst = binary.AppendUvarint(dst, uint64(e.producer))
		dst = binary.AppendUvarint(dst, uint64(e.first+1))
		dst = binary.AppendUvarint(dst, uint64(e.last))
		dst = append(dst, outcome)
	}
	return dst
}

// decode reads what appendTo wrote, all of b.
func (t *Transactions) decode(b []byte) error {
	r := reader{b: b}
	t.next = r.offset()
	producers := r.uvarint()
	if producers > uint64(len(r.b)/minStatusBytes) {
		return fmt.Errorf("%w: %d producers in %d bytes", ErrCorrupt, producers, len(b))
	}
	for range producers {
		id := r.offset()
		s := status{open: r.offset() - 1, marker: r.offset() - 1, epoch: int32(min(r.offset(), math.MaxInt32) - 1)}
		if _, twice := t.producers[id]; twice || r.failed || s.open >= t.next || s.marker >= t.next {
			return fmt.Errorf("%w: transactions of producer %d", ErrCorrupt, id)
		}
		t.put(id, s)
	}
	count := r.uvarint()
	if r.failed || count > uint64(len(r.b)/minEndedBytes) {
		return fmt.Errorf("%w: %d transactions in %d bytes", ErrCorrupt, count, len(r.b))
	}
	for range count {
		e := ended{producer: r.offset(), first: r.offset() - 1, last: r.offset(), commit: r.byte() == 1}
		before := int64(-1)
		if n := len(t.ended); n > 0 {
			before = t.ended[n-1].last
		}
		if r.failed || e.last <= before || e.first >= e.last || e.last >= t.next {
			return fmt.Errorf("%w: transaction of producer %d", ErrCorrupt, e.producer)
		}
		t.ended = append(t.ended, e)
	}
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("%w: %d bytes left over", ErrCorrupt, len(r.b))
	}
	return nil
}

// offset is a uvarint that an int64 holds.
func (r *reader) offset() int64 {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.failed = true
		return 0
	}
	return int64(v)
}
