package flood

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/wire"
	"millrace/secure/identity"
)

// patience is the deadline of everything that is waited for; no test comes near it unless it fails.
const patience = 60 * time.Second

// errRefused is a login that was refused in Kafka's words.
var errRefused = errors.New("refused")

// conn is a client that speaks by hand.
type conn struct {
	net.Conn
	next int32
}

// stranger is the address that attacker n comes from: loopback has room for many.
func stranger(n int) string { return fmt.Sprintf("127.%d.%d.%d", 1+n>>16&0x3f, n>>8&0xff, n&0xff) }

// dial connects without TLS.
func dial(from, to string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return nc, nc.SetDeadline(time.Now().Add(patience))
}

// enter connects with TLS.
func (f *fortress) enter(from string, step int) (*conn, error) { return f.enterAs(from, step, f.tls) }

// enterAs connects with TLS of a certain kind.
func (f *fortress) enterAs(from string, step int, as *tls.Config) (*conn, error) {
	nc, err := dial(from, f.at(step))
	if err != nil {
		return nil, err
	}
	t := tls.Client(nc, as)
	if err := t.Handshake(); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return &conn{Conn: t}, nil
}

// end closes without a farewell, so that no port waits for one.
func end(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = nc.Close()
}

// encode makes a frame of a request.
func (c *conn) encode(q kmsg.Request) []byte {
	c.next++
	b := make([]byte, wire.SizeBytes)
	b = wire.AppendHeader(b, wire.RequestHeader{Key: q.Key(), Version: q.GetVersion(), CorrelationID: c.next, ClientID: "flood"})
	b = q.AppendTo(b)
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	return b
}

// send sends requests at once.
func (c *conn) send(all ...kmsg.Request) error {
	var b []byte
	for _, q := range all {
		b = append(b, c.encode(q)...)
	}
	_, err := c.Write(b)
	return err
}

// answer returns the answer to a request that was sent.
func (c *conn) answer(q kmsg.Request) (kmsg.Response, error) {
	var size [wire.SizeBytes]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, frame); err != nil {
		return nil, err
	}
	resp := q.ResponseKind()
	resp.SetVersion(q.GetVersion())
	if err := resp.ReadFrom(frame[len(wire.AppendResponseHeader(nil, q.Key(), q.GetVersion(), 0)):]); err != nil {
		return nil, fmt.Errorf("answer to %s v%d: %w", kmsg.NameForKey(q.Key()), q.GetVersion(), err)
	}
	return resp, nil
}

// ask sends a request and returns the answer.
func (c *conn) ask(q kmsg.Request) (kmsg.Response, error) {
	if err := c.send(q); err != nil {
		return nil, err
	}
	return c.answer(q)
}

func choose(m identity.Mechanism) kmsg.Request {
	q := kmsg.NewPtrSASLHandshakeRequest()
	q.Version, q.Mechanism = 1, string(m)
	return q
}

func say(message []byte) kmsg.Request {
	q := kmsg.NewPtrSASLAuthenticateRequest()
	q.Version, q.SASLAuthBytes = 2, message
	return q
}

// choose begins a login.
func (c *conn) choose(m identity.Mechanism) error {
	q := choose(m)
	if err := c.send(q); err != nil {
		return err
	}
	return c.chosen(q)
}

func (c *conn) chosen(q kmsg.Request) error {
	resp, err := c.answer(q)
	if err != nil {
		return err
	}
	return kerr.Code(resp.(*kmsg.SASLHandshakeResponse).ErrorCode).Err()
}

// said is the answer to a message of a login, or errRefused.
func (c *conn) said(q kmsg.Request) ([]byte, error) {
	resp, err := c.answer(q)
	if err != nil {
		return nil, err
	}
	r := resp.(*kmsg.SASLAuthenticateResponse)
	if r.ErrorCode != 0 {
		return nil, errRefused
	}
	return r.SASLAuthBytes, nil
}

// attempt is a login that must not succeed.
type attempt struct {
	step      int
	mechanism identity.Mechanism
	first     []byte
}

// try makes an attempt, with as few turns as it takes, and returns nil only when it got in.
func (f *fortress) try(from string, as *tls.Config, a attempt) error {
	c, err := f.enterAs(from, a.step, as)
	if err != nil {
		return err
	}
	defer end(c.Conn)
	all := []kmsg.Request{choose(a.mechanism), say(a.first)}
	if err := c.send(all...); err != nil {
		return err
	}
	if err := c.chosen(all[0]); err != nil {
		return err
	}
	reply, err := c.said(all[1])
	if err != nil {
		return err
	}
	var last []byte
	switch a.mechanism {
	case identity.ScramSHA256, identity.ScramSHA512:
		last = []byte("c=biws,r=" + nonceOf(reply) + ",p=" + base64.StdEncoding.EncodeToString(make([]byte, 64)))
	case identity.OAuthBearer: // a refusal is told by JSON, and ends with the next message
		if len(reply) > 0 {
			last = []byte{1}
		}
	case identity.MSKIAM:
	}
	if last != nil {
		q := say(last)
		if err := c.send(q); err != nil {
			return err
		}
		if _, err := c.said(q); err != nil {
			return err
		}
	}
	_, err = c.ask(metadata())
	return err
}

// nonceOf is that of a server's first message of SCRAM.
func nonceOf(reply []byte) string {
	for part := range strings.SplitSeq(string(reply), ",") {
		if nonce, ok := strings.CutPrefix(part, "r="); ok {
			return nonce
		}
	}
	return ""
}

func metadata() *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	q.Version = 12
	return q
}
