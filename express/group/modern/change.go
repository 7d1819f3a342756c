package modern

import (
	"time"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Error is why an event was refused, as the client hears it.
type Error struct {
	Code kerr.Code
	Text string
}

// Error implements error.
func (e *Error) Error() string { return e.Code.Name() + ": " + e.Text }

// Unwrap gives the code.
func (e *Error) Unwrap() error { return e.Code }

// Timer names what a member may be late with. A member has at most one deadline of each.
type Timer int8

// The timers of a member. Join and Sync are for members that use the classic protocol.
const (
	Session   Timer = iota // it must give a sign of life
	Rebalance              // it must give up the partitions that it was told to
	Join                   // it must send JoinGroup
	Sync                   // it must send SyncGroup
	timers
)

// Timers lists all of them.
func Timers() []Timer {
	out := make([]Timer, timers)
	for i := range out {
		out[i] = Timer(i)
	}
	return out
}

// TimerOp sets or cancels a deadline of a member.
type TimerOp struct {
	Member string
	Timer  Timer
	Cancel bool
	Keep   bool // a deadline that is set already stays as it is
	After  time.Duration
	Epoch  int32 // of the member when a Rebalance deadline was set
}

// Client is who sent a request, as describing a group shows it.
type Client struct {
	ID   string // client.id
	Host string // the address, as Kafka prints it: "/127.0.0.1"
}

// Commit is who commits offsets, and in which epoch or generation.
type Commit struct {
	Member        string
	Instance      *string
	Epoch         int32
	Version       int16 // of OffsetCommit; unused in a transaction
	Transactional bool
}

// Record is one record of a group of type G: what it says, and its bytes.
type Record[G any] interface {
	// Apply makes the group what the record says.
	Apply(g G)
	// Encode makes the record of the group with this id.
	Encode(group string) machine.Record
}

// Change is what an event makes of a group of type G.
type Change[G any] struct {
	Records []Record[G]
	Timers  []TimerOp
}

// Add appends records.
func (c *Change[G]) Add(records ...Record[G]) { c.Records = append(c.Records, records...) }

// Set sets a deadline, in place of the one there is.
func (c *Change[G]) Set(member string, t Timer, after time.Duration) {
	c.Timers = append(c.Timers, TimerOp{Member: member, Timer: t, After: after})
}

// SetIfAbsent sets a deadline unless there is one.
func (c *Change[G]) SetIfAbsent(member string, t Timer, after time.Duration) {
	c.Timers = append(c.Timers, TimerOp{Member: member, Timer: t, After: after, Keep: true})
}

// Cancel takes deadlines away.
func (c *Change[G]) Cancel(member string, timers ...Timer) {
	for _, t := range timers {
		c.Timers = append(c.Timers, TimerOp{Member: member, Timer: t, Cancel: true})
	}
}
