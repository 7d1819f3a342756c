package ledger

import (
	"fmt"
	"iter"
)

// Kind is a way in which a cluster can be wrong; the package comment says which rule it breaks.
type Kind string

// The kinds of violations.
const (
	Lost       Kind = "lost"       // committed, and not in the committed view
	Moved      Kind = "moved"      // not where its ack said
	Doubled    Kind = "doubled"    // in the log more than once
	Undone     Kind = "undone"     // of a void transaction, and in the committed view
	Torn       Kind = "torn"       // of an open transaction of which only a part is in the committed view
	Early      Kind = "early"      // given to a reader before its commit was asked for
	Changed    Kind = "changed"    // a reader was given something else there
	Skipped    Kind = "skipped"    // not given to a reader that read over its place
	Disordered Kind = "disordered" // given to a reader again or out of order
	Unserved   Kind = "unserved"   // an accepted order that was not fulfilled
	Repeated   Kind = "repeated"   // an order that was fulfilled twice
	Unbalanced Kind = "unbalanced" // sums that differ
	Gap        Kind = "gap"        // offsets of the uncommitted view do not follow each other from 0
	Hidden     Kind = "hidden"     // acknowledged, and not in the uncommitted view
	Misread    Kind = "misread"    // committed view and markers disagree
	Hanging    Kind = "hanging"    // no marker ends its transaction
	Backwards  Kind = "backwards"  // an offset below what was told before
	Beyond     Kind = "beyond"     // a last stable offset above the high watermark
	Stale      Kind = "stale"      // a last stable offset below what readers were given
	Zombie     Kind = "zombie"     // a fenced transaction that was told it committed
	Phantom    Kind = "phantom"    // sent by nobody
	Corrupt    Kind = "corrupt"    // not the bytes that were sent
)

// Violation is one thing that a correct cluster could not have shown. Lane and Offset are -1 where it has none.
type Violation struct {
	Kind   Kind
	Lane   int
	Offset int64
	Text   string
}

// String gives the violation in one line.
func (v Violation) String() string {
	if v.Lane < 0 {
		return fmt.Sprintf("%s: %s", v.Kind, v.Text)
	}
	return fmt.Sprintf("%s: lane %d offset %d: %s", v.Kind, v.Lane, v.Offset, v.Text)
}

// fault notes a breach; the caller holds the lock, or is Verify.
func (b *Book) fault(kind Kind, lane int, offset int64, format string, args ...any) {
	b.found = append(b.found, Violation{Kind: kind, Lane: lane, Offset: offset, Text: fmt.Sprintf(format, args...)})
}

// Record is one record as it stands at the end. Value may change once the next record is asked for.
type Record struct {
	Lane     int
	Offset   int64
	Value    []byte // of a marker: unused
	Producer int64  // producer id; used in the uncommitted view only
	Marker   Marker
}

// Marker says what a control record means.
type Marker int

// The markers; a record of a client has NoMarker.
const (
	NoMarker Marker = iota
	AbortMarker
	CommitMarker
)

// Verify judges the two views, each given with the records of a lane in the order in which they were read, and returns all
// violations, those found during the run first. It takes no lock: the views may be read by those who call the book.
func (b *Book) Verify(committedView, uncommittedView iter.Seq[Record]) []Violation {
	v := newVerifier(b)
	for r := range committedView {
		v.shown(r)
	}
	v.ends()
	v.spanning()
	v.transacted()
	v.ordered()
	v.balanced()
	v.judgeRaw(uncommittedView)
	return v.found
}

// verifier compares the book with the committed view.
type verifier struct {
	*Book
	view     []view
	stood    [][]int64               // by transaction, record: where it stands in the committed view, or unknown
	accounts map[int32]int64         // by account: debits and credits, less what the entries tell
	served   map[int64]*Transaction  // by order
	total    int64                   // of debits and credits
	raw      map[rawPlace]rawOpening // of the walk over the uncommitted view
}

func newVerifier(b *Book) *verifier {
	v := &verifier{
		Book: b, view: make([]view, len(b.lanes)), stood: make([][]int64, len(b.transactions)),
		accounts: make(map[int32]int64), served: make(map[int64]*Transaction),
	}
	for i, t := range b.transactions {
		v.stood[i] = make([]int64, len(t.offsets))
		for j := range v.stood[i] {
			v.stood[i][j] = unknown
		}
	}
	return v
}

