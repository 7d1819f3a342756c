package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
	"millrace/secure/acl"
	"millrace/secure/authz"
)

// txn is a client that speaks as the coordinator "x" of transactions.
type txn struct {
	*conn
	e *env
}

// newTxn is a client of an env whose internal topics exist.
func newTxn(t *testing.T, o options) txn {
	e := newEnv(t, o)
	_, err := e.api.transactionState(t.Context())
	must(t, err)
	_, err = e.api.consumerOffsets(t.Context())
	must(t, err)
	return txn{conn: e.dial(), e: e}
}

func (c txn) init(version int16, p machine.Producer) (machine.Producer, kerr.Code) {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.TransactionalID, q.TransactionTimeoutMillis = kmsg.StringPtr("x"), 60_000
	q.ProducerID, q.ProducerEpoch = p.ID, p.Epoch
	r := ask[*kmsg.InitProducerIDResponse](c.conn, version, q)
	return machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, kerr.Code(r.ErrorCode)
}

func (c txn) add(version int16, p machine.Producer, topics ...string) (codes []kerr.Code) {
	q := kmsg.NewPtrAddPartitionsToTxnRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch = "x", p.ID, p.Epoch
	for _, name := range topics {
		q.Topics = append(q.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: []int32{0}})
	}
	r := ask[*kmsg.AddPartitionsToTxnResponse](c.conn, version, q)
	for _, t := range r.Topics {
		codes = append(codes, kerr.Code(t.Partitions[0].ErrorCode))
	}
	return codes
}

func (c txn) batched(version int16, p machine.Producer, verify bool, topics ...string) (codes []kerr.Code) {
	q := kmsg.NewPtrAddPartitionsToTxnRequest()
	x := kmsg.NewAddPartitionsToTxnRequestTransaction()
	x.TransactionalID, x.ProducerID, x.ProducerEpoch, x.VerifyOnly = "x", p.ID, p.Epoch, verify
	for _, name := range topics {
		x.Topics = append(x.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: name, Partitions: []int32{0}})
	}
	q.Transactions = append(q.Transactions, x)
	r := ask[*kmsg.AddPartitionsToTxnResponse](c.conn, version, q)
	if r.ErrorCode != 0 {
		return []kerr.Code{kerr.Code(r.ErrorCode)}
	}
	for _, t := range r.Transactions[0].Topics {
		codes = append(codes, kerr.Code(t.Partitions[0].ErrorCode))
	}
	return codes
}

func (c txn) offsets(version int16, p machine.Producer) kerr.Code {
	q := kmsg.NewPtrAddOffsetsToTxnRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group = "x", p.ID, p.Epoch, "g"
	return kerr.Code(ask[*kmsg.AddOffsetsToTxnResponse](c.conn, version, q).ErrorCode)
}

func (c txn) commit(version int16, p machine.Producer, topics ...string) (codes []kerr.Code) {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = "x", p.ID, p.Epoch, "g", -1
	for _, name := range topics {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Offset = 7
		q.Topics = append(q.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}})
	}
	for _, t := range ask[*kmsg.TxnOffsetCommitResponse](c.conn, version, q).Topics {
		codes = append(codes, kerr.Code(t.Partitions[0].ErrorCode))
	}
	return codes
}

func (c txn) end(version int16, p machine.Producer, commit bool) (machine.Producer, kerr.Code) {
	q := kmsg.NewPtrEndTxnRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = "x", p.ID, p.Epoch, commit
	r := ask[*kmsg.EndTxnResponse](c.conn, version, q)
	return machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, kerr.Code(r.ErrorCode)
}

// settled waits until the transaction has ended, and returns how.
func (c txn) settled() string {
	c.t.Helper()
	q := kmsg.NewPtrDescribeTransactionsRequest()
	q.TransactionalIDs = []string{"x"}
	for deadline := time.Now().Add(20 * time.Second); ; {
		s := ask[*kmsg.DescribeTransactionsResponse](c.conn, 0, q).TransactionStates[0]
		if s.State != "PrepareCommit" && s.State != "PrepareAbort" {
			return s.State
		}
		if time.Now().After(deadline) {
			c.t.Fatal("the transaction does not end")
		}
	}
}

func (c txn) want(got []kerr.Code, want ...kerr.Code) {
	c.t.Helper()
	if !slices.Equal(got, want) {
		c.t.Errorf("got %v, want %v", got, want)
	}
}

