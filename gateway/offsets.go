package gateway

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// offsetCommit needs READ on the group and on each topic.
func offsetCommit(ctx context.Context, c *call, req *kmsg.OffsetCommitRequest) verdict {
	if !c.mayGroup(opRead, req.Group) {
		return mirrored(req, kerr.GroupAuthorizationFailed)
	}
	if c.version >= 10 {
		var ids [][16]byte
		for i := range req.Topics {
			ids = append(ids, req.Topics[i].TopicID)
		}
		c.mustResolve(ctx, ids)
	}
	return pruneTopics(c, req, &req.Topics, func(r *kmsg.OffsetCommitResponse) *[]kmsg.OffsetCommitResponseTopic { return &r.Topics },
		func(t *kmsg.OffsetCommitRequestTopic) kerr.Code {
			if c.version >= 10 {
				return c.judge(opRead, t.TopicID)
			}
			return c.judgeName(opRead, t.Topic)
		})
}

// offsetFetch needs DESCRIBE on the group and on each topic. A request for all topics is answered with those that may be described.
func offsetFetch(_ context.Context, c *call, req *kmsg.OffsetFetchRequest) verdict {
	if c.version < 8 {
		return offsetFetchOne(c, req)
	}
	var refused []kmsg.OffsetFetchResponseGroup // whole groups, or the refused topics of one
	all := map[string]bool{}                    // groups that were asked for all topics
	pruned := false
	kept, _ := split(req.Groups, func(g *kmsg.OffsetFetchRequestGroup) bool {
		out := kmsg.NewOffsetFetchResponseGroup()
		out.Group = g.Group
		if !c.mayGroup(opDescribe, g.Group) {
			out.ErrorCode = int16(kerr.GroupAuthorizationFailed)
			refused = append(refused, out)
			return false
		}
		if g.Topics == nil {
			all[g.Group] = true
			return true
		}
		kept, _ := split(g.Topics, func(t *kmsg.OffsetFetchRequestGroupTopic) bool {
			code := c.judgeName(opDescribe, t.Topic)
			if code != kerr.None {
				out.Topics = append(out.Topics, refusedOffsets(t, code))
			}
			return code == kerr.None
		})
		if len(out.Topics) > 0 {
			pruned = true
			refused = append(refused, out)
		}
		g.Topics = kept
		return len(kept) > 0 || len(out.Topics) == 0
	})
	if len(kept) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrOffsetFetchResponse()
		resp.Groups = refused
		return verdict{answer: resp}
	}
	pruned = pruned || len(kept) < len(req.Groups)
	req.Groups = kept
	return verdict{pruned: pruned, edit: edits(func(resp *kmsg.OffsetFetchResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if all[g.Group] {
				g.Topics = slices.DeleteFunc(g.Topics, func(t kmsg.OffsetFetchResponseGroupTopic) bool { return !c.seesTopic(t.Topic) })
			}
		}
		mergeGroups(resp, refused)
	})}
}

func refusedOffsets(t *kmsg.OffsetFetchRequestGroupTopic, code kerr.Code) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic, out.TopicID = t.Topic, t.TopicID
	for _, p := range t.Partitions {
		part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.ErrorCode, part.Metadata = p, -1, -1, int16(code), new(string)
		out.Partitions = append(out.Partitions, part)
	}
	return out
}

// mergeGroups puts refusals beside what the broker has answered for the same groups.
func mergeGroups(resp *kmsg.OffsetFetchResponse, refused []kmsg.OffsetFetchResponseGroup) {
	for _, r := range refused {
		i := slices.IndexFunc(resp.Groups, func(g kmsg.OffsetFetchResponseGroup) bool { return g.Group == r.Group })
		if i < 0 {
			resp.Groups = append(resp.Groups, r)
		} else if resp.Groups[i].ErrorCode == 0 {
			resp.Groups[i].Topics = append(resp.Groups[i].Topics, r.Topics...)
		}
	}
}

// offsetFetchOne is offsetFetch for the versions with one group.
func offsetFetchOne(c *call, req *kmsg.OffsetFetchRequest) verdict {
	refuse := func(t *kmsg.OffsetFetchRequestTopic, code kerr.Code) kmsg.OffsetFetchResponseTopic {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetFetchResponseTopicPartition()
			part.Partition, part.Offset, part.LeaderEpoch, part.ErrorCode, part.Metadata = p, -1, -1, int16(code), new(string)
			out.Partitions = append(out.Partitions, part)
		}
		return out
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	if !c.mayGroup(opDescribe, req.Group) {
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		for i := range req.Topics {
			if c.version < 2 { // which have no place for it at the top
				resp.Topics = append(resp.Topics, refuse(&req.Topics[i], kerr.GroupAuthorizationFailed))
			}
		}
		return verdict{answer: resp}
	}
	if req.Topics == nil {
		return verdict{edit: edits(func(r *kmsg.OffsetFetchResponse) {
			r.Topics = slices.DeleteFunc(r.Topics, func(t kmsg.OffsetFetchResponseTopic) bool { return !c.seesTopic(t.Topic) })
		})}
	}
	kept, refused := split(req.Topics, func(t *kmsg.OffsetFetchRequestTopic) bool { return c.mayTopic(opDescribe, t.Topic) })
	if len(refused) == 0 {
		return verdict{}
	}
	for i := range refused {
		resp.Topics = append(resp.Topics, refuse(&refused[i], kerr.TopicAuthorizationFailed))
	}
	if len(kept) == 0 {
		return verdict{answer: resp}
	}
	req.Topics = kept
	return verdict{pruned: true, edit: edits(func(r *kmsg.OffsetFetchResponse) { r.Topics = append(r.Topics, resp.Topics...) })}
}

// offsetDelete needs DELETE on the group and READ on each topic.
func offsetDelete(_ context.Context, c *call, req *kmsg.OffsetDeleteRequest) verdict {
	if !c.mayGroup(opDelete, req.Group) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	return pruneTopics(c, req, &req.Topics, func(r *kmsg.OffsetDeleteResponse) *[]kmsg.OffsetDeleteResponseTopic { return &r.Topics },
		func(t *kmsg.OffsetDeleteRequestTopic) kerr.Code { return c.judgeName(opRead, t.Topic) })
}
