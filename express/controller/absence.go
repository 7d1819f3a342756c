package controller

import (
	"time"

	"millrace/express/catalog"
)

// Owner is a process that partitions are of, as their records name it.
type Owner struct {
	ID          int32
	Incarnation uint64
}

// absence notes which owners of partitions are away. The zero value has seen nobody.
type absence struct {
	seen  map[int32]uint64    // the incarnation of a broker that was live last
	since map[int32]time.Time // when a broker that owns something was missed first
}

// look takes in what the catalog shows, and gives the owners that are gone. One that was live while we looked is, as soon as
// it is not there: the lease of its registration was waited for. Of others, grace after their broker was missed first:
// they may be starting, and have claimed what they had before they register.
func (a *absence) look(now time.Time, brokers []catalog.Broker, topics []*catalog.Topic, grace time.Duration) (gone map[Owner]bool) {
	if a.seen == nil {
		a.seen = make(map[int32]uint64)
	}
	live := make(map[int32]bool, len(brokers))
	for _, b := range brokers {
		live[b.ID], a.seen[b.ID] = true, b.Incarnation
	}
	gone = make(map[Owner]bool)
	missed := make(map[int32]time.Time)
	for _, t := range topics {
		for _, p := range t.Partitions {
			id := p.Owner
			if id < 0 || live[id] {
				continue
			}
			if _, ok := missed[id]; !ok {
				missed[id] = now
				if first, ok := a.since[id]; ok {
					missed[id] = first
				}
			}
			if p.Incarnation == a.seen[id] || now.Sub(missed[id]) >= grace {
				gone[Owner{id, p.Incarnation}] = true
			}
		}
	}
	a.since = missed
	return gone
}

// waits tells whether some owner is away that may be starting.
func (a *absence) waits() bool { return len(a.since) > 0 }
