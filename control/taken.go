package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"millrace/base/kv"
	"millrace/control/spec"
	"millrace/engine"
)

// mostTaken is how many addresses of a step may turn out to be another program's before it fails: a range that somebody else uses is not
// searched for ever.
const mostTaken = 16

// errTaken: brokers were given addresses at which another program listens; the step notes them, and others are to be given.
var errTaken = errors.New("another program listens there")

// placed gives the step's brokers hosts and addresses, none at which another program was found (C17).
func (r *run) placed(ctx context.Context, c Cluster) error {
	create := func(id int32) bool { return slices.Contains(r.step.Brokers, id) }
	err := r.plane.arrange(ctx, c, arrangement{create: create, taken: r.step.Taken})
	if errors.Is(err, ErrSpec) {
		return refused("BrokersNotPlaced", err)
	}
	return err
}

// up waits until the step's brokers serve, and has those that find their ports in use listen elsewhere, so that a port that somebody holds
// costs a moment and not the operation.
func (r *run) up(ctx context.Context, c Cluster) error {
	for {
		err := r.serving(ctx, r.step.Brokers)
		if !errors.Is(err, errTaken) {
			return err
		}
		if err := r.placed(ctx, c); err != nil {
			return err
		}
	}
}

// moves notes, in the operation's record, that the address of a broker is another program's. It says no where the broker's address is
// told, or serves already, or enough have been tried.
func (r *run) moves(ctx context.Context, n Node) (bool, error) {
	starts := r.step.Action == spec.ActStart || r.step.Action == spec.ActReplace
	if !starts || r.cluster.Listen != "" || n.Lost || !refusedAddress(n) || len(r.step.Taken) >= mostTaken || slices.Contains(r.step.Taken, n.Spec.Listen) {
		return false, nil
	}
	r.plane.log.Warn("another program listens where a broker should", "cluster", r.op.Cluster, "broker", n.Spec.ID, "address", n.Spec.Listen)
	r.step.Taken = append(slices.Clone(r.step.Taken), n.Spec.Listen)
	return true, r.save(ctx)
}

// refusedAddress says that the agent could not start a broker because one of the addresses of its spec is in use. A report of addresses that it
// had before names none of these.
func refusedAddress(n Node) bool {
	return n.Status.State == engine.Failed && strings.Contains(n.Status.Message, syscall.EADDRINUSE.Error()) &&
		slices.ContainsFunc(n.Spec.Addresses(), func(a string) bool { return strings.Contains(n.Status.Message, a+":") })
}

// readdress is the write that has a broker listen where s says and not where it did.
func (p *Plane) readdress(ctx context.Context, s engine.NodeSpec) (kv.Cond, kv.Op, error) {
	item, err := p.store.Get(ctx, s.Key())
	if err != nil {
		return kv.Cond{}, kv.Op{}, fmt.Errorf("read node %s: %w", s.Key(), err)
	}
	old, err := engine.Decode[engine.NodeSpec](item.Value)
	if err != nil {
		return kv.Cond{}, kv.Op{}, fmt.Errorf("read node %s: %w", s.Key(), err)
	}
	b, err := engine.Encode(kept(s, old))
	return kv.ModRevEquals(s.Key(), item.ModRev), kv.Put(s.Key(), b), err
}
