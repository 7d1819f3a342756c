package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// OffsetDelete: v0, never flexible (KIP-496).

func (a *API) offsetDelete(ctx context.Context, c caller, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	if !a.mayGroup(c, kmsg.ACLOperationDelete, req.Group) {
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		return resp
	}
	asked := req.Topics
	req.Topics = nil
	var refused []kmsg.OffsetDeleteResponseTopic
	for _, t := range asked {
		code := kerr.None
		if !a.mayTopic(c, kmsg.ACLOperationRead, t.Topic) {
			code = kerr.TopicAuthorizationFailed
		} else if _, ok := a.catalog.Topic(t.Topic); !ok {
			code = kerr.UnknownTopicOrPartition
		}
		if code == kerr.None {
			req.Topics = append(req.Topics, t)
			continue
		}
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetDeleteResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, int16(code)
			out.Partitions = append(out.Partitions, part)
		}
		refused = append(refused, out)
	}
	resp = a.world.Groups.OffsetDelete(ctx, req)
	resp.Topics = append(resp.Topics, refused...)
	return resp
}
