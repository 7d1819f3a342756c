package differential

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocolScripts lists the scripts about the newer kinds of groups.
func protocolScripts() []script {
	return []script{
		{name: "consumer/life", run: consumerLife},
		{name: "consumer/two-members", run: consumersOfTwo},
		{name: "consumer/wrong", run: consumerMistakes},
		{name: "consumer/upgrade", run: consumerUpgrade},
		{name: "share/life", run: shareLife},
		{name: "share/acknowledge", run: shareAcknowledge},
		{name: "share/offsets", run: shareOffsets},
		{name: "share/states", run: shareStates},
		{name: "streams/life", run: streamsLife},
	}
}

// beating makes a heartbeat of a consumer that says everything, as at joining.
func beating(group, id string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = group, id, epoch, 5000
	q.SubscribedTopicNames, q.Topics = topics, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return q
}

// short makes a heartbeat that says that nothing has changed.
func short(group, id string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = group, id, epoch, -1
	return q
}

// owning adds to a heartbeat what the member owns.
func owning(q *kmsg.ConsumerGroupHeartbeatRequest, id [16]byte, partitions ...int32) *kmsg.ConsumerGroupHeartbeatRequest {
	t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
	t.TopicID, t.Partitions = id, partitions
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{t}
	return q
}

func (r *run) beat(label string, version int16, q *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](r, label, version, q)
}

func (r *run) describeConsumers(label, group string) {
	for _, v := range r.plan.of(kmsg.ConsumerGroupDescribe, 0) {
		q := kmsg.NewPtrConsumerGroupDescribeRequest()
		q.Groups, q.IncludeAuthorizedOperations = []string{group, "no-group"}, v > 0
		ask[*kmsg.ConsumerGroupDescribeResponse](r, label, v, q)
	}
}

