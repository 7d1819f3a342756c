package node_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// codes lists all error codes in an answer.
func codes(v reflect.Value) (all []kerr.Code) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return codes(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, codes(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; strings.HasSuffix(name, "ErrorCode") && v.Field(i).Kind() == reflect.Int16 {
				all = append(all, kerr.Code(v.Field(i).Int()))
				continue
			}
			all = append(all, codes(v.Field(i))...)
		}
	default:
	}
	return all
}

// hinted says whether an answer names a leader (KIP-951) and has its address.
func hinted(r kmsg.Response, leader int32) bool {
	text := fmt.Sprintf("%+v", r)
	return strings.Contains(text, fmt.Sprintf("CurrentLeader:{LeaderID:%d", leader)) && strings.Contains(text, fmt.Sprintf("NodeID:%d Host:127.0.0.1", leader))
}

// Each key that is asked on a broker that it is not for says so, and is answered by the one that it is for.
func TestTheWrongBrokerSaysSo(t *testing.T) {
	c := newPeers(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.create(ctx, "t", 1) // broker 1's
	all, err := c.admin().ListTopics(ctx, "t")
	must(t, err)
	id := [16]byte(all["t"].ID)
	group, txn := c.idAt(ctx, "g", 0, 2), c.idAt(ctx, "x", 1, 3)
	keeper := c.stateKeeper(ctx, state.Key{Group: group, Topic: id})
	cl := c.client(kgo.RequestRetries(0))
	for _, f := range []struct {
		broker   int32
		code     kerr.Code
		requests []kmsg.Request
	}{
		{1, kerr.NotLeaderOrFollower, partitionRequests(t, id, group)},
		{2, kerr.NotCoordinator, groupRequests(id, group)},
		{3, kerr.NotCoordinator, transactionRequests(txn)},
		{keeper, kerr.NotCoordinator, stateRequests(id, group)},
	} {
		for _, q := range f.requests {
			// The wrong ones first: the right one may do something.
			for _, broker := range []int32{f.broker%3 + 1, (f.broker+1)%3 + 1, f.broker} {
				r, err := cl.Broker(int(broker)).Request(ctx, q)
				if err != nil {
					t.Fatalf("%s: %v", kmsg.NameForKey(q.Key()), err)
				}
				if _, ok := q.(*kmsg.ShareAcknowledgeRequest); ok && broker == f.broker {
					continue // nobody has made the group, so its share-partition has no state and is led by nobody
				}
				got := codes(reflect.ValueOf(r))
				if said := slices.Contains(got, f.code); said != (broker != f.broker) {
					t.Errorf("%s of broker %d: broker %d says %v", kmsg.NameForKey(q.Key()), f.broker, broker, got)
				}
				switch q.(type) {
				case *kmsg.ProduceRequest, *kmsg.FetchRequest, *kmsg.ShareFetchRequest, *kmsg.ShareAcknowledgeRequest:
					if broker != f.broker && !hinted(r, f.broker) {
						t.Errorf("%s: broker %d does not name the leader: %+v", kmsg.NameForKey(q.Key()), broker, r)
					}
				}
			}
		}
	}
}

func partitionRequests(t *testing.T, id [16]byte, group string) []kmsg.Request {
	b := record.NewBuilder(record.Options{})
	must(t, b.Add(time.Now().UnixMilli(), nil, []byte("value")))
	batch, err := b.Build(nil)
	must(t, err)
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 5000
	produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxBytes, fetch.SessionEpoch = 1<<20, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	list := kmsg.NewPtrListOffsetsRequest()
	list.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: -1}}}}
	epoch := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epoch.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
	remove := kmsg.NewPtrDeleteRecordsRequest()
	remove.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 0}}}}
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	markers := kmsg.NewPtrWriteTxnMarkersRequest()
	markers.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 1, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0}}}}}
	share := kmsg.NewPtrShareFetchRequest()
	share.GroupID, share.MemberID = &group, kmsg.StringPtr("member")
	share.MaxBytes, share.MaxRecords, share.BatchSize = 1<<20, 1, 1
	share.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: id, Partitions: []kmsg.ShareFetchRequestTopicPartition{{}}}}
	acknowledge := kmsg.NewPtrShareAcknowledgeRequest() // in the session that the fetch has opened
	acknowledge.GroupID, acknowledge.MemberID, acknowledge.ShareSessionEpoch = &group, kmsg.StringPtr("member"), 1
	acks := []kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{{AcknowledgeTypes: []int8{1}}}
	acknowledge.Topics = []kmsg.ShareAcknowledgeRequestTopic{{TopicID: id, Partitions: []kmsg.ShareAcknowledgeRequestTopicPartition{{AcknowledgementBatches: acks}}}}
	return []kmsg.Request{produce, fetch, list, epoch, remove, producers, markers, share, acknowledge}
}

