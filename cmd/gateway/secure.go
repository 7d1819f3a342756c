package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/api"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/express/api/acls"
	"millrace/gateway"
	gwusers "millrace/gateway/users"
	"millrace/kafka/server"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/secure/identity"
	"millrace/secure/keys"
	"millrace/secure/login"
	"millrace/secure/scram"
)

// secure is what `millrace gateway` can be told about who may come in and do what.
type secure struct {
	etcd     parts.Etcd
	cluster  string
	name     string
	data     string
	tls      bool // a certificate of the installation's authority
	kms      string
	region   string
	login    string
	super    string
	everyone bool
}

func (c *secure) flags(flags *pflag.FlagSet) {
	name, _ := os.Hostname() // without one, --name is required
	flags.StringVar(&c.etcd.URLs, "etcd", "", "URLs of etcd with users, ACLs and access keys, separated by commas; empty: no logins, and everybody may do everything")
	c.etcd.TLSFlags(flags)
	flags.StringVar(&c.cluster, "cluster", api.DefaultCluster, "name of the cluster: whose users and ACLs count")
	flags.StringVar(&c.name, "name", name, "name of this gateway in the audit trail and in its certificate, unlike any other's")
	flags.StringVar(&c.data, "data", "millrace-data", "directory of the gateway's audit trail and of the certificate of --tls")
	flags.BoolVar(&c.tls, "tls", false, "serve clients over TLS with a certificate of the installation's authority, which \"millrace cert gateway add\" lets it have")
	flags.StringVar(&c.region, "region", api.DefaultRegion, "AWS region that IAM logins are for")
	flags.StringVar(&c.login, "login", "", "how clients log in at --listen: scram, iam or both, with commas between, or mtls; needs --etcd")
	flags.StringVar(&c.super, "super", "", "principals that may do everything, as User:admin, separated by commas")
	flags.BoolVar(&c.everyone, "allow-everyone", false, "let everybody who has logged in do what no ACL is about (allow.everyone.if.no.acl.found)")
	parts.KMSFlag(flags, &c.kms)
}

// validate names every fault.
func (c *secure) validate() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.login != "" && c.etcd.URLs == "" {
		fault("--login needs --etcd, where users and keys are")
	}
	if c.etcd.URLs != "" && c.login == "" {
		fault("--etcd needs --login: nobody has permissions who is nobody")
	}
	if c.login != "" && c.name == "" {
		fault("--name is required")
	}
	if c.tls && c.etcd.URLs == "" {
		fault("--tls needs --etcd, where the installation's authority signs; --tls-cert and --tls-key are for certificates of your own")
	}
	if err := c.etcd.Validate("--etcd"); err != nil {
		faults = append(faults, err)
	}
	return faults
}

