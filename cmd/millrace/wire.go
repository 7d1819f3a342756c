package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/life"
	"millrace/base/object"
	"millrace/base/proc"
	"millrace/control"
	"millrace/engine"
	"millrace/express/node"
)

// localHost is the name of the agent that serve runs.
const localHost = "local"

// etcdPrefix is before every key in etcd, which others may use too.
const etcdPrefix = "millrace/"

// openStores connects a broker to etcd and to its cluster's part of the object store. The function closes both.
func openStores(ctx context.Context, etcdURLs, storeURL, cluster string, memory int64, fs disk.FS) (kv.KV, object.Store, func() error, error) {
	store, err := etcd.Dial(ctx, strings.Split(etcdURLs, ","), etcd.Options{Prefix: etcdPrefix})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("connect to etcd: %w", err)
	}
	objects, closeObjects, err := openObjects(ctx, storeURL, cluster, memory, fs)
	if err != nil {
		return nil, nil, nil, errors.Join(err, store.Close())
	}
	return store, objects, func() error { return errors.Join(closeObjects(), store.Close()) }, nil
}

// installation is what `millrace serve` runs in its own process.
type installation struct {
	cfg      serveConfig
	log      *slog.Logger
	embedded *etcd.Embedded // nil with an external etcd
	store    kv.KV
	plane    *control.Plane
	agent    *agent.Agent
	cluster  control.Cluster // the default one, as it was found or made; the zero value: there is none
}

// openInstallation starts etcd and makes the default cluster's records. What it
// started is stopped again where it fails.
func openInstallation(ctx context.Context, cfg serveConfig, fs disk.FS, log *slog.Logger) (_ *installation, err error) {
	i := &installation{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.closeStores())
		}
	}()
	endpoints := cfg.etcd
	if endpoints == "" {
		i.embedded, err = etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: filepath.Join(cfg.data, "etcd"), Log: log})
		if err != nil {
			return nil, err
		}
		endpoints = i.embedded.Endpoint()
	}
	if i.store, err = etcd.Dial(ctx, strings.Split(endpoints, ","), etcd.Options{Prefix: etcdPrefix}); err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	i.plane = control.New(i.store, localHost, clock.System{}, log)
	if !cfg.noCluster {
		if err := i.ensureCluster(ctx); err != nil {
			return nil, err
		}
	}
	storeURL := cfg.store
	if storeURL == "" {
		storeURL = fileScheme + filepath.Join(cfg.data, "store")
	}
	if err := tryStore(ctx, storeURL, fs); err != nil {
		return nil, err
	}
	binary, err := proc.Self()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	logs := filepath.Join(cfg.data, "logs")
	if err := fs.MkdirAll(logs, 0o700); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	i.agent = agent.New(agent.Config{Host: localHost, LogDir: logs}, agent.World{
		KV:      i.store,
		FS:      fs,
		Clock:   clock.System{},
		Log:     log,
		Engines: map[string]engine.Engine{"express": node.Engine{Binary: binary, Data: cfg.data, Etcd: endpoints, Store: storeURL, FS: fs}},
	})
	if err := i.agent.Settle(ctx); err != nil {
		return nil, err
	}
	// Said before anything is started; a broker whose address is taken is started when it is free.
	taken, err := i.portsTaken(ctx, i.cluster)
	for _, t := range taken {
		log.Error("address is taken", "err", t)
	}
	return i, err
}

// ensureCluster makes the default cluster's records. How many brokers there are
// may only be known from what is there.
func (i *installation) ensureCluster(ctx context.Context) error {
	asked := i.cfg.cluster()
	old, err := i.plane.Cluster(ctx, asked.Name)
	if err != nil && !errors.Is(err, control.ErrNoCluster) {
		return err
	}
	if i.cfg.brokers == 0 && old.Brokers > 0 {
		asked.Brokers, asked.Memory = old.Brokers, i.cfg.memoryOf(old.Brokers)
	}
	if err := i.cfg.collision(asked); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if i.cfg.brokers == 0 {
		asked.Brokers = 0
	}
	if i.cluster, err = i.plane.Ensure(ctx, asked); errors.Is(err, control.ErrSpec) {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

// portsTaken names every address of a cluster's brokers that another process
// has. A broker that runs already has its own.
func (i *installation) portsTaken(ctx context.Context, c control.Cluster) (taken []error, err error) {
	nodes, err := i.plane.Nodes(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	runs := map[int32]bool{}
	for _, n := range nodes {
		runs[n.Spec.ID] = n.Status.PID != 0
	}
	var lc net.ListenConfig
	for _, used := range c.Addresses() {
		if runs[used.Broker] {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", used.Address)
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			flag := "--kafka"
			if used.Metrics {
				flag = "--metrics"
			}
			taken = append(taken, fmt.Errorf("address of %s: %w (end what has it, or choose others with %s)", used.Use, err, flag))
		}
	}
	return taken, nil
}

func (i *installation) closeStores() error {
	var errs []error
	if i.store != nil {
		errs = append(errs, i.store.Close())
	}
	if i.embedded != nil {
		errs = append(errs, i.embedded.Close())
	}
	return errors.Join(errs...)
}

// run serves until ctx ends. The parts stop in the reverse of this order: the
// API first, so that nobody is told of brokers that are about to go; then the
// agent, which stops the brokers while they can still reach etcd; etcd last.
func (i *installation) run(ctx context.Context, listener net.Listener, ready func()) error {
	cluster := defaultCluster
	if i.cfg.noCluster {
		cluster = ""
	}
	err := life.Run(ctx,
		life.Actor{Name: "etcd", Run: i.watchEtcd},
		life.Actor{Name: "agent", Run: i.agent.Run, Grace: time.Minute},
		life.Actor{Name: "api", Run: func(ctx context.Context) error {
			mux := http.NewServeMux()
			handleHealth(mux, i.plane, cluster)
			handleOperations(mux, i)
			return serveHTTP(ctx, listener, mux, i.log)
		}},
		life.Actor{Name: "operations", Run: i.plane.Run},
		life.Actor{Name: "greeting", Run: func(ctx context.Context) error { return i.announce(ctx, cluster, ready) }},
	)
	return errors.Join(err, i.closeStores())
}

// watchEtcd fails when the embedded member ends by itself.
func (i *installation) watchEtcd(ctx context.Context) error {
	if i.embedded == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-i.embedded.Done():
		return errors.New("the embedded etcd ended by itself")
	}
}

// announce waits until the cluster is ready for the first time and says so. It
// follows the agents' reports, so it costs nothing while nothing happens.
func (i *installation) announce(ctx context.Context, cluster string, ready func()) error {
	if cluster == "" {
		ready()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := i.store.Watch(ctx, engine.StatusPrefix(localHost), 0)
	for {
		state, err := i.plane.Readiness(ctx, cluster)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case state.Ready:
			ready()
			return nil
		}
		if _, ok := <-changes; !ok {
			changes = i.store.Watch(ctx, engine.StatusPrefix(localHost), 0)
		}
	}
}

// serveHTTP serves until ctx ends, then lets requests finish for a moment.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close() // connections that do not end in time are cut
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
