package conformance

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// groupRecords is where the records of groups are kept that Apache Kafka wrote, for the tests of package group.
var groupRecords = filepath.Join("..", "..", "express", "group", "testdata", "kafka_records.hex")

// lastGroup is the group whose first record is the last one that is kept.
const lastGroup = "the end"

// TestGroupRecordsApacheKafka makes groups of all protocols, with members of all sorts, and keeps what Apache Kafka itself
// writes of them in __consumer_offsets, with -rewrite only: the tests that compare express with it need no Apache Kafka.
func TestGroupRecordsApacheKafka(t *testing.T) {
	if !*rewrite {
		t.Skip("runs with -rewrite")
	}
	cluster := harness.StartKafka(t, harness.KafkaOptions{Properties: map[string]string{
		"group.consumer.assignment.interval.ms": "0", "offsets.topic.num.partitions": "1", "share.coordinator.state.topic.num.partitions": "1",
		"share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
		"group.coordinator.rebalance.protocols": "classic,consumer,share,streams",
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap), kgo.ConsumeTopics("__consumer_offsets"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := &groupWriter{T: t, ctx: ctx, client: client, epochs: map[string]int32{}}
	w.topic("orders", 3)
	w.consumers()
	w.classic()
	w.shares()
	w.commit(lastGroup, "", -1, 7)

	var kept strings.Builder
	kinds := map[byte]int{}
	for done := false; !done; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v; kinds so far %v", err, kinds)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			value := "null"
			if r.Value != nil {
				value = hex.EncodeToString(r.Value)
			}
			fmt.Fprintf(&kept, "%s %s\n", hex.EncodeToString(r.Key), value)
			kinds[r.Key[1]]++
			done = done || strings.Contains(string(r.Key), lastGroup)
		})
	}
	for _, kind := range []byte{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16} {
		if kinds[kind] == 0 {
			t.Errorf("no record of kind %d came", kind)
		}
	}
	if err := os.WriteFile(groupRecords, []byte(kept.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// groupWriter is a client that has its groups written down.
type groupWriter struct {
	*testing.T
	ctx    context.Context
	client *kgo.Client
	id     [16]byte         // of the topic
	epochs map[string]int32 // that members were told
}

func (w *groupWriter) topic(name string, partitions int32) {
	w.Helper()
	made, err := kadm.NewClient(w.client).CreateTopic(w.ctx, partitions, 1, nil, name)
	if err != nil {
		w.Fatal(err)
	}
	w.id = made.ID
}

// ask sends a request and wants one of these error codes, or none.
func (w *groupWriter) ask(q kmsg.Request, code func(kmsg.Response) int16, allowed ...int16) kmsg.Response {
	w.Helper()
	for {
		r, err := w.client.Request(w.ctx, q)
		if err == nil {
			got := code(r)
			if got == 0 || slices.Contains(allowed, got) {
				return r
			}
			err = kerr.ErrorForCode(got)
		}
		if !kerr.IsRetriable(err) { // at first the coordinator is not there
			w.Fatalf("%T: %v: %+v", q, err, r)
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func text(s string) *string { return &s }

// The epochs that members send who are not just members.
const (
	joins   = 0
	goesOn  = 1 // stands for the epoch that it was told last
	leaves  = -1
	returns = -2 // it leaves, and a successor will come
)

// beat is a heartbeat of a member of group g; instance is "" for a dynamic member.
func (w *groupWriter) beat(member, instance string, epoch int32, set func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatResponse {
	w.Helper()
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch = "g", member, epoch
	switch epoch {
	case joins:
		q.RebalanceTimeoutMillis, q.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	case goesOn:
		q.MemberEpoch = w.epochs[member]
	}
	if instance != "" {
		q.InstanceID = &instance
	}
	if set != nil {
		set(q)
	}
	r := w.ask(q, func(r kmsg.Response) int16 { return r.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode }).(*kmsg.ConsumerGroupHeartbeatResponse)
	w.epochs[member] = r.MemberEpoch
	return r
}

// consumers is a group of the consumer protocol: by topic, static by regular expression, and classic; partitions go from one to
// the other; all but the classic one leave, so the group becomes classic. Another one is deleted.
func (w *groupWriter) consumers() {
	w.beat("m1", "", joins, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{"orders"} })
	w.beat("s1", "i1", joins, func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.SubscribedTopicRegex, q.RackID, q.ServerAssignor = text("o.*"), text("rack"), text("range")
	})
	for owned := []int32{0, 1, 2}; ; { // the regular expression is resolved by and by; then m1 gives up what s1 is to have
		w.beat("s1", "i1", goesOn, nil)
		r := w.beat("m1", "", goesOn, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = w.all(owned...) })
		if len(owned) < 3 {
			break // it has said that it gave up what it had to
		}
		if r.Assignment != nil && len(r.Assignment.Topics) > 0 {
			owned = r.Assignment.Topics[0].Partitions
		}
	}
	w.beat("s1", "i1", goesOn, nil)
	w.commit("g", "m1", w.epochs["m1"], 5)
	w.join("g", "")
	w.beat("s1", "i1", returns, nil)
	w.beat("s2", "i1", joins, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = text("or.*") })
	w.beat("m1", "", leaves, nil)
	w.beat("s2", "i1", leaves, nil)

	const other = "h" // one that can be deleted
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.RebalanceTimeoutMillis, q.Topics = other, "m", 1000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	q.SubscribedTopicNames = []string{"orders"}
	code := func(r kmsg.Response) int16 { return r.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode }
	w.ask(q, code)
	q.MemberEpoch = leaves
	w.ask(q, code)
	w.delete(other)
}

func (w *groupWriter) all(indexes ...int32) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	return []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: w.id, Partitions: indexes}}
}

