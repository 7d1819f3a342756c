// Package services joins the AWS services of an installation: what its control plane is told of clusters that they make, and the handler that
// answers for them.
//
// Flow: New tells the plane (Options) and makes the stores of configurations, secrets and associations -> Handler is the door of kafka, sts and
// secretsmanager -> Actors are what one process of the installation does at a time: operations, capacity of serverless clusters, secrets of users.
//
// It is wiring: no rule of its own. Files: services.go, options.go (what the plane is told), standard.go (Apache Kafka), reach.go (the way to clusters' brokers).
package services

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka"
	"millrace/aws/kafka/access"
	"millrace/aws/secretsmanager"
	"millrace/aws/sts"
	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/life"
	"millrace/control"
	"millrace/control/capacity"
	"millrace/control/configuration"
	"millrace/control/sizes"
	"millrace/control/topics"
	"millrace/engine"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/secure/keys"
	"millrace/secure/login"
	"millrace/secure/secret"
	"millrace/secure/trail"
)

// World is what an installation has. Everything is needed.
type World struct {
	Plane    func(store kv.KV) *control.Plane // the control plane that writes to a store
	Store    kv.KV
	Ring     *keys.Ring // that secrets are sealed with
	IAM      *iam.Store
	View     *iam.View
	Requests *login.Requests
	Keeper   *cert.Keeper // of the certificate by which the plane reaches brokers
	Trail    trail.Recorder
	Log      *slog.Logger

	// StandardUsable says what this host lacks to run a version of Apache Kafka; nil: there can be no clusters of it.
	StandardUsable func(ctx context.Context, version string) error
}

// Config says what clusters that the services make are like.
type Config struct {
	Region string          // AWS region that signatures and logins are for
	Like   control.Cluster // see control.Options
	Ports  engine.Ports    // of brokers of clusters that are made; the zero value takes control's default
	// Keys are prefixes of keys that go with a cluster, beside those of its certificates; nil: none.
	Keys    func(cluster string) []string
	Release string       // see control.Options
	Quotas  sizes.Quotas // of serverless clusters; the zero value takes the defaults
}

// Services are those of one installation. Make them with New.
type Services struct {
	world          World
	plane          *control.Plane
	told           control.Options
	region         string
	quotas         sizes.Quotas
	configurations *configuration.Store
	secrets        *secret.Store
	associations   *access.Associations
	connections    *access.Connections
}

// New makes the Services, and the control plane that is told of them: Plane.
func New(w World, c Config) (*Services, error) {
	if err := c.Quotas.Validate(); err != nil {
		return nil, err
	}
	s := &Services{world: w, region: c.Region, quotas: c.Quotas}
	s.configurations = configuration.NewStore(configuration.World{KV: w.Store, Clock: clock.System{}, Users: users{s}, Rules: brokerRules{}})
	s.told = s.options(c)
	s.plane = s.PlaneOn(w.Store)
	s.secrets = secret.NewStore(secret.World{KV: w.Store, Sealer: w.Ring, Clock: clock.System{}, Random: random})
	s.associations = access.NewAssociations(access.AssociationsWorld{
		KV: w.Store, Secrets: s.secrets, Credentials: credentials{s}, Clusters: s.plane, Random: random, Log: w.Log,
	})
	s.connections = access.NewConnections(w.Store, clock.System{}, s.plane)
	return s, nil
}

// random fills b with what nobody can guess.
func random(b []byte) { _, _ = rand.Read(b) } // it never fails

// Plane is the control plane that knows what clusters of the services are like.
func (s *Services) Plane() *control.Plane { return s.plane }

// PlaneOn is Plane, but that it writes to another store.
func (s *Services) PlaneOn(store kv.KV) *control.Plane { return s.world.Plane(store).With(s.told) }

