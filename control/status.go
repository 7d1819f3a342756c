package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/base/kv"
	"millrace/engine"
)

// Node is what should run, and what became of it.
type Node struct {
	Spec   engine.NodeSpec   `json:"spec"`
	Status engine.NodeStatus `json:"status"`         // the zero value: nothing was reported yet
	Lost   bool              `json:"lost,omitempty"` // its host has no agent: Status is old, and nothing asked for is done
}

// Ready says that the node serves, as the process that its spec asks for.
func (n Node) Ready() bool {
	return !n.Lost && n.Status.State == engine.Ready && n.Status.Round == n.Spec.Round && !n.Spec.Stopped
}

// Nodes returns the nodes of a cluster by broker id.
func (p *Plane) Nodes(ctx context.Context, cluster string) ([]Node, error) {
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	specs, err := p.specs(ctx)
	if err != nil {
		return nil, err
	}
	var nodes []Node
	for _, spec := range specs {
		if spec.Cluster != cluster {
			continue
		}
		n := Node{Spec: spec, Lost: !slices.ContainsFunc(hosts, func(h engine.Host) bool { return h.Name == spec.Host })}
		status, err := p.store.Get(ctx, n.Spec.StatusKey())
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return nil, fmt.Errorf("read %s: %w", n.Spec.StatusKey(), err)
		}
		if err == nil {
			if n.Status, err = engine.Decode[engine.NodeStatus](status.Value); err != nil {
				return nil, fmt.Errorf("%s: %w", n.Spec.StatusKey(), err)
			}
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return int(a.Spec.ID - b.Spec.ID) })
	return nodes, nil
}

// Readiness says which nodes of a cluster serve.
type Readiness struct {
	Ready   bool     // every node that should run serves
	Reasons []string // one line for each node that does not, and why
	Nodes   []Node   // what was looked at
}

// Readiness reads what the agents last reported of a cluster's nodes.
func (p *Plane) Readiness(ctx context.Context, cluster string) (Readiness, error) {
	nodes, err := p.Nodes(ctx, cluster)
	if err != nil {
		return Readiness{}, err
	}
	r := Readiness{Nodes: nodes}
	running := 0
	for _, n := range nodes {
		if n.Spec.Stopped {
			continue
		}
		running++
		if reason := n.reason(); reason != "" {
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
func (n Node) reason() string {
	switch {
	case n.Lost:
		return fmt.Sprintf("broker %d of cluster %s: %s", n.Spec.ID, n.Spec.Cluster, n.away())
	case n.Status.State == engine.Ready:
		return ""
	case n.Status.State == "":
		return fmt.Sprintf("broker %d of cluster %s: not started yet", n.Spec.ID, n.Spec.Cluster)
	}
	text := fmt.Sprintf("broker %d of cluster %s: %s", n.Spec.ID, n.Spec.Cluster, strings.ToLower(string(n.Status.State)))
	if n.Status.Message != "" {
		text += ": " + n.Status.Message
	}
	return text
}

// away says what became of a node whose host has no agent, and what to do.
func (n Node) away() string {
	return fmt.Sprintf("no agent looks after its host %s; start one there: millrace agent --name %s", n.Spec.Host, n.Spec.Host)
}

// lookEvery bounds how long a report that no watch has shown goes unseen.
const lookEvery = time.Second

// await looks at a cluster's nodes whenever a report comes in, and returns when
// done says so, with done's error, or when ctx ends.
func (p *Plane) await(ctx context.Context, cluster string, done func([]Node) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := p.store.Watch(ctx, engine.AllStatuses, 0)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		nodes, err := p.Nodes(ctx, cluster)
		if err != nil {
			return err
		}
		if ok, err := done(nodes); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case _, ok := <-changes:
			if !ok {
				changes = p.store.Watch(ctx, engine.AllStatuses, 0)
			}
		}
	}
}
