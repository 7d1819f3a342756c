package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DescribeGroups: v0-6.
//
//   - v1 throttle, v3 authorized operations (KIP-430), v4 group instance id (KIP-345), v5 flexible
//   - v6 GROUP_ID_NOT_FOUND with a message (KIP-1043)

func (a *API) describeGroups(ctx context.Context, c caller, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	asked := once(req.Groups)
	req.Groups = nil
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, name := range asked {
		if a.mayGroup(c, kmsg.ACLOperationDescribe, name) {
			req.Groups = append(req.Groups, name)
			continue
		}
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode, g.AuthorizedOperations = name, int16(kerr.GroupAuthorizationFailed), notAsked
		resp.Groups = append(resp.Groups, g)
	}
	if len(req.Groups) == 0 {
		return resp
	}
	for _, g := range a.world.Groups.DescribeGroups(ctx, req).Groups {
		g.AuthorizedOperations = notAsked
		if req.IncludeAuthorizedOperations && g.ErrorCode == int16(kerr.None) {
			g.AuthorizedOperations = a.authorized(c, kmsg.ACLResourceTypeGroup, g.Group)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// once gives the elements of a list without repetitions, in the order of their first mention (A6).
func once(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}
