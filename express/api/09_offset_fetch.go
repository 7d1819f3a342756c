package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// OffsetFetch: v1-10.
//
//   - v2 all topics, and an error of the whole group; v3 throttle, v5 leader epoch, v6 flexible
//   - v7 only stable offsets (KIP-447), v8 many groups (KIP-709), v9 members of the new protocol (KIP-848)
//   - v10 topic ids (KIP-848)

func (a *API) offsetFetch(ctx context.Context, c caller, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	if req.Version >= 8 {
		return a.offsetFetchGroups(ctx, c, req)
	}
	if !a.mayGroup(c, kmsg.ACLOperationDescribe, req.Group) {
		resp := kmsg.NewPtrOffsetFetchResponse()
		resp.ErrorCode = int16(kerr.GroupAuthorizationFailed)
		if req.Version < 2 {
			resp.Topics = refusedOffsets(req.Topics, kerr.GroupAuthorizationFailed)
		}
		return resp
	}
	all := req.Topics == nil
	allowed := make([]kmsg.OffsetFetchRequestTopic, 0, len(req.Topics))
	var refused []kmsg.OffsetFetchRequestTopic
	for _, t := range req.Topics {
		if a.mayTopic(c, kmsg.ACLOperationDescribe, t.Topic) {
			allowed = append(allowed, t)
		} else {
			refused = append(refused, t)
		}
	}
	if !all {
		req.Topics = allowed
	}
	resp := a.world.Groups.OffsetFetch(ctx, req)
	if all {
		kept := resp.Topics[:0]
		for _, t := range resp.Topics {
			if a.mayTopic(c.looking(), kmsg.ACLOperationDescribe, t.Topic) {
				kept = append(kept, t)
			}
		}
		resp.Topics = kept
	}
	resp.Topics = append(resp.Topics, refusedOffsets(refused, kerr.TopicAuthorizationFailed)...)
	return resp
}

func refusedOffsets(topics []kmsg.OffsetFetchRequestTopic, code kerr.Code) []kmsg.OffsetFetchResponseTopic {
	var out []kmsg.OffsetFetchResponseTopic
	for _, t := range topics {
		r := kmsg.NewOffsetFetchResponseTopic()
		r.Topic = t.Topic
		for _, index := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, kmsg.StringPtr(""), int16(code)
			r.Partitions = append(r.Partitions, p)
		}
		out = append(out, r)
	}
	return out
}

// offsetFetchGroups answers the versions that ask for many groups, each once, in the order asked for.
func (a *API) offsetFetchGroups(ctx context.Context, c caller, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	seen := make(map[string]bool, len(req.Groups))
	for _, g := range req.Groups {
		if seen[g.Group] {
			continue
		}
		seen[g.Group] = true
		if !a.mayGroup(c, kmsg.ACLOperationDescribe, g.Group) {
			out := kmsg.NewOffsetFetchResponseGroup()
			out.Group, out.ErrorCode = g.Group, int16(kerr.GroupAuthorizationFailed)
			resp.Groups = append(resp.Groups, out)
			continue
		}
		resp.Groups = append(resp.Groups, a.offsetFetchGroup(ctx, c, req, g))
	}
	return resp
}

func (a *API) offsetFetchGroup(ctx context.Context, c caller, req *kmsg.OffsetFetchRequest, g kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	byID := req.Version >= 10
	all := g.Topics == nil
	if all {
		c = c.looking()
	}
	may := func(name string, id [16]byte) bool {
		name, known := a.nameOf(byID, name, id)
		return !known || a.mayTopic(c, kmsg.ACLOperationDescribe, name)
	}
	allowed := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
	var refused []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range g.Topics {
		if may(t.Topic, t.TopicID) {
			allowed = append(allowed, t)
			continue
		}
		r := kmsg.NewOffsetFetchResponseGroupTopic()
		r.Topic, r.TopicID = t.Topic, t.TopicID
		for _, index := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = index, -1, -1
			p.Metadata, p.ErrorCode = kmsg.StringPtr(""), int16(kerr.TopicAuthorizationFailed)
			r.Partitions = append(r.Partitions, p)
		}
		refused = append(refused, r)
	}
	if !all {
		g.Topics = allowed
	}
	one := *req
	one.Groups = []kmsg.OffsetFetchRequestGroup{g}
	out := a.world.Groups.OffsetFetch(ctx, &one).Groups[0]
	if all {
		kept := out.Topics[:0]
		for _, t := range out.Topics {
			if may(t.Topic, t.TopicID) {
				kept = append(kept, t)
			}
		}
		out.Topics = kept
	}
	out.Topics = append(out.Topics, refused...)
	return out
}
