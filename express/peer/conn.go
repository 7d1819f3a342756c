package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/catalog"
)

type (
	request  = kmsg.Request
	response = kmsg.Response
)

// maxAnswer bounds the bytes of one answer; the largest that a broker gives are the states of share-partitions (maxReads).
const maxAnswer = 8 << 20

// errAnswer: what came is not an answer to what was asked.
var errAnswer = errors.New("not an answer to the request")

// conn is a connection to a broker, with at most one request on its way. It has one owner; after an error it is of no use.
type conn struct {
	nc        net.Conn
	formatter *kmsg.RequestFormatter
	last      int32 // correlation id
	buf       []byte
}

func dial(
	ctx context.Context, dialer func(ctx context.Context, network, address string) (net.Conn, error), at catalog.Endpoint, clientID string,
) (*conn, error) {
	nc, err := dialer(ctx, "tcp", net.JoinHostPort(at.Host, strconv.Itoa(int(at.Port))))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{nc: nc, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))}, nil
}

func (c *conn) close() { _ = c.nc.Close() } // nothing is left to be written

// ask sends a request and reads its answer. ctx bounds it: when it ends the connection is closed.
func (c *conn) ask(ctx context.Context, q request) (response, error) {
	stop := context.AfterFunc(ctx, c.close)
	r, err := c.exchange(q)
	if !stop() && err != nil {
		err = ctx.Err() // it is why the connection was closed
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(q.Key()), err)
	}
	return r, nil
}

func (c *conn) exchange(q request) (response, error) {
	c.last++
	c.buf = c.formatter.AppendRequest(c.buf[:0], q, c.last)
	if _, err := c.nc.Write(c.buf); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("%w: it has %d bytes", errAnswer, n)
	}
	body := make([]byte, n) // answers refer to it
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, err
	}
	return readAnswer(q, c.last, body)
}

// readAnswer decodes what came in answer to q, without its size.
func readAnswer(q request, correlation int32, body []byte) (response, error) {
	if len(body) < 4 || int32(binary.BigEndian.Uint32(body)) != correlation {
		return nil, fmt.Errorf("%w: correlation id", errAnswer)
	}
	body = body[4:]
	r := q.ResponseKind()
	if r.IsFlexible() {
		if len(body) == 0 || body[0] != 0 { // no broker of ours tags its header
			return nil, fmt.Errorf("%w: header", errAnswer)
		}
		body = body[1:]
	}
	if err := r.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return r, nil
}
