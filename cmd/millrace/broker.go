package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/cmd/parts"
	"millrace/cmd/terminal"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/node"
)

// minMemory is the least that a broker can be told to live with.
const minMemory = 64 << 20

type brokerConfig struct {
	cluster string
	id      int32
	zone    string
	listen  string
	data    string
	etcd    parts.Etcd
	store   string
	metrics string
	wal     string
	memory  int64
	drain   time.Duration

	listeners string // as engine.FormatListeners writes them; empty: PLAINTEXT at listen
	authorize bool
	encrypt   bool
	region    string
	kms       string
	trail     string
	rights    rightsConfig

	maxConnections, maxConnectionsPerIP int

	limits     string // as engine.FormatLimits writes them
	properties string // as configuration.FormatStarting writes them
}

func (a *app) brokerCommand() *cobra.Command {
	var cfg brokerConfig
	cmd := &cobra.Command{
		Use:    "broker",
		Short:  "Run one express broker (the agent does this)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(); err != nil {
				return err
			}
			ctx, drain, hurry, stop := brokerSignals(cmd.Context())
			defer stop()
			return a.broker(ctx, cfg, drain, hurry)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.cluster, "cluster", defaultCluster, "cluster that the broker belongs to")
	flags.Int32Var(&cfg.id, "id", 1, "broker id, from 1")
	flags.StringVar(&cfg.zone, "zone", "", "availability zone")
	flags.StringVar(&cfg.listen, "listen", "", "address of the PLAINTEXT listener, HOST:PORT")
	flags.StringVar(&cfg.data, "data", "", "directory of the broker's log")
	flags.StringVar(&cfg.etcd.URLs, "etcd", "", "URLs of etcd, separated by commas")
	cfg.etcd.TLSFlags(flags)
	flags.StringVar(&cfg.store, "store", "", "object store, file:///DIR or s3://BUCKET/PREFIX")
	flags.StringVar(&cfg.metrics, "metrics", "", "address to show metrics at, HOST:PORT; empty: none are shown, and clients are asked for none")
	flags.StringVar(&cfg.wal, "wal", "file", walUsage)
	flags.Int64Var(&cfg.memory, "memory", node.DefaultMemory, "bytes of memory to stay within")
	flags.DurationVar(&cfg.drain, "drain-timeout", 30*time.Second, "at a stop, how long to wait for other brokers to take over; 0: not at all")
	connectionFlags(flags, &cfg.maxConnections, &cfg.maxConnectionsPerIP)
	flags.StringVar(&cfg.limits, "limits", "", "what clients are held to, as the agent writes it; empty: nothing")
	flags.StringVar(&cfg.properties, "properties", "", "broker configurations, a line NAME=VALUE for each by name, as the agent writes them")
	flags.StringVar(&cfg.listeners, "listeners", "", "all listeners, as the agent writes them; empty: PLAINTEXT at --listen")
	flags.BoolVar(&cfg.authorize, "authorize", false, "ask what everybody may do")
	flags.BoolVar(&cfg.encrypt, "encrypt", false, "encrypt what is kept")
	flags.StringVar(&cfg.region, "region", defaultRegion, "AWS region that IAM logins are for")
	flags.StringVar(&cfg.trail, "trail", "", "directory of what is recorded; empty: nothing is")
	cfg.rights.flags(flags, "")
	parts.KMSFlag(flags, &cfg.kms)
	return cmd
}

// walUsage says what --wal is for.
const walUsage = "where brokers keep their logs: file, on their host's disk, or object, in the object store, from where others take over"

// Each object of a log costs a request, so they gather a while; a file's costs a sync.
const (
	gatherFiles  = 5 * time.Millisecond
	gatherBucket = 20 * time.Millisecond
	hedgeBucket  = 500 * time.Millisecond
)

// gather is the least time between two objects of the broker's log.
func (c *brokerConfig) gather() time.Duration {
	if strings.HasPrefix(c.store, "s3:") {
		return gatherBucket
	}
	return gatherFiles
}

// hedge is when a second request for an object of the log runs beside one that takes long: a bucket has some, a folder none.
func (c *brokerConfig) hedge() time.Duration {
	if strings.HasPrefix(c.store, "s3:") {
		return hedgeBucket
	}
	return 0
}

// connectionFlags adds the bounds on a broker's connections.
func connectionFlags(flags *pflag.FlagSet, total, perIP *int) {
	flags.IntVar(total, "max-connections", 0, "connections of a broker at once; 0: one for each 32 KiB of its memory")
	flags.IntVar(perIP, "max-connections-per-ip", 0, "connections of a broker from one address; 0: as --max-connections")
}

