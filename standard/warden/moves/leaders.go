package moves

import (
	"cmp"
	"slices"
)

// hop makes a broker the preferred leader of a partition in the place of another.
type hop struct {
	from, to  int32
	partition int
}

// lead makes one broker the preferred leader of one partition less, and one that has at least two fewer of one more, over as many
// others as it takes, the fewest; false: there is no such way, which is the proof that leaders cannot be more even.
func (s *state) lead() bool {
	full := s.open()
	slices.SortStableFunc(full, func(a, b *seat) int { return cmp.Compare(b.leaders, a.leaders) })
	led := map[int32][]int{} // partitions by preferred leader
	for i, p := range s.board.Partitions {
		led[p.Replicas[0]] = append(led[p.Replicas[0]], i)
	}
	var best []hop
	for _, from := range full {
		if way := s.way(from, led); way != nil && (best == nil || len(way) < len(best)) {
			best = way
		}
		if len(best) == 1 {
			break
		}
	}
	for _, h := range best {
		replicas := slices.Clone(s.board.Partitions[h.partition].Replicas)
		place := slices.Index(replicas, h.to)
		replicas[0], replicas[place] = replicas[place], replicas[0]
		s.apply(h.partition, replicas, 0, 0)
	}
	return best != nil
}

// way finds the shortest way from a broker to one with at least two fewer leaders: its last hop first, so that the rest is still a way
// when it is broken off; nil: there is none.
func (s *state) way(from *seat, led map[int32][]int) []hop {
	came := map[int32]hop{from.ID: {}}
	for queue := []*seat{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if from.leaders-at.leaders >= 2 {
			var way []hop
			for id := at.ID; id != from.ID; id = came[id].from {
				way = append(way, came[id])
			}
			return way
		}
		for _, i := range led[at.ID] {
			for _, id := range s.board.Partitions[i].Replicas[1:] {
				next := s.brokers[id]
				if _, been := came[id]; been || !next.Alive || !next.Fresh {
					continue
				}
				came[id] = hop{from: at.ID, to: id, partition: i}
				queue = append(queue, next)
			}
		}
	}
	return nil
}
