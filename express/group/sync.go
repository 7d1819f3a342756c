package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/kafka/kerr"
)

// SyncGroup handles versions 0 to 5. Nothing of req is kept.
func (m *Machine) SyncGroup(now time.Time, t Ticket, req *kmsg.SyncGroupRequest) Effects {
	m.now = now
	if code := m.sync(&parked{ticket: t, version: req.Version}, req); code != kerr.None {
		m.reply(t, syncError(code))
	}
	return m.take()
}

// sync returns an error, or None when the request is answered or parked.
func (m *Machine) sync(p *parked, req *kmsg.SyncGroupRequest) kerr.Code {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	g := m.groups[req.Group]
	if g != nil && g.kind != nil && g.state != Dead {
		if k, ok := g.kind.(*consumer.Group); ok {
			return m.syncConsumer(g, k, p.ticket, req)
		}
	}
	switch {
	case g == nil, g.state == Empty:
		return kerr.UnknownMemberID
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	}
	if code := g.check(req.MemberID, req.InstanceID); code != kerr.None {
		return code
	}
	switch {
	case req.Generation != g.generation:
		return kerr.IllegalGeneration
	case differs(req.ProtocolType, g.protocolType), differs(req.Protocol, g.protocol):
		return kerr.InconsistentGroupProtocol
	case g.state == PreparingRebalance:
		return kerr.RebalanceInProgress
	}
	mem := g.members[req.MemberID]
	m.synced(g, mem)
	if g.state == Stable {
		m.reply(p.ticket, g.synced(mem))
		return kerr.None
	}
	m.answerSync(mem, syncError(kerr.RebalanceInProgress)) // of a connection that is gone
	mem.sync = p
	if g.leader == mem.id {
		m.assign(g, req)
	}
	return kerr.None
}

// assign writes the leader's assignment. The group is stable, and the members get it, when it is durable.
func (m *Machine) assign(g *group, req *kmsg.SyncGroupRequest) {
	assignments := make(map[string][]byte, len(g.order))
	size := 0
	for _, a := range req.GroupAssignment {
		if g.members[a.MemberID] != nil {
			assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
			size += len(a.MemberAssignment)
		}
	}
	generation := g.generation
	settle := func(code kerr.Code) {
		if g.state != CompletingRebalance || g.generation != generation {
			return // a new rebalance has begun and told everybody
		}
		if code != kerr.None {
			m.resetAssignments(g, metadataError(code))
			m.prepareOrComplete(g, "the assignment could not be stored: "+code.Name())
			return
		}
		for _, mem := range g.order {
			g.assign(mem, assignments[mem.id])
			if mem.sync != nil {
				m.answerSync(mem, g.synced(mem))
				m.touch(g, mem)
			}
		}
		g.enter(Stable, m.now.UnixMilli())
		m.tell(g, "group is stable", "")
	}
	if g.bytes+size > m.limits.MaxGroupBytes {
		settle(kerr.MessageTooLarge)
		return
	}
	m.log(g, []Record{g.record(assignments)}, settle)
}

// synced notes that a member has sent SyncGroup.
func (m *Machine) synced(g *group, mem *member) {
	delete(g.unsynced, mem.id)
	if len(g.unsynced) == 0 {
		m.timers.cancel(timerKey{kind: syncTimer, group: g.name})
	}
}

// synced is the answer with a member's assignment.
func (g *group) synced(mem *member) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Protocol, r.ProtocolType = g.names()
	r.MemberAssignment = mem.assignment
	return r
}

// differs compares what a version 5 request may state with the truth.
func differs(stated *string, truth string) bool { return stated != nil && *stated != truth }

// Heartbeat handles versions 0 to 4.
func (m *Machine) Heartbeat(now time.Time, t Ticket, req *kmsg.HeartbeatRequest) Effects {
	m.now = now
	if g := m.groups[req.Group]; g != nil && g.state != Dead {
		if k, ok := g.kind.(*consumer.Group); ok {
			m.heartbeatConsumer(g, k, t, req)
			return m.take()
		}
	}
	r := kmsg.NewPtrHeartbeatResponse()
	r.ErrorCode = int16(m.heartbeat(req))
	m.reply(t, r)
	return m.take()
}

