package ledger

import (
	"iter"
	"slices"
)

// rawPlace is a producer's part of a lane.
type rawPlace struct {
	lane     int
	producer int64
}

// rawOpening is a producer's transaction in a lane that no marker has ended yet.
type rawOpening []int64 // offsets of its records

// judgeRaw walks the uncommitted view: every record that was acknowledged stands there, and the markers in it say what the
// committed view has to hold.
func (v *verifier) judgeRaw(uncommittedView iter.Seq[Record]) {
	v.raw = make(map[rawPlace]rawOpening)
	next := make([]int64, len(v.lanes))
	stands := make([][]int64, len(v.transactions))
	for i := range v.transactions {
		stands[i] = make([]int64, len(v.transactions[i].offsets))
		for j := range stands[i] {
			stands[i][j] = unknown
		}
	}
	for r := range uncommittedView {
		if r.Offset != next[r.Lane] {
			v.fault(Gap, r.Lane, r.Offset, "offset %d had to come", next[r.Lane])
		}
		next[r.Lane] = r.Offset + 1
		place := rawPlace{lane: r.Lane, producer: r.Producer}
		if r.Marker != NoMarker {
			v.mark(place, r.Marker)
			continue
		}
		v.raw[place] = append(v.raw[place], r.Offset)
		if t, index := v.sent(r); t != nil {
			if before := stands[t.number][index]; before != unknown {
				v.fault(Doubled, r.Lane, r.Offset, "record %d of transaction %d stands at %d too, committed or not", index, t.number, before)
			}
			stands[t.number][index] = r.Offset
		}
	}
	for place, offsets := range v.raw {
		v.fault(Hanging, place.lane, offsets[0], "no marker ends the transaction of producer %d", place.producer)
	}
	v.acknowledged(stands)
}

// mark compares the transaction that a marker ends with the committed view.
func (v *verifier) mark(place rawPlace, marker Marker) {
	offsets := v.raw[place]
	delete(v.raw, place)
	for _, offset := range offsets {
		_, shown := slices.BinarySearch(v.view[place.lane].offsets, offset)
		if shown != (marker == CommitMarker) {
			v.fault(Misread, place.lane, offset, "shown at read_committed: %v; committed by the next marker of producer %d: %v",
				shown, place.producer, !shown)
		}
	}
}

// acknowledged looks for every acknowledged record in the uncommitted view.
func (v *verifier) acknowledged(stands [][]int64) {
	for i, t := range v.transactions {
		for record, acked := range t.offsets {
			transfer, leg := t.transfers[record/Topics], Leg(record%Topics)
			if acked != unknown && stands[i][record] != acked {
				v.fault(Hidden, v.Lane(leg, transfer.Partition[leg]), acked,
					"record %d of %v was acknowledged here, and read_uncommitted shows it at %d", record, t, stands[i][record])
			}
		}
	}
}
