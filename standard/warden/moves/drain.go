package moves

import (
	"cmp"
	"fmt"
	"slices"
)

// Drain plans all replicas of brokers onto the others (M1, M2, M3, M7). The others that are cordoned or do not run get none. A partition
// that loses its preferred leader has that of its replicas preferred that is so of the fewest partitions. It returns ErrNever or ErrNow.
func Drain(b Board, drained []int32) (Plan, error) {
	s := begin(b)
	for i := range s.board.Partitions {
		for _, from := range slices.Clone(s.board.Partitions[i].Replicas) {
			if !slices.Contains(drained, from) {
				continue
			}
			to, ok := s.heir(i, from, drained)
			if !ok {
				return Plan{}, s.refuse(i, drained)
			}
			s.apply(i, s.led(i, from, to, drained), from, to)
		}
	}
	return s.plan(b), nil
}

// heir is who takes over a replica: in the rack that has the fewest of the partition, the broker with the fewest replicas.
func (s *state) heir(i int, from int32, drained []int32) (to int32, ok bool) {
	p := s.board.Partitions[i]
	var best *seat
	for _, id := range s.ids {
		b := s.brokers[id]
		if !b.Alive || !b.Fresh || slices.Contains(drained, id) || b.has[i] || !b.holds(p) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(s.inRack(i, b.Rack, from), s.inRack(i, best.Rack, from)),
			cmp.Compare(b.replicas, best.replicas),
			cmp.Compare(b.topics[p.Topic], best.topics[p.Topic]),
		) < 0 {
			best = b
		}
	}
	if best == nil {
		return 0, false
	}
	return best.ID, true
}

// led puts an heir in a replica's place. A preferred leader's place goes to who has the fewest such, of those that stay.
func (s *state) led(i int, from, to int32, drained []int32) []int32 {
	replicas := s.replaced(i, from, to)
	if replicas[0] != to {
		return replicas
	}
	first := 0
	for at, id := range replicas {
		if !slices.Contains(drained, id) && s.brokers[id].leaders < s.brokers[replicas[first]].leaders {
			first = at
		}
	}
	replicas[0], replicas[first] = replicas[first], replicas[0]
	return replicas
}

// refuse says why a partition finds no place.
func (s *state) refuse(i int, drained []int32) error {
	p := s.board.Partitions[i]
	left, free, running := 0, 0, 0 // brokers that stay; of those that could take one more; of those that run
	for _, b := range s.brokers {
		if slices.Contains(drained, b.ID) || !b.Fresh {
			continue
		}
		left++
		if b.has[i] {
			continue
		}
		free++
		if !b.Alive || b.holds(p) {
			running++
		}
	}
	switch {
	case free == 0:
		return fmt.Errorf("%w: %s-%d has %d replicas, and %d brokers stay that take any", ErrNever, p.Topic, p.Number, len(p.Replicas), left)
	case running == 0:
		return fmt.Errorf("%w: no broker that stays has room for %s-%d, of %d bytes", ErrNever, p.Topic, p.Number, p.Size)
	default:
		return fmt.Errorf("%w: %s-%d has to wait for a broker that does not run", ErrNow, p.Topic, p.Number)
	}
}