func (m *Machine) heartbeat(req *kmsg.HeartbeatRequest) kerr.Code {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	g := m.groups[req.Group]
	switch {
	case g == nil:
		return kerr.UnknownMemberID
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	}
	if code := g.check(req.MemberID, req.InstanceID); code != kerr.None {
		return code
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	switch g.state {
	case Empty:
		return kerr.UnknownMemberID
	case PreparingRebalance:
		m.touch(g, g.members[req.MemberID])
		return kerr.RebalanceInProgress
	default:
		m.touch(g, g.members[req.MemberID])
		return kerr.None
	}
}

// LeaveGroup handles versions 0 to 5. When the group becomes empty, the answer waits until the log knows.
func (m *Machine) LeaveGroup(now time.Time, t Ticket, req *kmsg.LeaveGroupRequest) Effects {
	m.now = now
	members := req.Members
	if req.Version < leaveBatched {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	r := kmsg.NewPtrLeaveGroupResponse()
	g := m.groups[req.Group]
	if g != nil && g.kind != nil && g.state != Dead {
		if k, ok := g.kind.(*consumer.Group); ok {
			m.leaveConsumer(g, k, t, members, req.Version)
			return m.take()
		}
		g = nil // nobody in it can leave this way
	}
	switch {
	case req.Group == "":
		r.ErrorCode = int16(kerr.InvalidGroupID)
	case g != nil && g.state == Dead:
		r.ErrorCode = int16(kerr.CoordinatorNotAvailable)
	default:
		m.leave(g, t, members, r, req.Version)
		return m.take()
	}
	m.reply(t, r)
	return m.take()
}

// leave fills r and answers with it, at once or when the log knows. g may be nil.
func (m *Machine) leave(
	g *group, t Ticket, members []kmsg.LeaveGroupRequestMember, r *kmsg.LeaveGroupResponse, version int16,
) {
	reason := ""
	for _, id := range members {
		answer := kmsg.NewLeaveGroupResponseMember()
		answer.MemberID, answer.InstanceID = id.MemberID, id.InstanceID
		code := kerr.UnknownMemberID
		if g != nil {
			code = m.leaveOne(g, id)
		}
		answer.ErrorCode = int16(code)
		r.Members = append(r.Members, answer)
		if code == kerr.None {
			reason += " " + id.MemberID
			if id.Reason != nil && *id.Reason != "" {
				reason += " (" + *id.Reason + ")"
			}
		}
	}
	if version < leaveBatched {
		r.ErrorCode = r.Members[0].ErrorCode
		r.Members = nil
	}
	logged := m.nextAppend
	if reason != "" {
		switch g.state {
		case Stable, CompletingRebalance:
			m.prepareOrComplete(g, "members left:"+reason)
		case PreparingRebalance:
			m.completeIfReady(g)
		}
	}
	a := m.appends[m.nextAppend]
	if m.nextAppend == logged {
		a = nil
	}
	if a == nil {
		m.reply(t, r)
		return
	}
	a.done = append(a.done, func(code kerr.Code) {
		if code != kerr.None {
			r.ErrorCode = int16(metadataError(code))
			r.Members = nil
		}
		m.reply(t, r)
	})
}

// leaveOne removes one member. An administrator names a static member by its instance id alone.
func (m *Machine) leaveOne(g *group, who kmsg.LeaveGroupRequestMember) kerr.Code {
	id := who.MemberID
	if id == "" {
		if who.InstanceID == nil {
			return kerr.UnknownMemberID
		}
		current, ok := g.static[*who.InstanceID]
		if !ok {
			return kerr.UnknownMemberID
		}
		id = current
	} else if g.pending[id] {
		m.timers.cancel(sessionKey(g, id))
		g.remove(id)
		return kerr.None
	} else if code := g.check(id, who.InstanceID); code != kerr.None {
		return code
	}
	m.removeMember(g, g.members[id])
	return kerr.None
}
