package differential

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupScripts lists the scripts about classic groups.
func groupScripts() []script {
	return []script{
		{name: "groups/life", run: groupLife},
		{name: "groups/two-members", run: groupOfTwo},
		{name: "groups/static", run: staticMembers},
		{name: "groups/wrong", run: groupMistakes},
		{name: "groups/offsets", run: groupOffsets},
		{name: "groups/simple", run: otherProtocol},
	}
}

// join joins a group, and again with the id that it got if the group asks for that.
func (r *run) join(label string, version int16, q *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	return r.joinOn("differential", label, version, q)
}

func (r *run) joinOn(conn, label string, version int16, q *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	p := askOn[*kmsg.JoinGroupResponse](r, conn, label, version, q)
	const memberIDRequired = 79
	if p.ErrorCode == memberIDRequired && p.MemberID != "" {
		q.MemberID = p.MemberID
		p = askOn[*kmsg.JoinGroupResponse](r, conn, label+" with its id", version, q)
	}
	return p
}

// member is what a member of a classic group says who it is.
type member struct {
	group, id  string
	instance   *string
	generation int32
}

func (r *run) sync(label string, version int16, m member, assignments ...string) *kmsg.SyncGroupResponse {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation, q.ProtocolType, q.Protocol = m.group, m.id, m.instance, m.generation, ptr("consumer"), ptr("range")
	for _, id := range assignments {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, assignment(fixTopic, 0)
		q.GroupAssignment = append(q.GroupAssignment, a)
	}
	return ask[*kmsg.SyncGroupResponse](r, label, version, q)
}

// assignment is what the leader of a classic group tells a member.
func assignment(name string, partitions ...int32) []byte {
	m := kmsg.NewConsumerMemberAssignment()
	t := kmsg.NewConsumerMemberAssignmentTopic()
	t.Topic, t.Partitions = name, partitions
	m.Topics = append(m.Topics, t)
	return m.AppendTo(nil)
}

func (r *run) heartbeat(label string, version int16, m member) *kmsg.HeartbeatResponse {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation = m.group, m.id, m.instance, m.generation
	return ask[*kmsg.HeartbeatResponse](r, label, version, q)
}

func (r *run) leave(label string, version int16, members ...member) {
	q := kmsg.NewPtrLeaveGroupRequest()
	for _, m := range members {
		q.Group, q.MemberID = m.group, m.id
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID, one.InstanceID = m.id, m.instance
		q.Members = append(q.Members, one)
	}
	ask[*kmsg.LeaveGroupResponse](r, label, version, q)
}

func (r *run) memberCommit(label string, version int16, m member, topic string, partition int32, offset int64) {
	q := r.committing(m.group, topic, partition, offset)
	q.MemberID, q.InstanceID, q.Generation = m.id, m.instance, m.generation
	ask[*kmsg.OffsetCommitResponse](r, label, version, q)
}

func (r *run) describeGroup(label, group string) {
	for _, v := range []int16{0, 4, 5, 6} {
		q := kmsg.NewPtrDescribeGroupsRequest()
		q.Groups, q.IncludeAuthorizedOperations = []string{group}, v > 2
		ask[*kmsg.DescribeGroupsResponse](r, label, v, q)
	}
}

func (r *run) fetchOffsets(label, group string, version int16, topics ...string) {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = group, -1
	for _, name := range topics {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = name, []int32{0, 1}
		q.Topics = append(q.Topics, t)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.TopicID, gt.Partitions = name, r.id(name), []int32{0, 1}
		g.Topics = append(g.Topics, gt)
	}
	q.Groups = append(q.Groups, g)
	ask[*kmsg.OffsetFetchResponse](r, label, version, q)
}

func (r *run) deleteGroups(label string, version int16, groups ...string) {
	q := kmsg.NewPtrDeleteGroupsRequest()
	q.Groups = groups
	ask[*kmsg.DeleteGroupsResponse](r, label, version, q)
}

