package network

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is one end of a connection. It implements net.Conn.
type conn struct {
	host   *Host
	peer   *conn
	local  addr
	remote addr

	// Guarded by Network.mu.
	inbox    []message
	last     time.Time // arrival of the last message
	ended    bool      // the last message of the inbox is the end
	closed   bool
	deadline time.Time     // of reads, by the host's clock; zero: none
	late     time.Time     // of writes
	news     chan struct{} // something changed for the reader; capacity 1
}

// message arrives at a time. One without data is the end of the connection.
type message struct {
	at   time.Time
	data []byte
}

func newPair(a, b *Host, from, to addr) (near, far *conn) {
	near = &conn{host: a, local: from, remote: to, news: make(chan struct{}, 1)}
	far = &conn{host: b, local: to, remote: from, news: make(chan struct{}, 1), peer: near}
	near.peer = far
	return near, far
}

// Read waits until something has arrived.
func (c *conn) Read(p []byte) (int, error) {
	n := c.host.network
	for {
		c.host.lockRunning()
		read, wait, err := c.readLocked(p)
		n.mu.Unlock()
		if read > 0 || err != nil || len(p) == 0 {
			return read, err
		}
		if wait <= 0 {
			<-c.news
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// readLocked takes what has arrived, or says how long it may take until something does; 0: until news come.
func (c *conn) readLocked(p []byte) (read int, wait time.Duration, err error) {
	if c.closed {
		return 0, 0, c.fault("read", net.ErrClosed)
	}
	if !c.deadline.IsZero() {
		if wait = c.deadline.Sub(c.host.now()); wait <= 0 {
			return 0, 0, c.fault("read", os.ErrDeadlineExceeded)
		}
	}
	if len(c.inbox) == 0 || c.host.network.cut[pair(c.host.machine, c.peer.host.machine)] {
		return 0, wait, nil
	}
	m := &c.inbox[0]
	if left := time.Until(m.at); left > 0 {
		if wait == 0 || left < wait {
			wait = left
		}
		return 0, wait, nil
	}
	if len(m.data) == 0 {
		return 0, 0, io.EOF
	}
	read = copy(p, m.data)
	if m.data = m.data[read:]; len(m.data) == 0 {
		c.inbox = c.inbox[1:]
	}
	return read, 0, nil
}

// Write never waits for the reader: what is sent here is little.
func (c *conn) Write(p []byte) (int, error) {
	c.host.lockRunning()
	defer c.host.network.mu.Unlock()
	switch {
	case c.closed || c.host.dead:
		return 0, c.fault("write", net.ErrClosed)
	case !c.late.IsZero() && !c.late.After(c.host.now()):
		return 0, c.fault("write", os.ErrDeadlineExceeded)
	case c.ended && !c.inbox[len(c.inbox)-1].at.After(time.Now()) || c.peer.closed:
		return 0, c.fault("write", syscall.EPIPE)
	}
	if len(p) > 0 {
		c.peer.putLocked(append([]byte(nil), p...), c.host.network.delay())
	}
	return len(p), nil
}

// putLocked has a message arrive after a time, or after all before it.
func (c *conn) putLocked(data []byte, after time.Duration) {
	if c.ended {
		return
	}
	at := time.Now().Add(after)
	if at.Before(c.last) {
		at = c.last
	}
	c.last = at
	c.inbox = append(c.inbox, message{at, data})
	c.wakeLocked()
}

// endLocked has the end of the connection arrive after a time.
func (c *conn) endLocked(after time.Duration) {
	c.putLocked(nil, after)
	c.ended = true
}

func (c *conn) wakeLocked() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Close tells the other end.
func (c *conn) Close() error {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.peer.endLocked(n.delay())
	c.wakeLocked()
	delete(n.conns, c)
	return nil
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	c.deadline = t
	c.wakeLocked()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	c.late = t
	return nil
}
