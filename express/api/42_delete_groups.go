package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DeleteGroups: v0-2. v1 throttle, v2 flexible.

func (a *API) deleteGroups(ctx context.Context, c caller, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	asked := once(req.Groups)
	req.Groups = nil
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, name := range asked {
		if a.mayGroup(c, kmsg.ACLOperationDelete, name) {
			req.Groups = append(req.Groups, name)
			continue
		}
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = name, int16(kerr.GroupAuthorizationFailed)
		resp.Groups = append(resp.Groups, g)
	}
	if len(req.Groups) > 0 {
		deleted := a.world.Groups.DeleteGroups(ctx, req).Groups
		for _, g := range deleted {
			a.recordAdmin(c, change{resource: "group/" + g.Group, err: codeError(g.ErrorCode)})
		}
		resp.Groups = append(resp.Groups, deleted...)
	}
	return resp
}
