package group

import (
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// consumerEnv is what an event of a consumer group needs.
func (m *Machine) consumerEnv(group string, mayDescribe func(string) bool) consumer.Env {
	return consumer.Env{
		Now: m.now, Topics: m.topics, Config: m.limits.consumerOf(group), MayDescribe: mayDescribe,
		NewID: func() string { return m.newID("") },
	}
}

// ConsumerGroupHeartbeat handles versions 0 and 1. The answer waits until everything is durable that it shows. mayDescribe
// says which topics the client may see, nil: all. Nothing of req is kept.
func (m *Machine) ConsumerGroupHeartbeat(
	now time.Time, t Ticket, c Client, req *kmsg.ConsumerGroupHeartbeatRequest, mayDescribe func(topic string) bool,
) Effects {
	m.now = now
	g, r, err := m.consumerHeartbeat(c, req, mayDescribe)
	if err != nil {
		m.reply(t, heartbeatError(err))
		return m.take()
	}
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response { return heartbeatError(code) })
	return m.take()
}

func heartbeatError(err error) *kmsg.ConsumerGroupHeartbeatResponse {
	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	r.ErrorCode, r.ErrorMessage = errorText(err)
	return r
}

func (m *Machine) consumerHeartbeat(
	c Client, req *kmsg.ConsumerGroupHeartbeatRequest, mayDescribe func(topic string) bool,
) (*group, *kmsg.ConsumerGroupHeartbeatResponse, error) {
	env := m.consumerEnv(req.Group, mayDescribe)
	if err := consumer.Check(req, env.Config); err != nil {
		return nil, nil, err
	}
	g := m.groups[req.Group]
	k, before, err := m.consumerGroup(g, env, req)
	if err != nil {
		return nil, nil, err
	}
	r, change, err := k.Heartbeat(env, c, req)
	if err != nil {
		return nil, nil, err
	}
	if err := m.fits(slices.Concat(before.records, ofKind(req.Group, change.Records))); err != nil && change.Classic == nil {
		return nil, nil, err
	}
	if g == nil {
		g = newGroup(req.Group, m.now.UnixMilli())
		m.groups[g.name] = g
	}
	if g.kind == nil {
		m.upgrade(g, k, before.timers)
	}
	m.enactConsumer(g, k, before.records, change)
	if change.Refresh {
		m.enactConsumer(g, k, nil, k.Refresh(env))
	}
	return g, r, nil
}

// conversion is what makes a consumer group of a classic one, besides the group itself.
type conversion struct {
	records []Record
	timers  []modern.TimerOp
}

// consumerGroup finds the group that a heartbeat is for, or makes one, of a classic group if there is one. It changes
// nothing. g may be nil.
func (m *Machine) consumerGroup(g *group, env consumer.Env, req *kmsg.ConsumerGroupHeartbeatRequest) (*consumer.Group, conversion, error) {
	joins := consumer.Joins(req)
	switch {
	case g == nil && !joins:
		return nil, conversion{}, &modern.Error{Code: kerr.GroupIDNotFound, Text: "Consumer group " + req.Group + " not found."}
	case g == nil && len(m.groups) >= m.limits.MaxGroups:
		return nil, conversion{}, kerr.GroupMaxSizeReached
	case g == nil:
		return consumer.New(req.Group), conversion{}, nil
	case g.state == Dead:
		return nil, conversion{}, kerr.CoordinatorNotAvailable
	}
	if k, ok := g.kind.(*consumer.Group); ok {
		return k, conversion{}, nil
	}
	if g.kind != nil || !joins {
		return nil, conversion{}, &modern.Error{Code: kerr.GroupIDNotFound, Text: "Group " + req.Group + " is not a consumer group."}
	}
	var out conversion
	if g.logged || g.appending > 0 {
		out.records = []Record{groupTombstone(g.name)}
	}
	if g.state == Empty {
		return consumer.New(req.Group), out, nil
	}
	if g.protocolType != consumerType {
		return nil, conversion{}, &modern.Error{Code: kerr.GroupIDNotFound, Text: "Cannot upgrade classic group " + req.Group +
			" to consumer group because the group does not use the consumer embedded protocol."}
	}
	k, change, err := consumer.FromClassic(g.toConsumer(), env)
	if err != nil {
		return nil, conversion{}, err
	}
	out.records = append(out.records, ofKind(g.name, change.Records)...)
	out.timers = change.Timers
	return k, out, nil
}

