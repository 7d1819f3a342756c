package consumer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
)

// ownMemberID is the version of ConsumerGroupHeartbeat from which on members choose their ids themselves.
const ownMemberID = 1

// Check is Kafka's test of a heartbeat before it looks at any group. The error is a *modern.Error.
func Check(req *kmsg.ConsumerGroupHeartbeatRequest, c Config) error {
	invalid := func(text string) error { return &modern.Error{Code: kerr.InvalidRequest, Text: text} }
	switch {
	case (req.Version >= ownMemberID || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave) && blank(&req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(&req.Group):
		return invalid("GroupId can't be empty.")
	case blank(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case blank(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == 0 && req.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == 0 && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == 0 && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == epochStaticLeave && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < epochStaticLeave:
		return invalid("MemberEpoch is invalid.")
	case req.ServerAssignor != nil && !slices.Contains(c.Assignors, *req.ServerAssignor):
		return &modern.Error{Code: kerr.UnsupportedAssignor, Text: fmt.Sprintf("ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, strings.Join(c.Assignors, ", "))}
	default:
		return nil
	}
}

// Joins says whether a heartbeat may make a group.
func Joins(req *kmsg.ConsumerGroupHeartbeatRequest) bool { return req.MemberEpoch == 0 }

// blank says whether a text is there and says nothing. As to Java, control characters are spaces.
func blank(s *string) bool {
	return s != nil && strings.TrimFunc(*s, func(c rune) bool { return c <= ' ' }) == ""
}

// Heartbeat handles a heartbeat that Check has passed. The group is as it was until the change is applied. Errors are
// *modern.Error.
func (g *Group) Heartbeat(e Env, c modern.Client, req *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, Change, error) {
	o := g.begin(e)
	var r *kmsg.ConsumerGroupHeartbeatResponse
	var err error
	if req.MemberEpoch == epochLeave || req.MemberEpoch == epochStaticLeave {
		r, err = o.leave(req)
	} else {
		r, err = o.heartbeat(c, req)
	}
	if err != nil {
		return nil, Change{}, err
	}
	return r, o.Change, nil
}

func (o *operation) heartbeat(c modern.Client, req *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	id, joins := req.MemberID, req.MemberEpoch == 0
	if err := o.checkSize(id); err != nil {
		return nil, err
	}
	if id == "" {
		id = o.NewID()
	}
	owned := partitionsOf(req.Topics)
	member, err := o.memberOf(req, id, owned)
	if err != nil {
		return nil, err
	}
	updated := member.told(c, req)
	renamed := o.updateMember(member, updated)
	regex, err := o.updateRegex(member, updated)
	if err != nil {
		return nil, err
	}
	bump := renamed || regex == regexResolved
	if bump || o.Group.epoch == 0 || o.metadataExpired() {
		o.updateMetadata(bump)
	}
	epoch, target := o.assign(updated)
	next, err := o.reconcile(updated, epoch, target, renamed || regex != regexSame, owned, req.Topics != nil)
	if err != nil {
		return nil, err
	}
	o.Set(id, modern.Session, o.Config.Session)

	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	r.MemberID, r.MemberEpoch = &next.ID, next.Epoch
	r.HeartbeatIntervalMillis = int32(o.Config.Heartbeat.Milliseconds())
	full := req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
	if joins || full || !next.Assigned.Partitions().Equal(member.Assigned.Partitions()) {
		r.Assignment = assignmentOf(next)
	}
	return r, nil
}

// checkSize refuses a new member when there is no room.
func (o *operation) checkSize(id string) error {
	if o.Len() >= o.Config.MaxSize && o.members[id] == nil {
		return &modern.Error{Code: kerr.GroupMaxSizeReached,
			Text: fmt.Sprintf("The consumer group has reached its maximum capacity of %d members.", o.Config.MaxSize)}
	}
	return nil
}

// memberOf finds or makes the member that sent a heartbeat, which may take the place of a static member that left.
func (o *operation) memberOf(req *kmsg.ConsumerGroupHeartbeatRequest, id string, owned modern.Partitions) (*Member, error) {
	joins := req.MemberEpoch == 0
	if req.InstanceID == nil {
		member := o.members[id]
		if member == nil && !joins {
			return nil, o.unknownMember(id)
		}
		if member == nil {
			return &Member{ID: id}, nil
		}
		return member, checkEpoch(member, req, owned)
	}
	member := o.members[o.static[*req.InstanceID]]
	switch {
	case joins && member == nil:
		if member = o.members[id]; member == nil {
			member = &Member{ID: id}
		}
		return member, nil
	case joins:
		if member.Classic == nil && member.Epoch != epochStaticLeave {
			return nil, &modern.Error{Code: kerr.UnreleasedInstanceID, Text: fmt.Sprintf(
				"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
				id, *req.InstanceID, member.ID)}
		}
		return o.replace(member, id), nil
	}
	if err := checkStatic(member, id, *req.InstanceID); err != nil {
		return nil, err
	}
	return member, checkEpoch(member, req, owned)
}

// replace puts a new member with that id in the place of a static member, with all that it had.
func (o *operation) replace(old *Member, id string) *Member {
	member := *old
	member.ID, member.Epoch, member.PreviousEpoch = id, 0, 0
	o.changed[old.ID] = nil
	o.remove(old.ID)
	o.Add(memberRecord{&member}, targetMemberRecord{id, o.target[old.ID]}, currentRecord{&member})
	return &member
}

// remove takes a member out of the log. The order matters to Kafka: it must be without partitions first.
func (o *operation) remove(id string) {
	o.Add(tombstone{kindCurrent, id}, tombstone{kindTargetMember, id}, tombstone{kindMember, id})
}

func (o *operation) unknownMember(id string) error {
	return &modern.Error{Code: kerr.UnknownMemberID, Text: fmt.Sprintf("Member %s is not a member of group %s.", id, o.id)}
}

// checkStatic refuses a request by somebody who is not the member that now has the instance id.
func checkStatic(member *Member, id, instance string) error {
	switch {
	case member == nil:
		return &modern.Error{Code: kerr.UnknownMemberID, Text: fmt.Sprintf("Instance id %s is unknown.", instance)}
	case member.ID != id:
		return &modern.Error{Code: kerr.FencedInstanceID,
			Text: fmt.Sprintf("Static member %s with instance id %s was fenced by member %s.", id, instance, member.ID)}
	default:
		return nil
	}
}

// checkEpoch refuses a member of another epoch, unless it may have missed the answer that told it the epoch.
func checkEpoch(member *Member, req *kmsg.ConsumerGroupHeartbeatRequest, owned modern.Partitions) error {
	var than string
	switch epoch := req.MemberEpoch; {
	case epoch == 0 || epoch == member.Epoch:
		return nil
	case epoch > member.Epoch:
		than = "greater"
	case epoch == member.PreviousEpoch && req.Topics != nil && subset(owned, member.Assigned):
		return nil
	default:
		than = "smaller"
	}
	return &modern.Error{Code: kerr.FencedMemberEpoch, Text: fmt.Sprintf("The consumer group member has a %s member epoch (%d) than "+
		"the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.",
		than, req.MemberEpoch, member.Epoch)}
}

func subset(p modern.Partitions, of modern.Owned) bool {
	for id, indexes := range p {
		for _, index := range indexes {
			if !of.Has(id, index) {
				return false
			}
		}
	}
	return true
}

// told is the member after a heartbeat: null fields leave what is known.
func (m *Member) told(c modern.Client, req *kmsg.ConsumerGroupHeartbeatRequest) *Member {
	next := *m
	next.Client, next.Classic = c, nil
	next.Instance = copied(cmp.Or(req.InstanceID, m.Instance))
	next.Rack = copied(cmp.Or(req.RackID, m.Rack))
	next.Assignor = copied(cmp.Or(req.ServerAssignor, m.Assignor))
	next.Regex = copied(cmp.Or(req.SubscribedTopicRegex, m.Regex))
	if req.RebalanceTimeoutMillis != -1 {
		next.Rebalance = millis(req.RebalanceTimeoutMillis)
	}
	if req.SubscribedTopicNames != nil {
		next.Topics = names(req.SubscribedTopicNames)
	}
	return &next
}

// copied copies a text of a request, whose memory is not ours.
func copied(s *string) *string {
	if s == nil {
		return nil
	}
	c := strings.Clone(*s)
	return &c
}

// updateMember writes down what the member said, and tells whether it names other topics than before.
func (o *operation) updateMember(member, updated *Member) (renamed bool) {
	o.changed[updated.ID] = updated
	if o.members[member.ID] == nil || !updated.sameMetadata(member) {
		o.Add(memberRecord{updated})
	}
	return !slices.Equal(updated.Topics, member.Topics)
}

// leave takes a member out, or notes that a static member will be back.
func (o *operation) leave(req *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	id := req.MemberID
	r.MemberID, r.MemberEpoch = &id, req.MemberEpoch
	member := o.members[id]
	if req.InstanceID == nil {
		if member == nil {
			return nil, o.unknownMember(id)
		}
		o.fence([]*Member{member})
		return r, nil
	}
	member = o.members[o.static[*req.InstanceID]]
	if err := checkStatic(member, id, *req.InstanceID); err != nil {
		return nil, err
	}
	if req.MemberEpoch == epochLeave {
		o.fence([]*Member{member})
		return r, nil
	}
	left := *member
	left.Epoch, left.Revoking = epochStaticLeave, nil
	o.Add(currentRecord{&left})
	return r, nil
}

// fence takes members out and begins a new epoch; or makes a classic group of those that stay, if they all are classic.
func (o *operation) fence(members []*Member) {
	if len(members) == 0 {
		return
	}
	if o.downgrades(members, 0) {
		for _, m := range members {
			o.changed[m.ID] = nil
		}
		o.downgrade(true)
		return
	}
	for _, m := range members {
		o.changed[m.ID] = nil
		o.remove(m.ID)
		o.Cancel(m.ID, modern.Timers()...)
	}
	left := map[string]bool{}
	for m := range o.each() {
		left[m.regex()] = true
	}
	for _, m := range members {
		if regex := m.regex(); regex != "" && !left[regex] {
			left[regex] = true // said once
			o.Add(tombstone{kindRegex, regex})
			o.forget(regex)
		}
	}
	o.epoch++
	o.Add(metadataRecord{o.epoch, o.hashNow()})
}

// Fence takes members out of the group; those that are not in it are passed over.
func (g *Group) Fence(e Env, ids ...string) Change {
	o := g.begin(e)
	var members []*Member
	for _, id := range ids {
		if m := g.members[id]; m != nil {
			members = append(members, m)
		}
	}
	o.fence(members)
	return o.Change
}

func assignmentOf(m *Member) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	for id, indexes := range m.Assigned.Partitions().Sorted() {
		t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		t.TopicID, t.Partitions = id, indexes
		a.Topics = append(a.Topics, t)
	}
	return &a
}
