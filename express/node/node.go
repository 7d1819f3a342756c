package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/life"
	"millrace/base/object"
	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/controller"
	"millrace/express/meter"
	"millrace/express/objectlog"
	"millrace/express/partition"
	"millrace/express/settings"
	"millrace/express/wal"
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
	Listen string // host:port of the PLAINTEXT listener, also what clients are told; port 0 takes any. Without Listeners only
	Dir    string // of the broker's own: its lock and its log, or what it keeps of it at hand

	// Listeners are all ways in, in the order in which DescribeConfigs names them; none: one, without TLS and login, at Listen.
	Listeners []engine.Listener

	// Log says where the cluster keeps its logs; "" is catalog.LogFile. With catalog.LogObject what a broker owns that is gone
	// is taken over by the others.
	Log catalog.LogKind
	// Gather is the least time between the begins of two groups of a log in the object store, which every request of it costs;
	// 0: the log's default.
	Gather time.Duration
	// Hedge is how long one request for a group of such a log may take before a second one runs beside it, for stores of which one
	// request in many takes long; 0: never.
	Hedge time.Duration
	// LeaseTTL is how long the others wait for a broker that does not answer; 0: the catalog's default for the kind of log.
	LeaseTTL time.Duration

	Prefix string // of the cluster's keys in etcd, ends with a slash
	Memory int64  // bytes to stay within; 0: DefaultMemory

	// Metrics is the host:port at which the broker shows its metrics, and those that clients push to it; "": it shows none, and
	// asks clients for none.
	Metrics string

	// LogFileSize is after how many bytes a file of the log is sealed, from 1 MiB; 0: wal's default.
	LogFileSize int64
	// LogGroups is how many commit groups a log in the object store may have, about, before the oldest are cut into segments; 0: 5,000.
	LogGroups int64

	// DrainTimeout bounds how long a stop waits until other brokers have taken over what this one owns; 0: it does not wait.
	DrainTimeout time.Duration

	// Limits are what all clients together are held to, and how often the broker says what it has to do.
	Limits engine.Limits

	// Usage is how often the broker records what clients used, which a crash may lose; 0: the default of express/meter.
	Usage time.Duration

	// Properties are broker configurations that the broker is started with, by Kafka's names. They hold where nothing was set at
	// runtime, and DescribeConfigs shows them as STATIC_BROKER_CONFIG. Run returns ErrConfig for what the broker does not know, what it
	// tells itself (broker.id, listeners) and values out of bounds.
	Properties map[string]string

	MaxConnections      int // open at once; 0: one for each 32 KiB of Memory, which is more than an idle one takes
	MaxConnectionsPerIP int // from one address; 0: as MaxConnections

	started settings.Connections // of Properties
}

// World is all that a broker touches outside itself.
type World struct {
	KV      kv.KV
	Objects object.Store
	Keys    wal.Keys // that the log's files are encrypted with; nil: they are not. Objects encrypts by itself
	FS      disk.FS
	Clock   clock.Clock
	Log     *slog.Logger
	Secure  Secure
	// Drain, where it is not nil, has the broker give away what it owns, with each value, and stay up.
	Drain <-chan struct{}
	// Hurry, where it is not nil, is closed when a stop shall not wait for other brokers any more.
	Hurry <-chan struct{}

	// Listen opens the listener for clients; nil: net.ListenConfig. With Dial it lets brokers run over a network in memory.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// Dial connects to other brokers; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Inside, where it is not nil, is told how to see what the broker serves, before it serves anything: for tests that
	// watch over invariants. The function may be called until Run has returned, and later.
	Inside func(served func() []*partition.Partition)
}

// Run runs one express broker until ctx ends or the broker cannot go on (its
// log failed, or a later incarnation took its place). When ctx ends, the broker first gives
// away what it owns, bounded by Config.DrainTimeout and World.Hurry, where another broker
// can take it. Run returns nil after a
// clean stop, and disk.ErrLocked where another process holds the directory.
func Run(ctx context.Context, cfg Config, w World) error {
	if err := cfg.start(&w); err != nil {
		return err
	}
	began := w.Clock.Now()
	if err := w.FS.MkdirAll(cfg.logDir(), 0o700); err != nil {
		return fmt.Errorf("broker directory: %w", err)
	}
	lock, err := w.FS.Lock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("broker directory: %w", err)
	}
	// The listener is taken before anything is read, because an address in use
	// is the likeliest fault; connections wait in the kernel until it is served.
	doors, err := listen(ctx, cfg, w)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	b, err := open(ctx, cfg, w, doors, uint64(began.UnixNano()))
	if err != nil {
		return errors.Join(err, doors.close(), lock.Close())
	}
	w.Log.Info("broker is ready", "address", doors.told(), "partitions", len(b.registry.All()), "took_ms", w.Clock.Now().Sub(began).Milliseconds())
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
		life.Actor{Name: "audit", Run: b.audit.Run},
		life.Actor{Name: "drain", Run: func(ctx context.Context) error { return b.drainWhenTold(ctx, w.Drain) }},
		life.Actor{Name: "controller", Run: controller.New(controller.Config{Takes: cfg.Log == catalog.LogObject}, controller.World{Cluster: b.catalog, Clock: w.Clock, Log: w.Log}).Run},
		life.Actor{Name: "metrics", Run: func(ctx context.Context) error { return b.showMetrics(ctx, cfg.Metrics) }},
		life.Actor{Name: "load", Run: func(ctx context.Context) error { return b.tellLoads(ctx, cfg, w) }},
		life.Actor{Name: "usage", Run: b.usage.Run},
		life.Actor{Name: "old usage", Run: func(ctx context.Context) error {
			return meter.RollUp(ctx, w.Objects, w.Clock, w.Log, b.catalog.IsController)
		}},
		life.Actor{Name: "guards", Run: b.runGuards},
		life.Actor{Name: "network", Run: b.network.Run},
		life.Actor{Name: "private listeners", Run: func(ctx context.Context) error { return b.runPrivate(ctx, cfg, w, doors) }},
		life.Actor{Name: "listener", Run: func(ctx context.Context) error { return b.serve(ctx, doors) }},
	)
	stop()
	<-handedOver
	w.Log.Info("broker is stopping")
	return errors.Join(err, b.close(context.WithoutCancel(ctx)), lock.Close())
}

// logDir is where the log's files are. A log in the object store has only copies on the disk, and empties their directory at
// each start: so that is another one.
func (c Config) logDir() string {
	if c.Log == catalog.LogObject {
		return filepath.Join(c.Dir, "cache")
	}
	return filepath.Join(c.Dir, "wal")
}

// watchLog ends the broker when its log is dead: only a new start, which
// replays, can say what is durable; or another broker has sealed it, and a new start joins the cluster anew.
func (b *broker) watchLog(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-b.log.Failed():
		err := b.log.Err()
		if errors.Is(err, objectlog.ErrSealed) {
			b.logger.Error("another broker has taken over what this one had; a new start joins the cluster again", "err", err)
		}
		return fmt.Errorf("the write-ahead log failed: %w", err)
	}
}

// serve answers clients until ctx ends, then lets what is in flight finish.
func (b *broker) serve(ctx context.Context, doors doors) error {
	if err := b.catalog.Register(ctx); err != nil {
		return errors.Join(err, doors.close())
	}
	close(b.registered)
	served := make(chan error, 1)
	go func() { served <- doors.serve(context.WithoutCancel(ctx), b.server) }()
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
