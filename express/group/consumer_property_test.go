package group

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/group/consumer"
	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// cluster is topics that come, grow and go.
type cluster struct {
	topics  map[string]modern.Topic
	version int64
	made    byte
}

func (c *cluster) TopicByName(name string) (modern.Topic, bool) {
	t, ok := c.topics[name]
	return t, ok
}
func (c *cluster) TopicNames() iter.Seq[string] { return maps.Keys(c.topics) }
func (c *cluster) TopicsVersion() int64         { return c.version }
func (c *cluster) TopicByID(id topic.ID) (modern.Topic, bool) {
	for _, t := range c.topics {
		if t.ID == id {
			return t, true
		}
	}
	return modern.Topic{}, false
}

// set makes, grows or, with 0 partitions, deletes a topic.
func (c *cluster) set(name string, partitions int32) {
	t, ok := c.topics[name]
	switch {
	case partitions == 0:
		delete(c.topics, name)
	case !ok:
		c.made++
		c.topics[name] = modern.Topic{Name: name, ID: topic.ID{0: c.made, 15: 1}, Partitions: partitions}
	case partitions > t.Partitions:
		t.Partitions = partitions
		c.topics[name] = t
	default:
		return
	}
	c.version++
}

// app is one process of the application: it behaves as the protocols ask, but may be slow, lose answers, and repeat itself.
type app struct {
	n        int
	classic  bool
	instance string
	topics   []string
	regex    string
	assignor string

	alive   bool
	id      string
	epoch   int32                    // or generation; 0: not a member
	using   map[topic.Partition]bool // what it reads right now
	joined  bool                     // classic: has a JoinGroup answer, and must sync
	busy    bool                     // a request is on its way
	asks    int                      // counts requests, and stop: only the answer to the newest is heard
	heard   time.Time                // when the last request was sent that was answered well
	full    bool                     // the next heartbeat says everything
	sticky  bool                     // does not give up partitions for now
	pending []topic.Partition        // what it was told to give up and, being sticky, has not
	asked   time.Time                // when pending began
	members []kmsg.JoinGroupResponseMember
	leads   bool
}

const (
	appSession   = 10 * time.Second // of classic members
	appRebalance = 12 * time.Second
)

func (a *app) String() string { return fmt.Sprintf("app%d(%s@%d)", a.n, a.id, a.epoch) }

// stop is what an application does that has been told, or must assume, that it is not a member any more.
func (a *app) stop() {
	clear(a.using)
	a.asks++
	a.epoch, a.joined, a.pending, a.full = 0, false, nil, true
}

// play is a group of apps, a machine and its log.
type play struct {
	*rapid.T
	m       *Machine
	limits  Limits
	cluster *cluster
	config  consumer.Config
	apps    []*app
	now     time.Time
	ids     int
	last    Ticket
	open    map[Ticket]func(kmsg.Response) // nil: nobody listens any more
	queue   []machine.Append
	log     []machine.Record
	epoch   int32 // of the group, when it was last looked at
}

func newPlay(t *rapid.T) *play {
	p := &play{T: t, now: time.UnixMilli(1_700_000_000_000), open: map[Ticket]func(kmsg.Response){}}
	p.cluster = &cluster{topics: map[string]modern.Topic{}}
	p.cluster.set("a", 3)
	p.cluster.set("b", 2)
	p.config = consumer.DefaultConfig()
	p.config.AssignmentInterval = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "interval")
	p.config.MaxSize = rapid.SampledFrom([]int{3, 100}).Draw(t, "max size")
	p.limits = DefaultLimits()
	p.limits.InitialRebalanceDelay = 0
	p.limits.Consumer = func(string) consumer.Config { return p.config }
	p.m = p.machine()
	for n := range rapid.IntRange(1, 6).Draw(t, "apps") {
		a := &app{n: n, using: map[topic.Partition]bool{}, topics: []string{"a"}}
		a.classic = rapid.IntRange(0, 3).Draw(t, "classic") == 0
		if rapid.IntRange(0, 3).Draw(t, "static") == 0 {
			a.instance = fmt.Sprintf("i%d", n)
		}
		p.apps = append(p.apps, a)
	}
	return p
}

