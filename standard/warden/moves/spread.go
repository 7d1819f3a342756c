package moves

import (
	"cmp"
	"slices"
)

// Spread plans replicas evenly onto the brokers that run and take new ones, racks first (M1, M3, M4, M7). What is on others stays there.
func Spread(b Board) Plan {
	s := begin(b)
	for i := range s.board.Partitions {
		for s.widen(i) {
		}
	}
	for s.even() {
	}
	for s.lead() {
	}
	return s.plan(b)
}

// open are the brokers that replicas are moved between, by id.
func (s *state) open() []*seat {
	var open []*seat
	for _, id := range s.ids {
		if b := s.brokers[id]; b.Alive && b.Fresh {
			open = append(open, b)
		}
	}
	return open
}

// widen moves one replica of a partition to a rack with at least two fewer of them; false: there is none.
func (s *state) widen(i int) bool {
	p := s.board.Partitions[i]
	var from, to *seat
	gain := 1
	for _, out := range s.open() {
		if !out.has[i] {
			continue
		}
		for _, in := range s.open() {
			if in.has[i] || !in.holds(p) {
				continue
			}
			// From the fullest rack to the emptiest, from the busiest broker of the one to the idlest of the other.
			fewer := s.inRack(i, out.Rack, 0) - s.inRack(i, in.Rack, 0)
			if fewer > gain || fewer == gain && from != nil && out.replicas-in.replicas > from.replicas-to.replicas {
				from, to, gain = out, in, fewer
			}
		}
	}
	if from == nil {
		return false
	}
	s.apply(i, s.replaced(i, from.ID, to.ID), from.ID, to.ID)
	return true
}

// even moves one replica from a broker to one that has at least two fewer, from the fullest to the emptiest if it can be; false: none can.
func (s *state) even() bool {
	open := s.open()
	full, empty := slices.Clone(open), slices.Clone(open)
	slices.SortStableFunc(full, func(a, b *seat) int { return cmp.Compare(b.replicas, a.replicas) })
	slices.SortStableFunc(empty, func(a, b *seat) int { return cmp.Compare(a.replicas, b.replicas) })
	for _, from := range full {
		for _, to := range empty {
			if from.replicas-to.replicas < 2 {
				break
			}
			if i := s.pick(from, to); i >= 0 {
				s.apply(i, s.replaced(i, from.ID, to.ID), from.ID, to.ID)
				return true
			}
		}
	}
	return false
}

// pick is which partition goes from one broker to another: of the topic that they share most unevenly, the first; -1: none can.
func (s *state) pick(from, to *seat) int {
	best, bestUneven := -1, 0
	for i := range from.has {
		p := s.board.Partitions[i]
		if to.has[i] || !to.holds(p) || s.narrows(i, from, to) {
			continue
		}
		if uneven := from.topics[p.Topic] - to.topics[p.Topic]; best < 0 || uneven > bestUneven || uneven == bestUneven && i < best {
			best, bestUneven = i, uneven
		}
	}
	return best
}

// narrows tells whether a move would leave the partition's replicas less wide over racks.
func (s *state) narrows(i int, from, to *seat) bool {
	return from.Rack != to.Rack && s.inRack(i, to.Rack, 0)+1 > s.inRack(i, from.Rack, 0)
}
