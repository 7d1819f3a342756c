package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/engine"
	"millrace/kafka/server"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/cert"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/scram"
	"millrace/secure/trail"
	"millrace/secure/usage"
)

// Secure is what a broker needs whose listeners have TLS or logins, or that asks what somebody may do. The zero value is for none of it.
type Secure struct {
	Cluster   string   // name, for records and for ARNs
	Region    string   // AWS region that logins by IAM are bound to; needed where Keys are
	Account   string   // AWS account of the cluster's ARN; needed where Policies are
	Authorize bool     // who asks must be allowed to; otherwise everybody who gets in may do everything
	Super     []string // principals, as "User:admin", who may do everything; not those of IAM

	Keeper   *cert.Keeper   // certificate and trust, running; needed where a listener has TLS
	Sealer   scram.Sealer   // of what is secret in etcd; needed where a listener has a login by SCRAM
	Keys     login.Keys     // access keys; nil: nobody logs in by IAM
	Policies authz.Policies // of IAM; nil: nobody who logs in by IAM may do anything
	Trail    trail.Recorder // nil: nothing is recorded
	Random   func([]byte)   // fills with what nobody can guess; needed with Sealer
	// Identify says who is at the other end of a connection, at each request; nil, and where it returns nil: who logged in. For tests.
	Identify func(*server.Conn) *identity.Identity
}

// check names what is missing for the listeners.
func (s Secure) check(ways []engine.Listener) error {
	var faults []error
	missing := func(there bool, what string) {
		if !there {
			faults = append(faults, fmt.Errorf("%w: listeners that need %s, which is missing", ErrConfig, what))
		}
	}
	for _, l := range ways {
		missing(!l.TLS || s.Keeper != nil, "a certificate")
		for _, m := range l.Mechanisms {
			switch m {
			case identity.ScramSHA256, identity.ScramSHA512:
				missing(s.Sealer != nil, "a KMS")
			case identity.MSKIAM, identity.OAuthBearer:
				missing(s.Keys != nil && s.Region != "", "access keys and a region")
			}
		}
	}
	return errors.Join(faults...)
}

// guards are the rooms that decide who may come in and do what.
type guards struct {
	cfg   Secure
	users *scram.Store // nil: nobody logs in by a password
	door  *login.Door

	// Where nobody is asked what they may do, all of these are nil.
	acls       *acl.Store
	authorizer *authz.Authorizer
	judge      authz.Judge     // that requests ask: the authorizer, or the observer before it
	observer   *usage.Observer // nil too where there is no trail
	read       func(principal string, bytes int64)

	reauth func() time.Duration // between two logins of a connection, as the cluster's configuration has it now; 0: no bound

	mu   sync.RWMutex
	ways map[string]login.Listener // guarded by mu: all that are or were served
}

// openGuards reads users and ACLs. The catalog is there.
func (b *broker) openGuards(ctx context.Context, cfg Config, w World, self doors) (err error) {
	g := &guards{cfg: w.Secure, ways: map[string]login.Listener{}, reauth: func() time.Duration {
		return time.Duration(max(b.catalog.BrokerSettings().MaxReauthMs, 0)) * time.Millisecond
	}}
	var ways []engine.Listener
	for _, d := range self {
		g.add(d)
		ways = append(ways, d.way)
	}
	if err := w.Secure.check(ways); err != nil {
		return err
	}
	if g.cfg.Trail == nil {
		g.cfg.Trail = trail.Discard{}
	}
	b.guards = g
	if w.Secure.Sealer != nil {
		scramWorld := scram.World{KV: w.KV, Sealer: w.Secure.Sealer, Random: w.Secure.Random, Log: w.Log}
		if g.users, err = scram.OpenStore(ctx, scram.Config{Prefix: cfg.Prefix}, scramWorld); err != nil {
			return fmt.Errorf("users: %w", err)
		}
	}
	if err := b.openJudge(ctx, cfg, w); err != nil {
		return err
	}
	world := login.World{Keys: w.Secure.Keys, Trail: g.cfg.Trail, Clock: w.Clock, Log: w.Log, Admit: g.admit()}
	if g.users != nil {
		world.Users = g.users
	}
	g.door, err = login.New(login.Config{Region: w.Secure.Region, Cluster: w.Secure.Cluster}, world)
	return err
}

// add makes a listener known before it is served.
func (g *guards) add(d door) {
	l := login.Listener{Name: d.way.Name, Mechanisms: d.way.Mechanisms, Hosts: []string{d.told.Host}}
	if host, _, err := net.SplitHostPort(d.way.Address); err == nil && host != d.told.Host {
		l.Hosts = append(l.Hosts, host)
	}
	if d.way.TLS && len(d.way.Mechanisms) == 0 && d.way.ClientCert != "" && d.way.ClientCert != engine.CertNone {
		l.Certificate = g.certificate(d.way)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ways[d.way.Name] = l
}

// listener is what a login needs to know of one. There is none that was not added: what is not known is asked for what nobody has.
func (g *guards) listener(name string) login.Listener {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if l, ok := g.ways[name]; ok {
		l.MaxReauth = g.reauth()
		return l
	}
	return login.Listener{Name: name, Mechanisms: []identity.Mechanism{identity.None}}
}

// errNotNode: the internal listener is for brokers and agents.
var errNotNode = errors.New("the listener is for brokers and agents of the installation alone")

// certificate says whose a client's certificate is. Whoever comes to the internal listener must be a node of the installation: others have
// listeners of their own, which the network's rules guard.
func (g *guards) certificate(way engine.Listener) func(tls.ConnectionState) (identity.Identity, error) {
	return func(state tls.ConnectionState) (identity.Identity, error) {
		who, err := g.cfg.Keeper.Identity(state)
		if err == nil && way.Name == engine.Internal && !who.Internal {
			err = errNotNode
		}
		return who, err
	}
}

// encrypt wraps a listener in TLS where it has it.
func (s Secure) encrypt(ln net.Listener, way engine.Listener) net.Listener {
	if !way.TLS || s.Keeper == nil {
		return ln
	}
	return server.NewTLSListener(ln, cert.ServerTLS(s.Keeper, cert.ClientAuth(way.ClientCert)))
}

// dialInternal connects to other brokers as a node of the installation; nil where we are none.
func (w World) dialInternal() func(ctx context.Context, network, address string) (net.Conn, error) {
	if w.Secure.Keeper == nil {
		return nil
	}
	dial := w.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := tls.Client(nc, cert.ClientTLS(w.Secure.Keeper, host))
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		return c, nil
	}
}

// runGuards keeps users, ACLs and open connections up to date until ctx ends.
func (b *broker) runGuards(ctx context.Context) error {
	g := b.guards
	var runs []func(context.Context) error
	if g.users != nil {
		runs = append(runs, g.users.Run)
	}
	if g.acls != nil {
		runs = append(runs, g.acls.Run)
	}
	if g.observer != nil {
		runs = append(runs, g.observer.Run)
	}
	if g.cfg.Keeper != nil {
		runs = append(runs, func(ctx context.Context) error {
			return g.cfg.Keeper.Watch(ctx, func() { b.server.Recheck(b.revoked) })
		})
	}
	if len(runs) == 0 {
		<-ctx.Done()
		return nil
	}
	work, ctx := errgroup.WithContext(ctx)
	for _, run := range runs {
		work.Go(func() error { return run(ctx) })
	}
	return work.Wait()
}

// revoked says why the certificate of an open connection counts no more.
func (b *broker) revoked(c *server.Conn) error {
	if state := c.TLS(); state != nil {
		return b.guards.cfg.Keeper.Refused(*state)
	}
	return nil
}