func groupRequests(id [16]byte, group string) []kmsg.Request {
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = group, 10_000, 10_000, "consumer"
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.ProtocolType, sync.Protocol = group, kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group = group
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.Members = group, []kmsg.LeaveGroupRequestMember{{MemberID: "member"}}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = group, -1
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group, MemberEpoch: -1}}
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group, remove.Topics = group, []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	consumer := kmsg.NewPtrConsumerGroupDescribeRequest()
	consumer.Groups = []string{group}
	share := kmsg.NewPtrShareGroupDescribeRequest()
	share.GroupIDs = []string{group}
	shareOffsets := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	shareOffsets.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: group}}
	alter := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	alter.GroupID = group
	alter.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{}}}}
	reset := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	reset.GroupID, reset.Topics = group, []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: "t"}}
	deleted := kmsg.NewPtrDeleteGroupsRequest()
	deleted.Groups = []string{group}
	return []kmsg.Request{join, sync, beat, leave, commit, fetch, remove, describe, consumer, share, shareOffsets, alter, reset, deleted}
}

func transactionRequests(txn string) []kmsg.Request {
	first := kmsg.NewPtrInitProducerIDRequest()
	first.TransactionalID, first.TransactionTimeoutMillis, first.ProducerID, first.ProducerEpoch = &txn, 10_000, -1, -1
	offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
	offsets.TransactionalID, offsets.Group = txn, "g"
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = txn
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{txn}
	add := kmsg.NewPtrAddPartitionsToTxnRequest() // as brokers send it
	add.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
		TransactionalID: txn, Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "t", Partitions: []int32{0}}},
	}}
	return []kmsg.Request{first, offsets, end, describe, add}
}

func stateRequests(id [16]byte, group string) []kmsg.Request {
	first := kmsg.NewPtrInitializeShareGroupStateRequest()
	first.GroupID = group
	first.Topics = []kmsg.InitializeShareGroupStateRequestTopic{{TopicID: id, Partitions: []kmsg.InitializeShareGroupStateRequestTopicPartition{{}}}}
	read := kmsg.NewPtrReadShareGroupStateRequest()
	read.GroupID, read.Topics = group, []kmsg.ReadShareGroupStateRequestTopic{{TopicID: id, Partitions: []kmsg.ReadShareGroupStateRequestTopicPartition{{}}}}
	write := kmsg.NewPtrWriteShareGroupStateRequest()
	write.GroupID, write.Topics = group, []kmsg.WriteShareGroupStateRequestTopic{{TopicID: id, Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{{}}}}
	summary := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	summary.GroupID = group
	summary.Topics = []kmsg.ReadShareGroupStateSummaryRequestTopic{{TopicID: id, Partitions: []kmsg.ReadShareGroupStateSummaryRequestTopicPartition{{}}}}
	remove := kmsg.NewPtrDeleteShareGroupStateRequest()
	remove.GroupID, remove.Topics = group, []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: id, Partitions: []kmsg.DeleteShareGroupStateRequestTopicPartition{{}}}}
	return []kmsg.Request{first, read, write, summary, remove}
}
