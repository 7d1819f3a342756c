package acl

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// memoMost bounds the answers that a Snapshot remembers.
const memoMost = 10_000

// memo remembers the answers of Somewhere, which looks at the whole list: the answer to the same question is the same
// for as long as the Snapshot is in force.
type memo struct {
	answers sync.Map // of Question -> bool
	count   atomic.Int32
}

// probe is a name for which only bindings on all resources, and on prefixes that happen to match, count; Kafka's own.
const probe = "hardcode"

// Somewhere says whether the operation is allowed on at least one resource of the type, whatever q.Name. everyone is what
// allow.everyone.if.no.acl.found says. It follows Authorizer.authorizeByResourceType: implications (L2) do not count, but by the probe.
func (s *Snapshot) Somewhere(q Question, everyone bool) bool {
	q.Name = probe
	switch s.Decide(q) {
	case Allowed:
		return true
	case Unlisted:
		if everyone {
			return true
		}
	default:
	}
	q.Host = plainHost(q.Host)
	if answer, ok := s.memo.answers.Load(q); ok {
		return answer.(bool)
	}
	answer := s.scan(q)
	if s.memo.count.Add(1) <= memoMost {
		s.memo.answers.Store(q, answer)
	}
	return answer
}

func plainHost(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// scan looks through the whole list.
func (s *Snapshot) scan(q Question) bool {
	h := hostsOf(q.Host)
	want := bit(q.Operation) | bit(kmsg.ACLOperationAll)
	denied := map[pattern]bool{}
	var allowed []pattern
	for _, sh := range s.shards {
		if sh == nil {
			continue
		}
		for at, m := range sh.masks {
			if at.resource != q.Resource || at.principal != q.Principal && at.principal != Everybody || !h.match(at.host) {
				continue
			}
			if m.deny&want != 0 {
				denied[at.pattern] = true
			}
			if m.allow&want != 0 {
				allowed = append(allowed, at.pattern)
			}
		}
	}
	all := pattern{q.Resource, kmsg.ACLResourcePatternTypeLiteral, Wildcard}
	if denied[all] {
		return false
	}
	for _, p := range allowed {
		if p == all || !dominated(p, denied) {
			return true
		}
	}
	return false
}

// dominated tells whether what is allowed on p is denied for all that p matches.
func dominated(p pattern, denied map[pattern]bool) bool {
	if p.kind == kmsg.ACLResourcePatternTypeLiteral && denied[p] {
		return true
	}
	for n := 1; n <= len(p.name); n++ {
		if denied[pattern{p.resource, kmsg.ACLResourcePatternTypePrefixed, p.name[:n]}] {
			return true
		}
	}
	return false
}
