package warden

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
	"millrace/standard/warden/moves"
	"millrace/standard/warden/view"
)

// What the control plane asks of a warden.
var _ interface {
	Order(ctx context.Context, c engine.Target, nodes []int32) ([]int32, error)
	MayStop(ctx context.Context, c engine.Target, node int32) (why string, err error)
	Settled(ctx context.Context, c engine.Target) (why string, err error)
	Elect(ctx context.Context, c engine.Target) (left int, err error)
	Drain(ctx context.Context, c engine.Target, brokers []int32) (left int, err error)
	Spread(ctx context.Context, c engine.Target) (left int, err error)
	Leave(ctx context.Context, c engine.Target, broker int32) error
	Finish(ctx context.Context, c engine.Target, version string) error
	Apply(ctx context.Context, c engine.Target, properties map[string]string) (needStart []string, err error)
} = (*Warden)(nil)

func TestLevels(t *testing.T) {
	for version, want := range map[string]int16{
		"4.1.x": 27, "4.1.2": 27, "4.3": 30, "3.9.x": 21, "3.9.x.kraft": 21, "": 0, "4": 0, "5.0.x": 0, "4.x": 0,
	} {
		levels, ok := Levels(version)
		if ok != (want > 0) || levels[metadataVersion] != want {
			t.Errorf("%q: %v, %v", version, levels, ok)
		}
	}
	var before map[string]int16
	for _, r := range releases() {
		for name, l := range before {
			if r.levels[name] < l {
				t.Errorf("%s lowers %s", r.name, name)
			}
		}
		before = r.levels
	}
}

// state is one replica of the metadata, so many milliseconds behind a clock that is at 1,000,000.
func state(id int32, late int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	return kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: id, LastFetchTimestamp: 1e6 - late, LastCaughtUpTimestamp: 1e6 - late}
}

// W1: who does not keep up is not asked.
func TestKeepsUp(t *testing.T) {
	q := &kmsg.DescribeQuorumResponseTopicPartition{LeaderID: 11}
	q.CurrentVoters = append(q.CurrentVoters, state(11, 0), state(12, 300), state(13, 60_000))
	q.Observers = append(q.Observers, state(3, 200), state(2, 200), state(1, 11_000))
	q.Observers = append(q.Observers, kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: 4, LastCaughtUpTimestamp: -1})
	if got := keepsUp(q); !slices.Equal(got, []int32{11, 2, 3, 12}) {
		t.Errorf("%v", got)
	}
	quorum := voters(q)
	for _, v := range quorum.Voters {
		if v.Keeps() != (v.ID != 13) {
			t.Errorf("%+v", v)
		}
	}
	q.CurrentVoters[0].LastCaughtUpTimestamp, q.CurrentVoters[0].LastFetchTimestamp = -1, -1
	if got := keepsUp(q); len(got) != 4 || !slices.Contains(got, 11) {
		t.Errorf("the active controller has no time of its own: %v", got)
	}
}

// W2: one that hangs costs nothing where another answers.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, dead, well := peer{Broker: &kgo.Broker{}}, peer{Broker: &kgo.Broker{}}, peer{Broker: &kgo.Broker{}}
		gone := errors.New("gone")
		ask := func(ctx context.Context, b peer) (int, error) {
			switch b {
			case hung:
				<-ctx.Done()
				return 0, ctx.Err()
			case dead:
				return 0, gone
			}
			return 7, nil
		}
		began := time.Now()
		if n, who, err := first(t.Context(), []peer{hung, dead, well}, ask); n != 7 || who != well || err != nil || time.Since(began) != 0 {
			t.Errorf("%d, %v, %v", n, who, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := first(ctx, []peer{hung, dead}, ask); !errors.Is(err, gone) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// W3: a throttle names the replicas that come and those that they may be copied from, and no others.
func TestWantedThrottles(t *testing.T) {
	now := view.Cluster{Partitions: []view.Partition{
		{Topic: "t", Number: 0, Replicas: []int32{1, 2, 3}},
		{Topic: "t", Number: 1, Replicas: []int32{4, 1, 2}, Adding: []int32{4}, Removing: []int32{1}},
		{Topic: "u", Number: 0, Replicas: []int32{1, 2}},
		{Topic: "v", Number: 0, Replicas: []int32{1, 2}},
	}}
	got := wanted(now, []moves.Move{
		{Topic: "t", Number: 0, Replicas: []int32{1, 2, 4}, Arrive: []int32{4}},
		{Topic: "u", Number: 0, Replicas: []int32{2, 1}},
	})
	if want := map[string]throttles{"t": {"0:1,0:2,0:3,1:1,1:2", "0:4,1:4"}}; !maps.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
