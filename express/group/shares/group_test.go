package shares

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

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// cluster is topics by name.
type cluster struct {
	topics  map[string]modern.Topic
	version int64
	made    byte
}

func newCluster() *cluster { return &cluster{topics: map[string]modern.Topic{}} }

func (c *cluster) set(name string, partitions int32) {
	c.version++
	t, ok := c.topics[name]
	if !ok {
		c.made++
		t = modern.Topic{Name: name, ID: topic.ID{c.made}}
	}
	t.Partitions = partitions
	c.topics[name] = t
}

func (c *cluster) remove(name string) {
	c.version++
	delete(c.topics, name)
}

func (c *cluster) TopicByName(name string) (modern.Topic, bool) {
	t, ok := c.topics[name]
	return t, ok
}

func (c *cluster) TopicByID(id topic.ID) (modern.Topic, bool) {
	for _, t := range c.topics {
		if t.ID == id {
			return t, true
		}
	}
	return modern.Topic{}, false
}

func (c *cluster) TopicNames() iter.Seq[string] { return maps.Keys(c.topics) }
func (c *cluster) TopicsVersion() int64         { return c.version }

// world drives a Group with random events.
type world struct {
	*rapid.T
	c       *cluster
	g       *Group
	log     []record
	now     time.Time
	epochs  map[string]int32 // of members, as they know them
	pending []Initialize
	alive   map[string]bool // sessions
}

func newWorld(t *rapid.T) *world {
	w := &world{T: t, c: newCluster(), g: New("g"), now: time.UnixMilli(1_700_000_000_000), epochs: map[string]int32{}, alive: map[string]bool{}}
	w.c.set("a", 3)
	w.c.set("b", 1)
	return w
}

func (w *world) env() Env {
	c := DefaultConfig()
	c.MaxSize = 5
	return Env{Now: w.now, Topics: w.c, Config: c}
}

func (w *world) apply(c Change) {
	w.g.Apply(c)
	for _, r := range c.Records {
		_, back, err := Decode(r.Encode("g"))
		if err != nil {
			w.Fatal(err)
		}
		w.log = append(w.log, back)
	}
	w.pending = append(w.pending, c.Initialize...)
	for _, op := range c.Timers {
		if op.Timer == modern.Session {
			w.alive[op.Member] = !op.Cancel
		}
	}
}

var names = []string{"m1", "m2", "m3", "m4", "m5", "m6"}

func (w *world) heartbeat(id string) {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID = "g", id
	epoch, known := w.epochs[id]
	if known && rapid.IntRange(0, 9).Draw(w.T, "rejoins") > 0 {
		req.MemberEpoch = epoch
	}
	if req.MemberEpoch == 0 || rapid.IntRange(0, 4).Draw(w.T, "says topics") == 0 {
		req.SubscribedTopicNames = rapid.SampledFrom([][]string{{"a"}, {"a"}, {"a"}, {"a", "b"}, {"b"}, {"nowhere"}}).Draw(w.T, "topics")
	}
	r, change, err := w.g.Heartbeat(w.env(), modern.Client{ID: "c", Host: "/h"}, req)
	if err != nil {
		if code := kerr.Of(err); code != kerr.GroupMaxSizeReached || len(w.g.members) < 5 {
			w.Fatalf("heartbeat of %s: %v", id, err)
		}
		return
	}
	w.apply(change)
	if r.MemberEpoch < epoch && req.MemberEpoch != 0 {
		w.Fatalf("epoch of %s went from %d to %d", id, epoch, r.MemberEpoch)
	}
	if rapid.IntRange(0, 9).Draw(w.T, "lost") > 0 || !known || r.MemberEpoch != w.g.Member(id).Epoch {
		w.epochs[id] = r.MemberEpoch
	} else if p := w.g.Member(id); epoch != p.Epoch && epoch != p.PreviousEpoch {
		w.epochs[id] = r.MemberEpoch // it cannot have missed two
	}
}

func (w *world) leave(id string) {
	if _, known := w.epochs[id]; !known || w.g.Member(id) == nil {
		return
	}
	if rapid.Bool().Draw(w.T, "by itself") {
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch = "g", id, epochLeave
		_, change, err := w.g.Heartbeat(w.env(), modern.Client{}, req)
		if err != nil {
			w.Fatal(err)
		}
		w.apply(change)
	} else {
		w.apply(w.g.Fence(w.env(), id))
	}
	delete(w.epochs, id)
}

// initialized ends the oldest initializing.
func (w *world) initialized(ok bool) {
	if len(w.pending) == 0 {
		return
	}
	i := w.pending[0]
	w.pending = w.pending[1:]
	w.apply(w.g.Initialized(w.env(), []topic.Partition{i.Partition}, ok))
}

