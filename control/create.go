package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/control/spec"
	"millrace/engine"
	"millrace/secure/network"
)

// createsKey changes with each cluster that is made, so that two that are made at once count each other.
const createsKey = "control/creates"

// Create makes a cluster that has these Settings, and returns it at once, Creating; Run brings up its brokers. The name is 1 to 64
// letters, digits and hyphens, and begins with no hyphen. Settings.Brokers is 1 to MaxBrokers; of a serverless cluster 0 is 1. It returns
// ErrSpec for what cannot be, ErrExists for a name in use, and ErrLimit.
func (p *Plane) Create(ctx context.Context, name string, s Settings, tags map[string]string) (Cluster, error) {
	if !nameable(name) {
		return Cluster{}, fmt.Errorf("%w: name %q: use 1 to 64 letters, digits and hyphens, and no hyphen first", ErrSpec, name)
	}
	like := p.options.Like
	c, err := p.told(ctx, Cluster{
		Name: name, Format: spec.FormatManaged, Store: like.Store, Log: like.Log, Region: like.Region, Encrypt: like.Encrypt, Super: like.Super,
		Mapping: like.Mapping, MaxConnections: like.MaxConnections, MaxConnectionsPerIP: like.MaxConnectionsPerIP,
	}, s)
	if err != nil {
		return Cluster{}, err
	}
	c.Operation, c.Operations, c.Wanted, c.Phase, c.Tags = 1, 1, c.Brokers, Creating, tags
	for {
		made, err := p.tryCreate(ctx, c)
		if !errors.Is(err, kv.ErrConflict) {
			return made, err
		}
	}
}

