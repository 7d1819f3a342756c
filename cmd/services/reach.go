package services

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/control"
	"millrace/control/configuration"
	"millrace/engine"
	"millrace/kafka/client"
	"millrace/secure/cert"
	"millrace/secure/scram"
)

// dial connects to a cluster as a node of the installation, which may do everything. The caller closes what it gets.
func (s *Services) dial(ctx context.Context, cluster string) (*kadm.Client, error) {
	at, err := s.plane.Endpoints(ctx, cluster)
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
			d := tls.Dialer{Config: cert.ClientTLS(s.world.Keeper, host)}
			return d.DialContext(ctx, network, address)
		}))
	}
	c, err := client.New(ctx, client.Config{Bootstrap: bootstrap}, options...)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(c), nil
}

func (s *Services) dialBrokers(ctx context.Context, cluster string) (configuration.Brokers, error) {
	return s.dial(ctx, cluster)
}

// users tells who uses a configuration. It implements configuration.Users.
type users struct{ of *Services }

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

// credentials sets those of the users of clusters. It implements access.Credentials.
type credentials struct{ of *Services }

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
		KV: c.of.world.Store, Sealer: c.of.world.Ring, Random: random, Log: c.of.world.Log,
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
