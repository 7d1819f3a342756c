package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/cmd/parts"
	"millrace/cmd/terminal"
	"millrace/gateway"
	ident "millrace/secure/identity"
)

// config is what `millrace gateway` can be told.
type config struct {
	upstream  string
	listen    string
	also      []string // more listeners, LOGIN@HOST:PORT
	advertise string
	health    string
	firstNode int32
	allow     string
	insecure  bool
	drain     time.Duration

	outer  parts.TLSFiles // of the listener; ca is that of clients
	inner  parts.TLSFiles // of the connections to the brokers
	useTLS bool
	user   struct{ name, file, mechanism string }

	produceRate, fetchRate float64
	memory                 int64

	secure secure
}

// Command is the verb. The process logs to log until ctx ends.
func Command(out io.Writer) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "gateway --upstream HOST:PORT[,HOST:PORT...]",
		Short: "Guard a Kafka cluster: logins, permissions, allow-lists, audit and quotas in front of it",
		Long: `Guard a Kafka cluster. Clients connect to the gateway, which logs them in, asks for each
request what they may do, and sends what is left to the brokers. Records pass untouched.

--listen is the bootstrap address; the broker with node id N is behind the port after it
plus N. Several gateways with the same flags are one to their clients: none keeps anything.

With --etcd, users, ACLs and access keys are those of the cluster's records in etcd; kafka-acls
and kafka-configs through the gateway change these, not the brokers'. Without it there
are no logins, and everybody may do everything.

Certificates are files, or with --tls of the installation's authority: the gateway makes its
key here, is signed for once "millrace cert gateway add" has registered its name and
addresses, and renews without a restart. A client's certificate that is revoked is refused
then, and its connections are closed.

--also opens more listeners, each with a login of its own: scram, iam or both, or mtls, where
a client is who its certificate says. Leave as many ports after each as there are brokers.

The brokers see one user, the gateway: they must let it do everything, and be reachable by
nobody else. Quotas of users in the cluster are kept by the gateway; a default quota for users
counts for the gateway's user too, unless that has one of its own.

/healthz on --health is 200 while the cluster answers; /readyz says why not.`,
		Example: `  millrace gateway --upstream kafka1:9092,kafka2:9092 --listen 127.0.0.1:9192
  millrace gateway --upstream kafka1:9093 --upstream-tls --upstream-user gateway --upstream-password-file pw \
      --listen 10.0.0.5:9198 --tls-cert gw.pem --tls-key gw.key --etcd https://etcd1:2379 --cluster orders --login iam
  millrace cert gateway add gw1 --address gw1.example.org
  millrace gateway --upstream kafka1:9092 --listen 0.0.0.0:9194 --advertise gw1.example.org --name gw1 --tls \
      --etcd https://etcd1:2379 --kms keyring:///etc/millrace/keyring.json --login mtls`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), cfg, out)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.upstream, "upstream", "", "brokers to guard, HOST:PORT, separated by commas; one that answers is enough; required")
	flags.StringVar(&cfg.listen, "listen", "127.0.0.1:9192", "bootstrap address for clients, HOST:PORT")
	flags.StringArrayVar(&cfg.also, "also", nil, "one more bootstrap address with a --login of its own, LOGIN@HOST:PORT; may be given again")
	flags.StringVar(&cfg.advertise, "advertise", "", "host that clients are told; empty: that of --listen")
	flags.StringVar(&cfg.health, "health", "127.0.0.1:8482", "address of /healthz and /readyz; empty: none")
	flags.Int32Var(&cfg.firstNode, "first-node", 0, "node id behind the port after the bootstrap port")
	flags.StringVar(&cfg.allow, "allow", "", "networks that may connect, as 10.0.0.0/8, separated by commas; empty: all")
	flags.BoolVar(&cfg.insecure, "insecure", false, "allow clients without login on an address other than loopback")
	flags.DurationVar(&cfg.drain, "drain-timeout", 30*time.Second, "at a stop, how long to wait for the answers that clients wait for")
	flags.StringVar(&cfg.outer.Cert, "tls-cert", "", "PEM file of the certificate to show to clients; it may be renewed in its place")
	flags.StringVar(&cfg.outer.Key, "tls-key", "", "PEM file of that certificate's key")
	flags.StringVar(&cfg.outer.CA, "client-ca", "", "PEM file of the CA that clients' certificates are from, for mtls; read at the start")
	flags.BoolVar(&cfg.useTLS, "upstream-tls", false, "connect to the brokers over TLS")
	flags.StringVar(&cfg.inner.CA, "upstream-ca", "", "PEM file of the CA that the brokers' certificates are from; empty: the system's CAs")
	flags.StringVar(&cfg.inner.Cert, "upstream-cert", "", "PEM file of the certificate to show to the brokers")
	flags.StringVar(&cfg.inner.Key, "upstream-key", "", "PEM file of that certificate's key")
	flags.StringVar(&cfg.user.name, "upstream-user", "", "user to log in to the brokers as, by SCRAM")
	flags.StringVar(&cfg.user.file, "upstream-password-file", "", "file that holds that user's password")
	flags.StringVar(&cfg.user.mechanism, "upstream-mechanism", string(ident.ScramSHA512), "SCRAM-SHA-512 or SCRAM-SHA-256")
	flags.Float64Var(&cfg.produceRate, "produce-rate", 0, "bytes per second that a user may produce where the cluster has no quota for it; 0: unbounded")
	flags.Float64Var(&cfg.fetchRate, "fetch-rate", 0, "bytes per second that a user may fetch where the cluster has no quota for it; 0: unbounded")
	flags.Int64Var(&cfg.memory, "memory", 256<<20, "bytes that requests and answers on their way may take, half of it each")
	cfg.secure.flags(flags)
	return cmd
}