func (p *play) machine() *Machine {
	newID := func(string) string { p.ids++; return fmt.Sprintf("id-%03d", p.ids) }
	m := New(p.limits, newID, p.cluster)
	for _, r := range p.log {
		if err := m.Replay(r, nil); err != nil {
			p.Fatalf("replay: %v", err)
		}
	}
	return m
}

// send makes a ticket; then hears the answer, unless it is lost.
func (p *play) send(a *app, lossy bool, then func(kmsg.Response)) Ticket {
	p.last++
	a.busy = true
	a.asks++
	asked := a.asks
	if lossy && rapid.IntRange(0, 5).Draw(p.T, "lost") == 0 {
		p.open[p.last] = func(kmsg.Response) { a.busy, a.full = false, true }
		return p.last
	}
	p.open[p.last] = func(r kmsg.Response) {
		if a.busy = false; a.asks == asked {
			then(r)
		}
	}
	return p.last
}

func (p *play) effects(e Effects) {
	for _, r := range e.Replies {
		then, ok := p.open[r.Ticket]
		if !ok {
			p.Fatalf("ticket %d answered twice", r.Ticket)
		}
		delete(p.open, r.Ticket)
		then(r.Response)
	}
	p.queue = append(p.queue, e.Appends...)
	for _, n := range e.Notes {
		p.heed(n)
	}
}

// heed stops an app that the coordinator gives up on because it was too slow to give up partitions. The protocol does not tell
// it in time, if the answer was lost that told it to: that is a hole in Kafka's protocol, not in the coordinator.
func (p *play) heed(n machine.Note) {
	if n.Message != "member failed" || n.Attrs[2].Value.String() == "session expired" {
		return
	}
	for _, a := range p.apps {
		if a.id == n.Attrs[1].Value.String() {
			a.stop()
		}
	}
}

// settle lets the oldest append become durable; or fail, which kills what is ahead of it.
func (p *play) settle(ok bool) {
	if len(p.queue) == 0 {
		return
	}
	a := p.queue[0]
	if ok {
		p.queue = p.queue[1:]
		p.log = append(p.log, a.Records...)
		p.effects(p.m.Appended(p.now, a.ID, kerr.None))
		return
	}
	if !a.Ahead {
		p.queue = p.queue[1:]
		p.effects(p.m.Appended(p.now, a.ID, kerr.KafkaStorageError))
		return
	}
	p.reload()
}

// reload is a new coordinator on the durable log.
func (p *play) reload() {
	e := p.m.Close(p.now)
	e.Appends = nil
	p.effects(e)
	p.queue = nil
	p.m = p.machine()
	p.effects(p.m.Loaded(p.now))
}

func (p *play) group() *consumer.Group {
	if g := p.m.groups["g"]; g != nil {
		if k, ok := g.kind.(*consumer.Group); ok {
			return k
		}
	}
	return nil
}

// advance moves time on; whoever heard nothing for too long stops by itself, before the coordinator gives up on it.
func (p *play) advance(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(min(time.Second, end.Sub(p.now)))
		for _, a := range p.apps {
			limit := appRebalance
			if a.classic {
				limit = appSession
			}
			if a.epoch > 0 && p.now.Sub(a.heard) >= limit || len(a.pending) > 0 && p.now.Sub(a.asked) >= appRebalance {
				a.stop()
			}
		}
		p.effects(p.m.Advance(p.now))
	}
}

// act lets one app do its next step; a willing one does it well.
func (p *play) act(a *app, willing bool) {
	if a.busy && willing {
		return
	}
	a.alive = true
	switch {
	case a.classic && a.joined:
		p.sync(a, !willing)
	case a.classic && a.epoch > 0:
		p.classicHeartbeat(a, !willing)
	case a.classic:
		p.join(a, !willing)
	default:
		p.heartbeat(a, willing)
	}
}

