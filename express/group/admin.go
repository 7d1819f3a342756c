package group

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// classicType is how ListGroups names the type of classic groups.
const classicType = "classic"

// List returns the groups in one of the states and of one of the types, without regard to case; empty filters let all
// through.
func (m *Machine) List(states, types []string) []kmsg.ListGroupsResponseGroup {
	var out []kmsg.ListGroupsResponseGroup
	for _, name := range m.names() {
		g := m.groups[name]
		groupType, protocolType, state := g.typeAndState()
		if !passes(states, state) || !passes(types, groupType) {
			continue
		}
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.ProtocolType, l.GroupState, l.GroupType = g.name, protocolType, state, groupType
		out = append(out, l)
	}
	return out
}

func passes(filter []string, s string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, s) })
}

// describeNotFound is the version of DescribeGroups from which on a missing group is an error and not just dead.
const describeNotFound = 6

// Describe returns what DescribeGroups shows of a group.
func (m *Machine) Describe(name string, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = name
	g := m.groups[name]
	if g == nil || g.kind != nil {
		d.State = Dead.String()
		if version >= describeNotFound {
			text := "Group " + name + " not found."
			if g != nil {
				text = "Group " + name + " is not a classic group."
			}
			d.ErrorCode, d.ErrorMessage = int16(kerr.GroupIDNotFound), &text
		}
		return d
	}
	d.State, d.ProtocolType = g.state.String(), g.protocolType
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, mem := range g.order {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID = mem.id, mem.instance
		dm.ClientID, dm.ClientHost = mem.client.ID, mem.client.Host
		dm.MemberAssignment = mem.assignment
		if g.state == Stable {
			dm.ProtocolMetadata = mem.metadata(g.protocol)
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// DeleteGroups removes empty groups with their offsets. The answer, a *kmsg.DeleteGroupsResponse with the groups in the
// order of names, waits until the log knows about all of them.
func (m *Machine) DeleteGroups(now time.Time, t Ticket, names []string) Effects {
	m.now = now
	r := kmsg.NewPtrDeleteGroupsResponse()
	open := 1 // this method itself, and one for each group on its way out
	settle := func() {
		if open--; open == 0 {
			m.reply(t, r)
		}
	}
	r.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(names))
	for i, name := range names {
		answer := &r.Groups[i]
		answer.Default()
		answer.Group = name
		switch g := m.groups[name]; {
		case g == nil, g.state == Dead:
			answer.ErrorCode = int16(kerr.GroupIDNotFound)
		case !g.empty():
			answer.ErrorCode = int16(kerr.NonEmptyGroup)
		default:
			open++
			m.tell(g, "group deleted", "by request")
			m.delete(g, func(code kerr.Code) {
				answer.ErrorCode = int16(metadataError(code))
				settle()
			})
		}
	}
	settle()
	return m.take()
}

// delete removes an empty group from the log and, when that is durable, from memory. Until then it is dead and takes no
// request, so nothing can be lost between the two.
func (m *Machine) delete(g *group, done func(code kerr.Code)) {
	var records []Record
	for _, tp := range g.stored() {
		records = append(records, offsetTombstone(g.name, tp))
	}
	if g.logged || g.appending > 0 {
		records = append(records, groupTombstone(g.name))
	}
	records = append(records, g.kindTombstones()...)
	g.state = Dead
	settle := func(code kerr.Code) {
		if code != kerr.None {
			g.state = Empty
		} else if m.groups[g.name] == g {
			for id := range g.pending {
				m.timers.cancel(sessionKey(g, id))
			}
			delete(m.groups, g.name)
		}
		done(code)
	}
	if len(records) == 0 {
		settle(kerr.None)
		return
	}
	m.log(g, records, settle)
}
