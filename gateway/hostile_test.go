package gateway

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/server"
	"millrace/kafka/wire"
)

// TestHostileBroker: whatever a broker sends, the client's connection ends without an answer that is not one, the gateway goes on, and nothing
// stays taken (GW6, GW8).
func TestHostileBroker(t *testing.T) {
	frame := func(correlation int32, body ...byte) []byte {
		out := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(correlation))
		out = append(out, body...)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		return out
	}
	size := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, says := range map[string]func(id int32) []byte{
		"another correlation id": func(id int32) []byte { return frame(id+1, make([]byte, 20)...) },
		"two answers":            func(id int32) []byte { return append(frame(id+100), frame(id)...) },
		"a negative size":        func(int32) []byte { return size(1 << 31) },
		"an empty frame":         func(int32) []byte { return size(0) },
		"a huge frame":           func(int32) []byte { return size(1 << 30) },
		"half a frame":           func(id int32) []byte { return frame(id, make([]byte, 100)...)[:30] },
		"half a size":            func(int32) []byte { return []byte{0, 0} },
		"nothing":                func(int32) []byte { return nil },
		"garbage":                func(id int32) []byte { return frame(id, bytes.Repeat([]byte{0xfe}, 50)...) },
		"a count too large":      func(id int32) []byte { return frame(id, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff) },
		"an empty answer":        func(id int32) []byte { return frame(id) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, func(nc net.Conn, a asked) kmsg.Response {
				_, _ = nc.Write(says(a.header.CorrelationID))
				nc.Close()
				return nil
			})
			f := open(t, b, nil)
			for _, key := range []kmsg.Key{kmsg.Metadata, kmsg.FindCoordinator, kmsg.Fetch, kmsg.Produce, kmsg.ShareFetch} {
				p := f.dial()
				req := kmsg.RequestForKey(int16(key))
				req.SetVersion(newTable()[int16(key)].max)
				switch r := req.(type) {
				case *kmsg.ProduceRequest:
					r.Acks = -1
				case *kmsg.ShareFetchRequest:
					r.GroupID = kmsg.StringPtr("g")
				}
				p.send(req)
				p.ended()
			}
			if err := f.Ready(); err != nil {
				t.Error(err)
			}
			if strings.Contains(f.log.String(), "panic") {
				t.Error(f.log)
			}
		})
	}
}

// TestSilentBroker: a broker that does not answer, or stops in the middle of an answer, is given up after its time.
func TestSilentBroker(t *testing.T) {
	for name, half := range map[string]bool{"no answer": false, "half an answer": true} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, func(nc net.Conn, a asked) kmsg.Response {
				if half {
					_, _ = nc.Write([]byte{0, 0, 0, 100, 0, 0})
				}
				return nil
			})
			f := open(t, b, func(c *Config, _ *World) {
				c.ResponseTimeout, c.FrameTimeout = 100*time.Millisecond, time.Hour
				if half { // what bounds the rest of an answer is a time of its own
					c.ResponseTimeout, c.FrameTimeout = time.Hour, 100*time.Millisecond
				}
			})
			p := f.dial()
			p.send(kmsg.NewPtrHeartbeatRequest())
			p.ended()
		})
	}
}

// TestEarlyAnswer: a broker that answers a request before it has got all of it does not make the gateway write bytes of others: the request's
// memory is its own until it is sent.
func TestEarlyAnswer(t *testing.T) {
	const size = 8 << 20
	data := noise(size, 4)
	got := make(chan []byte, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b := newBroker(t, func(net.Conn, asked) kmsg.Response { return nil })
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		head := make([]byte, 4)
		if _, err := nc.Read(head); err != nil {
			return
		}
		raw(nc, asked{header: wire.RequestHeader{Key: 0, Version: 9, CorrelationID: 1}}, kmsg.NewPtrProduceResponse().AppendTo(nil))
		rest := make([]byte, binary.BigEndian.Uint32(head))
		n, step := 0, 64<<10
		for n < len(rest) {
			m, err := nc.Read(rest[n:min(n+step, len(rest))])
			if n += m; err != nil {
				break
			}
		}
		got <- rest[:n]
	})
	f := open(t, b, nil)
	f.change(func(v *view) { v.nodes[1] = node{id: 1, address: ln.Addr().String()} })
	p := f.dial()
	p.send(produceRequest(9, map[string][]byte{"open": data}, "open"))
	sent := <-got
	if !bytes.Contains(sent, data) {
		t.Error("the broker got other bytes")
	}
	p.nc.Close()
	wg.Wait()
}

