package api

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Transactions is the transaction coordinator. Each method blocks until the answer is known or ctx ends. A
// transactional id that is not coordinated here is NOT_COORDINATOR.
type Transactions interface {
	// PartitionFor is the partition of __transaction_state that keeps a transactional id.
	PartitionFor(txnID string) int32

	// InitProducerID is for requests with a transactional id.
	InitProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse
	// AddPartitionsToTxn adds all partitions, or none, for a client of the first protocol.
	AddPartitionsToTxn(ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition) kerr.Code
	// AddPartitions answers brokers for each partition in order: it verifies, or adds by the second protocol.
	AddPartitions(ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition, verifyOnly bool) []kerr.Code
	// EndTxn blocks until the decision is durable.
	EndTxn(ctx context.Context, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse

	// DescribeTransactions leaves it to the caller who may see which topics.
	DescribeTransactions(ctx context.Context, req *kmsg.DescribeTransactionsRequest) *kmsg.DescribeTransactionsResponse
	// ListTransactions lists the ids that are coordinated here.
	ListTransactions(ctx context.Context, req *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse
}

// Verifier asks the coordinator of a transactional id, whichever broker that is, about a producer's partitions.
type Verifier interface {
	// AddPartitions answers for each partition in order: it verifies, or adds by the second protocol. A coordinator that does not
	// answer is NETWORK_EXCEPTION, one that there is not COORDINATOR_NOT_AVAILABLE.
	AddPartitions(ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition, verifyOnly bool) []kerr.Code
}

// Markers ends transactions on the partitions that are served here.
type Markers interface {
	// WriteMarker returns when the marker is durable or has failed. A partition that is not here is NOT_LEADER_OR_FOLLOWER.
	WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker) error
}

// transactionState gives the topic that keeps transactional ids, and creates it at its first use.
func (a *API) transactionState(ctx context.Context) (*catalog.Topic, error) {
	b := a.catalog.BrokerSettings()
	return a.internalTopic(ctx, catalog.NewTopic{
		Name: topic.TransactionState, Partitions: b.TransactionTopicPartitions, ReplicationFactor: -1,
		Configs: map[string]string{
			"cleanup.policy": "compact", "compression.type": "uncompressed", "unclean.leader.election.enable": "false",
			"segment.bytes":       strconv.Itoa(int(b.TransactionTopicSegmentBytes)),
			"min.insync.replicas": strconv.Itoa(int(b.TransactionTopicMinISR)),
		},
	})
}

// offsetsPartition is the partition that a transaction needs in order to commit a group's offsets.
func (a *API) offsetsPartition(group string) machine.TopicPartition {
	return machine.TopicPartition{Topic: topic.ConsumerOffsets, Partition: a.world.Groups.PartitionFor(group)}
}

// exists says whether the cluster has a partition.
func (a *API) exists(tp machine.TopicPartition) bool {
	t, ok := a.catalog.Topic(tp.Topic)
	return ok && tp.Partition >= 0 && int(tp.Partition) < len(t.Partitions)
}

// fencedFrom gives PRODUCER_FENCED to those who know it: requests of version since on. Others get the code that it came out
// of (KIP-588).
func fencedFrom(since, version int16, code kerr.Code) kerr.Code {
	if code == kerr.ProducerFenced && version < since {
		return kerr.InvalidProducerEpoch
	}
	return code
}
