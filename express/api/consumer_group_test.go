package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
	"millrace/secure/authz"
)

// heartbeat asks as a member of group g that reads the topics; an epoch of 0 joins.
func heartbeat(c *conn, member string, epoch int32, names ...string) *kmsg.ConsumerGroupHeartbeatResponse {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch = "g", member, epoch
	if epoch == 0 {
		q.RebalanceTimeoutMillis = 10_000
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		q.SubscribedTopicNames = names
	}
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](c, 1, q)
}

// A member joins, commits under its epoch, is described and listed, and leaves.
func TestConsumerGroup(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 3, nil)
	c := e.dial()
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	joined := heartbeat(c, "m1", 0, "orders")
	c.wantCode(joined.ErrorCode, kerr.None)
	if joined.MemberEpoch != 2 || *joined.MemberID != "m1" || joined.HeartbeatIntervalMillis != 5000 || joined.Assignment == nil ||
		len(joined.Assignment.Topics) != 1 || joined.Assignment.Topics[0].TopicID != [16]byte(tp.ID) || len(joined.Assignment.Topics[0].Partitions) != 3 {
		t.Fatalf("%+v", joined)
	}
	if again := heartbeat(c, "m1", 2); again.ErrorCode != 0 || again.Assignment != nil || again.MemberEpoch != 2 {
		t.Errorf("%+v", again)
	}
	c.wantCode(heartbeat(c, "m1", 3).ErrorCode, kerr.FencedMemberEpoch)
	c.wantCode(heartbeat(c, "m2", 1).ErrorCode, kerr.UnknownMemberID)
	c.wantCode(heartbeat(c, "", 1).ErrorCode, kerr.InvalidRequest)

	commit := func(member string, epoch int32) kerr.Code {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.MemberID, q.Generation = "g", member, epoch
		q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 1, Offset: 5}}}}
		return kerr.Code(ask[*kmsg.OffsetCommitResponse](c, 9, q).Topics[0].Partitions[0].ErrorCode)
	}
	for _, f := range []struct {
		member string
		epoch  int32
		want   kerr.Code
	}{{"m1", 2, kerr.None}, {"m1", 3, kerr.StaleMemberEpoch}, {"m1", 0, kerr.StaleMemberEpoch}, {"m9", 1, kerr.UnknownMemberID}, {"", -1, kerr.UnknownMemberID}} {
		if got := commit(f.member, f.epoch); got != f.want {
			t.Errorf("commit of %s in %d: %s, want %s", f.member, f.epoch, got.Name(), f.want.Name())
		}
	}
	fetch := func(member *string, epoch int32) kmsg.OffsetFetchResponseGroup {
		q := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = "g", member, epoch
		q.Groups = append(q.Groups, g)
		return ask[*kmsg.OffsetFetchResponse](c, 9, q).Groups[0]
	}
	c.wantCode(fetch(kmsg.StringPtr("m1"), 3).ErrorCode, kerr.StaleMemberEpoch)
	c.wantCode(fetch(kmsg.StringPtr("m9"), 1).ErrorCode, kerr.UnknownMemberID)
	if got := fetch(kmsg.StringPtr("m1"), 2); got.ErrorCode != 0 || got.Topics[0].Partitions[0].Offset != 5 {
		t.Errorf("%+v", got)
	}

	d := kmsg.NewPtrConsumerGroupDescribeRequest()
	d.Groups, d.IncludeAuthorizedOperations = []string{"g", "none", "g"}, true
	described := ask[*kmsg.ConsumerGroupDescribeResponse](c, 1, d).Groups
	if g := described[0]; len(described) != 2 || g.State != "Stable" || g.Epoch != 2 || g.AssignmentEpoch != 2 || g.AssignorName != "uniform" ||
		g.AuthorizedOperations == notAsked || len(g.Members) != 1 || g.Members[0].MemberType != 1 || g.Members[0].SubscribedTopics[0] != "orders" ||
		g.Members[0].Assignment.TopicPartitions[0].Topic != "orders" || len(g.Members[0].TargetAssignment.TopicPartitions[0].Partitions) != 3 {
		t.Errorf("%+v", described)
	}
	c.wantCode(described[1].ErrorCode, kerr.GroupIDNotFound)
	old := kmsg.NewPtrDescribeGroupsRequest()
	old.Groups = []string{"g"}
	c.wantCode(ask[*kmsg.DescribeGroupsResponse](c, 6, old).Groups[0].ErrorCode, kerr.GroupIDNotFound)
	list := kmsg.NewPtrListGroupsRequest()
	list.TypesFilter, list.StatesFilter = []string{"consumer"}, []string{"stable"}
	if groups := ask[*kmsg.ListGroupsResponse](c, 5, list).Groups; len(groups) != 1 || groups[0].GroupType != "consumer" || groups[0].ProtocolType != "consumer" {
		t.Errorf("%+v", groups)
	}

	del := kmsg.NewPtrOffsetDeleteRequest()
	del.Group = "g"
	del.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}}}
	c.wantCode(ask[*kmsg.OffsetDeleteResponse](c, 0, del).Topics[0].Partitions[0].ErrorCode, kerr.GroupSubscribedToTopic)
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Groups = []string{"g"}
	c.wantCode(ask[*kmsg.DeleteGroupsResponse](c, 2, remove).Groups[0].ErrorCode, kerr.NonEmptyGroup)
	if left := heartbeat(c, "m1", -1); left.ErrorCode != 0 || left.MemberEpoch != -1 {
		t.Errorf("%+v", left)
	}
	c.wantCode(ask[*kmsg.OffsetDeleteResponse](c, 0, del).Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.DeleteGroupsResponse](c, 2, remove).Groups[0].ErrorCode, kerr.None)
	c.wantCode(heartbeat(c, "m1", -1).ErrorCode, kerr.GroupIDNotFound)
}

