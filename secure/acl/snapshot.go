package acl

import (
	"hash/maphash"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shards is into how many parts the index is cut: a change copies the few parts that it touches, and shares the others.
const shards = 1024

// pattern is what bindings are about.
type pattern struct {
	resource kmsg.ACLResourceType
	kind     kmsg.ACLResourcePatternType
	name     string
}

// subject is whom bindings on a pattern are for.
type subject struct {
	pattern
	principal, host string
}

// masks are the operations of a subject's bindings, a bit for each.
type masks struct{ allow, deny uint32 }

// shard is a part of the index. It is not changed once it is in a Snapshot.
type shard struct {
	masks  map[subject]masks
	counts map[pattern]int // bindings; patterns without any are not there
}

// length is a length that names of prefixes have, and how many patterns have it.
type length struct{ bytes, patterns int }

// Snapshot is the list at one moment. The zero value is not usable; Empty gives a first one. It is safe for concurrent use.
type Snapshot struct {
	seed    maphash.Seed
	shards  [shards]*shard
	lengths [kmsg.ACLResourceTypeUser + 1][]length // of prefixes by resource type, shortest first
	count   int
	turn    int64 // revision of the last change in etcd that is in here
	memo    *memo
}

// Empty returns a Snapshot without bindings.
func Empty() *Snapshot { return &Snapshot{seed: maphash.MakeSeed(), memo: new(memo)} }

// NewSnapshot returns a Snapshot of bindings that have no fault (Validate); a repeated one counts once.
func NewSnapshot(list []Binding) *Snapshot { return Empty().with(list, nil) }

// Len is the number of bindings.
func (s *Snapshot) Len() int { return s.count }

// Has tells whether a binding is in the list.
func (s *Snapshot) Has(b Binding) bool {
	at := subjectOf(b)
	sh := s.shards[s.shardOf(at.pattern, at.principal)]
	if sh == nil {
		return false
	}
	return *side(new(sh.masks[at]), b)&bit(b.Operation) != 0
}

// Find returns the bindings that a filter finds, in the order of Compare.
func (s *Snapshot) Find(f Filter) []Binding {
	var found []Binding
	s.each(func(b Binding) {
		if f.Matches(b) {
			found = append(found, b)
		}
	})
	slices.SortFunc(found, Compare)
	return found
}

// each calls visit for each binding, in no order.
func (s *Snapshot) each(visit func(Binding)) {
	for _, sh := range s.shards {
		if sh == nil {
			continue
		}
		for at, m := range sh.masks {
			b := Binding{Resource: at.resource, Name: at.name, Pattern: at.kind, Principal: at.principal, Host: at.host}
			for op := kmsg.ACLOperationAll; op <= TwoPhaseCommit; op++ {
				b.Operation = op
				if m.allow&bit(op) != 0 {
					b.Permission = kmsg.ACLPermissionTypeAllow
					visit(b)
				}
				if m.deny&bit(op) != 0 {
					b.Permission = kmsg.ACLPermissionTypeDeny
					visit(b)
				}
			}
		}
	}
}

// with returns a Snapshot with some bindings more and some less.
func (s *Snapshot) with(add, remove []Binding) *Snapshot {
	next := &change{Snapshot: *s, own: make(map[uint64]bool)}
	next.memo = new(memo)
	for _, b := range remove {
		next.set(b, false)
	}
	for _, b := range add {
		next.set(b, true)
	}
	return &next.Snapshot
}

// change is a Snapshot that is being made.
type change struct {
	Snapshot
	own map[uint64]bool // shards that are copies already
}

// set makes a binding be there or not.
func (c *change) set(b Binding, there bool) {
	if c.Has(b) == there {
		return
	}
	at := subjectOf(b)
	sh := c.shard(c.shardOf(at.pattern, at.principal))
	m := sh.masks[at]
	*side(&m, b) ^= bit(b.Operation)
	if m == (masks{}) {
		delete(sh.masks, at)
	} else {
		sh.masks[at] = m
	}
	by := 1
	if !there {
		by = -1
	}
	c.count += by
	c.tally(at.pattern, by)
}

// tally counts the bindings of a pattern, and the patterns of a length.
func (c *change) tally(p pattern, by int) {
	counts := c.shard(c.shardOf(p, "")).counts
	n := counts[p] + by
	if n == 0 {
		delete(counts, p)
	} else {
		counts[p] = n
	}
	if p.kind != kmsg.ACLResourcePatternTypePrefixed || n > 1 || n == 1 && by < 0 {
		return
	}
	list := slices.Clone(c.lengths[p.resource])
	i, ok := slices.BinarySearchFunc(list, len(p.name), func(l length, n int) int { return l.bytes - n })
	if !ok {
		list = slices.Insert(list, i, length{bytes: len(p.name)})
	}
	if list[i].patterns += by; list[i].patterns == 0 {
		list = slices.Delete(list, i, i+1)
	}
	c.lengths[p.resource] = list
}

// shard gives a part that may be changed.
func (c *change) shard(i uint64) *shard {
	old := c.shards[i]
	switch {
	case c.own[i]:
		return old
	case old == nil:
		c.shards[i] = &shard{masks: make(map[subject]masks), counts: make(map[pattern]int)}
	default:
		c.shards[i] = &shard{masks: maps.Clone(old.masks), counts: maps.Clone(old.counts)}
	}
	c.own[i] = true
	return c.shards[i]
}

// shardOf says which part has the masks of a principal on a pattern; for no principal, the counts of the pattern.
func (s *Snapshot) shardOf(p pattern, principal string) uint64 {
	h := maphash.String(s.seed, p.name) + uint64(p.resource)<<4 + uint64(p.kind)
	if principal != "" {
		h = h*31 + maphash.String(s.seed, principal)
	}
	return h % shards
}

func subjectOf(b Binding) subject {
	return subject{pattern{b.Resource, b.Pattern, b.Name}, b.Principal, b.Host}
}

// side gives the mask that a binding is in.
func side(m *masks, b Binding) *uint32 {
	if b.Permission == kmsg.ACLPermissionTypeDeny {
		return &m.deny
	}
	return &m.allow
}

func bit(op kmsg.ACLOperation) uint32 { return 1 << uint(op) }
