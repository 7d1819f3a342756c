package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Filter says who may connect, by where a connection comes from. It is asked before a byte of it is read, so it must not block. Safe for
// concurrent use.
type Filter interface {
	// Admit is asked once for each connection, and may count it. An error refuses it.
	Admit(Way) error
	// Allowed is asked again of connections that are open, by Server.Recheck. An error cuts the connection.
	Allowed(Way) error
}

// Way is how a connection came in.
type Way struct {
	Listener string     // name given to Serve
	From     netip.Addr // of the client; invalid where it has none
	To       netip.Addr // that the client connected to; invalid where it has none
}

// errNotAllowed: a connection was let in and may not be there any more.
var errNotAllowed = errors.New("no longer allowed to connect")

func (c *Conn) way() Way { return Way{Listener: c.listener, From: c.ip, To: addrOf(c.nc.LocalAddr())} }

func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}

// filtered asks the filter about a new connection.
func (s *Server) filtered(c *Conn) error {
	if s.world.Filter == nil {
		return nil
	}
	return s.world.Filter.Admit(c.way())
}

// Recheck asks World.Filter about every open connection and cuts those that it does not allow any more, and those of which refused,
// which may be nil, says why. It returns how many it cut. Call it when what the filter says has changed: a connection that came in
// by what it said before is either seen here or asked about after the change.
func (s *Server) Recheck(refused func(*Conn) error) (cut int) {
	s.each(func(c *Conn) {
		var err error
		if s.world.Filter != nil {
			err = s.world.Filter.Allowed(c.way())
		}
		if err == nil && refused != nil {
			err = refused(c)
		}
		if err == nil {
			return
		}
		cut++
		s.metrics.Cut.Add(1)
		s.complain(c, "connection cut", fmt.Errorf("%w: %w", errNotAllowed, err))
		c.cut()
	})
	return cut
}
