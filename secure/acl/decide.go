package acl

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Question is what Decide is asked.
type Question struct {
	Principal string     // "User:alice"
	Host      netip.Addr // zero: only bindings for all hosts match
	Operation kmsg.ACLOperation
	Resource  kmsg.ACLResourceType
	Name      string
}

// Verdict is what the list says.
type Verdict uint8

// The verdicts. Only Unlisted leaves something to allow.everyone.if.no.acl.found.
const (
	Unlisted Verdict = iota // no binding matches the resource
	Unmet                   // the resource is in the list, but nothing allows this: the answer is no
	Denied                  // a binding denies it
	Allowed                 // a binding allows it, and none denies it
)

// String names the verdict.
func (v Verdict) String() string {
	switch v {
	case Unlisted:
		return "no ACL names the resource"
	case Unmet:
		return "no ACL allows it"
	case Denied:
		return "an ACL denies it"
	case Allowed:
		return "an ACL allows it"
	default:
		return "verdict " + strconv.Itoa(int(v))
	}
}

// impliers are the operations that allow op if they are allowed: itself, and by L2.
func impliers(op kmsg.ACLOperation) uint32 {
	own := bit(op) | bit(kmsg.ACLOperationAll)
	switch op {
	case kmsg.ACLOperationDescribe:
		return own | bit(kmsg.ACLOperationRead) | bit(kmsg.ACLOperationWrite) | bit(kmsg.ACLOperationDelete) | bit(kmsg.ACLOperationAlter)
	case kmsg.ACLOperationDescribeConfigs:
		return own | bit(kmsg.ACLOperationAlterConfigs)
	default:
		return own
	}
}

// Decide answers by L1.
func (s *Snapshot) Decide(q Question) Verdict {
	if !resourceKnown(q.Resource) || !operationKnown(q.Operation) {
		return Unmet
	}
	m, listed := s.masksOf(q)
	switch {
	case m.deny&(bit(q.Operation)|bit(kmsg.ACLOperationAll)) != 0:
		return Denied
	case m.allow&impliers(q.Operation) != 0:
		return Allowed
	case listed:
		return Unmet
	default:
		return Unlisted
	}
}

// masksOf joins all bindings for a principal from a host on a resource, of any operation. listed says that there are some for
// somebody.
func (s *Snapshot) masksOf(q Question) (m masks, listed bool) {
	if s.count == 0 {
		return m, false
	}
	l := lookup{snapshot: s, principal: q.Principal, hosts: hostsOf(q.Host)}
	l.add(pattern{q.Resource, kmsg.ACLResourcePatternTypeLiteral, q.Name})
	if q.Name != Wildcard {
		l.add(pattern{q.Resource, kmsg.ACLResourcePatternTypeLiteral, Wildcard})
	}
	for _, n := range s.lengths[q.Resource] {
		if n.bytes > len(q.Name) {
			break
		}
		l.add(pattern{q.Resource, kmsg.ACLResourcePatternTypePrefixed, q.Name[:n.bytes]})
	}
	return l.found, l.listed
}

// lookup joins the masks of patterns.
type lookup struct {
	snapshot  *Snapshot
	principal string
	hosts     hosts
	found     masks
	listed    bool
}

func (l *lookup) add(p pattern) {
	sh := l.snapshot.shards[l.snapshot.shardOf(p, "")]
	if sh == nil || sh.counts[p] == 0 {
		return
	}
	l.listed = true
	l.addFor(p, l.principal)
	if l.principal != Everybody {
		l.addFor(p, Everybody)
	}
}

func (l *lookup) addFor(p pattern, principal string) {
	sh := l.snapshot.shards[l.snapshot.shardOf(p, principal)]
	if sh == nil {
		return
	}
	l.join(sh.masks[subject{p, principal, Wildcard}])
	if n := l.hosts.plain; n > 0 {
		l.join(sh.masks[subject{p, principal, string(l.hosts.text[:n])}])
	}
	if n := l.hosts.long; n > 0 {
		l.join(sh.masks[subject{p, principal, string(l.hosts.java[:n])}])
	}
}

func (l *lookup) join(m masks) {
	l.found.allow |= m.allow
	l.found.deny |= m.deny
}

// hosts are the spellings of an address that bindings may have: the usual one, and for IPv6 also Java's, which leaves nothing
// out. They are in place so that a question allocates nothing.
type hosts struct {
	text  [46]byte
	java  [40]byte
	plain int // bytes of text
	long  int // bytes of java; 0: there is none
}

func hostsOf(addr netip.Addr) (h hosts) {
	if !addr.IsValid() {
		return h
	}
	addr = addr.Unmap().WithZone("")
	h.plain = len(addr.AppendTo(h.text[:0]))
	if addr.Is6() {
		raw := addr.As16()
		out := h.java[:0]
		for i := 0; i < len(raw); i += 2 {
			if i > 0 {
				out = append(out, ':')
			}
			out = strconv.AppendUint(out, uint64(binary.BigEndian.Uint16(raw[i:])), 16)
		}
		h.long = len(out)
	}
	return h
}

// match tells whether a binding's host is this one or any.
func (h *hosts) match(host string) bool {
	return host == Wildcard ||
		h.plain > 0 && host == string(h.text[:h.plain]) ||
		h.long > 0 && host == string(h.java[:h.long])
}
