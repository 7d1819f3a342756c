package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
	"millrace/kafka/kerr"
)

// DeleteShareGroupOffsets: v0 (KIP-932).

func (a *API) deleteShareGroupOffsets(
	ctx context.Context, c caller, req *kmsg.DeleteShareGroupOffsetsRequest,
) *kmsg.DeleteShareGroupOffsetsResponse {
	resp := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	if !a.mayGroup(c, kmsg.ACLOperationDelete, req.GroupID) {
		resp.ErrorCode, resp.ErrorMessage = a.said(kerr.GroupAuthorizationFailed)
		return resp
	}
	var refused []kmsg.DeleteShareGroupOffsetsResponseTopic
	asked := req.Topics
	req.Topics = nil
	for _, t := range asked {
		if a.mayTopic(c, kmsg.ACLOperationRead, t.Topic) {
			req.Topics = append(req.Topics, t)
			continue
		}
		r := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
		r.Topic = t.Topic
		r.ErrorCode, r.ErrorMessage = a.said(kerr.TopicAuthorizationFailed)
		refused = append(refused, r)
	}
	out := a.world.Groups.DeleteShareGroupOffsets(ctx, req)
	a.recordAdmin(c, change{resource: "group/" + req.GroupID, before: told.Rows(req.Topics), err: codeError(out.ErrorCode)})
	if out.ErrorCode != 0 {
		if out.ErrorMessage == nil {
			out.ErrorMessage = kmsg.StringPtr(kerr.Code(out.ErrorCode).Message())
		}
		out.Topics = nil
		return out
	}
	out.Topics = append(refused, out.Topics...)
	return out
}
