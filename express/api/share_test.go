package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// sharer is a member of share group "g" with a share session.
type sharer struct {
	*conn
	id    string
	epoch int32
	topic *catalog.Topic
}

// shareEnv is a broker with a topic of n records, and a group that begins at its start.
func shareEnv(t *testing.T, n int) (*env, *catalog.Topic) {
	t.Helper()
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	set := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: kmsg.StringPtr("earliest")}}
	set.Resources = append(set.Resources, r)
	c := e.dial()
	c.wantCode(ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, set).Resources[0].ErrorCode, kerr.None)
	c.wantCode(ask[*kmsg.ProduceResponse](c, 13, produceRequest(tp, 0, batch(t, n, record.Options{}))).Topics[0].Partitions[0].ErrorCode, kerr.None)
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	return e, tp
}

// join makes a member and waits until it has its partitions.
func (e *env) join(id string, tp *catalog.Topic) *sharer {
	e.t.Helper()
	s := &sharer{conn: e.dial(), id: id, topic: tp}
	epoch := int32(0)
	e.eventually(func() bool {
		q := kmsg.NewPtrShareGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.MemberEpoch = "g", id, epoch
		q.SubscribedTopicNames = []string{tp.Name}
		r := ask[*kmsg.ShareGroupHeartbeatResponse](s.conn, 1, q)
		s.wantCode(r.ErrorCode, kerr.None)
		epoch = r.MemberEpoch
		return r.Assignment != nil && len(r.Assignment.TopicPartitions) == 1
	})
	return s
}

func (s *sharer) fetchRequest(acks ...kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch) *kmsg.ShareFetchRequest {
	q := kmsg.NewPtrShareFetchRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch = kmsg.StringPtr("g"), &s.id, s.epoch
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.MaxRecords, q.BatchSize = 5000, 1, 1<<20, 100, 100
	p := kmsg.NewShareFetchRequestTopicPartition()
	p.AcknowledgementBatches = acks
	q.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: s.topic.ID, Partitions: []kmsg.ShareFetchRequestTopicPartition{p}}}
	return q
}

func fetchAck(first, last int64, types ...int8) kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch {
	return kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}
}

func (s *sharer) fetch(q *kmsg.ShareFetchRequest) *kmsg.ShareFetchResponse {
	s.t.Helper()
	r := ask[*kmsg.ShareFetchResponse](s.conn, 2, q)
	if r.ErrorCode == 0 {
		s.epoch = q.ShareSessionEpoch + 1
	}
	return r
}

func (s *sharer) acknowledge(first, last int64, types ...int8) *kmsg.ShareAcknowledgeResponse {
	s.t.Helper()
	q := kmsg.NewPtrShareAcknowledgeRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch = kmsg.StringPtr("g"), &s.id, s.epoch
	q.Topics = []kmsg.ShareAcknowledgeRequestTopic{{TopicID: s.topic.ID, Partitions: []kmsg.ShareAcknowledgeRequestTopicPartition{{
		AcknowledgementBatches: []kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}},
	}}}}
	r := ask[*kmsg.ShareAcknowledgeResponse](s.conn, 2, q)
	if r.ErrorCode == 0 {
		s.epoch++
	}
	return r
}

// acquired is what a response gave, as text.
func acquired(r *kmsg.ShareFetchResponse) string {
	var out []string
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				out = append(out, kerr.Code(p.ErrorCode).Name())
			}
			for _, a := range p.AcquiredRecords {
				out = append(out, fmt.Sprintf("%d-%d x%d", a.FirstOffset, a.LastOffset, a.DeliveryCount))
			}
			if p.AcknowledgeErrorCode != 0 {
				out = append(out, "ack "+kerr.Code(p.AcknowledgeErrorCode).Name())
			}
		}
	}
	return strings.Join(out, ", ")
}

func (s *sharer) want(r *kmsg.ShareFetchResponse, code kerr.Code, text string) {
	s.t.Helper()
	if kerr.Code(r.ErrorCode) != code || acquired(r) != text {
		s.t.Fatalf("%v %q, want %v %q", kerr.Code(r.ErrorCode), acquired(r), code, text)
	}
}

