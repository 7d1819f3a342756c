package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"millrace/agent"
	"millrace/base/disk"
	"millrace/base/life"
	"millrace/cmd/api"
	"millrace/cmd/parts"
	"millrace/cmd/standard"
	"millrace/cmd/terminal"
	"millrace/cmd/trails"
	"millrace/engine"
)

// agentConfig is what `millrace agent` can be told.
type agentConfig struct {
	host     hostConfig
	listen   string
	ports    string
	insecure bool
	secure   bool
	ship     string // where copies of the audit trail go; empty: nowhere
}

func (a *app) agentCommand() *cobra.Command {
	var cfg agentConfig
	cmd := &cobra.Command{
		Use:   "agent --join URL[,URL...]",
		Short: "Run brokers on this host for a millrace serve elsewhere",
		Long: `Run brokers on this host for the "millrace serve" that uses the same etcd. The agent
talks only to etcd, and its brokers to etcd, the object store, clients and one another.

"millrace cluster scale" places brokers over the zones and hosts that have an agent. A
host keeps its brokers: killed and started again, the agent finds those that still run;
stopped with SIGTERM or Ctrl-C, it has them hand over and stops them.

All hosts must see the same object store. An agent without --store takes the one that
serve was given. --data must be a directory of this host's own.

/healthz on --listen is 200 while the control plane sees this host, /readyz says what
its brokers wait for, /metrics is for Prometheus.`,
		Example: `  millrace agent --join http://10.0.0.1:2379 --advertise 10.0.0.2 --zone b --insecure
  millrace agent --join https://etcd1:2379,https://etcd2:2379,https://etcd3:2379 \
      --etcd-ca ca.pem --etcd-cert host2.pem --etcd-key host2.key \
      --name host2 --zone b --advertise 10.0.0.2 --insecure`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(); err != nil {
				return err
			}
			return a.agent(cmd.Context(), cfg)
		},
	}
	name, _ := os.Hostname() // without one, --name is required
	name, _, _ = strings.Cut(name, ".")
	flags := cmd.Flags()
	flags.StringVar(&cfg.host.etcd.URLs, "join", "", "URLs of the etcd cluster that millrace serve uses, separated by commas; required")
	cfg.host.etcd.TLSFlags(flags)
	flags.StringVar(&cfg.host.name, "name", name, "name of this host, unlike any other's")
	flags.StringVar(&cfg.host.zone, "zone", "", "availability zone of this host; empty: the host is a zone of its own")
	flags.StringVar(&cfg.host.advertise, "advertise", "127.0.0.1", "IP or name of this host at which its brokers listen, for clients and the other hosts")
	flags.StringVar(&cfg.ports, "ports", "", "ports for this host's brokers, FROM-TO, eight for each; empty: those that the cluster's numbering gives")
	flags.StringVar(&cfg.host.data, "data", "millrace-data", "directory for the brokers' logs and what they print")
	flags.StringVar(&cfg.host.store, "store", "", "object store as this host reaches it, file:///DIR or s3://BUCKET/PREFIX?region=R&endpoint=URL; empty: that of millrace serve")
	flags.StringVar(&cfg.listen, "listen", "127.0.0.1:8481", "loopback address of /healthz, /readyz and /metrics")
	flags.StringVar(&cfg.host.public, "public", "", "IP or name of this host at which its brokers listen in public too, for those who log in")
	flags.StringVar(&cfg.ship, "audit-ship", "", trails.Usage)
	parts.KMSFlag(flags, &cfg.host.kms)
	standard.HomesFlag(flags, &cfg.host.kafkaHomes)
	flags.BoolVar(&cfg.secure, "secure", false, "run only brokers that ask everybody who they are; on loopback others, too")
	flags.BoolVar(&cfg.insecure, "insecure", false, "allow brokers without login on an address other than loopback")
	return cmd
}

