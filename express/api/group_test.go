package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

func TestFindCoordinatorEveryVersion(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for version := range int16(7) {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorKey, q.CoordinatorKeys = "g", []string{"g", "h"}
		resp := ask[*kmsg.FindCoordinatorResponse](c, version, q)
		if version < 4 {
			if resp.ErrorCode != 0 || resp.NodeID != selfID || resp.Host != "127.0.0.1" {
				t.Errorf("v%d: %+v", version, resp)
			}
			continue
		}
		if len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].NodeID != selfID || resp.Coordinators[1].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, resp.Coordinators)
		}
	}
	tp, ok := e.catalog.Topic(topic.ConsumerOffsets)
	if !ok || len(tp.Partitions) != 3 || !tp.Settings.Compact || tp.Settings.Delete || tp.Settings.SegmentBytes != 100<<20 || !tp.Internal {
		t.Errorf("%+v", tp)
	}
	share := kmsg.NewPtrFindCoordinatorRequest()
	share.CoordinatorType, share.CoordinatorKeys = 2, []string{"x"}
	c.wantCode(ask[*kmsg.FindCoordinatorResponse](c, 6, share).Coordinators[0].ErrorCode, kerr.InvalidRequest)
}

// The topic of the groups moves away: its coordinator is another broker.
func TestCoordinatorIsTheOwnerOfThePartition(t *testing.T) {
	e := newEnv(t, options{})
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	e.moveAway(topic.ConsumerOffsets, e.groups.PartitionFor("g"), 2, 5)
	c := e.dial()
	q := kmsg.NewPtrFindCoordinatorRequest()
	q.CoordinatorKey = "g"
	if resp := ask[*kmsg.FindCoordinatorResponse](c, 2, q); resp.NodeID != 2 || resp.Host != "other" || resp.Port != 9002 {
		t.Errorf("%+v", resp)
	}
}

// Gotcha 12: a member joins in two steps, syncs, beats, commits, leaves: through the real coordinator.
func TestGotcha12GroupThroughTheAPI(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	c := e.dial()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = "g", 10_000, 10_000, "consumer"
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("metadata")}}
	first := ask[*kmsg.JoinGroupResponse](c, 9, join)
	c.wantCode(first.ErrorCode, kerr.MemberIDRequired)
	join.MemberID = first.MemberID
	joined := ask[*kmsg.JoinGroupResponse](c, 9, join)
	c.wantCode(joined.ErrorCode, kerr.None)
	if joined.LeaderID != joined.MemberID || len(joined.Members) != 1 || string(joined.Members[0].ProtocolMetadata) != "metadata" {
		t.Fatalf("%+v", joined)
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.Generation, sync.MemberID = "g", joined.Generation, joined.MemberID
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("assignment")}}
	if resp := ask[*kmsg.SyncGroupResponse](c, 4, sync); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "assignment" {
		t.Errorf("%+v", resp)
	}
	// Other requests have used the frames' memory since; what the group keeps is its own.
	for range 50 {
		ask[*kmsg.MetadataResponse](c, 9, metadataRequest("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups, describe.IncludeAuthorizedOperations = []string{"g", "g", "nobody"}, true
	d := ask[*kmsg.DescribeGroupsResponse](c, 5, describe)
	if len(d.Groups) != 2 || d.Groups[0].State != "Stable" || string(d.Groups[0].Members[0].ProtocolMetadata) != "metadata" ||
		string(d.Groups[0].Members[0].MemberAssignment) != "assignment" || d.Groups[0].Members[0].ClientHost != "/127.0.0.1" ||
		d.Groups[0].Members[0].ClientID != "test" || d.Groups[0].AuthorizedOperations == notAsked {
		t.Errorf("%+v", d.Groups)
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.Generation, beat.MemberID = "g", joined.Generation, joined.MemberID
	c.wantCode(ask[*kmsg.HeartbeatResponse](c, 4, beat).ErrorCode, kerr.None)
	beat.Generation++
	c.wantCode(ask[*kmsg.HeartbeatResponse](c, 4, beat).ErrorCode, kerr.IllegalGeneration)

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation, commit.MemberID = "g", joined.Generation, joined.MemberID
	in := kmsg.NewOffsetCommitRequestTopic()
	in.Topic, in.TopicID = "orders", tp.ID
	for _, index := range []int32{1, 9} {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = index, 42
		in.Partitions = append(in.Partitions, p)
	}
	commit.Topics = append(commit.Topics, in)
	for version := int16(2); version <= 10; version++ {
		out := ask[*kmsg.OffsetCommitResponse](c, version, commit).Topics[0]
		c.wantCode(out.Partitions[0].ErrorCode, kerr.None)
		c.wantCode(out.Partitions[1].ErrorCode, kerr.UnknownTopicOrPartition)
		if version == 10 && out.TopicID != tp.ID {
			t.Errorf("%+v", out)
		}
	}
	fetchOffsets(t, c, tp.ID)

	list := ask[*kmsg.ListGroupsResponse](c, 5, kmsg.NewPtrListGroupsRequest())
	if len(list.Groups) != 1 || list.Groups[0].Group != "g" || list.Groups[0].GroupType != "classic" {
		t.Errorf("%+v", list.Groups)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = "g", joined.MemberID
	c.wantCode(ask[*kmsg.LeaveGroupResponse](c, 2, leave).ErrorCode, kerr.None)
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = "g"
	remove.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}},
		{Topic: "nope", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}}}
	gone := ask[*kmsg.OffsetDeleteResponse](c, 0, remove)
	c.wantCode(gone.Topics[0].Partitions[0].ErrorCode, kerr.None)
	c.wantCode(gone.Topics[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"nobody", "nobody"}
	if resp := ask[*kmsg.DeleteGroupsResponse](c, 2, del); len(resp.Groups) != 1 || kerr.Code(resp.Groups[0].ErrorCode) != kerr.GroupIDNotFound {
		t.Errorf("%+v", resp.Groups)
	}
}

// fetchOffsets reads back the commit of 42 to orders-1 in every version.
func fetchOffsets(t *testing.T, c *conn, id topic.ID) {
	t.Helper()
	for version := int16(1); version <= 10; version++ {
		for _, all := range []bool{false, true} {
			if all && version < 2 {
				continue
			}
			q := kmsg.NewPtrOffsetFetchRequest()
			q.Group = "g"
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = "g"
			if !all {
				q.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{1}}}
				g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "orders", TopicID: id, Partitions: []int32{1}}}
			}
			q.Groups = []kmsg.OffsetFetchRequestGroup{g, g}
			resp := ask[*kmsg.OffsetFetchResponse](c, version, q)
			if version < 8 {
				if len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].Offset != 42 {
					t.Errorf("v%d, all %v: %+v", version, all, resp)
				}
				continue
			}
			if len(resp.Groups) != 1 || len(resp.Groups[0].Topics) != 1 || resp.Groups[0].Topics[0].Partitions[0].Offset != 42 ||
				version == 10 && topic.ID(resp.Groups[0].Topics[0].TopicID) != id {
				t.Errorf("v%d, all %v: %+v", version, all, resp)
			}
		}
	}
}