// validate names every fault at once.
func (c *config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.upstream == "" {
		fault("--upstream is required: HOST:PORT of the brokers")
	}
	faults = append(faults, c.validateWays()...)
	if _, _, err := net.SplitHostPort(c.health); c.health != "" && err != nil {
		fault("--health %q: use HOST:PORT", c.health)
	}
	if _, err := c.networks(); err != nil {
		faults = append(faults, err)
	}
	if c.secure.tls && c.outer != (parts.TLSFiles{}) {
		fault("--tls has its certificate, and whom it trusts, from the installation: leave --tls-cert, --tls-key and --client-ca out")
	}
	if (c.outer.Cert == "") != (c.outer.Key == "") {
		fault("--tls-cert and --tls-key belong together")
	} else if _, err := c.serverTLS(); err != nil {
		fault("--tls-cert, --tls-key: %w", err)
	}
	if _, err := c.brokerTLS(); err != nil {
		fault("--upstream-ca, --upstream-cert, --upstream-key: %w", err)
	}
	if (c.user.name == "") != (c.user.file == "") {
		fault("--upstream-user and --upstream-password-file belong together")
	}
	if c.drain < 0 {
		fault("--drain-timeout must not be negative")
	}
	if c.memory < 16<<20 {
		fault("--memory %d: at least %d bytes are needed", c.memory, 16<<20)
	}
	faults = append(faults, c.secure.validate()...)
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w:\n%w", terminal.ErrUsage, err)
	}
	return nil
}

