package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// FindCoordinator: v0-6.
//
//   - v1 type of coordinator, v3 flexible, v4 several keys (KIP-699), v5 TRANSACTION_ABORTABLE (KIP-890)
//   - v6 share groups (KIP-932)
//
// A group is coordinated by the owner of its partition of __consumer_offsets, a transactional id by that of
// its partition of __transaction_state, the state of a share-partition by that of its partition of __share_group_state.
// The topics are created here at their first use.

// Types of coordinators.
const (
	coordinatorGroup       int8 = 0
	coordinatorTransaction int8 = 1
	coordinatorShare       int8 = 2
)

func (a *API) findCoordinator(ctx context.Context, c caller, req *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
	ctx, cancel := withTimeout(ctx, timeoutSelf)
	defer cancel()
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if req.Version < 4 {
		one := a.coordinator(ctx, c, req.CoordinatorType, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage = one.ErrorCode, one.ErrorMessage
		if one.ErrorCode == 0 {
			resp.ErrorMessage = kmsg.StringPtr("NONE") // these versions name even success
		}
		resp.NodeID, resp.Host, resp.Port = one.NodeID, one.Host, one.Port
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, a.coordinator(ctx, c, req.CoordinatorType, key))
	}
	return resp
}

func (a *API) coordinator(ctx context.Context, c caller, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port = key, -1, -1
	fail := func(err error) kmsg.FindCoordinatorResponseCoordinator {
		code := a.code(err)
		if code == kerr.RequestTimedOut { // not a code that clients expect here
			code = kerr.CoordinatorNotAvailable
		}
		out.ErrorCode, out.ErrorMessage = int16(code), message(code, err)
		return out
	}
	t, index, err := a.coordinated(ctx, c, kind, key)
	if err != nil {
		return fail(err)
	}
	b, _, ok := a.leaderAt(t, index, c.listener())
	if !ok {
		return fail(kerr.CoordinatorNotAvailable)
	}
	out.NodeID, out.Host, out.Port, out.ErrorMessage = b.ID, b.Host, b.Port, kmsg.StringPtr("")
	return out
}

// coordinated finds the partition whose owner coordinates key.
func (a *API) coordinated(ctx context.Context, c caller, kind int8, key string) (t *catalog.Topic, index int32, err error) {
	switch kind {
	case coordinatorGroup:
		if !a.mayGroup(c, kmsg.ACLOperationDescribe, key) {
			return nil, 0, kerr.GroupAuthorizationFailed
		}
		t, err = a.consumerOffsets(ctx)
		return t, a.world.Groups.PartitionFor(key), err
	case coordinatorTransaction:
		if !a.mayTransactionalID(c, kmsg.ACLOperationDescribe, key) {
			return nil, 0, kerr.TransactionalIDAuthorizationFailed
		}
		t, err = a.transactionState(ctx)
		return t, a.world.Transactions.PartitionFor(key), err
	case coordinatorShare:
		if !a.mayCluster(c, kmsg.ACLOperationClusterAction) {
			return nil, 0, kerr.ClusterAuthorizationFailed
		}
		if !shareKey(key) {
			return nil, 0, fmt.Errorf("%w: %q is not a share-partition", kerr.InvalidRequest, key)
		}
		t, err = a.shareGroupState(ctx)
		return t, a.world.ShareState.PartitionFor(key), err
	default:
		return nil, 0, fmt.Errorf("%w: no coordinators of type %d", kerr.InvalidRequest, kind)
	}
}

// shareKey says whether s names a share-partition: group, topic id and partition, with colons between.
func shareKey(s string) bool {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return false
	}
	index, err := strconv.ParseInt(s[at+1:], 10, 32)
	if err != nil || index < 0 {
		return false
	}
	s = s[:at]
	at = strings.LastIndexByte(s, ':')
	if at < 1 {
		return false
	}
	_, err = topic.ParseID(s[at+1:])
	return err == nil
}
