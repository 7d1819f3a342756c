package group

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// world drives a machine with random events and checks after each that the invariants of doc.go hold.
type world struct {
	*rapid.T
	m      *Machine
	now    time.Time
	ids    int
	last   Ticket
	open   map[Ticket]request
	known  []client         // member ids that were given out, with what is known about them
	log    []machine.Record // durable
	queue  []machine.Append // not settled
	latest map[string]int32
}

// request is what an open ticket asked for.
type request struct {
	kind, group, member string
	gen                 int32
	tp                  TopicPartition // of a commit
	offset              int64
}

type client struct {
	group, id, instance string
	gen                 int32
	leader              bool
	members             []string
}

func newWorld(t *rapid.T) *world {
	w := &world{T: t, now: time.UnixMilli(1_700_000_000_000), open: map[Ticket]request{}, latest: map[string]int32{}}
	limits := DefaultLimits()
	limits.InitialRebalanceDelay = 3 * time.Second
	limits.MaxSize = rapid.IntRange(1, 5).Draw(t, "max size")
	w.m = New(limits, w.newID, nil)
	return w
}

func (w *world) newID(prefix string) string {
	w.ids++
	return fmt.Sprintf("%s-%d", prefix, w.ids)
}

func (w *world) ticket(r request) Ticket {
	w.last++
	w.open[w.last] = r
	return w.last
}

// pick draws somebody who was given a member id, or nobody.
func (w *world) pick() client {
	if len(w.known) == 0 {
		return client{group: "g0", id: "stranger", gen: 1}
	}
	from := max(0, len(w.known)-12) // the newest are the likeliest to be alive
	return w.known[rapid.IntRange(from, len(w.known)-1).Draw(w.T, "client")]
}

func (w *world) join() {
	c := client{group: fmt.Sprintf("g%d", rapid.IntRange(0, 1).Draw(w.T, "group"))}
	if rapid.Bool().Draw(w.T, "known") {
		c = w.pick()
	} else if rapid.Bool().Draw(w.T, "static") {
		c.instance = fmt.Sprintf("i%d", rapid.IntRange(0, 1).Draw(w.T, "instance"))
	}
	if c.instance != "" && rapid.Bool().Draw(w.T, "restart") {
		c.id = ""
	}
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version = int16(rapid.SampledFrom([]int{3, 9}).Draw(w.T, "version"))
	if c.instance != "" {
		r.Version, r.InstanceID = 9, &c.instance
	}
	r.Group, r.MemberID, r.ProtocolType = c.group, c.id, consumerType
	r.SessionTimeoutMillis = int32(rapid.IntRange(6, 20).Draw(w.T, "session")) * 1000
	r.RebalanceTimeoutMillis = int32(rapid.IntRange(1, 60).Draw(w.T, "rebalance")) * 1000
	metadata := byte(rapid.IntRange(0, 1).Draw(w.T, "metadata"))
	for _, name := range rapid.SampledFrom([][]string{{"a"}, {"a", "b"}, {"b", "a"}}).Draw(w.T, "protocols") {
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte{0, 0, 0, 0, 0, 0, metadata}})
	}
	t := w.ticket(request{kind: "join", group: c.group, member: c.id})
	w.effects(w.m.JoinGroup(w.now, t, Client{ID: "c", Host: "/h"}, r), c.instance)
}

func (w *world) sync() {
	c := w.pick()
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation = c.group, c.id, c.gen
	if c.instance != "" {
		r.InstanceID = &c.instance
	}
	for _, id := range c.members {
		r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: id, MemberAssignment: fmt.Appendf(nil, "%s/%d/%s", c.group, c.gen, id),
		})
	}
	w.effects(w.m.SyncGroup(w.now, w.ticket(request{kind: "sync", group: c.group, member: c.id, gen: c.gen}), r), "")
}

func (w *world) commit() {
	c := w.pick()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 9, c.group, c.id, c.gen
	if c.instance != "" {
		r.InstanceID = &c.instance
	}
	if rapid.IntRange(0, 5).Draw(w.T, "simple") == 0 {
		r.MemberID, r.InstanceID, r.Generation = "", nil, -1
	}
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition = int32(rapid.IntRange(0, 2).Draw(w.T, "partition"))
	p.Offset = int64(rapid.IntRange(0, 100).Draw(w.T, "offset"))
	r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	asked := request{kind: "commit", group: c.group, tp: TopicPartition{Topic: "t", Partition: p.Partition}, offset: p.Offset}
	w.effects(w.m.OffsetCommit(w.now, w.ticket(asked), r), "")
}