// TestSlowClient: a client that asks and does not read stops its own answers only, and what is held for it is bounded (GW5).
func TestSlowClient(t *testing.T) {
	const answer = 1 << 20
	data := noise(answer, 5)
	b := newBroker(t, func(nc net.Conn, a asked) kmsg.Response {
		if a.header.Key == int16(kmsg.Fetch) {
			raw(nc, a, fetchBody(a.header.Version, 0, "open", data))
			return nil
		}
		return kmsg.ResponseForKey(a.header.Key)
	})
	f := open(t, b, func(c *Config, _ *World) {
		c.AnswerBytes, c.ConnAnswerBytes = 16<<20, 3<<20
		c.Server.WriteTimeout = time.Second
	})
	slow := f.dial()
	for range 200 {
		slow.send(fetchRequest(11, 0, -1, "open"))
	}
	most, waited := int64(0), time.Now().Add(patience)
	for f.srv.Metrics().SlowEnded.Load() == 0 {
		most = max(most, f.answers.Used())
		ask[*kmsg.HeartbeatResponse](f.dial(), kmsg.NewPtrHeartbeatRequest()) // others are served all the while
		if time.Now().After(waited) {
			t.Fatal("the client is not cut off")
		}
	}
	if most > 4<<20 {
		t.Errorf("%d bytes were held", most)
	}
}

// TestHostileClient: bodies that cannot be read end the connection, and nothing of them passes.
func TestHostileClient(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	for key, e := range newTable() {
		for _, body := range [][]byte{{0xff}, bytes.Repeat([]byte{0x7f}, 40), bytes.Repeat([]byte{0xfe, 0xff, 0xff, 0xff}, 30)} {
			p := f.dial()
			p.sendBody(key, e.max, body)
			_ = p.nc.(*net.TCPConn).CloseWrite()
			for {
				if _, err := p.r.ReadByte(); err != nil {
					break
				}
			}
		}
	}
	for _, a := range b.requests() {
		// What is left are requests that these bytes happen to be, of what needs nothing.
		if _, err := f.decoder.Decode(a.header.Key, a.header.Version, a.body); err != nil {
			t.Errorf("the broker got a bad %s", kmsg.NameForKey(a.header.Key))
		}
	}
	if strings.Contains(f.log.String(), "panic") {
		t.Error(f.log)
	}
	ask[*kmsg.HeartbeatResponse](f.dial(), kmsg.NewPtrHeartbeatRequest())
}

