package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"millrace/kafka/wire"
)

// pump sends n requests with a window of requests in flight, and reads the replies.
func pump(b *testing.B, r *rig, window int, request []byte, replyBytes int) {
	pumpAt(b, r.dial(), window, request, replyBytes)
}

func pumpAt(b *testing.B, c *client, window int, request []byte, replyBytes int) {
	_ = c.SetDeadline(noDeadline)
	b.SetBytes(int64(len(request) + replyBytes))
	b.ReportAllocs()
	slots := make(chan struct{}, window)
	go func() {
		for range b.N {
			slots <- struct{}{}
			if _, err := c.Write(request); err != nil {
				return
			}
		}
	}()
	b.ResetTimer()
	reply := make([]byte, replyBytes)
	for range b.N {
		if _, err := io.ReadFull(c.br, reply); err != nil {
			b.Fatal(err)
		}
		<-slots
	}
}

// BenchmarkSync answers within Handle, one request at a time: a consumer's or an admin's round trip.
func BenchmarkSync(b *testing.B) {
	body := make([]byte, 100)
	r := newRig(b, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{body}})
	}})
	pump(b, r, 1, frame(wire.RequestHeader{Key: 3, Version: 1, ClientID: "test"}, body), 108)
}

// BenchmarkPipelined answers on another goroutine, as after a group commit, with 5 requests of 16 KiB in flight.
func BenchmarkPipelined(b *testing.B) {
	done := make(chan *Request, 100)
	go func() {
		for req := range done {
			req.Reply(Response{Buffers: net.Buffers{reply50}})
		}
	}()
	defer close(done)
	r := newRig(b, Config{}, &fake{handle: func(_ context.Context, r *Request) { done <- r }})
	pump(b, r, 5, frame(wire.RequestHeader{Key: 0, Version: 3, ClientID: "test"}, bytes.Repeat([]byte{1}, 16<<10)), 58)
}

// BenchmarkLargeReplies sends replies of 1 MiB that are not copied.
func BenchmarkLargeReplies(b *testing.B) {
	records := make([]byte, 1<<20)
	r := newRig(b, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{reply50, records}})
	}})
	pump(b, r, 1, frame(wire.RequestHeader{Key: 1, Version: 4, ClientID: "test"}, nil), 58+1<<20)
}

// tlsClient comes over TLS, with records of full size.
func tlsClient(b *testing.B, r *rig) *client {
	cert, pool := testCertificate(b)
	address := r.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}, DynamicRecordSizingDisabled: true})
	return r.dialTLS(address, &tls.Config{RootCAs: pool, DynamicRecordSizingDisabled: true})
}

// BenchmarkTLSRequests takes requests of three batches of the Java client's default size over TLS, and answers on another goroutine.
func BenchmarkTLSRequests(b *testing.B) {
	done := make(chan *Request, 100)
	go func() {
		for req := range done {
			req.Reply(Response{Buffers: net.Buffers{reply50}})
		}
	}()
	defer close(done)
	r := newRig(b, Config{}, &fake{handle: func(_ context.Context, r *Request) { done <- r }})
	request := frame(wire.RequestHeader{Key: 0, Version: 3, ClientID: "test"}, bytes.Repeat([]byte{1}, 48<<10))
	pumpAt(b, tlsClient(b, r), 5, request, 58)
}

// BenchmarkTLSReplies sends the records of three partitions over TLS.
func BenchmarkTLSReplies(b *testing.B) {
	records := make([]byte, 341<<10)
	r := newRig(b, Config{}, &fake{handle: func(_ context.Context, r *Request) {
		r.Reply(Response{Buffers: net.Buffers{reply50, records, reply50, records, reply50, records, reply50}})
	}})
	pumpAt(b, tlsClient(b, r), 1, frame(wire.RequestHeader{Key: 1, Version: 4, ClientID: "test"}, nil), 4*50+8+3*len(records))
}

var (
	noDeadline time.Time
	reply50    = make([]byte, 50)
)
