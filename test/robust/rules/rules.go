package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"millrace/test/robust/tape"
)

// Kind is an anomaly; the package comment says which rule it breaks.
type Kind string

// The kinds of anomalies.
const (
	Inconsistent     Kind = "inconsistent"      // two records at an offset
	Duplicate        Kind = "duplicate"         // a record at two places
	Lost             Kind = "lost"              // acknowledged, and passed over by all readers
	Unseen           Kind = "unseen"            // acknowledged, and above all that was read
	Phantom          Kind = "phantom"           // sent by nobody
	Aborted          Kind = "aborted"           // of a transaction that was not committed
	Precommitted     Kind = "precommitted"      // given to the transaction that sent it
	Early            Kind = "early"             // given before the commit was asked for
	NonmonotonicPoll Kind = "nonmonotonic-poll" // given after a later one
	PollSkip         Kind = "poll-skip"         // left out between two that were given
	NonmonotonicSend Kind = "nonmonotonic-send" // stands before one that its process sent earlier
	Torn             Kind = "torn"              // a part of a transaction's records
	Circle           Kind = "G1c"               // transactions that have read from each other
)

// Violation is one thing that a correct cluster could not have shown.
type Violation struct {
	Kind Kind
	Op   *tape.Op // that shows it
	Text string
}

// String gives the violation in one line.
func (v Violation) String() string { return fmt.Sprintf("%s: %v: %s", v.Kind, v.Op, v.Text) }

// place is where a record stands.
type place struct {
	key    int
	offset int64
}

// judge is the index of a tape, and what was found.
type judge struct {
	ops    []*tape.Op
	found  []Violation
	writer map[int64]*tape.Op // by value
	at     map[place]int64    // the value that stands there, as it was told first
	where  map[int64]place    // the place of a value, as it was told first
	given  map[int64]bool     // values that somebody polled
	polled map[int][]int64    // by key: the offsets of all that somebody polled, sorted
}

// Judge returns all anomalies of a tape.
func Judge(ops []*tape.Op) []Violation {
	j := &judge{
		ops: ops, writer: make(map[int64]*tape.Op), at: make(map[place]int64), where: make(map[int64]place),
		given: make(map[int64]bool), polled: make(map[int][]int64),
	}
	j.index()
	j.sends()
	j.polls()
	j.readers()
	j.circles()
	return j.found
}

func (j *judge) fault(kind Kind, op *tape.Op, format string, args ...any) {
	j.found = append(j.found, Violation{Kind: kind, Op: op, Text: fmt.Sprintf(format, args...)})
}

// index notes who sent what and where it stands (J1).
func (j *judge) index() {
	for _, op := range j.ops {
		for _, r := range op.Sent {
			j.writer[r.Value] = op
			if r.Offset != tape.NoOffset {
				j.stands(op, r)
			}
		}
		for _, r := range op.Polled {
			j.stands(op, r)
			if !j.given[r.Value] {
				j.given[r.Value] = true
				j.polled[r.Key] = append(j.polled[r.Key], r.Offset)
			}
		}
	}
	for _, offsets := range j.polled {
		slices.Sort(offsets)
	}
}

// stands notes what an operation tells of a record.
func (j *judge) stands(op *tape.Op, r tape.Record) {
	p := place{r.Key, r.Offset}
	if value, ok := j.at[p]; ok && value != r.Value {
		j.fault(Inconsistent, op, "record %d at offset %d of key %d, where record %d was seen", r.Value, r.Offset, r.Key, value)
	}
	if other, ok := j.where[r.Value]; ok && other != p {
		j.fault(Duplicate, op, "record %d at offset %d of key %d, and it was seen at offset %d of key %d",
			r.Value, r.Offset, r.Key, other.offset, other.key)
	}
	if _, ok := j.at[p]; !ok {
		j.at[p] = r.Value
	}
	if _, ok := j.where[r.Value]; !ok {
		j.where[r.Value] = p
	}
}

// sends judges what became of what was sent (J2, J6, J7).
func (j *judge) sends() {
	last := make(map[place]tape.Record) // by process and key
	for _, op := range j.ops {
		seen := 0
		for _, r := range op.Sent {
			if j.given[r.Value] {
				seen++
			} else if op.Outcome == tape.OK && r.Offset != tape.NoOffset {
				j.missing(op, r)
			}
			if r.Offset == tape.NoOffset {
				continue
			}
			lane := place{r.Key, int64(op.Process)}
			if before, ok := last[lane]; ok && before.Offset >= r.Offset {
				j.fault(NonmonotonicSend, op, "record %d at offset %d of key %d, after record %d at %d",
					r.Value, r.Offset, r.Key, before.Value, before.Offset)
			}
			last[lane] = r
		}
		if op.Kind == tape.Txn && op.Outcome == tape.Unknown && seen > 0 && seen < len(op.Sent) {
			j.fault(Torn, op, "%d of its %d records were given to anybody", seen, len(op.Sent))
		}
	}
}

