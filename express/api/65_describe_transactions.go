package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DescribeTransactions: v0, flexible (KIP-664).

func (a *API) describeTransactions(ctx context.Context, c caller, req *kmsg.DescribeTransactionsRequest) *kmsg.DescribeTransactionsResponse {
	resp := a.world.Transactions.DescribeTransactions(ctx, req)
	for i := range resp.TransactionStates {
		s := &resp.TransactionStates[i]
		if !a.mayTransactionalID(c, kmsg.ACLOperationDescribe, s.TransactionalID) {
			id := s.TransactionalID
			*s = kmsg.NewDescribeTransactionsResponseTransactionState()
			s.TransactionalID, s.ErrorCode = id, int16(kerr.TransactionalIDAuthorizationFailed)
		}
		s.Topics = slices.DeleteFunc(s.Topics, func(t kmsg.DescribeTransactionsResponseTransactionStateTopic) bool {
			return !a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Topic)
		})
	}
	return resp
}