// shown judges one record of the committed view by itself.
func (v *verifier) shown(r Record) {
	digest := v.digest(r.Value)
	v.view[r.Lane].add(r.Offset, digest)
	if seen := v.lanes[r.Lane].seen; r.Offset < int64(len(seen)) && seen[r.Offset] != 0 && seen[r.Offset] != digest {
		v.fault(Changed, r.Lane, r.Offset, "a reader was given different bytes during the run")
	}
	t, index := v.sent(r)
	if t == nil {
		return
	}
	where := &v.stood[t.number][index]
	if *where != unknown {
		v.fault(Doubled, r.Lane, r.Offset, "record %d of transaction %d stands at %d too", index, t.number, *where)
		return
	}
	*where = r.Offset
	v.book(r.Value, Leg(index%Topics))
}

// sent returns the transaction whose record this is and which of its records; it is nil, and a violation, where nobody sent it.
func (v *verifier) sent(r Record) (*Transaction, int) {
	n := parseName(r.Value)
	if n.transaction < 0 || n.transaction >= int64(len(v.transactions)) {
		v.fault(Phantom, r.Lane, r.Offset, "%d bytes that nobody sent", len(r.Value))
		return nil, 0
	}
	t := v.transactions[n.transaction]
	switch {
	case n.transfer < 0 || int(n.transfer) >= len(t.transfers) || n.leg < 0 || n.leg >= legs:
		v.fault(Phantom, r.Lane, r.Offset, "transaction %d has no such record", t.number)
		return nil, 0
	case v.Lane(n.leg, t.transfers[n.transfer].Partition[n.leg]) != r.Lane:
		v.fault(Phantom, r.Lane, r.Offset, "transaction %d sent it elsewhere", t.number)
		return nil, 0
	case !intact(r.Value, n, t.transfers[n.transfer]):
		v.fault(Corrupt, r.Lane, r.Offset, "not the bytes that transaction %d sent", t.number)
		return nil, 0
	}
	return t, int(n.transfer)*Topics + int(n.leg)
}

// book adds what a record's bytes say to the sums.
func (v *verifier) book(value []byte, leg Leg) {
	from, to, amount := moved(value)
	switch leg {
	case Debit:
		v.accounts[from] -= amount
		v.total -= amount
	case Credit:
		v.accounts[to] += amount
		v.total += amount
	case Entry:
		v.accounts[from] += amount
		v.accounts[to] -= amount
	}
}

// balanced compares the sums.
func (v *verifier) balanced() {
	if v.total != 0 {
		v.fault(Unbalanced, -1, -1, "all debits and credits together give %d", v.total)
	}
	for account, difference := range v.accounts {
		if difference != 0 {
			v.fault(Unbalanced, -1, -1, "debits and credits of account %d differ from its entries by %d", account, difference)
		}
	}
}

// ends compares where the committed view ends with what readers were given.
func (v *verifier) ends() {
	for lane := range v.lanes {
		for offset, seen := range v.lanes[lane].seen {
			if at := v.view[lane].before(int64(offset)); seen != 0 && (at == len(v.view[lane].offsets) || v.view[lane].offsets[at] != int64(offset)) {
				v.fault(Changed, lane, int64(offset), "a reader was given a record here, and none is shown any more")
			}
		}
	}
}

// transacted looks for the records of each transaction.
func (v *verifier) transacted() {
	for i, t := range v.transactions {
		stand := 0
		for record, where := range v.stood[i] {
			transfer, leg := t.transfers[record/Topics], Leg(record%Topics)
			lane, acked := v.Lane(leg, transfer.Partition[leg]), t.offsets[record]
			switch {
			case where != unknown && t.void():
				v.fault(Undone, lane, where, "%v was not committed", t)
			case where == unknown && t.outcome == committed && !t.void():
				v.fault(Lost, lane, acked, "record %d of committed %v is not shown", record, t)
			case where != unknown && acked != unknown && where != acked:
				v.fault(Moved, lane, where, "record %d of %v was acknowledged at %d", record, t, acked)
			}
			if where != unknown {
				stand++
			}
		}
		if t.outcome == open && !t.void() && stand != 0 && stand != len(t.offsets) {
			v.fault(Torn, -1, -1, "%d of the %d records of %v are shown", stand, len(t.offsets), t)
		}
		if stand != 0 {
			v.fulfil(t)
		}
	}
}

// fulfil notes the orders of a transaction that is shown.
func (v *verifier) fulfil(t *Transaction) {
	for _, transfer := range t.transfers {
		if transfer.Order == NoOrder {
			continue
		}
		if before := v.served[transfer.Order]; before != nil {
			v.fault(Repeated, -1, -1, "order %d was fulfilled by %v and %v", transfer.Order, before, t)
		}
		v.served[transfer.Order] = t
	}
}

// ordered looks for accepted orders that nobody fulfilled.
func (v *verifier) ordered() {
	for number, o := range v.orders {
		if o.accepted && v.served[int64(number)] == nil {
			v.fault(Unserved, -1, -1, "order %d was accepted, and no transaction fulfilled it", number)
		}
	}
}
