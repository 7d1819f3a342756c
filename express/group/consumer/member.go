package consumer

import (
	"slices"
	"time"

	"millrace/express/group/modern"
)

// State says how far a member is on its way to its target assignment. The numbers are in the log.
type State int8

// The states of a member, by Kafka's names and numbers.
const (
	Stable               State = 0   // it has what it shall have
	UnrevokedPartitions  State = 1   // it was told to give up partitions and still has them
	UnreleasedPartitions State = 2   // some of what it shall have is still with others
	Unknown              State = 127 // a newer version's: the member must start over
)

// Epochs of a member that are not counts.
const (
	epochLeave       = -1 // it leaves
	epochStaticLeave = -2 // a static member leaves, and its successor takes over what it had
)

// Protocol is one way to assign that a member of the classic protocol offers. Its bytes are never changed.
type Protocol struct {
	Name     string
	Metadata []byte
}

// Classic is what a member has that uses the classic protocol.
type Classic struct {
	Session   time.Duration
	Protocols []Protocol // in order of preference; at least one
}

// Member is one member of a consumer group. A Member never changes: an event makes a new one.
type Member struct {
	ID            string
	Instance      *string // nil for a dynamic member
	Rack          *string
	Client        modern.Client
	Rebalance     time.Duration // how long it may take to give up partitions
	Topics        []string      // that it names, ascending
	Regex         *string       // nil or "": none
	Assignor      *string       // that it wishes for
	Classic       *Classic      // nil if it uses the consumer protocol
	Epoch         int32
	PreviousEpoch int32
	State         State
	Assigned      modern.Owned // it may use
	Revoking      modern.Owned // it was told to give up
}

// regex is the member's regular expression, "" for none.
func (m *Member) regex() string {
	if m == nil || m.Regex == nil {
		return ""
	}
	return *m.Regex
}

// sameMetadata says whether the records of the members' metadata are equal.
func (m *Member) sameMetadata(o *Member) bool {
	return sameText(m.Instance, o.Instance) && sameText(m.Rack, o.Rack) && m.Client == o.Client && m.Rebalance == o.Rebalance &&
		slices.Equal(m.Topics, o.Topics) && sameText(m.Regex, o.Regex) && sameText(m.Assignor, o.Assignor) && m.Classic.equal(o.Classic)
}

// sameAssignment says whether the records of the members' current assignments are equal.
func (m *Member) sameAssignment(o *Member) bool {
	return m.Epoch == o.Epoch && m.PreviousEpoch == o.PreviousEpoch && m.State == o.State &&
		m.Assigned.Equal(o.Assigned) && m.Revoking.Equal(o.Revoking)
}

func (c *Classic) equal(o *Classic) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.Session == o.Session && slices.EqualFunc(c.Protocols, o.Protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}

// reconciled says whether nothing is left to do for a member on the way to the assignment of that epoch.
func (m *Member) reconciled(epoch int32) bool { return m.State == Stable && m.Epoch == epoch }

// move enters an epoch, which may be the one that the member is in.
func (m *Member) move(epoch int32) { m.PreviousEpoch, m.Epoch = m.Epoch, epoch }

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// names sorts topic names and removes repetitions.
func names(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
