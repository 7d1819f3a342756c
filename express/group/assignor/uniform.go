package assignor

import (
	"cmp"
	"maps"
	"slices"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// Uniform is Kafka's assignor of that name.
func Uniform(s Spec) map[string]modern.Partitions {
	if len(s.Members) == 0 {
		return nil
	}
	if s.Homogeneous {
		return uniformAlike(s)
	}
	return uniformMixed(s)
}

// uniformAlike gives each member its quota: what it had, up to there, and then what nobody has.
func uniformAlike(s Spec) map[string]modern.Partitions {
	subscribed := s.Members[0].Subscribed
	hands := newHands(len(s.Members))
	kept := map[topic.Partition]bool{}
	total := 0
	for _, id := range subscribed {
		total += int(s.Partitions(id))
	}
	least, extra := total/len(s.Members), total%len(s.Members)
	quotas := make([]int, len(s.Members))
	for i, m := range s.Members {
		quotas[i] = least
		if extra > 0 {
			quotas[i]++
			extra--
		}
		for id, indexes := range m.Target.Sorted() {
			if _, ok := slices.BinarySearchFunc(subscribed, id, modern.CompareIDs); !ok {
				continue
			}
			for _, index := range indexes {
				p := topic.Partition{Topic: id, Index: index}
				if quotas[i] > 0 && !kept[p] && index < s.Partitions(id) {
					quotas[i]--
					kept[p] = true
					hands[i].add(p)
				}
			}
		}
	}
	next := 0
	for _, id := range subscribed {
		for index := range s.Partitions(id) {
			p := topic.Partition{Topic: id, Index: index}
			if kept[p] {
				continue
			}
			for quotas[next] == 0 {
				next++
			}
			quotas[next]--
			hands[next].add(p)
		}
	}
	return result(s.Members, hands)
}

// mixed is an assignment in the making where members subscribe to different topics.
type mixed struct {
	Spec
	subscribers map[topic.ID][]int
	all         []topic.Partition // the hardest to place first
	hands       []hand
	size        []int // of each hand
	owner       map[topic.Partition]int
}

// uniformMixed keeps what members had, gives the rest to whoever has the least, and then moves partitions from those who
// have more to those who have less while that evens things out.
func uniformMixed(s Spec) map[string]modern.Partitions {
	m := &mixed{
		Spec: s, subscribers: s.subscribers(), hands: newHands(len(s.Members)), size: make([]int, len(s.Members)),
		owner: map[topic.Partition]int{},
	}
	m.order()
	for i, member := range s.Members {
		for id, indexes := range member.Target.Sorted() {
			if _, ok := slices.BinarySearchFunc(member.Subscribed, id, modern.CompareIDs); !ok {
				continue
			}
			for _, index := range indexes {
				p := topic.Partition{Topic: id, Index: index}
				if _, taken := m.owner[p]; !taken && index < s.Partitions(id) {
					m.give(p, i)
				}
			}
		}
	}
	for _, p := range m.all {
		if _, taken := m.owner[p]; !taken {
			m.give(p, m.poorest(p.Topic))
		}
	}
	for m.balance() { // each move makes the sum of the squares of the sizes smaller, so this ends
	}
	return result(s.Members, m.hands)
}

// order lists all partitions: those of topics with many partitions for each subscriber first, then those with few
// subscribers.
func (m *mixed) order() {
	ids := slices.SortedFunc(maps.Keys(m.subscribers), modern.CompareIDs)
	for _, id := range ids {
		for index := range m.Partitions(id) {
			m.all = append(m.all, topic.Partition{Topic: id, Index: index})
		}
	}
	weight := func(id topic.ID) float64 { return float64(m.Partitions(id)) / float64(len(m.subscribers[id])) }
	slices.SortStableFunc(m.all, func(a, b topic.Partition) int {
		return cmp.Or(
			-cmp.Compare(weight(a.Topic), weight(b.Topic)),
			cmp.Compare(len(m.subscribers[a.Topic]), len(m.subscribers[b.Topic])),
			cmp.Compare(a.Index, b.Index),
		)
	})
}

// poorest is the subscriber of a topic that has the least.
func (m *mixed) poorest(id topic.ID) int {
	return slices.MinFunc(m.subscribers[id], func(a, b int) int { return cmp.Or(cmp.Compare(m.size[a], m.size[b]), cmp.Compare(a, b)) })
}

// balance moves each partition once where that helps, and reports whether it did.
func (m *mixed) balance() (moved bool) {
	for _, p := range m.all {
		from, to := m.owner[p], m.poorest(p.Topic)
		if m.size[from] > m.size[to]+1 {
			m.hands[from].remove(p)
			m.size[from]--
			m.give(p, to)
			moved = true
		}
	}
	return moved
}

func (m *mixed) give(p topic.Partition, to int) {
	m.hands[to].add(p)
	m.size[to]++
	m.owner[p] = to
}
