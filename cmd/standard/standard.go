// Package standard builds the engine that runs Apache Kafka on a host, with what keeps the certificates of its nodes good.
//
// Flow: Open (which versions there are) -> Engine, for the agent; Run keeps certificates: the engine asks for a node's before its start, a
// cert.Keeper renews it in its file from then on, and the roots beside it follow what the installation trusts.
//
// Apache Kafka reads both files when it starts. Until then a node goes on with what it read: its certificate is renewed when a third of its life is
// left, so a node that is started anew within that time never shows one that has ended. A certificate that is revoked is refused from the node's next
// start on only where its authority is not trusted any more: Apache Kafka knows no list of revoked ones.
package standard

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/spf13/pflag"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/standard/dist"
	"millrace/standard/node"
)

// HomesFlag adds the flag by which a host is told of unpacked distributions.
func HomesFlag(flags *pflag.FlagSet, homes *[]string) {
	flags.StringArrayVar(homes, "kafka-home", nil,
		"folder of an unpacked distribution of Apache Kafka, for clusters of a kafka.* broker type; may be given several times, for several versions; "+
			"what is not there is resolved with Maven")
}

// Config is read once by Open.
type Config struct {
	Data    string   // data directory of the installation, absolute
	Homes   []string // unpacked distributions; each must be one
	Guarded bool     // only nodes that ask who comes, unless on loopback

	// ClientTLS is how the agent shows a node at some host who it is; ctx bounds it.
	ClientTLS func(ctx context.Context, host string) (*tls.Config, error)
}

// World is all that the package touches outside itself.
type World struct {
	KV  kv.KV
	FS  disk.FS
	Log *slog.Logger
}

// Host is what a host has for nodes of Apache Kafka. It is safe for concurrent use.
type Host struct {
	cfg   Config
	world World
	dist  *dist.Dist

	began chan struct{} // closed when Run has set life
	life  context.Context
	work  sync.WaitGroup

	mu    sync.Mutex
	nodes map[string]*kept // by the key of the spec; guarded by mu
}

// kept is a node's certificate.
type kept struct {
	keeper *cert.Keeper
	end    context.CancelFunc
	mu     sync.Mutex // of who writes the roots
}

var errEnding = errors.New("this host's agent is ending")

// Open looks at the distributions. It returns dist.ErrHome for a folder that is none; nothing is run or downloaded.
func Open(cfg Config, w World) (*Host, error) {
	var homes []string
	for _, home := range cfg.Homes {
		path, err := filepath.Abs(home) // nodes run in other folders
		if err != nil {
			return nil, err
		}
		homes = append(homes, path)
	}
	d, err := dist.New(dist.Config{Dir: filepath.Join(cfg.Data, "kafka"), Homes: homes, FS: w.FS, Log: w.Log})
	if err != nil {
		return nil, err
	}
	return &Host{cfg: cfg, world: w, dist: d, began: make(chan struct{}), nodes: map[string]*kept{}}, nil
}

// Engine runs nodes on this host. Nodes with certificates wait for Run.
func (h *Host) Engine() engine.Engine {
	return node.Engine{
		Dist: h.dist, Data: h.cfg.Data, FS: h.world.FS, ClientTLS: h.cfg.ClientTLS, Guarded: h.cfg.Guarded,
		Certificate: h.certificate, Forget: h.forget,
	}
}

// Run keeps the nodes' certificates until ctx ends. It is called once.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	h.life = ctx
	h.mu.Unlock()
	close(h.began)
	<-ctx.Done()
	h.endAll()
	h.work.Wait()
	return nil
}

// endAll ends all keepers; none is begun after it, since the life that they would have has ended.
func (h *Host) endAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.nodes {
		k.end()
	}
}

// certificate is node.Engine.Certificate.
func (h *Host) certificate(ctx context.Context, s engine.NodeSpec, dir string) (node.Certificate, error) {
	files := node.Files(dir)
	select {
	case <-h.began:
	case <-ctx.Done():
		return files, ctx.Err()
	}
	k, err := h.keep(s, dir)
	if err != nil {
		return files, err
	}
	if err := k.keeper.Wait(ctx); err != nil {
		return files, err
	}
	return files, h.writeRoots(k, files.TrustStore)
}

// keep returns the keeper of a node's certificate, which it makes and runs where there is none.
func (h *Host) keep(s engine.NodeSpec, dir string) (*kept, error) {
	id := cert.Broker(s.Cluster, s.ID)
	var addresses []string
	for _, l := range s.Served() {
		addresses = append(addresses, l.Address, l.Told())
	}
	names := id.Names(addresses...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life.Err() != nil {
		return nil, errEnding
	}
	if k, ok := h.nodes[s.Key()]; ok {
		k.keeper.SetNames(names)
		return k, nil
	}
	if err := h.world.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files := node.Files(dir)
	keeper, err := cert.NewKeeper(cert.KeeperConfig{Node: id, Names: names, File: files.KeyStore},
		cert.World{KV: h.world.KV, Clock: clock.System{}, Log: h.world.Log, FS: h.world.FS})
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(h.life)
	k := &kept{keeper: keeper, end: end}
	h.nodes[s.Key()] = k
	h.work.Go(func() { _ = keeper.Run(ctx) }) // it ends with ctx, without an error
	h.work.Go(func() {
		_ = keeper.Watch(ctx, func() {
			if err := h.writeRoots(k, files.TrustStore); err != nil && ctx.Err() == nil {
				h.world.Log.Warn("trusted authorities could not be written for a node", "node", string(id), "err", err)
			}
		})
	})
	return k, nil
}

// writeRoots writes what is trusted now, where anything is known of that.
func (h *Host) writeRoots(k *kept, file string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	roots := k.keeper.RootsPEM()
	if roots == "" {
		return nil
	}
	if old, err := h.world.FS.ReadFile(file); err == nil && string(old) == roots {
		return nil
	}
	return h.world.FS.WriteFileAtomic(file, []byte(roots))
}

// forget is node.Engine.Forget.
func (h *Host) forget(s engine.NodeSpec) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k, ok := h.nodes[s.Key()]; ok {
		k.end()
		delete(h.nodes, s.Key())
	}
}
