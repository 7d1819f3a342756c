package modern

import (
	"encoding/binary"
	"hash/fnv"
	"iter"
	"slices"

	"millrace/kafka/topic"
)

// Topic is what groups need to know about a topic.
type Topic struct {
	Name       string
	ID         topic.ID
	Partitions int32
}

// Topics is the cluster's metadata as it is now. It must not block.
type Topics interface {
	// TopicByName returns the topic that has this name now; false if there is none.
	TopicByName(name string) (Topic, bool)
	// TopicByID returns the topic with this id; false if there is none any more.
	TopicByID(id topic.ID) (Topic, bool)
	// TopicNames lists all topics, in no order.
	TopicNames() iter.Seq[string]
	// TopicsVersion grows, within one process, with every topic that is created, deleted or gets partitions, once the other
	// methods show it.
	TopicsVersion() int64
}

// NoTopics is a cluster without topics.
type NoTopics struct{}

// TopicByName implements Topics.
func (NoTopics) TopicByName(string) (Topic, bool) { return Topic{}, false }

// TopicByID implements Topics.
func (NoTopics) TopicByID(topic.ID) (Topic, bool) { return Topic{}, false }

// TopicNames implements Topics.
func (NoTopics) TopicNames() iter.Seq[string] { return func(func(string) bool) {} }

// TopicsVersion implements Topics.
func (NoTopics) TopicsVersion() int64 { return 0 }

// Hash stands for the state of the topics with these names, of which some may not exist: 0 if none does. A group whose hash
// has changed needs a new assignment (KIP-1101). It is FNV-1a, where Kafka takes XXH3: nobody but the group looks at it.
func Hash(names iter.Seq[string], topics Topics) int64 {
	h := fnv.New64a()
	some := false
	for _, name := range slices.Sorted(names) {
		t, ok := topics.TopicByName(name)
		if !ok {
			continue
		}
		some = true
		var n [8]byte
		binary.BigEndian.PutUint32(n[:], uint32(t.Partitions))
		binary.BigEndian.PutUint32(n[4:], uint32(len(t.Name)))
		_, _ = h.Write(t.ID[:]) // never fails
		_, _ = h.Write(n[:])
		_, _ = h.Write([]byte(t.Name))
	}
	if !some {
		return 0
	}
	return int64(h.Sum64())
}