var newcomer = machine.Producer{ID: -1, Epoch: -1}

// Those who came before KIP-588 do not know PRODUCER_FENCED.
func TestFencedProducersAreToldByVersion(t *testing.T) {
	c := newTxn(t, options{})
	c.e.create("t", 1, nil)
	p, code := c.init(5, newcomer)
	c.want([]kerr.Code{code}, kerr.None)
	late := machine.Producer{ID: p.ID, Epoch: p.Epoch + 7}
	for version := int16(3); version <= 5; version++ {
		_, code := c.init(version, late)
		c.want([]kerr.Code{code}, fencedFrom(4, version, kerr.ProducerFenced))
	}
	for version := range int16(4) {
		c.want(c.add(version, late, "t"), fencedFrom(2, version, kerr.ProducerFenced))
	}
	for version := range int16(5) {
		c.want([]kerr.Code{c.offsets(version, late)}, fencedFrom(2, version, kerr.ProducerFenced))
	}
	for version := range int16(6) {
		_, code := c.end(version, late, true)
		c.want([]kerr.Code{code}, fencedFrom(2, version, kerr.ProducerFenced))
		c.want(c.commit(version, late, "t"), kerr.InvalidProducerEpoch)
	}
	if fencedFrom(2, 1, kerr.ProducerFenced) != kerr.InvalidProducerEpoch || fencedFrom(2, 2, kerr.ProducerFenced) != kerr.ProducerFenced {
		t.Error("the code is not by version")
	}
}

func TestAddPartitionsToTxnAllOrNone(t *testing.T) {
	c := newTxn(t, options{})
	c.e.create("t", 1, nil)
	p, _ := c.init(5, newcomer)
	c.want(c.add(3, p, "t", "no"), kerr.OperationNotAttempted, kerr.UnknownTopicOrPartition)
	c.want(c.add(3, p, "t", topic.ConsumerOffsets), kerr.OperationNotAttempted, kerr.TopicAuthorizationFailed)
	c.want(c.batched(4, p, true, "t"), kerr.TransactionAbortable)
	c.want(c.batched(5, p, true, "t", "no"), kerr.OperationNotAttempted, kerr.UnknownTopicOrPartition)
	c.want(c.add(0, p, "t"), kerr.None)
	c.want(c.batched(5, p, true, "t", topic.ConsumerOffsets), kerr.None, kerr.TransactionAbortable)
	c.want(c.batched(5, p, false, topic.ConsumerOffsets), kerr.None)
	c.want(c.batched(5, p, true, "t", topic.ConsumerOffsets), kerr.None, kerr.None)
}

// Below version 5 the client says beforehand that it will commit offsets; from then on the commit says it.
func TestTxnOffsetCommitByVersion(t *testing.T) {
	c := newTxn(t, options{})
	c.e.create("t", 1, nil)
	p, _ := c.init(5, newcomer)
	for version := range int16(5) {
		want := kerr.InvalidTxnState
		if version >= 4 {
			want = kerr.TransactionAbortable
		}
		c.want(c.commit(version, p, "t", "no"), want, kerr.UnknownTopicOrPartition)
	}
	c.want([]kerr.Code{c.offsets(4, p)}, kerr.None)
	c.want(c.commit(3, p, "t"), kerr.None)
	_, code := c.end(4, p, true)
	c.want([]kerr.Code{code}, kerr.None)
	if got := c.settled(); got != "CompleteCommit" {
		t.Error(got)
	}
	c.want(c.commit(5, p, "t"), kerr.None)
	next, code := c.end(5, p, true)
	c.want([]kerr.Code{code}, kerr.None)
	if next != (machine.Producer{ID: p.ID, Epoch: p.Epoch + 1}) {
		t.Error(next)
	}
	c.settled()
	c.want(c.commit(5, p, "t"), kerr.InvalidProducerEpoch)
}

// With transaction.partition.verification.enable off nobody asks, as in Kafka.
func TestVerificationCanBeTurnedOff(t *testing.T) {
	c := newTxn(t, options{static: map[string]string{"transaction.partition.verification.enable": "false"}})
	c.e.create("t", 1, nil)
	p, _ := c.init(5, newcomer)
	c.want(c.commit(3, p, "t"), kerr.None)
	c.want(c.commit(3, newcomer, "t"), kerr.InvalidProducerIDMapping)
}

