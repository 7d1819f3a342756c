package consumer

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// topics are topics by name. Their ids follow from their names.
type topics map[string]int32

func (t topics) topic(name string) (modern.Topic, bool) {
	partitions, ok := t[name]
	if !ok {
		return modern.Topic{}, false
	}
	return modern.Topic{Name: name, ID: idOf(name), Partitions: partitions}, true
}

func (t topics) TopicByName(name string) (modern.Topic, bool) { return t.topic(name) }
func (t topics) TopicNames() iter.Seq[string]                 { return maps.Keys(t) }
func (t topics) TopicsVersion() int64                         { return 1 }
func (t topics) TopicByID(id topic.ID) (modern.Topic, bool) {
	for name := range t {
		if idOf(name) == id {
			return t.topic(name)
		}
	}
	return modern.Topic{}, false
}

func idOf(name string) topic.ID { return topic.ID{0: name[0], 15: 1} }

// stage is one group and the members that talk to it.
type stage struct {
	*testing.T
	group *Group
	env   Env
}

func newStage(t *testing.T, all topics) *stage {
	config := DefaultConfig()
	config.AssignmentInterval = 0
	return &stage{T: t, group: New("g"), env: Env{Now: time.UnixMilli(1_700_000_000_000), Topics: all, Config: config}}
}

// request is a heartbeat of a member that says nothing but its epoch.
func request(id string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch = 1, "g", id, epoch
	return q
}

// owning is one that says as well what the member has of topic a.
func owning(id string, epoch int32, indexes ...int32) *kmsg.ConsumerGroupHeartbeatRequest {
	q := request(id, epoch)
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: idOf("a"), Partitions: indexes}}
	return q
}

// joining is the first one of a member.
func joining(id string, names ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	q := request(id, 0)
	q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 60_000, names, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return q
}

// ask hands a heartbeat in and applies what comes of it.
func (s *stage) ask(q *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	r, change, err := s.group.Heartbeat(s.env, modern.Client{ID: "c", Host: "/h"}, q)
	if err == nil {
		s.group.Apply(change)
	}
	return r, err
}

// accepted wants a heartbeat answered well.
func (s *stage) accepted(q *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	s.Helper()
	r, err := s.ask(q)
	if err != nil {
		s.Fatalf("heartbeat of %s in epoch %d: %v", q.MemberID, q.MemberEpoch, err)
	}
	return r
}

// refused wants a heartbeat refused, and the group to be as before (N4).
func (s *stage) refused(q *kmsg.ConsumerGroupHeartbeatRequest, want kerr.Code) {
	s.Helper()
	before := s.group.Describe(s.env)
	if _, err := s.ask(q); !errors.Is(err, want) {
		s.Errorf("heartbeat of %s in epoch %d: %v, want %s", q.MemberID, q.MemberEpoch, err, want.Name())
	}
	if after := s.group.Describe(s.env); !reflect.DeepEqual(before, after) {
		s.Errorf("a heartbeat that was refused made of %+v\n%+v", before, after)
	}
}

// holds wants a member in an epoch and state, with these partitions of topic a, and these to give up.
func (s *stage) holds(id string, epoch int32, state State, assigned, revoking []int32) {
	s.Helper()
	m := s.group.Member(id)
	if m == nil {
		s.Fatalf("%s is not a member", id)
	}
	got := fmt.Sprint(m.Epoch, m.State, indexesOf(m.Assigned), indexesOf(m.Revoking))
	if want := fmt.Sprint(epoch, state, assigned, revoking); got != want {
		s.Errorf("%s: epoch, state, has, gives up: %s, want %s", id, got, want)
	}
}

func indexesOf(o modern.Owned) []int32 { return o.Partitions()[idOf("a")] }

// TestWhatIsTakenIsNotFree walks two members through a rebalance: the second one has nothing until the first has said that it
// gave it up.
func TestWhatIsTakenIsNotFree(t *testing.T) {
	s := newStage(t, topics{"a": 2})
	s.accepted(joining("m1", "a"))
	s.holds("m1", 2, Stable, []int32{0, 1}, nil)
	r := s.accepted(joining("m2", "a"))
	if r.Assignment == nil || len(r.Assignment.Topics) != 0 {
		t.Errorf("the second member was told %+v, want an empty assignment", r.Assignment)
	}
	s.holds("m2", 3, UnreleasedPartitions, nil, nil)
	s.accepted(owning("m1", 2, 0, 1))
	s.holds("m1", 2, UnrevokedPartitions, []int32{0}, []int32{1})
	s.accepted(request("m2", 3)) // no heartbeat of the other one makes it free
	s.holds("m2", 3, UnreleasedPartitions, nil, nil)
	s.accepted(request("m1", 2)) // nor one that does not say what is owned
	s.holds("m1", 2, UnrevokedPartitions, []int32{0}, []int32{1})
	s.accepted(owning("m1", 2, 0))
	s.holds("m1", 3, Stable, []int32{0}, nil)
	s.accepted(request("m2", 3))
	s.holds("m2", 3, Stable, []int32{1}, nil)
	if got := s.group.State(); got != GroupStable {
		t.Errorf("the group is %s", got)
	}
}