// groupLife leads one member through a group's whole life, at every version of JoinGroup and what goes with it.
func groupLife(r *run) {
	for _, v := range r.plan.of(kmsg.JoinGroup, 0) {
		group := fmt.Sprint("life-", v)
		joined := r.join("join", v, joining(group))
		m := member{group: group, id: joined.MemberID, generation: joined.Generation}
		r.describeGroup("joined", group)
		r.heartbeat("before sync", min(v, 4), m)
		r.sync("sync", min(v, 5), m, m.id)
		r.sync("sync again", min(v, 5), m)
		r.heartbeat("alive", min(v, 4), m)
		r.describeGroup("stable", group)
		r.memberCommit("commit", max(2, v), m, fixTopic, 0, 3)
		r.fetchOffsets("offsets", group, max(1, v), fixTopic)
		stale := m
		stale.generation++
		r.heartbeat("next generation", min(v, 4), stale)
		r.memberCommit("next generation", max(2, v), stale, fixTopic, 0, 4)
		stale = m
		stale.id = "somebody"
		r.heartbeat("somebody", min(v, 4), stale)
		r.memberCommit("somebody", max(2, v), stale, fixTopic, 0, 4)
		r.memberCommit("nobody", max(2, v), member{group: group, generation: -1}, fixTopic, 0, 4)
		r.sync("somebody", min(v, 5), stale)
		r.deleteGroups("not empty", min(v, 2), group)
		// The same member joins again and gets the next generation.
		again := joining(group)
		again.MemberID = m.id
		joined = r.join("join again", v, again)
		m.generation = joined.Generation
		r.heartbeat("rejoined", min(v, 4), m)
		r.sync("sync after join again", min(v, 5), m, m.id, "nobody")
		r.leave("leave", min(v, 5), m)
		r.heartbeat("gone", min(v, 4), m)
		r.leave("leave again", min(v, 5), m)
		r.describeGroup("empty", group)
		r.memberCommit("gone", max(2, v), m, fixTopic, 0, 4)
		r.deleteGroups("delete", min(v, 2), group)
		r.deleteGroups("delete again", min(v, 2), group)
		r.describeGroup("dead", group)
	}
}

// groupOfTwo has a second member join; both requests to join wait for one another.
func groupOfTwo(r *run) {
	const group = "two"
	first := r.join("first joins", 9, joining(group))
	one := member{group: group, id: first.MemberID, generation: first.Generation}
	r.sync("first syncs", 5, one, one.id)
	done := make(chan *kmsg.JoinGroupResponse)
	q := joining(group)
	q.MemberID = r.memberIDFor(group)
	other := r.fork()
	go func() { done <- other.joinOn("second", "second joins", 9, q) }()
	until(r, "first hears of it", 4, func() kmsg.Request {
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group, q.MemberID, q.Generation = group, one.id, one.generation
		return q
	}, func(p *kmsg.HeartbeatResponse) bool { return p.ErrorCode != 0 })
	r.memberCommit("while it rebalances", 9, one, fixTopic, 0, 2)
	again := joining(group)
	again.MemberID = one.id
	one.generation = r.join("first joins again", 9, again).Generation
	second := <-done
	r.join1(other)
	two := member{group: group, id: second.MemberID, generation: second.Generation}
	r.heartbeat("while it syncs", 4, two)
	r.sync("first syncs again", 5, one, one.id, two.id)
	r.sync("second syncs", 5, two)
	r.describeGroup("two", group)
	r.heartbeat("both, first", 4, one)
	r.heartbeat("both, second", 4, two)
	r.leave("both leave", 5, one, two)
	r.describeGroup("empty", group)
}

// memberIDFor asks a group for the id of a new member.
func (r *run) memberIDFor(group string) string {
	return ask[*kmsg.JoinGroupResponse](r, "second asks for an id", 9, joining(group)).MemberID
}

// fork makes a run for what happens at the same time; join1 takes its answers over.
func (r *run) fork() *run {
	f := *r
	f.answers, f.peers, f.labels = nil, make(map[string]*peer), make(map[string]int)
	f.silent = make(map[string]bool)
	f.symbols = newSymbols(&r.side.topics, r.side.broker, r.side.port)
	return &f
}

