package control

import (
	"context"
	"errors"
	"fmt"

	"millrace/control/spec"
)

// healStandard places a node of Apache Kafka whose host is lost on another host of its zone, with its identity and an empty disk: one at a
// time, and only if what it had is elsewhere too (C22). Of an operation under way it places brokers elsewhere that the operation would
// wait for, and no controllers, since all nodes must be started anew to know where one is.
func (p *Plane) healStandard(ctx context.Context, c Cluster, ids []int32, hosts string) error {
	var why string
	for _, id := range ids {
		var err error
		if why, err = p.mayStop(ctx, c, id); err != nil {
			return err
		}
		if why != "" {
			continue
		}
		err = p.rehomes(ctx, c, []int32{id})
		if errors.Is(err, ErrSpec) {
			text := "no agent looks after host %s, and node %d finds no place in its zone: %v"
			return p.blame(ctx, c.Name, Fault{Code: faultNoPlace, Message: fmt.Sprintf(text, hosts, id, err)})
		}
		if err != nil {
			return err
		}
		if c.Operation != 0 && !p.waits(ctx, c) {
			if spec.Controller(id) {
				continue
			}
			p.log.Warn("host is lost during an operation, its broker is placed elsewhere", "cluster", c.Name, "hosts", hosts, "broker", id)
			return p.rehome(ctx, c, []int32{id})
		}
		_, err = p.Begin(ctx, c.Name, Request{Kind: Replace, Nodes: []int32{id}})
		if errors.Is(err, ErrBusy) || errors.Is(err, ErrState) || errors.Is(err, ErrNoCluster) || errors.Is(err, ErrLost) {
			return nil // that has changed the record, which brings us here again
		}
		return err
	}
	if why == "" {
		return nil
	}
	return p.blame(ctx, c.Name, Fault{Code: faultLost, Message: fmt.Sprintf("no agent looks after host %s, and its nodes have what nobody else has: %s", hosts, why)})
}

// spared waits until the nodes of lost hosts are not missed by the others, where they have replicas.
func (r *run) spared(ctx context.Context) error {
	if !r.cluster.Settings.Standard() {
		return nil
	}
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		for _, id := range r.step.Brokers {
			if n.Spec.ID != id || !n.Lost {
				continue
			}
			if err := r.allowed(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
