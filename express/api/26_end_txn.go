package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// EndTxn: v0-5.
//
//   - v1 throttle, v2 PRODUCER_FENCED (KIP-588), v3 flexible, v4 TRANSACTION_ABORTABLE (KIP-890)
//   - v5 each transaction has an epoch of its own, which the answer tells (KIP-890)

func (a *API) endTxn(ctx context.Context, c caller, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse {
	if !a.mayTransactionalID(c, kmsg.ACLOperationWrite, req.TransactionalID) {
		resp := kmsg.NewPtrEndTxnResponse()
		resp.ErrorCode = int16(kerr.TransactionalIDAuthorizationFailed)
		return resp
	}
	resp := a.world.Transactions.EndTxn(ctx, req)
	resp.ErrorCode = int16(fencedFrom(2, req.Version, kerr.Code(resp.ErrorCode)))
	return resp
}