func (r *run) join1(f *run) {
	r.answers = append(r.answers, f.answers...)
	for _, p := range f.peers {
		p.close()
	}
}

// staticMembers has members with instance ids come, come back and be replaced.
func staticMembers(r *run) {
	for _, v := range r.plan.of(kmsg.JoinGroup, 5) {
		group := fmt.Sprint("static-", v)
		q := joining(group)
		q.InstanceID = ptr("i1")
		joined := r.join("join", v, q)
		m := member{group: group, id: joined.MemberID, instance: ptr("i1"), generation: joined.Generation}
		r.sync("sync", min(v, 5), m, m.id)
		r.describeGroup("stable", group)
		back := joining(group)
		back.InstanceID = ptr("i1")
		joined = r.join("come back", v, back)
		replaced := m
		m.id, m.generation = joined.MemberID, joined.Generation
		r.heartbeat("replaced", 4, replaced)
		r.memberCommit("replaced", 9, replaced, fixTopic, 0, 1)
		r.sync("replaced", min(v, 5), replaced)
		r.sync("come back", min(v, 5), m)
		r.heartbeat("come back", 4, m)
		r.memberCommit("come back", 9, m, fixTopic, 0, 1)
		back = joining(group)
		back.InstanceID, back.MemberID = ptr("i1"), replaced.id
		r.join("with the old id", v, back)
		back = joining(group)
		back.InstanceID, back.MemberID = ptr("i2"), m.id
		r.join("with another's id", v, back)
		stranger := m
		stranger.instance = ptr("i9")
		r.heartbeat("unknown instance", 4, stranger)
		r.memberCommit("unknown instance", 9, stranger, fixTopic, 0, 1)
		r.leave("unknown instance", min(v, 5), stranger)
		changed := joining(group)
		changed.InstanceID = ptr("i1")
		changed.Protocols = changed.Protocols[:1]
		changed.Protocols[0].Metadata = subscription("another")
		joined = r.join("come back changed", v, changed)
		m.id, m.generation = joined.MemberID, joined.Generation
		r.sync("changed", min(v, 5), m, m.id)
		r.describeGroup("changed", group)
		r.leave("leave by instance", min(v, 5), member{group: group, instance: ptr("i1")})
		r.leave("leave twice", min(v, 5), member{group: group, instance: ptr("i1")}, member{group: group, id: "nobody"})
		r.describeGroup("empty", group)
	}
}

