package shares

import (
	"slices"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// assign is Kafka's simple assignor: it spreads members over partitions evenly, and changes as little as it can. Where all
// read the same, over all partitions; else over each topic's, one by one.
func assign(
	members []*Member, old map[string]modern.Partitions, initialized map[topic.ID]topicState, topics modern.Topics,
) map[string]modern.Partitions {
	byTopic := map[topic.ID][]string{} // who reads it
	same := true
	for _, m := range members {
		same = same && slices.Equal(m.Topics, members[0].Topics)
		for _, name := range m.Topics {
			if t, ok := topics.TopicByName(name); ok {
				byTopic[t.ID] = append(byTopic[t.ID], m.ID)
			}
		}
	}
	ids := make([]topic.ID, 0, len(byTopic))
	for id := range byTopic {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, modern.CompareIDs)
	sets := map[string]map[topic.Partition]bool{}
	for _, m := range members {
		sets[m.ID] = map[topic.Partition]bool{}
	}
	var all []topic.Partition
	for _, id := range ids {
		var partitions []topic.Partition
		for _, index := range initialized[id].partitions {
			partitions = append(partitions, topic.Partition{Topic: id, Index: index})
		}
		if !same {
			spread(byTopic[id], partitions, old, sets)
		}
		all = append(all, partitions...)
	}
	if same {
		var everybody []string
		for _, m := range members {
			everybody = append(everybody, m.ID)
		}
		spread(everybody, all, old, sets)
	}
	out := make(map[string]modern.Partitions, len(members))
	for id, set := range sets {
		out[id] = listed(set)
	}
	return out
}

func listed(set map[topic.Partition]bool) modern.Partitions {
	out := modern.Partitions{}
	for p := range set {
		out[p.Topic] = append(out[p.Topic], p.Index)
	}
	for _, indexes := range out {
		slices.Sort(indexes)
	}
	return out
}

// spread gives each partition the same number of members, and each member about the same number of partitions.
func spread(members []string, partitions []topic.Partition, old map[string]modern.Partitions, out map[string]map[topic.Partition]bool) {
	if len(partitions) == 0 || len(members) == 0 {
		return
	}
	sharing := (len(members) + len(partitions) - 1) / len(partitions) // members of each partition
	slots := sharing * len(partitions)
	room := make([]int, len(members)) // partitions that each member may still get
	taken := map[topic.Partition]int{}
	for i, id := range members {
		room[i] = ceil(slots*(i+1), len(members)) - ceil(slots*i, len(members))
		for _, p := range partitions {
			if room[i] > 0 && taken[p] < sharing && old[id].Has(p.Topic, p.Index) {
				out[id][p] = true
				room[i]--
				taken[p]++
			}
		}
	}
	next := 0
	for _, p := range partitions {
		for tried := 0; taken[p] < sharing && tried < len(members); tried++ {
			i := next % len(members)
			next++
			if id := members[i]; room[i] > 0 && !out[id][p] {
				out[id][p] = true
				room[i]--
				taken[p]++
				tried = -1
			}
		}
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }
