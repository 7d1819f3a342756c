package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/wire"
)

var (
	errNoBroker = errors.New("gateway: no broker can be reached")
	errBroker   = errors.New("gateway: broker broke the protocol")
)

// dial connects to a broker and logs in.
func (g *Gateway) dial(ctx context.Context, address string) (*wireConn, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.DialTimeout)
	defer cancel()
	nc, err := g.world.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", address, err)
	}
	if g.cfg.TLS != nil {
		cfg := g.cfg.TLS.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(address)
		}
		t := tls.Client(nc, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, fmt.Errorf("tls with broker %s: %w", address, err)
		}
		nc = t
	}
	w := &wireConn{nc: nc, br: bufio.NewReaderSize(nc, 16<<10), g: g}
	if g.cfg.User != nil {
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		err := w.login(ctx, *g.cfg.User)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			nc.Close()
			return nil, fmt.Errorf("log in to broker %s: %w", address, err)
		}
	}
	return w, nil
}

// wireConn is a connection to a broker: frames out, frames in. Not safe for concurrent use, but one may write while another reads.
type wireConn struct {
	g           *Gateway
	nc          net.Conn
	br          *bufio.Reader
	correlation int32
	head        []byte
}

// clientID is what the gateway calls itself in requests of its own.
const clientID = "millrace-gateway"

// write sends a request whose body stands in bufs, and returns its correlation id. The buffers may be used again when it returns.
func (w *wireConn) write(key, version int16, id string, bufs net.Buffers) (int32, error) {
	w.correlation++
	h := wire.AppendHeader(append(w.head[:0], 0, 0, 0, 0), wire.RequestHeader{Key: key, Version: version, CorrelationID: w.correlation, ClientID: id})
	w.head = h
	size := len(h) - wire.SizeBytes
	for _, b := range bufs {
		size += len(b)
	}
	wire.PutFrameSize(h, size)
	if err := w.nc.SetWriteDeadline(w.g.world.Clock.Now().Add(w.g.cfg.WriteTimeout)); err != nil {
		return 0, err
	}
	all := append(net.Buffers{h}, bufs...)
	_, err := all.WriteTo(w.nc)
	return w.correlation, err
}

// peekSize waits for a frame and returns its size, within bounds.
func (w *wireConn) peekSize() (int, error) {
	prefix, err := w.br.Peek(wire.SizeBytes)
	if err != nil {
		if errors.Is(err, io.EOF) && len(prefix) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	size, err := wire.FrameSize(prefix)
	if err != nil {
		return 0, err
	}
	if size < 4 || size > w.g.cfg.MaxAnswerBytes {
		return 0, fmt.Errorf("answer of %d bytes, at most %d: %w", size, w.g.cfg.MaxAnswerBytes, errBroker)
	}
	return size, nil
}

// frameStep is how much of a frame has to come in Config.FrameTimeout.
const frameStep = 64 << 10

// fill reads the frame whose size was peeked.
func (w *wireConn) fill(frame []byte) error {
	_, _ = w.br.Discard(wire.SizeBytes) // peeked before
	for len(frame) > 0 {
		step := min(len(frame), frameStep)
		if w.br.Buffered() < step {
			if err := w.nc.SetReadDeadline(w.g.world.Clock.Now().Add(w.g.cfg.FrameTimeout)); err != nil {
				return err
			}
		}
		n, err := io.ReadAtLeast(w.br, frame, step)
		frame = frame[n:]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// mostOwnAnswer bounds the answers to the gateway's own requests, which are about the whole cluster.
const mostOwnAnswer = 16 << 20

// ask sends a request of the gateway's own and waits for the answer. Nobody else may use the connection at the time.
func (w *wireConn) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = w.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	id, err := w.write(req.Key(), req.GetVersion(), clientID, net.Buffers{req.AppendTo(nil)})
	if err != nil {
		return nil, err
	}
	if err := w.nc.SetReadDeadline(w.g.world.Clock.Now().Add(w.g.cfg.FrameTimeout)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size, err := w.peekSize()
	if err != nil {
		return nil, err
	}
	if size > mostOwnAnswer {
		return nil, fmt.Errorf("answer of %d bytes: %w", size, errBroker)
	}
	frame := make([]byte, size)
	if err := w.fill(frame); err != nil {
		return nil, err
	}
	got, body, err := wire.DecodeResponseHeader(req.Key(), req.GetVersion(), frame)
	if err != nil {
		return nil, err
	}
	if got != id {
		return nil, fmt.Errorf("answer to request %d, asked %d: %w", got, id, errBroker)
	}
	return w.g.decoder.DecodeResponse(req.Key(), req.GetVersion(), body)
}

func (w *wireConn) close() { w.nc.Close() }
