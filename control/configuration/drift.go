package configuration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/control"
)

// Drift is a property whose value at a broker is not that of the cluster's revision.
type Drift struct {
	Name   string `json:"name"`
	Broker int32  `json:"broker"`
	Effect Effect `json:"effect"` // Start: the broker has not been started with it
	Want   string `json:"want"`   // what the revision says; "" with Set false
	Set    bool   `json:"set"`    // the revision has the property; otherwise somebody has set it who is not the revision
	Have   string `json:"have"`   // what the broker goes by
}

// Drift compares the brokers with the revision that was applied last, by broker and name. Nothing is changed by it. Without a revision,
// what was set by AlterConfigs is named, too. Errors: those of Plan and of the connection.
func (a *Applier) Drift(ctx context.Context, cluster string) ([]Drift, error) {
	was, _, err := read[applied](ctx, a.store.world.KV, appliedKey(cluster))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	now := control.Revision{ID: was.ID, Number: was.Number}
	live, err := a.values(ctx, now, Live)
	if err != nil {
		return nil, err
	}
	start, err := a.values(ctx, now, Start)
	if err != nil {
		return nil, err
	}
	running, err := a.running(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("compare cluster %s with its configuration: %w", cluster, err)
	}
	all := []Drift{}
	for _, id := range slices.Sorted(maps.Keys(running)) {
		for _, c := range running[id] {
			if d, differs := compare(c, live, start); differs {
				d.Broker = id
				all = append(all, d)
			}
		}
	}
	return all, nil
}

// running asks every broker.
func (a *Applier) running(ctx context.Context, cluster string) (map[int32][]kadm.Config, error) {
	brokers, err := a.dial(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer brokers.Close()
	details, err := brokers.ListBrokers(ctx)
	if err != nil {
		return nil, err
	}
	answers, err := brokers.DescribeBrokerConfigs(ctx, details.NodeIDs()...)
	if err != nil {
		return nil, err
	}
	all := map[int32][]kadm.Config{}
	for _, one := range answers {
		id, err := strconv.ParseInt(one.Name, 10, 32)
		if err = errors.Join(err, one.Err); err != nil {
			return nil, fmt.Errorf("broker %s: %w", clip(one.Name), err)
		}
		slices.SortFunc(one.Configs, func(a, b kadm.Config) int { return strings.Compare(a.Key, b.Key) })
		all[int32(id)] = one.Configs
	}
	return all, nil
}

// compare says how a value at a broker differs from what it should be.
func compare(c kadm.Config, live, start map[string]string) (Drift, bool) {
	w, ok := writable(c.Key)
	if !ok {
		return Drift{}, false
	}
	d := Drift{Name: c.Key, Effect: w.Effect, Have: c.MaybeValue()}
	switch w.Effect {
	case Live:
		d.Want, d.Set = live[c.Key], has(live, c.Key)
		dynamic := c.Source == kmsg.ConfigSourceDynamicBrokerConfig || c.Source == kmsg.ConfigSourceDynamicDefaultBrokerConfig
		if !d.Set {
			return d, dynamic
		}
		return d, !same(d.Want, d.Have) || !dynamic
	case Start:
		d.Want, d.Set = start[c.Key], has(start, c.Key)
		return d, d.Set && !same(d.Want, d.Have)
	default:
		return Drift{}, false
	}
}

func has(m map[string]string, name string) bool {
	_, ok := m[name]
	return ok
}

// same compares texts, or the numbers that they are.
func same(a, b string) bool {
	if a == b {
		return true
	}
	m, errA := strconv.ParseInt(a, 10, 64)
	n, errB := strconv.ParseInt(b, 10, 64)
	return errA == nil && errB == nil && m == n
}
