package controller

import "millrace/express/catalog"

// Takes shares out what brokers that are gone own, over those that take partitions: each goes where a partition of its
// topic goes best. None when nobody can take them. See P7.
func Takes(s State) []catalog.Take {
	if len(s.Gone) == 0 {
		return nil
	}
	l := newLoad(s)
	if len(l.takers) == 0 {
		return nil
	}
	var takes []catalog.Take
	for t, tp := range l.topics {
		for p, part := range tp.Partitions {
			if !s.Gone[Owner{part.Owner, part.Incarnation}] || l.find(part.Owner) != nobody {
				continue
			}
			heir := l.heir(t)
			l.set(place{t, p}, heir, false)
			takes = append(takes, catalog.Take{
				ID: partitionID(tp, p), From: part.Owner, Incarnation: part.Incarnation, To: l.brokers[heir].ID,
			})
		}
	}
	return takes
}

// heir is the taker that a partition of a topic goes to best, however many are on their way to it.
func (l *load) heir(t int) int {
	best := l.takers[0]
	for _, b := range l.takers[1:] {
		if l.before(t, b, best) {
			best = b
		}
	}
	return best
}
