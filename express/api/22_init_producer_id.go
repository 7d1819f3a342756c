package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
)

// InitProducerId: v0-5.
//
//   - v1 throttle, v2 flexible, v3 the present id and epoch, to bump (KIP-360), v4 PRODUCER_FENCED (KIP-588)
//   - v5 TRANSACTION_ABORTABLE (KIP-890)
//
// Without a transactional id every call gives a new id with epoch 0, as in Kafka.

func (a *API) initProducerID(ctx context.Context, c caller, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	ctx, cancel := withTimeout(ctx, timeoutSelf)
	defer cancel()
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	var id int64
	var err error
	switch {
	case req.TransactionalID != nil && !a.mayTransactionalID(c, kmsg.ACLOperationWrite, *req.TransactionalID):
		err = kerr.TransactionalIDAuthorizationFailed
	case req.TransactionalID == nil && !a.mayCluster(c.looking(), kmsg.ACLOperationIdempotentWrite) &&
		!a.maySomeTopic(c, kmsg.ACLOperationWrite):
		err = kerr.ClusterAuthorizationFailed
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		err = kerr.InvalidRequest
	case req.TransactionalID != nil:
		resp = a.world.Transactions.InitProducerID(ctx, req)
		resp.ErrorCode = int16(fencedFrom(4, req.Version, kerr.Code(resp.ErrorCode)))
		return resp
	default:
		id, err = a.catalog.NextProducerID(ctx)
	}
	switch {
	case errors.Is(err, catalog.ErrUnavailable):
		resp.ErrorCode = int16(kerr.CoordinatorLoadInProgress) // what producers retry
	case err != nil:
		resp.ErrorCode = int16(a.code(err))
	default:
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	return resp
}
