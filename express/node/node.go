package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/life"
	"millrace/base/object"
	"millrace/express/controller"
)

// DefaultMemory is what a broker stays within unless it is told otherwise, in bytes.
const DefaultMemory = 192 << 20

// stopTimeout bounds each step of a stop.
const stopTimeout = 5 * time.Second

// ErrConfig: the configuration cannot be used; the message says why.
var ErrConfig = errors.New("node: config")

// ErrForeignStore: the object store holds another cluster's data than etcd describes.
var ErrForeignStore = errors.New("node: object store and etcd belong to different clusters")

// Config is read once by Run.
type Config struct {
	ID     int32  // broker id, from 1
	Zone   string // shown to clients as the rack; may be empty
	Listen string // host:port of the PLAINTEXT listener, also what clients are told; port 0 takes any
	Dir    string // of the broker's own: its lock and its log
	Prefix string // of the cluster's keys in etcd, ends with a slash
	Memory int64  // bytes to stay within; 0: DefaultMemory

	// Metrics is the host:port at which the broker shows its metrics, and those that clients push to it; "": it shows none, and
	// asks clients for none.
	Metrics string

	// DrainTimeout bounds how long a stop waits until other brokers have taken over what this one owns; 0: it does not wait.
	DrainTimeout time.Duration

	MaxConnections      int // open at once; 0: one for each 32 KiB of Memory, which is more than an idle one takes
	MaxConnectionsPerIP int // from one address; 0: as MaxConnections
}

// World is all that a broker touches outside itself.
type World struct {
	KV      kv.KV
	Objects object.Store
	FS      disk.FS
	Clock   clock.Clock
	Log     *slog.Logger
	// Drain, where it is not nil, has the broker give away what it owns, with each value, and stay up.
	Drain <-chan struct{}
	// Hurry, where it is not nil, is closed when a stop shall not wait for other brokers any more.
	Hurry <-chan struct{}
}

// Run runs one express broker until ctx ends or the broker cannot go on (its
// log failed, or a later incarnation took its place). When ctx ends, the broker first gives
// away what it owns, bounded by Config.DrainTimeout and World.Hurry, where another broker
// can take it. Run returns nil after a
// clean stop, and disk.ErrLocked where another process holds the directory.
func Run(ctx context.Context, cfg Config, w World) error {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = int(cfg.Memory / (32 << 10))
	}
	if cfg.MaxConnectionsPerIP == 0 {
		cfg.MaxConnectionsPerIP = cfg.MaxConnections
	}
	began := w.Clock.Now()
	if err := w.FS.MkdirAll(filepath.Join(cfg.Dir, "wal"), 0o700); err != nil {
		return fmt.Errorf("broker directory: %w", err)
	}
	lock, err := w.FS.Lock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("broker directory: %w", err)
	}
	// The listener is taken before anything is read, because an address in use
	// is the likeliest fault; connections wait in the kernel until it is served.
	listener, self, err := listen(ctx, cfg)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	b, err := open(ctx, cfg, w, self, uint64(began.UnixNano()))
	if err != nil {
		return errors.Join(err, listener.Close(), lock.Close())
	}
	w.Log.Info("broker is ready", "address", cfg.Listen, "partitions", len(b.registry.All()), "took_ms", w.Clock.Now().Sub(began).Milliseconds())
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	handedOver := make(chan struct{})
	go func() {
		defer close(handedOver)
		select {
		case <-ctx.Done():
			b.handOver(running, cfg.DrainTimeout, w.Hurry)
		case <-running.Done():
		}
		stop()
	}()
	err = life.Run(running,
		life.Actor{Name: "log", Run: b.watchLog},
		life.Actor{Name: "catalog", Run: b.catalog.Run},
		life.Actor{Name: "cleaner", Run: b.cleaner.Run},
		life.Actor{Name: "drain", Run: func(ctx context.Context) error { return b.drainWhenTold(ctx, w.Drain) }},
		life.Actor{Name: "controller", Run: controller.New(controller.Config{}, controller.World{Cluster: b.catalog, Clock: w.Clock, Log: w.Log}).Run},
		life.Actor{Name: "metrics", Run: func(ctx context.Context) error { return b.showMetrics(ctx, cfg.Metrics) }},
		life.Actor{Name: "listener", Run: func(ctx context.Context) error { return b.serve(ctx, listener) }},
	)
	stop()
	<-handedOver
	w.Log.Info("broker is stopping")
	return errors.Join(err, b.close(context.WithoutCancel(ctx)), lock.Close())
}

// listen opens the listener and says under which address clients reach it.
func listen(ctx context.Context, cfg Config) (net.Listener, address, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, address{}, fmt.Errorf("%w: listen address %q: %w", ErrConfig, cfg.Listen, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, address{}, fmt.Errorf("listen: %w", err)
	}
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, address{}, errors.Join(err, l.Close())
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, address{}, errors.Join(err, l.Close())
	}
	return l, address{host: host, port: int32(port)}, nil
}

type address struct {
	host string
	port int32
}

// watchLog ends the broker when its log is dead: only a new start, which
// replays, can say what is durable.
func (b *broker) watchLog(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-b.log.Failed():
		return errors.New("the write-ahead log failed")
	}
}

// serve answers clients until ctx ends, then lets what is in flight finish.
func (b *broker) serve(ctx context.Context, l net.Listener) error {
	if err := b.catalog.Register(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(context.WithoutCancel(ctx), "PLAINTEXT", l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := b.catalog.Deregister(stop); err != nil {
		b.logger.Warn("registration is left to expire", "err", err)
	}
	b.coordinators.close()
	return errors.Join(b.server.Close(stop), <-served)
}
