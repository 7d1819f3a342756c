package shares

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// epochLeave is the member epoch of a heartbeat that says goodbye.
const epochLeave = -1

// longestMemberID is the length of the longest id that members may choose, in characters.
const longestMemberID = 36

// Check is Kafka's test of a heartbeat before it looks at any group. The error is a *modern.Error.
func Check(req *kmsg.ShareGroupHeartbeatRequest) error {
	invalid := func(text string) error { return &modern.Error{Code: kerr.InvalidRequest, Text: text} }
	switch {
	case strings.TrimSpace(req.MemberID) == "":
		return invalid("MemberId can't be empty.")
	case utf8.RuneCountInString(req.MemberID) > longestMemberID:
		return invalid(fmt.Sprintf("MemberId can't be longer than %d characters.", longestMemberID))
	case strings.TrimSpace(req.GroupID) == "":
		return invalid("GroupId can't be empty.")
	case req.RackID != nil && strings.TrimSpace(*req.RackID) == "":
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == 0 && len(req.SubscribedTopicNames) == 0:
		return invalid("SubscribedTopicNames must be set in first request.")
	case req.MemberEpoch < epochLeave:
		return invalid("MemberEpoch is invalid.")
	default:
		return nil
	}
}

// Joins says whether a heartbeat may make a group.
func Joins(req *kmsg.ShareGroupHeartbeatRequest) bool { return req.MemberEpoch == 0 }

// operation is one heartbeat on its way.
type operation struct {
	Env
	*Group
	Change
	member *Member // as it will be
	epoch  int32   // of the group, once the event is done
}

// Heartbeat handles a heartbeat that Check has passed. The group is as it was until the change is applied. Errors are
// *modern.Error.
func (g *Group) Heartbeat(e Env, c modern.Client, req *kmsg.ShareGroupHeartbeatRequest) (*kmsg.ShareGroupHeartbeatResponse, Change, error) {
	r := kmsg.NewPtrShareGroupHeartbeatResponse()
	id := strings.Clone(req.MemberID)
	r.MemberID = &id
	member := g.members[req.MemberID]
	if req.MemberEpoch == epochLeave {
		if member == nil {
			return nil, Change{}, g.unknownMember(id)
		}
		r.MemberEpoch = epochLeave
		return r, g.Fence(e, id), nil
	}
	switch {
	case member == nil && len(g.members) >= e.Config.MaxSize:
		return nil, Change{}, &modern.Error{Code: kerr.GroupMaxSizeReached,
			Text: fmt.Sprintf("The share group has reached its maximum capacity of %d members.", e.Config.MaxSize)}
	case member == nil && !Joins(req):
		return nil, Change{}, g.unknownMember(id)
	case member == nil:
		member = &Member{ID: id}
	}
	if err := checkEpoch(member, req.MemberEpoch); err != nil {
		return nil, Change{}, err
	}
	o := operation{Env: e, Group: g, member: member.told(c, req), epoch: g.epoch}
	o.run(member)
	r.MemberEpoch, r.HeartbeatIntervalMillis = o.member.Epoch, int32(e.Config.Heartbeat.Milliseconds())
	if Joins(req) || req.SubscribedTopicNames != nil || !o.member.Assigned.Equal(member.Assigned) {
		r.Assignment = assignmentOf(o.member)
	}
	return r, o.Change, nil
}

func (g *Group) unknownMember(id string) error {
	return &modern.Error{Code: kerr.UnknownMemberID, Text: fmt.Sprintf("Member %s is not a member of group %s.", id, g.id)}
}

