package server

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/slab"
	"millrace/kafka/wire"
)

// Request is one request of a client. Whoever handles it answers it once, with Reply, NoReply or Close.
type Request struct {
	Conn     *Conn
	Header   wire.RequestHeader
	Body     []byte    // after the header; valid until the request is answered or FreeBody is called
	Received time.Time // when the whole frame was there
	Raw      bool      // a frame without header, see Conn.SetRaw; Body is all of it and Header is made up

	frame    *slab.Slab
	size     int   // bytes of the frame
	budget   int64 // bytes taken for frame; 0: it needed none
	version  int16 // of the reply
	answered atomic.Bool

	// Under Conn.mu until taken off the queue, then the writer's.
	ready bool
	none  bool
	resp  Response
}

// Response is the answer to a Request: either Msg or Buffers.
type Response struct {
	// Msg is encoded by the server at the version of the request (an ApiVersions request of a version that is not
	// served gets version 0). The server owns it from Reply on.
	Msg kmsg.Response

	// Buffers is an encoded body, without header. It is not copied, and must not change until Release is called.
	Buffers net.Buffers

	// Written is called before Release, when all of the reply was handed to the connection; nil: nobody asks. It must not block.
	Written func()

	// Release is called once, when the reply is written or dropped, on any goroutine; it must not block.
	Release func()

	// Throttle mutes the connection for that long from now on: the reply goes out, the next request waits.
	Throttle time.Duration

	// Close ends the connection once the reply is written, as after a failed login.
	Close bool
}

func (r *Response) release() {
	if r.Release != nil {
		r.Release()
	}
	*r = Response{}
}

// replyOverhead is what a reply is counted with beside its Buffers.
const replyOverhead = 256

// bytes returns what the reply counts in the queue.
func (r *Response) bytes() int {
	n := replyOverhead
	for _, b := range r.Buffers {
		n += len(b)
	}
	return n
}

// Size returns the bytes of the frame, without its size prefix.
func (r *Request) Size() int { return r.size }

// FreeBody gives the frame back before the request is answered; Body is nil then. A handler that waits long and has
// decoded the request calls it, so that its memory serves others. Not safe to call at the same time as an answer.
func (r *Request) FreeBody() {
	r.Body = nil
	r.freeFrame()
}

func (r *Request) freeFrame() {
	if r.frame == nil {
		return
	}
	r.frame.Release()
	r.frame = nil
	r.Conn.srv.budget.Release(r.budget)
}

// Reply answers the request. It never blocks: the reply is queued and written in request order.
func (r *Request) Reply(resp Response) {
	r.answer()
	r.finish(resp, false)
}

// NoReply answers a request that gets no reply, such as a Produce with acks 0.
func (r *Request) NoReply() {
	r.answer()
	r.finish(Response{}, true)
}

// Close answers the request by cutting the connection at once.
func (r *Request) Close() {
	r.answer()
	r.Conn.shut()
	r.FreeBody()
}

// Refuse answers a request that cannot be read: it cuts the connection, and counts and logs that as the server does with
// bad frames, so that a hostile client cannot fill the log.
func (r *Request) Refuse(err error) {
	s := r.Conn.srv
	s.metrics.Rejected.Add(1)
	s.complain(r.Conn, "connection closed for bad input", fmt.Errorf("key %d version %d: %w", r.Header.Key, r.Header.Version, err))
	r.Close()
}

// answer panics if the request was answered before, which is a fault of the handler.
func (r *Request) answer() {
	if r.answered.Swap(true) {
		panic("server: request answered twice")
	}
}

// abandon frees a request whose handler panicked, if it had not answered. The connection is cut already.
func (r *Request) abandon() {
	if !r.answered.Swap(true) {
		r.FreeBody()
	}
}

// finish marks the request ready and has the queue written, if it is the reader's turn or nobody else does it.
func (r *Request) finish(resp Response, none bool) {
	c := r.Conn
	r.FreeBody()
	c.Mute(resp.Throttle)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		resp.release()
		return
	}
	r.resp, r.none, r.ready = resp, none, true
	c.queueBytes += resp.bytes()
	// The reader writes when it comes back from Handle; only the request in its hands may wait for that.
	due := c.handling != r && c.claimFlushLocked()
	start := due && !c.hasWriter
	if start {
		c.hasWriter = true
		c.writer.Add(1)
	}
	c.mu.Unlock()
	if start {
		go c.write()
	}
	if due {
		c.due <- struct{}{} // has room: whoever has the claim sends one, and the writer takes it before the claim ends
	}
}

// write is the connection's writer goroutine. It begins with the first reply that the reader does not write and stays: a
// goroutine for each reply costs more, most of it for growing its stack.
func (c *Conn) write() {
	defer c.writer.Done()
	for {
		select {
		case <-c.due:
			c.flush()
		case <-c.dead:
			return
		}
	}
}

// claimFlushLocked makes the caller the one who flushes, if there is something to flush and nobody does.
func (c *Conn) claimFlushLocked() bool {
	if c.flushing || c.closed || len(c.queue) == 0 || !c.queue[0].ready {
		return false
	}
	c.flushing = true
	return true
}

// Bounds of one write. More requests than that go into the next.
const (
	writeRequests = 64
	writeBytes    = 1 << 20
)

// flush writes the ready replies at the head of the queue until there are none. The caller has claimed it.
func (c *Conn) flush() {
	var batch [writeRequests]*Request
	for {
		n, size := c.take(&batch)
		if n == 0 {
			return
		}
		end := c.writeBatch(batch[:n])
		clear(batch[:n])
		now := c.srv.world.Clock.Now()
		c.mu.Lock()
		c.queueBytes -= size
		c.lastReply = now
		c.mu.Unlock()
		c.signalRoom()
		if end {
			c.shut()
		}
	}
}

// take moves ready requests from the head of the queue into batch, and gives the claim up if there are none.
func (c *Conn) take(batch *[writeRequests]*Request) (n, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(c.queue) && n < writeRequests && size < writeBytes && c.queue[n].ready {
		batch[n] = c.queue[n]
		size += batch[n].resp.bytes()
		n++
	}
	// Moved down in place, so that the queue's memory is found again by append; it is short.
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	if n == 0 {
		c.flushing = false
		c.signalRoom()
	}
	return n, size
}

func (c *Conn) signalRoom() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}
