package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/base/kv"
	"millrace/control/place"
	"millrace/engine"
)

// Hosts are those that have an agent, by name. Of one whose agent is of a newer Millrace the name is all that can be read; its Format is
// above engine.Format, and nothing is placed there.
func (p *Plane) Hosts(ctx context.Context) ([]engine.Host, error) {
	items, _, err := p.store.List(ctx, engine.HostPrefix)
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	hosts := make([]engine.Host, 0, len(items)+1)
	for _, item := range items {
		h, err := engine.Decode[engine.Host](item.Value)
		if errors.Is(err, engine.ErrNewer) { // it has an agent, which a newer control plane will know how to use
			h, err = engine.Host{Format: engine.Format + 1, Name: strings.TrimPrefix(item.Key, engine.HostPrefix)}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		hosts = append(hosts, h)
	}
	self := func(h engine.Host) bool { return h.Name == p.self.Name }
	if !slices.ContainsFunc(hosts, self) {
		hosts = append(hosts, p.self)
	}
	slices.SortFunc(hosts, func(a, b engine.Host) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, nil
}

// HostState is a host with the nodes of one cluster that are placed on it.
type HostState struct {
	Host  engine.Host `json:"host"` // of a host that is lost, the name is all that is known
	Lost  bool        `json:"lost,omitempty"`
	Nodes []Node      `json:"nodes"`
}

// HostStates are all hosts that have an agent, and those that had one and have nodes of the cluster, by name.
func (p *Plane) HostStates(ctx context.Context, cluster string) ([]HostState, error) {
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := p.Nodes(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var states []HostState
	for _, h := range hosts {
		states = append(states, HostState{Host: h, Nodes: []Node{}})
	}
	for _, n := range nodes {
		i := slices.IndexFunc(states, func(s HostState) bool { return s.Host.Name == n.Spec.Host })
		if i < 0 {
			i = len(states)
			states = append(states, HostState{Host: engine.Host{Name: n.Spec.Host, Zone: n.Spec.Zone}, Lost: true})
		}
		states[i].Nodes = append(states[i].Nodes, n)
	}
	slices.SortFunc(states, func(a, b HostState) int { return cmp.Compare(a.Host.Name, b.Host.Name) })
	return states, nil
}

// specs are those of all hosts and clusters, but for those of brokers that have moved.
func (p *Plane) specs(ctx context.Context) ([]engine.NodeSpec, error) {
	all, err := p.allSpecs(ctx)
	return slices.DeleteFunc(all, func(s engine.NodeSpec) bool { return s.Moved }), err
}

// allSpecs are those of all hosts and clusters.
func (p *Plane) allSpecs(ctx context.Context) ([]engine.NodeSpec, error) {
	items, _, err := p.store.List(ctx, engine.AllSpecs)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	specs := make([]engine.NodeSpec, 0, len(items))
	for _, item := range items {
		s, err := engine.Decode[engine.NodeSpec](item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// Placed is where the brokers of a cluster are, and where those would come that are missing.
func (p *Plane) Placed(ctx context.Context, c Cluster) ([]engine.NodeSpec, error) {
	specs, _, err := p.placed(ctx, c)
	return specs, err
}

// fits says why the cluster's brokers find no place.
func (p *Plane) fits(ctx context.Context, c Cluster) error {
	_, _, err := p.placed(ctx, c)
	return err
}

// placed is what Place says of the hosts as they are, and what is there.
func (p *Plane) placed(ctx context.Context, c Cluster, taken ...string) (specs, there []engine.NodeSpec, err error) {
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return nil, nil, err
	}
	if there, err = p.allSpecs(ctx); err != nil {
		return nil, nil, err
	}
	if c.Listen == "" {
		p.lendPorts(hosts)
	}
	specs, err = place.Brokers(c, hosts, there, taken...)
	return specs, there, err
}

// lendPorts gives hosts that were told no range the one that clusters without a numbering of their own need.
func (p *Plane) lendPorts(hosts []engine.Host) {
	for i := range hosts {
		if hosts[i].Ports == (engine.Ports{}) {
			hosts[i].Ports = p.options.Ports
		}
	}
}

// arrangement says what arrange may do.
type arrangement struct {
	create func(id int32) bool // which of the specs that are missing are made
	tidy   bool                // those that the cluster does not explain are removed
	taken  []string            // host:port that brokers leave, because other programs listen there
}

// arrange writes the specs of a cluster's brokers as they are to be. It returns kv.ErrConflict where a guard does not hold (any more).
func (p *Plane) arrange(ctx context.Context, c Cluster, how arrangement, guard ...kv.Cond) error {
	for {
		specs, there, rev, err := p.placedAt(ctx, c, how.taken)
		if err != nil {
			return err
		}
		if c.Log != "object" && slices.ContainsFunc(specs, func(s engine.NodeSpec) bool { return s.Host != specs[0].Host }) {
			p.log.Warn("brokers on several hosts keep their logs there: while a host is away, its partitions are too", "cluster", c.Name)
		}
		err = p.write(ctx, rev, specs, there, how, guard)
		if errors.Is(err, kv.ErrConflict) && len(guard) == 0 {
			continue // somebody else has given addresses out
		}
		if err != nil || !how.tidy {
			return err
		}
		return p.tidy(ctx, c, specs, there, guard)
	}
}

// write writes those specs that are new in one transaction, if nobody has given out addresses since rev, and brings the others to what
// they shall be.
func (p *Plane) write(ctx context.Context, rev int64, specs, there []engine.NodeSpec, how arrangement, guard []kv.Cond) error {
	var cond []kv.Cond
	var ops []kv.Op
	for _, s := range specs {
		i := slices.IndexFunc(there, func(o engine.NodeSpec) bool { return o.Key() == s.Key() })
		switch {
		case i >= 0 && slices.Contains(how.taken, there[i].Listen):
			same, op, err := p.readdress(ctx, s)
			if err != nil {
				return err
			}
			cond, ops = append(cond, same), append(ops, op)
		case i >= 0:
			if err := p.place(ctx, s, guard); err != nil {
				return err
			}
		case how.create(s.ID):
			b, err := engine.Encode(s)
			if err != nil {
				return fmt.Errorf("encode node %s: %w", s.Key(), err)
			}
			cond, ops = append(cond, kv.KeyMissing(s.Key())), append(ops, kv.Put(s.Key(), b))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	cond, ops = append(append(cond, guard...), kv.ModRevEquals(placementKey, rev)), append(ops, kv.Put(placementKey, []byte(specs[0].Cluster)))
	if _, err := p.store.Txn(ctx, cond, ops); err != nil {
		return fmt.Errorf("place nodes of %s: %w", specs[0].Cluster, err)
	}
	return nil
}

// placementKey changes whenever a broker is given a host and addresses, so that what two clusters are given at once is never the same.
const placementKey = "control/placement"

// placedAt is placed, with the revision at which nobody had given out other addresses.
func (p *Plane) placedAt(ctx context.Context, c Cluster, taken []string) (specs, there []engine.NodeSpec, rev int64, err error) {
	item, err := p.store.Get(ctx, placementKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, nil, 0, fmt.Errorf("read %s: %w", placementKey, err)
	}
	specs, there, err = p.placed(ctx, c, taken...)
	return specs, there, item.ModRev, err
}

// tidy removes specs that the cluster does not explain (C1).
func (p *Plane) tidy(ctx context.Context, c Cluster, specs, there []engine.NodeSpec, guard []kv.Cond) error {
	wanted := make(map[string]bool, len(specs))
	for _, s := range specs {
		wanted[s.Key()] = true
	}
	for _, s := range there {
		if s.Cluster != c.Name || s.Moved || wanted[s.Key()] {
			continue
		}
		if _, err := p.store.Txn(ctx, guard, []kv.Op{kv.Delete(s.Key())}); err != nil {
			return fmt.Errorf("remove node %s: %w", s.Key(), err)
		}
	}
	return nil
}

// place writes the spec of a node that there is.
func (p *Plane) place(ctx context.Context, s engine.NodeSpec, guard []kv.Cond) error {
	return p.edit(ctx, s.Key(), false, func(old *engine.NodeSpec) { *old = kept(s, *old) }, guard...)
}

// kept is a spec with what an operation has written into the one that there is.
func kept(s, old engine.NodeSpec) engine.NodeSpec {
	s.Stopped, s.Round, s.Drain, s.Count, s.Remove, s.Binary = old.Stopped, old.Round, old.Drain, old.Count, old.Remove, old.Binary
	s.Purge, s.Moved = old.Purge, old.Moved
	return started(s, old)
}

// started is the spec of a node of Apache Kafka with all that it was started with: that changes by operations, which restart one after the
// other, and not by a mend, by which the agents would restart all at once.
func started(s, old engine.NodeSpec) engine.NodeSpec {
	if old.Engine == engine.Standard {
		s.Voters, s.Version, s.Heap, s.Memory, s.Limits, s.Properties = old.Voters, old.Version, old.Heap, old.Memory, old.Limits, old.Properties
	}
	return s
}
