package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// Heartbeat: v0-4. v1 throttle, v3 group instance id (KIP-345), v4 flexible.

func (a *API) heartbeat(ctx context.Context, c caller, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		return resp
	}
	return a.world.Groups.Heartbeat(ctx, req)
}
