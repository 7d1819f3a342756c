package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
	"millrace/kafka/kerr"
)

// AlterShareGroupOffsets: v0 (KIP-932).

func (a *API) alterShareGroupOffsets(
	ctx context.Context, c caller, req *kmsg.AlterShareGroupOffsetsRequest,
) *kmsg.AlterShareGroupOffsetsResponse {
	resp := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.GroupID) {
		resp.ErrorCode, resp.ErrorMessage = a.said(kerr.GroupAuthorizationFailed)
		return resp
	}
	if _, err := a.shareGroupState(ctx); err != nil {
		a.log.Warn("no topic for the state of share groups", "err", err)
		resp.ErrorCode = int16(kerr.CoordinatorNotAvailable)
		return resp
	}
	var refused []kmsg.AlterShareGroupOffsetsResponseTopic
	asked := req.Topics
	req.Topics = nil
	for _, t := range asked {
		known, ok := a.catalog.Topic(t.Topic)
		var code kerr.Code
		switch {
		case !a.mayTopic(c, kmsg.ACLOperationRead, t.Topic):
			code = kerr.TopicAuthorizationFailed
		case !ok:
			code = kerr.UnknownTopicOrPartition
		default:
			req.Topics = append(req.Topics, t)
			continue
		}
		r := kmsg.NewAlterShareGroupOffsetsResponseTopic()
		r.Topic = t.Topic
		if ok {
			r.TopicID = known.ID
		}
		for _, in := range t.Partitions {
			p := kmsg.NewAlterShareGroupOffsetsResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = in.Partition, int16(code), kmsg.StringPtr(code.Message())
			r.Partitions = append(r.Partitions, p)
		}
		refused = append(refused, r)
	}
	out := a.world.Groups.AlterShareGroupOffsets(ctx, req)
	a.recordAdmin(c, change{resource: "group/" + req.GroupID, after: told.Rows(req.Topics), err: codeError(out.ErrorCode)})
	if out.ErrorCode != 0 {
		if out.ErrorMessage == nil {
			out.ErrorMessage = kmsg.StringPtr(kerr.Code(out.ErrorCode).Message())
		}
		out.Topics = nil
		return out
	}
	out.Topics = append(out.Topics, refused...)
	return out
}
