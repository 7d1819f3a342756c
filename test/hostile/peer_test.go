package hostile

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

// correlation is the id in every request header here.
const correlation = 0x68657921

// Outcomes of peer.read beside a reply.
var (
	errClosed = errors.New("the connection was closed")
	errSilent = errors.New("no answer")
	errForged = errors.New("an answer that is none")
)

// peer is one connection of a client that keeps no rules.
type peer struct {
	t    testing.TB
	conn net.Conn
}

// connect opens a connection that ends with the test.
func (c *cluster) connect(t testing.TB) *peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", c.Bootstrap, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn}
}

// send writes bytes as they are. The other side may have closed already, so an error is none here.
func (p *peer) send(b []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = p.conn.Write(b)
}

// finish says that no more bytes come.
func (p *peer) finish() { _ = p.conn.(*net.TCPConn).CloseWrite() }

// read returns the next reply without its size, or errClosed, or errSilent when none came within limit.
func (p *peer) read(limit time.Duration) ([]byte, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(limit))
	var size [wire.SizeBytes]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		return nil, outcome(err)
	}
	const most = 64 << 20
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > most {
		return nil, errForged
	}
	reply := make([]byte, n)
	if _, err := io.ReadFull(p.conn, reply); err != nil {
		return nil, outcome(err)
	}
	if binary.BigEndian.Uint32(reply) != correlation {
		return nil, errForged
	}
	return reply, nil
}

func outcome(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	default:
		return err
	}
}

// ask sends a request and decodes its reply.
func ask[P kmsg.Response](p *peer, request kmsg.Request) (P, error) {
	p.send(frame(request.Key(), request.GetVersion(), request.AppendTo(nil)))
	var none P
	reply, err := p.read(patience)
	if err != nil {
		return none, err
	}
	response, err := decode(request.Key(), request.GetVersion(), reply)
	if err != nil {
		return none, err
	}
	return response.(P), nil
}

// decode parses a reply, header and all.
func decode(key, version int16, reply []byte) (kmsg.Response, error) {
	body := reply[4:]
	if key != wire.KeyAPIVersions && wire.IsFlexible(key, version) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errForged
		}
		body = body[1:]
	}
	response := kmsg.ResponseForKey(key)
	response.SetVersion(version)
	return response, response.ReadFrom(body)
}

// frame is a whole request: size, header, body.
func frame(key, version int16, body []byte) []byte {
	b := make([]byte, wire.SizeBytes)
	b = wire.AppendHeader(b, wire.RequestHeader{Key: key, Version: version, CorrelationID: correlation, ClientID: "hostile"})
	return sized(append(b, body...))
}

// sized sets the size of a frame whose first bytes are kept free for it.
func sized(b []byte) []byte {
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	return b
}
