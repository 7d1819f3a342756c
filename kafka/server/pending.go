package server

import (
	"crypto/tls"
	"net"
	"time"
)

// pending are the connections that have not logged in, the oldest first: a list through the connections themselves. Guarded by Server.mu.
type pending struct {
	first, last *Conn
	n           int
}

// links is a connection's place in the list.
type links struct {
	before, after *Conn
	in            bool
}

func (p *pending) add(c *Conn) {
	c.links = links{before: p.last, in: true}
	if p.last != nil {
		p.last.links.after = c
	} else {
		p.first = c
	}
	p.last = c
	p.n++
}

func (p *pending) remove(c *Conn) {
	if !c.links.in {
		return
	}
	if l := c.links; l.before != nil {
		l.before.links.after = l.after
	} else {
		p.first = l.after
	}
	if l := c.links; l.after != nil {
		l.after.links.before = l.before
	} else {
		p.last = l.before
	}
	c.links = links{}
	p.n--
}

// arrived puts a new connection among those that have not logged in, and returns one that has to go for it: the one that has
// been trying for longest. Who means to log in does so in a moment, so a flood of others displaces mostly itself.
func (s *Server) arrived(c *Conn) (displaced *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.n >= s.cfg.MaxPending {
		displaced = s.pending.first
		s.pending.remove(displaced)
	}
	s.pending.add(c)
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
