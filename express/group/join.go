package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/kafka/kerr"
)

// Versions of the requests from which on Kafka answers differently.
const (
	joinRebalanceTimeout = 1 // JoinGroup: has a rebalance timeout of its own
	joinKnownMemberID    = 4 // JoinGroup: a new dynamic member is told its id first (KIP-394)
	joinSkipAssignment   = 9 // JoinGroup: the leader can be told to keep the assignment
	leaveBatched         = 3 // LeaveGroup: names many members
	commitGroupNotFound  = 9 // OffsetCommit: a missing group has an error of its own
)

// joining is a JoinGroup request on its way.
type joining struct {
	parked
	client    Client
	req       *kmsg.JoinGroupRequest
	session   time.Duration
	rebalance time.Duration
	protocols []protocol // copied
}

// reason is for Notes.
func (j *joining) reason(what string) string {
	if j.req.Reason != nil && *j.req.Reason != "" {
		return what + "; client reason: " + *j.req.Reason
	}
	return what
}

// JoinGroup handles versions 0 to 9. Nothing of req is kept.
func (m *Machine) JoinGroup(now time.Time, t Ticket, c Client, req *kmsg.JoinGroupRequest) Effects {
	m.now = now
	j := &joining{
		parked:    parked{ticket: t, version: req.Version},
		client:    c,
		req:       req,
		session:   time.Duration(req.SessionTimeoutMillis) * time.Millisecond,
		rebalance: time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
	}
	if req.Version < joinRebalanceTimeout {
		j.rebalance = j.session
	}
	if code, id := m.join(j); code != kerr.None {
		m.reply(t, joinError(id, code))
	}
	return m.take()
}

// join returns an error and the member id to answer with, or None when the request is answered or parked.
func (m *Machine) join(j *joining) (kerr.Code, string) {
	req := j.req
	switch {
	case req.Group == "":
		return kerr.InvalidGroupID, req.MemberID
	case j.session < m.limits.MinSessionTimeout || j.session > m.limits.MaxSessionTimeout:
		return kerr.InvalidSessionTimeout, req.MemberID
	}
	g := m.groups[req.Group]
	if g == nil {
		if req.MemberID != "" {
			return kerr.UnknownMemberID, req.MemberID
		}
		if len(m.groups) >= m.limits.MaxGroups {
			return kerr.GroupMaxSizeReached, ""
		}
		g = newGroup(req.Group, m.now.UnixMilli()) // enters m.groups only if the join is good
	}
	if g.kind != nil && g.state != Dead {
		if k, ok := g.kind.(*consumer.Group); ok && k.Len() > 0 {
			m.joinConsumer(g, k, j)
			return kerr.None, ""
		}
		if g.kind.Len() == 0 && req.MemberID != "" {
			return kerr.UnknownMemberID, req.MemberID
		}
		if !m.toClassic(g) {
			return kerr.InconsistentGroupProtocol, ""
		}
	}
	if !m.accepts(g, req.MemberID) {
		if req.MemberID != "" {
			m.expel(g, req.MemberID)
		}
		return kerr.GroupMaxSizeReached, ""
	}
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable, req.MemberID
	}
	j.protocols = cloneProtocols(req.Protocols)
	if !g.supports(req.ProtocolType, j.protocols) {
		return kerr.InconsistentGroupProtocol, req.MemberID
	}
	if g.bytes+protocolBytes(j.protocols) > m.limits.MaxGroupBytes {
		return kerr.GroupMaxSizeReached, req.MemberID
	}
	if req.MemberID == "" {
		return m.joinNew(g, j)
	}
	return m.joinKnown(g, j)
}

// accepts reports whether group.max.size leaves room.
func (m *Machine) accepts(g *group, id string) bool {
	mem := g.members[id]
	switch g.state {
	case PreparingRebalance:
		// Those who wait are counted, not the members: when the limit was lowered, the last to rejoin are turned away.
		return mem != nil && mem.join != nil || g.waiting < m.limits.MaxSize
	case CompletingRebalance, Stable:
		return mem != nil || len(g.order) < m.limits.MaxSize
	default:
		return true
	}
}

// expel removes a member for whom there is no room any more. The rebalance that turned it away goes on without it.
func (m *Machine) expel(g *group, id string) {
	if mem := g.members[id]; mem != nil {
		m.answerSync(mem, syncError(kerr.GroupMaxSizeReached))
	}
	m.timers.cancel(sessionKey(g, id))
	g.remove(id)
	m.completeIfReady(g)
}

