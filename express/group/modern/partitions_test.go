package modern

import (
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/kafka/topic"
)

// id is a topic id that orders as n does.
func id(n byte) topic.ID { return topic.ID{0: n, 15: 1} }

// pair names one partition.
type pair struct {
	topic topic.ID
	index int32
}

// drawOwned draws partitions with epochs, and the same as a plain map.
func drawOwned(t *rapid.T) (Owned, map[pair]int32) {
	owned, plain := Owned{}, map[pair]int32{}
	for range rapid.IntRange(0, 8).Draw(t, "partitions") {
		p := pair{id(rapid.ByteRange(1, 3).Draw(t, "topic")), rapid.Int32Range(0, 4).Draw(t, "index")}
		epoch := rapid.Int32Range(0, 9).Draw(t, "epoch")
		owned.add(p.topic, p.index, epoch)
		plain[p] = epoch
	}
	return owned, plain
}

// TestOwnedIsASet holds Owned and Partitions against a plain map.
func TestOwnedIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owned, plain := drawOwned(t)
		partitions := owned.Partitions()
		if partitions.Len() != len(plain) {
			t.Fatalf("%v counts %d, want %d", partitions, partitions.Len(), len(plain))
		}
		for n := byte(1); n <= 3; n++ {
			for index := range int32(5) {
				_, want := plain[pair{id(n), index}]
				if owned.Has(id(n), index) != want || partitions.Has(id(n), index) != want {
					t.Fatalf("topic %d partition %d: %v, %v, want %v", n, index, owned, partitions, want)
				}
			}
		}
		var last topic.ID
		for topicID, indexes := range partitions.Sorted() {
			if CompareIDs(last, topicID) >= 0 || len(indexes) == 0 || !slices.IsSorted(indexes) {
				t.Fatalf("%v is not sorted, or has an empty list", partitions)
			}
			last = topicID
		}
		other, otherPlain := drawOwned(t)
		if owned.Equal(other) != maps.Equal(plain, otherPlain) {
			t.Fatalf("%v equal %v: %v", owned, other, owned.Equal(other))
		}
		if again := partitions.At(7); !again.Partitions().Equal(partitions) || !again.Equal(again.Partitions().At(7)) {
			t.Fatalf("%v at an epoch is %v", partitions, again)
		}
	})
}

// TestIterationStops breaks off in the middle.
func TestIterationStops(t *testing.T) {
	p := Partitions{id(2): {0}, id(1): {1}, id(3): {2}}
	for topicID := range p.Sorted() {
		if topicID != id(1) {
			t.Errorf("begins with %v", topicID)
		}
		break
	}
}

// topics are topics by name.
type topics map[string]Topic

func (t topics) TopicByName(name string) (Topic, bool) {
	found, ok := t[name]
	found.Name = name
	return found, ok
}

func (t topics) TopicByID(topic.ID) (Topic, bool) { return Topic{}, false }

func (t topics) TopicNames() iter.Seq[string] { return maps.Keys(t) }

func (t topics) TopicsVersion() int64 { return 1 }

// TestHash changes with whatever a new assignment would have to follow, and with nothing else.
func TestHash(t *testing.T) {
	of := func(topics topics, wanted ...string) int64 { return Hash(slices.Values(wanted), topics) }
	all := topics{"a": {ID: id(1), Partitions: 1}, "b": {ID: id(2), Partitions: 2}, "c": {ID: id(3), Partitions: 3}}
	but := func(name string, t Topic) topics {
		other := maps.Clone(all)
		other[name] = t
		return other
	}
	base := of(all, "a", "b")
	if base == 0 {
		t.Error("there are topics, and the hash is 0")
	}
	if got := of(all, "b", "nobody", "a"); got != base {
		t.Error("the order of names, or one that does not exist, changes the hash")
	}
	for name, other := range map[string]int64{
		"one topic less":         of(all, "a"),
		"one more":               of(all, "a", "b", "c"),
		"deleted and made again": of(but("b", Topic{ID: id(4), Partitions: 2}), "a", "b"),
		"more partitions":        of(but("b", Topic{ID: id(2), Partitions: 3}), "a", "b"),
	} {
		if other == base || other == 0 {
			t.Errorf("%s: the hash is %d, as before %d", name, other, base)
		}
	}
	if got := of(but("c", Topic{ID: id(3), Partitions: 9}), "a", "b"); got != base {
		t.Error("a topic that nobody reads changes the hash")
	}
	if got := of(nil, "a"); got != 0 {
		t.Errorf("without topics the hash is %d", got)
	}
	if got := Hash(slices.Values([]string{"a"}), NoTopics{}); got != 0 {
		t.Errorf("in a cluster without topics the hash is %d", got)
	}
}