// consumerLife leads one member of a consumer group through its life.
func consumerLife(r *run) {
	for _, v := range r.plan.of(kmsg.ConsumerGroupHeartbeat, 0) {
		group, id := fmt.Sprint("cl-", v), "m-1"
		q := beating(group, id, 0, fixTopic, "no-such-topic")
		if v == 0 {
			q.MemberID = ""
		}
		got := r.beat("join", v, q)
		if v == 0 && got.MemberID != nil {
			id = *got.MemberID
		}
		epoch := got.MemberEpoch
		r.describeConsumers("joined", group)
		r.beat("nothing new", v, short(group, id, epoch))
		r.beat("owns all", v, owning(short(group, id, epoch), r.id(fixTopic), 0, 1))
		r.describeConsumers("stable", group)
		r.describeGroup("as classic", group)
		r.beat("old epoch", v, short(group, id, epoch-1))
		r.beat("later epoch", v, short(group, id, epoch+1))
		r.beat("somebody", v, short(group, "somebody", epoch))
		m := member{group: group, id: id, generation: epoch}
		for _, cv := range []int16{8, 9, 10} {
			r.memberCommit("commit", cv, m, fixTopic, 0, 2)
			stale := m
			stale.generation++
			r.memberCommit("commit of a later epoch", cv, stale, fixTopic, 0, 2)
			stale.generation = epoch - 1
			r.memberCommit("commit of an old epoch", cv, stale, fixTopic, 0, 2)
			stale.id = "somebody"
			r.memberCommit("commit of somebody", cv, stale, fixTopic, 0, 2)
		}
		for _, fv := range []int16{8, 9, 10} {
			for _, e := range []int32{epoch - 1, epoch, epoch + 1} {
				f := kmsg.NewPtrOffsetFetchRequest()
				g := kmsg.NewOffsetFetchRequestGroup()
				g.Group, g.MemberID, g.MemberEpoch = group, &id, e
				t := kmsg.NewOffsetFetchRequestGroupTopic()
				t.Topic, t.TopicID, t.Partitions = fixTopic, r.id(fixTopic), []int32{0}
				g.Topics = append(g.Topics, t)
				f.Groups = append(f.Groups, g)
				ask[*kmsg.OffsetFetchResponse](r, fmt.Sprintf("fetch, epoch %+d", e-epoch), fv, f)
			}
		}
		r.deleteGroups("not empty", 2, group)
		d := kmsg.NewPtrOffsetDeleteRequest()
		d.Group = group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = fixTopic
		t.Partitions = append(t.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
		d.Topics = append(d.Topics, t)
		ask[*kmsg.OffsetDeleteResponse](r, "of a subscribed topic", 0, d)
		q = short(group, id, epoch)
		q.SubscribedTopicNames = []string{"no-such-topic"}
		got = r.beat("another subscription", v, q)
		r.beat("owns nothing", v, owning(short(group, id, got.MemberEpoch), r.id(fixTopic)))
		r.describeConsumers("changed", group)
		r.beat("leave", v, short(group, id, -1))
		r.beat("leave again", v, short(group, id, -1))
		r.describeConsumers("empty", group)
		l := kmsg.NewPtrListGroupsRequest()
		l.TypesFilter, l.StatesFilter = []string{"consumer"}, []string{"Empty"}
		// What other scripts have left is empty sooner or later.
		r.prune = func(p kmsg.Response) {
			groups := &p.(*kmsg.ListGroupsResponse).Groups
			*groups = slices.DeleteFunc(*groups, func(g kmsg.ListGroupsResponseGroup) bool { return g.Group != group })
		}
		ask[*kmsg.ListGroupsResponse](r, "empty", 5, l)
		r.prune = nil
		r.deleteGroups("delete", 2, group)
		r.describeConsumers("dead", group)
	}
}

// consumersOfTwo has a second consumer come and go; partitions go from one to the other.
func consumersOfTwo(r *run) {
	for _, assignor := range []string{"uniform", "range"} {
		group := "c2-" + assignor
		q := beating(group, "a", 0, fixTopic)
		q.ServerAssignor = &assignor
		a := r.beat("a joins", 1, q)
		r.beat("a owns all", 1, owning(short(group, "a", a.MemberEpoch), r.id(fixTopic), 0, 1))
		q = beating(group, "b", 0, fixTopic)
		q.ServerAssignor, q.RackID = &assignor, ptr("rack")
		b := r.beat("b joins", 1, q)
		r.describeConsumers("b joined", group)
		a = r.beat("a hears", 1, short(group, "a", a.MemberEpoch))
		kept := []int32{}
		if a.Assignment != nil && len(a.Assignment.Topics) > 0 {
			kept = a.Assignment.Topics[0].Partitions
		}
		r.beat("a gave back", 1, owning(short(group, "a", a.MemberEpoch), r.id(fixTopic), kept...))
		r.beat("b gets", 1, short(group, "b", b.MemberEpoch))
		r.describeConsumers("both", group)
		q = beating(group, "c", 0, fixTopic)
		q.InstanceID = ptr("static")
		c := r.beat("static joins", 1, q)
		r.beat("static leaves for a while", 1, func() *kmsg.ConsumerGroupHeartbeatRequest {
			q := short(group, "c", -2)
			q.InstanceID = ptr("static")
			return q
		}())
		r.describeConsumers("static is away", group)
		q = beating(group, "d", 0, fixTopic)
		q.InstanceID = ptr("static")
		d := r.beat("static comes back", 1, q)
		q = short(group, "c", c.MemberEpoch)
		q.InstanceID = ptr("static")
		r.beat("its old self", 1, q)
		q = beating(group, "e", 0, fixTopic)
		q.InstanceID = ptr("static")
		r.beat("its rival", 1, q)
		q = short(group, "d", d.MemberEpoch)
		r.beat("without the instance id", 1, q)
		r.describeConsumers("static is back", group)
		r.beat("a leaves", 1, short(group, "a", -1))
		r.beat("b leaves", 1, short(group, "b", -1))
		r.describeConsumers("static is left", group)
		q = short(group, "d", -1)
		q.InstanceID = ptr("static")
		r.beat("static leaves", 1, q)
		r.describeConsumers("empty", group)
	}
	q := beating("c2-regex", "m", 0)
	q.SubscribedTopicNames, q.SubscribedTopicRegex = nil, ptr("fi[x].*")
	got := r.beat("regular expression", 1, q)
	until(r, "regular expression resolved", 1, func() kmsg.Request { return short("c2-regex", "m", got.MemberEpoch) },
		func(p *kmsg.ConsumerGroupHeartbeatResponse) bool {
			resolved := p.Assignment != nil && len(p.Assignment.Topics) > 0
			if p.ErrorCode == 0 {
				got = p
			}
			return resolved
		})
	r.describeConsumers("regular expression", "c2-regex")
	q = beating("c2-bad-regex", "m", 0)
	q.SubscribedTopicNames, q.SubscribedTopicRegex = nil, ptr("(")
	r.beat("bad regular expression", 1, q)
	r.beat("leave", 1, short("c2-regex", "m", -1))
}

// consumerMistakes sends heartbeats that do not hold together.
func consumerMistakes(r *run) {
	for _, v := range r.plan.of(kmsg.ConsumerGroupHeartbeat, 0) {
		mistakes := map[string]func(q *kmsg.ConsumerGroupHeartbeatRequest){
			"no group":             func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" },
			"blank group":          func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "  " },
			"no member":            func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" },
			"no timeout":           func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = -1 },
			"no subscription":      func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = nil },
			"empty subscription":   func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{} },
			"no topics":            func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = nil },
			"owned at joining":     func(q *kmsg.ConsumerGroupHeartbeatRequest) { owning(q, [16]byte{1}, 0) },
			"unknown assignor":     func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.ServerAssignor = ptr("nonsense") },
			"empty instance":       func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = ptr("") },
			"empty rack":           func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = ptr("") },
			"long id":              func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = string(make([]byte, 40)) },
			"epoch -2":             func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -2 },
			"epoch -3":             func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -3 },
			"epoch 5 of nobody":    func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = 5 },
			"leaving, never there": func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -1 },
		}
		for n, name := range sorted(mistakes) {
			q := beating(fmt.Sprintf("cm-%d-%d", v, n), "m", 0, fixTopic)
			mistakes[name](q)
			r.beat(name, v, q)
		}
	}
}

