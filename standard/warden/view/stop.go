package view

import (
	"cmp"
	"fmt"
	"slices"
)

// Order is the order in which nodes are started anew (V1): what does not take part first, as there is nothing to lose by it and perhaps
// a vote or a replica to win; the active controller last of the controllers, so that there are no more elections than need be.
func Order(c Cluster, nodes []int32) []int32 {
	rank := func(id int32) int {
		voter, controls := c.Quorum.voter(id)
		switch {
		case controls && id == c.Quorum.Leader:
			return 2
		case controls && voter.Keeps():
			return 1
		case controls:
			return 0
		case c.Brokers[id].Alive:
			return 4
		default:
			return 3
		}
	}
	ordered := slices.Clone(nodes)
	slices.SortFunc(ordered, func(a, b int32) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	return slices.Compact(ordered)
}

// MayStop says why a node must not stop now; "": it may (V2, V3, V4).
func MayStop(c Cluster, node int32) string {
	if c.Quorum.Leader < 0 {
		return "the controllers have no active one"
	}
	if why := voterMayStop(c.Quorum, node); why != "" {
		return why
	}
	return brokerMayStop(c, node)
}

func voterMayStop(q Quorum, node int32) string {
	if _, ok := q.voter(node); !ok {
		return ""
	}
	others := 0
	for _, v := range q.Voters {
		if v.ID != node && v.Keeps() {
			others++
		}
	}
	if majority := len(q.Voters)/2 + 1; others < majority {
		return fmt.Sprintf("without controller %d only %d of %d would vote, and %d must", node, others, len(q.Voters), majority)
	}
	return ""
}

func brokerMayStop(c Cluster, node int32) string {
	holds := partitionHolds
	if !c.Brokers[node].Alive {
		holds = partitionLost
	}
	var names []string
	var first string
	for _, p := range c.Partitions {
		why := holds(c, p, node)
		if why == "" {
			continue
		}
		if first == "" {
			first = why
		}
		names = append(names, p.Name())
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("broker %d is needed for %s: %s", node, some(names), first)
}

// partitionHolds says why a partition cannot do without a broker now; "": it can.
func partitionHolds(c Cluster, p Partition, node int32) string {
	if !slices.Contains(p.Replicas, node) {
		return ""
	}
	least := max(p.MinISR, 1)
	if len(p.Target()) <= least {
		// It cannot be without an interruption, whenever the broker stops; at least nobody else is to come back first.
		if missing := slices.DeleteFunc(c.behind(p), func(id int32) bool { return id == node }); len(missing) > 0 {
			return fmt.Sprintf("replicas %s are not in sync", list(missing))
		}
		return ""
	}
	left := slices.DeleteFunc(c.alive(p.ISR), func(id int32) bool { return id == node })
	if len(left) >= least {
		return ""
	}
	return fmt.Sprintf("%d of %d replicas would be in sync, and min.insync.replicas is %d", len(left), len(p.settled()), least)
}

// partitionLost says why a partition cannot do without what a broker has that does not run; "": it can.
func partitionLost(c Cluster, p Partition, node int32) string {
	if !slices.Contains(p.Replicas, node) || len(c.alive(p.ISR)) > 0 {
		return ""
	}
	if complete := slices.Concat(p.ISR, p.ELR); len(complete) > 0 && !slices.Contains(complete, node) {
		return ""
	}
	return "it may have the last replica that is complete"
}

// behind are the replicas of a partition that should be in sync and are not.
func (c Cluster) behind(p Partition) []int32 {
	return slices.DeleteFunc(p.settled(), func(id int32) bool { return slices.Contains(p.ISR, id) && c.Brokers[id].Alive })
}

// Settled says what is not yet as before a restart; "": all is (V5).
func Settled(c Cluster) string {
	if c.Quorum.Leader < 0 {
		return "the controllers have no active one"
	}
	var late []int32
	for _, v := range c.Quorum.Voters {
		if !v.Keeps() {
			late = append(late, v.ID)
		}
	}
	if len(late) > 0 {
		return fmt.Sprintf("controllers %s do not keep up with the active one", list(late))
	}
	var away []int32
	for id, b := range c.Brokers {
		if !b.Alive {
			away = append(away, id)
		}
	}
	if slices.Sort(away); len(away) > 0 {
		return fmt.Sprintf("brokers %s are not there", list(away))
	}
	var names []string
	for _, p := range c.Partitions {
		if p.Leader < 0 || len(c.behind(p)) > 0 {
			names = append(names, p.Name())
		}
	}
	if len(names) > 0 {
		return "not all replicas are in sync of " + some(names)
	}
	return ""
}
