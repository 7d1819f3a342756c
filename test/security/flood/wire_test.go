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
func (f *fortress) enter(from string, step int) (*conn, error) {
	nc, err := dial(from, f.at(step))
	if err != nil {
		return nil, err
	}
	t := tls.Client(nc, f.tls)
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

// ask sends a request and returns the answer.
func (c *conn) ask(q kmsg.Request) (kmsg.Response, error) {
	if _, err := c.Write(c.encode(q)); err != nil {
		return nil, err
	}
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

func (c *conn) choose(m identity.Mechanism) error {
	q := kmsg.NewPtrSASLHandshakeRequest()
	q.Version, q.Mechanism = 1, string(m)
	resp, err := c.ask(q)
	if err != nil {
		return err
	}
	return kerr.Code(resp.(*kmsg.SASLHandshakeResponse).ErrorCode).Err()
}

// say sends a message of a login and returns the answer, or errRefused.
func (c *conn) say(message []byte) ([]byte, error) {
	q := kmsg.NewPtrSASLAuthenticateRequest()
	q.Version, q.SASLAuthBytes = 2, message
	resp, err := c.ask(q)
	if err != nil {
		return nil, err
	}
	if r := resp.(*kmsg.SASLAuthenticateResponse); r.ErrorCode != 0 {
		return nil, errRefused
	}
	return resp.(*kmsg.SASLAuthenticateResponse).SASLAuthBytes, nil
}

// attempt is a login that must not succeed.
type attempt struct {
	step      int
	mechanism identity.Mechanism
	first     []byte
}

// try makes an attempt, and returns nil only when it got in.
func (f *fortress) try(from string, a attempt) error {
	c, err := f.enter(from, a.step)
	if err != nil {
		return err
	}
	defer end(c.Conn)
	if err := c.choose(a.mechanism); err != nil {
		return err
	}
	reply, err := c.say(a.first)
	if err != nil {
		return err
	}
	switch a.mechanism {
	case identity.ScramSHA256, identity.ScramSHA512:
		nonce := ""
		for part := range strings.SplitSeq(string(reply), ",") {
			if value, ok := strings.CutPrefix(part, "r="); ok {
				nonce = value
			}
		}
		_, err = c.say([]byte("c=biws,r=" + nonce + ",p=" + base64.StdEncoding.EncodeToString(make([]byte, 64))))
	case identity.OAuthBearer: // a refusal is told by JSON, and ends with the next message
		if len(reply) > 0 {
			_, err = c.say([]byte{1})
		}
	case identity.MSKIAM:
	}
	if err != nil {
		return err
	}
	_, err = c.ask(metadata())
	return err
}

func metadata() *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	q.Version = 12
	return q
}