// toConsumer is a classic group as a consumer group wants to see it.
func (g *group) toConsumer() *consumer.ClassicGroup {
	c := &consumer.ClassicGroup{ID: g.name, Generation: g.generation}
	for _, mem := range g.order {
		cm := consumer.ClassicMember{
			ID: mem.id, Instance: mem.instance, Client: mem.client, Rebalance: mem.rebalance,
			Metadata: mem.metadata(g.protocol), Assignment: mem.assignment, Classic: consumer.Classic{Session: mem.session},
		}
		if g.protocol == "" && len(mem.protocols) > 0 { // the first rebalance has not ended
			cm.Metadata = mem.protocols[0].metadata
		}
		for _, p := range mem.protocols {
			cm.Classic.Protocols = append(cm.Classic.Protocols, consumer.Protocol{Name: p.name, Metadata: p.metadata})
		}
		c.Members = append(c.Members, cm)
	}
	return c
}

// upgrade makes a classic group, or one that nobody knew, a consumer group. Who waits in a rebalance must join again.
func (m *Machine) upgrade(g *group, k *consumer.Group, timers []modern.TimerOp) {
	for _, mem := range g.order {
		m.answerJoin(g, mem, joinError(mem.id, kerr.RebalanceInProgress))
		m.answerSync(mem, syncError(kerr.RebalanceInProgress))
		m.timers.cancel(sessionKey(g, mem.id))
	}
	if len(g.order) > 0 {
		m.tellKind(g, "classic group became a consumer group", slog.Int("members", len(g.order)))
	}
	m.become(g, k)
	m.setTimers(g, timers)
}

// enactConsumer does what an event made of a consumer group, after the records of what came before in the same event.
func (m *Machine) enactConsumer(g *group, k *consumer.Group, before []Record, c consumer.Change) {
	epoch := k.Epoch()
	k.Apply(c)
	m.setTimers(g, c.Timers)
	records := slices.Concat(before, ofKind(g.name, c.Records))
	if c.Classic != nil {
		m.downgrade(g, c.Classic, records)
		return
	}
	if len(records) > 0 {
		m.logAhead(g, records)
	}
	if k.Epoch() != epoch {
		m.tellKind(g, "group has a new epoch", slog.Int("epoch", int(k.Epoch())), slog.Int("members", k.Len()))
	}
}

// downgrade makes a consumer group classic again; records end with the tombstones of what it was.
func (m *Machine) downgrade(g *group, c *consumer.ClassicGroup, records []Record) {
	m.become(g, nil)
	for i := range c.Members {
		cm := &c.Members[i]
		mem := &member{
			id: cm.ID, instance: cm.Instance, client: cm.Client, session: cm.Classic.Session, rebalance: cm.Rebalance,
			assignment: cm.Assignment,
		}
		for _, p := range cm.Classic.Protocols {
			mem.protocols = append(mem.protocols, protocol{name: p.Name, metadata: p.Metadata})
		}
		g.add(mem, consumerType)
	}
	g.state, g.generation, g.protocol = Stable, c.Generation, g.vote()
	g.topics = g.subscriptions()
	m.logAhead(g, append(records, g.record(g.assignments())))
	for _, mem := range g.order {
		m.touch(g, mem)
	}
	m.tellKind(g, "consumer group became a classic group", slog.Int("members", len(g.order)))
	if c.Rebalance {
		m.prepare(g, "the last member of the consumer protocol left")
	}
}

// expireConsumer takes a member out that is too late.
func (m *Machine) expireConsumer(g *group, k *consumer.Group, t *timer) {
	mem := k.Member(t.key.member)
	if mem == nil || t.key.timer == modern.Rebalance && mem.Epoch != t.generation {
		return
	}
	reason := [...]string{"session expired", "did not give up partitions in time", "did not rejoin in time", "did not sync in time"}
	m.tellKind(g, "member failed", slog.String("member", mem.ID), slog.String("reason", reason[t.key.timer]))
	m.enactConsumer(g, k, nil, k.Fence(m.consumerEnv(g.name, nil), mem.ID))
}