func splitWords(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// openHouse is the Judge of a gateway without permissions.
type openHouse struct{}

func (openHouse) Allowed(authz.Access) bool          { return true }
func (openHouse) AllowedSomewhere(authz.Access) bool { return true }

// open gives w logins and permissions, and the gateway a certificate for addresses where it is to have one of the installation's. What they
// follow runs until end is called. Without etcd there is none of it, and the result is nil.
func (c *secure) open(ctx context.Context, cfg gateway.Config, addresses []string, w *gateway.World) (*guards, error) {
	if c.etcd.URLs == "" {
		return nil, nil
	}
	if err := c.etcd.Reach(ctx, w.Log); err != nil {
		return nil, err
	}
	store, err := c.etcd.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	g := &guards{secure: c, store: store, log: w.Log}
	g.running, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.open(ctx, cfg, addresses, w); err != nil {
		return nil, errors.Join(err, g.end())
	}
	return g, nil
}

// guards are the rooms that a gateway's logins and permissions come from.
type guards struct {
	*secure
	store   kv.KV
	log     *slog.Logger
	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	ring    *keys.Ring
	keeper  *cert.Keeper // nil: no certificate of the installation's

	mu     sync.Mutex
	faults []error // guarded by mu
}

// run keeps a room current until the end.
func (g *guards) run(what string, f func(context.Context) error) {
	g.work.Go(func() {
		if err := f(g.running); err != nil {
			g.log.Error("a part of the gateway's security ended", "part", what, "err", err)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.faults = append(g.faults, fmt.Errorf("%s: %w", what, err))
		}
	})
}

func (g *guards) end() error {
	if g == nil {
		return nil
	}
	g.stop()
	g.work.Wait()
	if g.ring != nil {
		g.ring.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(append(g.faults, g.store.Close())...)
}

func (g *guards) open(ctx context.Context, cfg gateway.Config, addresses []string, w *gateway.World) (err error) {
	files, prefix := disk.OS(""), control.Prefix(g.cluster)
	if g.ring, err = parts.OpenRing(ctx, "gateway "+g.name, g.kms, g.data, false, g.store, files, g.log); err != nil {
		return err
	}
	recorder, err := parts.OpenTrail(ctx, "gateway-"+g.name, g.data, g.store, g.ring, files, g.log)
	if err != nil {
		return err
	}
	g.run("trail", recorder.Run)
	w.Trail = recorder
	if g.tls {
		if err := g.openKeeper(ctx, addresses, files, recorder); err != nil {
			return err
		}
	}
	list, err := acl.Open(ctx, g.store, prefix+"acls/")
	if err != nil {
		return err
	}
	g.run("acls", list.Run)
	users, err := scram.OpenStore(ctx, scram.Config{Prefix: prefix}, scram.World{KV: g.store, Sealer: g.ring, Random: parts.Random, Log: g.log})
	if err != nil {
		return err
	}
	g.run("users", users.Run)
	view := iam.NewView(g.store, g.ring, clock.System{}, g.log, iam.ViewConfig{Cluster: prefix})
	g.run("iam", view.Run)
	select {
	case <-view.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	id, err := gateway.ClusterID(ctx, cfg, *w)
	if err != nil {
		return err
	}
	judged := authz.Config{Cluster: g.cluster, SuperUsers: splitWords(g.super)}
	world := authz.World{ACLs: list.Snapshot, Everyone: func() bool { return g.everyone }, Recorder: recorder, Clock: clock.System{}}
	if account := view.Account(); account != "" {
		judged.ClusterARN = fmt.Sprintf("arn:aws:kafka:%s:%s:cluster/%s/%s", g.region, account, g.cluster, id)
		world.Policies = view
	}
	judge, err := authz.New(judged, world)
	if err != nil {
		return err
	}
	w.Judge = judge
	w.Own = gwusers.Own(users)
	maps.Copy(w.Own, ownACLs(list))
	door, err := login.New(login.Config{Region: g.region, Cluster: g.cluster}, login.World{
		Users: users, Keys: parts.AccessKeys{View: view}, Trail: recorder, Clock: clock.System{}, Log: g.log,
		Admit: func(ctx context.Context, who identity.Identity, from login.Origin) error {
			return judge.Admit(ctx, who, from.Address, from.TLS)
		},
	})
	if err != nil {
		return err
	}
	w.Connect = func(c *server.Conn, l login.Listener) (gateway.Session, error) { return door.Connected(c, l) }
	return nil
}

// ownACLs answers what is about ACLs from the cluster's own list.
func ownACLs(list *acl.Store) map[int16]gateway.Own {
	return map[int16]gateway.Own{
		int16(kmsg.DescribeACLs): func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
			return acls.Describe(list.Snapshot(), req.(*kmsg.DescribeACLsRequest)), nil
		},
		int16(kmsg.CreateACLs): func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
			resp, _, err := acls.Create(ctx, list, req.(*kmsg.CreateACLsRequest))
			return resp, err
		},
		int16(kmsg.DeleteACLs): func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
			resp, _, err := acls.Delete(ctx, list, req.(*kmsg.DeleteACLsRequest))
			return resp, err
		},
	}
}
