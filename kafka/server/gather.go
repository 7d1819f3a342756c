package server

import (
	"net"
	"sync"
	"sync/atomic"
)

// Package tls writes a record of 16 KiB at a time, each with a system call, which costs more than to encrypt it. So the records of one
// write of ours go to the socket together. To read several at a time does not pay: the copy costs what the calls do.

const (
	gatherBytes = 64 << 10 // of one buffer; larger ones win no more
	recordBytes = 16 << 10 // of what is written with a record of TLS
)

// gatherBuffers has the buffers of writes under way; there are no more than connections that are written to.
var gatherBuffers = sync.Pool{New: func() any { return new([gatherBytes]byte) }}

// gathered is what package tls has written and the socket has not got. It is all written between begin and end, but for what others than
// their caller write: answers of package tls to the peer, and its farewell.
type gathered struct {
	busy atomic.Bool // from begin to end

	mu  sync.Mutex         // held over a write to the socket, as package tls holds its own
	buf *[gatherBytes]byte // nil: what is written goes on at once
	n   int
}

// begin lets what is written gather until end.
func (g *gathered) begin() {
	g.busy.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.buf = gatherBuffers.Get().(*[gatherBytes]byte)
}

// end writes what is there. It must be called, after an error too.
func (g *gathered) end(nc net.Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.flushLocked(nc)
	gatherBuffers.Put(g.buf)
	g.buf = nil
	g.busy.Store(false)
	return err
}

func (g *gathered) flushLocked(nc net.Conn) error {
	if g.n == 0 {
		return nil
	}
	_, err := nc.Write(g.buf[:g.n])
	g.n = 0
	return err
}

// write takes b, or writes it.
func (g *gathered) write(nc net.Conn, b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.buf == nil {
		return nc.Write(b)
	}
	if len(b) > len(g.buf)-g.n {
		if err := g.flushLocked(nc); err != nil {
			return 0, err
		}
	}
	if len(b) > len(g.buf) {
		return nc.Write(b)
	}
	g.n += copy(g.buf[g.n:], b)
	return len(b), nil
}

// writeAll writes all, over TLS in few calls.
func (c *Conn) writeAll(bufs net.Buffers) (int64, error) {
	if c.paced == nil || len(bufs) == 1 && len(bufs[0]) <= recordBytes {
		return writeTo(c.nc, bufs)
	}
	out := &c.paced.out
	out.begin()
	n, err := bufs.WriteTo(c.nc)
	if last := out.end(c.paced.Conn); err == nil {
		err = last
	}
	return n, err
}
