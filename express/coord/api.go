package coord

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/kafka/kerr"
)

// JoinGroup handles versions 0 to 9 and may block for a whole rebalance. When ctx ends first, the member stays in the group
// as if its connection had broken.
func (c *Coordinator) JoinGroup(
	ctx context.Context, clientID, clientHost string, req *kmsg.JoinGroupRequest,
) *kmsg.JoinGroupResponse {
	client := group.Client{ID: clientID, Host: clientHost}
	r, code := callNamed[*kmsg.JoinGroupResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.JoinGroup(now, t, client, req)
		})
	if code != kerr.None {
		r = kmsg.NewPtrJoinGroupResponse()
		r.MemberID = req.MemberID
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// SyncGroup handles versions 0 to 5. It blocks until the leader's assignment is durable.
func (c *Coordinator) SyncGroup(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	r, code := callNamed[*kmsg.SyncGroupResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects { return m.SyncGroup(now, t, req) })
	if code != kerr.None {
		r = kmsg.NewPtrSyncGroupResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// Heartbeat handles versions 0 to 4.
func (c *Coordinator) Heartbeat(ctx context.Context, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	r, code := callNamed[*kmsg.HeartbeatResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects { return m.Heartbeat(now, t, req) })
	if code == kerr.CoordinatorLoadInProgress {
		code, r = kerr.None, kmsg.NewPtrHeartbeatResponse() // all sessions begin anew once it is loaded
	}
	if code != kerr.None {
		r = kmsg.NewPtrHeartbeatResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// LeaveGroup handles versions 0 to 5.
func (c *Coordinator) LeaveGroup(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	r, code := callNamed[*kmsg.LeaveGroupResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects { return m.LeaveGroup(now, t, req) })
	if code != kerr.None {
		r = kmsg.NewPtrLeaveGroupResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// OffsetDelete handles version 0.
func (c *Coordinator) OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	r, code := callNamed[*kmsg.OffsetDeleteResponse](ctx, c.Runtime, req.Group,
		func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
			return m.OffsetDelete(now, t, req)
		})
	if code != kerr.None {
		r = kmsg.NewPtrOffsetDeleteResponse()
		r.ErrorCode = int16(code)
	}
	r.Version = req.Version
	return r
}

// ListGroups handles versions 0 to 5: the groups of the partitions loaded here, by name. While one of them is being loaded
// the answer is COORDINATOR_LOAD_IN_PROGRESS, so that no group seems to be missing.
func (c *Coordinator) ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	r := kmsg.NewPtrListGroupsResponse()
	r.Version = req.Version
	shards, code := c.loaded()
	for _, s := range shards {
		groups, failed := read(ctx, s, func(m *group.Machine) []kmsg.ListGroupsResponseGroup {
			return m.List(req.StatesFilter, req.TypesFilter)
		})
		if failed != kerr.None && failed != kerr.NotCoordinator {
			code = failed
		}
		r.Groups = append(r.Groups, groups...)
	}
	if code != kerr.None {
		r.ErrorCode, r.Groups = int16(code), nil
	}
	slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	return r
}

// DescribeGroups handles versions 0 to 6. It leaves the authorized operations to the caller.
func (c *Coordinator) DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	r := kmsg.NewPtrDescribeGroupsResponse()
	r.Version = req.Version
	for _, name := range req.Groups {
		s, code := c.shard(name)
		var d kmsg.DescribeGroupsResponseGroup
		if code == kerr.None {
			d, code = read(ctx, s, func(m *group.Machine) kmsg.DescribeGroupsResponseGroup {
				return m.Describe(name, req.Version)
			})
		}
		if code != kerr.None {
			d = kmsg.NewDescribeGroupsResponseGroup()
			d.Group = name
			d.ErrorCode = int16(code)
		}
		r.Groups = append(r.Groups, d)
	}
	return r
}

// DeleteGroups handles versions 0 to 2. The groups are deleted one after the other, each for itself.
func (c *Coordinator) DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	r := kmsg.NewPtrDeleteGroupsResponse()
	r.Version = req.Version
	for _, name := range req.Groups {
		if code := c.deleteShare(ctx, name); code != kerr.None {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = name, int16(code)
			r.Groups = append(r.Groups, g)
			continue
		}
		one, code := call[*kmsg.DeleteGroupsResponse](ctx, c.Runtime, name,
			func(m *group.Machine, now time.Time, t group.Ticket) group.Effects {
				return m.DeleteGroups(now, t, []string{name})
			})
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group = name
		g.ErrorCode = int16(code)
		if code == kerr.None {
			g = one.Groups[0]
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}
