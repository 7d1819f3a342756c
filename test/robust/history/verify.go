package history

import (
	"fmt"
	"iter"
)

// Kind is a way in which a log can be wrong; the package comment says which rule it breaks.
type Kind string

// The kinds of violations.
const (
	Lost      Kind = "lost"      // acknowledged, and not in the log
	Moved     Kind = "moved"     // acknowledged, and not where the ack said
	Doubled   Kind = "doubled"   // in the log more than once
	Reordered Kind = "reordered" // after a later record of its producer
	Phantom   Kind = "phantom"   // sent by nobody
	Corrupt   Kind = "corrupt"   // not the bytes that were sent
	Gap       Kind = "gap"       // offsets do not follow each other from 0
	Changed   Kind = "changed"   // a reader saw something else there
	Backwards Kind = "backwards" // an end offset below an earlier one
	Stale     Kind = "stale"     // an end offset below an ack that had arrived
)

// Violation is one thing that a correct cluster could not have shown.
type Violation struct {
	Kind      Kind
	Partition int32
	Offset    int64
	Text      string
}

// String gives the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s: partition %d offset %d: %s", v.Kind, v.Partition, v.Offset, v.Text)
}

// Record is one record of the log as it stands at the end.
type Record struct {
	Partition int32
	Offset    int64
	Value     []byte // read only until the next record is asked for
}

// Verify judges the log, given as each partition's records in the order in which they were read, and returns all
// violations, those found during the run first.
func (h *History) Verify(log iter.Seq[Record]) []Violation {
	v := newVerifier(h)
	for r := range log {
		v.record(r)
	}
	v.ends()
	v.acknowledged()
	return v.found
}

// verifier walks the log once and compares it with the history.
type verifier struct {
	*History
	found []Violation
	next  []int64         // by partition: the offset that has to come
	last  []map[int]int64 // by partition, by producer: the latest seq that has stood
	stood [][][]int64     // by producer, partition, seq: where the record stands first, unknown for nowhere
}

func newVerifier(h *History) *verifier {
	v := &verifier{
		History: h,
		found:   h.found,
		next:    make([]int64, len(h.partitions)),
		last:    make([]map[int]int64, len(h.partitions)),
		stood:   make([][][]int64, len(h.producers)),
	}
	for i := range v.last {
		v.last[i] = make(map[int]int64)
	}
	for i, p := range h.producers {
		v.stood[i] = make([][]int64, len(p.lanes))
		for j, lane := range p.lanes {
			v.stood[i][j] = make([]int64, len(lane))
			for seq := range lane {
				v.stood[i][j][seq] = unknown
			}
		}
	}
	return v
}

func (v *verifier) fault(kind Kind, partition int32, offset int64, format string, args ...any) {
	v.found = append(v.found, Violation{Kind: kind, Partition: partition, Offset: offset, Text: fmt.Sprintf(format, args...)})
}

// record judges one record by itself and against those before it.
func (v *verifier) record(r Record) {
	if r.Offset != v.next[r.Partition] {
		v.fault(Gap, r.Partition, r.Offset, "offset %d had to come", v.next[r.Partition])
	}
	v.next[r.Partition] = r.Offset + 1

	seen := v.partitions[r.Partition].seen
	if r.Offset < int64(len(seen)) && seen[r.Offset] != 0 && seen[r.Offset] != v.digest(r.Value) {
		v.fault(Changed, r.Partition, r.Offset, "a reader saw different bytes during the run")
	}
	id, intact := ParseValue(r.Value, v.valueSize)
	switch {
	case !v.sent(id) || id.Partition != r.Partition:
		v.fault(Phantom, r.Partition, r.Offset, "%d bytes that nobody sent to this partition", len(r.Value))
		return
	case !intact:
		v.fault(Corrupt, r.Partition, r.Offset, "not the bytes of %v", id)
		return
	}
	first := &v.stood[id.Producer][id.Partition][id.Seq]
	if *first != unknown {
		v.fault(Doubled, r.Partition, r.Offset, "%v stands at %d too", id, *first)
		return
	}
	*first = r.Offset
	if last, ok := v.last[r.Partition][id.Producer]; ok && id.Seq < last {
		v.fault(Reordered, r.Partition, r.Offset, "%v stands after seq %d of its producer", id, last)
		return
	}
	v.last[r.Partition][id.Producer] = id.Seq
}

// sent reports whether a producer named the record.
func (v *verifier) sent(id ID) bool {
	return id.Producer < len(v.stood) && id.Partition >= 0 && int(id.Partition) < len(v.partitions) &&
		id.Seq >= 0 && id.Seq < int64(len(v.stood[id.Producer][id.Partition]))
}

// ends compares where the partitions end with what readers were told and given.
func (v *verifier) ends() {
	for i := range v.partitions {
		end := v.next[i]
		if told := v.partitions[i].end; end < told {
			v.fault(Backwards, int32(i), end, "the log ends here, and its end offset was told as %d", told)
		}
		if seen := int64(len(v.partitions[i].seen)); end < seen {
			v.fault(Changed, int32(i), end, "the log ends here, and readers saw records up to %d", seen-1)
		}
	}
}

// acknowledged looks for every acknowledged record at its place.
func (v *verifier) acknowledged() {
	for number, p := range v.producers {
		for lane, offsets := range p.lanes {
			for seq, acked := range offsets {
				stands := v.stood[number][lane][seq]
				id := ID{Producer: number, Partition: int32(lane), Seq: int64(seq)}
				switch {
				case acked == unknown || stands == acked:
				case stands == unknown:
					v.fault(Lost, id.Partition, acked, "%v was acknowledged and is not in the log", id)
				default:
					v.fault(Moved, id.Partition, stands, "%v was acknowledged at %d", id, acked)
				}
			}
		}
	}
}
