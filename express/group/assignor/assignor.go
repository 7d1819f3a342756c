package assignor

import (
	"maps"
	"slices"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// Member is one member as an assignor sees it.
type Member struct {
	ID         string
	Instance   string            // "" for a dynamic member
	Subscribed []topic.ID        // that exist, ascending
	Target     modern.Partitions // what it was to have until now
}

// Spec is what an assignor works with.
type Spec struct {
	Members     []Member // ascending by id
	Homogeneous bool     // all members subscribe to the same
	Partitions  func(topic.ID) int32
}

// Func computes the partitions that each member shall have; members without partitions may be missing.
type Func func(Spec) map[string]modern.Partitions

// The names of the assignors, as in group.consumer.assignors.
const (
	UniformName = "uniform"
	RangeName   = "range"
)

// ByName finds an assignor.
func ByName(name string) (Func, bool) {
	switch name {
	case UniformName:
		return Uniform, true
	case RangeName:
		return Range, true
	default:
		return nil, false
	}
}

// subscribers lists who subscribes to each topic, by index and in the order of the members.
func (s *Spec) subscribers() map[topic.ID][]int {
	out := map[topic.ID][]int{}
	for i, m := range s.Members {
		for _, id := range m.Subscribed {
			out[id] = append(out[id], i)
		}
	}
	return out
}

// hand is what one member holds while an assignment is made.
type hand map[topic.ID]map[int32]bool

func (h hand) add(p topic.Partition) {
	if h[p.Topic] == nil {
		h[p.Topic] = map[int32]bool{}
	}
	h[p.Topic][p.Index] = true
}

func (h hand) remove(p topic.Partition) {
	if delete(h[p.Topic], p.Index); len(h[p.Topic]) == 0 {
		delete(h, p.Topic)
	}
}

func (h hand) partitions() modern.Partitions {
	out := make(modern.Partitions, len(h))
	for id, indexes := range h {
		out[id] = slices.Sorted(maps.Keys(indexes))
	}
	return out
}

func result(members []Member, hands []hand) map[string]modern.Partitions {
	out := make(map[string]modern.Partitions, len(members))
	for i, m := range members {
		out[m.ID] = hands[i].partitions()
	}
	return out
}

func newHands(n int) []hand {
	hands := make([]hand, n)
	for i := range hands {
		hands[i] = hand{}
	}
	return hands
}