// TestRetryOfThePreviousEpoch is N7 and its bounds: whoever missed the answer that moved it may repeat its request, if it has
// nothing but what it may have. One that has more may be using what is with somebody else by now.
func TestRetryOfThePreviousEpoch(t *testing.T) {
	s := newStage(t, topics{"a": 3})
	s.accepted(joining("m1", "a"))
	s.accepted(joining("m2", "a"))
	s.accepted(owning("m1", 2, 0, 1, 2))
	s.holds("m1", 2, UnrevokedPartitions, []int32{0, 1}, []int32{2})
	s.accepted(owning("m1", 2, 0, 1)) // the answer is lost
	s.holds("m1", 3, Stable, []int32{0, 1}, nil)

	s.refused(owning("m1", 2, 0, 1, 2), kerr.FencedMemberEpoch)
	s.refused(owning("m1", 2, 2), kerr.FencedMemberEpoch)
	s.refused(request("m1", 2), kerr.FencedMemberEpoch) // it does not say what it has
	s.refused(owning("m1", 1, 0), kerr.FencedMemberEpoch)
	s.refused(owning("m1", 4, 0), kerr.FencedMemberEpoch)
	other := owning("m1", 2, 0)
	other.Topics[0].TopicID = idOf("b")
	s.refused(other, kerr.FencedMemberEpoch)
	if r := s.accepted(owning("m1", 2, 0)); r.MemberEpoch != 3 {
		t.Errorf("the retry was told epoch %d, want 3", r.MemberEpoch)
	}
	if r := s.accepted(owning("m1", 2)); r.MemberEpoch != 3 {
		t.Errorf("the retry with nothing was told epoch %d, want 3", r.MemberEpoch)
	}
	s.holds("m1", 3, Stable, []int32{0, 1}, nil)
}

// TestStaticMemberReturns has a static member leave for a while: what it had is nobody else's until its session ends, and its
// successor has it at once.
func TestStaticMemberReturns(t *testing.T) {
	s := newStage(t, topics{"a": 2})
	instance := "i"
	as := func(q *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatRequest {
		q.InstanceID = &instance
		return q
	}
	s.accepted(as(joining("m1", "a")))
	s.refused(as(joining("m2", "a")), kerr.UnreleasedInstanceID)
	s.refused(as(request("m2", 2)), kerr.FencedInstanceID)
	s.accepted(as(request("m1", epochStaticLeave)))
	s.holds("m1", epochStaticLeave, Stable, []int32{0, 1}, nil)
	s.accepted(joining("m3", "a"))
	s.holds("m3", 3, UnreleasedPartitions, nil, nil)
	s.accepted(as(joining("m2", "a")))
	s.holds("m2", 3, Stable, []int32{0}, nil) // it said that it has nothing, so the rest is free
	s.accepted(request("m3", 3))
	s.holds("m3", 3, Stable, []int32{1}, nil)
	if s.group.Member("m1") != nil {
		t.Error("the predecessor is still a member")
	}
	s.refused(request("m1", 3), kerr.UnknownMemberID)
}

// TestLeavingFreesAtOnce has one member leave, and the other go on with all there is.
func TestLeavingFreesAtOnce(t *testing.T) {
	s := newStage(t, topics{"a": 2})
	s.accepted(joining("m1", "a"))
	s.accepted(joining("m2", "a"))
	s.accepted(request("m1", epochLeave))
	s.accepted(request("m2", 3))
	s.holds("m2", 4, Stable, []int32{0, 1}, nil)
	s.refused(request("m1", 2), kerr.UnknownMemberID)
	if _, change, err := s.group.Heartbeat(s.env, modern.Client{}, request("m2", epochLeave)); err != nil || change.Classic != nil {
		t.Errorf("a group without members became %+v: %v", change.Classic, err)
	}
	s.accepted(request("m2", epochLeave))
	if got := s.group.State(); got != GroupEmpty || len(s.group.owners) != 0 {
		t.Errorf("without members the group is %s, and %v have owners", got, s.group.owners)
	}
}

// TestResubscribing takes away what a member does not read any more, before any new assignment.
func TestResubscribing(t *testing.T) {
	s := newStage(t, topics{"a": 2, "b": 1})
	s.env.Config.AssignmentInterval = time.Hour
	s.accepted(joining("m1", "a", "b"))
	q := owning("m1", 2, 0, 1)
	q.Topics = append(q.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: idOf("b"), Partitions: []int32{0}})
	q.SubscribedTopicNames = []string{"b"}
	s.accepted(q)
	s.holds("m1", 2, UnrevokedPartitions, nil, []int32{0, 1})
	if !s.group.Member("m1").Assigned.Has(idOf("b"), 0) {
		t.Error("what it goes on reading was taken away")
	}
	if got := s.group.State(); got != GroupAssigning {
		t.Errorf("the group is %s", got)
	}
}