func TestShareFetchAndAcknowledge(t *testing.T) {
	e, tp := shareEnv(t, 4)
	s := e.join("m1", tp)
	r := s.fetch(s.fetchRequest())
	s.want(r, kerr.None, "0-3 x1")
	if r.AcquisitionLockTimeoutMillis != 30_000 || len(r.Topics[0].Partitions[0].Records) == 0 {
		t.Errorf("lock %d, %d bytes", r.AcquisitionLockTimeoutMillis, len(r.Topics[0].Partitions[0].Records))
	}
	// One request acknowledges and fetches: what it releases it gets again.
	s.want(s.fetch(s.fetchRequest(fetchAck(0, 3, 1, 2, 2, 3))), kerr.None, "1-2 x2")
	a := s.acknowledge(1, 2, 1)
	if a.ErrorCode != 0 || a.Topics[0].Partitions[0].ErrorCode != 0 || a.AcquisitionLockTimeoutMillis != 30_000 {
		t.Errorf("%+v", a)
	}
	s.wantCode(s.acknowledge(1, 2, 1).Topics[0].Partitions[0].ErrorCode, kerr.None) // long done
	s.wantCode(s.acknowledge(3, 4, 1).Topics[0].Partitions[0].ErrorCode, kerr.InvalidRecordState)

	d := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	d.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g"}}
	got := ask[*kmsg.DescribeShareGroupOffsetsResponse](s.conn, 1, d).Groups[0]
	if len(got.Topics) != 1 || got.Topics[0].Topic != "orders" || got.Topics[0].Partitions[0].Lag != 0 {
		t.Errorf("%+v", got)
	}
	describe := kmsg.NewPtrShareGroupDescribeRequest()
	describe.GroupIDs = []string{"g", "none"}
	groups := ask[*kmsg.ShareGroupDescribeResponse](s.conn, 1, describe).Groups
	if len(groups) != 2 || groups[0].GroupState != "Stable" || groups[0].Assignor != "simple" || len(groups[0].Members) != 1 ||
		kerr.Code(groups[1].ErrorCode) != kerr.GroupIDNotFound {
		t.Errorf("%+v", groups)
	}
}

// Each rule that Kafka checks before it looks at records.
func TestShareRequestsThatAreRefused(t *testing.T) {
	e, tp := shareEnv(t, 4)
	s := e.join("m1", tp)
	f := func(change func(q *kmsg.ShareFetchRequest), code kerr.Code, text string) {
		t.Helper()
		q := s.fetchRequest()
		q.MaxWaitMillis = 0
		change(q)
		s.want(s.fetch(q), code, text)
	}
	f(func(q *kmsg.ShareFetchRequest) { q.ShareSessionEpoch = 1 }, kerr.ShareSessionNotFound, "")
	f(func(q *kmsg.ShareFetchRequest) { q.ShareSessionEpoch = -1 }, kerr.ShareSessionNotFound, "")
	f(func(q *kmsg.ShareFetchRequest) { q.GroupID = nil }, kerr.InvalidRequest, "")
	f(func(q *kmsg.ShareFetchRequest) { q.MemberID = kmsg.StringPtr("") }, kerr.InvalidRequest, "")
	f(func(q *kmsg.ShareFetchRequest) { q.MemberID = kmsg.StringPtr(strings.Repeat("m", 37)) }, kerr.InvalidRequest, "")
	f(func(q *kmsg.ShareFetchRequest) { *q = *s.fetchRequest(fetchAck(0, 0, 1)) }, kerr.InvalidRequest, "")
	f(func(q *kmsg.ShareFetchRequest) { q.IsRenewAck = true }, kerr.InvalidRequest, "")
	f(func(q *kmsg.ShareFetchRequest) { q.Topics[0].TopicID = topic.NewID() }, kerr.None, "UNKNOWN_TOPIC_ID")
	s.epoch = 0
	f(func(q *kmsg.ShareFetchRequest) { q.Topics[0].Partitions[0].Partition = 7 }, kerr.None, "UNKNOWN_TOPIC_OR_PARTITION")
	s.epoch = 0
	f(func(q *kmsg.ShareFetchRequest) { q.MaxWaitMillis = 5000 }, kerr.None, "0-3 x1")
	f(func(q *kmsg.ShareFetchRequest) { q.ShareSessionEpoch = 9 }, kerr.InvalidShareSessionEpoch, "")
	for _, ack := range []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{
		fetchAck(1, 0, 1), fetchAck(0, 3), fetchAck(0, 3, 1, 1), fetchAck(0, 0, 5), fetchAck(0, 0, -1), fetchAck(0, 0, 4),
	} {
		f(func(q *kmsg.ShareFetchRequest) { *q = *s.fetchRequest(ack); q.MaxWaitMillis = 0 }, kerr.None, "ack INVALID_REQUEST")
	}
	f(func(q *kmsg.ShareFetchRequest) {
		*q = *s.fetchRequest(fetchAck(0, 1, 1), fetchAck(0, 1, 1))
		q.MaxWaitMillis = 0
	}, kerr.None, "ack INVALID_REQUEST")
	f(func(q *kmsg.ShareFetchRequest) { *q = *s.fetchRequest(fetchAck(0, 9, 1)); q.MaxWaitMillis = 0 }, kerr.None, "ack INVALID_REQUEST")
	s.wantCode(s.acknowledge(0, 3, 4).Topics[0].Partitions[0].ErrorCode, kerr.InvalidRequest) // renews, and does not say so
	s.epoch = 0
	s.wantCode(s.acknowledge(0, 3, 1).ErrorCode, kerr.InvalidShareSessionEpoch)
}

