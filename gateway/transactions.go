package gateway

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// transactionRules are the keys about producers and transactions.
func transactionRules(reading, changing adder) {
	reading(kmsg.InitProducerID, 0, 5, on(initProducerID))
	reading(kmsg.AddPartitionsToTxn, 0, 5, on(addPartitionsToTxn))
	reading(kmsg.AddOffsetsToTxn, 0, 4, on(addOffsetsToTxn))
	reading(kmsg.EndTxn, 0, 5, on(func(_ context.Context, c *call, req *kmsg.EndTxnRequest) verdict {
		if !c.mayTxn(opWrite, req.TransactionalID) {
			return topError(req, kerr.TransactionalIDAuthorizationFailed)
		}
		return verdict{}
	}))
	reading(kmsg.TxnOffsetCommit, 0, 5, on(txnOffsetCommit))
	changing(kmsg.WriteTxnMarkers, 1, 2, on(writeTxnMarkers))
	reading(kmsg.DescribeTransactions, 0, 0, on(describeTransactions))
	reading(kmsg.ListTransactions, 0, 2, on(listTransactions))
}

// initProducerID needs WRITE on the transactional id; without one, IDEMPOTENT_WRITE on the cluster or WRITE on any topic.
func initProducerID(_ context.Context, c *call, req *kmsg.InitProducerIDRequest) verdict {
	if req.TransactionalID != nil {
		if !c.mayTxn(opWrite, *req.TransactionalID) {
			return topError(req, kerr.TransactionalIDAuthorizationFailed)
		}
		return verdict{}
	}
	if !c.seesCluster(opIdempotentWrite) && !c.mayAny(opWrite, kmsg.ACLResourceTypeTopic) {
		return topError(req, kerr.ClusterAuthorizationFailed)
	}
	return verdict{}
}

// addPartitionsToTxn needs WRITE on the transactional id and on each topic: all or nothing. From version 4 on it is for brokers, and needs
// CLUSTER_ACTION first.
func addPartitionsToTxn(_ context.Context, c *call, req *kmsg.AddPartitionsToTxnRequest) verdict {
	if req.Version >= firstOfBrokers {
		return addPartitionsToTxns(c, req)
	}
	if !c.mayTxn(opWrite, req.TransactionalID) {
		return mirrored(req, kerr.TransactionalIDAuthorizationFailed)
	}
	kept, refused := split(req.Topics, func(t *kmsg.AddPartitionsToTxnRequestTopic) bool { return c.mayTopic(opWrite, t.Topic) })
	if len(refused) == 0 {
		return verdict{}
	}
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	for i := range refused {
		resp.Topics = append(resp.Topics, mirrorOf[kmsg.AddPartitionsToTxnResponseTopic](&refused[i], kerr.TopicAuthorizationFailed))
	}
	for i := range kept {
		resp.Topics = append(resp.Topics, mirrorOf[kmsg.AddPartitionsToTxnResponseTopic](&kept[i], kerr.OperationNotAttempted))
	}
	return verdict{answer: resp}
}

// firstOfBrokers is the version of AddPartitionsToTxn from which on it holds many transactions, and is what brokers send to each other.
const firstOfBrokers = 4

// addPartitionsToTxns needs CLUSTER_ACTION, and with it no more for what the request names.
func addPartitionsToTxns(c *call, req *kmsg.AddPartitionsToTxnRequest) verdict {
	if !c.mayCluster(opClusterAction) {
		return topError(req, kerr.ClusterAuthorizationFailed)
	}
	return verdict{}
}

func addOffsetsToTxn(_ context.Context, c *call, req *kmsg.AddOffsetsToTxnRequest) verdict {
	if !c.mayTxn(opWrite, req.TransactionalID) {
		return topError(req, kerr.TransactionalIDAuthorizationFailed)
	}
	if !c.mayGroup(opRead, req.Group) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	return verdict{}
}

// txnOffsetCommit needs WRITE on the transactional id, READ on the group and on each topic.
func txnOffsetCommit(_ context.Context, c *call, req *kmsg.TxnOffsetCommitRequest) verdict {
	if !c.mayTxn(opWrite, req.TransactionalID) {
		return mirrored(req, kerr.TransactionalIDAuthorizationFailed)
	}
	if !c.mayGroup(opRead, req.Group) {
		return mirrored(req, kerr.GroupAuthorizationFailed)
	}
	return pruneTopics(c, req, &req.Topics, func(r *kmsg.TxnOffsetCommitResponse) *[]kmsg.TxnOffsetCommitResponseTopic { return &r.Topics },
		func(t *kmsg.TxnOffsetCommitRequestTopic) kerr.Code { return c.judgeName(opRead, t.Topic) })
}

// writeTxnMarkers is what brokers do, and operators who end a transaction that hangs.
func writeTxnMarkers(_ context.Context, c *call, req *kmsg.WriteTxnMarkersRequest) verdict {
	if !c.seesCluster(opClusterAction) && !c.mayCluster(opAlter) {
		return mirrored(req, kerr.ClusterAuthorizationFailed)
	}
	return verdict{}
}

// describeTransactions needs DESCRIBE on the transactional id; topics that may not be described are left out.
func describeTransactions(_ context.Context, c *call, req *kmsg.DescribeTransactionsRequest) verdict {
	var refused []kmsg.DescribeTransactionsResponseTransactionState
	kept, _ := split(req.TransactionalIDs, func(id *string) bool {
		if c.mayTxn(opDescribe, *id) {
			return true
		}
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.ErrorCode = *id, int16(kerr.TransactionalIDAuthorizationFailed)
		refused = append(refused, s)
		return false
	})
	if len(kept) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrDescribeTransactionsResponse()
		resp.TransactionStates = refused
		return verdict{answer: resp}
	}
	req.TransactionalIDs = kept
	return verdict{pruned: len(refused) > 0, edit: edits(func(resp *kmsg.DescribeTransactionsResponse) {
		for i := range resp.TransactionStates {
			s := &resp.TransactionStates[i]
			s.Topics = slices.DeleteFunc(s.Topics, func(t kmsg.DescribeTransactionsResponseTransactionStateTopic) bool {
				return !c.seesTopic(t.Topic)
			})
		}
		resp.TransactionStates = append(resp.TransactionStates, refused...)
	})}
}

func listTransactions(_ context.Context, c *call, _ *kmsg.ListTransactionsRequest) verdict {
	return verdict{edit: edits(func(resp *kmsg.ListTransactionsResponse) {
		resp.TransactionStates = slices.DeleteFunc(resp.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
			return !c.sees(opDescribe, kmsg.ACLResourceTypeTransactionalId, s.TransactionalID)
		})
	})}
}
