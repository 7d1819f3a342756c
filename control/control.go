// Package control is the control plane: it decides which nodes should run and
// knows which of them do.
//
// Flow: Ensure writes a cluster's record and the specs of its nodes; the agents
// act on those and report; Readiness reads the reports. State is in etcd only,
// changed by compare-and-swap, so that several control planes may run.
//
// Invariants:
//
//	C1  A cluster's record is written before the specs of its nodes, and a spec
//	    that no record explains is removed by the next Ensure.
//	C2  What exists is changed only where it differs, so a restart of the
//	    control plane restarts no broker.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"millrace/base/kv"
	"millrace/engine"
)

// format of a cluster's record.
const format = 1

// portStep is between the ports of two brokers of a cluster on one host.
const portStep = 100

// Errors that callers test with errors.Is.
var (
	// ErrSpec: the cluster's description cannot be made so; the message says why.
	ErrSpec = errors.New("invalid cluster description")
	// ErrNewer: the record was written by a newer version of Millrace.
	ErrNewer = errors.New("cluster record written by a newer version of millrace")
)

// Cluster describes one express cluster.
type Cluster struct {
	Format  int    `json:"format"`
	Name    string `json:"name"`
	Brokers int    `json:"brokers"` // at least 1
	Listen  string `json:"listen"`  // host:port of the first broker; broker k is at port + 100*(k-1)
	Memory  int64  `json:"memory"`  // bytes for each broker; 0: the engine's default

	Metrics string `json:"metrics,omitempty"` // host:port of the first broker's metrics, the others' as with Listen; "": none are shown

	MaxConnections      int `json:"max_connections,omitempty"`        // of each broker; 0: by Memory
	MaxConnectionsPerIP int `json:"max_connections_per_ip,omitempty"` // of each broker; 0: as MaxConnections
}

// Validate names every fault of the description.
func (c Cluster) Validate() error {
	var faults []error
	if c.Name == "" || strings.ContainsAny(c.Name, "/ ") {
		faults = append(faults, fmt.Errorf("%w: name %q must not be empty or hold a slash or a space", ErrSpec, c.Name))
	}
	if c.Brokers < 1 {
		faults = append(faults, fmt.Errorf("%w: %d brokers, at least 1 is needed", ErrSpec, c.Brokers))
	}
	if _, err := address(c.Listen, max(c.Brokers, 1)); err != nil {
		faults = append(faults, err)
	}
	if _, err := address(c.Metrics, max(c.Brokers, 1)); c.Metrics != "" && err != nil {
		faults = append(faults, fmt.Errorf("metrics: %w", err))
	}
	if c.Memory < 0 {
		faults = append(faults, fmt.Errorf("%w: memory of %d bytes", ErrSpec, c.Memory))
	}
	if c.MaxConnections < 0 || c.MaxConnectionsPerIP < 0 {
		faults = append(faults, fmt.Errorf("%w: %d connections, %d from one address", ErrSpec, c.MaxConnections, c.MaxConnectionsPerIP))
	}
	return errors.Join(faults...)
}

// address is that of a broker, where first is the first one's.
func address(first string, broker int) (string, error) {
	host, text, err := net.SplitHostPort(first)
	if err != nil {
		return "", fmt.Errorf("%w: listen address %q is not HOST:PORT", ErrSpec, first)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port+portStep*(broker-1) > 65535 {
		return "", fmt.Errorf("%w: port %q does not leave room for %d brokers, %d ports apart, below 65536", ErrSpec, text, broker, portStep)
	}
	return net.JoinHostPort(host, strconv.Itoa(port+portStep*(broker-1))), nil
}

// Nodes are the specs of the cluster's brokers when all run on host.
func (c Cluster) Nodes(host string) ([]engine.NodeSpec, error) {
	specs := make([]engine.NodeSpec, 0, c.Brokers)
	for k := 1; k <= c.Brokers; k++ {
		listen, err := address(c.Listen, k)
		if err != nil {
			return nil, err
		}
		metrics := ""
		if c.Metrics != "" {
			if metrics, err = address(c.Metrics, k); err != nil {
				return nil, err
			}
		}
		specs = append(specs, engine.NodeSpec{
			Format:  engine.Format,
			Host:    host,
			Cluster: c.Name,
			ID:      int32(k),
			Engine:  "express",
			Zone:    "zone-" + string(rune('a'+(k-1)%3)),
			Listen:  listen,
			Memory:  c.Memory,
			Metrics: metrics,

			MaxConnections:      c.MaxConnections,
			MaxConnectionsPerIP: c.MaxConnectionsPerIP,
		})
	}
	return specs, nil
}

func clusterKey(name string) string { return "control/clusters/" + name }

// Prefix is below which the brokers of a cluster keep their own state in etcd.
func Prefix(cluster string) string { return "clusters/" + cluster + "/" }

// Plane is the control plane of the installation whose state store holds. Safe
// for concurrent use.
type Plane struct {
	store kv.KV
	host  string
}

// New makes a control plane that places nodes on host.
func New(store kv.KV, host string) *Plane { return &Plane{store: store, host: host} }

// Ensure makes the cluster exist as described: its record, then the specs of
// its nodes. It returns ErrSpec for a description that cannot be and ErrNewer
// where a newer version of Millrace looks after the cluster.
func (p *Plane) Ensure(ctx context.Context, c Cluster) error {
	c.Format = format
	if err := c.Validate(); err != nil {
		return err
	}
	if err := p.checkFormat(ctx, c.Name); err != nil {
		return err
	}
	record, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cluster %s: %w", c.Name, err)
	}
	if err := p.put(ctx, clusterKey(c.Name), record); err != nil {
		return fmt.Errorf("save cluster %s: %w", c.Name, err)
	}
	specs, err := c.Nodes(p.host)
	if err != nil {
		return err
	}
	wanted := make(map[string]bool, len(specs))
	for _, s := range specs {
		wanted[s.Key()] = true
		if err := p.checkSpec(ctx, s.Key()); err != nil {
			return err
		}
		b, err := engine.Encode(s)
		if err != nil {
			return fmt.Errorf("encode node %s: %w", s.Key(), err)
		}
		if err := p.put(ctx, s.Key(), b); err != nil {
			return fmt.Errorf("save node %s: %w", s.Key(), err)
		}
	}
	return p.removeOthers(ctx, c.Name, wanted)
}

