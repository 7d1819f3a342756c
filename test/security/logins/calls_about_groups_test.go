package logins

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
)

// groupCall is about groups. A member that is not one changes nothing.
func groupCall(call iamtest.Call) (asked, bool) {
	groups := named(call, action.OnGroup)
	group := first(groups)
	switch call.API {
	case "FindCoordinator":
		req, on := kmsg.NewPtrFindCoordinatorRequest(), call.On[0]
		if on.Kind == action.OnTransactionalID {
			req.CoordinatorType = 1
		}
		req.CoordinatorKey, req.CoordinatorKeys = on.Name, []string{on.Name}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, found := range r.(*kmsg.FindCoordinatorResponse).Coordinators {
				c[on] = found.ErrorCode
			}
		}}, true
	case "JoinGroup":
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = group, 10000, 10000, "consumer"
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
		return asked{req, func(r kmsg.Response, c codes) { c.group(group, r.(*kmsg.JoinGroupResponse).ErrorCode) }}, true
	case "SyncGroup":
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = group, "nobody", 1
		return asked{req, func(r kmsg.Response, c codes) { c.group(group, r.(*kmsg.SyncGroupResponse).ErrorCode) }}, true
	case "Heartbeat":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = group, "nobody", 1
		return asked{req, func(r kmsg.Response, c codes) { c.group(group, r.(*kmsg.HeartbeatResponse).ErrorCode) }}, true
	case "LeaveGroup":
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.Members = group, []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
		return asked{req, func(r kmsg.Response, c codes) { c.group(group, r.(*kmsg.LeaveGroupResponse).ErrorCode) }}, true
	case "DescribeGroups":
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = groups
		return asked{req, func(r kmsg.Response, c codes) {
			for _, g := range r.(*kmsg.DescribeGroupsResponse).Groups {
				c.group(g.Group, g.ErrorCode)
			}
		}}, true
	case "DeleteGroups":
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = groups
		return asked{req, func(r kmsg.Response, c codes) {
			for _, g := range r.(*kmsg.DeleteGroupsResponse).Groups {
				c.group(g.Group, g.ErrorCode)
			}
		}}, true
	case "ListGroups":
		return asked{kmsg.NewPtrListGroupsRequest(), func(r kmsg.Response, c codes) {
			for _, g := range groups { // those that are not told are refused
				c.group(g, refusal(action.OnGroup))
			}
			for _, g := range r.(*kmsg.ListGroupsResponse).Groups {
				c.group(g.Group, 0)
			}
		}}, true
	}
	return asked{}, false
}

// makeGroups makes the groups of a call: nothing is listed that is not there.
func (r *tableRun) makeGroups(call iamtest.Call) {
	for _, name := range named(call, action.OnGroup) {
		req := commit(name, "kept")
		resp, err := req.RequestWith(r.deadline(), r.super.Client)
		must(r.t, err)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			r.t.Fatalf("group %s: %d", name, code)
		}
	}
}

func commit(group string, topics ...string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	for _, name := range topics {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}})
	}
	return req
}

// offsetCall is about the offsets of groups.
func offsetCall(call iamtest.Call) (asked, bool) {
	topics, group := named(call, action.OnTopic), first(named(call, action.OnGroup))
	switch call.API {
	case "OffsetCommit":
		return asked{commit(group, topics...), func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.OffsetCommitResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "OffsetFetch":
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = group
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: name, Partitions: []int32{0}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			resp := r.(*kmsg.OffsetFetchResponse)
			if resp.ErrorCode != 0 {
				c.group(group, resp.ErrorCode)
				return
			}
			for _, t := range resp.Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "OffsetDelete":
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			resp := r.(*kmsg.OffsetDeleteResponse)
			if resp.ErrorCode != 0 || len(resp.Topics) == 0 {
				c.group(group, resp.ErrorCode)
				return
			}
			for _, t := range resp.Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	}
	return asked{}, false
}
