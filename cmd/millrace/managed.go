package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka"
	"millrace/aws/kafka/access"
	"millrace/aws/secretsmanager"
	"millrace/aws/sts"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
	"millrace/control/capacity"
	"millrace/control/configuration"
	"millrace/control/sizes"
	"millrace/control/topics"
	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/settings"
	"millrace/kafka/client"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/secure/scram"
	"millrace/secure/secret"
)

// manage tells the control plane what clusters that the API makes take from this installation.
func (i *installation) manage() error {
	if err := i.quotas.Validate(); err != nil {
		return err
	}
	like := i.cfg.cluster()
	like.Region = i.guard.region
	i.configurations = configuration.NewStore(configuration.World{KV: i.store, Clock: clock.System{}, Users: users{i}, Rules: brokerRules{}})
	i.plane = i.plane.With(control.Options{
		Ports: i.cfg.ports, Like: like, Memory: memoryOfType, Limits: i.limitsOf, Also: tagsOf, Keys: cert.KeysOf, Applier: applier{configuration.NewApplier(i.configurations, i.dialBrokers)},
		Identity: control.Identity{
			Key:    "catalog/" + catalog.IdentityKey,
			Record: func(id, log string, made time.Time) []byte { return catalog.Identity(id, catalog.LogKind(log), made) },
			ID:     catalog.IdentityOf,
		},
	})
	i.secrets = secret.NewStore(secret.World{KV: i.store, Sealer: i.guard.ring, Clock: clock.System{}, Random: random})
	i.associations = access.NewAssociations(access.AssociationsWorld{
		KV: i.store, Secrets: i.secrets, Credentials: credentials{i}, Clusters: i.plane, Random: random, Log: i.log,
	})
	return nil
}

// credentials sets those of the users of clusters. It implements access.Credentials.
type credentials struct{ of *installation }

// Alter implements access.Credentials.
func (c credentials) Alter(ctx context.Context, cluster string, changes []scram.Change) []error {
	all := func(err error) []error {
		errs := make([]error, len(changes))
		for k := range errs {
			errs[k] = err
		}
		return errs
	}
	store, err := scram.OpenStore(ctx, scram.Config{Prefix: control.Prefix(cluster)}, scram.World{
		KV: c.of.store, Sealer: c.of.guard.ring, Random: random, Log: c.of.log,
	})
	if err != nil {
		return all(err)
	}
	following, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { _ = store.Run(following) }) // it ends with following, and has no other error
	defer work.Wait()
	defer stop()
	return store.Alter(ctx, changes)
}

// clusterPolicy is the policy of the cluster that an ARN names; nil: there is none.
func (i *installation) clusterPolicy(ctx context.Context, name string) ([]byte, error) {
	at, err := arn.Parse(name)
	if err != nil || at.Name == "" {
		return nil, nil //nolint:nilerr // nothing of this name: the operation says so
	}
	document, _, err := i.guard.iam.ClusterPolicy(ctx, control.Prefix(at.Name))
	if errors.Is(err, iam.ErrNotFound) {
		return nil, nil
	}
	return document, err
}

// memoryOfType is what a broker of a type gets; 0 for one without a type.
func memoryOfType(name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	t, err := sizes.Find(name)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return t.Process.Memory, nil
}

// tagsOf writes the tags of a new cluster where policies look for them.
func tagsOf(c control.Cluster) ([]kv.Op, error) {
	if len(c.Tags) == 0 {
		return nil, nil
	}
	op, err := iam.NewClusterTags(control.Prefix(c.Name), c.Tags)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return []kv.Op{op}, nil
}

