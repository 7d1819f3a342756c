package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"millrace/agent"
	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/life"
	"millrace/base/object"
	"millrace/cmd/parts"
	"millrace/cmd/services"
	"millrace/control"
	"millrace/engine"
	"millrace/secure/keys"
	"millrace/standard/dist"
)

// stores are what a broker keeps things in.
type stores struct {
	kv      kv.KV
	objects object.Store
	ring    *keys.Ring // of what is kept; nil: it is not encrypted
	closers []func() error
}

func (s *stores) close() error {
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// openStores connects a broker to etcd, to its keys and to its cluster's part of the object store.
func openStores(ctx context.Context, cfg brokerConfig, fs disk.FS, log *slog.Logger) (s *stores, err error) {
	s = &stores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	client, err := cfg.etcd.Dial(ctx)
	if err != nil {
		return s, fmt.Errorf("connect to etcd: %w", err)
	}
	s.kv, s.closers = client, append(s.closers, client.Close)
	ring, closeRing, err := parts.RingOf(ctx, cfg.encrypt, cfg.holder(), cfg.cluster, cfg.kms, cfg.data, s.kv, fs, log)
	if err != nil {
		return s, err
	}
	s.ring, s.closers = ring, append(s.closers, func() error { closeRing(); return nil })
	objects, closeObjects, err := parts.OpenObjects(ctx, cfg.store, cfg.cluster, cfg.memory, fs, s.ring)
	if err != nil {
		return s, err
	}
	s.objects, s.closers = objects, append(s.closers, closeObjects)
	return s, nil
}

// installation is what `millrace serve` runs in its own process.
type installation struct {
	cfg      serveConfig
	log      *slog.Logger
	embedded *etcd.Embedded // nil with an external etcd
	store    kv.KV
	plane    *control.Plane
	agent    *agent.Agent
	shown    *agentTLS
	guard    *guard
	self     engine.Host
	holder   string // of the data directory
	home     home   // what all that serve on one etcd have in common
	leading  *leading

	services *services.Services
}

// openInstallation starts etcd and makes the default cluster's records. What it
// started is stopped again where it fails.
func openInstallation(ctx context.Context, cfg serveConfig, fs disk.FS, log *slog.Logger) (_ *installation, err error) {
	i := &installation{cfg: cfg, log: log, leading: newLeading()}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.closeStores())
		}
	}()
	if cfg.etcd.URLs == "" {
		i.embedded, err = etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: filepath.Join(cfg.data, "etcd"), Log: log})
		if err != nil {
			return nil, err
		}
		cfg.etcd.URLs = i.embedded.Endpoint()
	} else if err := cfg.etcd.Reach(ctx, log); err != nil {
		return nil, err
	}
	if i.store, err = cfg.etcd.Dial(ctx); err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	i.cfg = cfg
	if err := i.settle(ctx, fs); err != nil {
		return nil, err
	}
	if err := i.openGuard(ctx, fs); err != nil {
		return nil, err
	}
	g := i.guard
	kafka, err := dist.New(dist.Config{Dir: filepath.Join(cfg.data, "kafka"), Homes: cfg.kafkaHomes, FS: fs, Log: log})
	if err != nil {
		return nil, fmt.Errorf("--kafka-home: %w", err)
	}
	i.services, err = services.New(
		services.World{Plane: i.planeOn, Store: i.store, Ring: g.ring, IAM: g.iam, View: g.view, Requests: g.requests, Keeper: g.keeper, Trail: g.trail, Log: log, StandardUsable: kafka.Usable},
		services.Config{
			Region: g.region, Like: i.home.Like, Ports: i.home.Ports, Release: version,
			Keys: func(cluster string) []string { return []string{keys.Prefix(parts.ClusterPurpose(cluster))} },
		})
	if err != nil {
		return nil, err
	}
	i.plane = i.services.Plane()
	return i, nil
}

// planeOn is the control plane of this host that writes to a store.
func (i *installation) planeOn(store kv.KV) *control.Plane {
	return control.New(store, i.self, clock.System{}, i.log)
}

