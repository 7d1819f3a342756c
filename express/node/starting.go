package node

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	"millrace/express/settings"
)

// start fills in defaults and puts Properties into the words of the rooms that keep them; w is the broker's own.
func (c *Config) start(w *World) error {
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = int(c.Memory / (32 << 10))
	}
	if c.MaxConnectionsPerIP == 0 {
		c.MaxConnectionsPerIP = c.MaxConnections
	}
	b, err := settings.ParseBroker(c.Properties)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.started = b.Connections
	// What memory has room for is never exceeded, whatever a configuration says.
	c.MaxConnections = min(c.MaxConnections, int(c.started.Most))
	c.MaxConnectionsPerIP = min(c.MaxConnectionsPerIP, c.MaxConnections, int(c.started.PerIP))
	if rate := int(c.started.Rate); rate < math.MaxInt32 && (c.Limits.ConnectionRate == 0 || rate < c.Limits.ConnectionRate) {
		c.Limits.ConnectionRate = rate
	}
	if c.started.Receive >= 0 || c.started.Send >= 0 {
		w.Listen = sized{w.Listen, int(c.started.Receive), int(c.started.Send)}.listen
	}
	return nil
}

// Bounds of what the server takes.
const (
	idleMost     = 24 * time.Hour
	requestLeast = 1 << 10
	requestMost  = 1 << 30
)

// idleTimeout is after which time without a request a connection ends.
func (c *Config) idleTimeout() time.Duration {
	ms := min(c.started.IdleMs, idleMost.Milliseconds())
	return max(time.Duration(ms)*time.Millisecond, time.Millisecond)
}

// requestBytes is the largest request that is read.
func (c *Config) requestBytes() int {
	return min(max(int(c.started.RequestBytes), requestLeast), requestMost)
}

// sized opens listeners whose connections have buffers of these sizes, in bytes; less than 0: as the system sizes them.
type sized struct {
	open          func(ctx context.Context, network, address string) (net.Listener, error) // nil: net.ListenConfig
	receive, send int
}

func (s sized) listen(ctx context.Context, network, address string) (net.Listener, error) {
	open := s.open
	if open == nil {
		open = new(net.ListenConfig).Listen
	}
	l, err := open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &sizedListener{l, s}, nil
}

type sizedListener struct {
	net.Listener
	sized sized
}

// Accept implements net.Listener. The connection itself is returned: what is known of TCP is of use further on.
func (l *sizedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	}); ok {
		// Of a connection that has ended already this fails, which its reader finds out.
		if l.sized.receive >= 0 {
			_ = c.SetReadBuffer(l.sized.receive)
		}
		if l.sized.send >= 0 {
			_ = c.SetWriteBuffer(l.sized.send)
		}
	}
	return conn, nil
}
