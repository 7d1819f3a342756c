package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/life"
	"millrace/cmd/api"
	"millrace/cmd/parts"
	"millrace/cmd/remote"
	"millrace/cmd/trails"
	"millrace/control"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/secure/keys"
	"millrace/secure/login"
	"millrace/secure/trail"
)

const (
	defaultRegion = api.DefaultRegion
)

// secureConfig is what serve can be told about who may come in.
type secureConfig struct {
	secure bool
	auth   string // logins as given; after validate as control.ParseAuth gives them
	region string
	kms    string
	public string
	ca     struct{ cert, key string }
	ship   string // where copies of the audit trail go
	rights rightsConfig
}

func (c *secureConfig) flags(flags *pflag.FlagSet) {
	flags.BoolVar(&c.secure, "secure", false, "ask everybody who they are: TLS with client certificates, SCRAM and IAM logins, no PLAINTEXT; the API over TLS and for signed requests; a new cluster encrypts what it keeps")
	flags.StringVar(&c.auth, "auth", "", "logins of the default cluster, of plaintext, tls, mtls, scram, iam, with commas between; empty: as the cluster has, plaintext for a new one")
	flags.StringVar(&c.region, "region", "", "AWS region that IAM logins are for; empty: as the cluster has, us-east-1 for a new one")
	flags.StringVar(&c.public, "public", "", "IP or name of this host at which its brokers listen in public too, 100 ports above; only for those who log in")
	flags.StringVar(&c.ca.cert, "ca-cert", "", "certificate of a certificate authority to sign with, PEM; empty: one of the installation's own")
	flags.StringVar(&c.ca.key, "ca-key", "", "its key, PEM")
	c.rights.flags(flags, "; empty: as the cluster has; none: clear it")
	flags.StringVar(&c.ship, "audit-ship", "", trails.Usage)
	parts.KMSFlag(flags, &c.kms)
}

// validate brings auth into its one form and names every fault.
func (c *secureConfig) validate() (faults []error) {
	if c.secure && c.auth == "" {
		c.auth = control.SecureLogins
	}
	if c.auth != "" {
		auth, err := control.ParseAuth(c.auth)
		if err != nil {
			faults = append(faults, fmt.Errorf("--auth: %w", err))
		}
		c.auth = auth
	}
	if (c.ca.cert == "") != (c.ca.key == "") {
		faults = append(faults, errors.New("--ca-cert and --ca-key go together"))
	}
	faults = append(faults, c.rights.validate()...)
	if err := trails.Check(c.ship); err != nil {
		faults = append(faults, err)
	}
	if strings.ContainsAny(c.region, "/: ") {
		faults = append(faults, fmt.Errorf("--region %q: use the name of an AWS region", c.region))
	}
	if ip := net.ParseIP(strings.Trim(c.public, "[]")); c.public != "" && ip != nil && ip.IsUnspecified() {
		faults = append(faults, fmt.Errorf("--public %q: give the one address at which clients reach this host", c.public))
	}
	return faults
}

// anonymous says that somebody may come in who does not say who they are, as far as the flags tell.
func (c *secureConfig) anonymous() bool { return c.auth == "" || control.Anonymous(c.auth) }

// asked says that the flags ask for something that needs keys and certificates.
func (c *secureConfig) asked() bool {
	return c.secure || c.auth != "" && c.auth != control.LoginPlaintext
}

// regionOf is what the cluster is told: nothing where nobody logs in.
func (c *secureConfig) regionOf() string {
	if !c.asked() {
		return ""
	}
	return c.region
}

// guard is what a control plane has that looks after keys and certificates.
type guard struct {
	store kv.KV
	log   *slog.Logger

	running context.Context // of what runs from openGuard to close
	stop    context.CancelFunc
	ring    *keys.Ring
	ca      *cert.Authority
	signer  *cert.Signer
	keeper  *cert.Keeper // of the API
	trail   *trail.Log
	work    sync.WaitGroup
	files   disk.FS
	trails  string // directory of the trails of this host
	shipTo  string // URL; empty: nowhere
	caFile  string // certificates of the authorities that clients are to trust
	api     bool   // the API is for signed requests over TLS

	iam      *iam.Store
	view     *iam.View
	requests *login.Requests
	region   string
}

// openGuard opens keys and the certificate authority, and makes them at the first start.
func openGuard(ctx context.Context, cfg serveConfig, allow cert.Allow, store kv.KV, files disk.FS, log *slog.Logger) (_ *guard, err error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g := &guard{running: running, stop: stop, store: store, log: log, files: files, trails: remote.TrailDir(cfg.data), shipTo: cfg.login.ship, api: cfg.login.secure || control.Authorizes(cfg.login.auth), region: cfg.login.region}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.ring, err = parts.OpenRing(ctx, "serve on "+cfg.name, cfg.login.kms, cfg.data, true, store, files, log); err != nil {
		if cfg.login.kms == "" {
			err = fmt.Errorf("the keys of this installation are wrapped by a KMS that this host does not have: give --kms, the same to every serve: %w", err)
		}
		return nil, err
	}
	if g.trail, err = parts.OpenTrail(ctx, "serve-"+cfg.name, cfg.data, store, g.ring, files, log); err != nil {
		return nil, err
	}
	given, err := cfg.login.given()
	if err != nil {
		return nil, err
	}
	world := cert.World{KV: store, Clock: clock.System{}, Log: log, FS: files, Trail: g.trail}
	if g.ca, err = cert.OpenAuthority(ctx, cert.AuthorityConfig{Given: given}, g.ring, world); err != nil {
		return nil, err
	}
	g.signer = cert.NewSigner(g.ca, allow, world)
	if g.keeper, err = parts.NewKeeper(cert.Serve(cfg.name), cfg.data, cert.Rules{}, world, cfg.listen); err != nil {
		return nil, err
	}
	g.caFile = remote.CAFile(cfg.data)
	if err := g.writeCA(g.ca.CA().PEM); err != nil {
		return nil, err
	}
	return g, g.openPrincipals(ctx, cfg, files)
}

