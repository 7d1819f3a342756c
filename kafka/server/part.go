package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// partMost is how long a connection that the server ends waits for its client to end it, too: long enough for the last
// answer to arrive, and little in a stop.
const partMost = 100 * time.Millisecond

// half is a connection that can be ended in one direction, and reset.
type half interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
}

// part ends a connection on which all is answered so that its client learns of it with whatever it does: an end of the
// stream for those that read, and, for those that do not read while they expect nothing, a reset after it. Without the
// reset these write their next request into a connection that takes it and is dead; then they cannot know whether the
// request was carried out, and pause before they try again.
func (c *Conn) part() {
	nc := c.nc
	if t, ok := nc.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	h, ok := bare(nc).(half)
	if !ok || h.CloseWrite() != nil {
		return
	}
	if h.SetReadDeadline(c.srv.world.Clock.Now().Add(partMost)) != nil {
		return
	}
	small := make([]byte, 64) // all connections end at a time, and what comes now is for nobody
	for {
		if _, err := h.Read(small); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			_ = h.SetLinger(0)
			return
		}
	}
}