func (w *world) topicsChange() {
	switch rapid.IntRange(0, 2).Draw(w.T, "change") {
	case 0:
		if t, ok := w.c.topics["a"]; ok {
			w.c.set("a", min(t.Partitions+1, 6))
		} else {
			w.c.set("a", 2)
		}
	case 1:
		w.c.set("b", 1)
	default:
		t, ok := w.c.topics["b"]
		w.c.remove("b")
		if ok {
			w.apply(w.g.TopicDeleted(w.env(), t.ID))
		}
	}
}

// check looks at SG1, SG3 and sessions.
func (w *world) check() {
	for id, p := range w.g.target {
		for tid, indexes := range p {
			if _, exists := w.c.TopicByID(tid); !exists {
				continue // it is taken away with the next assignment
			}
			for _, index := range indexes {
				if !slices.Contains(w.g.state.initialized[tid].partitions, index) {
					w.Fatalf("%s shall have %v-%d, which is not initialized (SG1)", id, tid, index)
				}
			}
		}
	}
	re := New("g")
	for _, r := range w.log {
		re.Replay(r)
	}
	for _, of := range [][2]any{
		{w.g.members, re.members}, {w.g.order, re.order}, {w.g.epoch, re.epoch}, {w.g.hash, re.hash}, {w.g.assigned, re.assigned},
		{fmt.Sprint(w.g.target), fmt.Sprint(re.target)}, {fmt.Sprint(w.g.state), fmt.Sprint(re.state)},
	} {
		if fmt.Sprint(of[0]) != fmt.Sprint(of[1]) && !reflect.DeepEqual(of[0], of[1]) {
			w.Fatalf("replayed %+v, want %+v (SG3)", of[1], of[0])
		}
	}
	for id := range w.g.members {
		if !w.alive[id] {
			w.Fatalf("%s has no session", id)
		}
	}
}

// settle lets time go on until nothing changes, and looks at SG2.
func (w *world) settle() {
	for range 6 {
		w.now = w.now.Add(31 * time.Second)
		for len(w.pending) > 0 {
			w.initialized(true)
		}
		for _, id := range slices.Sorted(maps.Keys(w.epochs)) {
			if w.g.Member(id) == nil {
				continue
			}
			req := kmsg.NewPtrShareGroupHeartbeatRequest()
			req.GroupID, req.MemberID, req.MemberEpoch = "g", id, w.epochs[id]
			r, change, err := w.g.Heartbeat(w.env(), modern.Client{ID: "c", Host: "/h"}, req)
			if err != nil {
				w.Fatal(err)
			}
			w.apply(change)
			w.epochs[id] = r.MemberEpoch
			w.now = w.now.Add(time.Second)
		}
	}
	given := map[topic.Partition]int{}
	for m := range w.g.Members() {
		if m.Epoch != w.g.epoch {
			w.Fatalf("%s is in epoch %d, the group in %d", m.ID, m.Epoch, w.g.epoch)
		}
		for id, indexes := range m.Assigned {
			for _, index := range indexes {
				given[topic.Partition{Topic: id, Index: index}]++
			}
		}
	}
	for name, t := range w.c.topics {
		for index := range t.Partitions {
			if w.g.Subscribed(name) && given[topic.Partition{Topic: t.ID, Index: index}] == 0 {
				w.Fatalf("nobody has %s-%d (SG2); state %+v", name, index, w.g.state)
			}
		}
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		member := func() string { return rapid.SampledFrom(names).Draw(t, "member") }
		t.Repeat(map[string]func(*rapid.T){
			"heartbeat":   func(*rapid.T) { w.heartbeat(member()) },
			"heartbeat2":  func(*rapid.T) { w.heartbeat(member()) },
			"leave":       func(*rapid.T) { w.leave(member()) },
			"initialized": func(*rapid.T) { w.initialized(rapid.IntRange(0, 3).Draw(t, "fails") > 0) },
			"topics":      func(*rapid.T) { w.topicsChange() },
			"time": func(*rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(*rapid.T) { w.check() },
		})
		w.settle()
		w.check()
	})
}

