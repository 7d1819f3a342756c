package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// TxnOffsetCommit: v0-5.
//
//   - v1 throttle, v2 leader epoch, v3 flexible and the member that commits (KIP-447)
//   - v4 TRANSACTION_ABORTABLE (KIP-890), v5 the offsets become part of the transaction without AddOffsetsToTxn

func (a *API) txnOffsetCommit(ctx context.Context, c caller, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	switch {
	case !a.mayTransactionalID(c, kmsg.ACLOperationWrite, req.TransactionalID):
		return group.TxnCommitResponse(req, kerr.TransactionalIDAuthorizationFailed)
	case !a.mayGroup(c, kmsg.ACLOperationRead, req.Group):
		return group.TxnCommitResponse(req, kerr.GroupAuthorizationFailed)
	}
	allowed, refused := *req, *req
	allowed.Topics, refused.Topics = nil, nil
	for _, t := range req.Topics {
		if a.mayTopic(c, kmsg.ACLOperationRead, t.Topic) {
			allowed.Topics = append(allowed.Topics, t)
		} else {
			refused.Topics = append(refused.Topics, t)
		}
	}
	resp := group.TxnCommitResponse(&refused, kerr.TopicAuthorizationFailed)
	if len(allowed.Topics) > 0 || len(refused.Topics) == 0 {
		made := a.world.Groups.TxnOffsetCommit(ctx, &allowed, func(ctx context.Context) kerr.Code { return a.verifyOffsets(ctx, req) })
		resp.Topics = append(resp.Topics, made.Topics...)
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.ErrorCode == int16(kerr.CoordinatorLoadInProgress) && req.Version < 2 {
				p.ErrorCode = int16(kerr.CoordinatorNotAvailable) // old producers fail on the other (KAFKA-7296)
			}
		}
	}
	return resp
}

// verifyOffsets makes sure that the group's offsets are part of the producer's transaction.
func (a *API) verifyOffsets(ctx context.Context, req *kmsg.TxnOffsetCommitRequest) kerr.Code {
	verifyOnly := req.Version < 5
	if verifyOnly && !a.catalog.BrokerSettings().VerifyTransactions {
		return kerr.None
	}
	code := a.world.Verifier.AddPartitions(ctx, req.TransactionalID, machine.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		[]machine.TopicPartition{a.offsetsPartition(req.Group)}, verifyOnly)[0]
	switch {
	case code == kerr.ProducerFenced:
		return kerr.InvalidProducerEpoch // what producers expect from those who take their records
	case code == kerr.TransactionAbortable && req.Version < 4:
		return kerr.InvalidTxnState
	case code == kerr.NotCoordinator:
		return kerr.CoordinatorNotAvailable // the group's coordinator is the right one
	case code == kerr.NetworkException:
		return kerr.CoordinatorLoadInProgress // which has producers ask again, and look for nobody else
	case code == kerr.UnknownTopicOrPartition:
		return kerr.CoordinatorNotAvailable // the transaction's coordinator is about to hear of the topic of offsets
	default:
		return code
	}
}