// missing says how a record is missing that nobody was given.
func (j *judge) missing(op *tape.Op, r tape.Record) {
	kind := Unseen
	if offsets := j.polled[r.Key]; len(offsets) > 0 && offsets[len(offsets)-1] > r.Offset {
		kind = Lost
	}
	j.fault(kind, op, "record %d at offset %d of key %d was given to nobody", r.Value, r.Offset, r.Key)
}

// polls judges each record that was given (J3, J4).
func (j *judge) polls() {
	for _, op := range j.ops {
		for _, r := range op.Polled {
			w := j.writer[r.Value]
			switch {
			case w == nil:
				j.fault(Phantom, op, "record %d at offset %d of key %d was sent by nobody", r.Value, r.Offset, r.Key)
			case w.Outcome == tape.Failed:
				j.fault(Aborted, op, "record %d of %v, which has failed", r.Value, w)
			case w == op:
				j.fault(Precommitted, op, "record %d is its own", r.Value)
			case read(op) < started(w):
				j.fault(Early, op, "record %d of %v, which was not asked for yet", r.Value, w)
			}
		}
	}
}

// started is the first moment at which the records of an operation may be given to anybody.
func started(op *tape.Op) int64 {
	if op.Kind == tape.Txn {
		return op.Asked
	}
	return op.Call
}

// read is the last moment at which an operation may have been given its records: a transaction polls before it asks for its commit.
func read(op *tape.Op) int64 { return min(op.Asked, op.Return) }

// readers judges what each consumer was given, in its order (J5).
func (j *judge) readers() {
	last := make(map[int]map[int]int64) // by process, by key: the offset that was given last
	for _, op := range j.ops {
		if op.Kind == tape.Assign || last[op.Process] == nil {
			last[op.Process] = make(map[int]int64)
		}
		for _, r := range op.Polled {
			before, ok := last[op.Process][r.Key]
			last[op.Process][r.Key] = r.Offset
			switch {
			case !ok:
			case r.Offset <= before:
				j.fault(NonmonotonicPoll, op, "offset %d of key %d after %d", r.Offset, r.Key, before)
			default:
				j.skipped(op, r, before)
			}
		}
	}
}

// skipped looks for what others were given between two records of a consumer.
func (j *judge) skipped(op *tape.Op, r tape.Record, before int64) {
	offsets := j.polled[r.Key]
	from, _ := slices.BinarySearch(offsets, before+1)
	to, _ := slices.BinarySearch(offsets, r.Offset)
	if from < to {
		j.fault(PollSkip, op, "offset %d of key %d after %d, and others were given %d records between them", r.Offset, r.Key, before, to-from)
	}
}

// circles looks for transactions that have read from each other (J8).
func (j *judge) circles() {
	from := j.readFrom()
	const onPath, done = 1, 2
	state := make(map[*tape.Op]int)
	type visit struct {
		op   *tape.Op
		next int // of those that it has read from
	}
	for _, root := range j.ops {
		if state[root] == done {
			continue
		}
		state[root] = onPath
		for path := []visit{{op: root}}; len(path) > 0; { // in depth, without recursion: chains may be long
			top := &path[len(path)-1]
			if top.next == len(from[top.op]) {
				state[top.op] = done
				path = path[:len(path)-1]
				continue
			}
			to := from[top.op][top.next]
			top.next++
			switch state[to] {
			case onPath:
				j.fault(Circle, top.op, "it has read from %v, which has read from it or from others that have", to)
			case done:
			default:
				state[to] = onPath
				path = append(path, visit{op: to})
			}
		}
	}
}

// readFrom returns, by transaction, whose records it was given.
func (j *judge) readFrom() map[*tape.Op][]*tape.Op {
	from := make(map[*tape.Op][]*tape.Op)
	for _, op := range j.ops {
		writers := make(map[*tape.Op]bool)
		for _, r := range op.Polled {
			if w := j.writer[r.Value]; op.Kind == tape.Txn && w != nil && w != op && w.Kind == tape.Txn {
				writers[w] = true
			}
		}
		from[op] = slices.SortedFunc(maps.Keys(writers), func(a, b *tape.Op) int { return cmp.Compare(a.Number, b.Number) })
	}
	return from
}