func (p *play) heartbeat(a *app, willing bool) {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberEpoch = 1, "g", a.epoch
	if a.id == "" || a.epoch == 0 && a.instance != "" {
		p.ids++
		a.id = fmt.Sprintf("id-%03d", p.ids)
	}
	q.MemberID = a.id
	if a.instance != "" {
		q.InstanceID = &a.instance
	}
	if willing || !a.sticky {
		a.pending = nil // it has closed them meanwhile
	}
	full := a.epoch == 0 || a.full || rapid.IntRange(0, 3).Draw(p.T, "full") == 0
	if full {
		q.RebalanceTimeoutMillis = int32(appRebalance.Milliseconds())
		q.SubscribedTopicNames, q.SubscribedTopicRegex = slices.Clone(a.topics), &a.regex
		if a.assignor != "" {
			q.ServerAssignor = &a.assignor
		}
	}
	if full || willing || rapid.Bool().Draw(p.T, "owned") {
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if a.epoch > 0 {
			q.Topics = ownedTopics(a)
		}
	}
	sent := p.now
	t := p.send(a, !willing, func(r kmsg.Response) { p.heartbeatAnswer(a, sent, r.(*kmsg.ConsumerGroupHeartbeatResponse)) })
	p.effects(p.m.ConsumerGroupHeartbeat(p.now, t, Client{ID: "c", Host: "/h"}, q, nil))
}

func ownedTopics(a *app) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	out := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	all := slices.Clone(a.pending)
	for tp := range a.using {
		all = append(all, tp)
	}
	byTopic := map[topic.ID][]int32{}
	for _, tp := range all {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Index)
	}
	for id, indexes := range byTopic {
		out = append(out, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: indexes})
	}
	return out
}

func (p *play) heartbeatAnswer(a *app, sent time.Time, r *kmsg.ConsumerGroupHeartbeatResponse) {
	switch kerr.Code(r.ErrorCode) {
	case kerr.None:
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID:
		a.stop()
		return
	case kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.UnreleasedInstanceID, kerr.GroupMaxSizeReached, kerr.GroupIDNotFound,
		kerr.FencedInstanceID:
		a.full = true
		if kerr.Code(r.ErrorCode) == kerr.GroupIDNotFound || kerr.Code(r.ErrorCode) == kerr.FencedInstanceID {
			a.stop()
		}
		return
	default:
		p.Fatalf("%v got %s", a, kerr.Code(r.ErrorCode).Name())
	}
	if r.MemberEpoch < 0 {
		return
	}
	if a.epoch > 0 && r.MemberEpoch < a.epoch {
		p.Fatalf("%v: epoch %d", a, r.MemberEpoch)
	}
	a.full, a.heard, a.epoch = false, sent, r.MemberEpoch
	if r.Assignment == nil {
		return
	}
	want := map[topic.Partition]bool{}
	for _, t := range r.Assignment.Topics {
		for _, index := range t.Partitions {
			want[topic.Partition{Topic: t.TopicID, Index: index}] = true
		}
	}
	p.use(a, want, sent)
}

// use takes an assignment on: what is not in it goes first. A sticky app takes its time with that.
func (p *play) use(a *app, want map[topic.Partition]bool, sent time.Time) {
	for tp := range a.using {
		if !want[tp] {
			delete(a.using, tp)
			if a.sticky && !a.classic {
				if len(a.pending) == 0 {
					a.asked = sent
				}
				a.pending = append(a.pending, tp)
			}
		}
	}
	for tp := range want {
		a.using[tp] = true
	}
	a.pending = slices.DeleteFunc(a.pending, func(tp topic.Partition) bool { return a.using[tp] })
	p.exclusive()
}

// exclusive is N1 as the applications see it.
func (p *play) exclusive() {
	owner := map[topic.Partition]*app{}
	for _, a := range p.apps {
		for _, tp := range slices.Concat(slices.Collect(maps.Keys(a.using)), a.pending) {
			if other := owner[tp]; other != nil && other != a {
				p.Fatalf("%v is read by %v and %v", tp, other, a)
			}
			owner[tp] = a
		}
	}
}

