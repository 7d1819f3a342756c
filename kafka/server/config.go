package server

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"millrace/base/clock"
	"millrace/base/slab"
)

// Config is read once by New. A zero field takes its default.
type Config struct {
	MaxRequestBytes     int           // largest frame of a logged-in connection; default 100 MiB, at most 1 GiB
	MaxLoginBytes       int           // largest frame before login; default 512 KiB, at most MaxRequestBytes
	MaxConnections      int           // open connections in all; default 10,000
	MaxConnectionsPerIP int           // open connections from one address; default: as MaxConnections
	MaxInFlightPerConn  int           // requests of one connection that are read but whose replies are not written; default 256
	InFlightBytes       int           // frames over all connections, read but not answered; default 64 MiB
	ReplyQueueBytes     int           // replies of one connection that wait to be written, before it is no longer read; default 4 MiB
	IdleTimeout         time.Duration // longest time without a request; default 10 min
	MaxPending          int           // connections that have not logged in; one more displaces the oldest of the address that has most; default: the half of MaxConnections, or 100
	Handshakes          int           // TLS handshakes that compute at a time; default: half of the processors, at least 1
	HandshakeTimeout    time.Duration // longest time from connect to login; default 30 s
	TLSTimeout          time.Duration // longest time of a TLS handshake, part of HandshakeTimeout; default 10 s
	FrameTimeout        time.Duration // longest time from the first byte of a frame to the last; default 30 s
	StallTimeout        time.Duration // time in which a frame must get on by 64 KiB while others wait for its room; default 1 s
	WriteTimeout        time.Duration // longest time that one write may block; default 30 s
}

// World is all that the server touches outside itself.
type World struct {
	Log   *slog.Logger
	Clock clock.Clock // goes with real time: socket deadlines are set by it
	Slabs *slab.Pool  // frames are read into its buffers

	// HandshakeFailed, unless nil, is told why a TLS handshake failed, such as a certificate that is refused. It must not block.
	HandshakeFailed func(c *Conn, err error)
	// Filter says who may connect; nil: everybody.
	Filter Filter
}

var errConfig = errors.New("server: config")

// Validate fills defaults and returns every fault, joined.
func (c *Config) Validate() error {
	setDefault(&c.MaxRequestBytes, 100<<20)
	setDefault(&c.MaxLoginBytes, min(512<<10, c.MaxRequestBytes))
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxConnectionsPerIP, c.MaxConnections)
	setDefault(&c.MaxInFlightPerConn, 256)
	setDefault(&c.InFlightBytes, 64<<20)
	setDefault(&c.ReplyQueueBytes, 4<<20)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	setDefault(&c.MaxPending, max(c.MaxConnections/2, min(c.MaxConnections, 100)))
	setDefault(&c.Handshakes, max(runtime.GOMAXPROCS(0)/2, 1))
	setDefault(&c.HandshakeTimeout, 30*time.Second)
	setDefault(&c.TLSTimeout, min(10*time.Second, c.HandshakeTimeout))
	setDefault(&c.FrameTimeout, 30*time.Second)
	setDefault(&c.StallTimeout, min(time.Second, c.FrameTimeout))
	setDefault(&c.WriteTimeout, 30*time.Second)
	return errors.Join(
		inRange("max_request_bytes", c.MaxRequestBytes, 1<<10, 1<<30),
		inRange("max_login_bytes", c.MaxLoginBytes, 1, c.MaxRequestBytes),
		inRange("max_connections", c.MaxConnections, 1, 1<<20),
		inRange("max_connections_per_ip", c.MaxConnectionsPerIP, 1, 1<<20),
		inRange("max_in_flight_per_conn", c.MaxInFlightPerConn, 1, 1<<16),
		inRange("in_flight_bytes", c.InFlightBytes, 1<<10, 1<<40),
		inRange("reply_queue_bytes", c.ReplyQueueBytes, 1, 1<<40),
		inRange("idle_timeout", c.IdleTimeout, time.Millisecond, 24*time.Hour),
		inRange("max_pending", c.MaxPending, 1, 1<<20),
		inRange("handshakes", c.Handshakes, 1, 1<<10),
		inRange("tls_timeout", c.TLSTimeout, time.Millisecond, c.HandshakeTimeout),
		inRange("handshake_timeout", c.HandshakeTimeout, time.Millisecond, time.Hour),
		inRange("frame_timeout", c.FrameTimeout, time.Millisecond, time.Hour),
		inRange("stall_timeout", c.StallTimeout, time.Millisecond, c.FrameTimeout),
		inRange("write_timeout", c.WriteTimeout, time.Millisecond, time.Hour),
	)
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func inRange[T int | time.Duration](name string, v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%w: %s is %v, must be %v to %v", errConfig, name, v, low, high)
	}
	return nil
}
