package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/control/configuration"
	"millrace/control/sizes"
	"millrace/engine"
	"millrace/express/catalog"
	"millrace/express/settings"
	"millrace/secure/cert"
	"millrace/secure/iam"
	"millrace/standard/warden"
)

// options are what the plane is told.
func (s *Services) options(c Config) control.Options {
	like, watches := c.Like, overseer{warden.New(warden.Config{})}
	like.Region = c.Region
	return control.Options{
		Ports: c.Ports, Like: like, Memory: memoryOfType, Limits: s.limitsOf, Also: tagsOf, Release: c.Release,
		Keys: func(cluster string) []string {
			all := cert.KeysOf(cluster)
			if c.Keys != nil {
				all = append(all, c.Keys(cluster)...)
			}
			return all
		},
		Applier: applier{configuration.NewApplier(s.configurations, s.dialBrokers)},
		Holds:   s.configurations.Holds, Starting: s.starting,
		Warden: watches, Used: watches.used, Heap: heapOfType, TLS: s.shown,
		Identity: control.Identity{
			Key:    "catalog/" + catalog.IdentityKey,
			Record: func(id, log string, made time.Time) []byte { return catalog.Identity(id, catalog.LogKind(log), made) },
			ID:     catalog.IdentityOf,
		},
	}
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

// heapOfType is that of the Java machine of a broker of a type.
func heapOfType(name string) (int64, error) {
	t, err := sizes.Find(name)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return t.Process.Heap, nil
}

// starting is what brokers of a cluster are started with: of Apache Kafka all that its configuration says, of express what it does not
// change while it runs.
func (s *Services) starting(ctx context.Context, c control.Cluster, r control.Revision) (string, error) {
	values, err := map[string]string{}, error(nil)
	switch {
	case r == (control.Revision{}):
	case c.Settings.Standard():
		var kept configuration.Revision
		if kept, err = s.configurations.Revision(ctx, r.ID, r.Number); err == nil {
			values, err = configuration.Check(kept.Properties, brokerRules{})
		}
	default:
		values, err = configuration.NewApplier(s.configurations, s.dialBrokers).Starting(ctx, r)
	}
	if errors.Is(err, configuration.ErrNotFound) || errors.Is(err, configuration.ErrInvalid) {
		err = fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	if err != nil {
		return "", err
	}
	text, err := configuration.FormatStarting(values)
	if err != nil {
		err = fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return text, err
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
func (s *Services) limitsOf(to control.Settings) (engine.Limits, error) {
	var t sizes.Type
	var err error
	switch {
	case to.Type == control.Serverless:
		t, err = s.quotas.Unit()
	case to.BrokerType != "":
		t, err = sizes.Find(to.BrokerType)
	}
	if err != nil {
		return engine.Limits{}, fmt.Errorf("%w: %w", control.ErrSpec, err)
	}
	return t.Limits, nil
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
