package managed

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire counts what clients send to brokers and read from them, where it leaves and comes, as Kafka's protocol has it: bytes of record batches in
// Produce requests that were accepted, and in answers to Fetch. It shares nothing with what brokers count by.
type wire struct {
	produced, fetched atomic.Int64

	lingering sync.WaitGroup // connections that clients have given up

	mu     sync.Mutex
	faults []error
}

// dial is how clients that are counted reach brokers.
func (w *wire) dial(config *tls.Config) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c := config.Clone()
		c.ServerName = host
		conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &tapped{Conn: conn, wire: w}, nil
	})
}

func (w *wire) fault(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, err)
}

// tapped is a connection of which all frames are looked at.
type tapped struct {
	net.Conn
	wire *wire

	end     sync.Once
	reading sync.Mutex
	sent    frames
	came    frames // guarded by reading

	mu      sync.Mutex
	waiting []asked // in the order in which answers come
}

// asked is a request that waits for its answer.
type asked struct {
	correlation int32
	request     kmsg.Request
}

// Close implements net.Conn. What the broker has sent by then counts, though the client that gives the connection up does not look at it: no
// more requests go out, and what comes is read to the end.
func (c *tapped) Close() error {
	c.end.Do(func() {
		c.wire.lingering.Go(func() {
			defer c.Conn.Close()
			_ = c.SetDeadline(time.Now().Add(lingers))
			if err := c.Conn.(*tls.Conn).CloseWrite(); err == nil {
				_, _ = io.Copy(io.Discard, c) // until the broker has heard of it
			}
		})
	})
	return nil
}

// lingers bounds how long a broker may take to hear of a connection's end.
const lingers = 10 * time.Second

// Write implements net.Conn.
func (c *tapped) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.add(b[:n], func(frame []byte) {
		if err := c.request(frame); err != nil {
			c.wire.fault(err)
		}
	})
	return n, err
}

// Read implements net.Conn.
func (c *tapped) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.Conn.Read(b)
	c.came.add(b[:n], func(frame []byte) {
		if err := c.response(frame); err != nil {
			c.wire.fault(err)
		}
	})
	return n, err
}

var errFrame = errors.New("a frame is not as clients and brokers write them")

func (c *tapped) request(frame []byte) error {
	const fixed = 10 // key, version, correlation id, length of the client's id
	if len(frame) < fixed {
		return errFrame
	}
	key, version := binary.BigEndian.Uint16(frame), binary.BigEndian.Uint16(frame[2:])
	a := asked{int32(binary.BigEndian.Uint32(frame[4:])), kmsg.RequestForKey(int16(key))}
	if a.request == nil {
		return fmt.Errorf("%w: key %d", errFrame, key)
	}
	a.request.SetVersion(int16(version))
	if kmsg.Key(key) == kmsg.Produce {
		body := frame[fixed:]
		if id := int16(binary.BigEndian.Uint16(frame[8:])); id > 0 {
			body = body[id:]
		}
		if a.request.IsFlexible() {
			body = body[1:] // the header's tags, of which there are none
		}
		if err := a.request.ReadFrom(slices.Clone(body)); err != nil {
			return fmt.Errorf("%w: produce: %w", errFrame, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, a)
	return nil
}

func (c *tapped) response(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(frame) < 5 || len(c.waiting) == 0 || c.waiting[0].correlation != int32(binary.BigEndian.Uint32(frame)) {
		return fmt.Errorf("%w: an answer to nothing", errFrame)
	}
	request, body := c.waiting[0].request, frame[4:]
	c.waiting = c.waiting[1:]
	if request.IsFlexible() && kmsg.Key(request.Key()) != kmsg.ApiVersions {
		body = body[1:]
	}
	answer := request.ResponseKind()
	answer.SetVersion(request.GetVersion())
	switch r := answer.(type) {
	case *kmsg.ProduceResponse:
		if err := r.ReadFrom(body); err != nil {
			return fmt.Errorf("%w: produce: %w", errFrame, err)
		}
		c.wire.produced.Add(accepted(request.(*kmsg.ProduceRequest), r))
	case *kmsg.FetchResponse:
		if err := r.ReadFrom(body); err != nil {
			return fmt.Errorf("%w: fetch: %w", errFrame, err)
		}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				c.wire.fetched.Add(int64(len(p.RecordBatches)))
			}
		}
	}
	return nil
}

// accepted is how many bytes of batches in a request the answer does not refuse. Topics and partitions are answered in the order of the request,
// or by name or id.
func accepted(request *kmsg.ProduceRequest, r *kmsg.ProduceResponse) (bytes int64) {
	type place struct {
		name      string
		id        [16]byte
		partition int32
	}
	sent := map[place]int{}
	for _, t := range request.Topics {
		for _, p := range t.Partitions {
			sent[place{t.Topic, t.TopicID, p.Partition}] += len(p.Records)
		}
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				bytes += int64(sent[place{t.Topic, t.TopicID, p.Partition}])
			}
		}
	}
	return bytes
}

// frames cuts a stream into what Kafka's protocol sends at a time. It is for one goroutine at a time, as each way of a connection is.
type frames struct{ rest bytes.Buffer }

func (f *frames) add(b []byte, each func(frame []byte)) {
	f.rest.Write(b)
	for f.rest.Len() >= 4 {
		size := int(binary.BigEndian.Uint32(f.rest.Bytes()))
		if f.rest.Len() < 4+size {
			return
		}
		each(f.rest.Next(4 + size)[4:])
	}
}