// Actors are what one process of the installation does at a time, the operations of the control plane first. What two must not write is
// written to store (control/lead); credentials of users are not: they follow from what is kept, whoever sets them.
func (s *Services) Actors(store kv.KV) []life.Actor {
	plane := s.PlaneOn(store)
	return []life.Actor{
		{Name: "operations", Run: plane.Run},
		{Name: "capacity", Run: func(ctx context.Context) error { return s.follow(ctx, plane, store) }},
		{Name: "users' secrets", Run: s.associations.Run},
		{Name: "housekeeping", Run: s.keep},
		{Name: "drift", Run: s.watchDrift},
	}
}

// Drift compares the brokers of a cluster with its configuration.
func (s *Services) Drift(ctx context.Context, cluster string) ([]configuration.Drift, error) {
	return configuration.NewApplier(s.configurations, s.dialBrokers).Drift(ctx, cluster)
}

// watchDrift says in the log where brokers do not go by their cluster's configuration, of those clusters that nobody is changing.
func (s *Services) watchDrift(ctx context.Context) error {
	quiet := func(ctx context.Context) (names []string, err error) {
		all, err := s.plane.Clusters(ctx)
		for _, c := range all {
			if c.Operation == 0 && c.Phase != control.Broken && c.Settings.Configuration != (control.Revision{}) {
				names = append(names, c.Name)
			}
		}
		return names, err
	}
	return configuration.NewApplier(s.configurations, s.dialBrokers).Watch(ctx, quiet, s.world.Log)
}

// keepEvery is between two rounds of housekeeping.
const keepEvery = time.Hour

// keep ends what an earlier process has left half done, and deletes secrets whose time is up, until ctx ends.
func (s *Services) keep(ctx context.Context) error {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		if err := errors.Join(s.configurations.Resume(ctx), s.connections.Resume(ctx), s.secrets.Sweep(ctx)); err != nil && ctx.Err() == nil {
			s.world.Log.Warn("housekeeping of the AWS services, trying again later", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// follow lets the brokers of serverless clusters follow their load until ctx ends.
func (s *Services) follow(ctx context.Context, plane *control.Plane, store kv.KV) error {
	policy, err := capacity.PolicyOf(s.quotas)
	if err != nil {
		return err
	}
	loop, err := capacity.New(capacity.Config{Policy: policy}, capacity.World{
		Plane: capacity.Of(plane), KV: store, Clock: clock.System{}, Log: s.world.Log,
	})
	if err != nil {
		return err
	}
	return loop.Run(ctx)
}

// Handler answers for the services. The account is that of etcd: the view may not have heard yet of one that was just made.
func (s *Services) Handler(ctx context.Context) (*door.Handler, error) {
	w := s.world
	account, err := w.IAM.OpenAccount(ctx)
	if err != nil {
		return nil, err
	}
	home := arn.Home{Region: s.region, Account: account.ID}
	rights := access.New(home, access.World{
		KV: s.world.Store, Clusters: s.plane, Configurations: s.configurations, IAM: w.IAM, Associations: s.associations,
		Connections: s.connections,
	})
	service := kafka.New(kafka.World{
		Plane: s.plane, Configurations: s.configurations, Tags: rights.Tags, StandardUsable: s.world.StandardUsable,
		Topics: topics.New(func(ctx context.Context, cluster string) (topics.Admin, error) { return s.dial(ctx, cluster) }),
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
			Policy: s.clusterPolicy,
		},
		sts.Service(w.View), secretsmanager.New(home, s.secrets).Door(),
	}}, door.World{Signatures: w.Requests, Policies: w.View, Trail: w.Trail, Clock: clock.System{}, Log: s.world.Log})
}

// clusterPolicy is the policy of the cluster that an ARN names; nil: there is none.
func (s *Services) clusterPolicy(ctx context.Context, name string) ([]byte, error) {
	at, err := arn.Parse(name)
	if err != nil || at.Name == "" {
		return nil, nil //nolint:nilerr // nothing of this name: the operation says so
	}
	document, _, err := s.world.IAM.ClusterPolicy(ctx, control.Prefix(at.Name))
	if errors.Is(err, iam.ErrNotFound) {
		return nil, nil
	}
	return document, err
}

// Before gives the AWS services what is theirs, and others the rest.
func Before(services *door.Handler, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if services.Takes(r) {
			services.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
