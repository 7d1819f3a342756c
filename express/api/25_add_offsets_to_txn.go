package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// AddOffsetsToTxn: v0-4.
//
//   - v1 throttle, v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE (KIP-890)
//
// It adds the partition that keeps the group's offsets to the transaction. Only clients of the first protocol send it.

func (a *API) addOffsetsToTxn(ctx context.Context, c caller, req *kmsg.AddOffsetsToTxnRequest) *kmsg.AddOffsetsToTxnResponse {
	resp := kmsg.NewPtrAddOffsetsToTxnResponse()
	var code kerr.Code
	switch {
	case !a.mayTransactionalID(c, kmsg.ACLOperationWrite, req.TransactionalID):
		code = kerr.TransactionalIDAuthorizationFailed
	case !a.mayGroup(c, kmsg.ACLOperationRead, req.Group):
		code = kerr.GroupAuthorizationFailed
	default:
		code = fencedFrom(2, req.Version, a.world.Transactions.AddPartitionsToTxn(ctx, req.TransactionalID,
			machine.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}, []machine.TopicPartition{a.offsetsPartition(req.Group)}))
	}
	resp.ErrorCode = int16(code)
	return resp
}