// TestCommitsAnEpochLate holds CheckCommit against what a member has had since which epoch.
func TestCommitsAnEpochLate(t *testing.T) {
	s := newStage(t, topics{"a": 2})
	s.accepted(joining("m1", "a"))
	s.accepted(joining("m2", "a"))
	s.accepted(owning("m1", 2, 0, 1))
	s.accepted(owning("m1", 2, 0)) // now in epoch 3, with 0 since epoch 2
	s.accepted(request("m2", 3))   // with 1 since epoch 3
	for _, c := range []struct {
		member       string
		epoch, index int32
		want         kerr.Code
	}{
		{"m1", 3, 1, kerr.None}, // the current epoch may commit anything
		{"m1", 2, 0, kerr.None},
		{"m1", 1, 0, kerr.StaleMemberEpoch},
		{"m1", 2, 1, kerr.StaleMemberEpoch},
		{"m1", 4, 0, kerr.StaleMemberEpoch},
		{"m2", 2, 1, kerr.StaleMemberEpoch},
		{"m3", 3, 0, kerr.UnknownMemberID},
		{"", -1, 0, kerr.UnknownMemberID},
	} {
		per, err := s.group.CheckCommit(modern.Commit{Member: c.member, Epoch: c.epoch, Version: commitEpochs})
		if err == nil && per != nil {
			err = per(idOf("a"), c.index)
		}
		if got := kerr.Of(err); got != c.want {
			t.Errorf("commit of %q in epoch %d of partition %d: %s, want %s", c.member, c.epoch, c.index, got.Name(), c.want.Name())
		}
	}
	if _, err := s.group.CheckCommit(modern.Commit{Member: "m1", Epoch: 3, Version: commitEpochs - 1}); !errors.Is(err, kerr.UnsupportedVersion) {
		t.Errorf("a commit of an old version: %v", err)
	}
	if _, err := New("empty").CheckCommit(modern.Commit{Epoch: -1}); err != nil {
		t.Errorf("a commit to a group without members: %v", err)
	}
}

// TestCheck is each rule for a heartbeat by itself.
func TestCheck(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, spoil := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
		"no member id":            func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" },
		"blank group":             func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = " \t" },
		"blank instance":          func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = text("") },
		"blank rack":              func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = text(" ") },
		"no rebalance timeout":    func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = -1 },
		"owned unsaid":            func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = nil },
		"owned at joining":        func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = owning("m", 0, 1).Topics },
		"no subscription":         func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = nil },
		"static leave, no static": func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = epochStaticLeave },
		"negative epoch":          func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -3 },
	} {
		q := joining("m", "a")
		if err := Check(q, DefaultConfig()); err != nil {
			t.Fatal(err)
		}
		spoil(q)
		if err := Check(q, DefaultConfig()); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	q := joining("m", "a")
	q.ServerAssignor = text("mine")
	if err := Check(q, DefaultConfig()); !errors.Is(err, kerr.UnsupportedAssignor) {
		t.Errorf("unknown assignor: %v", err)
	}
	q = joining("", "a")
	q.Version = 0 // which leaves the id to the coordinator
	if err := Check(q, DefaultConfig()); err != nil {
		t.Errorf("version 0 without an id: %v", err)
	}
}

// TestRegularExpressions are compiled alone, match whole names, and are refused where they cannot be.
func TestRegularExpressions(t *testing.T) {
	s := newStage(t, topics{"a": 1, "ab": 1})
	with := func(regex string) *kmsg.ConsumerGroupHeartbeatRequest {
		q := joining("m", "a")
		q.SubscribedTopicNames, q.SubscribedTopicRegex = nil, &regex
		return q
	}
	for _, bad := range []string{"(", "a)|(b", "[", string(slices.Repeat([]byte("x"), s.env.Config.MaxRegexBytes+1))} {
		s.refused(with(bad), kerr.InvalidRegularExpression)
	}
	r, change, err := s.group.Heartbeat(s.env, modern.Client{}, with("a"))
	if err != nil || !change.Refresh || len(r.Assignment.Topics) != 0 {
		t.Fatalf("%+v, refresh %v: %v", r, change.Refresh, err)
	}
	s.group.Apply(change)
	s.group.Apply(s.group.Refresh(s.env))
	s.accepted(request("m", r.MemberEpoch))
	if s.group.Subscribed("ab") || !s.group.Member("m").Assigned.Has(idOf("a"), 0) {
		t.Errorf("the expression a gave %+v", s.group.Describe(s.env))
	}
}
