package catalog

import (
	"slices"
	"sync"
)

// Replicas gives what clients are shown as the replicas of a partition: the owner and then other live
// brokers, of as many zones as can be, min(replication factor, brokers) in all. isr are those of them that
// are live. Nobody but the owner keeps a copy: clients and tools expect to see some, and any broker can
// serve what is in the store. Partitions of one owner share the slices, which must not be changed; both are
// empty, not nil, where nobody owns the partition.
func (c *Catalog) Replicas(t *Topic, index int) (replicas, isr []int32) {
	c.mu.RLock()
	s := c.view.spread
	c.mu.RUnlock()
	return s.replicas(t.Partitions[index].Owner, int(t.ReplicationFactor))
}

// spread lists the brokers in the order in which each owner's replicas are taken. It is for one set of live
// brokers and safe for concurrent use.
type spread struct {
	brokers []Broker // by id
	orders  sync.Map // owner, an int32, to *order; only as many as there are owners
}

// order is the owner and then all the others.
type order struct {
	ids  []int32
	live bool // the owner is
}

func newSpread(brokers []Broker) *spread { return &spread{brokers: brokers} }

func (s *spread) replicas(owner int32, factor int) (replicas, isr []int32) {
	if owner < 0 {
		return []int32{}, []int32{}
	}
	found, ok := s.orders.Load(owner)
	if !ok {
		found, _ = s.orders.LoadOrStore(owner, s.order(owner))
	}
	o := found.(*order)
	n := min(max(factor, 1), len(o.ids))
	replicas = o.ids[:n:n]
	if o.live {
		return replicas, replicas
	}
	return replicas, replicas[1:]
}

// order takes the zones in turn, the owner's last, and in each zone the brokers that follow the owner's id:
// so the owners of one zone have different followers.
func (s *spread) order(owner int32) *order {
	at, live := slices.BinarySearchFunc(s.brokers, owner, func(b Broker, id int32) int { return int(b.ID) - int(id) })
	o := &order{ids: []int32{owner}, live: live}
	var home string
	rest := slices.Concat(s.brokers[at:], s.brokers[:at])
	if live {
		home, rest = rest[0].Rack, rest[1:]
	}
	var zones []string
	byZone := make(map[string][]int32)
	for _, b := range rest {
		if len(byZone[b.Rack]) == 0 && b.Rack != home {
			zones = append(zones, b.Rack)
		}
		byZone[b.Rack] = append(byZone[b.Rack], b.ID)
	}
	zones = append(zones, home)
	for len(o.ids) <= len(rest) {
		for _, zone := range zones {
			if ids := byZone[zone]; len(ids) > 0 {
				o.ids, byZone[zone] = append(o.ids, ids[0]), ids[1:]
			}
		}
	}
	return o
}