func (m *Machine) joinNew(g *group, j *joining) (kerr.Code, string) {
	prefix := j.client.ID
	if j.req.InstanceID != nil {
		prefix = *j.req.InstanceID
	}
	id := m.newID(prefix)
	switch {
	case j.req.InstanceID != nil:
		old, ok := g.static[*j.req.InstanceID]
		if ok && g.replacing && g.state == Stable {
			// Its record would hold an id that the log may yet refuse. The client tries again, by then that is settled.
			return kerr.CoordinatorLoadInProgress, ""
		}
		m.groups[g.name] = g
		if ok {
			m.replaceStatic(g, g.members[old], id, j)
		} else {
			m.addMember(g, id, j)
		}
	case j.version >= joinKnownMemberID:
		if len(g.pending) >= m.limits.MaxPending {
			return kerr.GroupMaxSizeReached, ""
		}
		m.groups[g.name] = g
		g.pending[id] = true
		m.timers.set(timer{key: sessionKey(g, id), at: m.now.Add(j.session)})
		return kerr.MemberIDRequired, id
	default:
		m.groups[g.name] = g
		m.addMember(g, id, j)
	}
	return kerr.None, ""
}

func (m *Machine) joinKnown(g *group, j *joining) (kerr.Code, string) {
	id := j.req.MemberID
	if g.pending[id] && j.req.InstanceID == nil {
		m.addMember(g, id, j)
		return kerr.None, ""
	}
	if code := g.check(id, j.req.InstanceID); code != kerr.None {
		return code, id
	}
	mem := g.members[id]
	switch {
	case g.state == PreparingRebalance:
		m.rejoin(g, mem, j, "member rejoins")
	case g.state == Stable && g.leader == id:
		// The leader may know of changes that do not show in its metadata, such as new partitions of a topic.
		m.rejoin(g, mem, j, "leader rejoins")
	case g.state == Empty:
		return kerr.UnknownMemberID, id
	case !mem.offers(j.protocols):
		m.rejoin(g, mem, j, "member changes its metadata")
	default:
		// It offers what it offered before, so it probably missed the answer: tell it the current generation.
		m.reply(j.ticket, g.joined(mem, g.leader == id && g.state == CompletingRebalance))
	}
	return kerr.None, ""
}

// check is Kafka's test that a request comes from the member that it names.
func (g *group) check(id string, instance *string) kerr.Code {
	if instance != nil {
		switch current, ok := g.static[*instance]; {
		case !ok:
			return kerr.UnknownMemberID
		case current != id:
			return kerr.FencedInstanceID
		}
	}
	if g.members[id] == nil {
		return kerr.UnknownMemberID
	}
	return kerr.None
}

func (m *Machine) addMember(g *group, id string, j *joining) {
	mem := &member{
		id: id, client: j.client, session: j.session, rebalance: j.rebalance,
		protocols: j.protocols, isNew: true, join: &j.parked,
	}
	if j.req.InstanceID != nil {
		instance := *j.req.InstanceID
		mem.instance = &instance
	}
	if g.state == PreparingRebalance && g.previous == Empty {
		g.newcomer = true
	}
	g.add(mem, j.req.ProtocolType)
	// A new member cannot send heartbeats, it does not know its id. If its client went away and tried again, the
	// forgotten member must not stay for ever.
	m.timers.set(timer{key: sessionKey(g, id), at: m.now.Add(m.limits.NewMemberJoinTimeout)})
	m.prepareOrComplete(g, j.reason("member "+id+" is new"))
}

func (m *Machine) rejoin(g *group, mem *member, j *joining, what string) {
	m.answerJoin(g, mem, joinError(mem.id, kerr.RebalanceInProgress)) // of a connection that is gone
	g.offer(mem, j.protocols, j.session, j.rebalance)
	g.await(mem, &j.parked)
	m.prepareOrComplete(g, j.reason(what))
}

