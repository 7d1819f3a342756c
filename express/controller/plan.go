package controller

import (
	"cmp"

	"millrace/express/catalog"
	"millrace/kafka/topic"
)

// movesMost bounds the partitions that are on their way from one broker, and to one.
const movesMost = 256

// State is what Plan goes by, and does not change.
type State struct {
	Brokers []catalog.Broker // live, by id
	Topics  []*catalog.Topic // by name
	Gone    map[Owner]bool   // owners that are away for good and whose logs others can read; nil: none
}

// Plan gives the orders that bring the cluster nearer to what it should be, no partition twice; none when all
// is well or under way. Apply them and ask again.
func Plan(s State) []catalog.Move {
	l := newLoad(s)
	l.withdraw()
	l.drain()
	for t := range l.topics {
		l.spread(t)
	}
	l.even()
	return l.sorted()
}

func partitionID(t *catalog.Topic, index int) topic.Partition {
	return topic.Partition{Topic: t.ID, Index: int32(index)}
}

// each calls f for the partitions of live owners.
func (l *load) each(f func(at place, part catalog.Partition, owner int)) {
	for t, tp := range l.topics {
		for p, part := range tp.Partitions {
			if owner := l.find(part.Owner); owner != nobody {
				f(place{t, p}, part, owner)
			}
		}
	}
}

// misled tells whether a partition's order points to a broker that does not take it.
func (l *load) misled(part catalog.Partition) bool {
	if part.To == 0 {
		return false
	}
	to := l.find(part.To)
	return to == nobody || l.brokers[to].Draining || part.To == part.Owner
}

// withdraw takes back orders that nobody can follow (P1), but for those of draining brokers.
func (l *load) withdraw() {
	if l.orders == 0 {
		return
	}
	l.each(func(at place, part catalog.Partition, owner int) {
		if !l.brokers[owner].Draining && l.misled(part) {
			l.stay(at)
		}
	})
}

// drain sends away what draining brokers have (P2), also where it was to go elsewhere (P1).
func (l *load) drain() {
	if !l.drains {
		return
	}
	l.each(func(at place, part catalog.Partition, owner int) {
		if !l.brokers[owner].Draining {
			return
		}
		misled := l.misled(part)
		if !misled && (!l.free[at.topic][at.partition] || l.out[owner] >= movesMost) {
			return
		}
		if to := l.nearest(at.topic); to != nobody {
			l.send(at, to)
		} else if misled {
			l.stay(at)
		}
	})
}

// nearest is the taker with room that a partition of a topic goes to best.
func (l *load) nearest(t int) int {
	best := nobody
	for _, b := range l.takers {
		if l.room(b) && (best == nobody || l.before(t, b, best)) {
			best = b
		}
	}
	return best
}

// before tells whether a partition of topic t goes to a rather than to b.
func (l *load) before(t, a, b int) bool {
	if by := cmp.Or(cmp.Compare(l.count(t, a), l.count(t, b)), cmp.Compare(l.total[a], l.total[b])); by != 0 {
		return by < 0
	}
	return cmp.Or(cmp.Compare(l.inZone(t, a), l.inZone(t, b)), cmp.Compare(a, b)) < 0
}

// spread evens out one topic over the brokers.
func (l *load) spread(t int) {
	count := func(b int) int { return l.count(t, b) }
	if len(l.topics[t].Partitions) < 3 || !l.uneven(count) {
		return
	}
	low, high := l.fair(l.sum(count))
	for {
		from, to := l.fullest(t), l.nearest(t)
		if from == nobody || to == nobody || count(from)-count(to) < 2 || count(from) <= low || count(to) >= high {
			return
		}
		l.send(l.movable(t, from), to)
	}
}

// fullest is the taker with the most partitions of a topic that can send one.
func (l *load) fullest(t int) int {
	best := nobody
	for _, b := range l.takers {
		if l.out[b] >= movesMost || best != nobody && !l.before(t, best, b) || l.movable(t, b).partition == nobody {
			continue
		}
		best = b
	}
	return best
}

// movable is a partition of a topic that a broker has and can be ordered away.
func (l *load) movable(t, b int) place {
	for p, g := range l.goal[t] {
		if int(g) == b && l.free[t][p] {
			return place{t, p}
		}
	}
	return place{t, nobody}
}
