package tenure

import (
	"slices"
	"strings"
)

// Member is one member of the group, from its start to its end.
type Member struct {
	registry *Registry
	number   int
	gone     bool
	fresh    map[int32]bool // partitions whose tenure has not met a record yet
}

// Join returns a member that begins now.
func (r *Registry) Join() *Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &Member{registry: r, number: r.members, fresh: make(map[int32]bool)}
	r.members++
	return m
}

// Number is the member's name in violations: 0 for the first that joined.
func (m *Member) Number() int { return m.number }

// Assigned begins tenures.
func (m *Member) Assigned(partitions []int32) {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.gone {
		return // an answer that came before
	}
	for _, number := range partitions {
		p := &r.partitions[number]
		p.note("%d assigned", m.number)
		for _, other := range p.owners {
			r.overlaps = append(r.overlaps, overlap{partition: number, who: [2]*Member{other, m}, trail: strings.Join(p.trail, ", ")})
		}
		p.owners = append(p.owners, m)
		m.fresh[number] = true
		r.counts.Tenures++
	}
}

// Revoked ends tenures in good order: the member has stopped consuming and its last commit was answered.
func (m *Member) Revoked(partitions []int32) {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, number := range partitions {
		r.partitions[number].note("%d revoked", m.number)
		m.end(number)
	}
}

// Lost ends tenures of which the member was told that they had ended before. Heard says whether it was heard by the
// coordinator all along, in which case nobody had the right to end them.
func (m *Member) Lost(partitions []int32, heard bool) {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, number := range partitions {
		r.partitions[number].note("%d lost", m.number)
		if !m.end(number) {
			continue // a crash or a freeze had ended it
		}
		m.excuse(number)
		r.counts.Lost++
		if heard {
			r.fault(Evicted, number, "member %d lost it, and was heard all along", m.number)
		}
	}
}

// Gone ends all tenures of a member that does nothing from now on.
func (m *Member) Gone() {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	m.gone = true
	for number := range r.partitions {
		if m.end(int32(number)) {
			r.partitions[number].note("%d gone", m.number)
			m.excuse(int32(number))
			r.counts.Gone++
		}
	}
}

// end ends one tenure; it is false if there is none.
func (m *Member) end(number int32) bool {
	p := &m.registry.partitions[number]
	before := len(p.owners)
	p.owners = slices.DeleteFunc(p.owners, func(o *Member) bool { return o == m })
	delete(m.fresh, number)
	return len(p.owners) < before
}

// excuse drops the evidence of a tenure of which nobody knows when it really ended.
func (m *Member) excuse(number int32) {
	r := m.registry
	r.overlaps = slices.DeleteFunc(r.overlaps, func(o overlap) bool {
		return o.partition == number && (o.who[0] == m || o.who[1] == m)
	})
}

// Consumed is called for each record that the member was given.
func (m *Member) Consumed(partition int32, offset int64) {
	r := m.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.partitions[partition]
	if m.fresh[partition] {
		delete(m.fresh, partition)
		switch {
		case offset < p.acknowledged:
			r.fault(Behind, partition, "member %d began at %d, and a commit of %d had been acknowledged", m.number, offset, p.acknowledged)
		case offset > p.asked:
			r.fault(Ahead, partition, "member %d began at %d, and no commit above %d was asked for", m.number, offset, p.asked)
		}
	}
	if missing := int(offset) + 1 - len(p.consumed); missing > 0 {
		p.consumed = append(p.consumed, make([]bool, missing)...)
	}
	r.counts.Consumed++
	if p.consumed[offset] {
		r.counts.Again++
	}
	p.consumed[offset] = true
}

// Committing is called before a commit is sent.
func (m *Member) Committing(partition int32, offset int64) {
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	p := &m.registry.partitions[partition]
	p.asked = max(p.asked, offset)
}

// Acknowledged is called when the cluster has answered that the commit stands.
func (m *Member) Acknowledged(partition int32, offset int64) {
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	p := &m.registry.partitions[partition]
	p.acknowledged = max(p.acknowledged, offset)
}
