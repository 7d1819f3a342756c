package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// SyncGroup: v0-5. v1 throttle, v3 group instance id (KIP-345), v4 flexible, v5 protocol type and name (KIP-559).

func (a *API) syncGroup(ctx context.Context, c caller, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		return resp
	}
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = int16(kerr.InconsistentGroupProtocol)
		return resp
	}
	return a.world.Groups.SyncGroup(ctx, req)
}
