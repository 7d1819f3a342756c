package coord

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

func TestPartitionFor(t *testing.T) {
	for _, tc := range []struct {
		group string
		n     int32
		want  int32
	}{
		{"", 50, 0},
		{"a", 50, 97 % 50},
		{"hello", 50, 99162322 % 50},
		{"polygenelubricants", 50, 0},    // Java's hash is -2^31, which has no absolute value
		{"\U0001F600", 50, 1772899 % 50}, // two UTF-16 units
		{"my-consumer-group", 1, 0},
		{"zzzzzzzz", 50, 1910022912 % 50}, // the hash is negative
	} {
		c, err := New(GroupConfig{Partitions: tc.n}, World{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.PartitionFor(tc.group); got != tc.want {
			t.Errorf("%q of %d: %d, want %d", tc.group, tc.n, got, tc.want)
		}
	}
	if _, err := New(GroupConfig{}, World{}); err == nil {
		t.Error("no partitions were accepted")
	}
}

func TestNobodyIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &memLog{}, nil)
		ctx := t.Context()
		if got := r.join(ctx, "m"); kerr.Code(got.ErrorCode) != kerr.NotCoordinator || got.MemberID != "m" {
			t.Errorf("join: %+v", got)
		}
		if got := r.sync("m", 1); kerr.Code(got.ErrorCode) != kerr.NotCoordinator {
			t.Errorf("sync: %+v", got)
		}
		if got := r.heartbeat("m", 1); got != kerr.NotCoordinator {
			t.Error("heartbeat:", got)
		}
		if got := r.commit("g", "t", 0, 1); got != kerr.NotCoordinator {
			t.Error("commit:", got)
		}
		if got := r.describe(); kerr.Code(got.ErrorCode) != kerr.NotCoordinator {
			t.Errorf("describe: %+v", got)
		}
		del := kmsg.NewPtrDeleteGroupsRequest()
		del.Groups = []string{"g"}
		if got := r.DeleteGroups(ctx, del).Groups[0]; kerr.Code(got.ErrorCode) != kerr.NotCoordinator || got.Group != "g" {
			t.Errorf("delete: %+v", got)
		}
		if got := r.ListGroups(ctx, kmsg.NewPtrListGroupsRequest()); got.ErrorCode != 0 || len(got.Groups) != 0 {
			t.Errorf("list: %+v", got)
		}
		for _, r := range []int16{
			r.JoinGroup(ctx, "c", "/h", kmsg.NewPtrJoinGroupRequest()).ErrorCode,
			r.SyncGroup(ctx, kmsg.NewPtrSyncGroupRequest()).ErrorCode,
			r.Heartbeat(ctx, kmsg.NewPtrHeartbeatRequest()).ErrorCode,
			r.LeaveGroup(ctx, kmsg.NewPtrLeaveGroupRequest()).ErrorCode,
			r.OffsetDelete(ctx, kmsg.NewPtrOffsetDeleteRequest()).ErrorCode,
		} {
			if kerr.Code(r) != kerr.InvalidGroupID {
				t.Error("no group id:", kerr.Code(r))
			}
		}
	})
}

func TestFetchErrorsByVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &memLog{}, nil)
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Group, q.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{4}}}
		q.Version = 1
		if a := r.OffsetFetch(t.Context(), q); kerr.Code(a.Topics[0].Partitions[0].ErrorCode) != kerr.NotCoordinator {
			t.Errorf("v1: %+v", a)
		}
		q.Version = 7
		if a := r.OffsetFetch(t.Context(), q); kerr.Code(a.ErrorCode) != kerr.NotCoordinator || len(a.Topics) != 0 {
			t.Errorf("v7: %+v", a)
		}
		q.Version, q.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
		if a := r.OffsetFetch(t.Context(), q); kerr.Code(a.Groups[0].ErrorCode) != kerr.NotCoordinator || a.Groups[0].Group != "g" {
			t.Errorf("v8: %+v", a)
		}
	})
}

