package share

import (
	"errors"
	"fmt"
	"time"
)

// State of a record, with Kafka's numbers.
type State int8

// The states; see the package comment.
const (
	Available    State = 0
	Acquired     State = 1
	Acknowledged State = 2
	Archived     State = 4
)

// final says that the record needs no delivery any more.
func (s State) final() bool { return s == Acknowledged || s == Archived }

// Batch is a run of records with the same state as it is stored. Acquired is never stored.
type Batch struct {
	First, Last int64 // offsets, both inclusive
	State       State
	Count       int16 // deliveries so far
}

// ErrCorrupt is returned by New for state that no Partition can have stored.
var ErrCorrupt = errors.New("share: corrupt state")

// Limits are the settings of the group. They may change at any time (SetLimits) and count from the next event on.
type Limits struct {
	MaxDeliveries int16         // deliveries of one record; at least 1
	MaxInFlight   int           // records between Start and Next beyond which no more are acquired
	Lock          time.Duration // how long a member holds what it acquired
	Renew         bool          // whether members may renew their locks
}

// DefaultLimits are Kafka's defaults.
func DefaultLimits() Limits {
	return Limits{MaxDeliveries: 5, MaxInFlight: 2000, Lock: 30 * time.Second, Renew: true}
}

// Partition is one share-partition. Make one with New. Not safe for concurrent use.
type Partition struct {
	limits Limits
	start  int64 // first offset that is not done; Kafka's SPSO
	next   int64 // first offset that was never acquired
	runs   []run // from start to next, without a gap (S4)
	seek   bool  // some run may be available
	change int64 // the last one that was begun
	locks  time.Time
}

// New makes a Partition of what was stored: the start offset and the runs from there on. Records between runs were acquired
// and never came back, so they are available. It returns ErrCorrupt.
func New(limits Limits, start int64, stored []Batch) (*Partition, error) {
	p := &Partition{limits: limits, start: start, next: start}
	if start < 0 {
		return nil, fmt.Errorf("%w: start offset %d", ErrCorrupt, start)
	}
	for _, b := range stored {
		if b.First < p.next || b.Last < b.First || b.Count < 0 {
			return nil, fmt.Errorf("%w: records %d to %d after %d", ErrCorrupt, b.First, b.Last, p.next)
		}
		switch b.State {
		case Available, Acknowledged, Archived:
		default:
			return nil, fmt.Errorf("%w: records %d to %d in state %d", ErrCorrupt, b.First, b.Last, b.State)
		}
		p.fill(b.First, Available)
		p.push(run{first: b.First, last: b.Last, state: b.State, count: b.Count, batch: b.First})
	}
	p.seek = true
	p.advance()
	return p, nil
}

// SetLimits replaces the limits. Locks that are held keep their end.
func (p *Partition) SetLimits(l Limits) { p.limits = l }

// Start is the first offset that is not done.
func (p *Partition) Start() int64 { return p.start }

// Next is the first offset that was never acquired.
func (p *Partition) Next() int64 { return p.next }

// NextFetch is where the log must be read for Acquire: at the first available record, else at Next.
func (p *Partition) NextFetch() int64 {
	if p.seek {
		for i := range p.runs {
			if p.runs[i].free() {
				return p.runs[i].first
			}
		}
		p.seek = false
	}
	return p.next
}

// InFlight is the number of offsets between Start and Next.
func (p *Partition) InFlight() int64 { return p.next - p.start }

// CanAcquire says whether reading at NextFetch can be of use: something came back, or there is room for more.
func (p *Partition) CanAcquire() bool {
	return p.NextFetch() != p.next || p.InFlight() < int64(p.limits.MaxInFlight)
}

// Complete is the number of records from Start on that are done, with those whose end is being stored.
func (p *Partition) Complete() int32 {
	n := int64(0)
	for i := range p.runs {
		if p.runs[i].to().final() {
			n += p.runs[i].len()
		}
	}
	return int32(min(n, 1<<31-1))
}

// MoveStart tells that the log begins at offset now: what is below it is done, whoever holds it.
func (p *Partition) MoveStart(offset int64) {
	if offset <= p.start {
		return
	}
	if offset < p.next {
		p.runs = p.runs[p.cut(offset):]
	} else {
		p.runs, p.next = nil, offset
	}
	p.start = offset
	p.advance()
}

// advance moves the start over what is done.
func (p *Partition) advance() {
	n := 0
	for n < len(p.runs) && p.runs[n].state.final() {
		p.start = p.runs[n].last + 1
		n++
	}
	if n == len(p.runs) {
		p.runs = nil
		return
	}
	p.runs = append(p.runs[:0], p.runs[n:]...)
	p.join()
}