// validate names every fault at once.
func (c *agentConfig) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.host.etcd.URLs == "" {
		fault("--join is required: the URLs of the etcd cluster that `millrace serve --etcd` uses")
	}
	if strings.HasPrefix(c.host.etcd.URLs, "unix:") {
		fault("--join %q: an embedded etcd is for one host; give millrace serve an etcd cluster with --etcd", c.host.etcd.URLs)
	}
	if err := c.host.etcd.Validate("--join"); err != nil {
		faults = append(faults, err)
	}
	if c.host.advertise == "" {
		fault("--advertise must not be empty")
	}
	faults = append(faults, checkHost(c.host.name, c.host.zone, c.host.advertise, c.insecure || c.secure)...)
	c.host.guarded = !c.insecure
	if c.host.data == "" {
		fault("--data must not be empty")
	}
	if host, _, err := net.SplitHostPort(c.listen); err != nil || !api.Loopback(host) {
		fault("--listen %q: use HOST:PORT with a loopback address", c.listen)
	}
	if err := trails.Check(c.ship); err != nil {
		faults = append(faults, err)
	}
	if c.host.store != "" {
		if err := parts.CheckStore(c.host.store); err != nil {
			fault("--store %q: %w", c.host.store, err)
		}
	}
	if c.ports != "" {
		var err error
		if c.host.ports, err = parsePorts(c.ports); err != nil {
			fault("--ports %q: %w", c.ports, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return nil
}

// parsePorts reads FROM-TO.
func parsePorts(text string) (engine.Ports, error) {
	from, to, ok := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || first < 1 || last > 65535 || last-first+1 < 8 {
		return engine.Ports{}, errors.New("use FROM-TO, at least eight ports from 1 to 65535")
	}
	return engine.Ports{From: first, To: last}, nil
}

// agent runs until ctx ends, or until another host has taken the name.
func (a *app) agent(ctx context.Context, cfg agentConfig) (err error) {
	log := a.serveLogger()
	fs := disk.OS("")
	if cfg.host.data, err = filepath.Abs(cfg.host.data); err != nil {
		return err
	}
	if err := cfg.host.etcd.Absolute(); err != nil {
		return err
	}
	lock, err := lockData(fs, cfg.host.data)
	if err != nil {
		return err
	}
	defer terminal.CloseInto(&err, lock)
	defer func() { err = parts.CleanStop(ctx, err) }()
	if cfg.insecure && !api.Loopback(cfg.host.advertise) {
		log.Warn("brokers without login may be reached from other hosts", "address", cfg.host.advertise)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("status address: %w (choose another with --listen)", err)
	}
	defer listener.Close()
	if cfg.host.store != "" {
		if err := parts.TryStore(ctx, cfg.host.store, fs); err != nil {
			return err
		}
	}
	if err := cfg.host.etcd.Reach(ctx, log); err != nil {
		return err
	}
	store, err := cfg.host.etcd.Dial(ctx)
	if err != nil {
		return err
	}
	defer terminal.CloseInto(&err, store)
	host, shown, err := openAgent(ctx, cfg.host, store, fs, log)
	if err != nil {
		return err
	}
	log.Info("host has joined", "host", cfg.host.name, "zone", cfg.host.zone, "address", cfg.host.advertise, "status", "http://"+cfg.listen, "data", cfg.host.data)
	return life.Run(ctx,
		life.Actor{Name: "status", Run: func(ctx context.Context) error { return serveHTTP(ctx, listener, hostStatus(host), log) }},
		life.Actor{Name: "certificate", Run: shown.Run},
		life.Actor{Name: "trails", Run: hostTrails{cfg.host, cfg.ship, store, fs, log}.Run},
		life.Actor{Name: "agent", Run: host.Run, Grace: time.Minute},
	)
}

// parts.CleanStop is nil for a start that was told to stop while it waited for something.

// hostStatus answers /healthz, /readyz and /metrics of one host.
func hostStatus(host *agent.Agent) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !host.Snapshot().Joined {
			http.Error(w, "the control plane does not see this host", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := host.Snapshot()
		reasons := []string{}
		if !s.Joined {
			reasons = append(reasons, "the control plane does not see this host: etcd is away")
		}
		for _, n := range s.Nodes {
			if !n.Spec.Stopped && n.Status.State != engine.Ready {
				reasons = append(reasons, strings.TrimSuffix(fmt.Sprintf("broker %d of cluster %s: %s: %s",
					n.Spec.ID, n.Spec.Cluster, strings.ToLower(string(n.Status.State)), n.Status.Message), ": "))
			}
		}
		parts.WriteReadiness(w, reasons, nil)
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(hostMetrics{host})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// hostMetrics shows an agent to Prometheus.
type hostMetrics struct{ host *agent.Agent }

// The metrics of an agent.
const (
	metricJoined   = "millrace_agent_joined"
	metricUp       = "millrace_agent_broker_up"
	metricRestarts = "millrace_agent_broker_restarts_total"
)

// Describe implements prometheus.Collector.
func (m hostMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m hostMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.host.Snapshot()
	show := func(name, help string, kind prometheus.ValueType, value float64, labels, values []string) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, labels, nil), kind, value, values...)
	}
	show(metricJoined, "1 while the control plane sees this host.", prometheus.GaugeValue, truth(s.Joined), []string{"version"}, []string{version})
	labels := []string{"cluster", "broker"}
	for _, n := range s.Nodes {
		values := []string{n.Spec.Cluster, strconv.Itoa(int(n.Spec.ID))}
		show(metricUp, "1 while the broker serves.", prometheus.GaugeValue, truth(n.Status.State == engine.Ready), labels, values)
		show(metricRestarts, "Starts that nobody asked for since the agent began.", prometheus.CounterValue, float64(n.Status.Restarts), labels, values)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
