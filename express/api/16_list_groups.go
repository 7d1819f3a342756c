package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups: v0-5. v1 throttle, v3 flexible, v4 states (KIP-518), v5 types (KIP-848).

func (a *API) listGroups(ctx context.Context, c caller, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := a.world.Groups.ListGroups(ctx, req)
	c = c.looking()
	if a.mayCluster(c, kmsg.ACLOperationDescribe) {
		return resp
	}
	kept := resp.Groups[:0]
	for _, g := range resp.Groups {
		if a.mayGroup(c, kmsg.ACLOperationDescribe, g.Group) {
			kept = append(kept, g)
		}
	}
	resp.Groups = kept
	return resp
}