func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topics := fakeTopics{"t": 3, "u": 1}
		r := load(t, &memLog{}, topics)
		r.commit("g", "t", 0, 10)
		r.commit("g", "t", 2, 12)
		r.commit("g", "u", 0, 20)
		r.commit("h", "u", 0, 30)
		ctx := t.Context()

		old := kmsg.NewPtrOffsetFetchRequest()
		old.Version, old.Group = 2, "g" // no topics: all
		if a := r.OffsetFetch(ctx, old); len(a.Topics) != 2 || len(a.Topics[0].Partitions) != 2 || a.Topics[1].Partitions[0].Offset != 20 {
			t.Errorf("all, v2: %+v", a)
		}
		old.Topics = []kmsg.OffsetFetchRequestTopic{}
		if a := r.OffsetFetch(ctx, old); len(a.Topics) != 0 {
			t.Errorf("none, v2: %+v", a)
		}

		q := kmsg.NewPtrOffsetFetchRequest()
		q.Version, q.RequireStable = 9, true
		q.Groups = []kmsg.OffsetFetchRequestGroup{
			{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{2, 1}}}},
			{Group: "none", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}},
			{Group: "h"},
		}
		a := r.OffsetFetch(ctx, q)
		if p := a.Groups[0].Topics[0].Partitions; p[0].Offset != 12 || *p[0].Metadata != "" || p[1].Offset != -1 || p[1].LeaderEpoch != -1 {
			t.Errorf("some: %+v", p)
		}
		if g := a.Groups[1]; g.ErrorCode != 0 || g.Topics[0].Partitions[0].Offset != -1 {
			t.Errorf("no group: %+v", g)
		}
		if g := a.Groups[2]; len(g.Topics) != 1 || g.Topics[0].Partitions[0].Offset != 30 {
			t.Errorf("all of h: %+v", g)
		}

		q.Version = 10
		q.Groups = []kmsg.OffsetFetchRequestGroup{
			{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{
				{TopicID: idOf("u"), Partitions: []int32{0}}, {TopicID: topic.ID{99}, Partitions: []int32{0}},
			}},
			{Group: "g"},
		}
		a = r.OffsetFetch(ctx, q)
		if p := a.Groups[0].Topics[0]; p.TopicID != idOf("u") || p.Partitions[0].Offset != 20 {
			t.Errorf("by id: %+v", p)
		}
		if p := a.Groups[0].Topics[1]; p.TopicID != (topic.ID{99}) || kerr.Code(p.Partitions[0].ErrorCode) != kerr.UnknownTopicID {
			t.Errorf("unknown id: %+v", p)
		}
		if g := a.Groups[1]; len(g.Topics) != 2 || g.Topics[0].TopicID != idOf("t") {
			t.Errorf("all by id: %+v", g)
		}
		delete(topics, "u")
		if a = r.OffsetFetch(ctx, q); len(a.Groups[1].Topics) != 1 {
			t.Errorf("a topic that is gone has no id: %+v", a.Groups[1])
		}
	})
}

func TestCommitChecksTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, fakeTopics{"t": 2, "u": 1})
		q := commitRequest(9, "g", "gone", 0, 1)
		q.Topics = append(q.Topics, commitRequest(9, "g", "t", 5, 1).Topics...)
		q.Topics = append(q.Topics, commitRequest(9, "g", "t", 1, 11).Topics...)
		q.Topics = append(q.Topics, commitRequest(9, "g", "u", -1, 1).Topics...)
		a := r.OffsetCommit(t.Context(), q)
		for i, want := range []kerr.Code{kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, kerr.None, kerr.UnknownTopicOrPartition} {
			if got := kerr.Code(a.Topics[i].Partitions[0].ErrorCode); got != want || a.Topics[i].Topic != q.Topics[i].Topic {
				t.Errorf("%d: %v, want %v", i, got, want)
			}
		}
		if got := r.fetch("g", "t", 1); got != 11 {
			t.Error("offset", got)
		}
		if got := r.commit("g", "gone", 0, 1); got != kerr.UnknownTopicOrPartition {
			t.Error(got)
		}

		q = commitRequest(10, "g", "u", 0, 77)
		q.Topics = append(q.Topics, commitRequest(10, "g", "x", 0, 1).Topics...)
		a = r.OffsetCommit(t.Context(), q)
		if a.Topics[0].TopicID != idOf("u") || a.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("by id: %+v", a.Topics[0])
		}
		if kerr.Code(a.Topics[1].Partitions[0].ErrorCode) != kerr.UnknownTopicID {
			t.Errorf("unknown id: %+v", a.Topics[1])
		}
		if again := load(t, r.log.crash(), fakeTopics{"u": 1}); again.fetch("g", "u", 0) != 77 {
			t.Error("a commit by topic id is lost")
		}
	})
}
