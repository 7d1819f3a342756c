package modern

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"millrace/kafka/topic"
)

// Partitions are partitions by topic. Each list is not empty, ascending and without repetitions. A nil value has none.
type Partitions map[topic.ID][]int32

// Sorted goes through the topics in the order of their ids.
func (p Partitions) Sorted() iter.Seq2[topic.ID, []int32] { return sorted(p) }

// Equal says whether both are the same partitions.
func (p Partitions) Equal(o Partitions) bool {
	return maps.EqualFunc(p, o, slices.Equal[[]int32])
}

// Has says whether a partition is among them.
func (p Partitions) Has(t topic.ID, index int32) bool {
	_, ok := slices.BinarySearch(p[t], index)
	return ok
}

// Len counts the partitions.
func (p Partitions) Len() int {
	n := 0
	for _, indexes := range p {
		n += len(indexes)
	}
	return n
}

// Owned are the partitions that a member has, by topic, each with the epoch at which it was assigned. No inner map is
// empty. A nil value has none.
type Owned map[topic.ID]map[int32]int32

// Sorted goes through the topics in the order of their ids.
func (o Owned) Sorted() iter.Seq2[topic.ID, map[int32]int32] { return sorted(o) }

// Equal says whether both are the same partitions with the same epochs.
func (o Owned) Equal(other Owned) bool {
	return maps.EqualFunc(o, other, maps.Equal[map[int32]int32, map[int32]int32])
}

// Has says whether a partition is among them.
func (o Owned) Has(t topic.ID, index int32) bool {
	_, ok := o[t][index]
	return ok
}

// Partitions are the partitions without their epochs.
func (o Owned) Partitions() Partitions {
	out := make(Partitions, len(o))
	for t, indexes := range o {
		out[t] = slices.Sorted(maps.Keys(indexes))
	}
	return out
}

// At gives all partitions the same epoch.
func (p Partitions) At(epoch int32) Owned {
	out := make(Owned, len(p))
	for t, indexes := range p {
		out[t] = make(map[int32]int32, len(indexes))
		for _, index := range indexes {
			out[t][index] = epoch
		}
	}
	return out
}

func sorted[V any](m map[topic.ID]V) iter.Seq2[topic.ID, V] {
	ids := slices.SortedFunc(maps.Keys(m), CompareIDs)
	return func(yield func(topic.ID, V) bool) {
		for _, id := range ids {
			if !yield(id, m[id]) {
				return
			}
		}
	}
}

// CompareIDs orders topic ids by their bytes.
func CompareIDs(a, b topic.ID) int { return bytes.Compare(a[:], b[:]) }