// consumerUpgrade moves a group from the classic protocol to the new one and back.
func consumerUpgrade(r *run) {
	const group = "cu"
	q := joining(group)
	joined := r.join("classic joins", 9, q)
	m := member{group: group, id: joined.MemberID, generation: joined.Generation}
	r.sync("classic syncs", 5, m, m.id)
	b := r.beat("new one joins", 1, beating(group, "new", 0, fixTopic))
	r.describeConsumers("mixed", group)
	r.describeGroup("mixed", group)
	r.heartbeat("classic hears", 4, m)
	q = joining(group)
	q.MemberID = m.id
	joined = r.join("classic joins again", 9, q)
	m.generation = joined.Generation
	r.sync("classic syncs again", 5, m)
	b = r.beat("new one again", 1, short(group, "new", b.MemberEpoch))
	r.leave("classic leaves", 5, m)
	r.beat("new one alone", 1, short(group, "new", b.MemberEpoch))
	r.describeConsumers("all new", group)
	r.join("classic comes back", 9, joining(group))
	r.beat("new one leaves", 1, short(group, "new", -1))
	r.describeConsumers("in the end", group)
	r.describeGroup("in the end", group)
	r.commit("cu-offsets", fixTopic, 0, 3)
	r.beat("over a group of offsets", 1, beating("cu-offsets", "new", 0, fixTopic))
	r.fetchOffsets("over a group of offsets", "cu-offsets", 9, fixTopic)
	r.beat("leave", 1, short("cu-offsets", "new", -1))
	joined = r.join("classic over an empty new group", 9, joining("cu-offsets"))
	r.leave("classic leaves", 5, member{group: "cu-offsets", id: joined.MemberID})
}

func (r *run) shareBeat(label, group, id string, epoch int32, topics []string) *kmsg.ShareGroupHeartbeatResponse {
	q := kmsg.NewPtrShareGroupHeartbeatRequest()
	q.GroupID, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = group, id, epoch, topics
	return ask[*kmsg.ShareGroupHeartbeatResponse](r, label, 1, q)
}

func (r *run) describeShare(label, group string) {
	q := kmsg.NewPtrShareGroupDescribeRequest()
	q.GroupIDs, q.IncludeAuthorizedOperations = []string{group, "no-group"}, true
	ask[*kmsg.ShareGroupDescribeResponse](r, label, 1, q)
}

