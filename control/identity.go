package control

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/control/spec"
	"millrace/engine"
)

// Options are what a control plane can be told beside what New asks for. A zero field takes its default.
type Options struct {
	// Ports are those of hosts that name none, for the brokers of clusters that Create makes; default 20000 to 29999.
	Ports engine.Ports
	// Clusters is how many there may be; default 200.
	Clusters int
	// Like has what clusters that Create makes take from the installation: Store, Log, Memory, Region, Encrypt, Super, Mapping and the bounds
	// on connections. Its other fields are not looked at.
	Like Cluster
	// Memory is that of a broker of a type, in bytes, 0 for the engine's default; ErrSpec for a type that there is not. nil: Like.Memory.
	Memory func(brokerType string) (int64, error)
	// Limits are what brokers of a cluster with these Settings hold their clients to; ErrSpec for what cannot be. nil: none.
	Limits func(s Settings) (engine.Limits, error)
	// Binary is the program of a version of Kafka; "" is the agents' own. nil: of every version.
	Binary func(kafkaVersion string) string
	// Identity writes and reads Kafka's cluster id; its zero value leaves that to the brokers.
	Identity Identity
	// Also is what else is written with a cluster that Create makes, ErrSpec for what cannot be; nil: nothing.
	Also func(c Cluster) ([]kv.Op, error)
	// Keys are prefixes of keys that go with a cluster, beside those below Prefix; nil: none.
	Keys func(cluster string) []string
	// Starting is what brokers of a cluster with these Settings and a revision are started with, lines "key=value" in one order; ErrSpec for a revision
	// that cannot be. nil: nothing.
	Starting func(ctx context.Context, c Cluster, r Revision) (string, error)
	// Holds are conditions under which a revision is there and stays: an operation begins under them. Revision{} is none. nil: none.
	Holds func(ctx context.Context, r Revision) ([]kv.Cond, error)
	// Warden looks after clusters of Apache Kafka; nil: there can be none.
	Warden Warden
	// Used says what the volumes of a cluster of Apache Kafka hold; nil: it is not known, and none can become smaller.
	Used Used
	// TLS is how the plane shows a node at some host who it is, where nodes ask for that; nil: they do not.
	TLS func(ctx context.Context, host string) (*tls.Config, error)
	// Heap is that of the Java machine of a broker type, in bytes; nil: the engine's default.
	Heap func(brokerType string) (int64, error)
	// Applier brings configurations to brokers; nil: they are kept to be read back.
	Applier Applier
	// Release is the version of Millrace that hosts should have; brokers that were started with another are patched in their maintenance
	// window, when all their hosts have it. "": none are.
	Release string
	// Patience is how long brokers may take to serve, in operations of the API; default 2 minutes.
	Patience time.Duration
	// Away is how long a host may have no agent until its brokers are placed elsewhere; default 15 seconds.
	Away time.Duration
	// Hold is how long a node of Apache Kafka may have to wait, in operations of the API, for leave to stop and for replicas to be in sync
	// again, before the operation fails; default 30 minutes.
	Hold time.Duration
}

// Identity is the record by which brokers know Kafka's id of their cluster.
type Identity struct {
	Key    string // below Prefix; "": the plane writes none
	Record func(id, log string, made time.Time) []byte
	ID     func(record []byte) (string, error)
}

// Applier brings the revisions of configurations to a cluster's brokers (control/configuration). Revision{} is none.
type Applier interface {
	// Plan says whether brokers must be started anew; ErrSpec for a revision that there is not, or that cannot be applied.
	Plan(ctx context.Context, c Cluster, before, after Revision) (restart bool, err error)
	// Apply makes it so, as far as that needs no restart. It may be called again after it was done.
	Apply(ctx context.Context, c Cluster, r Revision) error
}

func (o Options) withDefaults() Options {
	if o.Ports == (engine.Ports{}) {
		o.Ports = engine.Ports{From: 20000, To: 29999}
	}
	o.Clusters = cmp.Or(o.Clusters, 200)
	o.Patience = cmp.Or(o.Patience, 2*time.Minute)
	o.Hold = cmp.Or(o.Hold, 30*time.Minute)
	o.Away = cmp.Or(o.Away, 15*time.Second)
	return o
}

// With is the same control plane with other options. Call it before Run.
func (p *Plane) With(o Options) *Plane {
	other := *p
	other.options = o.withDefaults()
	return &other
}

// newID is the id of a cluster that nobody has had, as MSK writes them.
func newID() string { return uuid.NewString() + "-1" }

// identify gives a cluster without an ID the one that it has in Kafka, or a new one with the condition and the write that make it
// Kafka's too (C10).
func (p *Plane) identify(ctx context.Context, c *Cluster) (cond []kv.Cond, ops []kv.Op, err error) {
	if c.ID != "" {
		return nil, nil, nil
	}
	c.Created, c.Version, c.Format = p.clock.Now().UTC(), 1, max(c.Format, spec.FormatManaged)
	form := p.options.Identity
	if form.Key == "" {
		c.ID = newID()
		return nil, nil, nil
	}
	key := Prefix(c.Name) + form.Key
	item, err := p.store.Get(ctx, key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		c.ID = newID()
		return []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, form.Record(c.ID, cmp.Or(c.Log, "file"), c.Created))}, nil
	case err == nil:
		c.ID, err = form.ID(item.Value)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("id of cluster %s: %w", c.Name, err)
	}
	return nil, nil, nil
}
