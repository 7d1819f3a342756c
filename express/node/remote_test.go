package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/express/catalog"
	"millrace/express/coord"
	"millrace/express/machine"
	"millrace/express/peer"
	"millrace/kafka/kerr"
)

// A partition whose owner does not know it yet is not passed over: only one that is gone has nothing to end.
func TestMarkersForATopicThatTheOwnerDoesNotKnow(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := catalog.Open(ctx, catalog.Config{Prefix: "c/", Self: catalog.Broker{ID: 1, Incarnation: 1, Host: "h", Port: 1}},
		catalog.World{KV: kv.NewMemory(), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	if err := c.Register(ctx); err != nil {
		t.Fatal(err)
	}
	topic, err := c.CreateTopic(ctx, catalog.NewTopic{Name: "t", Partitions: 1, ReplicationFactor: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := &remoteMarkers{remote: &remote{self: 1, catalog: c}}
	for _, code := range []kerr.Code{kerr.InvalidProducerEpoch, kerr.NotLeaderOrFollower} {
		if got := kerr.Of(r.judge(topic, code)); got != code {
			t.Errorf("%v became %v", code, got)
		}
	}
	if got := kerr.Of(r.judge(topic, nil)); got != kerr.None {
		t.Errorf("success became %v", got)
	}
	if got := kerr.Of(r.judge(topic, kerr.UnknownTopicOrPartition)); got != kerr.NotLeaderOrFollower {
		t.Errorf("while the topic exists: %v", got)
	}
	if err := c.DeleteTopic(ctx, topic.ID); err != nil {
		t.Fatal(err)
	}
	if got := kerr.Of(r.judge(topic, kerr.UnknownTopicOrPartition)); got != kerr.UnknownTopicOrPartition {
		t.Errorf("after its deletion: %v", got)
	}
	r.WriteMarker(ctx, machine.TopicPartition{Topic: "t"}, machine.Marker{}, func(err error) {
		if kerr.Of(err) != kerr.UnknownTopicOrPartition {
			t.Errorf("a marker for it: %v", err)
		}
	})
}

// What did not come from a coordinator is asked for again, and its own word is passed on.
func TestAnswersThatDidNotComeAreAskedForAgain(t *testing.T) {
	for _, f := range []struct {
		err  error
		want kerr.Code
	}{
		{nil, kerr.None}, {kerr.FencedStateEpoch, kerr.FencedStateEpoch}, {peer.ErrAway, kerr.NotCoordinator}, {peer.ErrBusy, kerr.NotCoordinator},
		{peer.ErrClosed, kerr.NotCoordinator}, {context.Canceled, kerr.CoordinatorNotAvailable}, {coord.ErrClosed, kerr.Of(coord.ErrClosed)},
	} {
		got := soon(f.err)
		if kerr.Of(got) != f.want || !errors.Is(got, f.err) {
			t.Errorf("%v became %v", f.err, got)
		}
	}
}
