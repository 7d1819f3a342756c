package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions: v0-2.
//
//   - v0 flexible (KIP-664), v1 by duration (KIP-994), v2 by a pattern of transactional ids (KIP-1152)

func (a *API) listTransactions(ctx context.Context, c caller, req *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse {
	resp := a.world.Transactions.ListTransactions(ctx, req)
	resp.TransactionStates = slices.DeleteFunc(resp.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
		return !a.mayTransactionalID(c.looking(), kmsg.ACLOperationDescribe, s.TransactionalID)
	})
	return resp
}
