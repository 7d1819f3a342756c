package assignor

import (
	"cmp"
	"maps"
	"slices"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// Range is Kafka's assignor of that name.
func Range(s Spec) map[string]modern.Partitions {
	members := slices.Clone(s.Members)
	slices.SortStableFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(dynamic(a), dynamic(b)), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.ID, b.ID))
	})
	s.Members = members
	hands := newHands(len(members))
	subscribers := s.subscribers()
	for _, id := range slices.SortedFunc(maps.Keys(subscribers), modern.CompareIDs) {
		rangeTopic(s, id, subscribers[id], hands)
	}
	return result(members, hands)
}

func dynamic(m Member) int {
	if m.Instance == "" {
		return 1
	}
	return 0
}

// rangeTopic gives out the partitions of one topic. Those who come first, and those who had one more before, have one more.
func rangeTopic(s Spec, id topic.ID, subscribers []int, hands []hand) {
	count := s.Partitions(id)
	least, extra := int(count)/len(subscribers), int(count)%len(subscribers)
	kept := map[int32]bool{}
	keep := func(member int, index int32) {
		kept[index] = true
		hands[member].add(topic.Partition{Topic: id, Index: index})
	}
	type need struct{ member, more int }
	var needs []need
	for _, member := range subscribers {
		had := slices.DeleteFunc(slices.Clone(s.Members[member].Target[id]), func(index int32) bool { return kept[index] || index >= count })
		for _, index := range had[:min(len(had), least)] {
			keep(member, index)
		}
		if len(had) > least && extra > 0 {
			extra--
			keep(member, had[least])
			continue
		}
		needs = append(needs, need{member, max(least-len(had), 0)})
	}
	next := int32(0)
	for _, n := range needs {
		if extra > 0 {
			n.more++
			extra--
		}
		for ; n.more > 0; next++ {
			if !kept[next] {
				hands[n.member].add(topic.Partition{Topic: id, Index: next})
				n.more--
			}
		}
	}
}