// join has a member of the classic protocol join, and returns its id and generation.
func (w *groupWriter) join(group, instance string) *kmsg.JoinGroupResponse {
	w.Helper()
	q := kmsg.NewPtrJoinGroupRequest()
	q.Group, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = group, "consumer", 45_000, 60_000
	if instance != "" {
		q.InstanceID = &instance
	}
	sub := kmsg.NewConsumerMemberMetadata()
	sub.Version, sub.Topics, sub.OwnedPartitions = 1, []string{"orders"}, []kmsg.ConsumerMemberMetadataOwnedPartition{}
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: sub.AppendTo(nil)}}
	const memberIDRequired = 79
	code := func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode }
	r := w.ask(q, code, memberIDRequired).(*kmsg.JoinGroupResponse)
	if r.ErrorCode == memberIDRequired {
		q.MemberID = r.MemberID
		r = w.ask(q, code).(*kmsg.JoinGroupResponse)
	}
	return r
}

// classic is a group of the classic protocol: a static member, an assignment, commits; it leaves, offsets and the group go.
func (w *groupWriter) classic() {
	const group = "c"
	joined := w.join(group, "i2")
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation, q.Protocol, q.ProtocolType = group, joined.MemberID, text("i2"), joined.Generation, text("range"), text("consumer")
	q.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte{0, 1, 0, 0, 0, 0, 255, 255, 255, 255}}}
	w.ask(q, func(r kmsg.Response) int16 { return r.(*kmsg.SyncGroupResponse).ErrorCode })
	l := kmsg.NewPtrLeaveGroupRequest()
	l.Group, l.Members = group, []kmsg.LeaveGroupRequestMember{{InstanceID: text("i2")}}
	w.ask(l, func(r kmsg.Response) int16 { return r.(*kmsg.LeaveGroupResponse).ErrorCode })
	w.commit(group, "", -1, 3)
	w.delete(group)
}

// shares is a share group: a member comes, offsets are set, it goes, and the group is deleted.
func (w *groupWriter) shares() {
	const group = "s"
	beat := func(epoch int32) int32 {
		q := kmsg.NewPtrShareGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.MemberEpoch = group, "AAAAAAAAAAAAAAAAAAAAAA", epoch
		if epoch == joins {
			q.SubscribedTopicNames, q.RackID = []string{"orders"}, text("rack")
		}
		r := w.ask(q, func(r kmsg.Response) int16 { return r.(*kmsg.ShareGroupHeartbeatResponse).ErrorCode })
		return r.(*kmsg.ShareGroupHeartbeatResponse).MemberEpoch
	}
	epoch := beat(joins)
	for range 20 { // its state is made in the background
		epoch = beat(epoch)
		select {
		case <-w.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	beat(leaves)
	w.delete(group)
}

// commit commits an offset of each partition but the last.
func (w *groupWriter) commit(group, member string, epoch int32, offset int64) {
	w.Helper()
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID, q.Generation = group, member, epoch
	about := kmsg.NewOffsetCommitRequestTopic()
	about.Topic, about.TopicID = "orders", w.id
	for index := range int32(2) {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = index, offset, 0, text("note")
		about.Partitions = append(about.Partitions, p)
	}
	q.Topics = append(q.Topics, about)
	w.ask(q, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode })
}

func (w *groupWriter) delete(group string) {
	w.Helper()
	q := kmsg.NewPtrDeleteGroupsRequest()
	q.Groups = []string{group}
	w.ask(q, func(r kmsg.Response) int16 { return r.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode })
}
