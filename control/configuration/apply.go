package configuration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"millrace/base/kv"
	"millrace/control"
)

// Brokers are those of one cluster; a *kadm.Client is it.
type Brokers interface {
	// AlterBrokerConfigs changes the configuration of brokers by id, or without ids that of all of them.
	AlterBrokerConfigs(ctx context.Context, changes []kadm.AlterConfig, brokers ...int32) (kadm.AlterConfigsResponses, error)
	// DescribeBrokerConfigs asks each of these brokers for its configuration.
	DescribeBrokerConfigs(ctx context.Context, brokers ...int32) (kadm.ResourceConfigs, error)
	// ListBrokers are those that there are.
	ListBrokers(ctx context.Context) (kadm.BrokerDetails, error)
	// Close ends the connection.
	Close()
}

// Dial connects to a cluster as one who may alter its brokers' configuration.
type Dial func(ctx context.Context, cluster string) (Brokers, error)

// Applier brings revisions into force. Make one with NewApplier; it is safe for concurrent use, but a cluster has one Apply at a time, as
// it has one operation at a time.
type Applier struct {
	store *Store
	dial  Dial
}

// NewApplier makes an Applier of the revisions in a store.
func NewApplier(store *Store, dial Dial) *Applier { return &Applier{store: store, dial: dial} }

// values are those of the revision with an effect; none for the zero Revision.
func (a *Applier) values(ctx context.Context, r control.Revision, effect Effect) (map[string]string, error) {
	if r == (control.Revision{}) {
		return map[string]string{}, nil
	}
	kept, err := a.store.Revision(ctx, r.ID, r.Number)
	if err != nil {
		return nil, err
	}
	all, err := Check(kept.Properties, a.store.world.Rules)
	if err != nil {
		return nil, fmt.Errorf("revision %d of configuration %s: %w", r.Number, nameOf(r.ID), err)
	}
	maps.DeleteFunc(all, func(name, _ string) bool {
		w, ok := writable(name)
		return !ok || w.Effect != effect
	})
	return all, nil
}

// Plan says whether brokers have to be started anew for a cluster to go from one revision to another; the zero Revision is none. Errors:
// ErrNotFound, and ErrInvalid where this version of Millrace does not take a revision that an earlier one took.
func (a *Applier) Plan(ctx context.Context, _ string, before, after control.Revision) (restart bool, err error) {
	next, err := a.values(ctx, after, Start)
	if err != nil {
		return false, err
	}
	former, err := a.values(ctx, before, Start)
	if errors.Is(err, ErrInvalid) {
		return true, nil // nobody knows what brokers were started with
	}
	return !maps.Equal(former, next), err
}

// Starting are the properties that a broker of a cluster with the revision must be started with. Errors as of Plan.
func (a *Applier) Starting(ctx context.Context, r control.Revision) (map[string]string, error) {
	return a.values(ctx, r, Start)
}

func appliedKey(cluster string) string { return control.Prefix(cluster) + "configuration" }

// Apply brings the Live properties of a revision into force: sets them for all brokers, and takes back those that the revision before had
// and this one has not. The zero Revision takes all back. It may be repeated after it broke off, at any point (F5). Errors: those of Plan,
// ErrRefused, and those of the connection.
func (a *Applier) Apply(ctx context.Context, cluster string, r control.Revision) error {
	values, err := a.values(ctx, r, Live)
	if err != nil {
		return fmt.Errorf("configure cluster %s: %w", cluster, err)
	}
	names := slices.Sorted(maps.Keys(values))
	var gone []string
	err = a.note(ctx, cluster, func(was applied) applied {
		gone = slices.DeleteFunc(slices.Clone(was.Names), func(name string) bool { return has(values, name) })
		union := slices.Sorted(slices.Values(append(slices.Clone(gone), names...)))
		return applied{Format: format, ID: r.ID, Number: r.Number, Names: union}
	})
	if err != nil {
		return err
	}
	if err := a.alter(ctx, cluster, values, gone); err != nil {
		return fmt.Errorf("configure cluster %s: %w", cluster, err)
	}
	return a.note(ctx, cluster, func(applied) applied {
		return applied{Format: format, ID: r.ID, Number: r.Number, Names: names, Done: true}
	})
}

// note changes what is written down of a cluster.
func (a *Applier) note(ctx context.Context, cluster string, change func(applied) applied) error {
	key := appliedKey(cluster)
	return a.store.retry(ctx, "note the configuration of cluster "+cluster, func() error {
		was, rev, err := read[applied](ctx, a.store.world.KV, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		_, err = a.store.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{put(key, change(was))})
		return err
	})
}

// alter sets and takes back in one request, so that what has to fit together does.
func (a *Applier) alter(ctx context.Context, cluster string, values map[string]string, gone []string) error {
	var changes []kadm.AlterConfig
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	for _, name := range gone {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	if len(changes) == 0 {
		return nil
	}
	brokers, err := a.dial(ctx, cluster)
	if err != nil {
		return err
	}
	defer brokers.Close()
	answers, err := brokers.AlterBrokerConfigs(ctx, changes)
	if err != nil {
		return err
	}
	for _, one := range answers {
		if one.Err != nil {
			return fmt.Errorf("%w: %w: %s", ErrRefused, one.Err, clip(one.ErrMessage))
		}
	}
	return nil
}
