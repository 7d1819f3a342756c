package share

import (
	"cmp"
	"slices"
	"time"

	"millrace/kafka/kerr"
)

// Ways to acknowledge a record, with Kafka's numbers.
const (
	Gap     int8 = 0 // there is no such record, or it is a control record
	Accept  int8 = 1
	Release int8 = 2
	Reject  int8 = 3
	Renew   int8 = 4 // hold it for longer
)

// Ack acknowledges records. Types has one element for all of them, or one for each.
type Ack struct {
	First, Last int64
	Types       []int8
}

// Error is why a request was refused.
type Error struct {
	Code    kerr.Code
	Message string // as Kafka says it
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the code.
func (e *Error) Unwrap() error { return e.Code }

func invalidState(message string) *Error {
	return &Error{Code: kerr.InvalidRecordState, Message: message}
}

func invalidRequest(message string) *Error {
	return &Error{Code: kerr.InvalidRequest, Message: message}
}

// Change is what must be stored. A Change without Batches needs no storing and no Settle.
type Change struct {
	ID       int64 // for Settle; 0: it is in force already, whether it can be stored or not
	Start    int64 // of the Partition
	Complete int32 // see Partition.Complete
	Batches  []Batch
}

// Acknowledge begins a change for records that the member holds. The Acks are in order and valid in themselves. On an *Error
// nothing is changed, but for locks that were renewed before it.
func (p *Partition) Acknowledge(now time.Time, member string, acks []Ack) (Change, error) {
	id := p.change + 1
	for _, a := range acks {
		if err := p.acknowledge(now, id, member, a); err != nil {
			p.undo(id)
			p.advance()
			return Change{}, err
		}
	}
	return p.begun(id), nil
}

func (p *Partition) acknowledge(now time.Time, id int64, member string, a Ack) error {
	if a.Last < p.start {
		return nil // done, one way or the other
	}
	first := max(a.First, p.start)
	switch {
	case len(p.runs) == 0:
		return invalidState("Batch record not found. The request batch offsets are not found in the cache.")
	case first >= p.next:
		return invalidRequest("Batch record not found. The first offset in request is past acquired records.")
	case a.Last >= p.next:
		return invalidRequest("Batch record not found. The last offset in request is past acquired records.")
	}
	for first <= a.Last {
		kind, last := a.Types[0], a.Last
		if len(a.Types) > 1 {
			kind, last = a.sameFrom(first)
		}
		if err := p.acknowledgeRange(now, id, member, first, last, kind); err != nil {
			return err
		}
		first = last + 1
	}
	return nil
}

// sameFrom returns the type of the record at offset and the last offset up to which all have it.
func (a *Ack) sameFrom(offset int64) (kind int8, last int64) {
	kind = a.Types[offset-a.First]
	for last = offset; last < a.Last && a.Types[last+1-a.First] == kind; {
		last++
	}
	return kind, last
}

func (p *Partition) acknowledgeRange(now time.Time, id int64, member string, first, last int64, kind int8) error {
	runs := p.between(first, last)
	for i := range runs {
		r := &runs[i]
		switch {
		case r.state != Acquired:
			return invalidState("The batch cannot be acknowledged. The batch is not in the acquired state.")
		case r.change != 0:
			return invalidState("The record state is invalid. The acknowledgement of delivery could not be completed.")
		case r.member != member:
			return invalidState("Member is not the owner of batch record")
		case kind == Renew && !p.limits.Renew:
			return invalidState("Renewing acquisition locks is not enabled for the group.")
		case kind == Renew:
			r.until = now.Add(p.limits.Lock)
		default:
			r.change, r.next = id, p.after(r, kind)
		}
	}
	return nil
}

// after is the state that an acknowledgement leads to.
func (p *Partition) after(r *run, kind int8) State {
	switch kind {
	case Accept:
		return Acknowledged
	case Release:
		return p.back(r)
	default:
		return Archived
	}
}

// back is the state of a record that comes back (S3).
func (p *Partition) back(r *run) State {
	if r.count >= p.limits.MaxDeliveries {
		return Archived
	}
	return Available
}

// Release begins a change that takes back everything that a member holds.
func (p *Partition) Release(member string) Change {
	id := p.change + 1
	for i := range p.runs {
		if r := &p.runs[i]; r.held() && r.member == member {
			r.change, r.next = id, p.back(r)
		}
	}
	return p.begun(id)
}

// begun is the change with that id, if there is anything in it.
func (p *Partition) begun(id int64) Change {
	c := Change{ID: id, Start: p.start}
	for i := range p.runs {
		if r := &p.runs[i]; r.change == id {
			c.add(Batch{First: r.first, Last: r.last, State: r.next, Count: r.count})
		}
	}
	p.join()
	if len(c.Batches) == 0 {
		return Change{}
	}
	p.change = id
	c.Complete = p.Complete()
	return c
}

func (c *Change) add(b Batch) {
	if n := len(c.Batches); n > 0 {
		if l := &c.Batches[n-1]; l.Last+1 == b.First && l.State == b.State && l.Count == b.Count {
			l.Last = b.Last
			return
		}
	}
	c.Batches = append(c.Batches, b)
}

// Settle ends a change: stored, or not. In the second case its records are held as before, unless their lock has run out.
func (p *Partition) Settle(id int64, stored bool) {
	if !stored {
		p.undo(id)
		p.advance()
		return
	}
	for i := range p.runs {
		if r := &p.runs[i]; r.change == id {
			p.seek = p.seek || r.next == Available
			r.set(r.next)
		}
	}
	p.advance()
}

func (p *Partition) undo(id int64) {
	for i := range p.runs {
		if r := &p.runs[i]; r.change == id {
			r.change, r.next = 0, 0
			p.lockEnds(r.until)
		}
	}
}

// lockEnds makes sure that Deadline is not after a lock's end (S8).
func (p *Partition) lockEnds(at time.Time) {
	if p.locks.IsZero() || at.Before(p.locks) {
		p.locks = at
	}
}

// Deadline is when Expire must be called next; ok is false while nothing is held. It may be too early.
func (p *Partition) Deadline() (at time.Time, ok bool) { return p.locks, !p.locks.IsZero() }

// Expire takes back what is held by locks that have run out. That is in force at once; storing it makes sure that the
// deliveries are counted after a restart too.
func (p *Partition) Expire(now time.Time) Change {
	if p.locks.IsZero() || p.locks.After(now) {
		return Change{}
	}
	c := Change{Start: p.start}
	p.locks = time.Time{}
	for i := range p.runs {
		r := &p.runs[i]
		switch {
		case !r.held():
		case r.until.After(now):
			p.lockEnds(r.until)
		default:
			r.set(p.back(r))
			p.seek = p.seek || r.state == Available
			c.add(Batch{First: r.first, Last: r.last, State: r.state, Count: r.count})
		}
	}
	if len(c.Batches) == 0 {
		return Change{}
	}
	c.Complete = p.Complete()
	p.advance()
	return c
}

// Combine lays newer batches over older ones, which are in order and do not overlap, and drops what is below start. Where
// two say something of the same record, the one with more deliveries counts, then the one with the higher state: a record
// never goes back.
func Combine(older, newer []Batch, start int64) []Batch {
	all := slices.Concat(older, newer)
	for i := range all {
		all[i].First = max(all[i].First, start)
	}
	all = slices.DeleteFunc(all, func(b Batch) bool { return b.Last < b.First })
	bounds := make([]int64, 0, 2*len(all))
	for _, b := range all {
		bounds = append(bounds, b.First, b.Last+1)
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	slices.SortStableFunc(all, func(a, b Batch) int { return cmp.Compare(a.First, b.First) })
	var out Change
	var active []Batch
	for i := 0; i+1 < len(bounds); i++ {
		from := bounds[i]
		for len(all) > 0 && all[0].First <= from {
			active, all = append(active, all[0]), all[1:]
		}
		active = slices.DeleteFunc(active, func(b Batch) bool { return b.Last < from })
		if len(active) == 0 {
			continue
		}
		top := slices.MaxFunc(active, func(a, b Batch) int {
			return cmp.Or(cmp.Compare(a.Count, b.Count), cmp.Compare(a.State, b.State))
		})
		top.First, top.Last = from, bounds[i+1]-1
		out.add(top)
	}
	return out.Batches
}
