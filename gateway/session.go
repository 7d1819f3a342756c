package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/server"
)

// session is one connection of a client. Its methods are called by the connection's reader goroutine only, unless they say otherwise.
type session struct {
	g     *Gateway
	f     *front
	conn  *server.Conn
	login Session
	host  string // that clients are told
	ip    netip.Addr
	tls   bool
	node  int32  // whose port the client came to; anyNode at the bootstrap port
	turn  uint64 // which broker to try first at the bootstrap port
	up    *upstream
}

// anyNode is the node of the bootstrap port.
const anyNode int32 = -1

func newSession(g *Gateway, f *front, c *server.Conn, in Session) *session {
	s := &session{g: g, f: f, conn: c, login: in, turn: c.ID(), node: anyNode, host: f.Advertise, tls: c.TLS() != nil}
	if a, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		s.ip = a.Addr().Unmap()
	}
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err == nil && int(local.Port()) > f.port {
		s.node = int32(int(local.Port())-f.port-1) + g.cfg.FirstNode
	}
	if s.host == "" {
		s.host = f.host
		if ip, bad := netip.ParseAddr(f.host); err == nil && (f.host == "" || bad == nil && ip.IsUnspecified()) {
			s.host = local.Addr().Unmap().String()
		}
	}
	return s
}

// upstream returns the connection to the broker, made at first use.
func (s *session) upstream(ctx context.Context) (*upstream, error) {
	if s.up != nil {
		return s.up, nil
	}
	err := errNoBroker
	for _, n := range s.g.view.Load().reach(s.node, s.turn) {
		w, dialErr := s.g.dial(ctx, n.address)
		if dialErr != nil {
			err = errors.Join(err, dialErr)
			continue
		}
		s.up = s.g.newUpstream(ctx, w, n.id, s.lost)
		return s.up, nil
	}
	return nil, err
}

// lost ends the client's connection when its broker's has ended: what is answered goes out, and the client sees the end of the stream, as it
// would of the broker. Safe for concurrent use.
func (s *session) lost(err error) {
	if !isEnd(err) {
		s.g.complain("connection to a broker ended", err, "remote", s.conn.RemoteAddr(), "listener", s.f.Name)
	}
	s.conn.Drain()
}

// end ends the connection to the broker, and waits for it.
func (s *session) end() {
	if s.up != nil {
		s.up.stop(net.ErrClosed)
		s.up.reading.Wait()
	}
}

// fail answers a request that no broker will answer: the connection ends without an answer to it. Safe for concurrent use.
func (s *session) fail(r *server.Request, err error) {
	if !isEnd(err) {
		s.g.complain("request not passed on", err, "remote", s.conn.RemoteAddr(), "listener", s.f.Name, "key", r.Header.Key)
	}
	r.NoReply()
	s.conn.Drain()
}

// ask sends a request of the gateway's own to the session's broker, after what was sent before, and waits for the answer.
func (s *session) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	u, err := s.upstream(ctx)
	if err != nil {
		return nil, err
	}
	q := &question{s: s, req: req, done: make(chan struct{})}
	if err := u.send(req.Key(), req.GetVersion(), clientID, net.Buffers{req.AppendTo(nil)}, q); err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.resp, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// question is a request of the gateway's own.
type question struct {
	s    *session
	req  kmsg.Request
	done chan struct{}
	resp kmsg.Response
	err  error
}

func (q *question) took(a answer) {
	defer a.giveUp()
	q.resp, q.err = q.s.g.decoder.DecodeResponse(q.req.Key(), q.req.GetVersion(), append([]byte(nil), a.body...))
	close(q.done)
}

func (q *question) lost(err error) {
	q.err = err
	close(q.done)
}

// address returns where the session's client reaches a node; ok is false if it has no port. Safe for concurrent use.
func (s *session) address(node int32) (host string, port int32, ok bool) {
	p, ok := s.g.portOf(s.f, node)
	return s.host, int32(p), ok
}

// portOf returns the port of a node behind a listener.
func (g *Gateway) portOf(f *front, node int32) (int, bool) {
	p := int64(f.port) + 1 + int64(node) - int64(g.cfg.FirstNode)
	return int(p), node >= g.cfg.FirstNode && p < 1<<16
}

// translate turns the address of a node into the gateway's. A node that the gateway has no port for has no address, "" and -1.
func (s *session) translate(node int32, host *string, port *int32, rack *string) {
	if node < 0 || *host == "" {
		*host, *port = "", -1
		return
	}
	known := s.g.learn(node, net.JoinHostPort(*host, strconv.Itoa(int(*port))), rack)
	h, p, ok := s.address(node)
	if !ok || !known {
		h, p = "", -1
	}
	*host, *port = h, p
}
