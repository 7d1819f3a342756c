package server

import (
	"container/heap"
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// placeOf is what counts as one address: a host with IPv6 has a /64 of its own. All connections without an address are of one place.
func placeOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero Prefix without an address
	return p
}

// pending are the connections that have not logged in, by where they come from. Guarded by Server.mu.
type pending struct {
	n      int // connections
	of     map[netip.Prefix]*crowd
	crowds crowds // the same; a heap
}

// crowd are the connections of one place, the oldest first: a list through the connections themselves. It is never empty.
type crowd struct {
	place       netip.Prefix
	first, last *Conn
	n           int
	at          int // in the heap
}

// links is a connection's place in the list.
type links struct {
	before, after *Conn
	crowd         *crowd // nil: it is in none
}

func newPending() pending { return pending{of: make(map[netip.Prefix]*crowd)} }

func (p *pending) add(c *Conn) {
	place := placeOf(c.ip)
	g, known := p.of[place]
	if !known {
		g = &crowd{place: place, first: c}
		p.of[place] = g
	} else {
		g.last.links.after = c
	}
	c.links = links{before: g.last, crowd: g}
	g.last = c
	g.n++
	p.n++
	if known {
		heap.Fix(&p.crowds, g.at)
	} else {
		heap.Push(&p.crowds, g)
	}
}

func (p *pending) remove(c *Conn) {
	l := c.links
	if l.crowd == nil {
		return
	}
	g := l.crowd
	if l.before != nil {
		l.before.links.after = l.after
	} else {
		g.first = l.after
	}
	if l.after != nil {
		l.after.links.before = l.before
	} else {
		g.last = l.before
	}
	c.links = links{}
	g.n--
	p.n--
	if g.n > 0 {
		heap.Fix(&p.crowds, g.at)
		return
	}
	heap.Remove(&p.crowds, g.at)
	delete(p.of, g.place)
}

// loser is the connection that has to go for others: the oldest of the place that has most, and where several have as many, the oldest of
// theirs. nil: there is none.
func (p *pending) loser() *Conn {
	if len(p.crowds) == 0 {
		return nil
	}
	return p.crowds[0].first
}

// crowds is a heap by who has to give up a connection first.
type crowds []*crowd

func (h crowds) Len() int { return len(h) }

func (h crowds) Less(i, j int) bool {
	if h[i].n != h[j].n {
		return h[i].n > h[j].n
	}
	return h[i].first.id < h[j].first.id
}

func (h crowds) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *crowds) Push(x any) {
	g := x.(*crowd)
	g.at = len(*h)
	*h = append(*h, g)
}

// Pop implements heap.Interface.
func (h *crowds) Pop() any {
	last := len(*h) - 1
	g := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return g
}

// arrived puts a new connection among those that have not logged in, and returns one that has to go for it. Who means to log in does
// so in a moment, so a flood displaces mostly itself, and one that comes from few places displaces nobody else (SV9).
func (s *Server) arrived(c *Conn) (displaced *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.add(c)
	if s.pending.n > s.cfg.MaxPending {
		displaced = s.pending.loser()
		s.pending.remove(displaced)
	}
	return displaced
}

// loggedIn takes a connection off that list.
func (s *Server) loggedIn(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.remove(c)
}

// Connection describes an open connection.
type Connection struct {
	ID        uint64
	Listener  string
	Remote    net.Addr
	Since     time.Time
	Principal string // "": it has not logged in
	ClientID  string
	Software  Software
	TLS       *tls.ConnectionState // nil: it has none, or the handshake goes on
	Kind      TLSKind              // what was agreed on; zero without TLS
}

// Connections lists those that are open, in no order.
func (s *Server) Connections() []Connection {
	var all []Connection
	s.each(func(c *Conn) {
		all = append(all, Connection{
			ID: c.id, Listener: c.listener, Remote: c.RemoteAddr(), Since: c.since, Principal: c.Principal(), ClientID: c.ClientID(),
			Software: c.Software(), TLS: c.TLS(), Kind: kindOf(c.TLS()),
		})
	})
	return all
}
