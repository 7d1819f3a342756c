package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ConsumerGroupDescribe: v0-1 (KIP-848). v1 the type of each member (KIP-1099).

func (a *API) consumerGroupDescribe(ctx context.Context, c caller, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	asked := once(req.Groups)
	req.Groups = nil
	refuse := func(name string, code kerr.Code) {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group, g.ErrorCode = name, int16(code)
		resp.Groups = append(resp.Groups, g)
	}
	served := a.servesConsumerGroups()
	for _, name := range asked {
		if !served {
			refuse(name, kerr.UnsupportedVersion)
			continue
		}
		if a.mayGroup(c, kmsg.ACLOperationDescribe, name) {
			req.Groups = append(req.Groups, name)
			continue
		}
		refuse(name, kerr.GroupAuthorizationFailed)
	}
	if len(req.Groups) == 0 {
		return resp
	}
	for _, g := range a.world.Groups.ConsumerGroupDescribe(ctx, req).Groups {
		if g.ErrorCode == int16(kerr.None) {
			if req.IncludeAuthorizedOperations {
				g.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeGroup, g.Group)
			}
			a.hideForeignTopics(c, &g)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// hideForeignTopics refuses to show a group with topics that the caller may not see.
func (a *API) hideForeignTopics(c caller, g *kmsg.ConsumerGroupDescribeResponseGroup) {
	names := map[string]bool{}
	for _, m := range g.Members {
		for _, name := range m.SubscribedTopics {
			names[name] = true
		}
		for _, assigned := range []kmsg.Assignment{m.Assignment, m.TargetAssignment} {
			for _, t := range assigned.TopicPartitions {
				names[t.Topic] = true
			}
		}
	}
	for name := range names {
		if !a.mayTopic(c, kmsg.ACLOperationDescribe, name) {
			g.ErrorCode = int16(kerr.TopicAuthorizationFailed)
			g.ErrorMessage = kmsg.StringPtr("The described group uses topics that the client is not authorized to describe.")
			g.Members = nil
			return
		}
	}
}