// limitsOf is what brokers of a cluster hold their clients to.
func (i *installation) limitsOf(s control.Settings) (engine.Limits, error) {
	var t sizes.Type
	var err error
	switch {
	case s.Type == control.Serverless:
		t, err = i.quotas.Unit()
	case s.BrokerType != "":
		t, err = sizes.Find(s.BrokerType)
	}
	if err != nil {
		return engine.Limits{}, fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return t.Limits, nil
}

// follow lets the brokers of serverless clusters follow their load until ctx ends.
func (i *installation) follow(ctx context.Context) error {
	policy, err := capacity.PolicyOf(i.quotas)
	if err != nil {
		return err
	}
	loop, err := capacity.New(capacity.Config{Policy: policy}, capacity.World{
		Plane: capacity.Of(i.plane), KV: i.store, Clock: clock.System{}, Log: i.log,
	})
	if err != nil {
		return err
	}
	return loop.Run(ctx)
}

// doors are the AWS services that the API serves.
func (i *installation) doors() (*door.Handler, error) {
	g := i.guard
	home := arn.Home{Region: g.region, Account: g.view.Account()}
	rights := access.New(home, access.World{
		KV: i.store, Clusters: i.plane, Configurations: i.configurations, IAM: g.iam, Associations: i.associations,
		Connections: access.NewConnections(i.store, clock.System{}, i.plane),
	})
	service := kafka.New(kafka.World{
		Plane: i.plane, Configurations: i.configurations, Tags: rights.Tags,
		Topics: topics.New(func(ctx context.Context, cluster string) (topics.Admin, error) { return i.dial(ctx, cluster) }),
	}, kafka.Config{Home: home})
	return door.New(door.Config{Services: []door.Service{
		{
			Name: "kafka", Protocol: door.RestJSON, Operations: append(service.Operations(), rights.Operations()...),
			Tags: func(ctx context.Context, name string) map[string]string {
				tags, err := rights.Tags(ctx, name)
				if err != nil {
					return nil // nothing of this name: the operation says so
				}
				return tags
			},
			Policy: i.clusterPolicy,
		},
		sts.Service(g.view), secretsmanager.New(home, i.secrets).Door(),
	}}, door.World{Signatures: g.requests, Policies: g.view, Trail: g.trail, Clock: clock.System{}, Log: i.log})
}

// before gives the AWS services what is theirs, and others the rest.
func before(services *door.Handler, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if services.Takes(r) {
			services.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// dial connects to a cluster as a node of the installation, which may do everything. The caller closes what it gets.
func (i *installation) dial(ctx context.Context, cluster string) (*kadm.Client, error) {
	at, err := i.plane.Endpoints(ctx, cluster)
	if err != nil {
		return nil, err
	}
	bootstrap, options := at[engine.Client], []kgo.Opt(nil)
	if inside := at[engine.Internal]; len(inside) > 0 {
		bootstrap = inside
		options = append(options, kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			d := tls.Dialer{Config: cert.ClientTLS(i.guard.keeper, host)}
			return d.DialContext(ctx, network, address)
		}))
	}
	c, err := client.New(ctx, client.Config{Bootstrap: bootstrap}, options...)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(c), nil
}

func (i *installation) dialBrokers(ctx context.Context, cluster string) (configuration.Brokers, error) {
	return i.dial(ctx, cluster)
}

// users tells who uses a configuration. It implements configuration.Users.
type users struct{ of *installation }

// UsersOf implements configuration.Users.
func (u users) UsersOf(ctx context.Context, id string) (names []string, err error) {
	all, err := u.of.plane.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		uses := c.Settings.Configuration.ID == id
		if c.Operation != 0 {
			op, err := u.of.plane.Operation(ctx, c.Name, c.Operation)
			if err != nil && !errors.Is(err, control.ErrNoOperation) {
				return nil, err
			}
			uses = uses || op.After != nil && op.After.Configuration.ID == id
		}
		if uses {
			names = append(names, c.Name)
		}
	}
	return names, nil
}

// applier brings configurations to clusters, in the plane's words. It implements control.Applier.
type applier struct{ *configuration.Applier }

// Plan implements control.Applier.
func (a applier) Plan(ctx context.Context, c control.Cluster, before, after control.Revision) (bool, error) {
	restart, err := a.Applier.Plan(ctx, c.Name, before, after)
	if errors.Is(err, configuration.ErrNotFound) || errors.Is(err, configuration.ErrInvalid) {
		err = fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return restart, err
}

// Apply implements control.Applier.
func (a applier) Apply(ctx context.Context, c control.Cluster, r control.Revision) error {
	return a.Applier.Apply(ctx, c.Name, r)
}

// brokerRules are what express brokers know of properties. It implements configuration.Rules.
type brokerRules struct{}

// Known implements configuration.Rules.
func (brokerRules) Known(name string) bool {
	return slices.ContainsFunc(settings.BrokerDefinitions(), func(d settings.Definition) bool { return d.Name == name })
}

// Fault implements configuration.Rules.
func (r brokerRules) Fault(name, value string) string {
	return r.Together(map[string]string{name: value})
}

// Together implements configuration.Rules.
func (brokerRules) Together(values map[string]string) string {
	if _, err := settings.ParseBroker(values); err != nil {
		return err.Error()
	}
	return ""
}