// groupMistakes asks wrong things of a group of one.
func groupMistakes(r *run) {
	for _, v := range []int16{2, 5, 9} {
		group := fmt.Sprint("wrong-", v)
		joined := r.join("join", v, joining(group))
		m := member{group: group, id: joined.MemberID, generation: joined.Generation}
		r.sync("sync", min(v, 5), m, m.id)
		q := joining(group)
		q.ProtocolType = "connect"
		ask[*kmsg.JoinGroupResponse](r, "another type", v, q)
		q = joining(group)
		q.Protocols = q.Protocols[:1]
		q.Protocols[0].Name = "unknown"
		ask[*kmsg.JoinGroupResponse](r, "no common protocol", v, q)
		q = joining(group)
		q.MemberID = "nobody"
		ask[*kmsg.JoinGroupResponse](r, "unknown member", v, q)
		s := kmsg.NewPtrSyncGroupRequest()
		s.Group, s.MemberID, s.Generation, s.ProtocolType, s.Protocol = group, m.id, m.generation, ptr("connect"), ptr("range")
		ask[*kmsg.SyncGroupResponse](r, "another type", 5, s)
		s.ProtocolType, s.Protocol = ptr("consumer"), ptr("roundrobin")
		ask[*kmsg.SyncGroupResponse](r, "another protocol", 5, s)
		s.Protocol, s.Generation = ptr("range"), m.generation-1
		ask[*kmsg.SyncGroupResponse](r, "old generation", 5, s)
		d := kmsg.NewPtrOffsetDeleteRequest()
		d.Group = group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = fixTopic
		t.Partitions = append(t.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
		d.Topics = append(d.Topics, t)
		ask[*kmsg.OffsetDeleteResponse](r, "of a subscribed topic", 0, d)
		r.leave("leave", min(v, 5), m)
	}
}

// groupOffsets commits and reads offsets without members, at every version, and lists and deletes the groups.
func groupOffsets(r *run) {
	for _, v := range r.plan.of(kmsg.OffsetCommit, 2) {
		group := fmt.Sprint("offsets-", v)
		r.memberCommit("first", v, member{group: group, generation: -1}, fixTopic, 0, 3)
		r.memberCommit("back", v, member{group: group, generation: -1}, fixTopic, 0, 1)
		r.memberCommit("beyond", v, member{group: group, generation: -1}, fixTopic, 1, 1<<40)
		r.memberCommit("no partition", v, member{group: group, generation: -1}, fixTopic, 7, 1)
		r.memberCommit("no topic", v, member{group: group, generation: -1}, "no-such-topic", 0, 1)
		r.memberCommit("negative", v, member{group: group, generation: -1}, fixTopic, 0, -1)
		r.memberCommit("with generation", v, member{group: group, generation: 3}, fixTopic, 0, 1)
		r.memberCommit("with member", v, member{group: group, id: "m", generation: -1}, fixTopic, 0, 1)
		q := r.committing(group, fixTopic, 1, 4)
		q.Generation, q.Topics[0].Partitions[0].Metadata = -1, ptr(string(make([]byte, 4097)))
		ask[*kmsg.OffsetCommitResponse](r, "large note", v, q)
		q.Topics[0].Partitions[0].Metadata, q.Topics[0].Partitions[0].LeaderEpoch = nil, 5
		ask[*kmsg.OffsetCommitResponse](r, "no note", v, q)
	}
	for _, v := range r.plan.of(kmsg.OffsetFetch, 1) {
		for _, group := range []string{"offsets-2", "offsets-9", "no-group", ""} {
			r.fetchOffsets("of "+group, group, v, fixTopic, "no-such-topic")
			q := kmsg.NewPtrOffsetFetchRequest()
			q.Group, q.RequireStable = group, true
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.MemberEpoch = group, -1
			q.Groups = append(q.Groups, g)
			ask[*kmsg.OffsetFetchResponse](r, "all of "+group, v, q)
			q.Groups[0].MemberID, q.Groups[0].MemberEpoch = ptr("m"), 3
			ask[*kmsg.OffsetFetchResponse](r, "as a member of "+group, v, q)
		}
	}
	for _, v := range r.plan.of(kmsg.DeleteGroups, 0) {
		r.deleteGroups("several", v, fmt.Sprint("offsets-", v+2), "no-group", fmt.Sprint("offsets-", v+2))
	}
	r.fetchOffsets("deleted", "offsets-2", 8, fixTopic)
	r.describeGroup("offsets only", "offsets-9")
}

// otherProtocol is a group of Kafka Connect's kind, whose metadata is no subscription.
func otherProtocol(r *run) {
	for _, v := range []int16{1, 6, 9} {
		group := fmt.Sprint("connect-", v)
		q := joining(group)
		q.ProtocolType = "connect"
		q.Protocols = q.Protocols[:1]
		q.Protocols[0].Name, q.Protocols[0].Metadata = "range", []byte("anything")
		joined := r.join("join", v, q)
		m := member{group: group, id: joined.MemberID, generation: joined.Generation}
		s := kmsg.NewPtrSyncGroupRequest()
		s.Group, s.MemberID, s.Generation, s.ProtocolType, s.Protocol = group, m.id, m.generation, ptr("connect"), ptr("range")
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.id, []byte("anything else")
		s.GroupAssignment = append(s.GroupAssignment, a)
		ask[*kmsg.SyncGroupResponse](r, "sync", min(v, 5), s)
		r.describeGroup("stable", group)
		r.leave("leave", min(v, 5), m)
	}
}
