package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"millrace/base/disk"
	"millrace/cmd/api"
	"millrace/cmd/parts"
	"millrace/cmd/standard"
	"millrace/cmd/terminal"
	"millrace/control"
	"millrace/engine"
	"millrace/express/node"
)

// defaultCluster is the name of the cluster that serve makes.
const defaultCluster = api.DefaultCluster

// serveConfig is what `millrace serve` can be told.
type serveConfig struct {
	data      string
	listen    string
	kafka     string
	brokers   int
	noCluster bool
	etcd      parts.Etcd
	store     string
	name      string
	zone      string
	advertise string
	metrics   string
	further   string // ports of brokers of further clusters, as given
	ports     engine.Ports
	wal       string
	memory    int64
	insecure  bool
	login     secureConfig

	kafkaHomes []string // unpacked distributions of Apache Kafka

	maxConnections, maxConnectionsPerIP int
}

func (a *app) serveCommand() *cobra.Command {
	var cfg serveConfig
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a cluster: control plane, API and brokers",
		Long: `Run the control plane, its API, an embedded etcd, and the brokers of the default
cluster, each broker a process of its own. Everything is kept below --data.

/healthz on --listen is 200 as soon as the cluster takes records; /readyz says
what it is waiting for. SIGTERM and Ctrl-C stop it cleanly.

With --brokers N, broker k listens 100*(k-1) ports above the first one, and they
are spread over three zones. Started again with another N, the cluster grows at
once, or shrinks when the brokers that leave have handed over what they have.
"millrace cluster scale" does the same without a stop. A broker that dies or
hangs is started again.

With --etcd, serve may run on several hosts (--name, and the same --kms for all). One of
them leads: it carries out operations and mends what breaks. The others answer the API
just as well, run brokers of their own, and one of them leads when the first is gone.
/readyz and the log say who leads. The default cluster, the object store and the ports
of further clusters are as the first one said that was started; what another is told of
them counts for none.`,
		Example: `  millrace serve
  millrace serve --brokers 3
  millrace serve --data /var/lib/millrace --kafka 127.0.0.1:19092 --listen 127.0.0.1:18480`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("brokers") && cfg.brokers == 0 {
				cfg.brokers = -1 // said so, it is a fault
			}
			if cfg.advertise != "" && !cmd.Flags().Changed("kafka") {
				_, port, _ := net.SplitHostPort(cfg.kafka)
				cfg.kafka = net.JoinHostPort(cfg.advertise, port)
			}
			if err := cfg.validate(); err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.data, "data", "millrace-data", "directory for everything that is kept")
	flags.StringVar(&cfg.listen, "listen", "127.0.0.1:8480", "address of API and console")
	flags.StringVar(&cfg.kafka, "kafka", "127.0.0.1:9092", "address of the default cluster's first broker; the others follow 100 ports apart")
	flags.IntVar(&cfg.brokers, "brokers", 0, "brokers of the default cluster, 1 to 15; 0: as many as it has, 1 for a new one")
	flags.BoolVar(&cfg.noCluster, "no-default-cluster", false, "run the control plane only")
	flags.StringVar(&cfg.etcd.URLs, "etcd", "", "URLs of an etcd cluster, separated by commas; empty: an embedded one, for this host alone")
	cfg.etcd.TLSFlags(flags)
	flags.StringVar(&cfg.name, "name", "local", "name of this host")
	flags.StringVar(&cfg.zone, "zone", "", "availability zone of this host; empty: its brokers are shown in three zones in turn")
	flags.StringVar(&cfg.advertise, "advertise", "", "IP or name of this host at which its brokers listen; empty: that of --kafka")
	flags.StringVar(&cfg.store, "store", "", "object store, file:///DIR or s3://BUCKET/PREFIX?region=R&endpoint=URL; empty: a folder of --data")
	flags.StringVar(&cfg.metrics, "metrics", "", "address of the first broker's metrics, HOST:PORT; the others follow 100 ports apart; empty: none")
	flags.StringVar(&cfg.further, "ports", "20000-29999", "ports for the brokers of further clusters, FROM-TO; each broker takes eight")
	flags.StringVar(&cfg.wal, "wal", "", walUsage+"; empty: as the cluster does already, file for a new one")
	flags.Int64Var(&cfg.memory, "memory", 0, "bytes of memory for each broker; 0: 192 MiB, and less where there are more than four")
	connectionFlags(flags, &cfg.maxConnections, &cfg.maxConnectionsPerIP)
	standard.HomesFlag(flags, &cfg.kafkaHomes)
	cfg.login.flags(flags)
	flags.BoolVar(&cfg.insecure, "insecure", false, "allow listeners without login on addresses other than loopback")
	return cmd
}