func (w *world) simple() {
	c := w.pick()
	switch rapid.IntRange(0, 5).Draw(w.T, "what") {
	case 0:
		w.effects(w.m.DeleteGroups(w.now, w.ticket(request{kind: "delete"}), []string{c.group}), "")
	case 1:
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version, r.Group = 5, c.group
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = c.id
		r.Members = append(r.Members, m)
		w.effects(w.m.LeaveGroup(w.now, w.ticket(request{kind: "leave"}), r), "")
	case 2:
		w.effects(w.m.TopicDeleted(w.now, "t"), "")
	case 3:
		w.effects(w.m.Expire(w.now), "")
	default:
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.Generation = c.group, c.id, c.gen
		w.effects(w.m.Heartbeat(w.now, w.ticket(request{kind: "heartbeat"}), r), "")
	}
}

// settle reports the outcome of the oldest append.
func (w *world) settle(code kerr.Code) {
	if len(w.queue) == 0 {
		return
	}
	a := w.queue[0]
	w.queue = w.queue[1:]
	if code == kerr.None {
		w.log = append(w.log, a.Records...)
	}
	w.effects(w.m.Appended(w.now, a.ID, code), "")
}

func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	w.effects(w.m.Advance(w.now), "")
}

// effects checks the answers: each ticket once (G1), promises after the log (G2), and what members are told about a generation (G4).
func (w *world) effects(e Effects, instance string) {
	leaders := map[string]string{}
	for _, r := range e.Replies {
		asked, ok := w.open[r.Ticket]
		if !ok {
			w.Fatalf("ticket %d answered twice", r.Ticket)
		}
		delete(w.open, r.Ticket)
		switch a := r.Response.(type) {
		case *kmsg.JoinGroupResponse:
			w.joined(asked, a, instance, leaders)
		case *kmsg.SyncGroupResponse:
			prefix := fmt.Sprintf("%s/%d/", asked.group, asked.gen)
			if got := string(a.MemberAssignment); a.ErrorCode == 0 && got != "" && !strings.HasPrefix(got, prefix) {
				w.Fatalf("%v got the assignment %q", asked, got)
			}
			if a.ErrorCode == 0 && !w.durable(fmt.Sprintf("group %s gen=%d ", asked.group, asked.gen)) {
				w.Fatalf("%v was answered before the assignment was durable", asked)
			}
		case *kmsg.OffsetCommitResponse:
			text := fmt.Sprintf("offset %s %s/%d = %d ", asked.group, asked.tp.Topic, asked.tp.Partition, asked.offset)
			if a.Topics[0].Partitions[0].ErrorCode == 0 && !w.durable(text) {
				w.Fatalf("%v was answered before it was durable", asked)
			}
		}
	}
	w.queue = append(w.queue, e.Appends...)
}

// durable reports whether the log has a record that looks like that.
func (w *world) durable(prefix string) bool {
	return slices.ContainsFunc(w.log, func(r machine.Record) bool { return strings.HasPrefix(recordText(r), prefix) })
}

func (w *world) joined(asked request, a *kmsg.JoinGroupResponse, instance string, leaders map[string]string) {
	code := kerr.Code(a.ErrorCode)
	if code != kerr.None && code != kerr.MemberIDRequired {
		return
	}
	c := client{group: asked.group, id: a.MemberID, instance: instance, gen: max(a.Generation, 0)}
	if code == kerr.None {
		if a.Generation < w.latest[asked.group] {
			w.Fatalf("generation of %s went from %d to %d", asked.group, w.latest[asked.group], a.Generation)
		}
		w.latest[asked.group] = a.Generation
		if l, ok := leaders[asked.group]; ok && l != a.LeaderID {
			w.Fatalf("two leaders of %s generation %d: %s and %s", asked.group, a.Generation, l, a.LeaderID)
		}
		leaders[asked.group] = a.LeaderID
		c.leader = a.LeaderID == a.MemberID
		for _, m := range a.Members {
			c.members = append(c.members, m.MemberID)
		}
		if len(a.Members) > 0 && !c.leader {
			w.Fatalf("%s is told the members but does not lead", a.MemberID)
		}
	}
	if g := w.m.groups[asked.group]; g != nil && g.members[c.id] != nil && g.members[c.id].instance != nil {
		c.instance = *g.members[c.id].instance
	}
	w.known = append(w.known, c)
}

