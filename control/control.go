package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control/spec"
	"millrace/engine"
)

// Errors that callers test with errors.Is.
var (
	// ErrNewer: the record was written by a newer version of Millrace.
	ErrNewer = errors.New("cluster record written by a newer version of millrace")
	// ErrNoCluster: no cluster has this name.
	ErrNoCluster = errors.New("no such cluster")
	// ErrExists: a cluster has this name, and be it one that is being deleted.
	ErrExists = errors.New("the name is in use")
	// ErrLimit: there are as many clusters as there may be.
	ErrLimit = errors.New("too many clusters")
	// ErrVersion: the cluster has changed since the caller looked.
	ErrVersion = errors.New("the cluster has another version")
	// ErrState: the phase of the cluster does not allow it; the message names the phase.
	ErrState = errors.New("not possible in this state")
)

// PlaneKey is held, under a lease, by the one process that runs the control plane.
const PlaneKey = "control/plane"

// clusterPrefix is where the records of clusters lie.
const clusterPrefix = "control/clusters/"

func clusterKey(name string) string { return clusterPrefix + name }

// Prefix is below which the brokers of a cluster keep their own state in etcd.
func Prefix(cluster string) string { return "clusters/" + cluster + "/" }

// Plane is the control plane of the installation whose state store holds. Safe
// for concurrent use.
type Plane struct {
	store   kv.KV
	self    engine.Host
	clock   clock.Clock
	log     *slog.Logger
	options Options
}

// New makes a control plane that places nodes on the hosts that have an agent, and
// on self, whose agent lives and dies with it.
func New(store kv.KV, self engine.Host, clk clock.Clock, log *slog.Logger) *Plane {
	return &Plane{store: store, self: self, clock: clk, log: log, options: Options{}.withDefaults()}
}

// Ensure makes the cluster exist as described and returns it as it is: its
// record, then the specs of its nodes. More brokers than there were are added
// at once; fewer is what Run then does, because the others must hand over first.
// It returns ErrSpec for a description that cannot be and ErrNewer where a newer
// version of Millrace looks after the cluster.
func (p *Plane) Ensure(ctx context.Context, asked Cluster) (Cluster, error) {
	var c Cluster
	for {
		old, rev, err := p.read(ctx, asked.Name)
		if err != nil && !errors.Is(err, ErrNoCluster) {
			return Cluster{}, err
		}
		if err == nil && asked.Log != "" && asked.Log != cmp.Or(old.Log, "file") {
			return Cluster{}, fmt.Errorf("%w: cluster %s keeps its logs as %q since it was made, and cannot be told to as %q",
				ErrSpec, asked.Name, cmp.Or(old.Log, "file"), asked.Log)
		}
		if old.Phase == Deleting || old.Phase == Broken {
			return old, nil // Run goes on with that; what is asked for can be made when the name is free
		}
		idle, err := p.idle(ctx, asked.Name)
		if err != nil {
			return Cluster{}, err
		}
		c = merge(old, asked, idle)
		if err := c.Validate(); err != nil {
			return Cluster{}, err
		}
		if err := p.fits(ctx, c); err != nil {
			return Cluster{}, err
		}
		if c.Operation == 0 {
			c.Describe()
		}
		cond, ops, err := p.identify(ctx, &c)
		if err != nil {
			return Cluster{}, err
		}
		if spec.Same(c, old) {
			break
		}
		err = p.swap(ctx, c, rev, cond, ops)
		if err == nil {
			break
		}
		if !errors.Is(err, kv.ErrConflict) {
			return Cluster{}, err
		}
	}
	// While an operation is under way, a spec that is missing is its to make, or was its to delete.
	if err := p.settleLogins(ctx, c); err != nil {
		return c, err
	}
	return c, p.arrange(ctx, c, arrangement{create: func(int32) bool { return c.Operation == 0 }, tidy: true})
}

// settleLogins gives brokers that do not run the logins of their cluster.
func (p *Plane) settleLogins(ctx context.Context, c Cluster) error {
	nodes, err := p.Nodes(ctx, c.Name)
	if err != nil || c.Operation != 0 {
		return err
	}
	for _, n := range nodes {
		if n.Status.PID != 0 || n.Spec.Auth == c.Auth && n.Spec.Secure == c.SecureOf(c.Auth) {
			continue
		}
		err := p.edit(ctx, n.Spec.Key(), false, func(s *engine.NodeSpec) { s.Auth, s.Secure = c.Auth, c.SecureOf(c.Auth) })
		if err != nil {
			return err
		}
	}
	return nil
}

// merge is what a cluster is to be after it was old (the zero Cluster: there was
// none) and asked came in.
func merge(old, asked Cluster, idle bool) Cluster {
	c := asked
	c.Format, c.Managed = spec.FormatFirst, old.Managed
	c.Limits, c.Properties = old.Limits, old.Properties
	if old.Name != "" {
		c.Log = old.Log
	}
	c.Region = cmp.Or(asked.Region, old.Region)
	c.Super, c.Mapping = cleared(asked.Super, old.Super), cleared(asked.Mapping, old.Mapping)
	if old.Name != "" {
		c.Encrypt = old.Encrypt // what is in the store is either encrypted or not
	}
	c.Auth, c.WantedAuth = mergeAuth(old, asked, idle)
	if c.Auth != "" || c.WantedAuth != "" || c.Encrypt {
		c.Format = spec.FormatLogins
	}
	if c.ID != "" {
		c.Format = max(spec.FormatManaged, old.Format)
	}
	c.Wanted, c.Binary, c.Operation, c.Operations = old.Wanted, old.Binary, old.Operation, old.Operations
	switch {
	case asked.Brokers == 0:
		c.Brokers = max(old.Brokers, 1)
	case old.Brokers == 0, asked.Brokers > old.Brokers && old.Operation == 0:
		c.Wanted = asked.Brokers
	default:
		c.Wanted, c.Brokers = asked.Brokers, old.Brokers
		if asked.Brokers < 1 || asked.Brokers > MaxBrokers {
			c.Brokers = asked.Brokers // for Validate to refuse
		}
	}
	return c
}

