package controller

import (
	"cmp"
	"slices"
)

// evening is one run of even.
type evening struct {
	*load
	cursors map[[2]int]*cursor // of pairs of brokers
	byOwner [][]place          // free partitions by the broker that has them; those that were sent stay in it
	low     int                // see fair
	high    int
}

// cursor is how far the partitions of one broker were looked through for another one.
type cursor struct {
	grade int // see suits
	next  int
}

// gradesMost: partitions are taken in this many grades.
const gradesMost = 3

// even evens out the brokers' totals, and makes no topic less even by it.
func (l *load) even() {
	total := func(b int) int { return l.total[b] }
	if !l.uneven(total) && !l.starved() {
		return
	}
	e := &evening{load: l, byOwner: make([][]place, len(l.brokers))}
	e.low, e.high = l.fair(l.sum(total))
	for t := range l.topics {
		for p, free := range l.free[t] {
			if free {
				b := l.goal[t][p]
				e.byOwner[b] = append(e.byOwner[b], place{t, p})
			}
		}
	}
	// What did not suit may suit after other partitions have moved.
	for moved := true; moved; {
		e.cursors, moved = make(map[[2]int]*cursor), false
		for e.step() {
			moved = true
		}
	}
}

// step moves one partition from a broker with many to one with few, as far apart as can be.
func (e *evening) step() bool {
	order := slices.Clone(e.takers)
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(e.total[b], e.total[a]), cmp.Compare(a, b)) })
	for _, from := range order {
		if e.out[from] >= movesMost || e.total[from] <= e.low {
			continue
		}
		for _, to := range slices.Backward(order) {
			if e.total[from]-e.total[to] < 2 {
				break
			}
			if !e.room(to) || e.total[to] >= e.high {
				continue
			}
			if at, ok := e.pick(from, to); ok {
				e.send(at, to)
				return true
			}
		}
	}
	return false
}

// pick finds the partition that goes best from one broker to another.
func (e *evening) pick(from, to int) (place, bool) {
	c := e.cursors[[2]int{from, to}]
	if c == nil {
		c = &cursor{}
		e.cursors[[2]int{from, to}] = c
	}
	for ; c.grade < gradesMost; c.grade, c.next = c.grade+1, 0 {
		for c.next < len(e.byOwner[from]) {
			at := e.byOwner[from][c.next]
			c.next++
			if e.free[at.topic][at.partition] && e.suits(at.topic, from, to, c.grade) {
				return at, true
			}
		}
	}
	return place{}, false
}

// suits tells whether a partition of a topic may go: its topic becomes more even (0), or not less even and its
// zones not less (1), or not less even (2).
func (e *evening) suits(t, from, to, grade int) bool {
	more := e.count(t, from) - e.count(t, to)
	switch grade {
	case 0:
		return more > 1
	case 1:
		return more > 0 && (e.brokers[from].Rack == e.brokers[to].Rack || e.inZone(t, from) > e.inZone(t, to))
	default:
		return more > 0
	}
}
