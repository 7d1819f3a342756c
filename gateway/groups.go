package gateway

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// groupRules are the keys about consumer groups and their offsets; offsets.go has the longer ones.
func groupRules(reading, changing adder) {
	reading(kmsg.JoinGroup, 0, 9, oneGroup(opRead, func(q *kmsg.JoinGroupRequest) string { return q.Group }))
	reading(kmsg.SyncGroup, 0, 5, oneGroup(opRead, func(q *kmsg.SyncGroupRequest) string { return q.Group }))
	reading(kmsg.Heartbeat, 0, 4, oneGroup(opRead, func(q *kmsg.HeartbeatRequest) string { return q.Group }))
	reading(kmsg.LeaveGroup, 0, 5, oneGroup(opRead, func(q *kmsg.LeaveGroupRequest) string { return q.Group }))
	reading(kmsg.OffsetCommit, 2, 10, on(offsetCommit))
	reading(kmsg.OffsetFetch, 1, 9, on(offsetFetch)) // from 10 on an answer for all topics has ids without names
	changing(kmsg.OffsetDelete, 0, 0, on(offsetDelete))
	reading(kmsg.ListGroups, 0, 5, on(listGroups))
	reading(kmsg.DescribeGroups, 0, 6, on(describeGroups))
	changing(kmsg.DeleteGroups, 0, 2, func(_ context.Context, c *call, r kmsg.Request) verdict {
		req := r.(*kmsg.DeleteGroupsRequest)
		return pruneNames(c, req, &req.Groups, opDelete, func(group string) kmsg.DeleteGroupsResponseGroup {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = group, int16(kerr.GroupAuthorizationFailed)
			return g
		}, func(r *kmsg.DeleteGroupsResponse) *[]kmsg.DeleteGroupsResponseGroup { return &r.Groups })
	})
	reading(kmsg.ConsumerGroupHeartbeat, 0, 1, on(consumerGroupHeartbeat))
	reading(kmsg.ConsumerGroupDescribe, 0, 1, on(consumerGroupDescribe))
}

// oneGroup is the rule of keys about one group and nothing else.
func oneGroup[Q kmsg.Request](op kmsg.ACLOperation, group func(Q) string) rule {
	return on(func(_ context.Context, c *call, req Q) verdict {
		if c.mayGroup(op, group(req)) {
			return verdict{}
		}
		v := topError(req, kerr.GroupAuthorizationFailed)
		if join, ok := v.answer.(*kmsg.JoinGroupResponse); ok {
			join.Generation = -1
			if c.version < 7 {
				join.Protocol = new(string)
			}
		}
		return v
	})
}

// pruneNames is pruneTopics for requests that list the names of groups.
func pruneNames[R kmsg.Response, RT any](
	c *call, req kmsg.Request, names *[]string, op kmsg.ACLOperation, refusal func(string) RT, out func(R) *[]RT,
) verdict {
	var more []RT
	kept, _ := split(*names, func(name *string) bool {
		if c.mayGroup(op, *name) {
			return true
		}
		more = append(more, refusal(*name))
		return false
	})
	if len(more) == 0 {
		return verdict{}
	}
	if len(kept) == 0 {
		resp := kmsg.ResponseForKey(req.Key())
		*out(resp.(R)) = more
		return verdict{answer: resp}
	}
	*names = kept
	return verdict{pruned: true, edit: edits(func(r R) { *out(r) = append(*out(r), more...) })}
}

// listGroups needs DESCRIBE on the cluster for all, and tells otherwise of the groups that may be described.
func listGroups(_ context.Context, c *call, _ *kmsg.ListGroupsRequest) verdict {
	if c.seesCluster(opDescribe) {
		return verdict{}
	}
	return verdict{edit: edits(func(resp *kmsg.ListGroupsResponse) {
		resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool {
			return !c.sees(opDescribe, kmsg.ACLResourceTypeGroup, g.Group)
		})
	})}
}