// replaceStatic lets a new process take the place of a static member: whoever still waits under the old id is fenced,
// and if nothing changes for the others, the group stays as it is.
func (m *Machine) replaceStatic(g *group, mem *member, id string, j *joining) {
	was := *mem
	leader := g.leader
	m.answerJoin(g, mem, joinError(mem.id, kerr.FencedInstanceID))
	m.answerSync(mem, syncError(kerr.FencedInstanceID))
	m.timers.cancel(sessionKey(g, mem.id))
	g.rename(mem, id)
	mem.isNew = false
	g.offer(mem, j.protocols, j.session, j.rebalance)
	g.await(mem, &j.parked)
	m.touch(g, mem)

	switch {
	case g.state == CompletingRebalance:
		// The leader may be assigning to the old id at this moment.
		m.prepare(g, j.reason("static member "+*mem.instance+" has a new id"))
	case g.state == Stable && g.vote() == g.protocol:
		r := &replacement{joining: j, group: g, member: mem, id: id, was: was, leader: leader}
		g.replacing = true
		m.log(g, []Record{g.record(g.assignments())}, func(code kerr.Code) { m.replaced(r, code) })
	case g.state == Stable:
		m.prepareOrComplete(g, j.reason("static member "+*mem.instance+" changes the protocol"))
	default:
		m.completeIfReady(g)
	}
}

// replacement is a replaceStatic in a stable group whose record is on its way to the log.
type replacement struct {
	*joining
	group  *group
	member *member
	id     string // the new one
	was    member // before
	leader string // before
}

// replaced ends replaceStatic in a stable group: the new id counts once it is in the log.
func (m *Machine) replaced(r *replacement, code kerr.Code) {
	g, mem := r.group, r.member
	g.replacing = false
	m.touch(g, mem)                // a session that ended while it waited was not noticed
	waits := mem.join == &r.parked // otherwise a rebalance has answered it
	if code == kerr.None {
		if !waits {
			return
		}
		answer := g.joined(mem, false)
		answer.LeaderID = r.leader // the old id: before version 9 a leader that comes back must not assign anew
		if r.version >= joinSkipAssignment {
			answer = g.joined(mem, g.leader == mem.id)
			answer.SkipAssignment = g.leader == mem.id
		}
		m.answerJoin(g, mem, answer)
		return
	}
	if waits {
		answer := joinError("", metadataError(code))
		answer.Generation, answer.LeaderID = g.generation, r.leader
		answer.Protocol, answer.ProtocolType = g.names()
		m.answerJoin(g, mem, answer)
	}
	if g.members[r.id] == mem && g.state == Stable {
		m.timers.cancel(sessionKey(g, mem.id))
		g.rename(mem, r.was.id)
		g.offer(mem, r.was.protocols, r.was.session, r.was.rebalance)
		m.touch(g, mem)
	}
}

// joined is the answer to a member of the current generation.
func (g *group) joined(mem *member, withMembers bool) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Generation = g.generation
	r.Protocol, r.ProtocolType = g.names()
	r.LeaderID = g.leader
	r.MemberID = mem.id
	if withMembers {
		r.Members = g.joinMembers()
	}
	return r
}

// names are the chosen protocol and its type, nil when there is none.
func (g *group) names() (protocol, protocolType *string) {
	return nullable(g.protocol), nullable(g.protocolType)
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (m *Machine) answerJoin(g *group, mem *member, r *kmsg.JoinGroupResponse) {
	if mem.join != nil {
		m.reply(mem.join.ticket, r)
		g.await(mem, nil)
	}
}

func (m *Machine) answerSync(mem *member, r *kmsg.SyncGroupResponse) {
	if mem.sync != nil {
		m.reply(mem.sync.ticket, r)
		mem.sync = nil
	}
}

func joinError(memberID string, code kerr.Code) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.ErrorCode = int16(code)
	r.MemberID = memberID
	return r
}

func syncError(code kerr.Code) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.ErrorCode = int16(code)
	return r
}

// metadataError is how Kafka tells clients that the group's metadata could not be written.
func metadataError(code kerr.Code) kerr.Code {
	switch code {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut:
		return kerr.CoordinatorNotAvailable
	case kerr.NotLeaderOrFollower, kerr.KafkaStorageError:
		return kerr.NotCoordinator
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return kerr.UnknownServerError
	default:
		return code
	}
}

func sessionKey(g *group, memberID string) timerKey {
	return timerKey{kind: sessionTimer, group: g.name, member: memberID}
}

// touch starts the member's session anew.
func (m *Machine) touch(g *group, mem *member) {
	if g.members[mem.id] == mem {
		m.timers.set(timer{key: sessionKey(g, mem.id), at: m.now.Add(mem.session)})
	}
}
