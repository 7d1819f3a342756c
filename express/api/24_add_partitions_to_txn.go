package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// AddPartitionsToTxn: v0-5.
//
//   - v1 throttle, v2 PRODUCER_FENCED (KIP-588), v3 flexible
//   - v4 for brokers: several transactions, and verification only (KIP-890), v5 TRANSACTION_ABORTABLE
//
// All partitions of a transaction are added, or none. Those that could have been say OPERATION_NOT_ATTEMPTED.

// batchedFrom is the version from which on only brokers send the request.
const batchedFrom = 4

// transactionsAtOnce bounds the transactions of one request that are worked on at a time.
const transactionsAtOnce = 64

func (a *API) addPartitionsToTxn(ctx context.Context, c caller, req *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnResponse {
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	if req.Version < batchedFrom {
		txn := kmsg.AddPartitionsToTxnRequestTransaction{
			TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
		}
		for _, t := range req.Topics {
			txn.Topics = append(txn.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		for _, t := range a.addToOne(ctx, c, req.Version, txn).Topics {
			old := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				old.Partitions = append(old.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p.Partition, ErrorCode: p.ErrorCode})
			}
			resp.Topics = append(resp.Topics, old)
		}
		return resp
	}
	if !a.mayCluster(c, kmsg.ACLOperationClusterAction) {
		resp.ErrorCode = int16(kerr.ClusterAuthorizationFailed)
		return resp
	}
	resp.Transactions = make([]kmsg.AddPartitionsToTxnResponseTransaction, len(req.Transactions))
	var adding errgroup.Group // each waits until it is durable
	adding.SetLimit(transactionsAtOnce)
	for i, txn := range req.Transactions {
		adding.Go(func() error {
			resp.Transactions[i] = a.addToOne(ctx, c, req.Version, txn)
			return nil
		})
	}
	_ = adding.Wait() // no function of it fails
	return resp
}

// addToOne adds partitions to one transaction, or verifies them.
func (a *API) addToOne(
	ctx context.Context, c caller, version int16, txn kmsg.AddPartitionsToTxnRequestTransaction,
) kmsg.AddPartitionsToTxnResponseTransaction {
	client := version < batchedFrom
	var partitions []machine.TopicPartition
	for _, t := range txn.Topics {
		for _, p := range t.Partitions {
			partitions = append(partitions, machine.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	if client && !a.mayTransactionalID(c, kmsg.ACLOperationWrite, txn.TransactionalID) {
		return added(txn, func(int) kerr.Code { return kerr.TransactionalIDAuthorizationFailed })
	}
	codes := make([]kerr.Code, len(partitions))
	bad := false
	for i, tp := range partitions {
		switch {
		case client && (topic.Internal(tp.Topic) || !a.mayTopic(c, kmsg.ACLOperationWrite, tp.Topic)):
			codes[i], bad = kerr.TopicAuthorizationFailed, true
		case !a.exists(tp):
			codes[i], bad = kerr.UnknownTopicOrPartition, true
		default:
			codes[i] = kerr.OperationNotAttempted
		}
	}
	producer := machine.Producer{ID: txn.ProducerID, Epoch: txn.ProducerEpoch}
	switch {
	case bad:
	case client:
		code := fencedFrom(2, version, a.world.Transactions.AddPartitionsToTxn(ctx, txn.TransactionalID, producer, partitions))
		for i := range codes {
			codes[i] = code
		}
	default:
		codes = a.world.Transactions.AddPartitions(ctx, txn.TransactionalID, producer, partitions, txn.VerifyOnly)
	}
	return added(txn, func(i int) kerr.Code { return codes[i] })
}

// added answers each partition of txn, which are counted from 0.
func added(txn kmsg.AddPartitionsToTxnRequestTransaction, code func(i int) kerr.Code) kmsg.AddPartitionsToTxnResponseTransaction {
	out := kmsg.NewAddPartitionsToTxnResponseTransaction()
	out.TransactionalID = txn.TransactionalID
	i := 0
	for _, t := range txn.Topics {
		r := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			r.Partitions = append(r.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: int16(code(i))})
			i++
		}
		out.Topics = append(out.Topics, r)
	}
	return out
}