// validateWays names every fault of the listeners.
func (c *config) validateWays() (faults []error) {
	for i, w := range c.ways() {
		flag := "--listen and --login"
		if i > 0 {
			flag = "--also " + c.also[i-1]
			if len(w.logins) == 0 && c.secure.login != "" || len(w.logins) > 0 && c.secure.login == "" {
				faults = append(faults, fmt.Errorf("%s: either every listener has a login, or none", flag))
			}
		}
		faults = append(faults, w.validate(flag, c.outer.Cert != "" || c.secure.tls, c.outer.CA != "" || c.secure.tls)...)
		if host, _, err := net.SplitHostPort(w.listen); err == nil && !c.insecure && len(w.logins) == 0 && !isLoopback(host) {
			faults = append(faults, fmt.Errorf("%s: anybody who reaches it may do everything; choose a --login, or say --insecure", flag))
		}
	}
	if c.outer.CA != "" {
		if _, err := clientCAs(c.outer.CA); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// networks are those of --allow; nil: all.
func (c *config) networks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range strings.FieldsFunc(c.allow, func(r rune) bool { return r == ',' }) {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--allow %q: use ADDRESS/BITS", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// serverTLS is for clients; nil: there is none. The certificate is read anew for each connection.
func (c *config) serverTLS() (*tls.Config, error) {
	if c.outer.Cert == "" || c.outer.Key == "" {
		return nil, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.outer.Cert, c.outer.Key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() }}, nil
}

// brokerTLS is for the connections to the brokers; nil: there is none.
func (c *config) brokerTLS() (*tls.Config, error) {
	if !c.useTLS && c.inner == (parts.TLSFiles{}) {
		return nil, nil
	}
	return c.inner.Config()
}

// told is what the gateway itself is told.
func (c *config) told() (cfg gateway.Config, err error) {
	var listeners []gateway.Listener
	for _, way := range c.ways() {
		l, err := c.listener(way)
		if err != nil {
			return cfg, err
		}
		listeners = append(listeners, l)
	}
	cfg = gateway.Config{
		Cluster: c.secure.cluster, Upstream: strings.Split(c.upstream, ","), Listeners: listeners, FirstNode: c.firstNode,
		AnswerBytes: c.memory / 2, ProduceBytesPerSecond: c.produceRate, FetchBytesPerSecond: c.fetchRate,
	}
	cfg.Server.InFlightBytes = int(c.memory / 2)
	if cfg.TLS, err = c.brokerTLS(); err != nil {
		return cfg, err
	}
	if c.user.name != "" {
		password, err := os.ReadFile(c.user.file)
		if err != nil {
			return cfg, fmt.Errorf("--upstream-password-file: %w", err)
		}
		cfg.User = &gateway.User{Mechanism: ident.Mechanism(c.user.mechanism), Name: c.user.name, Password: strings.TrimRight(string(password), "\r\n")}
	}
	return cfg, nil
}

// run is the process: until ctx ends, and then until what is in flight is answered.
func run(ctx context.Context, c config, out io.Writer) (err error) {
	log := slog.New(slog.NewJSONHandler(out, nil))
	slabs, err := slab.New(slab.Config{})
	if err != nil {
		return err
	}
	cfg, err := c.told()
	if err != nil {
		return err
	}
	w := gateway.World{Log: log, Clock: clock.System{}, Slabs: slabs, Judge: openHouse{}}
	guards, err := c.secure.open(ctx, cfg, c.addresses(), &w)
	if err != nil {
		return parts.CleanStop(ctx, err)
	}
	defer func() { err = errors.Join(err, guards.end()) }()
	guards.certify(&cfg, c.ways())
	g, err := gateway.Open(ctx, cfg, w)
	if err != nil {
		return parts.CleanStop(ctx, err)
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.drain)
		defer cancel()
		if closeErr := g.Close(late); closeErr != nil {
			log.Warn("clients were cut off", "err", closeErr)
		}
		log.Info("gateway stopped")
	}()
	guards.watch(g)
	log.Info("gateway is ready", "bootstrap", g.Bootstrap("CLIENT"), "upstream", c.upstream)
	return serveHealth(ctx, c.health, g, log)
}

// serveHealth answers until ctx ends.
func serveHealth(ctx context.Context, address string, g *gateway.Gateway, log *slog.Logger) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--health: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons := []string{}
		if err := g.Ready(); err != nil {
			reasons = append(reasons, err.Error())
		}
		parts.WriteReadiness(w, reasons, nil)
	})
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