// nameable says whether a cluster may have a name, as MSK names clusters.
func nameable(name string) bool {
	return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$`).MatchString(name)
}

// tryCreate writes everything of a new cluster in one transaction: its record, its operation, and Kafka's id. It returns kv.ErrConflict
// where another came to be meanwhile.
func (p *Plane) tryCreate(ctx context.Context, c Cluster) (Cluster, error) {
	last, err := p.store.Get(ctx, createsKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return Cluster{}, fmt.Errorf("read clusters: %w", err)
	}
	items, _, err := p.store.List(ctx, clusterPrefix)
	switch {
	case err != nil:
		return Cluster{}, fmt.Errorf("list clusters: %w", err)
	case slices.ContainsFunc(items, func(i kv.Item) bool { return i.Key == clusterKey(c.Name) }):
		return Cluster{}, fmt.Errorf("%w: there is a cluster %s", ErrExists, c.Name)
	case len(items) >= p.options.Clusters:
		return Cluster{}, fmt.Errorf("%w: there are %d, of %d that may be", ErrLimit, len(items), p.options.Clusters)
	}
	cond, ops, err := p.identify(ctx, &c)
	if err != nil {
		return Cluster{}, err
	}
	if err := c.Validate(); err != nil {
		return Cluster{}, err
	}
	if p.options.Also != nil {
		more, err := p.options.Also(c)
		if err != nil {
			return Cluster{}, err
		}
		ops = append(ops, more...)
	}
	settings := c.Settings
	op := Operation{
		Format: c.Format, Number: 1, Cluster: c.Name, ID: uuid.NewString(), Type: string(Create), Request: Request{Kind: Create},
		State: Running, Began: c.Created, Before: &settings, After: &settings,
	}
	held, err := p.holds(ctx, settings.Configuration)
	if err != nil {
		return Cluster{}, err
	}
	if op.Steps, err = p.plan(ctx, c, c, op.Request); err != nil {
		return Cluster{}, err
	}
	record, err := json.Marshal(op)
	if err != nil {
		return Cluster{}, fmt.Errorf("encode operation: %w", err)
	}
	cond = append(append(cond, held...), kv.ModRevEquals(createsKey, last.ModRev))
	ops = append(ops, kv.Put(createsKey, []byte(c.ID)), kv.Put(operationKey(c.Name, 1), record))
	return c, p.swap(ctx, c, 0, cond, ops)
}

// Delete begins to delete a cluster and everything that it has, and returns it as it is then, Deleting; in the end its record is gone.
// version is CurrentVersion that the caller knows; "" is any. It returns ErrNoCluster, ErrState for one that is being deleted, ErrVersion
// and ErrBusy. An operation that waits for its window is ended by it.
func (p *Plane) Delete(ctx context.Context, name, version string) (Cluster, error) {
	for {
		c, rev, err := p.read(ctx, name)
		switch {
		case err != nil:
			return Cluster{}, err
		case c.Phase == Deleting:
			return c, fmt.Errorf("%w: cluster %s is %s", ErrState, name, c.Phase)
		case version != "" && version != CurrentVersion(c):
			return c, fmt.Errorf("%w: cluster %s has %s, and not %s", ErrVersion, name, CurrentVersion(c), version)
		case c.Operation != 0 && !p.waits(ctx, c):
			return c, p.busy(ctx, c)
		}
		_, c, err = p.begin(ctx, c, rev, Request{Kind: Delete})
		if !errors.Is(err, kv.ErrConflict) {
			return c, err
		}
	}
}

// waits says that the operation of a cluster has not begun to do anything.
func (p *Plane) waits(ctx context.Context, c Cluster) bool {
	op, err := p.Operation(ctx, c.Name, c.Operation)
	return err == nil && op.State == Pending
}

// Clusters are all that there are, by name, those that are being made or deleted included.
func (p *Plane) Clusters(ctx context.Context) ([]Cluster, error) {
	items, _, err := p.store.List(ctx, clusterPrefix)
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	all := make([]Cluster, 0, len(items))
	for _, item := range items {
		c, err := decodeCluster(strings.TrimPrefix(item.Key, clusterPrefix), item.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Endpoints are the addresses of a cluster's brokers, host:port in the order of their ids, by the name of the listener; those of private
// connections by its name and engine.PrivateSuffix. They are the same whether brokers run or not.
func (p *Plane) Endpoints(ctx context.Context, name string) (map[string][]string, error) {
	if _, err := p.Cluster(ctx, name); err != nil {
		return nil, err
	}
	nodes, err := p.Nodes(ctx, name)
	if err != nil {
		return nil, err
	}
	private, err := network.NewStore(p.store, Prefix(name)).Network(ctx)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	all := map[string][]string{}
	add := func(listener, address string) { all[listener] = append(all[listener], address) }
	for _, n := range nodes {
		if n.Spec.Role == engine.Controller {
			continue // clients have nothing to ask it
		}
		for _, l := range n.Spec.Served() {
			add(l.Name, l.Told())
			for _, c := range private.Connections {
				if c.State != network.Active || c.Listener != l.Name {
					continue
				}
				a, err := privateAddress(c, l, n.Spec.ID)
				if err != nil {
					return nil, err
				}
				add(l.Name+engine.PrivateSuffix, a)
			}
		}
	}
	return all, nil
}

// privateAddress is where a broker is reached by a private connection.
func privateAddress(c network.Connection, l engine.Listener, broker int32) (string, error) {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return "", fmt.Errorf("listener %s of broker %d: %w", l.Name, broker, err)
	}
	return net.JoinHostPort(cmp.Or(c.Advertise, host), strconv.Itoa(c.PortOf(broker))), nil
}

// erase stops the brokers, whatever they own, and has their data deleted. One whose host is away gets no more patience than others: its
// agent finds what it has to do when it comes back (C11).
func (r *run) erase(ctx context.Context) error {
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Stopped, s.Remove = true, true }); err != nil {
		return err
	}
	for {
		limited, cancel := context.WithTimeout(ctx, r.plane.options.Patience)
		err := r.reported(limited, engine.Removed)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if !n.Lost {
				continue
			}
			r.plane.log.Warn("a host keeps what it has of a deleted cluster until it comes back", "cluster", r.op.Cluster, "host", n.Spec.Host)
			if err := r.edit(ctx, n.Spec.ID, func(s *engine.NodeSpec) { s.Moved = true }); err != nil {
				return err
			}
		}
	}
}

// purge has one agent delete what the cluster keeps in the object store. No broker of it runs any more.
func (r *run) purge(ctx context.Context) error {
	chosen := int32(0)
	return r.plane.await(ctx, r.op.Cluster, func(nodes []Node) (bool, error) {
		i := slices.IndexFunc(nodes, func(n Node) bool { return n.Spec.Purge && !n.Lost })
		if i >= 0 && nodes[i].Status.Purged {
			return true, nil
		}
		if i >= 0 {
			return false, r.say(ctx, "%s", nodes[i].Status.Message)
		}
		if i = slices.IndexFunc(nodes, func(n Node) bool { return !n.Lost }); i < 0 {
			return r.purgeElsewhere(ctx, nodes)
		}
		if chosen == nodes[i].Spec.ID {
			return false, nil
		}
		chosen = nodes[i].Spec.ID
		return false, r.edit(ctx, chosen, func(s *engine.NodeSpec) { s.Purge = true })
	})
}

// purgeElsewhere is for a cluster none of whose hosts has an agent: any other host's can do it, in the name of a broker that it never had.
// A cluster that never had a broker has nothing to delete.
func (r *run) purgeElsewhere(ctx context.Context, nodes []Node) (done bool, err error) {
	all, err := r.plane.allSpecs(ctx)
	if err != nil {
		return false, err
	}
	if len(nodes) == 0 && !slices.ContainsFunc(all, func(s engine.NodeSpec) bool { return s.Cluster == r.op.Cluster }) {
		return true, nil
	}
	s := engine.NodeSpec{
		Format: engine.First, Host: r.plane.self.Name, Cluster: r.op.Cluster, ID: MaxBrokers + 1, Engine: "express", Log: r.cluster.Log, Store: r.cluster.Store,
		Stopped: true, Remove: true, Purge: true,
	}
	return false, r.plane.edit(ctx, s.Key(), true, func(old *engine.NodeSpec) { *old = s })
}

// erased removes everything of a cluster from etcd, in one transaction (C10).
func (p *Plane) erased(ctx context.Context, c Cluster, rev int64) error {
	specs, err := p.specs(ctx)
	if err != nil {
		return err
	}
	ops := []kv.Op{kv.Delete(clusterKey(c.Name)), kv.DeletePrefix(operationPrefix(c.Name)), kv.DeletePrefix(Prefix(c.Name))}
	if p.options.Keys != nil {
		for _, prefix := range p.options.Keys(c.Name) {
			ops = append(ops, kv.DeletePrefix(prefix))
		}
	}
	for _, s := range specs {
		if s.Cluster == c.Name {
			ops = append(ops, kv.Delete(s.Key()), kv.Delete(s.StatusKey()))
		}
	}
	_, err = p.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(clusterKey(c.Name), rev)}, ops)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		err = fmt.Errorf("remove cluster %s: %w", c.Name, err)
	}
	if err == nil {
		p.log.Info("cluster deleted", "cluster", c.Name, "lived_s", int64(p.clock.Now().Sub(c.Created)/time.Second))
	}
	return err
}
