package catalog

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"millrace/base/kv"
)

// ownersMost bounds the brokers among which the new partitions of one topic are shared out: one transaction
// compares the registrations of all of them.
const ownersMost = 100

// roster is the live brokers at one moment, by id.
type roster []Broker

func (r roster) find(id int32) (Broker, bool) {
	at, ok := slices.BinarySearchFunc(r, id, func(b Broker, id int32) int { return cmp.Compare(b.ID, id) })
	if !ok {
		return Broker{}, false
	}
	return r[at], true
}

// first is the first of some live brokers that takes partitions, or the first of all if none does.
func (r roster) first(ids []int32) Broker {
	for _, id := range ids {
		if b, ok := r.find(id); ok && !b.Draining {
			return b
		}
	}
	b, _ := r.find(ids[0])
	return b
}

// takers are the brokers that take partitions, or all if none does: the last broker of a cluster that is
// drained has nobody to give its partitions to. Of very many they are those with the least load.
func (r roster) takers(load map[int32]int) roster {
	takers := slices.DeleteFunc(slices.Clone(r), func(b Broker) bool { return b.Draining })
	if len(takers) == 0 {
		takers = slices.Clone(r)
	}
	if len(takers) > ownersMost {
		slices.SortStableFunc(takers, func(a, b Broker) int { return cmp.Compare(load[a.ID], load[b.ID]) })
		takers = takers[:ownersMost]
	}
	return takers
}

// place chooses an owner for each of n new partitions of a topic that follow those in before: a broker that
// has the fewest of that topic and, of these, leads nearly the fewest in all. Among those it takes one of
// the zone that has the fewest of the topic. load counts what each leads already, and is updated.
func place(n int, before []Partition, brokers roster, load map[int32]int) []Partition {
	ours, zones := make(map[int32]int), make(map[string]int)
	for _, p := range before {
		ours[p.Destination()]++
	}
	for _, b := range brokers {
		zones[b.Rack] += ours[b.ID]
	}
	partitions := make([]Partition, n)
	for i := range partitions {
		least := slices.MinFunc(brokers, func(a, b Broker) int {
			return cmp.Or(cmp.Compare(ours[a.ID], ours[b.ID]), cmp.Compare(load[a.ID], load[b.ID]))
		})
		near := load[least.ID] + max(1, load[least.ID]/20)
		best := least
		for _, b := range brokers {
			if ours[b.ID] == ours[least.ID] && load[b.ID] <= near && better(b, best, zones, load) {
				best = b
			}
		}
		partitions[i] = Partition{Owner: best.ID, Incarnation: best.Incarnation}
		ours[best.ID]++
		zones[best.Rack]++
		load[best.ID]++
	}
	return partitions
}

// better tells whether a stands before b by zone, then load, then id.
func better(a, b Broker, zones map[string]int, load map[int32]int) bool {
	return cmp.Or(cmp.Compare(zones[a.Rack], zones[b.Rack]), cmp.Compare(load[a.ID], load[b.ID]), cmp.Compare(a.ID, b.ID)) < 0
}

// leaders counts the partitions that each broker leads, or is to lead.
func leaders(topics []*Topic) map[int32]int {
	load := make(map[int32]int)
	for _, t := range topics {
		for _, p := range t.Partitions {
			load[p.Destination()]++
		}
	}
	return load
}

// registered holds while the owners of some partitions are registered as they are in live. So a partition
// never comes to be at a broker that has said that it takes none (C8).
func (c *Catalog) registered(partitions []Partition, live roster) []kv.Cond {
	var conds []kv.Cond
	for _, id := range owners(partitions) {
		b, _ := live.find(id)
		conds = append(conds, kv.ModRevEquals(c.brokerKey(id), b.rev))
	}
	return conds
}

// awaitChanged waits until the view knows what has changed in the registrations of the owners, if anything
// has.
func (c *Catalog) awaitChanged(ctx context.Context, partitions []Partition, live roster) error {
	for _, id := range owners(partitions) {
		item, err := c.kv.Get(ctx, c.brokerKey(id))
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return unavailable("read registration", err)
		}
		known, _ := live.find(id)
		if item.ModRev == known.rev {
			continue
		}
		err = c.await(ctx, func(v *view) bool {
			now, _ := v.brokerLocked(id)
			return now.rev != known.rev
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// owners lists the owners of some partitions, each once, by id.
func owners(partitions []Partition) []int32 {
	ids := make([]int32, 0, len(partitions))
	for _, p := range partitions {
		ids = append(ids, p.Owner)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
