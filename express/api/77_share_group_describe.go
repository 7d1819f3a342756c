package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// ShareGroupDescribe: v1 (KIP-932).

func (a *API) shareGroupDescribe(ctx context.Context, c caller, req *kmsg.ShareGroupDescribeRequest) *kmsg.ShareGroupDescribeResponse {
	resp := kmsg.NewPtrShareGroupDescribeResponse()
	asked := once(req.GroupIDs)
	req.GroupIDs = nil
	for _, name := range asked {
		if a.mayGroup(c, kmsg.ACLOperationDescribe, name) {
			req.GroupIDs = append(req.GroupIDs, name)
			continue
		}
		g := kmsg.NewShareGroupDescribeResponseGroup()
		g.GroupID, g.ErrorCode = name, int16(kerr.GroupAuthorizationFailed)
		resp.Groups = append(resp.Groups, g)
	}
	if len(req.GroupIDs) == 0 {
		return resp
	}
	for _, g := range a.world.Groups.ShareGroupDescribe(ctx, req).Groups {
		if g.ErrorCode == int16(kerr.None) {
			if req.IncludeAuthorizedOperations {
				g.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeGroup, g.GroupID)
			}
			a.hideShareTopics(c, &g)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// hideShareTopics refuses to show a group with topics that the caller may not see.
func (a *API) hideShareTopics(c caller, g *kmsg.ShareGroupDescribeResponseGroup) {
	names := map[string]bool{}
	for _, m := range g.Members {
		for _, name := range m.SubscribedTopicNames {
			names[name] = true
		}
		for _, t := range m.Assignment.TopicPartitions {
			names[t.Topic] = true
		}
	}
	for name := range names {
		if !a.mayTopic(c, kmsg.ACLOperationDescribe, name) {
			g.ErrorCode = int16(kerr.TopicAuthorizationFailed)
			g.ErrorMessage = kmsg.StringPtr("The group has described topic(s) that the client is not authorized to describe.")
			g.Members = nil
			return
		}
	}
}
