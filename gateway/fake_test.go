package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/trail"
)

const patience = 20 * time.Second

// asked is one request that a broker has got.
type asked struct {
	header wire.RequestHeader
	body   []byte
}

// broker is a scripted broker: it answers what the gateway itself asks, and everything else by the test's function. Each connection is
// served on its own goroutine, one request after the other, as Kafka does.
type broker struct {
	t    testing.TB
	ln   net.Listener
	id   int32
	wg   sync.WaitGroup
	mu   sync.Mutex
	got  []asked // but what the gateway itself asks
	open map[net.Conn]bool
	// answer writes the answer to a request; nil result: it has written itself, or nothing.
	answer func(nc net.Conn, a asked) kmsg.Response
	others []kmsg.MetadataResponseBroker
	names  map[[16]byte]string
}

func newBroker(t testing.TB, answer func(nc net.Conn, a asked) kmsg.Response) *broker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, ln: ln, id: 1, answer: answer, open: map[net.Conn]bool{}, names: map[[16]byte]string{}}
	b.wg.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

func (b *broker) address() string { return b.ln.Addr().String() }

func (b *broker) close() {
	b.ln.Close()
	b.mu.Lock()
	for nc := range b.open {
		nc.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *broker) accept() {
	for {
		nc, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.open[nc] = true
		b.mu.Unlock()
		b.wg.Go(func() {
			defer nc.Close()
			b.serve(nc)
		})
	}
}

func (b *broker) serve(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		frame, err := readFrame(r)
		if err != nil {
			return
		}
		h, body, err := wire.DecodeHeader(frame, "")
		if err != nil {
			return
		}
		a := asked{h, body}
		var resp kmsg.Response
		if h.ClientID == clientID {
			resp = b.own(a)
		} else {
			b.mu.Lock()
			b.got = append(b.got, a)
			b.mu.Unlock()
			resp = b.answer(nc, a)
		}
		if resp != nil {
			if _, err := nc.Write(encode(a, resp)); err != nil {
				return
			}
		}
	}
}

// own answers what the gateway asks for itself.
func (b *broker) own(a asked) kmsg.Response {
	switch a.header.Key {
	case int16(kmsg.ApiVersions):
		resp := kmsg.NewPtrApiVersionsResponse()
		for key := range newTable() {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = key, 30
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
		return resp
	case int16(kmsg.Metadata):
		req := kmsg.NewPtrMetadataRequest()
		req.Version = a.header.Version
		_ = req.ReadFrom(a.body)
		resp := kmsg.NewPtrMetadataResponse()
		resp.Brokers = append(resp.Brokers, b.self())
		resp.Brokers = append(resp.Brokers, b.others...)
		for _, t := range req.Topics {
			out := kmsg.NewMetadataResponseTopic()
			out.TopicID = t.TopicID
			if name, ok := b.names[t.TopicID]; ok {
				out.Topic = &name
			} else {
				out.ErrorCode = 100
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	case int16(kmsg.DescribeClientQuotas):
		return kmsg.NewPtrDescribeClientQuotasResponse()
	}
	return nil
}

func (b *broker) self() kmsg.MetadataResponseBroker {
	m := kmsg.NewMetadataResponseBroker()
	a := b.ln.Addr().(*net.TCPAddr)
	m.NodeID, m.Host, m.Port = b.id, a.IP.String(), int32(a.Port)
	return m
}

// requests returns what has come so far.
func (b *broker) requests() []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]asked(nil), b.got...)
}

func encode(a asked, resp kmsg.Response) []byte {
	resp.SetVersion(a.header.Version)
	out := wire.AppendResponseHeader(make([]byte, 4), a.header.Key, a.header.Version, a.header.CorrelationID)
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func readFrame(r *bufio.Reader) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// judge allows what its function does; nil: everything.
type judge struct {
	mu  sync.Mutex
	yes func(authz.Access) bool
}

func (j *judge) set(yes func(authz.Access) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.yes = yes
}

func (j *judge) Allowed(a authz.Access) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return a.Who != nil && a.Who.Principal != "" && (j.yes == nil || j.yes(a))
}

func (j *judge) AllowedSomewhere(a authz.Access) bool { return j.Allowed(a) }

// deny refuses one operation on one name.
func (j *judge) deny(op kmsg.ACLOperation, name string) {
	j.set(func(a authz.Access) bool { return a.Operation != op || a.Name != name })
}

// events is a Recorder that keeps.
type events struct {
	mu  sync.Mutex
	all []trail.Event
}

func (e *events) Record(x trail.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, x)
}

// gate is a session that is logged in once it is told so.
type gate struct {
	mu  sync.Mutex
	who identity.Identity
}

func (g *gate) Handle(context.Context, *server.Request) bool { return false }

