package catalog

import (
	"context"
	"strconv"
	"testing"

	"millrace/base/kv"
)

// A topic and its partitions are written at one revision, and their events may come apart: whoever waits for the write
// waits until the subscribers know of the topic, not of a partition alone.
func TestWriteWaitsForSubscribersWhenItsEventsComeApart(t *testing.T) {
	store := newMemory(t)
	writer := open(t, store, self(1, 1))
	if err := writer.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, writer)
	c := open(t, store, self(2, 1))
	c.following.Store(true) // this test feeds it
	made, err := writer.CreateTopic(t.Context(), NewTopic{Name: "orders", Partitions: 1, ReplicationFactor: 1})
	if err != nil {
		t.Fatal(err)
	}
	event := func(key string) kv.Event {
		item, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return kv.Event{Type: kv.EventPut, Item: item}
	}
	partition, named := event(c.partitionPrefix(made.ID)+strconv.Itoa(0)), event(c.topicKey("orders"))
	if partition.Item.ModRev != named.Item.ModRev {
		t.Fatalf("revisions %d and %d: this test wants one", partition.Item.ModRev, named.Item.ModRev)
	}
	telling, tell, fed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer c.Subscribe(func(_, _ *Topic) { close(telling); <-tell })()
	c.feed(partition, nil)
	go func() { defer close(fed); c.feed(named, nil) }()
	<-telling
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if c.await(done, sawTopic("orders", named.Item.ModRev)) == nil {
		t.Error("the write counts as known while a subscriber is being told")
	}
	close(tell)
	<-fed
	if err := c.await(done, sawTopic("orders", named.Item.ModRev)); err != nil {
		t.Errorf("all know, and yet: %v", err)
	}
}