// TestSpread: each partition has as many members as an even spread asks for, members have about the same, and what need not
// change does not.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster()
		c.set("a", int32(rapid.IntRange(1, 8).Draw(t, "partitions")))
		initialized := map[topic.ID]topicState{c.topics["a"].ID: {"a", indexes(c.topics["a"].Partitions)}}
		old := map[string]modern.Partitions{}
		for range 3 {
			n := rapid.IntRange(1, 12).Draw(t, "members")
			var members []*Member
			for i := range n {
				members = append(members, &Member{ID: fmt.Sprintf("m%02d", i), Topics: []string{"a"}})
			}
			now := assign(members, old, initialized, c)
			p := int(c.topics["a"].Partitions)
			sharing := ceil(n, p)
			counts := map[int32]int{}
			least, most := p, 0
			for _, has := range now {
				for _, index := range has[c.topics["a"].ID] {
					counts[index]++
				}
				least, most = min(least, has.Len()), max(most, has.Len())
			}
			for index := range int32(p) {
				if counts[index] == 0 || counts[index] > sharing {
					t.Fatalf("partition %d of %d has %d of %d members: %v", index, p, counts[index], n, now)
				}
			}
			if least == 0 || most-least > 1 {
				t.Fatalf("members have %d to %d partitions: %v", least, most, now)
			}
			if again := assign(members, now, initialized, c); !reflect.DeepEqual(again, now) {
				t.Fatalf("it changes without need: %v, then %v", now, again)
			}
			old = now
		}
	})
}

func TestRefusals(t *testing.T) {
	c := newCluster()
	c.set("a", 1)
	g := New("g")
	env := Env{Now: time.UnixMilli(1), Topics: c, Config: DefaultConfig()}
	beat := func(id string, epoch int32, topics ...string) kerr.Code {
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = "g", id, epoch, topics
		if err := Check(req); err != nil {
			return kerr.Of(err)
		}
		_, change, err := g.Heartbeat(env, modern.Client{}, req)
		if err == nil {
			g.Apply(change)
		}
		return kerr.Of(err)
	}
	for _, tc := range []struct {
		what      string
		got, want kerr.Code
	}{
		{"no member id", beat("", 0, "a"), kerr.InvalidRequest},
		{"joins without topics", beat("m", 0), kerr.InvalidRequest},
		{"epoch -2", beat("m", -2, "a"), kerr.InvalidRequest},
		{"nobody goes on", beat("m", 3), kerr.UnknownMemberID},
		{"nobody leaves", beat("m", -1), kerr.UnknownMemberID},
		{"long id", beat(strings.Repeat("m", 37), 0, "a"), kerr.InvalidRequest},
		{"joins", beat("m", 0, "a"), kerr.None},
		{"goes on", beat("m", 2), kerr.None},
		{"later epoch", beat("m", 3), kerr.FencedMemberEpoch},
		{"rejoins", beat("m", 0, "a"), kerr.None},
		{"leaves", beat("m", -1), kerr.None},
		{"has left", beat("m", 2), kerr.UnknownMemberID},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, tc.got, tc.want)
		}
	}
}

func TestStateOfTopics(t *testing.T) {
	c := newCluster()
	c.set("a", 2)
	id := c.topics["a"].ID
	env := Env{Now: time.UnixMilli(1), Topics: c, Config: DefaultConfig()}
	g := New("g")
	topics, change, err := g.Alter(env, []kmsg.AlterShareGroupOffsetsRequestTopic{
		{Topic: "a", Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{Partition: 1, StartOffset: 7}, {Partition: 5}}}, {Topic: "b"},
	})
	if err != nil || topics[0].Partitions[0].ErrorCode != 0 || kerr.Code(topics[0].Partitions[1].ErrorCode) != kerr.UnknownTopicOrPartition {
		t.Fatalf("%+v, %v", topics, err)
	}
	if want := []Initialize{{topic.Partition{Topic: id, Index: 1}, 0, 7}}; !slices.Equal(change.Initialize, want) {
		t.Fatalf("initialize %v", change.Initialize)
	}
	g.Apply(change)
	g.Apply(g.Initialized(env, []topic.Partition{{Topic: id, Index: 1}}, true))
	if got := g.Partitions(); !got.Equal(modern.Partitions{id: {1}}) {
		t.Fatalf("initialized %v", got)
	}
	work, refused, change, err := g.Delete(env, []string{"a", "b"})
	if err != nil || !work.Equal(modern.Partitions{id: {1}}) || len(refused) != 1 || refused[0].Topic != "b" {
		t.Fatalf("%v %v %v", work, refused, err)
	}
	g.Apply(change)
	if got := g.Partitions(); got.Len() != 0 {
		t.Fatalf("initialized %v, and about to be deleted", got)
	}
	// The broker fell before the state was deleted: asked again, all partitions are.
	if work, _, _, err = g.Delete(env, nil); err != nil || !work.Equal(modern.Partitions{id: {0, 1}}) {
		t.Fatalf("%v %v", work, err)
	}
	g.Apply(g.Deleted(env, []topic.ID{id}))
	if !g.Bare() {
		t.Error("something is left")
	}
}
