package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/api/told"
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
		known := t
		known.Partitions = nil
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			code := a.mayDeleteOffset(c, t.Topic, p.Partition)
			if code == kerr.None {
				known.Partitions = append(known.Partitions, p)
				continue
			}
			part := kmsg.NewOffsetDeleteResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, int16(code)
			out.Partitions = append(out.Partitions, part)
		}
		if len(known.Partitions) > 0 {
			req.Topics = append(req.Topics, known)
		}
		if len(out.Partitions) > 0 {
			refused = append(refused, out)
		}
	}
	resp = a.world.Groups.OffsetDelete(ctx, req)
	a.recordAdmin(c, change{resource: "group/" + req.Group, before: told.Rows(resp.Topics), err: codeError(resp.ErrorCode)})
	if resp.ErrorCode == 0 {
		resp.Topics = append(resp.Topics, refused...)
	}
	return resp
}

// mayDeleteOffset says why a partition's offset is not deleted.
func (a *API) mayDeleteOffset(c caller, name string, index int32) kerr.Code {
	t, ok := a.catalog.Topic(name)
	switch {
	case !a.mayTopic(c, kmsg.ACLOperationRead, name):
		return kerr.TopicAuthorizationFailed
	case !ok || index < 0 || int(index) >= len(t.Partitions):
		return kerr.UnknownTopicOrPartition
	default:
		return kerr.None
	}
}