// openPrincipals opens users and keys, with the root key at the first start.
func (g *guard) openPrincipals(ctx context.Context, cfg serveConfig, files disk.FS) (err error) {
	g.view, err = parts.OpenView(ctx, control.Prefix(defaultCluster), g.store, g.ring, g.log, func(what string, f func(context.Context) error) {
		g.work.Go(func() {
			if err := f(g.running); err != nil {
				g.log.Error("a part of the installation's security ended", "part", what, "err", err)
			}
		})
	})
	if err != nil {
		return err
	}
	g.iam = iam.NewStore(g.store, g.ring, clock.System{}, g.view)
	if err := remote.KeepRoot(ctx, cfg.data, cfg.login.region, g.iam, files); err != nil {
		return err
	}
	rules := login.RequestsConfig{Region: cfg.login.region, Services: apiServices()}
	g.requests, err = login.NewRequests(rules, parts.AccessKeys{View: g.view}, g.trail, clock.System{}, g.log)
	return err
}

// writeCA keeps the authorities that clients are to trust where they find them: all at once, since somebody may read it just then.
func (g *guard) writeCA(pem string) error {
	next := g.caFile + ".next"
	err := os.WriteFile(next, []byte(pem), 0o644) //nolint:gosec // it is for everybody who connects
	if err == nil {
		err = os.Rename(next, g.caFile)
	}
	if err != nil {
		return fmt.Errorf("certificate of the authority: %w", err)
	}
	return nil
}

// followCA writes it anew when the authority is replaced, or a former one is trusted no more.
func (g *guard) followCA(ctx context.Context) error {
	written := ""
	return g.keeper.Watch(ctx, func() {
		now := g.keeper.RootsPEM() // of the record that has just changed
		if now == written || now == "" {
			return
		}
		if err := g.writeCA(now); err != nil {
			g.log.Error("what clients are to trust has changed, and cannot be written", "file", g.caFile, "err", err)
			return
		}
		written = now
		g.log.Info("what clients are to trust has changed", "file", g.caFile)
	})
}

// caFile is what clients are to trust.
func (i *installation) caFile() string { return remote.CAFile(i.cfg.data) }

// apiServices are the names of AWS services that requests to the API may be signed for.
func apiServices() []string { return []string{"kafka", "iam", "sts", "secretsmanager"} }

// close ends what openGuard has begun, once nobody asks it any more.
func (g *guard) close() {
	g.stop()
	g.work.Wait()
	if g.ring != nil {
		g.ring.Close()
	}
}

// given is the certificate authority that the flags name.
func (c *secureConfig) given() (g cert.Given, err error) {
	if c.ca.cert == "" {
		return g, nil
	}
	if g.Chain, err = os.ReadFile(c.ca.cert); err != nil {
		return g, fmt.Errorf("--ca-cert: %w", err)
	}
	if g.Key, err = os.ReadFile(c.ca.key); err != nil {
		return g, fmt.Errorf("--ca-key: %w", err)
	}
	return g, nil
}

// actors are what runs beside the rest of serve, in the order of their start.
func (g *guard) actors() []life.Actor {
	return []life.Actor{
		{Name: "trail", Run: g.trail.Run},
		{Name: "watch", Run: g.watch},
		{Name: "ship", Run: g.ship},
		{Name: "signer", Run: g.signer.Run},
		{Name: "certificate", Run: g.keeper.Run},
		{Name: "authority's file", Run: g.followCA},
	}
}

// watch raises alerts from the trails of this host.
func (g *guard) watch(ctx context.Context) error {
	return trails.Watch(ctx, g.files, g.trails, g.trail, g.log)
}

// ship copies the trails of this host to where the flags say.
func (g *guard) ship(ctx context.Context) error {
	return trails.Ship(ctx, g.files, g.trails, g.shipTo, g.log)
}

// agentTLS shows brokers who the agent is. It asks for a certificate when the first broker wants to see one.
type agentTLS struct {
	make   func() (*cert.Keeper, error)
	wanted chan struct{} // closed when somebody does
	once   func()
	beside func(context.Context) error // what keeps the certificates of nodes that cannot do so themselves

	mu     sync.Mutex
	keeper *cert.Keeper
}

func newAgentTLS(makeKeeper func() (*cert.Keeper, error)) *agentTLS {
	a := &agentTLS{make: makeKeeper, wanted: make(chan struct{})}
	a.once = sync.OnceFunc(func() { close(a.wanted) })
	return a
}

// Run keeps the certificate until ctx ends, and those of nodes beside it.
func (a *agentTLS) Run(ctx context.Context) error {
	return life.Run(ctx, life.Actor{Name: "own certificate", Run: a.keep}, life.Actor{Name: "nodes' certificates", Run: a.beside})
}

// keep keeps the agent's own.
func (a *agentTLS) keep(ctx context.Context) error {
	select {
	case <-a.wanted:
	case <-ctx.Done():
		return nil
	}
	k, err := a.make()
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.keeper = k
	a.mu.Unlock()
	return k.Run(ctx)
}

var errNoCertificateYet = errors.New("the agent has no certificate yet")

// config is for a connection to a broker at host.
func (a *agentTLS) config(ctx context.Context, host string) (*tls.Config, error) {
	a.once()
	a.mu.Lock()
	k := a.keeper
	a.mu.Unlock()
	if k == nil {
		return nil, errNoCertificateYet
	}
	if err := k.Wait(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCertificateYet, err)
	}
	return cert.ClientTLS(k, host), nil
}