// cleared is asked, or what was there where nothing was asked for; nothing for None, which no record holds.
func cleared(asked, old string) string {
	if asked == None {
		return ""
	}
	return cmp.Or(asked, old)
}

// mergeAuth says which logins there are and shall be. They change at once where no broker runs, and otherwise by an operation.
func mergeAuth(old, asked Cluster, idle bool) (auth, wanted string) {
	switch {
	case asked.Auth == "" || asked.Auth == LoginPlaintext && old.Auth == "" && old.WantedAuth == "":
		return old.Auth, old.WantedAuth
	case old.Name == "" || idle && old.Operation == 0:
		return asked.Auth, ""
	}
	return old.Auth, asked.Auth
}

// idle says that no broker of the cluster runs, or may run.
func (p *Plane) idle(ctx context.Context, cluster string) (bool, error) {
	nodes, err := p.Nodes(ctx, cluster)
	for _, n := range nodes {
		if n.Status.PID != 0 {
			return false, nil
		}
	}
	return true, err
}

// Cluster returns the record of a cluster, or ErrNoCluster.
func (p *Plane) Cluster(ctx context.Context, name string) (Cluster, error) {
	c, _, err := p.read(ctx, name)
	return c, err
}

// read returns the record and its revision; rev is 0 with ErrNoCluster.
func (p *Plane) read(ctx context.Context, name string) (Cluster, int64, error) {
	item, err := p.store.Get(ctx, clusterKey(name))
	if errors.Is(err, kv.ErrNotFound) {
		return Cluster{}, 0, fmt.Errorf("%w: %q", ErrNoCluster, name)
	}
	if err != nil {
		return Cluster{}, 0, fmt.Errorf("read cluster %s: %w", name, err)
	}
	c, err := decodeCluster(name, item.Value)
	return c, item.ModRev, err
}

func decodeCluster(name string, record []byte) (Cluster, error) {
	var c Cluster
	if err := json.Unmarshal(record, &c); err != nil {
		return Cluster{}, fmt.Errorf("read cluster %s: %w", name, err)
	}
	if c.Format > spec.FormatEngine {
		return Cluster{}, fmt.Errorf("%w: cluster %s has format %d, this binary knows up to %d", ErrNewer, name, c.Format, spec.FormatEngine)
	}
	return c, nil
}

// save replaces the record that was read at rev, with whatever else changes
// in the same step. It returns kv.ErrConflict where somebody was faster.
func (p *Plane) save(ctx context.Context, c Cluster, rev int64, with ...kv.Op) error {
	return p.swap(ctx, c, rev, nil, with)
}

// swap is save on further conditions.
func (p *Plane) swap(ctx context.Context, c Cluster, rev int64, cond []kv.Cond, with []kv.Op) error {
	record, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cluster %s: %w", c.Name, err)
	}
	ops := append(with, kv.Put(clusterKey(c.Name), record))
	if _, err := p.store.Txn(ctx, append(cond, kv.ModRevEquals(clusterKey(c.Name), rev)), ops); err != nil {
		return fmt.Errorf("save cluster %s: %w", c.Name, err)
	}
	return nil
}

// edit changes a spec, by compare-and-swap and only where it differs (C2). A
// spec that is missing is made where create says so, and left alone otherwise. With a guard it returns kv.ErrConflict where that does
// not hold, or somebody else has changed the spec meanwhile.
func (p *Plane) edit(ctx context.Context, key string, create bool, change func(*engine.NodeSpec), guard ...kv.Cond) error {
	for {
		item, err := p.store.Get(ctx, key)
		missing := errors.Is(err, kv.ErrNotFound)
		if missing && !create {
			return nil
		}
		if err != nil && !missing {
			return fmt.Errorf("read node %s: %w", key, err)
		}
		var spec engine.NodeSpec
		if !missing {
			if spec, err = engine.Decode[engine.NodeSpec](item.Value); err != nil {
				return fmt.Errorf("read node %s: %w", key, err)
			}
		}
		change(&spec)
		b, err := engine.Encode(spec)
		if err != nil {
			return fmt.Errorf("encode node %s: %w", key, err)
		}
		if bytes.Equal(b, item.Value) {
			return nil
		}
		_, err = p.store.Txn(ctx, append(guard[:len(guard):len(guard)], kv.ModRevEquals(key, item.ModRev)), []kv.Op{kv.Put(key, b)})
		if len(guard) > 0 || !errors.Is(err, kv.ErrConflict) {
			if err != nil {
				err = fmt.Errorf("save node %s: %w", key, err)
			}
			return err
		}
	}
}