// ConsumerGroupDescribe answers for one group, with a *kmsg.ConsumerGroupDescribeResponse, when what it shows is durable.
func (m *Machine) ConsumerGroupDescribe(now time.Time, t Ticket, name string) Effects {
	m.now = now
	r := kmsg.NewPtrConsumerGroupDescribeResponse()
	refuse := func(err error) kmsg.Response {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		d.Group = name
		d.ErrorCode, d.ErrorMessage = errorText(err)
		r.Groups = []kmsg.ConsumerGroupDescribeResponseGroup{d}
		return r
	}
	g := m.groups[name]
	if g == nil || g.state == Dead {
		m.reply(t, refuse(&modern.Error{Code: kerr.GroupIDNotFound, Text: "Group " + name + " not found."}))
		return m.take()
	}
	k, ok := g.kind.(*consumer.Group)
	if !ok {
		m.reply(t, refuse(&modern.Error{Code: kerr.GroupIDNotFound, Text: "Group " + name + " is not a consumer group."}))
		return m.take()
	}
	r.Groups = append(r.Groups, k.Describe(m.consumerEnv(name, nil)))
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response { return refuse(code) })
	return m.take()
}

// replayConsumer takes in a record of a consumer group.
func (m *Machine) replayConsumer(r machine.Record) error {
	name, record, err := consumer.Decode(r)
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
	k, ok := g.kind.(*consumer.Group)
	if !ok {
		if r.Value == nil {
			return nil
		}
		k = consumer.New(name)
		g.logged = false
		m.become(g, k)
	}
	k.Replay(record)
	if k.Bare() {
		g.kind = nil
		m.forgetBare(g)
	}
	return nil
}

// joinConsumer handles the JoinGroup of a member that uses the classic protocol in a consumer group.
func (m *Machine) joinConsumer(g *group, k *consumer.Group, j *joining) {
	r, change, err := k.JoinGroup(m.consumerEnv(g.name, nil), j.client, j.req)
	if err == nil && change.Classic == nil {
		err = m.fits(ofKind(g.name, change.Records))
	}
	if err != nil {
		m.reply(j.ticket, joinError(j.req.MemberID, kerr.Of(err)))
		return
	}
	m.enactConsumer(g, k, nil, change)
	if change.Refresh {
		m.enactConsumer(g, k, nil, k.Refresh(m.consumerEnv(g.name, nil)))
	}
	m.afterLog(g, j.ticket, r, func(code kerr.Code) kmsg.Response { return joinError(j.req.MemberID, code) })
}

// syncConsumer handles its SyncGroup.
func (m *Machine) syncConsumer(g *group, k *consumer.Group, t Ticket, req *kmsg.SyncGroupRequest) kerr.Code {
	r, change, err := k.SyncGroup(m.consumerEnv(g.name, nil), req)
	if err != nil {
		return kerr.Of(err)
	}
	m.enactConsumer(g, k, nil, change)
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response { return syncError(code) })
	return kerr.None
}

// heartbeatConsumer handles its Heartbeat.
func (m *Machine) heartbeatConsumer(g *group, k *consumer.Group, t Ticket, req *kmsg.HeartbeatRequest) {
	fail := func(code kerr.Code) kmsg.Response {
		r := kmsg.NewPtrHeartbeatResponse()
		r.ErrorCode = int16(code)
		return r
	}
	r, change, err := k.ClassicHeartbeat(m.consumerEnv(g.name, nil), req)
	if err != nil {
		m.reply(t, fail(kerr.Of(err)))
		return
	}
	m.enactConsumer(g, k, nil, change)
	m.afterLog(g, t, r, fail)
}

// leaveConsumer handles LeaveGroup.
func (m *Machine) leaveConsumer(
	g *group, k *consumer.Group, t Ticket, members []kmsg.LeaveGroupRequestMember, version int16,
) {
	r, change := k.LeaveGroup(m.consumerEnv(g.name, nil), members)
	if version < leaveBatched {
		r.ErrorCode, r.Members = r.Members[0].ErrorCode, nil
	}
	m.enactConsumer(g, k, nil, change)
	m.afterLog(g, t, r, func(code kerr.Code) kmsg.Response {
		failed := kmsg.NewPtrLeaveGroupResponse()
		failed.ErrorCode = int16(code)
		return failed
	})
}

// toClassic makes an empty group of a newer protocol a classic one, for a member that joins it. It reports whether it was.
func (m *Machine) toClassic(g *group) bool {
	if g.kind == nil {
		return true
	}
	if _, ok := g.kind.(*consumer.Group); !ok || g.kind.Len() > 0 {
		return false
	}
	records := g.kindTombstones()
	m.become(g, nil)
	m.logAhead(g, records)
	return true
}

// kindTombstones take what the group is, besides offsets, out of the log.
func (g *group) kindTombstones() []Record {
	if g.kind == nil {
		return nil
	}
	var records []Record
	for _, r := range g.kind.Tombstones() {
		records = append(records, Record{Record: r, ofKind: true})
	}
	return records
}
