package group

import (
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/express/group/modern"
	"millrace/express/group/shares"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// kind is a group of one of the newer protocols, as far as all of them are alike. What is different has a file of its own
// here, such as consumer.go, which knows the concrete type.
type kind interface {
	// Type is how ListGroups names the protocol.
	Type() string
	// ProtocolType is what ListGroups shows by that name.
	ProtocolType() string
	// State is the group's state, by Kafka's name.
	State() string
	// Len is the number of members.
	Len() int
	// Subscribed says whether a member reads the topic.
	Subscribed(topic string) bool
	// Bare says whether the log knows nothing of the group.
	Bare() bool
	// Tombstones take the whole group out of the log.
	Tombstones() []machine.Record
	// CheckCommit decides whether the group takes a commit, as a whole and partition by partition (nil: all).
	CheckCommit(c modern.Commit) (per func(t topic.ID, index int32) error, err error)
	// CheckFetch decides whether a member may read offsets; nil is nobody in particular.
	CheckFetch(member *string, epoch int32) error
}

// empty reports whether the group has no members.
func (g *group) empty() bool {
	if g.kind != nil {
		return g.kind.Len() == 0
	}
	return g.state == Empty
}

// typeAndState are what ListGroups shows.
func (g *group) typeAndState() (groupType, protocolType, state string) {
	if g.kind == nil || g.state == Dead {
		return classicType, g.protocolType, g.state.String()
	}
	return g.kind.Type(), g.kind.ProtocolType(), g.kind.State()
}

// become makes a classic group without members a group of another kind, or the other way round with nil.
func (m *Machine) become(g *group, k kind) {
	for id := range g.pending {
		m.timers.cancel(sessionKey(g, id))
	}
	m.timers.cancel(timerKey{kind: joinTimer, group: g.name})
	m.timers.cancel(timerKey{kind: syncTimer, group: g.name})
	fresh := newGroup(g.name, m.now.UnixMilli())
	fresh.kind, fresh.last, fresh.logged = k, g.last, g.logged
	fresh.offsets, fresh.inLog, fresh.unsettled, fresh.appending = g.offsets, g.inLog, g.unsettled, g.appending
	*g = *fresh
}

// ofKind are the records of a change as the log gets them.
func ofKind[G any](group string, records []modern.Record[G]) []Record {
	out := make([]Record, len(records))
	for i, r := range records {
		out[i] = Record{Record: r.Encode(group), ofKind: true}
	}
	return out
}

// fits refuses a change whose records are more than the log takes at once: such an append would fail, and with it every
// group of the partition would be loaded anew.
func (m *Machine) fits(records []Record) error {
	size := 0
	for _, r := range records {
		size += len(r.Key) + len(r.Value)
	}
	if size > m.limits.MaxGroupBytes {
		return &modern.Error{Code: kerr.UnknownServerError, Text: "The group's records would be too large."}
	}
	return nil
}

// setTimers sets and cancels deadlines of members.
func (m *Machine) setTimers(g *group, ops []modern.TimerOp) {
	for _, op := range ops {
		key := timerKey{kind: kindTimer, group: g.name, member: op.Member, timer: op.Timer}
		switch {
		case op.Cancel:
			m.timers.cancel(key)
		case op.Keep && m.timers.byKey[key] != nil:
		default:
			m.timers.set(timer{key: key, at: m.now.Add(op.After), generation: op.Epoch})
		}
	}
}

// expireKind handles a deadline of a member that has passed.
func (m *Machine) expireKind(g *group, t *timer) {
	switch k := g.kind.(type) {
	case *consumer.Group:
		m.expireConsumer(g, k, t)
	case *shares.Group:
		m.expireShare(g, k, t)
	}
}

// loadKind sets the deadlines of members that Replay brought back.
func (m *Machine) loadKind(g *group) {
	switch k := g.kind.(type) {
	case *consumer.Group:
		m.setTimers(g, k.Loaded(m.consumerEnv(g.name, nil)).Timers)
	case *shares.Group:
		m.setTimers(g, k.Loaded(m.shareEnv(g.name)).Timers)
	}
}

// afterLog answers once everything is durable that the group shows: at once, if that is so. refuse makes the answer if it
// never will be.
func (m *Machine) afterLog(g *group, t Ticket, r kmsg.Response, refuse func(code kerr.Code) kmsg.Response) {
	a := m.appends[g.last]
	if a == nil {
		m.reply(t, r)
		return
	}
	a.done = append(a.done, func(code kerr.Code) {
		if code != kerr.None {
			r = refuse(metadataError(code))
		}
		m.reply(t, r)
	})
}

// errorText is what a client hears of an error, nil where Kafka says nothing.
func errorText(err error) (int16, *string) {
	if refused := (*modern.Error)(nil); errors.As(err, &refused) {
		return int16(refused.Code), &refused.Text
	}
	return int16(kerr.Of(err)), nil
}

// tellKind notes what became of a group of a newer protocol.
func (m *Machine) tellKind(g *group, message string, attrs ...slog.Attr) {
	m.out.Notes = append(m.out.Notes, machine.Note{Message: message, Attrs: append([]slog.Attr{slog.String("group", g.name)}, attrs...)})
}