// shareJoin has a member join and waits until it has its partition.
func (r *run) shareJoin(group, id, topic string) int32 {
	epoch := r.shareBeat("join", group, id, 0, []string{topic}).MemberEpoch
	until(r, "assigned", 1, func() kmsg.Request {
		q := kmsg.NewPtrShareGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = group, id, epoch, []string{topic}
		return q
	}, func(p *kmsg.ShareGroupHeartbeatResponse) bool {
		epoch = p.MemberEpoch
		return p.ErrorCode != 0 || p.Assignment != nil && len(p.Assignment.TopicPartitions) > 0
	})
	return epoch
}

// fromTheStart sets where a share group begins.
func (r *run) fromTheStart(group string) {
	const groups = kmsg.ConfigResourceTypeGroupConfig
	ask[*kmsg.IncrementalAlterConfigsResponse](r, "from the start", 1, altering(groups, group, "share.auto.offset.reset", ptr("earliest"), 0))
	r.awaitConfig(groups, group, "share.auto.offset.reset", "earliest")
}

func shareFetching(group, id string, epoch int32, topic [16]byte, partitions ...int32) *kmsg.ShareFetchRequest {
	q := kmsg.NewPtrShareFetchRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch = &group, &id, epoch
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.MaxRecords, q.BatchSize = 300, 1, 1<<20, 100, 100
	if len(partitions) > 0 {
		t := kmsg.NewShareFetchRequestTopic()
		t.TopicID = topic
		for _, n := range partitions {
			p := kmsg.NewShareFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = n, 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		q.Topics = append(q.Topics, t)
	}
	return q
}

func acknowledging(q *kmsg.ShareFetchRequest, first, last int64, types ...int8) *kmsg.ShareFetchRequest {
	b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
	b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = first, last, types
	p := &q.Topics[0].Partitions[0]
	p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
	return q
}

// shareLife leads a share group through its life.
func shareLife(r *run) {
	const group, topic = "sl", "sl"
	id := memberID("share-life")
	r.createTopic(topic, 1)
	r.fromTheStart(group)
	for n := range 3 {
		r.produce(topic, 0, 2*n, 2)
	}
	epoch := r.shareJoin(group, id, topic)
	r.describeShare("joined", group)
	r.shareBeat("nothing new", group, id, epoch, nil)
	r.shareBeat("old epoch", group, id, epoch-1, nil)
	r.shareBeat("later epoch", group, id, epoch+1, nil)
	r.shareBeat("somebody", group, memberID("somebody"), epoch, nil)
	r.shareBeat("epoch -2", group, id, -2, nil)
	for _, v := range r.plan.of(kmsg.ShareFetch, 0) {
		open := int32(0)
		get := func(label string, q *kmsg.ShareFetchRequest) { ask[*kmsg.ShareFetchResponse](r, label, v, q) }
		q := shareFetching(group, id, open, r.id(topic), 0)
		q.MaxRecords = 2
		q.BatchSize = 2
		get("first", q)
		get("wrong session epoch", shareFetching(group, id, 7, r.id(topic), 0))
		get("rest", shareFetching(group, id, 1, r.id(topic)))
		get("nothing", func() *kmsg.ShareFetchRequest {
			q := shareFetching(group, id, 2, r.id(topic))
			q.MaxWaitMillis = 1
			return q
		}())
		get("accept, release, reject", acknowledging(acknowledging(acknowledging(
			shareFetching(group, id, 3, r.id(topic), 0), 0, 1, 1), 2, 3, 2), 4, 4, 3))
		get("accept twice", acknowledging(shareFetching(group, id, 4, r.id(topic), 0), 0, 1, 1))
		get("accept the redelivered", acknowledging(shareFetching(group, id, 5, r.id(topic), 0), 2, 3, 1))
		get("type 9", acknowledging(shareFetching(group, id, 6, r.id(topic), 0), 5, 5, 9))
		get("gap", acknowledging(shareFetching(group, id, 7, r.id(topic), 0), 5, 5, 0))
		get("unknown topic", shareFetching(group, id, 8, [16]byte{7}, 0))
		get("unknown partition", shareFetching(group, id, 9, r.id(topic), 5))
		get("close", shareFetching(group, id, -1, r.id(topic)))
		get("after the close", shareFetching(group, id, 10, r.id(topic)))
		for n := range 3 {
			r.produce(topic, 0, 2*n, 2)
		}
	}
	r.shareBeat("leave", group, id, -1, nil)
	r.shareBeat("leave again", group, id, -1, nil)
	r.describeShare("empty", group)
	r.deleteGroups("delete", 2, group)
	r.describeShare("dead", group)
}

// shareAcknowledge acknowledges apart from fetching.
func shareAcknowledge(r *run) {
	for _, v := range r.plan.of(kmsg.ShareAcknowledge, 0) {
		group, topic := fmt.Sprint("sa-", v), fmt.Sprint("sa-", v)
		id := memberID(group)
		r.createTopic(topic, 1)
		r.fromTheStart(group)
		r.produce(topic, 0, 0, 10)
		r.shareJoin(group, id, topic)
		ack := func(label string, session int32, partition int32, first, last int64, types ...int8) {
			q := kmsg.NewPtrShareAcknowledgeRequest()
			q.GroupID, q.MemberID, q.ShareSessionEpoch = &group, &id, session
			q.IsRenewAck = v >= 2 && len(types) == 1 && types[0] == 4
			t := kmsg.NewShareAcknowledgeRequestTopic()
			t.TopicID = r.id(topic)
			p := kmsg.NewShareAcknowledgeRequestTopicPartition()
			p.Partition = partition
			b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
			b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = first, last, types
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
			ask[*kmsg.ShareAcknowledgeResponse](r, label, v, q)
		}
		ack("without a session", 1, 0, 0, 0, 1)
		ask[*kmsg.ShareFetchResponse](r, fmt.Sprint("fetch for v", v), v, shareFetching(group, id, 0, r.id(topic), 0))
		ack("initial epoch", 0, 0, 0, 0, 1)
		ack("wrong epoch", 9, 0, 0, 0, 1)
		ack("accept one", 1, 0, 0, 0, 1)
		ack("mixed types", 2, 0, 1, 3, 1, 2, 3)
		ack("too few types", 3, 0, 4, 6, 1, 2)
		ack("not acquired", 4, 0, 50, 60, 1)
		ack("backwards", 5, 0, 6, 5, 1)
		ack("negative", 6, 0, -1, 0, 1)
		ack("unknown partition", 7, 3, 0, 0, 1)
		ack("renew", 8, 0, 4, 9, 4)
		ack("release", 9, 0, 4, 9, 2)
		ack("release again", 10, 0, 4, 9, 2)
		ask[*kmsg.ShareFetchResponse](r, fmt.Sprint("redelivered at v", v), v, shareFetching(group, id, 11, r.id(topic)))
		ack("reject", 12, 0, 4, 9, 3)
		ack("close", -1, 0, 2, 2, 1)
		ack("after the close", 13, 0, 0, 0, 1)
		r.shareBeat("leave", group, id, -1, nil)
	}
}

// shareOffsets shows, sets and deletes the offsets of a share group.
func shareOffsets(r *run) {
	const group, topic = "so", "so"
	id := memberID("share-offsets")
	r.createTopic(topic, 2)
	r.fromTheStart(group)
	r.produce(topic, 0, 0, 5)
	r.shareJoin(group, id, topic)
	show := func(label string) {
		for _, v := range r.plan.of(kmsg.DescribeShareGroupOffsets, 0) {
			q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
			for _, name := range []string{group, "no-group"} {
				g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
				g.GroupID = name
				for _, name := range []string{topic, "no-such-topic"} {
					t := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
					t.Topic, t.Partitions = name, []int32{0, 1}
					g.Topics = append(g.Topics, t)
				}
				q.Groups = append(q.Groups, g)
			}
			ask[*kmsg.DescribeShareGroupOffsetsResponse](r, label, v, q)
			q.Groups = q.Groups[:1]
			q.Groups[0].Topics = nil
			ask[*kmsg.DescribeShareGroupOffsetsResponse](r, label+", all", v, q)
		}
	}
	set := func(label string, offset int64, topics ...string) {
		q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		q.GroupID = group
		for _, name := range topics {
			t := kmsg.NewAlterShareGroupOffsetsRequestTopic()
			t.Topic = name
			for _, n := range []int32{0, 7} {
				p := kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
				p.Partition, p.StartOffset = n, offset
				t.Partitions = append(t.Partitions, p)
			}
			q.Topics = append(q.Topics, t)
		}
		ask[*kmsg.AlterShareGroupOffsetsResponse](r, label, 0, q)
	}
	remove := func(label string, topics ...string) {
		q := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
		q.GroupID = group
		for _, name := range topics {
			t := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
			t.Topic = name
			q.Topics = append(q.Topics, t)
		}
		ask[*kmsg.DeleteShareGroupOffsetsResponse](r, label, 0, q)
	}
	show("joined")
	set("not empty", 2, topic)
	remove("not empty", topic)
	ask[*kmsg.ShareFetchResponse](r, "fetch", 1, shareFetching(group, id, 0, r.id(topic), 0))
	show("fetched")
	ask[*kmsg.ShareFetchResponse](r, "accept", 1, acknowledging(shareFetching(group, id, 1, r.id(topic), 0), 0, 2, 1))
	show("accepted")
	r.shareBeat("leave", group, id, -1, nil)
	show("empty")
	set("back", 1, topic, "no-such-topic")
	show("set back")
	set("negative", -5, topic)
	remove("delete", topic, "no-such-topic")
	show("deleted")
	r.deleteGroups("delete", 2, group)
	show("dead")
}

// streamsLife leads a streams group through its life.
func streamsLife(r *run) {
	const group = "stl"
	beat := func(label string, change func(q *kmsg.StreamsGroupHeartbeatRequest)) *kmsg.StreamsGroupHeartbeatResponse {
		q := streaming(group, "m-1")
		change(q)
		return ask[*kmsg.StreamsGroupHeartbeatResponse](r, label, 0, q)
	}
	show := func(label string) {
		q := kmsg.NewPtrStreamsGroupDescribeRequest()
		q.Groups, q.IncludeAuthorizedOperations = []string{group, "no-group"}, true
		ask[*kmsg.StreamsGroupDescribeResponse](r, label, 0, q)
	}
	none := func(*kmsg.StreamsGroupHeartbeatRequest) {}
	epoch := beat("join", none).MemberEpoch
	until(r, "assigned", 0, func() kmsg.Request {
		q := streaming(group, "m-1")
		q.MemberEpoch, q.Topology, q.ProcessID, q.RebalanceTimeoutMillis = epoch, nil, nil, -1
		q.ActiveTasks, q.StandbyTasks, q.WarmupTasks = nil, nil, nil
		return q
	}, func(p *kmsg.StreamsGroupHeartbeatResponse) bool {
		if p.ErrorCode == 0 {
			epoch = p.MemberEpoch
		}
		return p.ErrorCode != 0 || epoch > 1
	})
	show("joined")
	later := func(e int32) func(q *kmsg.StreamsGroupHeartbeatRequest) {
		return func(q *kmsg.StreamsGroupHeartbeatRequest) {
			q.MemberEpoch, q.Topology, q.ProcessID, q.RebalanceTimeoutMillis = e, nil, nil, -1
			q.ActiveTasks, q.StandbyTasks, q.WarmupTasks = nil, nil, nil
		}
	}
	beat("nothing new", later(epoch))
	beat("later epoch", later(epoch+1))
	beat("far epoch", later(epoch+9))
	beat("epoch -3", later(-3))
	beat("no topology at joining", func(q *kmsg.StreamsGroupHeartbeatRequest) { q.Topology, q.MemberID = nil, "m-2" })
	beat("no process at joining", func(q *kmsg.StreamsGroupHeartbeatRequest) { q.ProcessID, q.MemberID = nil, "m-2" })
	beat("no tasks at joining", func(q *kmsg.StreamsGroupHeartbeatRequest) { q.ActiveTasks, q.MemberID = nil, "m-2" })
	beat("no group", func(q *kmsg.StreamsGroupHeartbeatRequest) { q.Group = "" })
	beat("no member", func(q *kmsg.StreamsGroupHeartbeatRequest) { q.MemberID = "" })
	beat("leave", later(-1))
	beat("leave again", later(-1))
	show("empty")
	r.deleteGroups("delete", 2, group)
	show("dead")
}