// A group's own configuration applies with its next heartbeat, and is shown.
func TestGroupConfigs(t *testing.T) {
	e := newEnv(t, options{static: map[string]string{"group.consumer.min.heartbeat.interval.ms": "1000"}})
	e.create("orders", 1, nil)
	c := e.dial()
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	alter := func(name, key string, value *string) kerr.Code {
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		op := kmsg.IncrementalAlterConfigOpSet
		if value == nil {
			op = kmsg.IncrementalAlterConfigOpDelete
		}
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Op: op, Value: value}}}}
		return kerr.Code(ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, q).Resources[0].ErrorCode)
	}
	const key = "consumer.heartbeat.interval.ms"
	for _, f := range []struct {
		group, key, value string
		want              kerr.Code
	}{
		{"g", key, "999", kerr.InvalidConfig}, {"g", key, "15001", kerr.InvalidConfig}, {"g", "retention.ms", "1", kerr.InvalidConfig},
		{"", key, "2000", kerr.InvalidRequest}, {"g", key, "2000", kerr.None}, {"a/b c", key, "3000", kerr.None},
	} {
		if got := alter(f.group, f.key, &f.value); got != f.want {
			t.Errorf("%+v: %s", f, got.Name())
		}
	}
	if joined := heartbeat(c, "m1", 0, "orders"); joined.HeartbeatIntervalMillis != 2000 {
		t.Errorf("%+v", joined)
	}
	shown := ask[*kmsg.DescribeConfigsResponse](c, 4, describeConfigsRequest(kmsg.ConfigResourceTypeGroupConfig, "g", key)).Resources[0].Configs[0]
	if *shown.Value != "2000" || shown.Source != kmsg.ConfigSource(8) || len(shown.ConfigSynonyms) != 2 || shown.ConfigSynonyms[1].Name != "group."+key {
		t.Errorf("%+v", shown)
	}
	list := kmsg.NewPtrListConfigResourcesRequest()
	list.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeGroupConfig)}
	if all := ask[*kmsg.ListConfigResourcesResponse](c, 1, list).ConfigResources; len(all) != 2 || all[0].Name != "a/b c" || all[1].Name != "g" {
		t.Errorf("%+v", all)
	}
	if got := alter("g", key, nil); got != kerr.None {
		t.Error(got.Name())
	}
	if again := heartbeat(c, "m1", 2); again.HeartbeatIntervalMillis != 5000 {
		t.Errorf("%+v", again)
	}
	if all := ask[*kmsg.ListConfigResourcesResponse](c, 1, list).ConfigResources; len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// notDescribed is an authorizer that hides one topic.
type notDescribed string

func (n notDescribed) AllowedSomewhere(authz.Access) bool { return true }

func (n notDescribed) Allowed(a authz.Access) bool {
	return a.Resource != kmsg.ACLResourceTypeTopic || a.Name != string(n)
}

// A client sees, and matches, only topics that it may describe.
func TestConsumerGroupTopicsAreAuthorized(t *testing.T) {
	e := newEnv(t, options{authorizer: notDescribed("secret"), static: map[string]string{"group.consumer.assignment.interval.ms": "0"}})
	open := e.create("open", 1, nil)
	e.create("secret", 1, nil)
	c := e.dial()
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	c.wantCode(heartbeat(c, "m1", 0, "open", "secret").ErrorCode, kerr.TopicAuthorizationFailed)
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.RebalanceTimeoutMillis, q.SubscribedTopicRegex = "g", "m1", 1000, kmsg.StringPtr("open|secret")
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	first := ask[*kmsg.ConsumerGroupHeartbeatResponse](c, 1, q)
	c.wantCode(first.ErrorCode, kerr.None)
	second := heartbeat(c, "m1", first.MemberEpoch)
	if second.Assignment == nil || len(second.Assignment.Topics) != 1 || topic.ID(second.Assignment.Topics[0].TopicID) != open.ID {
		t.Errorf("%+v", second)
	}
	q.SubscribedTopicRegex, q.MemberID = kmsg.StringPtr("("), "m2"
	c.wantCode(ask[*kmsg.ConsumerGroupHeartbeatResponse](c, 1, q).ErrorCode, kerr.InvalidRegularExpression)
}

// A broker that was told to serve classic groups only refuses the others, as Apache Kafka does, and serves share groups: they
// have a feature of their own.
func TestConsumerGroupsDisabled(t *testing.T) {
	e := newEnv(t, options{static: map[string]string{"group.coordinator.rebalance.protocols": "classic"}})
	e.create("orders", 1, nil)
	c := e.dial()
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	r := heartbeat(c, "m1", 0, "orders")
	c.wantCode(r.ErrorCode, kerr.UnsupportedVersion)
	if r.ErrorMessage != nil || r.MemberID != nil {
		t.Errorf("%+v", r)
	}
	d := kmsg.NewPtrConsumerGroupDescribeRequest()
	d.Groups = []string{"g", "h"}
	groups := ask[*kmsg.ConsumerGroupDescribeResponse](c, 1, d).Groups
	if len(groups) != 2 || groups[0].Group != "g" || groups[1].Group != "h" {
		t.Fatalf("%+v", groups)
	}
	for _, g := range groups {
		c.wantCode(g.ErrorCode, kerr.UnsupportedVersion)
	}
	s := kmsg.NewPtrShareGroupHeartbeatRequest()
	s.GroupID, s.MemberID, s.SubscribedTopicNames = "s", "AAAAAAAAAAAAAAAAAAAAAA", []string{"orders"}
	c.wantCode(ask[*kmsg.ShareGroupHeartbeatResponse](c, 1, s).ErrorCode, kerr.None)
}
