package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/kafka/kerr"
)

// OffsetCommit: v2-10.
//
//   - v3 throttle, v5 no retention time, v6 leader epoch, v7 group instance id (KIP-345), v8 flexible
//   - v9 groups of the new protocol (KIP-848), v10 topic ids (KIP-848)

func (a *API) offsetCommit(ctx context.Context, c caller, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	if !a.mayGroup(c, kmsg.ACLOperationRead, req.Group) {
		return group.CommitResponse(req, kerr.GroupAuthorizationFailed)
	}
	allowed := make([]kmsg.OffsetCommitRequestTopic, 0, len(req.Topics))
	refused := *req
	refused.Topics = nil
	for _, t := range req.Topics {
		name, known := a.nameOf(req.Version >= 10, t.Topic, t.TopicID)
		if known && !a.mayTopic(c, kmsg.ACLOperationRead, name) {
			refused.Topics = append(refused.Topics, t)
		} else {
			allowed = append(allowed, t)
		}
	}
	if len(refused.Topics) == 0 {
		return a.world.Groups.OffsetCommit(ctx, req)
	}
	resp := group.CommitResponse(&refused, kerr.TopicAuthorizationFailed)
	if len(allowed) > 0 {
		req.Topics = allowed
		resp.Topics = append(resp.Topics, a.world.Groups.OffsetCommit(ctx, req).Topics...)
	}
	return resp
}

// nameOf gives the name to authorize a topic by. An id that nobody knows needs no permission.
func (a *API) nameOf(byID bool, name string, id [16]byte) (string, bool) {
	if !byID {
		return name, true
	}
	t, ok := a.catalog.TopicByID(id)
	if !ok {
		return "", false
	}
	return t.Name, true
}