// TestConnectionsEndTogether: clients that go leave no connection to a broker and no goroutine behind.
func TestConnectionsEndTogether(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	f := open(t, b, nil)
	before := runtime.NumGoroutine()
	for range 50 {
		p := f.dial()
		ask[*kmsg.HeartbeatResponse](p, kmsg.NewPtrHeartbeatRequest())
		p.nc.Close()
	}
	until := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+5 || f.srv.Metrics().Open.Load() > 0 {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines, were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

// TestTooManyBrokers: a cluster that tells of more brokers than are served does not make the gateway open ports for them.
func TestTooManyBrokers(t *testing.T) {
	b := newBroker(t, func(_ net.Conn, a asked) kmsg.Response {
		resp := kmsg.ResponseForKey(a.header.Key)
		if m, ok := resp.(*kmsg.MetadataResponse); ok {
			for id := range int32(500) {
				x := kmsg.NewMetadataResponseBroker()
				x.NodeID, x.Host, x.Port = id, "127.0.0.1", 1
				m.Brokers = append(m.Brokers, x)
			}
			x := kmsg.NewMetadataResponseBroker()
			x.NodeID, x.Host, x.Port = 1<<30, "127.0.0.1", 1
			m.Brokers = append(m.Brokers, x)
		}
		return resp
	})
	f := open(t, b, func(c *Config, w *World) {
		c.MostNodes = 3
		w.Dial = nil
	})
	resp := ask[*kmsg.MetadataResponse](f.dial(), kmsg.NewPtrMetadataRequest())
	if len(resp.Brokers) > 3 || len(f.view.Load().nodes) > 3 || len(f.ports) > 5 {
		t.Errorf("%d brokers, %d ports", len(resp.Brokers), len(f.ports))
	}
}

// FuzzRequest: no body of a client makes the gateway panic, and what it sends on can be read.
func FuzzRequest(f *testing.F) {
	for key, e := range newTable() {
		req := kmsg.RequestForKey(key)
		req.SetVersion(e.max)
		f.Add(uint8(key), uint8(e.max), req.AppendTo(nil), uint8(3))
	}
	b := newBroker(f, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	g := open(f, b, func(c *Config, _ *World) { c.MostNodes, c.Server = 1, server.Config{MaxRequestBytes: 1 << 20} })
	f.Fuzz(func(t *testing.T, key, version uint8, body []byte, seed uint8) {
		e, ok := g.table[int16(key)]
		if !ok || e.rule == nil || int16(version) < e.min || int16(version) > e.max {
			return
		}
		c, req, err := callFor(g.Gateway, int16(key), int16(version), body, seed)
		if err != nil {
			return
		}
		v, err := c.decide(t.Context(), req)
		if err != nil {
			return // it would have asked the broker for a name
		}
		if v.answer != nil {
			v.answer.SetVersion(int16(version))
			v.answer.AppendTo(nil)
			return
		}
		if v.pruned {
			req.SetVersion(c.version)
			if _, err := g.decoder.Decode(c.key, c.version, req.AppendTo(nil)); err != nil {
				t.Errorf("what is sent on cannot be read: %v", err)
			}
		}
	})
}

// FuzzAnswer: no answer of a broker makes the gateway panic, and what it sends on can be encoded.
func FuzzAnswer(f *testing.F) {
	for key, e := range newTable() {
		resp := kmsg.ResponseForKey(key)
		resp.SetVersion(e.max)
		f.Add(uint8(key), uint8(e.max), resp.AppendTo(nil), uint8(3))
	}
	f.Add(uint8(1), uint8(17), fetchBody(17, 5, "open", []byte("records")), uint8(0))
	b := newBroker(f, func(_ net.Conn, a asked) kmsg.Response { return kmsg.ResponseForKey(a.header.Key) })
	g := open(f, b, func(c *Config, _ *World) { c.MostNodes = 1 })
	f.Fuzz(func(t *testing.T, key, version uint8, body []byte, seed uint8) {
		e, ok := g.table[int16(key)]
		if !ok || e.own != nil || int16(version) < e.min || int16(version) > e.max {
			return
		}
		req := kmsg.RequestForKey(int16(key))
		req.SetVersion(int16(version))
		c, decoded, err := callFor(g.Gateway, int16(key), int16(version), req.AppendTo(nil), seed)
		if err != nil {
			return
		}
		switch kmsg.Key(key) {
		case kmsg.Produce:
			c.raw = c.producedRaw(nil)
		case kmsg.Fetch:
			c.raw = c.fetched(seed%2 == 0, nil)
		default:
			v, err := c.decide(t.Context(), decoded)
			if err != nil || v.answer != nil {
				return
			}
			c.edit = v.edit
		}
		if c.raw != nil {
			resp, err := c.raw(body, 0)
			if err == nil && resp.Msg != nil {
				resp.Msg.SetVersion(int16(version))
				resp.Msg.AppendTo(nil)
			}
			return
		}
		resp, err := g.decoder.DecodeResponse(c.key, c.version, body)
		if err != nil {
			return
		}
		if c.edit != nil {
			c.edit(resp)
		}
		c.record(resp)
		resp.SetVersion(int16(version))
		resp.AppendTo(nil)
	})
}
