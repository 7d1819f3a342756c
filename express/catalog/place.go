package catalog

// place chooses an owner for each of n new partitions: always the broker that leads the fewest, the one
// that comes first in brokers if there are several. load counts what each leads already and is updated.
// It returns nil when there are no brokers.
func place(n int, brokers []int32, load map[int32]int) []int32 {
	if len(brokers) == 0 {
		return nil
	}
	owners := make([]int32, n)
	for i := range owners {
		best := brokers[0]
		for _, id := range brokers[1:] {
			if load[id] < load[best] {
				best = id
			}
		}
		owners[i] = best
		load[best]++
	}
	return owners
}

// leaders counts the partitions that each broker leads.
func leaders(topics []*Topic) map[int32]int {
	load := make(map[int32]int)
	for _, t := range topics {
		for _, p := range t.Partitions {
			load[p.Owner]++
		}
	}
	return load
}
