package gateway

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/kafka/wire"
)

// shareRules are the keys about share groups.
func shareRules(reading, changing adder) {
	reading(kmsg.ShareGroupHeartbeat, 1, 1, on(shareGroupHeartbeat))
	reading(kmsg.ShareGroupDescribe, 1, 1, on(shareGroupDescribe))
	reading(kmsg.ShareFetch, wire.ShareFetchMin, wire.ShareFetchMax, on(shareFetch))
	reading(kmsg.ShareAcknowledge, 1, 2, on(shareAcknowledge))
	reading(kmsg.DescribeShareGroupOffsets, 0, 1, on(describeShareGroupOffsets))
	changing(kmsg.AlterShareGroupOffsets, 0, 0, on(func(_ context.Context, c *call, req *kmsg.AlterShareGroupOffsetsRequest) verdict {
		if !c.mayGroup(opRead, req.GroupID) {
			return topError(req, kerr.GroupAuthorizationFailed)
		}
		return pruneTopics(c, req, &req.Topics,
			func(r *kmsg.AlterShareGroupOffsetsResponse) *[]kmsg.AlterShareGroupOffsetsResponseTopic {
				return &r.Topics
			},
			func(t *kmsg.AlterShareGroupOffsetsRequestTopic) kerr.Code { return c.judgeName(opRead, t.Topic) })
	}))
	changing(kmsg.DeleteShareGroupOffsets, 0, 0, on(func(_ context.Context, c *call, req *kmsg.DeleteShareGroupOffsetsRequest) verdict {
		if !c.mayGroup(opDelete, req.GroupID) {
			return topError(req, kerr.GroupAuthorizationFailed)
		}
		return pruneTopics(c, req, &req.Topics,
			func(r *kmsg.DeleteShareGroupOffsetsResponse) *[]kmsg.DeleteShareGroupOffsetsResponseTopic {
				return &r.Topics
			},
			func(t *kmsg.DeleteShareGroupOffsetsRequestTopic) kerr.Code { return c.judgeName(opRead, t.Topic) })
	}))
}

func shareGroupHeartbeat(_ context.Context, c *call, req *kmsg.ShareGroupHeartbeatRequest) verdict {
	if !c.mayGroup(opRead, req.GroupID) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	for _, name := range req.SubscribedTopicNames {
		if !c.mayTopic(opDescribe, name) {
			return topError(req, kerr.TopicAuthorizationFailed)
		}
	}
	return verdict{}
}

func shareGroupDescribe(_ context.Context, c *call, req *kmsg.ShareGroupDescribeRequest) verdict {
	ops := req.IncludeAuthorizedOperations
	v := pruneNames(c, req, &req.GroupIDs, opDescribe, func(group string) kmsg.ShareGroupDescribeResponseGroup {
		g := kmsg.NewShareGroupDescribeResponseGroup()
		g.GroupID, g.ErrorCode = group, int16(kerr.GroupAuthorizationFailed)
		return g
	}, func(r *kmsg.ShareGroupDescribeResponse) *[]kmsg.ShareGroupDescribeResponseGroup { return &r.Groups })
	if v.answer != nil {
		return v
	}
	merge := v.edit
	v.edit = edits(func(resp *kmsg.ShareGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if ops {
				g.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeGroup, g.GroupID)
			}
			secret := slices.ContainsFunc(g.Members, func(m kmsg.ShareGroupDescribeResponseGroupMember) bool {
				return slices.ContainsFunc(m.Assignment.TopicPartitions,
					func(t kmsg.ShareGroupDescribeResponseGroupMemberAssignmentTopicPartition) bool {
						return !c.seesTopic(t.Topic)
					})
			})
			if secret {
				words := hiddenTopics
				g.ErrorCode, g.ErrorMessage = int16(kerr.TopicAuthorizationFailed), &words
				g.Members = []kmsg.ShareGroupDescribeResponseGroupMember{}
			}
		}
		if merge != nil {
			merge(resp)
		}
	})
	return v
}

// readable sorts the topics of a request, which it names by id, into those that may be read and the answers for the others.
func readable[R, Q any](ctx context.Context, c *call, topics []Q, id func(*Q) [16]byte) (kept []Q, refused []R) {
	ids := make([][16]byte, len(topics))
	for i := range topics {
		ids[i] = id(&topics[i])
	}
	c.mustResolve(ctx, ids)
	kept, _ = split(topics, func(t *Q) bool {
		code := c.judge(opRead, id(t))
		if code != kerr.None {
			refused = append(refused, mirrorOf[R](t, code))
		}
		return code == kerr.None
	})
	return kept, refused
}