func (c *brokerConfig) validate() error {
	var faults []error
	required := func(flag, v string) {
		if v == "" {
			faults = append(faults, fmt.Errorf("%s is required", flag))
		}
	}
	required("--cluster", c.cluster)
	required("--data", c.data)
	required("--etcd", c.etcd.URLs)
	if err := c.etcd.Validate("--etcd"); err != nil {
		faults = append(faults, err)
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		faults = append(faults, fmt.Errorf("--listen %q: use HOST:PORT", c.listen))
	}
	if _, err := c.ways(); err != nil {
		faults = append(faults, fmt.Errorf("--listeners: %w", err))
	}
	if _, err := engine.ParseLimits(c.limits); err != nil {
		faults = append(faults, fmt.Errorf("--limits: %w", err))
	}
	if _, err := configuration.ParseStarting(c.properties); err != nil {
		faults = append(faults, fmt.Errorf("--properties: %w", err))
	}
	faults = append(faults, c.rights.validate()...)
	if c.listeners != "" && c.kms == "" {
		faults = append(faults, errors.New("--listeners needs --kms"))
	}
	if c.encrypt && c.kms == "" {
		faults = append(faults, errors.New("--encrypt needs --kms"))
	}
	if _, _, err := net.SplitHostPort(c.metrics); c.metrics != "" && err != nil {
		faults = append(faults, fmt.Errorf("--metrics %q: use HOST:PORT", c.metrics))
	}
	if err := parts.CheckStore(c.store); err != nil {
		faults = append(faults, fmt.Errorf("--store %q: %w", c.store, err))
	}
	if c.wal != string(catalog.LogFile) && c.wal != string(catalog.LogObject) {
		faults = append(faults, fmt.Errorf("--wal %q: use file or object", c.wal))
	}
	if c.id < 1 {
		faults = append(faults, fmt.Errorf("--id %d: broker ids begin at 1", c.id))
	}
	if c.memory < minMemory {
		faults = append(faults, fmt.Errorf("--memory %d: at least %d bytes are needed", c.memory, minMemory))
	}
	if c.drain < 0 {
		faults = append(faults, errors.New("--drain-timeout must not be negative"))
	}
	if c.maxConnections < 0 || c.maxConnectionsPerIP < 0 {
		faults = append(faults, errors.New("--max-connections and --max-connections-per-ip must not be negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return nil
}

// ways are the listeners that were given.
func (c *brokerConfig) ways() ([]engine.Listener, error) {
	if c.listeners == "" {
		return nil, nil
	}
	return engine.ParseListeners(c.listeners)
}

// brokerSignals gives a context that ends with the first signal to stop, beside the end of ctx, a channel that tells to
// drain and stay (SIGUSR1), and one that closes when a stop shall not wait: at SIGINT, or the second signal to stop.
func brokerSignals(ctx context.Context) (stopping context.Context, drain, hurry <-chan struct{}, stop func()) {
	stopping, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	drains, hurries := make(chan struct{}, 1), make(chan struct{})
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		hurry := sync.OnceFunc(func() { close(hurries) })
		told := false
		for {
			select {
			case <-ended:
				return
			case s := <-signals:
				if s == syscall.SIGUSR1 {
					select {
					case drains <- struct{}{}:
					default: // it is told already
					}
					continue
				}
				if told || s == os.Interrupt {
					hurry()
				}
				told = true
				cancel()
			}
		}
	}()
	return stopping, drains, hurries, func() {
		signal.Stop(signals)
		close(ended)
		<-done
		cancel()
	}
}

// broker runs one express broker until ctx ends; drain and hurry are those of node.World.
func (a *app) broker(ctx context.Context, cfg brokerConfig, drain, hurry <-chan struct{}) (err error) {
	debug.SetMemoryLimit(cfg.memory)
	log := slog.New(slog.NewJSONHandler(a.ErrOut, nil)).With("broker", cfg.id)
	fs := disk.OS("")
	stores, err := openStores(ctx, cfg, fs, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	ways, err := cfg.ways()
	if err != nil {
		return err
	}
	limits, err := engine.ParseLimits(cfg.limits)
	if err != nil {
		return err
	}
	properties, err := configuration.ParseStarting(cfg.properties)
	if err != nil {
		return err
	}
	if n := limits.CPUs; n > 0 && n < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
	secure, endSecurity, err := cfg.secure(ctx, ways, stores.kv, fs, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endSecurity()) }()
	world := node.World{
		KV: stores.kv, Objects: stores.objects, FS: fs, Clock: clock.System{}, Log: log, Drain: drain, Hurry: hurry, Secure: secure,
	}
	if stores.ring != nil {
		world.Keys = stores.ring
	}
	return node.Run(ctx, node.Config{
		Listeners: ways,
		ID:        cfg.id,
		Zone:      cfg.zone,
		Listen:    cfg.listen,
		Dir:       cfg.data,
		Prefix:    control.Prefix(cfg.cluster),
		Memory:    cfg.memory,
		Log:       catalog.LogKind(cfg.wal),
		Gather:    cfg.gather(), Hedge: cfg.hedge(),

		Metrics:             cfg.metrics,
		DrainTimeout:        cfg.drain,
		Limits:              limits,
		Properties:          properties,
		MaxConnections:      cfg.maxConnections,
		MaxConnectionsPerIP: cfg.maxConnectionsPerIP,
	}, world)
}