// openGuard opens users, keys and certificates. Every installation has them: the MSK API is for signed requests, and clusters that it
// makes may have logins. The verbs' API asks who comes where the flags, or what the default cluster is already, say so.
func (i *installation) openGuard(ctx context.Context, fs disk.FS) error {
	old, err := i.plane.Cluster(ctx, defaultCluster)
	if err != nil && !errors.Is(err, control.ErrNoCluster) {
		return err
	}
	i.cfg.login.region = cmp.Or(i.cfg.login.region, old.Region, defaultRegion)
	cfg := i.cfg // the guard is for what the cluster is already, too; the cluster is told what the flags say
	cfg.login.secure = cfg.login.secure || old.Encrypt || control.Authorizes(old.Auth) || control.Authorizes(old.WantedAuth)
	i.guard, err = openGuard(ctx, cfg, i.names, i.store, fs, i.log)
	return err
}

// portsTaken names every address on this host that a cluster's brokers need and
// another process has. A broker that runs already has its own; the agents of other
// hosts report what is taken there.
func (i *installation) portsTaken(ctx context.Context, c control.Cluster) (taken []error, err error) {
	nodes, err := i.plane.Nodes(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	runs := map[int32]bool{}
	for _, n := range nodes {
		runs[n.Spec.ID] = n.Status.PID != 0
	}
	specs, err := i.plane.Placed(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		if s.Host != i.cfg.name || runs[s.ID] {
			continue
		}
		flags := []flagAddress{{"--metrics", s.Metrics}}
		for _, l := range s.Served() {
			flags = append(flags, flagAddress{"--kafka", l.Address})
		}
		for _, f := range flags {
			if err := listenable(ctx, f.address); err != nil {
				taken = append(taken, fmt.Errorf("address of broker %d: %w (end what has it, or choose others with %s)", s.ID, err, f.flag))
			}
		}
	}
	return taken, nil
}

// listenable says why nobody could listen at an address; "" needs none.
func listenable(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

func (i *installation) closeStores() error {
	var errs []error
	if i.guard != nil {
		i.guard.close()
	}
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
func (i *installation) run(ctx context.Context, listener net.Listener, ready func([]control.Node)) error {
	cluster := i.clusterName()
	actors := []life.Actor{{Name: "etcd", Run: i.watchEtcd}, {Name: "agent's certificate", Run: i.shown.Run}}
	if i.guard != nil {
		actors = append(actors, i.guard.actors()...)
	}
	err := life.Run(ctx, append(actors,
		life.Actor{Name: "agent", Run: i.runAgent, Grace: time.Minute},
		life.Actor{Name: "api", Run: func(ctx context.Context) error {
			mux := http.NewServeMux()
			handleHealth(mux, i.plane, cluster, i.leading)
			i.door().Routes(mux)
			aws, err := i.services.Handler(ctx)
			if err != nil {
				return err
			}
			return i.serveAPI(ctx, listener, aws, mux)
		}},
		life.Actor{Name: "control plane", Run: i.lead, Grace: time.Minute},
		life.Actor{Name: "greeting", Run: func(ctx context.Context) error {
			return i.announce(ctx, cluster, func(nodes []control.Node) {
				i.keepEndpoints(nodes)
				ready(nodes)
			})
		}},
	)...)
	return errors.Join(err, i.closeStores())
}

// clusterName is that of the default cluster; "": there is none.
func (i *installation) clusterName() string {
	if i.cfg.noCluster {
		return ""
	}
	return defaultCluster
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
func (i *installation) announce(ctx context.Context, cluster string, ready func([]control.Node)) error {
	if cluster == "" {
		ready(nil)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := i.store.Watch(ctx, engine.AllStatuses, 0)
	for {
		state, err := i.plane.Readiness(ctx, cluster)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case state.Ready:
			ready(state.Nodes)
			return nil
		}
		if _, ok := <-changes; !ok {
			changes = i.store.Watch(ctx, engine.AllStatuses, 0)
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
