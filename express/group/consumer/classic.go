package consumer

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// ProtocolType is the protocol type of consumers in the classic protocol.
const ProtocolType = "consumer"

// joinKnownMemberID is the version of JoinGroup from which on a new dynamic member is told its id first (KIP-394).
const joinKnownMemberID = 4

// JoinGroup handles the request of a member that uses the classic protocol. The group is as it was until the change is
// applied. Errors are *modern.Error.
func (g *Group) JoinGroup(e Env, c modern.Client, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, Change, error) {
	o := g.begin(e)
	r, err := o.join(c, req)
	if err != nil {
		return nil, Change{}, err
	}
	return r, o.Change, nil
}

func (o *operation) join(c modern.Client, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, error) {
	r := kmsg.NewPtrJoinGroupResponse()
	id := req.MemberID
	if id == "" {
		id = o.NewID()
	}
	if err := o.checkSize(id); err != nil {
		return nil, err
	}
	if !o.supports(req) {
		return nil, &modern.Error{Code: kerr.InconsistentGroupProtocol, Text: "Member " + id + "'s protocols are not supported."}
	}
	if req.MemberID == "" && req.InstanceID == nil && req.Version >= joinKnownMemberID {
		r.MemberID, r.ErrorCode = id, int16(kerr.MemberIDRequired)
		return r, nil
	}
	said, err := readSubscription(req.Protocols[0].Metadata)
	if err != nil {
		return nil, &modern.Error{Code: kerr.UnknownServerError, Text: "Malformed embedded consumer protocol in subscription deserialization."}
	}
	member, replaced, err := o.classicMember(req, id)
	if err != nil {
		return nil, err
	}
	updated := member.joined(c, req, said)
	renamed := o.updateMember(member, updated)
	regex, err := o.updateRegex(member, updated)
	if err != nil {
		return nil, err
	}
	bump := renamed || regex != regexSame
	if bump || o.metadataExpired() {
		o.updateMetadata(bump)
	}
	owned := said.partitions(o.Topics)
	if replaced != nil && o.downgrades([]*Member{replaced}, 1) {
		if !bump {
			if updated, err = o.reconcile(updated, o.assigned, o.targetOf(updated), false, owned, true); err != nil {
				return nil, err
			}
			o.changed[id] = updated
		}
		o.downgrade(bump)
	} else {
		epoch, target := o.assign(updated)
		if updated, err = o.reconcile(updated, epoch, target, bump, owned, true); err != nil {
			return nil, err
		}
		o.Cancel(id, modern.Join)
		o.Set(id, modern.Session, updated.Classic.Session)
		o.Set(id, modern.Sync, updated.Rebalance)
	}
	consumer := ProtocolType
	r.MemberID, r.Generation = updated.ID, updated.Epoch
	r.ProtocolType, r.Protocol = &consumer, &updated.Classic.Protocols[0].Name
	return r, nil
}

// supports says whether the classic members, with this one, have a way to assign in common.
func (o *operation) supports(req *kmsg.JoinGroupRequest) bool {
	if req.ProtocolType != ProtocolType {
		return false
	}
	classic, counts := 0, map[string]int{}
	for m := range o.Members() {
		if m.Classic == nil {
			continue
		}
		classic++
		for _, p := range m.Classic.Protocols {
			counts[p.Name]++
		}
	}
	return slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return counts[p.Name] == classic })
}

// classicMember finds or makes the member that joins; replaced is the static member whose place it takes.
func (o *operation) classicMember(req *kmsg.JoinGroupRequest, id string) (member, replaced *Member, err error) {
	if req.InstanceID == nil {
		if member = o.members[id]; member == nil {
			member = &Member{ID: id}
		}
		return member, nil, nil
	}
	static := o.members[o.static[*req.InstanceID]]
	switch {
	case req.MemberID == "" && static == nil:
		return &Member{ID: id}, nil, nil
	case req.MemberID == "":
		return o.replace(static, id), static, nil
	default:
		return static, static, checkStatic(static, id, *req.InstanceID)
	}
}

// joined is the member after a JoinGroup.
func (m *Member) joined(c modern.Client, req *kmsg.JoinGroupRequest, said *subscribed) *Member {
	next := *m
	none := ""
	next.Client, next.Topics, next.Regex = c, said.topics, &none
	if req.InstanceID != nil {
		next.Instance = copied(req.InstanceID)
	}
	if said.rack != nil && *said.rack != "" {
		next.Rack = said.rack
	}
	if req.RebalanceTimeoutMillis != -1 {
		next.Rebalance = millis(req.RebalanceTimeoutMillis)
	}
	next.Classic = &Classic{Session: millis(req.SessionTimeoutMillis)}
	for _, p := range req.Protocols {
		next.Classic.Protocols = append(next.Classic.Protocols, Protocol{Name: p.Name, Metadata: append([]byte{}, p.Metadata...)})
	}
	return &next
}

