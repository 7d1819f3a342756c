package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// DescribeShareGroupOffsets: v0-1 (KIP-932). v1 lag (KIP-1226).

func (a *API) describeShareGroupOffsets(
	ctx context.Context, c caller, req *kmsg.DescribeShareGroupOffsetsRequest,
) *kmsg.DescribeShareGroupOffsetsResponse {
	resp := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	for _, g := range req.Groups {
		resp.Groups = append(resp.Groups, a.describeShareGroup(ctx, c, g))
	}
	return resp
}

func (a *API) describeShareGroup(
	ctx context.Context, c caller, in kmsg.DescribeShareGroupOffsetsRequestGroup,
) kmsg.DescribeShareGroupOffsetsResponseGroup {
	out := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
	out.GroupID = in.GroupID
	if !a.mayGroup(c, kmsg.ACLOperationDescribe, in.GroupID) {
		out.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		return out
	}
	if in.Topics == nil {
		out = a.world.Groups.DescribeShareGroupOffsets(ctx, in)
		out.Topics = slices.DeleteFunc(out.Topics, func(t kmsg.DescribeShareGroupOffsetsResponseGroupTopic) bool {
			return !a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Topic)
		})
		return out
	}
	var hidden []kmsg.DescribeShareGroupOffsetsResponseGroupTopic
	seen := []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{}
	for _, t := range in.Topics {
		if a.mayTopic(c, kmsg.ACLOperationDescribe, t.Topic) {
			seen = append(seen, t)
			continue
		}
		h := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
		h.Topic = t.Topic
		for _, index := range t.Partitions {
			p := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
			p.Partition, p.StartOffset, p.Lag = index, -1, -1
			p.ErrorCode, p.ErrorMessage = int16(kerr.TopicAuthorizationFailed), kmsg.StringPtr(kerr.TopicAuthorizationFailed.Message())
			h.Partitions = append(h.Partitions, p)
		}
		hidden = append(hidden, h)
	}
	in.Topics = seen
	if len(seen) > 0 {
		out = a.world.Groups.DescribeShareGroupOffsets(ctx, in)
	}
	if out.ErrorCode == 0 {
		out.Topics = append(out.Topics, hidden...)
	}
	return out
}