// A member whose connection breaks holds nothing any more; another gets it at once.
func TestShareConnectionCloses(t *testing.T) {
	e, tp := shareEnv(t, 4)
	a := e.join("m1", tp)
	b := e.join("m2", tp)
	a.want(a.fetch(a.fetchRequest()), kerr.None, "0-3 x1")
	q := b.fetchRequest()
	q.MaxWaitMillis = 20_000
	id := b.send(q.Key(), 2, versioned(q, 2))
	must(t, a.nc.Close())
	b.want(receive[*kmsg.ShareFetchResponse](b.conn, id, 2, q), kerr.None, "0-3 x2")
}

func versioned(q kmsg.Request, version int16) []byte {
	q.SetVersion(version)
	return q.AppendTo(nil)
}

func TestShareOffsetsByAdmin(t *testing.T) {
	e, tp := shareEnv(t, 4)
	s := e.join("m1", tp)
	alter := func(start int64) kerr.Code {
		t.Helper()
		q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		q.GroupID = "g"
		q.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{
			{Topic: "orders", Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{StartOffset: start}}},
			{Topic: "none", Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{}}},
		}
		r := ask[*kmsg.AlterShareGroupOffsetsResponse](s.conn, 0, q)
		if r.ErrorCode == 0 && (len(r.Topics) != 2 || kerr.Code(r.Topics[1].Partitions[0].ErrorCode) != kerr.UnknownTopicOrPartition) {
			t.Errorf("%+v", r)
		}
		return kerr.Code(r.ErrorCode)
	}
	if code := alter(2); code != kerr.NonEmptyGroup {
		t.Errorf("altered with a member: %v", code)
	}
	leave := kmsg.NewPtrShareGroupHeartbeatRequest()
	leave.GroupID, leave.MemberID, leave.MemberEpoch = "g", "m1", -1
	s.wantCode(ask[*kmsg.ShareGroupHeartbeatResponse](s.conn, 1, leave).ErrorCode, kerr.None)
	if code := alter(2); code != kerr.None {
		t.Errorf("altered: %v", code)
	}
	again := e.join("m1", tp)
	again.want(again.fetch(again.fetchRequest()), kerr.None, "2-3 x1")
	s.wantCode(ask[*kmsg.ShareGroupHeartbeatResponse](s.conn, 1, leave).ErrorCode, kerr.None)
	drop := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	drop.GroupID = "g"
	drop.Topics = []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: "orders"}, {Topic: "none"}}
	r := ask[*kmsg.DeleteShareGroupOffsetsResponse](s.conn, 0, drop)
	codes := map[string]kerr.Code{}
	for _, t := range r.Topics {
		codes[t.Topic] = kerr.Code(t.ErrorCode)
	}
	if r.ErrorCode != 0 || codes["orders"] != kerr.None || codes["none"] != kerr.UnknownTopicOrPartition {
		t.Errorf("%+v", r)
	}
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"g"}
	s.wantCode(ask[*kmsg.DeleteGroupsResponse](s.conn, 2, del).Groups[0].ErrorCode, kerr.None)
	s.wantCode(ask[*kmsg.DeleteGroupsResponse](s.conn, 2, del).Groups[0].ErrorCode, kerr.GroupIDNotFound)
}

func TestShareCoordinatorIsFound(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	for key, want := range map[string]kerr.Code{
		"g:" + topic.ID(tp.ID).String() + ":0": kerr.None, "g": kerr.InvalidRequest, "g:x:0": kerr.InvalidRequest,
		"g:" + topic.ID(tp.ID).String() + ":-1": kerr.InvalidRequest, ":" + topic.ID(tp.ID).String() + ":0": kerr.InvalidRequest,
	} {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorType, q.CoordinatorKeys = coordinatorShare, []string{key}
		r := ask[*kmsg.FindCoordinatorResponse](c, 6, q).Coordinators[0]
		for kerr.Code(r.ErrorCode) == kerr.CoordinatorNotAvailable { // the topic of the state is being made
			r = ask[*kmsg.FindCoordinatorResponse](c, 6, q).Coordinators[0]
		}
		if kerr.Code(r.ErrorCode) != want || want == kerr.None && r.NodeID != selfID {
			t.Errorf("%q: %+v, want %v", key, r, want)
		}
	}
	state, ok := e.catalog.Topic(topic.ShareGroupState)
	if !ok || len(state.Partitions) != ShareStatePartitions || state.Settings.Compact || state.Settings.RetentionMs != -1 {
		t.Errorf("topic of the state: %+v", state)
	}
}
