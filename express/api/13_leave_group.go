package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// LeaveGroup: v0-5. v1 throttle, v3 several members by instance id (KIP-345), v4 flexible, v5 reason (KIP-800).

func (a *API) leaveGroup(ctx context.Context, c caller, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		return resp
	}
	return a.world.Groups.LeaveGroup(ctx, req)
}