func (p *play) join(a *app, lossy bool) {
	clear(a.using) // eager: it gives up everything before it joins
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType = 9, "g", a.id, consumerType
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = int32(appSession.Milliseconds()), int32(appRebalance.Milliseconds())
	if a.instance != "" {
		q.InstanceID = &a.instance
	}
	sub := kmsg.NewConsumerMemberMetadata()
	sub.Version, sub.Topics = 1, a.topics
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: sub.AppendTo(nil)}}
	sent := p.now
	t := p.send(a, lossy, func(r kmsg.Response) {
		j := r.(*kmsg.JoinGroupResponse)
		switch kerr.Code(j.ErrorCode) {
		case kerr.MemberIDRequired:
			a.id = j.MemberID
		case kerr.None:
			a.id, a.epoch, a.joined, a.heard = j.MemberID, j.Generation, true, sent
			a.leads, a.members = j.LeaderID == j.MemberID && !j.SkipAssignment, j.Members
		case kerr.UnknownMemberID, kerr.FencedInstanceID:
			a.stop()
			a.id = ""
		case kerr.RebalanceInProgress, kerr.NotCoordinator, kerr.GroupMaxSizeReached, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress:
		default:
			p.Fatalf("%v: join got %s", a, kerr.Code(j.ErrorCode).Name())
		}
	})
	p.effects(p.m.JoinGroup(p.now, t, Client{ID: "c", Host: "/h"}, q))
}

func (p *play) sync(a *app, lossy bool) {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID, q.Generation = "g", a.id, a.epoch
	if a.instance != "" {
		q.InstanceID = &a.instance
	}
	if a.leads {
		q.GroupAssignment = p.lead(a)
	}
	sent := p.now
	t := p.send(a, lossy, func(r kmsg.Response) {
		s := r.(*kmsg.SyncGroupResponse)
		switch kerr.Code(s.ErrorCode) {
		case kerr.None:
			a.joined, a.heard = false, sent
			if p.now.Sub(sent) >= appSession {
				return // too late to rely on it
			}
			v := kmsg.NewConsumerMemberAssignment()
			want := map[topic.Partition]bool{}
			if len(s.MemberAssignment) > 0 && v.ReadFrom(s.MemberAssignment) != nil {
				p.Fatalf("%v: assignment %q", a, s.MemberAssignment)
			}
			for _, t := range v.Topics {
				for _, index := range t.Partitions {
					want[topic.Partition{Topic: p.cluster.topics[t.Topic].ID, Index: index}] = true
				}
			}
			p.use(a, want, sent)
		case kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID:
			a.stop()
			if kerr.Code(s.ErrorCode) != kerr.IllegalGeneration {
				a.id = ""
			}
		default:
			a.joined, a.epoch = false, 0
		}
	})
	p.effects(p.m.SyncGroup(p.now, t, q))
}

// lead spreads the topics of a classic group over those who read them.
func (p *play) lead(a *app) []kmsg.SyncGroupRequestGroupAssignment {
	out := map[string]*kmsg.ConsumerMemberAssignment{}
	readers := map[string][]string{}
	for _, m := range a.members {
		sub := kmsg.NewConsumerMemberMetadata()
		if err := sub.ReadFrom(m.ProtocolMetadata); err != nil {
			p.Fatalf("metadata of %s: %v", m.MemberID, err)
		}
		v := kmsg.NewConsumerMemberAssignment()
		out[m.MemberID] = &v
		for _, name := range sub.Topics {
			readers[name] = append(readers[name], m.MemberID)
		}
	}
	for name, ids := range readers {
		for index := range p.cluster.topics[name].Partitions {
			v := out[ids[int(index)%len(ids)]]
			v.Topics = append(v.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: name, Partitions: []int32{index}})
		}
	}
	var list []kmsg.SyncGroupRequestGroupAssignment
	for id, v := range out {
		list = append(list, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: v.AppendTo(nil)})
	}
	return list
}

