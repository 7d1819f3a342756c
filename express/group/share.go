package group

import (
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/express/group/shares"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// ShareWork is what the share coordinator must do for a share group; ShareInitialized tells how it ended.
type ShareWork struct {
	Group      string
	Initialize []shares.Initialize
}

// TakeShareWork returns what has come up since the last call.
func (m *Machine) TakeShareWork() []ShareWork {
	out := m.initialize
	m.initialize = nil
	return out
}

func (m *Machine) shareEnv(group string) shares.Env {
	return shares.Env{Now: m.now, Topics: m.topics, Config: m.limits.shareOf(group)}
}

// shareGroup finds a share group; what is wrong is a *modern.Error.
func (m *Machine) shareGroup(name string) (*group, *shares.Group, error) {
	g := m.groups[name]
	if g == nil || g.state == Dead {
		return nil, nil, &modern.Error{Code: kerr.GroupIDNotFound, Text: "Group " + name + " not found."}
	}
	k, ok := g.kind.(*shares.Group)
	if !ok {
		return nil, nil, &modern.Error{Code: kerr.GroupIDNotFound, Text: "Group " + name + " is not a share group."}
	}
	return g, k, nil
}

// shareGroupOrNew is shareGroup, and a new group where there is none: g is nil then, until m.keep.
func (m *Machine) shareGroupOrNew(name string) (*group, *shares.Group, error) {
	switch g := m.groups[name]; {
	case g == nil && len(m.groups) >= m.limits.MaxGroups:
		return nil, nil, kerr.GroupMaxSizeReached
	case g == nil:
		return nil, shares.New(name), nil
	default:
		return m.shareGroup(name)
	}
}

// keep takes a new group in.
func (m *Machine) keep(g *group, k *shares.Group) *group {
	if g == nil {
		g = newGroup(k.ID(), m.now.UnixMilli())
		g.kind = k
		m.groups[g.name] = g
	}
	return g
}

// ShareGroupHeartbeat handles version 1. The answer waits until everything is durable that it shows. Nothing of req is kept.
func (m *Machine) ShareGroupHeartbeat(now time.Time, t Ticket, c Client, req *kmsg.ShareGroupHeartbeatRequest) Effects {
	m.now = now
	g, r, err := m.shareHeartbeat(c, req)
	if err != nil {
		m.reply(t, shareHeartbeatError(err))
		return m.take()
	}
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response { return shareHeartbeatError(code) })
	return m.take()
}

func shareHeartbeatError(err error) *kmsg.ShareGroupHeartbeatResponse {
	r := kmsg.NewPtrShareGroupHeartbeatResponse()
	r.ErrorCode, r.ErrorMessage = errorText(err)
	return r
}

func (m *Machine) shareHeartbeat(c Client, req *kmsg.ShareGroupHeartbeatRequest) (*group, *kmsg.ShareGroupHeartbeatResponse, error) {
	if err := shares.Check(req); err != nil {
		return nil, nil, err
	}
	find := m.shareGroup
	if shares.Joins(req) {
		find = m.shareGroupOrNew
	}
	g, k, err := find(req.GroupID)
	if err != nil {
		return nil, nil, err
	}
	r, change, err := k.Heartbeat(m.shareEnv(req.GroupID), c, req)
	if err != nil {
		return nil, nil, err
	}
	if err := m.fits(ofKind(req.GroupID, change.Records)); err != nil {
		return nil, nil, err
	}
	g = m.keep(g, k)
	m.enactShare(g, k, change)
	return g, r, nil
}

// enactShare does what an event made of a share group. Initializing is asked for once the records are durable.
func (m *Machine) enactShare(g *group, k *shares.Group, c shares.Change) {
	epoch := k.Epoch()
	k.Apply(c)
	m.setTimers(g, c.Timers)
	if records := ofKind(g.name, c.Records); len(records) > 0 {
		m.logAhead(g, records)
	}
	if len(c.Initialize) > 0 {
		m.afterShare(g, func() { m.initialize = append(m.initialize, ShareWork{g.name, c.Initialize}) })
	}
	if k.Epoch() != epoch {
		m.tellKind(g, "group has a new epoch", slog.Int("epoch", int(k.Epoch())), slog.Int("members", k.Len()))
	}
}

// afterShare does something once everything is durable that the group shows.
func (m *Machine) afterShare(g *group, f func()) {
	a := m.appends[g.last]
	if a == nil {
		f()
		return
	}
	a.done = append(a.done, func(code kerr.Code) {
		if code == kerr.None {
			f()
		}
	})
}

// expireShare takes a member out that is too late.
func (m *Machine) expireShare(g *group, k *shares.Group, t *timer) {
	if k.Member(t.key.member) == nil {
		return
	}
	m.tellKind(g, "member failed", slog.String("member", t.key.member), slog.String("reason", "session expired"))
	m.enactShare(g, k, k.Fence(m.shareEnv(g.name), t.key.member))
}

