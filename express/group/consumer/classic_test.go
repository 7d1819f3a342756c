package consumer

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
)

// said is what a classic consumer says when it joins: what it reads and what it has of topic a.
func said(owned []int32, names ...string) []byte {
	v := kmsg.NewConsumerMemberMetadata()
	v.Version, v.Topics = 1, names
	if len(owned) > 0 {
		v.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: owned}}
	}
	return v.AppendTo(nil)
}

// classicOf is a classic group of one member that has partitions of topic a.
func classicOf(generation int32, member ClassicMember, has ...int32) *ClassicGroup {
	v := kmsg.NewConsumerMemberAssignment()
	v.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "a", Partitions: has}}
	member.Assignment = v.AppendTo(nil)
	member.Metadata = said(has, "a")
	member.Classic = Classic{Session: time.Minute, Protocols: []Protocol{{"range", member.Metadata}}}
	return &ClassicGroup{ID: "g", Generation: generation, Members: []ClassicMember{member}}
}

// converted is a stage with the group that became of a classic one.
func converted(t *testing.T, c *ClassicGroup) *stage {
	t.Helper()
	s := newStage(t, topics{"a": 2})
	var err error
	if s.group, _, err = FromClassic(c, s.env); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestThereAndBack makes a consumer group of a classic one, lets a new member take its part and leave, and wants the classic
// group back, with what its member has then.
func TestThereAndBack(t *testing.T) {
	s := converted(t, classicOf(7, ClassicMember{ID: "m1", Rebalance: time.Minute}, 0, 1))
	s.holds("m1", 7, Stable, []int32{0, 1}, nil)
	s.accepted(joining("m2", "a"))
	s.holds("m2", 8, UnreleasedPartitions, nil, nil)

	heartbeat := func(generation int32) (kerr.Code, error) {
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group, q.MemberID, q.Generation = "g", "m1", generation
		r, change, err := s.group.ClassicHeartbeat(s.env, q)
		if err != nil {
			return kerr.None, err
		}
		s.group.Apply(change)
		return kerr.Code(r.ErrorCode), nil
	}
	if code, err := heartbeat(7); err != nil || code != kerr.RebalanceInProgress {
		t.Errorf("a heartbeat in a group that has a new epoch: %s, %v", code.Name(), err)
	}
	if _, err := heartbeat(6); !errors.Is(err, kerr.IllegalGeneration) {
		t.Errorf("a heartbeat of an old generation: %v", err)
	}
	s.join(&kmsg.JoinGroupRequest{MemberID: "m1"}, 0, 1) // it has not given up anything yet
	s.holds("m1", 7, UnrevokedPartitions, []int32{0}, []int32{1})
	s.join(&kmsg.JoinGroupRequest{MemberID: "m1"}, 0)
	s.holds("m1", 8, Stable, []int32{0}, nil)
	s.accepted(request("m2", 8))
	s.holds("m2", 8, Stable, []int32{1}, nil)

	_, change, err := s.group.Heartbeat(s.env, modern.Client{}, request("m2", epochLeave))
	if err != nil || change.Classic == nil {
		t.Fatalf("the last member of the consumer protocol left: %+v, %v", change, err)
	}
	c := change.Classic
	has, err := readAssignment(c.Members[0].Assignment, s.env.Topics)
	if err != nil || len(c.Members) != 1 || c.Generation != 8 || !c.Rebalance || !has.Equal(parts(0)) {
		t.Errorf("%+v with %v: %v", c, has, err)
	}
	s.group.Apply(change)
	if !s.group.Bare() || len(s.group.target) != 0 || len(s.group.owners) != 0 {
		t.Errorf("the consumer group left %+v behind", s.group)
	}
}

// join has a classic member join with what it has, and applies it.
func (s *stage) join(q *kmsg.JoinGroupRequest, owned ...int32) *kmsg.JoinGroupResponse {
	s.Helper()
	q.Version, q.Group, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 9, "g", ProtocolType, 10_000, 10_000
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: said(owned, "a")}}
	r, change, err := s.group.JoinGroup(s.env, modern.Client{}, q)
	if err != nil {
		s.Fatal(err)
	}
	s.group.Apply(change)
	return r
}

// TestStaticSuccessorHasWhatItGaveUp replaces a classic static member in the midst of giving up a partition that it is to keep
// after all: what its predecessor has is its own, and nothing to wait for.
func TestStaticSuccessorHasWhatItGaveUp(t *testing.T) {
	instance := "i"
	s := converted(t, classicOf(7, ClassicMember{ID: "m1", Instance: &instance, Rebalance: time.Minute}, 0, 1))
	s.accepted(joining("m2", "a"))
	s.join(&kmsg.JoinGroupRequest{MemberID: "m1", InstanceID: &instance}, 0, 1)
	s.holds("m1", 7, UnrevokedPartitions, []int32{0}, []int32{1})
	s.accepted(joining("m4", "nothing")) // so that the group does not become classic
	s.accepted(request("m2", epochLeave))
	s.env.NewID = func() string { return "m3" }
	r := s.join(&kmsg.JoinGroupRequest{InstanceID: &instance})
	if r.MemberID != "m3" || s.group.Member("m1") != nil {
		t.Fatalf("the successor was told %+v", r)
	}
	s.holds("m3", r.Generation, Stable, []int32{0, 1}, nil)
}

// TestRefusedUpgrades are classic groups that stay what they are.
func TestRefusedUpgrades(t *testing.T) {
	env := newStage(t, topics{"a": 2}).env
	custom := kmsg.NewConsumerMemberAssignment()
	custom.UserData = []byte{1}
	for name, spoil := range map[string]func(*ClassicGroup, *Env){
		"policy":      func(_ *ClassicGroup, e *Env) { e.Config.Upgrade = false },
		"size":        func(_ *ClassicGroup, e *Env) { e.Config.MaxSize = 0 },
		"user data":   func(c *ClassicGroup, _ *Env) { c.Members[0].Assignment = custom.AppendTo(nil) },
		"metadata":    func(c *ClassicGroup, _ *Env) { c.Members[0].Metadata = []byte{0} },
		"assignment":  func(c *ClassicGroup, _ *Env) { c.Members[0].Assignment = []byte{0} },
		"no metadata": func(c *ClassicGroup, _ *Env) { c.Members[0].Metadata = nil },
	} {
		c, e := classicOf(7, ClassicMember{ID: "m1"}, 0), env
		spoil(c, &e)
		if g, change, err := FromClassic(c, e); !errors.Is(err, kerr.GroupIDNotFound) || g != nil || len(change.Records) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUpgradeIsInItsRecords replays what an upgrade wrote into the same group (N3).
func TestUpgradeIsInItsRecords(t *testing.T) {
	s := newStage(t, topics{"a": 2})
	g, change, err := FromClassic(classicOf(7, ClassicMember{ID: "m1", Client: modern.Client{ID: "c", Host: "/h"}}, 1), s.env)
	if err != nil {
		t.Fatal(err)
	}
	again := New("g")
	for _, r := range change.Records {
		_, back, err := Decode(r.Encode("g"))
		if err != nil {
			t.Fatal(err)
		}
		again.Replay(back)
	}
	if a, b := g.Describe(s.env), again.Describe(s.env); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v, after replay\n%+v", a, b)
	}
}