func describeGroups(_ context.Context, c *call, req *kmsg.DescribeGroupsRequest) verdict {
	ops := req.IncludeAuthorizedOperations
	v := pruneNames(c, req, &req.Groups, opDescribe, func(group string) kmsg.DescribeGroupsResponseGroup {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode = group, int16(kerr.GroupAuthorizationFailed)
		return g
	}, func(r *kmsg.DescribeGroupsResponse) *[]kmsg.DescribeGroupsResponseGroup { return &r.Groups })
	if merge := v.edit; ops && v.answer == nil {
		v.edit = edits(func(resp *kmsg.DescribeGroupsResponse) {
			for i := range resp.Groups {
				g := &resp.Groups[i]
				g.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeGroup, g.Group)
			}
			if merge != nil {
				merge(resp)
			}
		})
	}
	return v
}

// consumerGroupHeartbeat needs READ on the group and DESCRIBE on the topics. A pattern is matched by the broker, so what matches and may
// not be described is taken out of the assignment.
func consumerGroupHeartbeat(_ context.Context, c *call, req *kmsg.ConsumerGroupHeartbeatRequest) verdict {
	if !c.mayGroup(opRead, req.Group) {
		return topError(req, kerr.GroupAuthorizationFailed)
	}
	for _, name := range req.SubscribedTopicNames {
		if !c.mayTopic(opDescribe, name) {
			return topError(req, kerr.TopicAuthorizationFailed)
		}
	}
	return verdict{edit: edits(func(resp *kmsg.ConsumerGroupHeartbeatResponse) {
		if resp.Assignment == nil {
			return
		}
		resp.Assignment.Topics = slices.DeleteFunc(resp.Assignment.Topics, func(t kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic) bool {
			return c.hidden(t.TopicID)
		})
	})}
}

// hidden says that a topic id in an answer is known to be of a topic that may not be described. An id alone tells nothing, and what it
// stands for is asked about again when it is used.
func (c *call) hidden(id [16]byte) bool {
	name, ok := c.g.names.get(id)
	return ok && !c.sees(opDescribe, kmsg.ACLResourceTypeTopic, name)
}

const hiddenTopics = "The group has described topic(s) that the client is not authorized to describe."

func consumerGroupDescribe(_ context.Context, c *call, req *kmsg.ConsumerGroupDescribeRequest) verdict {
	ops := req.IncludeAuthorizedOperations
	v := pruneNames(c, req, &req.Groups, opDescribe, func(group string) kmsg.ConsumerGroupDescribeResponseGroup {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group, g.ErrorCode = group, int16(kerr.GroupAuthorizationFailed)
		return g
	}, func(r *kmsg.ConsumerGroupDescribeResponse) *[]kmsg.ConsumerGroupDescribeResponseGroup {
		return &r.Groups
	})
	if v.answer != nil {
		return v
	}
	merge := v.edit
	v.edit = edits(func(resp *kmsg.ConsumerGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if ops {
				g.AuthorizedOperations = c.operations(kmsg.ACLResourceTypeGroup, g.Group)
			}
			secret := slices.ContainsFunc(g.Members, func(m kmsg.ConsumerGroupDescribeResponseGroupMember) bool {
				return c.hidesAny(m.Assignment) || c.hidesAny(m.TargetAssignment)
			})
			if secret {
				words := hiddenTopics
				g.ErrorCode, g.ErrorMessage = int16(kerr.TopicAuthorizationFailed), &words
				g.Members = []kmsg.ConsumerGroupDescribeResponseGroupMember{}
			}
		}
		if merge != nil {
			merge(resp)
		}
	})
	return v
}

func (c *call) hidesAny(a kmsg.Assignment) bool {
	return slices.ContainsFunc(a.TopicPartitions, func(t kmsg.AssignmentTopicPartition) bool { return !c.seesTopic(t.Topic) })
}
