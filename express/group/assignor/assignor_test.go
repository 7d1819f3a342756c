package assignor

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

func id(n int) topic.ID { return topic.ID{0: byte(n), 15: 1} }

// draw makes a group of any shape, with targets that may be stale in any way but never overlap, as a group's never do.
func draw(t *rapid.T) (Spec, map[topic.ID]int32) {
	counts := map[topic.ID]int32{}
	for n := range rapid.IntRange(0, 4).Draw(t, "topics") {
		counts[id(n)] = rapid.Int32Range(1, 12).Draw(t, "partitions")
	}
	all := slices.SortedFunc(maps.Keys(counts), modern.CompareIDs)
	s := Spec{Homogeneous: rapid.Bool().Draw(t, "alike"), Partitions: func(id topic.ID) int32 { return counts[id] }}
	for n := range rapid.IntRange(1, 7).Draw(t, "members") {
		m := Member{ID: fmt.Sprintf("m%d", n), Target: modern.Partitions{}}
		if rapid.Bool().Draw(t, "static") {
			m.Instance = fmt.Sprintf("i%d", 9-n)
		}
		m.Subscribed = all
		if !s.Homogeneous {
			m.Subscribed = slices.DeleteFunc(slices.Clone(all), func(topic.ID) bool { return rapid.Bool().Draw(t, "without") })
		}
		s.Members = append(s.Members, m)
	}
	for n := range 6 { // two of the topics may be gone
		for index := range int32(14) { // and partitions too
			if owner := rapid.IntRange(-3, len(s.Members)-1).Draw(t, "owner"); owner >= 0 {
				target := s.Members[owner].Target
				target[id(n)] = append(target[id(n)], index)
			}
		}
	}
	return s, counts
}

// check verifies A1 and, for alike groups, A2.
func check(t *rapid.T, s Spec, counts map[topic.ID]int32, got map[string]modern.Partitions) {
	owner := map[topic.Partition]string{}
	for _, m := range s.Members {
		for tid, indexes := range got[m.ID].Sorted() {
			if !slices.Contains(m.Subscribed, tid) {
				t.Fatalf("%s got topic %v that it does not subscribe to", m.ID, tid)
			}
			if len(indexes) == 0 || !slices.IsSorted(indexes) {
				t.Fatalf("%s: list %v", m.ID, indexes)
			}
			for _, index := range indexes {
				p := topic.Partition{Topic: tid, Index: index}
				if owner[p] != "" || index >= counts[tid] {
					t.Fatalf("%v goes to %s, belongs to %q, of %d", p, m.ID, owner[p], counts[tid])
				}
				owner[p] = m.ID
			}
		}
	}
	for tid := range s.subscribers() {
		for index := range counts[tid] {
			if owner[topic.Partition{Topic: tid, Index: index}] == "" {
				t.Fatalf("nobody got %v-%d", tid, index)
			}
		}
	}
}

// again makes the assignment the members' target.
func again(s Spec, got map[string]modern.Partitions) Spec {
	s.Members = slices.Clone(s.Members)
	for i, m := range s.Members {
		s.Members[i].Target = got[m.ID]
	}
	return s
}

func TestUniformProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, counts := draw(t)
		got := Uniform(s)
		check(t, s, counts, got)
		for i, a := range s.Members {
			for _, b := range s.Members[i+1:] {
				more, less, poor := got[a.ID], got[b.ID], b
				if more.Len() < less.Len() {
					more, less, poor = less, more, a
				}
				if more.Len() <= less.Len()+1 {
					continue
				}
				for tid := range more {
					if slices.Contains(poor.Subscribed, tid) {
						t.Fatalf("%s has %d, %s has %d, and %v could move", a.ID, got[a.ID].Len(), b.ID, got[b.ID].Len(), tid)
					}
				}
			}
		}
		if next := Uniform(again(s, got)); s.Homogeneous && !maps.EqualFunc(got, next, modern.Partitions.Equal) && evenFirst(s, got) {
			t.Fatalf("changed without a reason: %v, then %v", got, next)
		} else if !s.Homogeneous && !maps.EqualFunc(got, next, modern.Partitions.Equal) {
			t.Fatalf("changed without a reason: %v, then %v", got, next)
		}
	})
}

// evenFirst says whether those with one more come first, as Uniform hands out its quotas.
func evenFirst(s Spec, got map[string]modern.Partitions) bool {
	for i := 1; i < len(s.Members); i++ {
		if got[s.Members[i].ID].Len() > got[s.Members[i-1].ID].Len() {
			return false
		}
	}
	return true
}

func TestRangeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, counts := draw(t)
		got := Range(s)
		check(t, s, counts, got)
		for tid, subscribers := range s.subscribers() {
			least, most := 1000, 0
			for _, i := range subscribers {
				n := len(got[s.Members[i].ID][tid])
				least, most = min(least, n), max(most, n)
			}
			if most > least+1 {
				t.Fatalf("of %v one has %d, another %d", tid, least, most)
			}
		}
		if next := Range(again(s, got)); !maps.EqualFunc(got, next, modern.Partitions.Equal) {
			t.Fatalf("changed without a reason: %v, then %v", got, next)
		}
	})
}

// TestRangeFromNothing shows that topics with equal partitioning are cut alike, and static members come first.
func TestRangeFromNothing(t *testing.T) {
	both := []topic.ID{id(1), id(2)}
	s := Spec{Homogeneous: true, Partitions: func(topic.ID) int32 { return 5 }, Members: []Member{
		{ID: "a", Subscribed: both}, {ID: "b", Subscribed: both, Instance: "x"}, {ID: "c", Subscribed: both},
	}}
	want := map[string]modern.Partitions{
		"b": {id(1): {0, 1}, id(2): {0, 1}}, "a": {id(1): {2, 3}, id(2): {2, 3}}, "c": {id(1): {4}, id(2): {4}},
	}
	if got := Range(s); !maps.EqualFunc(got, want, modern.Partitions.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}
