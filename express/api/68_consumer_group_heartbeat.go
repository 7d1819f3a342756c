package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ConsumerGroupHeartbeat: v0-1 (KIP-848). v1 regular expressions (KIP-1082: and member ids that the client makes).

func (a *API) consumerGroupHeartbeat(ctx context.Context, c caller, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	refuse := func(code kerr.Code) *kmsg.ConsumerGroupHeartbeatResponse {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode = int16(code)
		return resp
	}
	if !a.servesConsumerGroups() {
		return refuse(kerr.UnsupportedVersion)
	}
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		return refuse(kerr.GroupAuthorizationFailed)
	}
	for _, name := range req.SubscribedTopicNames {
		if !a.mayTopic(c, kmsg.ACLOperationDescribe, name) {
			return refuse(kerr.TopicAuthorizationFailed)
		}
	}
	return a.world.Groups.ConsumerGroupHeartbeat(ctx, c.clientID, c.host(), req,
		func(name string) bool { return a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, name) })
}

// servesConsumerGroups says whether the protocol is among those of group.coordinator.rebalance.protocols. Its groups that are in
// the log stay, and are listed and can be deleted, without it.
func (a *API) servesConsumerGroups() bool {
	return slices.Contains(a.catalog.BrokerSettings().RebalanceProtocols, "consumer")
}
