package view

import (
	"fmt"
	"slices"
)

// Health is what is wrong with the partitions of a cluster, each list by topic and number. A partition stands in the list of the worst
// that is true of it.
type Health struct {
	Offline         []Fault // without a leader: they can be neither written nor read
	UnderMinISR     []Fault // fewer in sync than min.insync.replicas: acks=all is refused
	UnderReplicated []Fault // not all replicas in sync
}

// Fault is what is wrong with one partition.
type Fault struct {
	Topic     string
	Partition int32
	Missing   []int32 // brokers whose replica is not in sync, in the order of the replicas
	Cause     string  // in words
}

// Good tells whether there is nothing to report.
func (h Health) Good() bool { return len(h.Offline)+len(h.UnderMinISR)+len(h.UnderReplicated) == 0 }

// Examine finds what is wrong with partitions.
func Examine(c Cluster) Health {
	var h Health
	for _, p := range slices.SortedFunc(slices.Values(c.Partitions), less) {
		missing := c.behind(p)
		fault := Fault{Topic: p.Topic, Partition: p.Number, Missing: missing, Cause: c.cause(p, missing)}
		switch {
		case p.Leader < 0:
			h.Offline = append(h.Offline, fault)
		case len(c.alive(p.ISR)) < min(p.MinISR, len(p.Target())):
			h.UnderMinISR = append(h.UnderMinISR, fault)
		case len(missing) > 0:
			h.UnderReplicated = append(h.UnderReplicated, fault)
		}
	}
	return h
}

// cause says who is to blame that replicas are missing.
func (c Cluster) cause(p Partition, missing []int32) string {
	var gone, late []int32
	for _, id := range missing {
		if c.Brokers[id].Alive {
			late = append(late, id)
		} else {
			gone = append(gone, id)
		}
	}
	text := ""
	switch {
	case len(gone) > 0 && len(late) > 0:
		text = fmt.Sprintf("broker %s is not there, and %s has not caught up", list(gone), list(late))
	case len(gone) > 0:
		text = fmt.Sprintf("broker %s is not there", list(gone))
	case len(late) > 0:
		text = fmt.Sprintf("broker %s has not caught up", list(late))
	case p.Leader < 0:
		text = "no leader was elected yet"
	}
	if p.Leader >= 0 {
		return text
	}
	switch last := append(slices.Clone(p.ISR), p.ELR...); {
	case len(last) == 1:
		text += fmt.Sprintf("; broker %d has the last replica that is complete", last[0])
	case len(last) > 1:
		text += fmt.Sprintf("; brokers %s have the last replicas that are complete", list(last))
	}
	return text
}