// check compares the machine with itself: counters with what they count, and every state with its deadline (G5).
func (w *world) check() {
	for name := range w.latest {
		if w.m.groups[name] == nil {
			delete(w.latest, name) // a group of the same name begins anew
		}
	}
	for name, g := range w.m.groups {
		waiting, bytes := 0, 0
		for _, m := range g.order {
			bytes += m.bytes()
			if m.join != nil {
				waiting++
			}
			if m.instance != nil && g.static[*m.instance] != m.id {
				w.Fatalf("%s: instance %s is not %s", name, *m.instance, m.id)
			}
			if !m.alive() && w.m.timers.byKey[sessionKey(g, m.id)] == nil {
				w.Fatalf("%s: member %s in %v has no session", name, m.id, g.state)
			}
		}
		if waiting != g.waiting || bytes != g.bytes || len(g.members) != len(g.order) {
			w.Fatalf("%s: waiting %d of %d, bytes %d of %d", name, g.waiting, waiting, g.bytes, bytes)
		}
		if (g.leader == "") != (len(g.order) == 0) || g.leader != "" && g.members[g.leader] == nil {
			w.Fatalf("%s: leader %q", name, g.leader)
		}
		switch g.state {
		case PreparingRebalance:
			if w.m.timers.byKey[timerKey{kind: joinTimer, group: name}] == nil {
				w.Fatalf("%s: joins without a deadline", name)
			}
		case CompletingRebalance:
			if len(g.unsynced) > 0 && w.m.timers.byKey[timerKey{kind: syncTimer, group: name}] == nil {
				w.Fatalf("%s: syncs without a deadline", name)
			}
		case Empty:
			if len(g.order) > 0 {
				w.Fatalf("%s: empty with %d members", name, len(g.order))
			}
		}
	}
}

// reload replays the durable records and compares with what was acknowledged (G3, G6).
func (w *world) reload() *Machine {
	m := New(w.m.limits, w.newID, nil)
	for _, r := range w.log {
		if err := m.Replay(r, nil); err != nil {
			w.Fatalf("replay: %v", err)
		}
	}
	for name, g := range w.m.groups {
		re := m.groups[name]
		if re == nil {
			if len(g.offsets) > 0 || g.state == Stable {
				w.Fatalf("%s is lost", name)
			}
			continue
		}
		if !reflect.DeepEqual(re.offsets, g.offsets) {
			w.Fatalf("%s: offsets %v, after reload %v", name, g.offsets, re.offsets)
		}
		if re.generation > g.generation {
			w.Fatalf("%s: generation %d, after reload %d", name, g.generation, re.generation)
		}
		if g.state == Stable && g.appending == 0 {
			if re.state != Stable || re.generation != g.generation || re.leader != g.leader || re.protocol != g.protocol ||
				!reflect.DeepEqual(re.assignments(), g.assignments()) || !reflect.DeepEqual(re.static, g.static) {
				w.Fatalf("%s: %+v, after reload %+v", name, g, re)
			}
		}
	}
	return m
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		code := func() kerr.Code {
			return rapid.SampledFrom([]kerr.Code{0, 0, 0, kerr.KafkaStorageError}).Draw(t, "outcome")
		}
		t.Repeat(map[string]func(*rapid.T){
			"join":    func(*rapid.T) { w.join() },
			"join2":   func(*rapid.T) { w.join() },
			"sync":    func(*rapid.T) { w.sync() },
			"sync2":   func(*rapid.T) { w.sync() },
			"commit":  func(*rapid.T) { w.commit() },
			"simple":  func(*rapid.T) { w.simple() },
			"settle":  func(*rapid.T) { w.settle(code()) },
			"advance": func(t *rapid.T) { w.advance(time.Duration(rapid.IntRange(0, 8000).Draw(t, "ms")) * time.Millisecond) },
			"":        func(*rapid.T) { w.check(); w.reload() },
		})

		// Nobody does anything any more: everybody must be told something, and all members must go.
		for range 1000 {
			w.settle(kerr.None)
			w.advance(time.Second)
		}
		if len(w.open) > 0 {
			t.Fatalf("never answered: %v", w.open)
		}
		for name, g := range w.m.groups {
			if g.state != Empty {
				t.Fatalf("%s is stuck in %v", name, g.state)
			}
		}
		w.reload()
		w.effects(w.m.Close(w.now), "")
	})
}

// TestCloseAnswersAll stops a machine in the middle of everything.
func TestCloseAnswersAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"join":    func(*rapid.T) { w.join() },
			"sync":    func(*rapid.T) { w.sync() },
			"commit":  func(*rapid.T) { w.commit() },
			"simple":  func(*rapid.T) { w.simple() },
			"advance": func(t *rapid.T) { w.advance(time.Duration(rapid.IntRange(0, 8000).Draw(t, "ms")) * time.Millisecond) },
		})
		e := w.m.Close(w.now)
		if len(e.Appends) > 0 {
			t.Fatal("a closed machine appends")
		}
		w.effects(e, "")
		if len(w.open) > 0 {
			t.Fatalf("not answered: %v", w.open)
		}
		if _, ok := w.m.Deadline(); ok {
			t.Fatal("a closed machine waits for time")
		}
	})
}
