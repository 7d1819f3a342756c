// Package reach is how the agent of a host asks the nodes that it runs: express brokers and nodes of Apache Kafka alike.
//
// Flow: Vacant before a start -> Dial, to the listener that is for the installation's own -> Ask, one request and its answer.
//
// Invariants: no connection outlives the deadline of its context, and what a node answers is hostile: it is bounded, and a bad answer is
// ErrNoAnswer, or the end of what came. Everything is safe for concurrent use.
package reach

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

// Errors to be tested with errors.Is.
var (
	// ErrNoAnswer: something listens, but what it says is no answer of Kafka's.
	ErrNoAnswer = errors.New("not a kafka answer")
	// ErrNoCertificate: the node wants to know who asks, and this host has nothing to show.
	ErrNoCertificate = errors.New("the agent has no certificate to show")
	// ErrDeadline: the context has no deadline.
	ErrDeadline = errors.New("asked without a deadline")
)

// ClientTLS is how this host shows a node at some host who it is; ctx bounds it.
type ClientTLS func(ctx context.Context, host string) (*tls.Config, error)

// Vacant says at which of a node's addresses another process listens, or none can. Nothing is kept.
func Vacant(ctx context.Context, s engine.NodeSpec) error {
	var faults []error
	for _, address := range s.Addresses() {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("its address cannot be taken, another process may have it: %w", err))
		}
	}
	return errors.Join(faults...)
}

// Dial connects to a node's listener for the installation's own, for as long as ctx has, which must have a deadline. show may be nil: then
// a listener with TLS is ErrNoCertificate.
func Dial(ctx context.Context, s engine.NodeSpec, show ClientTLS) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, ErrDeadline
	}
	conn, err := connect(ctx, s.Inside(), show)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func connect(ctx context.Context, way engine.Listener, show ClientTLS) (net.Conn, error) {
	var d net.Dialer
	if !way.TLS {
		return d.DialContext(ctx, "tcp", way.Address)
	}
	if show == nil {
		return nil, ErrNoCertificate
	}
	host, _, err := net.SplitHostPort(way.Address)
	if err != nil {
		return nil, err
	}
	config, err := show(ctx, host)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, "tcp", way.Address)
}

// Ask sends a request and reads its answer into resp, of at most so many bytes. resp owns what it then holds.
func Ask(conn io.ReadWriter, req kmsg.Request, resp kmsg.Response, most int64) error {
	const correlation = 0x70726f62 // "prob"
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("millrace-agent")).AppendRequest(nil, req, correlation)); err != nil {
		return err
	}
	headLen := 8 // size, correlation id
	if req.IsFlexible() {
		headLen++ // no tags
	}
	var room [9]byte
	head := room[:headLen]
	if _, err := io.ReadFull(conn, head); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head)) - int64(headLen-4)
	if size < 0 || size > most || binary.BigEndian.Uint32(head[4:]) != correlation || headLen == 9 && head[8] != 0 {
		return ErrNoAnswer
	}
	body, err := io.ReadAll(io.LimitReader(conn, size)) // grows with what comes, not with what the size claims
	if err != nil {
		return err
	}
	if int64(len(body)) != size {
		return io.ErrUnexpectedEOF
	}
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return nil
}