// shareFetch needs READ on the group and on each topic. A share session has no way around: what it holds is looked at in each answer.
func shareFetch(ctx context.Context, c *call, req *kmsg.ShareFetchRequest) verdict {
	if req.GroupID == nil || !c.mayGroup(opRead, *req.GroupID) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	kept, refused := readable[kmsg.ShareFetchResponseTopic](ctx, c, req.Topics, func(t *kmsg.ShareFetchRequestTopic) [16]byte { return t.TopicID })
	pruned := len(refused) > 0 || req.MaxBytes > c.g.cfg.FetchMaxBytes
	// It goes on even with nothing left: the session's count of requests must not fall behind.
	req.Topics, req.MaxBytes = kept, min(req.MaxBytes, c.g.cfg.FetchMaxBytes)
	c.raw = c.shareFetched(refused)
	return verdict{pruned: pruned}
}

// shareFetched makes the answer; the records stay where they are.
func (c *call) shareFetched(refused []kmsg.ShareFetchResponseTopic) func([]byte, time.Duration) (server.Response, error) {
	return func(body []byte, wait time.Duration) (server.Response, error) {
		decoded, err := c.g.decoder.DecodeResponse(c.key, c.version, body)
		if err != nil {
			return server.Response{}, err
		}
		resp := decoded.(*kmsg.ShareFetchResponse)
		for i := range resp.NodeEndpoints {
			n := &resp.NodeEndpoints[i]
			c.s.translate(n.NodeID, &n.Host, &n.Port, n.Rack)
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if code := c.judge(opRead, t.TopicID); code != kerr.None {
				for j := range t.Partitions {
					p := &t.Partitions[j]
					p.ErrorCode, p.ErrorMessage, p.Records, p.AcquiredRecords = int16(code), text(code), nil, nil
				}
			}
		}
		resp.Topics = append(resp.Topics, refused...)
		setThrottle(resp, wait)
		bufs, err := wire.EncodeShareFetch(resp, func(i, j int) net.Buffers {
			if r := resp.Topics[i].Partitions[j].Records; len(r) > 0 {
				return net.Buffers{r}
			}
			return nil
		})
		return server.Response{Buffers: bufs}, err
	}
}

func shareAcknowledge(ctx context.Context, c *call, req *kmsg.ShareAcknowledgeRequest) verdict {
	if req.GroupID == nil || !c.mayGroup(opRead, *req.GroupID) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	kept, refused := readable[kmsg.ShareAcknowledgeResponseTopic](ctx, c, req.Topics, func(t *kmsg.ShareAcknowledgeRequestTopic) [16]byte { return t.TopicID })
	req.Topics = kept // it goes on even with nothing left, as in shareFetch
	return verdict{pruned: len(refused) > 0, edit: edits(func(resp *kmsg.ShareAcknowledgeResponse) {
		for i := range resp.NodeEndpoints {
			n := &resp.NodeEndpoints[i]
			c.s.translate(n.NodeID, &n.Host, &n.Port, n.Rack)
		}
		resp.Topics = append(resp.Topics, refused...)
	})}
}

// describeShareGroupOffsets needs DESCRIBE on the group and on each topic; asked for all topics, it tells of those.
func describeShareGroupOffsets(_ context.Context, c *call, req *kmsg.DescribeShareGroupOffsetsRequest) verdict {
	var refused []kmsg.DescribeShareGroupOffsetsResponseGroup
	pruned := false
	kept, _ := split(req.Groups, func(g *kmsg.DescribeShareGroupOffsetsRequestGroup) bool {
		out := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
		out.GroupID = g.GroupID
		if !c.mayGroup(opDescribe, g.GroupID) {
			out.ErrorCode, out.ErrorMessage = int16(kerr.GroupAuthorizationFailed), text(kerr.GroupAuthorizationFailed)
			refused = append(refused, out)
			return false
		}
		if g.Topics == nil {
			return true
		}
		topics, bad := split(g.Topics, func(t *kmsg.DescribeShareGroupOffsetsRequestGroupTopic) bool { return c.mayTopic(opDescribe, t.Topic) })
		for i := range bad {
			out.Topics = append(out.Topics, mirrorOf[kmsg.DescribeShareGroupOffsetsResponseGroupTopic](&bad[i], kerr.TopicAuthorizationFailed))
		}
		if len(bad) > 0 {
			pruned = true
			refused = append(refused, out)
		}
		g.Topics = topics
		return len(topics) > 0 || len(bad) == 0
	})
	if len(kept) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
		resp.Groups = refused
		return verdict{answer: resp}
	}
	pruned = pruned || len(kept) < len(req.Groups)
	req.Groups = kept
	return verdict{pruned: pruned, edit: edits(func(resp *kmsg.DescribeShareGroupOffsetsResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			g.Topics = slices.DeleteFunc(g.Topics, func(t kmsg.DescribeShareGroupOffsetsResponseGroupTopic) bool { return !c.seesTopic(t.Topic) })
		}
		for _, r := range refused {
			i := slices.IndexFunc(resp.Groups, func(g kmsg.DescribeShareGroupOffsetsResponseGroup) bool { return g.GroupID == r.GroupID })
			if i < 0 {
				resp.Groups = append(resp.Groups, r)
			} else if resp.Groups[i].ErrorCode == 0 {
				resp.Groups[i].Topics = append(resp.Groups[i].Topics, r.Topics...)
			}
		}
	})}
}