func TestWriteTxnMarkers(t *testing.T) {
	c := newTxn(t, options{})
	c.e.create("t", 1, nil)
	write := func(p machine.Producer, epoch int32, topics ...string) (codes []kerr.Code) {
		q := kmsg.NewPtrWriteTxnMarkersRequest()
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch = p.ID, p.Epoch, epoch
		for _, name := range topics {
			m.Topics = append(m.Topics, kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: name, Partitions: []int32{0}})
		}
		q.Markers = append(q.Markers, m)
		r := ask[*kmsg.WriteTxnMarkersResponse](c.conn, 1, q)
		for _, t := range r.Markers[0].Topics {
			codes = append(codes, kerr.Code(t.Partitions[0].ErrorCode))
		}
		return codes
	}
	p := machine.Producer{ID: 5000, Epoch: 3}
	c.want(write(p, 4, "t", "no", topic.ConsumerOffsets), kerr.None, kerr.UnknownTopicOrPartition, kerr.None)
	c.want(write(machine.Producer{ID: 5000, Epoch: 2}, 4, "t"), kerr.InvalidProducerEpoch)
	c.want(write(p, 3, "t"), kerr.TransactionCoordinatorFenced)
	c.want(write(machine.Producer{ID: -1, Epoch: 0}, 4, "t", topic.ConsumerOffsets), kerr.InvalidRequest, kerr.InvalidRequest)
	empty := kmsg.NewPtrWriteTxnMarkersRequest()
	if r := ask[*kmsg.WriteTxnMarkersResponse](c.conn, 2, empty); len(r.Markers) != 0 {
		t.Errorf("%+v", r)
	}
}

// The coordinator of a transactional id is found, and its topic made as Kafka makes it.
func TestFindTransactionCoordinator(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	q := kmsg.NewPtrFindCoordinatorRequest()
	q.CoordinatorType, q.CoordinatorKeys = coordinatorTransaction, []string{"x"}
	if got := ask[*kmsg.FindCoordinatorResponse](c, 4, q).Coordinators[0]; got.ErrorCode != 0 || got.NodeID != selfID {
		t.Errorf("%+v", got)
	}
	made, ok := e.catalog.Topic(topic.TransactionState)
	if !ok || len(made.Partitions) != 3 {
		t.Fatalf("%+v", made)
	}
	want := "map[cleanup.policy:compact compression.type:uncompressed min.insync.replicas:2 segment.bytes:104857600 unclean.leader.election.enable:false]"
	if got := fmt.Sprint(made.Settings.Overrides); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTransactionsAreAuthorized(t *testing.T) {
	denied := ""
	c := newTxn(t, options{authorizer: deny(func(a authz.Access) bool {
		return denied == fmt.Sprint(a.Operation, " ", a.Resource, " ", a.Name) || denied == a.Name
	})})
	c.e.create("t", 1, nil)
	c.e.create("u", 1, nil)
	p, code := c.init(5, newcomer)
	c.want([]kerr.Code{code}, kerr.None)
	c.want(c.batched(5, p, false, "t"), kerr.None)

	denied = fmt.Sprint(kmsg.ACLOperationWrite, " ", kmsg.ACLResourceTypeTransactionalId, " x")
	none := kerr.TransactionalIDAuthorizationFailed
	_, code = c.init(5, newcomer)
	_, ended := c.end(5, p, true)
	c.want([]kerr.Code{code, ended, c.offsets(4, p)}, none, none, none)
	c.want(c.add(3, p, "t", "u"), none, none)
	c.want(c.commit(5, p, "t"), none)

	denied = fmt.Sprint(kmsg.ACLOperationWrite, " ", kmsg.ACLResourceTypeTopic, " t")
	c.want(c.add(3, p, "t", "u"), kerr.TopicAuthorizationFailed, kerr.OperationNotAttempted)
	denied = fmt.Sprint(kmsg.ACLOperationRead, " ", kmsg.ACLResourceTypeTopic, " t")
	c.want(c.commit(5, p, "t", "u"), kerr.TopicAuthorizationFailed, kerr.None)
	denied = fmt.Sprint(kmsg.ACLOperationRead, " ", kmsg.ACLResourceTypeGroup, " g")
	c.want(c.commit(5, p, "t"), kerr.GroupAuthorizationFailed)
	c.want([]kerr.Code{c.offsets(4, p)}, kerr.GroupAuthorizationFailed)
	denied = fmt.Sprint(kmsg.ACLOperationClusterAction, " ", kmsg.ACLResourceTypeCluster, " ", acl.ClusterName)
	c.want(c.batched(5, p, true, "t"), kerr.ClusterAuthorizationFailed)

	denied = acl.ClusterName
	markers := kmsg.NewPtrWriteTxnMarkersRequest()
	markers.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
		ProducerID: p.ID, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0}}},
	}}
	refused := ask[*kmsg.WriteTxnMarkersResponse](c.conn, 1, markers).Markers[0].Topics[0].Partitions[0]
	c.want([]kerr.Code{kerr.Code(refused.ErrorCode)}, kerr.ClusterAuthorizationFailed)

	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"x"}
	denied = fmt.Sprint(kmsg.ACLOperationDescribe, " ", kmsg.ACLResourceTypeTopic, " t")
	if s := ask[*kmsg.DescribeTransactionsResponse](c.conn, 0, describe).TransactionStates[0]; len(s.Topics) != 1 || s.Topics[0].Topic != topic.ConsumerOffsets {
		t.Errorf("%+v", s)
	}
	denied = fmt.Sprint(kmsg.ACLOperationDescribe, " ", kmsg.ACLResourceTypeTransactionalId, " x")
	if s := ask[*kmsg.DescribeTransactionsResponse](c.conn, 0, describe).TransactionStates[0]; kerr.Code(s.ErrorCode) != none || s.State != "" || len(s.Topics) != 0 {
		t.Errorf("%+v", s)
	}
	if l := ask[*kmsg.ListTransactionsResponse](c.conn, 2, kmsg.NewPtrListTransactionsRequest()); len(l.TransactionStates) != 0 {
		t.Errorf("%+v", l)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys = coordinatorTransaction, []string{"x"}
	if f := ask[*kmsg.FindCoordinatorResponse](c.conn, 4, find).Coordinators[0]; kerr.Code(f.ErrorCode) != none {
		t.Errorf("%+v", f)
	}
}

