package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

// ErrRefused is returned by Reach when an endpoint answers and the two sides do not agree who they are: it will not get better by
// itself.
var ErrRefused = errors.New("etcd: refused")

// reachLimit bounds the attempt to reach one endpoint.
const reachLimit = 3 * time.Second

// Reach returns nil when one of the endpoints answers, and otherwise what is wrong with each; ErrRefused is part of it when
// one answers and refuses, or is refused. Dial does not wait for a connection, so this is how to find out.
func Reach(ctx context.Context, endpoints []string, cfg *tls.Config) error {
	var faults []error
	for _, e := range endpoints {
		err := reach(ctx, e, cfg)
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Errorf("%s: %w", e, err))
	}
	return errors.Join(faults...)
}

func reach(ctx context.Context, endpoint string, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if u.Scheme == "https" {
		mine := cfg.Clone()
		mine.ServerName, mine.NextProtos = u.Hostname(), []string{"h2"}
		conn = tls.Client(conn, mine)
	}
	return greet(conn)
}

// greet begins a connection of HTTP/2, as gRPC does. A server that does not like our certificate says so only now.
func greet(conn net.Conn) error {
	const preface, settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	if _, err := io.WriteString(conn, preface+settings); err != nil {
		return refused(err)
	}
	var head [4]byte // length and type of the server's first frame: its settings
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return refused(err)
	}
	if head[0] != 0 || head[3] != settings[3] {
		return fmt.Errorf("%w: it does not speak gRPC here; is it https:// rather than http://, or another port?", ErrRefused)
	}
	return nil
}

// refused adds ErrRefused to what the handshake says about who somebody is.
func refused(err error) error {
	var unverified *tls.CertificateVerificationError
	var told *net.OpError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified):
		return fmt.Errorf("%w: its certificate is not one that the CA vouches for: %w", ErrRefused, err)
	case errors.As(err, &told) && told.Op == "remote error": // how crypto/tls says that the other side sent an alert
		return fmt.Errorf("%w: it does not take this side's certificate: %w", ErrRefused, err)
	case errors.As(err, &plain):
		return fmt.Errorf("%w: it does not speak TLS here; is it http:// rather than https://? %w", ErrRefused, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("it closes the connection; if it speaks TLS, it is https:// rather than http://: %w", err)
	}
	return err
}
