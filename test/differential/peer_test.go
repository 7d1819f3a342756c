package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

// patience is how long an answer may take. No request of the scripts waits for more than a second on purpose.
const patience = 4 * time.Second

// Outcomes of a request beside an answer. They are compared as the fields of answers are.
var (
	errClosed    = errors.New("closed")     // the connection was closed
	errSilent    = errors.New("silent")     // no answer within patience
	errForged    = errors.New("forged")     // an answer that is not the one asked for
	errMalformed = errors.New("malformed")  // an answer that does not decode
	errTrailing  = errors.New("other size") // an answer that does not encode to its own bytes
)

// peer is one connection of a client. It keeps no rules, and is opened anew after the other side has closed it.
type peer struct {
	address     string
	clientID    string
	conn        net.Conn
	correlation int32
	patience    time.Duration
}

func (p *peer) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// ask sends a request at its version and returns the decoded answer, or nil and an outcome.
func (p *peer) ask(request kmsg.Request) (kmsg.Response, error) {
	body, err := p.exchange(request.Key(), request.GetVersion(), request.AppendTo(nil))
	if err != nil {
		return nil, err
	}
	return decode(request.Key(), request.GetVersion(), body)
}

// exchange sends a body behind a header of its own and returns the answer's body, its header included but for the
// correlation id.
func (p *peer) exchange(key, version int16, body []byte) ([]byte, error) {
	b := make([]byte, wire.SizeBytes)
	p.correlation++
	b = wire.AppendHeader(b, wire.RequestHeader{Key: key, Version: version, CorrelationID: p.correlation, ClientID: p.clientID})
	b = append(b, body...)
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	return p.raw(b)
}

// raw sends bytes as they are and returns the answer that has the correlation id of the last request.
func (p *peer) raw(frame []byte) ([]byte, error) {
	if p.conn == nil {
		conn, err := net.DialTimeout("tcp", p.address, patience)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		p.conn = conn
	}
	if err := p.conn.SetDeadline(time.Now().Add(p.patience)); err != nil {
		return nil, err
	}
	// A server may close before it has read all; what it says counts.
	_, _ = p.conn.Write(frame)
	body, err := p.read()
	if err != nil {
		p.close()
	}
	return body, err
}

func (p *peer) read() ([]byte, error) {
	var size [wire.SizeBytes]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		return nil, ending(err)
	}
	const most = 64 << 20
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > most {
		return nil, errForged
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(p.conn, answer); err != nil {
		return nil, ending(err)
	}
	if int32(binary.BigEndian.Uint32(answer)) != p.correlation {
		return nil, errForged
	}
	return answer[4:], nil
}

func ending(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSilent
	}
	return errClosed
}

// decode parses an answer behind its correlation id. What it decodes to has to encode to the same bytes, so that nothing
// of the answer escapes the comparison.
func decode(key, version int16, body []byte) (kmsg.Response, error) {
	if key != wire.KeyAPIVersions && wire.IsFlexible(key, version) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errForged
		}
		body = body[1:]
	}
	response := kmsg.ResponseForKey(key)
	response.SetVersion(version)
	if err := response.ReadFrom(body); err != nil {
		return nil, errMalformed
	}
	if len(response.AppendTo(nil)) != len(body) {
		return response, errTrailing
	}
	return response, nil
}

// post sends a request that has no answer.
func (p *peer) post(request kmsg.Request) {
	b := make([]byte, wire.SizeBytes)
	b = wire.AppendHeader(b, wire.RequestHeader{Key: request.Key(), Version: request.GetVersion(), CorrelationID: -1, ClientID: p.clientID})
	b = append(b, request.AppendTo(nil)...)
	wire.PutFrameSize(b, len(b)-wire.SizeBytes)
	if p.conn == nil {
		conn, err := net.DialTimeout("tcp", p.address, patience)
		if err != nil {
			return
		}
		p.conn = conn
	}
	_, _ = p.conn.Write(b)
}