// replayShare takes in a record of a share group.
func (m *Machine) replayShare(r machine.Record) error {
	name, record, err := shares.Decode(r)
	if err != nil {
		return corrupt(err)
	}
	g := m.groups[name]
	if g == nil {
		if r.Value == nil {
			return nil
		}
		g = newGroup(name, -1)
		m.groups[name] = g
	}
	k, ok := g.kind.(*shares.Group)
	if !ok {
		if r.Value == nil {
			return nil
		}
		k = shares.New(name)
		g.logged = false
		m.become(g, k)
	}
	k.Replay(record)
	if k.Bare() {
		m.become(g, nil)
		m.forgetBare(g)
	}
	return nil
}

// ShareInitialized tells that share-partitions of a group were initialized, or could not be.
func (m *Machine) ShareInitialized(now time.Time, name string, partitions []topic.Partition, ok bool) Effects {
	m.now = now
	if g, k, err := m.shareGroup(name); err == nil {
		m.enactShare(g, k, k.Initialized(m.shareEnv(name), partitions, ok))
	}
	return m.take()
}

// ShareGroupDescribe handles one group of the request of version 1. The answer waits until everything is durable that it shows.
func (m *Machine) ShareGroupDescribe(now time.Time, t Ticket, name string) Effects {
	m.now = now
	r := kmsg.NewPtrShareGroupDescribeResponse()
	refuse := func(err error) kmsg.Response {
		d := kmsg.NewShareGroupDescribeResponseGroup()
		d.GroupID = name
		d.ErrorCode, d.ErrorMessage = errorText(err)
		r.Groups = []kmsg.ShareGroupDescribeResponseGroup{d}
		return r
	}
	g, k, err := m.shareGroup(name)
	if err != nil {
		m.reply(t, refuse(err))
		return m.take()
	}
	r.Groups = append(r.Groups, k.Describe(m.topics))
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response { return refuse(code) })
	return m.take()
}

// SharePartitions are the initialized share-partitions of a group; none if it is not a share group.
func (m *Machine) SharePartitions(name string) modern.Partitions {
	if _, k, err := m.shareGroup(name); err == nil {
		return k.Partitions()
	}
	return nil
}

// AlterShareGroupOffsets begins to handle version 0. What out then says must be initialized, unless the answer is an error, and
// its outcome told by ShareInitialized.
func (m *Machine) AlterShareGroupOffsets(now time.Time, t Ticket, req *kmsg.AlterShareGroupOffsetsRequest, out *[]shares.Initialize) Effects {
	m.now = now
	refuse := func(err error) kmsg.Response {
		r := kmsg.NewPtrAlterShareGroupOffsetsResponse()
		r.ErrorCode, r.ErrorMessage = errorText(err)
		return r
	}
	g, k, err := m.shareGroupOrNew(req.GroupID)
	if err != nil {
		m.reply(t, refuse(err))
		return m.take()
	}
	topics, change, err := k.Alter(m.shareEnv(req.GroupID), req.Topics)
	if err != nil {
		m.reply(t, refuse(err))
		return m.take()
	}
	r := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	r.Topics = topics
	if len(change.Records) == 0 {
		m.reply(t, r)
		return m.take()
	}
	*out = change.Initialize
	change.Initialize = nil
	g = m.keep(g, k)
	m.enactShare(g, k, change)
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response {
		*out = nil
		return refuse(code)
	})
	return m.take()
}

// DeleteShareState begins to delete the state of a share group, of the named topics or all (nil). What out then says must be
// deleted, unless the answer is an error, and ShareStateDeleted told of topics that are gone. A group that is not a share group
// has none.
func (m *Machine) DeleteShareState(now time.Time, t Ticket, name string, topics []string, out *modern.Partitions) Effects {
	m.now = now
	refuse := func(err error) kmsg.Response {
		r := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
		r.ErrorCode, r.ErrorMessage = errorText(err)
		return r
	}
	g, k, err := m.shareGroup(name)
	if err != nil {
		m.reply(t, refuse(err))
		return m.take()
	}
	partitions, refused, change, err := k.Delete(m.shareEnv(name), topics)
	if err != nil {
		m.reply(t, refuse(err))
		return m.take()
	}
	r := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	r.Topics = refused
	*out = partitions
	m.enactShare(g, k, change)
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response {
		*out = nil
		return refuse(code)
	})
	return m.take()
}

// ShareStateDeleted tells that the state of some topics of a group is gone. The answer, without content, waits until that is
// durable.
func (m *Machine) ShareStateDeleted(now time.Time, t Ticket, name string, ids []topic.ID) Effects {
	m.now = now
	r := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	g, k, err := m.shareGroup(name)
	if err != nil {
		m.reply(t, r)
		return m.take()
	}
	m.enactShare(g, k, k.Deleted(m.shareEnv(name), ids))
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response {
		r.ErrorCode = int16(code)
		return r
	})
	return m.take()
}

// ShareTopicDeleted makes share groups forget a topic.
func (m *Machine) ShareTopicDeleted(now time.Time, id topic.ID) Effects {
	m.now = now
	for _, name := range slices.Clone(m.names()) {
		if g, k, err := m.shareGroup(name); err == nil {
			if change := k.TopicDeleted(m.shareEnv(name), id); len(change.Records) > 0 {
				m.enactShare(g, k, change)
			}
		}
	}
	return m.take()
}
