package node

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

// Bounds of answers, in bytes.
const (
	probeMost    = 1 << 20
	metadataMost = 64 << 20
)

var (
	errNoAnswer = errors.New("not a kafka answer")
	errDeadline = errors.New("asked without a deadline")
)

// Probe asks a broker whether it is one of the cluster's, and a controller whether it knows a leader (N2).
func (e Engine) Probe(ctx context.Context, s engine.NodeSpec) error {
	conn, err := e.dial(ctx, s)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.Role == engine.Controller {
		return probeController(conn)
	}
	return probeBroker(conn, s.ID)
}

// probeBroker asks for no topics: the answer names the brokers that are not fenced.
func probeBroker(conn io.ReadWriter, id int32) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = metadataVersion, []kmsg.MetadataRequestTopic{}
	resp := kmsg.NewPtrMetadataResponse()
	if err := ask(conn, req, resp, probeMost); err != nil {
		return err
	}
	if !slices.ContainsFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == id }) {
		return fmt.Errorf("%w: the controllers do not let it: it starts, or cannot reach them", engine.ErrAlive)
	}
	return nil
}

// probeController asks for the controllers, of which the answer names the leader.
func probeController(conn io.ReadWriter) error {
	const controllers = 2 // type of endpoint
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, controllers
	resp := kmsg.NewPtrDescribeClusterResponse()
	if err := ask(conn, req, resp, probeMost); err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("%w: the controller answers with error %d", engine.ErrAlive, resp.ErrorCode)
	}
	if resp.ControllerID < 0 {
		return fmt.Errorf("%w: the controllers have no leader", engine.ErrAlive)
	}
	return nil
}

// metadataVersion is the last before flexible headers; every version of Apache Kafka from 3.9 on has it.
const metadataVersion = 8

// Owned is how many replicas each broker has, by its id, as the node knows it; a controller is not asked.
func (e Engine) Owned(ctx context.Context, s engine.NodeSpec) (map[int32]int, error) {
	owned := map[int32]int{}
	if s.Role == engine.Controller {
		return owned, nil
	}
	conn, err := e.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = metadataVersion
	resp := kmsg.NewPtrMetadataResponse()
	if err := ask(conn, req, resp, metadataMost); err != nil {
		return nil, fmt.Errorf("ask broker %d for metadata: %w", s.ID, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				owned[id]++
			}
		}
	}
	return owned, nil
}

// ask sends a request and reads the answer, of at most so many bytes.
func ask(conn io.ReadWriter, req kmsg.Request, resp kmsg.Response, most int64) error {
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
		return errNoAnswer
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
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return nil
}

// dial connects to the listener that is for the installation's own, for as long as ctx has.
func (e Engine) dial(ctx context.Context, s engine.NodeSpec) (net.Conn, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, errDeadline
	}
	conn, err := e.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (e Engine) connect(ctx context.Context, s engine.NodeSpec) (net.Conn, error) {
	var d net.Dialer
	way := s.Inside()
	if !way.TLS {
		return d.DialContext(ctx, "tcp", way.Address)
	}
	if e.ClientTLS == nil {
		return nil, ErrNoCertificate
	}
	host, _, err := net.SplitHostPort(way.Address)
	if err != nil {
		return nil, err
	}
	config, err := e.ClientTLS(ctx, host)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, "tcp", way.Address)
}
