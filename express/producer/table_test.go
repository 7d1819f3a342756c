package producer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"pgregory.net/rapid"

	"millrace/kafka/record"
)

// spec describes a batch without records.
type spec struct {
	producer  int64
	epoch     int16
	base      int64
	sequence  int32
	count     int32 // records; 0 stands for 1
	timestamp int64
	marker    bool
}

func (s spec) batch() record.Batch {
	b := make([]byte, record.HeaderBytes)
	count := max(s.count, 1)
	binary.BigEndian.PutUint64(b, uint64(s.base))
	binary.BigEndian.PutUint32(b[8:], record.HeaderBytes-record.OverheadBytes)
	b[16] = 2
	if s.marker {
		b[22] = 0x30
		s.sequence = -1
	}
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint64(b[35:], uint64(s.timestamp))
	binary.BigEndian.PutUint64(b[43:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[51:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(s.sequence))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// TestCheck holds Kafka's rules: what was appended, what comes, what the answer is.
func TestCheck(t *testing.T) {
	five := []spec{
		{base: 0, sequence: 0, count: 2}, {base: 10, sequence: 2}, {base: 11, sequence: 3}, {base: 12, sequence: 4},
		{base: 13, sequence: 5, count: 3, timestamp: 77},
	}
	six := append(five[:5:5], spec{base: 20, sequence: 8})
	for _, c := range []struct {
		name     string
		appended []spec
		next     spec
		dup      int64 // base offset of the duplicate; -1: none
		err      error
	}{
		{"unknown producer, first sequence", nil, spec{}, -1, nil},
		{"unknown producer, any sequence", nil, spec{sequence: 42, epoch: 3}, -1, nil},
		{"next sequence", five, spec{sequence: 8}, -1, nil},
		{"gap", five, spec{sequence: 9}, -1, ErrOutOfOrderSequence},
		{"newest again", five, spec{sequence: 5, count: 3}, 13, nil},
		{"oldest again", five, spec{sequence: 0, count: 2}, 0, nil},
		{"oldest but five again", six, spec{sequence: 0, count: 2}, -1, ErrOutOfOrderSequence},
		{"same first sequence, other last", five, spec{sequence: 5, count: 2}, -1, ErrOutOfOrderSequence},
		{"overlap", five, spec{sequence: 4, count: 4}, -1, ErrOutOfOrderSequence},
		{"old epoch", []spec{{epoch: 2}}, spec{epoch: 1, sequence: 1}, -1, ErrInvalidEpoch},
		{"old epoch, duplicate", []spec{{epoch: 1}, {epoch: 2, base: 1}}, spec{epoch: 1}, -1, ErrInvalidEpoch},
		{"new epoch begins at zero", []spec{{epoch: 1, sequence: 5}}, spec{epoch: 2}, -1, nil},
		{"new epoch goes on", []spec{{epoch: 1, sequence: 5}}, spec{epoch: 2, sequence: 6}, -1, ErrOutOfOrderSequence},
		{"new epoch with a known range", []spec{{epoch: 1, sequence: 0}}, spec{epoch: 2, sequence: 0}, -1, nil},
		{"wrap", []spec{{sequence: math.MaxInt32}}, spec{sequence: 0}, -1, nil},
		{"wrap within a batch", []spec{{sequence: math.MaxInt32 - 1, count: 4}}, spec{sequence: 2}, -1, nil},
		{"wrap within a batch, again", []spec{{sequence: math.MaxInt32 - 1, count: 4, base: 9}}, spec{sequence: math.MaxInt32 - 1, count: 4}, 9, nil},
		{"one before the wrap", []spec{{sequence: math.MaxInt32 - 1}}, spec{sequence: 0}, -1, ErrOutOfOrderSequence},
		{"after a marker of the epoch", []spec{{epoch: 1}, {epoch: 1, base: 1, marker: true}}, spec{epoch: 1, sequence: 1}, -1, nil},
		{"duplicate over a marker of the epoch", []spec{{epoch: 1}, {epoch: 1, base: 1, marker: true}}, spec{epoch: 1}, 0, nil},
		{"after a marker of a new epoch", []spec{{epoch: 1}, {epoch: 2, base: 1, marker: true}}, spec{epoch: 2}, -1, nil},
		{"after a marker, not at zero", []spec{{epoch: 1}, {epoch: 2, base: 1, marker: true}}, spec{epoch: 2, sequence: 1}, -1, ErrOutOfOrderSequence},
		{"fenced by a marker", []spec{{epoch: 1}, {epoch: 2, base: 1, marker: true}}, spec{epoch: 1, sequence: 1}, -1, ErrInvalidEpoch},
		{"marker", five, spec{marker: true}, -1, nil},
		{"marker of an old epoch", []spec{{epoch: 2}}, spec{epoch: 1, marker: true}, -1, ErrInvalidEpoch},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := tableOf(c.appended)
			dup, err := table.Check(c.next.batch())
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			base := int64(-1)
			if dup != nil {
				base = dup.BaseOffset
			}
			if base != c.dup {
				t.Errorf("duplicate of the batch at %d, want %d", base, c.dup)
			}
		})
	}
}

func tableOf(list []spec) *Table {
	table := &Table{}
	for _, s := range list {
		table.Apply(s.batch())
	}
	return table
}

func TestDuplicateTellsOffsetsAndTimestamp(t *testing.T) {
	table := tableOf([]spec{{base: 100, count: 10, timestamp: 5}})
	dup, err := table.Check(spec{count: 10}.batch())
	if want := (Batch{BaseOffset: 100, LastOffset: 109, LastSequence: 9, Timestamp: 5}); err != nil || dup == nil || *dup != want {
		t.Errorf("duplicate %+v, %v", dup, err)
	}
}

func TestRollback(t *testing.T) {
	table := tableOf([]spec{
		{producer: 1, epoch: 1, base: 0}, {producer: 1, epoch: 1, base: 1, sequence: 1}, {producer: 2, base: 2},
		{producer: 1, epoch: 2, base: 3}, {producer: 1, epoch: 3, base: 4, marker: true},
	})
	table.Rollback(4)
	if _, err := table.Check(spec{producer: 1, epoch: 2, sequence: 1}.batch()); err != nil {
		t.Errorf("after the marker was taken back: %v", err)
	}
	table.Rollback(3)
	if dup, err := table.Check(spec{producer: 1, epoch: 1, sequence: 1}.batch()); err != nil || dup == nil || dup.BaseOffset != 1 {
		t.Errorf("former epoch is not back: %v, %v", dup, err)
	}
	table.Rollback(2)
	if table.Len() != 1 {
		t.Errorf("%d producers", table.Len())
	}
	table.Rollback(0)
	if table.Len() != 0 {
		t.Errorf("%d producers", table.Len())
	}
}

func TestExpire(t *testing.T) {
	table := tableOf([]spec{{producer: 1, timestamp: 10}, {producer: 2, base: 1, timestamp: 20}, {producer: 1, base: 2, sequence: 1, timestamp: 30}})
	if gone := table.Expire(20, nil); len(gone) != 0 {
		t.Errorf("%d expired", len(gone))
	}
	if gone := table.Expire(21, nil); len(gone) != 1 || table.Len() != 1 {
		t.Errorf("%d expired", len(gone))
	}
	if _, err := table.Check(spec{producer: 2, sequence: 99}.batch()); err != nil {
		t.Errorf("an expired producer is not unknown: %v", err)
	}
}

func TestBatchesWithoutProducerAreIgnored(t *testing.T) {
	if table := tableOf([]spec{{producer: -1}}); table.Len() != 0 {
		t.Error("kept")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := tableOf([]spec{{producer: 1}}).AppendTo(nil)
	if _, err := Decode(append([]byte{0, 2}, good[2:]...)); !errors.Is(err, ErrNewer) {
		t.Errorf("version 2: %v", err)
	}
	required := append(good[:len(good):len(good)], 0, 9, 0, 0, 0, 0, 0, 1, 7)
	if _, err := Decode(required); !errors.Is(err, ErrNewer) {
		t.Errorf("unknown section: %v", err)
	}
	optional := append(good[:len(good):len(good)], 0, 9, 0, 1, 0, 0, 0, 1, 7)
	if table, err := Decode(optional); err != nil || table.Len() != 1 {
		t.Errorf("unknown optional section: %v", err)
	}
	for n := range len(good) {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrCorrupt) && n != versionBytes {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(tableOf(nil).AppendTo(nil))
	f.Add(tableOf([]spec{{producer: 1}, {producer: 9, base: 5, epoch: 2, marker: true}}).AppendTo(nil))
	var state State
	for i, s := range []step{{producer: 1, count: 2}, {producer: 2, count: 1}, {producer: 1, marker: true}, {producer: 9, marker: true, commit: true}} {
		state.Apply(s.batch(&rapid.T{}, int64(i*2)))
	}
	f.Add(state.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(table.AppendTo(nil))
		if err != nil || fmt.Sprint(again.AppendTo(nil)) != fmt.Sprint(table.AppendTo(nil)) {
			t.Fatalf("does not survive a round: %v", err)
		}
		again.Merge(table)
		again.Below(100).Rollback(3)
		_, _ = again.Check(spec{producer: 1, sequence: 5}.batch())
	})
}

func BenchmarkCheckApply(b *testing.B) {
	table := &Table{}
	batch := spec{producer: 7}.batch()
	b.ReportAllocs()
	for i := range b.N {
		batch.SetBaseOffset(int64(i))
		binary.BigEndian.PutUint32(batch[53:], uint32(i&math.MaxInt32))
		if _, err := table.Check(batch); err != nil {
			b.Fatal(err)
		}
		table.Apply(batch)
	}
}