func (p *play) classicHeartbeat(a *app, lossy bool) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.Generation = "g", a.id, a.epoch
	if a.instance != "" {
		q.InstanceID = &a.instance
	}
	sent := p.now
	t := p.send(a, lossy, func(r kmsg.Response) {
		switch kerr.Code(r.(*kmsg.HeartbeatResponse).ErrorCode) {
		case kerr.None:
			a.heard = sent
		case kerr.RebalanceInProgress:
			a.stop()
		case kerr.NotCoordinator, kerr.CoordinatorNotAvailable:
		default:
			a.stop()
			a.id = ""
		}
	})
	p.effects(p.m.Heartbeat(p.now, t, q))
}

// leave ends an app in good order, or in none.
func (p *play) leave(a *app, crash bool) {
	if a.epoch > 0 && !crash && !a.classic {
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		q.Version, q.Group, q.MemberID, q.MemberEpoch = 1, "g", a.id, -1
		if a.instance != "" {
			q.InstanceID, q.MemberEpoch = &a.instance, rapid.SampledFrom([]int32{-1, -2}).Draw(p.T, "back soon")
		}
		clear(a.using)
		a.pending = nil
		p.effects(p.m.ConsumerGroupHeartbeat(p.now, p.send(a, false, func(kmsg.Response) {}), Client{}, q, nil))
	}
	if a.epoch > 0 && !crash && a.classic {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group = 5, "g"
		q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: a.id}}
		clear(a.using)
		p.effects(p.m.LeaveGroup(p.now, p.send(a, false, func(kmsg.Response) {}), q))
	}
	a.stop()
	a.alive, a.id = false, ""
}

// change makes an app read something else, or by another assignor.
func (p *play) change(a *app) {
	if a.epoch > 0 && a.classic {
		return
	}
	a.topics = slices.Clone(rapid.SampledFrom([][]string{{"a"}, {"a", "b"}, {"b", "c"}, {}}).Draw(p.T, "topics"))
	a.regex = ""
	if !a.classic {
		a.regex = rapid.SampledFrom([]string{"", "", "a|c", ".*"}).Draw(p.T, "regex")
		a.assignor = rapid.SampledFrom([]string{"", "uniform", "range"}).Draw(p.T, "assignor")
	}
	a.full = true
}

// check holds the state against N1 to N3.
func (p *play) check() {
	p.exclusive()
	k := p.group()
	if k == nil {
		p.epoch = 0
		return
	}
	if k.Epoch() < p.epoch && p.m.groups["g"].appending == 0 && k.Epoch() > 1 {
		p.Fatalf("the group's epoch went from %d to %d", p.epoch, k.Epoch())
	}
	owner := map[topic.Partition]string{}
	for m := range k.Members() {
		if m.Epoch > k.Epoch() {
			p.Fatalf("member %s is in epoch %d of %d", m.ID, m.Epoch, k.Epoch())
		}
		if m.State == consumer.UnrevokedPartitions && m.Classic == nil && m.Epoch >= 0 &&
			p.m.timers.byKey[timerKey{kind: kindTimer, group: "g", member: m.ID, timer: modern.Rebalance}] == nil {
			p.Fatalf("%s gives up partitions without a deadline", m.ID)
		}
		if p.m.timers.byKey[timerKey{kind: kindTimer, group: "g", member: m.ID, timer: modern.Session}] == nil {
			p.Fatalf("%s has no session", m.ID)
		}
		for _, owned := range []modern.Owned{m.Assigned, m.Revoking} {
			for id, indexes := range owned {
				for index := range indexes {
					tp := topic.Partition{Topic: id, Index: index}
					if owner[tp] != "" {
						p.Fatalf("%v is with %s and %s", tp, owner[tp], m.ID)
					}
					owner[tp] = m.ID
				}
			}
		}
	}
	if len(p.queue) == 0 {
		p.sameAfterReplay(k)
	}
}