// waiting is a coordinator of which the answer takes until something has happened.
type waiting struct {
	Verifier
	meanwhile func()
}

func (w waiting) AddPartitions(
	ctx context.Context, id string, p machine.Producer, partitions []machine.TopicPartition, verifyOnly bool,
) []kerr.Code {
	w.meanwhile()
	return w.Verifier.AddPartitions(ctx, id, p, partitions, verifyOnly)
}

// A partition arrives at the broker while a request with records for it, and for another one, waits for the coordinator: it was not
// asked about that partition, so the records are to come again. INVALID_TXN_STATE would end the producer.
func TestPartitionArrivesWhileTheCoordinatorIsAsked(t *testing.T) {
	for _, version := range []int16{9, 12} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			c := newTxn(t, options{})
			here, late := c.e.create("here", 1, nil), c.e.create("late", 1, nil)
			p, code := c.init(4, machine.Producer{ID: -1, Epoch: -1})
			c.want([]kerr.Code{code}, kerr.None)
			if version < addsPartitions {
				c.want(c.add(3, p, "here", "late"), kerr.None, kerr.None)
			}
			id := topic.Partition{Topic: late.ID}
			c.e.mu.Lock()
			part := c.e.partitions[id]
			delete(c.e.partitions, id)
			c.e.mu.Unlock()
			before := c.e.api.world.Verifier
			c.e.api.world.Verifier = waiting{before, func() {
				c.e.mu.Lock()
				defer c.e.mu.Unlock()
				c.e.partitions[id] = part
			}}
			produce := func(topics ...*catalog.Topic) (codes []kerr.Code) {
				q := kmsg.NewPtrProduceRequest()
				for _, known := range topics {
					b := batch(t, 1, record.Options{Transactional: true, Producer: &record.Producer{ID: p.ID, Epoch: p.Epoch}})
					q.Topics = append(q.Topics, produceRequest(known, 0, b).Topics...)
				}
				q.Acks, q.TimeoutMillis, q.TransactionID = -1, 1000, kmsg.StringPtr("x")
				for _, in := range ask[*kmsg.ProduceResponse](c.conn, version, q).Topics {
					codes = append(codes, kerr.Code(in.Partitions[0].ErrorCode))
				}
				return codes
			}
			c.want(produce(here, late), kerr.None, kerr.NotLeaderOrFollower)
			c.want(produce(late), kerr.None)
			_, code = c.end(4, p, true)
			c.want([]kerr.Code{code}, kerr.None)
		})
	}
}
