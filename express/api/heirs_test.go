package api

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// silent is a Presence that says what the test wants, and tells when it is asked.
type silent struct {
	mu    sync.Mutex
	ids   []int32
	asked chan []int32
}

func (s *silent) Silent(_ context.Context, brokers []int32, _ <-chan struct{}) []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked <- slices.Clone(brokers)
	return slices.DeleteFunc(slices.Clone(brokers), func(id int32) bool { return !slices.Contains(s.ids, id) })
}

func (s *silent) set(ids ...int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = ids
}

// newSilentEnv is a broker with topic "orders", of which partitions 1 and 2 are of brokers 7 and 8; 7 is silent.
func newSilentEnv(t *testing.T) (*env, *silent) {
	s := &silent{ids: []int32{7}, asked: make(chan []int32, 1000)}
	e := newEnv(t, options{presence: s})
	e.create("orders", 3, nil)
	e.create("mine", 1, nil)
	e.moveAway("orders", 1, 7, 3)
	e.moveAway("orders", 2, 8, 3)
	return e, s
}

func leadersOf(c *conn, topics ...string) []int32 {
	q := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		q.Topics = append(q.Topics, t)
	}
	var leaders []int32
	for _, t := range ask[*kmsg.MetadataResponse](c, 13, q).Topics {
		for _, p := range t.Partitions {
			leaders = append(leaders, p.Leader)
		}
	}
	return leaders
}

// An answer that would name a leader that is away waits for its heir, through the time in which there is none.
func TestMetadataWaitsForTheHeir(t *testing.T) {
	e, s := newSilentEnv(t)
	answer := make(chan []int32, 1)
	go func() { answer <- leadersOf(e.dial(), "orders") }()
	if asked := <-s.asked; !slices.Equal(asked, []int32{7, 8}) {
		t.Errorf("asked for %v", asked)
	}
	e.remove("brokers/7")
	e.eventually(func() bool { return len(e.catalog.Brokers()) == 2 })
	if asked := <-s.asked; !slices.Equal(asked, []int32{7, 8}) {
		t.Errorf("asked again for %v", asked)
	}
	e.moveAway("orders", 1, 8, 4)
	if got := <-answer; !slices.Equal(got, []int32{1, 8, 8}) {
		t.Errorf("leaders %v", got)
	}
}

// It waits no longer when the leader is there after all.
func TestMetadataWaitsUntilTheLeaderAnswers(t *testing.T) {
	e, s := newSilentEnv(t)
	answer := make(chan []int32, 1)
	go func() { answer <- leadersOf(e.dial(), "orders") }()
	<-s.asked
	s.set()
	if got := <-answer; !slices.Equal(got, []int32{1, 7, 8}) {
		t.Errorf("leaders %v", got)
	}
}

// Nobody waits who asked for other topics, or for all, or on a connection that has carried records.
func TestMetadataThatDoesNotWait(t *testing.T) {
	e, s := newSilentEnv(t)
	if got := leadersOf(e.dial(), "mine"); !slices.Equal(got, []int32{1}) || len(s.asked) != 0 {
		t.Errorf("leaders %v, asked %d times", got, len(s.asked))
	}
	all := ask[*kmsg.MetadataResponse](e.dial(), 13, &kmsg.MetadataRequest{})
	if len(all.Topics) != 2 || len(s.asked) != 0 {
		t.Errorf("%d topics, asked %d times", len(all.Topics), len(s.asked))
	}
	c := e.dial()
	q := kmsg.NewPtrProduceRequest()
	q.Acks = -1
	ask[*kmsg.ProduceResponse](c, 9, q)
	if got := leadersOf(c, "orders"); !slices.Equal(got, []int32{1, 7, 8}) || len(s.asked) != 0 {
		t.Errorf("leaders %v, asked %d times", got, len(s.asked))
	}
}