// validate names every fault at once.
func (c *serveConfig) validate() error {
	faults := c.login.validate()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.data == "" {
		fault("--data must not be empty")
	}
	addresses := []flagAddress{{"--listen", c.listen}, {"--kafka", c.kafka}}
	if c.metrics != "" {
		addresses = append(addresses, flagAddress{"--metrics", c.metrics})
	}
	for _, f := range addresses {
		host, port, err := net.SplitHostPort(f.address)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 1 || n > 65535 {
			fault("%s %q: use HOST:PORT with a port from 1 to 65535", f.flag, f.address)
		} else if !c.insecure && !api.Loopback(host) && !c.guarded(f.flag) {
			fault("%s %q: a listener without login on an address other than loopback needs --insecure", f.flag, f.address)
		}
	}
	if c.brokers < 0 || c.brokers > control.MaxBrokers {
		fault("--brokers: use 1 to %d", control.MaxBrokers)
	} else if err := c.cluster().Validate(); err != nil && len(faults) == 0 {
		faults = append(faults, err)
	}
	if err := c.collision(c.cluster()); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, checkHost(c.name, c.zone, c.advertise, c.insecure || !c.login.anonymous())...)
	if host, _, err := net.SplitHostPort(c.kafka); err == nil && c.advertise != "" && host != c.advertise {
		fault("--kafka %s and --advertise %s name two addresses; give one of them", c.kafka, c.advertise)
	}
	if err := c.etcd.Validate("--etcd"); err != nil {
		faults = append(faults, err)
	}
	if c.further != "" {
		ports, err := parsePorts(c.further)
		if err != nil {
			fault("--ports %q: %w", c.further, err)
		}
		c.ports = ports
	}
	if c.memory != 0 && c.memory < minMemory {
		fault("--memory %d: at least %d bytes are needed", c.memory, minMemory)
	}
	if c.maxConnections < 0 || c.maxConnectionsPerIP < 0 {
		fault("--max-connections and --max-connections-per-ip must not be negative")
	}
	if c.store != "" {
		if err := parts.CheckStore(c.store); err != nil {
			fault("--store %q: %w", c.store, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return nil
}

// guarded says that what listens at the address of a flag asks who comes.
func (c *serveConfig) guarded(flag string) bool {
	switch flag {
	case "--listen":
		return c.login.secure
	case "--kafka":
		return !c.login.anonymous()
	}
	return false
}

// host is this host as the control plane is told.
func (c *serveConfig) host() hostConfig {
	address, _, err := net.SplitHostPort(c.kafka)
	if err != nil {
		address = c.advertise // validate has said so
	}
	return hostConfig{name: c.name, zone: c.zone, advertise: address, data: c.data, etcd: c.etcd, store: c.store, public: c.login.public, kms: c.login.kms,
		kafkaHomes: c.kafkaHomes}
}

// cluster is the default cluster as the flags describe it; 0 brokers stand for 1.
func (c *serveConfig) cluster() control.Cluster {
	n := max(c.brokers, 1)
	return control.Cluster{
		Auth: c.login.auth, Region: c.login.regionOf(), Encrypt: c.login.secure, Super: c.login.rights.super, Mapping: c.login.rights.mapping,
		Name: defaultCluster, Brokers: n, Listen: c.kafka, Memory: c.memoryOf(n), Metrics: c.metrics, Store: c.store, Log: c.wal,
		MaxConnections: c.maxConnections, MaxConnectionsPerIP: c.maxConnectionsPerIP,
	}
}

// collision names a broker that would listen where the API does.
func (c *serveConfig) collision(cluster control.Cluster) error {
	for _, used := range cluster.Addresses() {
		if used.Address == c.listen {
			return fmt.Errorf("--listen %s is the address of %s too", c.listen, used.Use)
		}
	}
	return nil
}

// memoryOf is the memory of each of n brokers: unless it is told, 768 MiB are
// shared where there are many, so that they fit a laptop.
func (c *serveConfig) memoryOf(n int) int64 {
	const most, shared, least = node.DefaultMemory, 768 << 20, 96 << 20
	if c.memory != 0 {
		return c.memory
	}
	return max(min(most, shared/int64(max(n, 1))), least)
}

// flagAddress is an address to listen on, and the flag that gave it.
type flagAddress struct{ flag, address string }

// serve runs until ctx ends or a part of it fails.
func (a *app) serve(ctx context.Context, cfg serveConfig) (err error) {
	log := a.serveLogger()
	fs := disk.OS("")
	if cfg.data, err = filepath.Abs(cfg.data); err != nil {
		return err
	}
	if err := cfg.etcd.Absolute(); err != nil {
		return err
	}
	lock, err := lockData(fs, cfg.data)
	if err != nil {
		return err
	}
	defer terminal.CloseInto(&err, lock)
	if cfg.insecure {
		log.Warn("listeners without login may be reached from other hosts", "kafka", cfg.kafka, "api", cfg.listen)
	}
	// The API's address is taken first: it is the cheapest thing that can be wrong.
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("API address: %w (choose another with --listen)", err)
	}
	defer listener.Close()
	i, err := openInstallation(ctx, cfg, fs, log)
	if err != nil {
		return parts.CleanStop(ctx, err)
	}
	return i.run(ctx, listener, func(nodes []control.Node) { a.greet(i, nodes, log) })
}

// serveLogger writes one JSON line per event, or for a person at a terminal
// only what needs attention.
func (a *app) serveLogger() *slog.Logger {
	if terminal.IsTerminal(a.Out) {
		return slog.New(slog.NewTextHandler(a.ErrOut, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return slog.New(slog.NewJSONHandler(a.Out, nil))
}

// handleHealth answers /healthz and /readyz from what the agents report, and says who leads.
func handleHealth(mux *http.ServeMux, plane *control.Plane, cluster string, who *leading) {
	readiness := func(r *http.Request) control.Readiness {
		if cluster == "" {
			return control.Readiness{Ready: true}
		}
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		state, err := plane.Readiness(ctx, cluster)
		if err != nil {
			return control.Readiness{Reasons: []string{"state cannot be read: " + err.Error()}}
		}
		return state
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if !readiness(r).Ready {
			http.Error(w, "not ready; /readyz says why", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		parts.WriteReadiness(w, readiness(r).Reasons, who.shown())
	})
}

// parts.WriteReadiness answers /readyz: ready where there is no reason not to be; more is what else there is to say, nil: nothing.