// checkEpoch refuses a member of another epoch, unless it may have missed the answer that told it the epoch.
func checkEpoch(m *Member, epoch int32) error {
	switch {
	case epoch == 0, epoch == m.Epoch, epoch < m.Epoch && epoch == m.PreviousEpoch:
		return nil
	case epoch > m.Epoch:
		return &modern.Error{Code: kerr.FencedMemberEpoch, Text: fmt.Sprintf("The share group member has a greater member epoch (%d) than "+
			"the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.Epoch)}
	default:
		return &modern.Error{Code: kerr.FencedMemberEpoch, Text: fmt.Sprintf("The share group member has a smaller member epoch (%d) than "+
			"the one known by the group coordinator (%d), and it does not match the previous member epoch (%d). "+
			"The member must abandon all its partitions and rejoin.", epoch, m.Epoch, m.PreviousEpoch)}
	}
}

// told is the member after a heartbeat: null fields leave what is known. Nothing of the request's memory is kept.
func (m *Member) told(c modern.Client, req *kmsg.ShareGroupHeartbeatRequest) *Member {
	next := *m
	next.Client = modern.Client{ID: strings.Clone(c.ID), Host: strings.Clone(c.Host)}
	if req.RackID != nil {
		rack := strings.Clone(*req.RackID)
		next.Rack = &rack
	}
	if req.SubscribedTopicNames != nil {
		next.Topics = sortedNames(req.SubscribedTopicNames)
	}
	return &next
}

func sortedNames(list []string) []string {
	out := make([]string, len(list))
	for i, name := range list {
		out[i] = strings.Clone(name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// run works out what the heartbeat changes.
func (o *operation) run(before *Member) {
	bump := !slices.Equal(o.member.Topics, before.Topics)
	if o.members[before.ID] == nil || bump || !o.member.sameMetadata(before) {
		o.Add(memberRecord{o.member})
	}
	bump = bump || o.assigned >= o.Group.epoch && o.pending()
	if bump || !o.looked || o.topicVersion != o.Topics.TopicsVersion() {
		version := o.Topics.TopicsVersion() // first: what changes after is seen the next time
		hash := modern.Hash(maps.Keys(o.names()), o.Topics)
		if hash != o.hash {
			bump = true
		}
		if bump {
			if o.epoch == 0 { // that there is a group is an epoch by itself
				o.epoch++
			}
			o.epoch++
			o.Add(metadataRecord{o.epoch, hash})
		}
		o.seen = &version
	}
	epoch, target := o.assign()
	if bump || o.member.Epoch != epoch {
		o.reconcile(epoch, target)
	}
	o.initialize()
	o.Set(o.member.ID, modern.Session, o.Config.Session)
}

func (m *Member) sameMetadata(o *Member) bool {
	return m.Client == o.Client && (m.Rack == nil) == (o.Rack == nil) && (m.Rack == nil || *m.Rack == *o.Rack)
}

// names are all topics that members name.
func (o *operation) names() map[string]bool {
	names := map[string]bool{}
	for m := range o.all() {
		add(names, m.Topics)
	}
	return names
}

// all goes through the members as they will be, in the order of their ids.
func (o *operation) all() func(func(*Member) bool) {
	ids := o.order
	if at, ok := slices.BinarySearch(ids, o.member.ID); !ok {
		ids = slices.Insert(slices.Clone(ids), at, o.member.ID)
	}
	return func(yield func(*Member) bool) {
		for _, id := range ids {
			m := o.members[id]
			if id == o.member.ID {
				m = o.member
			}
			if !yield(m) {
				return
			}
		}
	}
}

// pending says whether partitions that somebody reads have become initialized since the assignment was made.
func (o *operation) pending() bool {
	if len(o.members) == 0 {
		return false
	}
	given := map[topic.ID]map[int32]bool{}
	for _, partitions := range o.target {
		for id, indexes := range partitions {
			for _, index := range indexes {
				if given[id] == nil {
					given[id] = map[int32]bool{}
				}
				given[id][index] = true
			}
		}
	}
	for id, t := range o.state.initialized {
		if len(given[id]) != len(t.partitions) && o.Subscribed(t.name) {
			return true
		}
	}
	return false
}

// assign computes a new target assignment if the group's epoch asks for one and the last one is old enough. It returns what
// the member shall have, and the epoch of that.
func (o *operation) assign() (int32, modern.Partitions) {
	current := func() (int32, modern.Partitions) { return o.assigned, o.target[o.member.ID] }
	if o.assigned >= o.epoch {
		return current()
	}
	next := time.UnixMilli(o.assignedMs).Add(o.Config.AssignmentInterval)
	if o.assignedMs != 0 && o.Config.AssignmentInterval != 0 && o.Now.Before(next) {
		return current()
	}
	targets := assign(slices.Collect(o.all()), o.target, o.state.initialized, o.Topics)
	for _, id := range slices.Sorted(maps.Keys(targets)) {
		if old, had := o.target[id]; !had || !targets[id].Equal(old) {
			o.Add(targetMemberRecord{id, targets[id]})
		}
	}
	o.Add(targetRecord{o.epoch, o.Now.UnixMilli()})
	return o.epoch, targets[o.member.ID]
}

// reconcile gives the member what it shall have, as far as it subscribes to it.
func (o *operation) reconcile(epoch int32, target modern.Partitions) {
	next := *o.member
	next.Assigned = modern.Partitions{}
	for id, indexes := range target {
		if t, ok := o.Topics.TopicByID(id); ok && slices.Contains(next.Topics, t.Name) {
			next.Assigned[id] = indexes
		}
	}
	if epoch != next.Epoch {
		next.PreviousEpoch, next.Epoch = next.Epoch, epoch
	}
	if next.Epoch != o.member.Epoch || !next.Assigned.Equal(o.member.Assigned) {
		o.Add(currentRecord{&next})
	}
	o.member = &next
}

func assignmentOf(m *Member) *kmsg.ShareGroupHeartbeatResponseAssignment {
	a := kmsg.NewShareGroupHeartbeatResponseAssignment()
	for id, indexes := range m.Assigned.Sorted() {
		a.TopicPartitions = append(a.TopicPartitions, kmsg.ShareGroupHeartbeatResponseAssignmentTopicPartition{TopicID: id, Partitions: indexes})
	}
	return &a
}
