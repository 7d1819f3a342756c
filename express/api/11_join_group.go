package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// JoinGroup: v0-9.
//
//   - v1 rebalance timeout (KIP-62), v2 throttle, v4 MEMBER_ID_REQUIRED (KIP-394), v5 group instance id
//     (KIP-345), v6 flexible, v7 protocol type (KIP-559), v8 reason (KIP-800), v9 skip assignment (KIP-814)
//
// It blocks its connection for as long as the rebalance takes, as in Kafka.

func (a *API) joinGroup(ctx context.Context, c caller, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.MemberID = int16(kerr.GroupAuthorizationFailed), req.MemberID
		return resp
	}
	return a.world.Groups.JoinGroup(ctx, c.clientID, c.host(), req)
}