func (p *Plane) checkFormat(ctx context.Context, name string) error {
	item, err := p.store.Get(ctx, clusterKey(name))
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cluster %s: %w", name, err)
	}
	var old Cluster
	if err := json.Unmarshal(item.Value, &old); err != nil {
		return fmt.Errorf("read cluster %s: %w", name, err)
	}
	if old.Format > format {
		return fmt.Errorf("%w: cluster %s has format %d, this binary knows up to %d", ErrNewer, name, old.Format, format)
	}
	return nil
}

// checkSpec returns engine.ErrNewer where a newer version has written the spec.
func (p *Plane) checkSpec(ctx context.Context, key string) error {
	item, err := p.store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = engine.Decode[engine.NodeSpec](item.Value)
	}
	if err != nil {
		return fmt.Errorf("read node %s: %w", key, err)
	}
	return nil
}

// put writes where the value differs, so that nobody wakes for nothing (C2).
func (p *Plane) put(ctx context.Context, key string, value []byte) error {
	for {
		item, err := p.store.Get(ctx, key)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		if err == nil && bytes.Equal(item.Value, value) {
			return nil
		}
		_, err = p.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.Put(key, value)})
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

func (p *Plane) removeOthers(ctx context.Context, cluster string, wanted map[string]bool) error {
	items, _, err := p.store.List(ctx, engine.SpecPrefix(p.host)+cluster+"/")
	if err != nil {
		return fmt.Errorf("list nodes of %s: %w", cluster, err)
	}
	for _, item := range items {
		if wanted[item.Key] {
			continue
		}
		_, err := p.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(item.Key, item.ModRev)}, []kv.Op{kv.Delete(item.Key)})
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("remove node %s: %w", item.Key, err)
		}
	}
	return nil
}

// Readiness says which nodes of a cluster serve.
type Readiness struct {
	Ready   bool     // every node that should run serves
	Reasons []string // one line for each node that does not, and why
}

// Readiness reads what the agents last reported of a cluster's nodes.
func (p *Plane) Readiness(ctx context.Context, cluster string) (Readiness, error) {
	items, _, err := p.store.List(ctx, engine.SpecPrefix(p.host)+cluster+"/")
	if err != nil {
		return Readiness{}, fmt.Errorf("list nodes of %s: %w", cluster, err)
	}
	r := Readiness{}
	running := 0
	for _, item := range items {
		spec, err := engine.Decode[engine.NodeSpec](item.Value)
		if err != nil {
			return Readiness{}, err
		}
		if spec.Stopped {
			continue
		}
		running++
		reason, err := p.reason(ctx, spec)
		if err != nil {
			return Readiness{}, err
		}
		if reason != "" {
			r.Reasons = append(r.Reasons, reason)
		}
	}
	if running == 0 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("cluster %s has no node that should run", cluster))
	}
	r.Ready = len(r.Reasons) == 0
	return r, nil
}

// reason is empty for a node that serves.
func (p *Plane) reason(ctx context.Context, spec engine.NodeSpec) (string, error) {
	item, err := p.store.Get(ctx, spec.StatusKey())
	if errors.Is(err, kv.ErrNotFound) {
		return fmt.Sprintf("broker %d of cluster %s: not started yet", spec.ID, spec.Cluster), nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", spec.StatusKey(), err)
	}
	status, err := engine.Decode[engine.NodeStatus](item.Value)
	if err != nil {
		return "", err
	}
	if status.State == engine.Ready {
		return "", nil
	}
	text := fmt.Sprintf("broker %d of cluster %s: %s", spec.ID, spec.Cluster, strings.ToLower(string(status.State)))
	if status.Message != "" {
		text += ": " + status.Message
	}
	return text, nil
}