// sameAfterReplay is N3.
func (p *play) sameAfterReplay(k *consumer.Group) {
	again := p.machine()
	g := again.groups["g"]
	if g == nil {
		if !k.Bare() {
			p.Fatalf("the group is lost")
		}
		return
	}
	other, ok := g.kind.(*consumer.Group)
	if !ok {
		p.Fatalf("after replay it is %T", g.kind)
	}
	env := p.m.consumerEnv("g", nil)
	if a, b := k.Describe(env), other.Describe(env); !reflect.DeepEqual(a, b) {
		p.Fatalf("\n%+v, after replay\n%+v", a, b)
	}
}

// TestConsumerProperties plays apps that come and go, change their minds, lose answers, stall and crash, with topics and a
// log that do likewise; and then has everybody behave, and expects order.
func TestConsumerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlay(t)
		some := func() *app { return p.apps[rapid.IntRange(0, len(p.apps)-1).Draw(t, "app")] }
		act := func(*rapid.T) { p.act(some(), rapid.IntRange(0, 2).Draw(t, "willing") > 0) }
		t.Repeat(map[string]func(*rapid.T){
			"act": act, "act2": act, "act3": act, "act4": act,
			"settle":  func(*rapid.T) { p.settle(true) },
			"settle2": func(*rapid.T) { p.settle(true) },
			"fail":    func(*rapid.T) { p.settle(rapid.IntRange(0, 3).Draw(t, "ok") > 0) },
			"leave":   func(*rapid.T) { p.leave(some(), rapid.Bool().Draw(t, "crash")) },
			"change":  func(*rapid.T) { p.change(some()) },
			"sticky":  func(*rapid.T) { a := some(); a.sticky = !a.sticky },
			"topic": func(*rapid.T) {
				p.cluster.set(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic"), rapid.Int32Range(0, 5).Draw(t, "partitions"))
			},
			"advance": func(*rapid.T) { p.advance(time.Duration(rapid.IntRange(0, 15).Draw(t, "s")) * time.Second) },
			"policy": func(*rapid.T) {
				p.config.Upgrade, p.config.Downgrade = rapid.Bool().Draw(t, "up"), rapid.Bool().Draw(t, "down")
			},
			"reload": func(*rapid.T) { p.reload() },
			"":       func(*rapid.T) { p.check() },
		})
		p.calm()
	})
}

// calm is N5: everybody behaves, and the group must come to rest with everything that is read in one hand each.
func (p *play) calm() {
	p.config.Upgrade, p.config.Downgrade, p.config.MaxSize = true, true, 100
	p.cluster.set("a", 4)
	for _, a := range p.apps {
		a.sticky = false
	}
	for range 120 {
		for _, a := range p.apps {
			if a.alive {
				p.act(a, true)
			}
			for len(p.queue) > 0 {
				p.settle(true)
			}
		}
		p.advance(2 * time.Second)
		p.check()
	}
	k := p.group()
	if k == nil {
		return // classic, or nobody: others test that
	}
	if s := k.State(); s != consumer.GroupStable && k.Len() > 0 {
		p.Fatalf("the group does not come to rest: %s\n%+v", s, k.Describe(p.m.consumerEnv("g", nil)))
	}
	used := map[topic.Partition]bool{}
	for _, a := range p.apps {
		maps.Copy(used, a.using)
	}
	for name, t := range p.cluster.topics {
		for index := range t.Partitions {
			if k.Subscribed(name) && !used[topic.Partition{Topic: t.ID, Index: index}] {
				p.Fatalf("nobody reads %s-%d\n%s", name, index, p.describe())
			}
		}
	}
}

func (p *play) describe() string {
	var b strings.Builder
	for _, a := range p.apps {
		fmt.Fprintf(&b, "%v alive=%v classic=%v using=%v\n", a, a.alive, a.classic, a.using)
	}
	fmt.Fprintf(&b, "%+v\n", p.group().Describe(p.m.consumerEnv("g", nil)))
	return b.String()
}