// find is the member that a request of the classic protocol comes from.
func (o *operation) find(id string, instance *string) (*Member, error) {
	if instance != nil {
		m := o.members[o.static[*instance]]
		return m, checkStatic(m, id, *instance)
	}
	if m := o.members[id]; m != nil {
		return m, nil
	}
	return nil, o.unknownMember(id)
}

// classic is find for a member that must use the classic protocol, in this generation.
func (o *operation) classic(id string, instance *string, generation int32) (*Member, error) {
	m, err := o.find(id, instance)
	switch {
	case err != nil:
		return nil, err
	case m.Classic == nil:
		return nil, &modern.Error{Code: kerr.UnknownMemberID, Text: fmt.Sprintf("Member %s does not use the classic protocol.", m.ID)}
	case m.Epoch != generation:
		return nil, &modern.Error{Code: kerr.IllegalGeneration, Text: fmt.Sprintf(
			"The request generation id %d is not equal to the member epoch %d of member %s.", generation, m.Epoch, m.ID)}
	}
	return m, nil
}

// SyncGroup is JoinGroup's sister: it tells a classic member what it may use.
func (g *Group) SyncGroup(e Env, req *kmsg.SyncGroupRequest) (*kmsg.SyncGroupResponse, Change, error) {
	o := g.begin(e)
	m, err := o.classic(req.MemberID, req.InstanceID, req.Generation)
	if err != nil {
		return nil, Change{}, err
	}
	if differs(req.ProtocolType, ProtocolType) || differs(req.Protocol, m.Classic.Protocols[0].Name) {
		return nil, Change{}, &modern.Error{Code: kerr.InconsistentGroupProtocol, Text: "The protocol is not that of the join response."}
	}
	if g.epoch > m.Epoch && m.State != UnrevokedPartitions {
		o.SetIfAbsent(m.ID, modern.Join, m.Rebalance)
		r := kmsg.NewPtrSyncGroupResponse()
		r.ErrorCode = int16(kerr.RebalanceInProgress)
		return r, o.Change, nil
	}
	o.Cancel(m.ID, modern.Sync)
	o.Set(m.ID, modern.Session, m.Classic.Session)
	r := kmsg.NewPtrSyncGroupResponse()
	r.ProtocolType, r.Protocol = copied(req.ProtocolType), copied(req.Protocol)
	r.MemberAssignment = EncodeAssignment(m, e.Topics)
	return r, o.Change, nil
}

// differs compares what a request may state with the truth.
func differs(stated *string, truth string) bool { return stated != nil && *stated != truth }

// ClassicHeartbeat handles the heartbeat of a classic member. It is told to rejoin when the group has a new epoch, when it
// must give up partitions, and when partitions that it waits for are free.
func (g *Group) ClassicHeartbeat(e Env, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, Change, error) {
	o := g.begin(e)
	m, err := o.classic(req.MemberID, req.InstanceID, req.Generation)
	if err != nil {
		return nil, Change{}, err
	}
	r := kmsg.NewPtrHeartbeatResponse()
	o.Set(m.ID, modern.Session, m.Classic.Session)
	if m.Epoch < g.epoch || m.State == UnrevokedPartitions || m.State == UnreleasedPartitions && !g.waits(m) {
		r.ErrorCode = int16(kerr.RebalanceInProgress)
		o.SetIfAbsent(m.ID, modern.Join, m.Rebalance)
	}
	return r, o.Change, nil
}

// waits says whether something that the member shall have is still with somebody.
func (g *Group) waits(m *Member) bool {
	for id, indexes := range g.target[m.ID] {
		for _, index := range indexes {
			if !m.Assigned.Has(id, index) && g.owners[topic.Partition{Topic: id, Index: index}] != "" {
				return true
			}
		}
	}
	return false
}

// LeaveGroup takes members out, of either protocol. An administrator names a static member by its instance id alone.
func (g *Group) LeaveGroup(e Env, members []kmsg.LeaveGroupRequestMember) (*kmsg.LeaveGroupResponse, Change) {
	o := g.begin(e)
	r := kmsg.NewPtrLeaveGroupResponse()
	var leaving []*Member
	for _, who := range members {
		answer := kmsg.NewLeaveGroupResponseMember()
		answer.MemberID, answer.InstanceID = who.MemberID, who.InstanceID
		id := who.MemberID
		if id == "" && who.InstanceID != nil {
			id = g.static[*who.InstanceID]
		}
		if m, err := o.find(id, who.InstanceID); err != nil {
			answer.ErrorCode = int16(kerr.Of(err))
		} else if !slices.Contains(leaving, m) {
			leaving = append(leaving, m)
		}
		r.Members = append(r.Members, answer)
	}
	o.fence(leaving)
	return r, o.Change
}
