package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"

	"millrace/kafka/wire"
)

const (
	copyBelow  = 2 << 10  // buffers shorter than this are copied rather than written by themselves
	keepOutbox = 64 << 10 // an outbox that has grown beyond is not kept
)

// outbox encodes replies and writes them with one call. Everything small goes into one run of bytes; large buffers are
// put between its pieces as they are.
type outbox struct {
	small []byte
	cuts  []cut
	bufs  net.Buffers
	close bool
}

// cut says that buf goes out after small[:at].
type cut struct {
	at  int
	buf []byte
}

// writeBatch encodes and writes the replies, releases them all, and reports whether the connection is to end.
func (c *Conn) writeBatch(batch []*Request) (end bool) {
	defer func() {
		for _, r := range batch {
			r.resp.release()
		}
	}()
	o := c.srv.outbox.Get().(*outbox)
	defer c.srv.returnOutbox(o)
	if err := c.encode(o, batch); err != nil {
		c.srv.world.Log.Error("reply not encoded", "remote", c.RemoteAddr(), "err", err)
		return true
	}
	bufs := o.join()
	if len(bufs) == 0 {
		return o.close
	}
	if err := c.nc.SetWriteDeadline(c.srv.world.Clock.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return true
	}
	n, err := c.writeAll(bufs)
	c.srv.metrics.BytesOut.Add(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.srv.metrics.SlowEnded.Add(1)
	}
	if err != nil {
		return true
	}
	for _, r := range batch {
		if r.resp.Written != nil {
			r.resp.Written()
		}
		if r.resp.Close {
			break // what follows was not encoded
		}
	}
	return o.close
}

// encode puts the replies into o. kmsg may panic on a response that was not filled in properly; that is an error here,
// because it must not take down others' connections.
func (c *Conn) encode(o *outbox, batch []*Request) (err error) {
	var r *Request
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("key %d version %d: panic: %v", r.Header.Key, r.version, p)
		}
	}()
	for _, r = range batch {
		if r.none {
			continue
		}
		if err := o.add(r); err != nil {
			return err
		}
		if r.resp.Close {
			o.close = true
			return nil
		}
	}
	return nil
}

// add encodes the reply of r: size, header, body.
func (o *outbox) add(r *Request) error {
	start := len(o.small)
	large := 0
	o.small = append(o.small, make([]byte, wire.SizeBytes)...)
	if !r.Raw {
		o.small = wire.AppendResponseHeader(o.small, r.Header.Key, r.version, r.Header.CorrelationID)
	}
	if m := r.resp.Msg; m != nil {
		m.SetVersion(r.version)
		o.small = m.AppendTo(o.small)
	}
	for _, b := range r.resp.Buffers {
		if len(b) < copyBelow {
			o.small = append(o.small, b...)
			continue
		}
		o.cuts = append(o.cuts, cut{at: len(o.small), buf: b})
		large += len(b)
	}
	size := len(o.small) - start - wire.SizeBytes + large
	if size > math.MaxInt32 {
		return fmt.Errorf("key %d: reply of %d bytes", r.Header.Key, size)
	}
	binary.BigEndian.PutUint32(o.small[start:], uint32(size))
	return nil
}

// join returns all there is to write, in order. It runs last, when small no longer moves.
func (o *outbox) join() net.Buffers {
	from := 0
	for _, c := range o.cuts {
		if from < c.at {
			o.bufs = append(o.bufs, o.small[from:c.at])
			from = c.at
		}
		o.bufs = append(o.bufs, c.buf)
	}
	if from < len(o.small) {
		o.bufs = append(o.bufs, o.small[from:])
	}
	return o.bufs
}

// writeTo writes all, with one call. Most writes are of a single buffer, for which writev only costs.
func writeTo(w net.Conn, bufs net.Buffers) (int64, error) {
	if len(bufs) == 1 {
		n, err := w.Write(bufs[0])
		return int64(n), err
	}
	return bufs.WriteTo(w)
}

// returnOutbox keeps o for the next write, without references to what was written.
func (s *Server) returnOutbox(o *outbox) {
	if cap(o.small) > keepOutbox {
		return
	}
	clear(o.cuts)
	clear(o.bufs)
	*o = outbox{small: o.small[:0], cuts: o.cuts[:0], bufs: o.bufs[:0]}
	s.outbox.Put(o)
}