func (g *gate) Identity() identity.Identity {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.who
}

// fixture is a gateway in front of one scripted broker.
type fixture struct {
	*Gateway
	t      testing.TB
	broker *broker
	judge  *judge
	events *events
	log    *lockedText
}

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t testing.TB, b *broker, change func(*Config, *World)) *fixture {
	t.Helper()
	slabs, err := slab.New(slab.Config{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, broker: b, judge: &judge{}, events: &events{}, log: &lockedText{}}
	cfg := Config{Upstream: []string{b.address()}, Listeners: []Listener{{Name: "CLIENT", Address: freeBlock(t)}}}
	w := World{
		Log: slog.New(slog.NewTextHandler(f.log, nil)), Clock: clock.System{}, Slabs: slabs, Judge: f.judge, Trail: f.events,
		Connect: func(*server.Conn, login.Listener) (Session, error) {
			return &gate{who: identity.Identity{Principal: "User:alice"}}, nil
		},
	}
	if change != nil {
		change(&cfg, &w)
	}
	if f.Gateway, err = Open(t.Context(), cfg, w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Errorf("close: %v\n%s", err, f.log)
		}
		if used := f.answers.Used(); used != 0 {
			t.Errorf("%d bytes of answers are still taken", used)
		}
		if used := f.srv.InFlightBytes(); used != 0 {
			t.Errorf("%d bytes of requests are still taken", used)
		}
	})
	return f
}

// freeBlock returns an address with some free ports after it, below those that kernels hand out to outgoing connections.
func freeBlock(t testing.TB) string {
	t.Helper()
	const lowest, highest, block = 12_000, 19_900, 6
next:
	for range 200 {
		port := lowest + rand.IntN(highest-lowest-block)
		for i := range block {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
			if err != nil {
				continue next
			}
			ln.Close()
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	t.Fatal("no free ports")
	return ""
}

// peer is a client's connection.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
	n  int32
}

func (f *fixture) dial() *peer {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.Bootstrap("CLIENT"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return &peer{t: f.t, nc: nc, r: bufio.NewReader(nc)}
}

// send sends a request and returns its correlation id.
func (p *peer) send(req kmsg.Request) int32 {
	p.t.Helper()
	return p.sendBody(req.Key(), req.GetVersion(), req.AppendTo(nil))
}

func (p *peer) sendBody(key, version int16, body []byte) int32 {
	p.t.Helper()
	p.n++
	out := wire.AppendHeader(make([]byte, 4), wire.RequestHeader{Key: key, Version: version, CorrelationID: p.n, ClientID: "c"})
	out = append(out, body...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := p.nc.Write(out); err != nil {
		p.t.Fatal(err)
	}
	return p.n
}

// next reads an answer to a request.
func (p *peer) next(req kmsg.Request) (int32, []byte, error) {
	frame, err := readFrame(p.r)
	if err != nil {
		return 0, nil, err
	}
	return wire.DecodeResponseHeader(req.Key(), req.GetVersion(), frame)
}

// ask sends a request and returns its answer.
func ask[R kmsg.Response](p *peer, req kmsg.Request) R {
	p.t.Helper()
	id := p.send(req)
	got, body, err := p.next(req)
	if err != nil {
		p.t.Fatal(err)
	}
	if got != id {
		p.t.Fatalf("answer to %d, want %d", got, id)
	}
	resp := kmsg.ResponseForKey(req.Key())
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		p.t.Fatal(err)
	}
	return resp.(R)
}

// ended waits until the gateway has ended the connection. A connection that it has merely gone silent on is not ended.
func (p *peer) ended() {
	p.t.Helper()
	n, err := p.r.ReadByte()
	if err == nil {
		p.t.Fatalf("got %d, want the end", n)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the connection is still open")
	}
}

// notYet connects clients that never log in.
func notYet(*server.Conn, login.Listener) (Session, error) { return &gate{}, nil }

// callFor returns a call as it is when its rule is asked, without a connection. What it may depends on seed.
func callFor(g *Gateway, key, version int16, body []byte, seed uint8) (*call, kmsg.Request, error) {
	s := &session{g: g, f: g.fronts["CLIENT"], login: nobody{}, host: "gateway", node: 12345}
	who := s.login.Identity()
	c := &call{g: g, s: s, e: g.table[key], key: key, version: version, who: authz.Access{Who: &who}}
	c.r = &server.Request{Header: wire.RequestHeader{Key: key, Version: version}, Body: body}
	g.world.Judge.(*judge).set(func(a authz.Access) bool { return (uint8(len(a.Name))+uint8(a.Operation))%4 < seed%5 })
	req, err := g.decoder.Decode(key, version, body)
	return c, req, err
}
