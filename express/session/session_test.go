package session

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

func sessionRequest(id, epoch int32, partitions int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.Version, q.SessionID, q.SessionEpoch = 13, id, epoch
	in := kmsg.NewFetchRequestTopic()
	for i := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = i
		in.Partitions = append(in.Partitions, p)
	}
	q.Topics = append(q.Topics, in)
	return q
}

func itself(o *Outcome) Outcome { return *o }

// openSession makes a full request and returns the session that came of it.
func openSession(t *testing.T, s *Sessions, partitions int32) int32 {
	t.Helper()
	plan, code := s.Plan(sessionRequest(0, epochInitial, partitions))
	if code != kerr.None {
		t.Fatal(code)
	}
	id, _ := Conclude(s, &plan, true, make([]Outcome, len(plan.Parts)), itself)
	return id
}

// Slots are bounded: an idle session goes for anybody, an old and smaller one for a larger newcomer.
func TestSessionEviction(t *testing.T) {
	clk := clock.NewManual(time.Unix(1000, 0))
	s := New(clk, 2)
	small, large := openSession(t, s, 1), openSession(t, s, 5)
	if small == 0 || large == 0 || small == large {
		t.Fatalf("sessions %d, %d", small, large)
	}
	if id := openSession(t, s, 9); id != 0 {
		t.Fatalf("a young session was replaced")
	}
	clk.Advance(sessionGrace / 2)
	for _, id := range []int32{small, large} { // both are used
		plan, code := s.Plan(sessionRequest(id, 1, 0))
		if code != kerr.None {
			t.Fatal(code)
		}
		Conclude(s, &plan, true, nil, itself)
	}
	clk.Advance(sessionGrace/2 + time.Second)
	if id := openSession(t, s, 1); id != 0 {
		t.Error("a newcomer that is no larger got a slot")
	}
	third := openSession(t, s, 3)
	if third == 0 {
		t.Fatal("a larger newcomer got no slot")
	}
	if _, code := s.Plan(sessionRequest(small, 2, 0)); code != kerr.FetchSessionIDNotFound {
		t.Errorf("the smallest stayed: %s", code.Name())
	}
	clk.Advance(sessionGrace + time.Second)
	if id := openSession(t, s, 1); id == 0 {
		t.Error("no idle session was replaced")
	}
	if len(s.all) != 2 {
		t.Errorf("%d sessions", len(s.all))
	}
}

// The partitions of all sessions are bounded, whether they come at once or bit by bit.
func TestSessionPartitionsAreBounded(t *testing.T) {
	s := New(clock.NewManual(time.Unix(0, 0)), 1000)
	if id := openSession(t, s, sessionPartitionsMost+1); id != 0 {
		t.Error("too large a session was made")
	}
	id := openSession(t, s, sessionPartitionsMost)
	if id == 0 || openSession(t, s, 1) != 0 {
		t.Error("the bound is not kept")
	}
	grow := sessionRequest(id, 1, 1)
	grow.Topics[0].TopicID = topic.ID{1}
	if _, code := s.Plan(grow); code != kerr.FetchSessionIDNotFound {
		t.Errorf("%s", code.Name())
	}
	if s.partitions != 0 || len(s.all) != 0 {
		t.Errorf("%d partitions in %d sessions", s.partitions, len(s.all))
	}
}

func TestEpochsWrapToOne(t *testing.T) {
	for epoch, want := range map[int32]int32{0: 1, 1: 2, 1<<31 - 1: 1} {
		if got := nextEpoch(epoch); got != want {
			t.Errorf("after %d: %d, want %d", epoch, got, want)
		}
	}
}

// A request that replaces a session gives its partitions back.
func TestAFullRequestEndsTheSessionThatItNames(t *testing.T) {
	s := New(clock.NewManual(time.Unix(0, 0)), 10)
	id := openSession(t, s, 3)
	plan, code := s.Plan(sessionRequest(id, epochInitial, 1))
	if code != kerr.None {
		t.Fatal(code)
	}
	if again, _ := Conclude(s, &plan, true, make([]Outcome, 1), itself); again == 0 || again == id {
		t.Errorf("session %d after %d", again, id)
	}
	if s.partitions != 1 || len(s.all) != 1 {
		t.Errorf("%d partitions in %d sessions", s.partitions, len(s.all))
	}
}
