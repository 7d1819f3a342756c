package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ShareGroupHeartbeat: v1 (KIP-932). Version 0 was an early access of Kafka 4.0.

func (a *API) shareGroupHeartbeat(ctx context.Context, c caller, req *kmsg.ShareGroupHeartbeatRequest) *kmsg.ShareGroupHeartbeatResponse {
	refuse := func(code kerr.Code) *kmsg.ShareGroupHeartbeatResponse {
		resp := kmsg.NewPtrShareGroupHeartbeatResponse()
		resp.ErrorCode = int16(code)
		return resp
	}
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.GroupID) {
		return refuse(kerr.GroupAuthorizationFailed)
	}
	for _, name := range req.SubscribedTopicNames {
		if !a.mayTopic(c, kmsg.ACLOperationDescribe, name) {
			return refuse(kerr.TopicAuthorizationFailed)
		}
	}
	if _, err := a.shareGroupState(ctx); err != nil { // where what the group reads is kept
		a.log.Warn("no topic for the state of share groups", "err", err)
		return refuse(kerr.CoordinatorNotAvailable)
	}
	return a.world.Groups.ShareGroupHeartbeat(ctx, c.clientID, c.host(), req)
}
