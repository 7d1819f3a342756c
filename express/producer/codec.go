package producer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// A snapshot is the format version (uint16) and then sections: type (uint16), flags (uint16), length (uint32), body;
// big-endian, in ascending order of type. A reader skips an
// unknown section when its flagOptional is set and refuses the snapshot otherwise. The CRC is with whoever stores the
// snapshot. See docs/formats/wal.md.
const (
	snapshotVersion     = 1
	sectionHeader       = 8
	sectionHistories    = 1
	sectionTransactions = 2
	flagOptional        = 1
	minHistoryBytes     = 3 // of an encoded history: id, timestamp, count
	minEventBytes       = 7
	eventMarker         = 1
	knownEventFlags     = eventMarker
	versionBytes        = 2
)

// AppendTo encodes the table after dst; equal tables give equal bytes.
func (t *Table) AppendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	return appendSection(dst, sectionHistories, func(dst []byte) []byte {
		dst = binary.AppendUvarint(dst, uint64(len(t.producers)))
		for _, id := range slices.Sorted(maps.Keys(t.producers)) {
			dst = t.producers[id].appendTo(dst, id)
		}
		return dst
	})
}

// AppendTo encodes the state after dst; equal states give equal bytes, and one without transactions those of its table.
func (s *State) AppendTo(dst []byte) []byte {
	dst = s.Table.AppendTo(dst)
	if s.Transactions.Empty() {
		return dst
	}
	return appendSection(dst, sectionTransactions, s.Transactions.appendTo)
}

func appendSection(dst []byte, kind uint16, body func([]byte) []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	lengthAt := len(dst)
	dst = body(binary.BigEndian.AppendUint32(dst, 0))
	binary.BigEndian.PutUint32(dst[lengthAt:], uint32(len(dst)-lengthAt-4))
	return dst
}

// appendTo encodes a history: varints, offsets as the distance from the former event.
func (h *history) appendTo(dst []byte, id int64) []byte {
	dst = binary.AppendVarint(dst, id)
	dst = binary.AppendVarint(dst, h.timestamp)
	dst = append(dst, byte(len(h.events)))
	end := int64(0)
	for _, e := range h.events {
		flags := byte(0)
		if e.marker {
			flags |= eventMarker
		}
		dst = append(dst, flags)
		dst = binary.AppendVarint(dst, int64(e.epoch))
		dst = binary.AppendUvarint(dst, uint64(e.BaseOffset-end))
		dst = binary.AppendUvarint(dst, uint64(e.LastOffset-e.BaseOffset))
		dst = binary.AppendVarint(dst, int64(e.BaseSequence))
		dst = binary.AppendVarint(dst, int64(e.LastSequence))
		dst = binary.AppendVarint(dst, e.Timestamp)
		end = e.LastOffset + 1
	}
	return dst
}

// Decode reads what AppendTo of a State or a Table wrote, all of b. The state shares nothing with b. Errors: ErrCorrupt, ErrNewer.
func Decode(b []byte) (*State, error) {
	if len(b) < versionBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("%w: format %d, this version knows %d", ErrNewer, v, snapshotVersion)
	}
	s := &State{}
	for b = b[versionBytes:]; len(b) > 0; {
		if len(b) < sectionHeader || uint64(len(b)-sectionHeader) < uint64(binary.BigEndian.Uint32(b[4:])) {
			return nil, fmt.Errorf("%w: a section is cut short", ErrCorrupt)
		}
		kind, flags := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		end := sectionHeader + int(binary.BigEndian.Uint32(b[4:]))
		var err error
		switch {
		case kind == sectionHistories:
			err = s.decodeHistories(b[sectionHeader:end])
		case kind == sectionTransactions:
			err = s.Transactions.decode(b[sectionHeader:end])
		case flags&flagOptional == 0:
			err = fmt.Errorf("%w: section %d is not known here", ErrNewer, kind)
		}
		if err != nil {
			return nil, err
		}
		b = b[end:]
	}
	return s, nil
}

func (t *Table) decodeHistories(b []byte) error {
	r := reader{b: b}
	count := r.uvarint()
	if count > uint64(len(b)/minHistoryBytes) {
		return fmt.Errorf("%w: %d producers in %d bytes", ErrCorrupt, count, len(b))
	}
	for range count {
		id, h := r.varint(), r.history()
		if r.failed || id < 0 || t.producers[id] != nil {
			return fmt.Errorf("%w: producer %d", ErrCorrupt, id)
		}
		t.put(id, h)
	}
	if len(r.b) > 0 || r.failed {
		return fmt.Errorf("%w: %d bytes left over", ErrCorrupt, len(r.b))
	}
	return nil
}

// reader takes values off b; after a failure all values are zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) history() *history {
	h := &history{timestamp: r.varint()}
	count := int(r.byte())
	if count == 0 || count > historyLimit || count > len(r.b)/minEventBytes {
		r.failed = true
		return nil
	}
	h.events = make([]event, count)
	end := int64(0)
	for i := range h.events {
		e := &h.events[i]
		flags := r.byte()
		e.marker = flags&eventMarker != 0
		e.epoch = int16(r.within(-1, math.MaxInt16))
		e.BaseOffset = end + int64(r.uvarint())
		e.LastOffset = e.BaseOffset + int64(r.uvarint())
		e.BaseSequence = int32(r.within(-1, math.MaxInt32))
		e.LastSequence = int32(r.within(-1, math.MaxInt32))
		e.Timestamp = r.varint()
		if flags&^knownEventFlags != 0 || e.BaseOffset < end || e.LastOffset < e.BaseOffset || e.LastOffset == math.MaxInt64 {
			r.failed = true
			return nil
		}
		end = e.LastOffset + 1
	}
	return h
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return take(r, v, n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return take(r, v, n)
}

// within is a varint that must lie in [low, high].
func (r *reader) within(low, high int64) int64 {
	v := r.varint()
	if v < low || v > high {
		r.failed = true
		return 0
	}
	return v
}

func take[T int64 | uint64](r *reader, v T, n int) T {
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}
