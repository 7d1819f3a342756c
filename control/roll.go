package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"millrace/control/spec"
	"millrace/engine"
)

// roll starts the step's nodes of Apache Kafka anew, one at a time: which is next is asked anew each time, for the active controller may be
// another by then. A node that has the step's round is done, so a roll that was broken off goes on where it was.
func (r *run) roll(ctx context.Context) error {
	change, err := r.renewal(ctx)
	if err != nil {
		return err
	}
	if r.step.Live {
		return r.each(ctx, func(s *engine.NodeSpec) { round := s.Round; change(s); s.Round = round })
	}
	for {
		nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
		if err != nil {
			return err
		}
		todo := r.todo(nodes)
		if len(todo) == 0 {
			return r.steady(ctx)
		}
		if err := r.rollOne(ctx, todo, change); err != nil {
			return err
		}
	}
}

// todo are the nodes that the roll has not come to. What undoes one goes only back where it came to.
func (r *run) todo(nodes []Node) (ids []int32) {
	forward := r.round()
	if r.step.Back {
		forward &^= backPass
	}
	for _, n := range nodes {
		if !slices.Contains(r.step.Brokers, n.Spec.ID) || n.Spec.Round == r.round() {
			continue
		}
		if !r.step.Back || n.Spec.Round&^firstPass == forward&^firstPass {
			ids = append(ids, n.Spec.ID)
		}
	}
	return ids
}

// rollOne starts the next node anew. One that runs is stopped only when all others serve, everything is in sync and nothing would be lost
// by it (C19, C20); one that does not is not missed.
func (r *run) rollOne(ctx context.Context, todo []int32, change func(*engine.NodeSpec)) error {
	progress := fmt.Sprintf("%d of %d done", len(r.step.Brokers)-len(todo), len(r.step.Brokers))
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
	if err != nil {
		return err
	}
	down := func(n Node) bool { return n.Status.State == engine.Failed && !n.Lost }
	if i := slices.IndexFunc(nodes, func(n Node) bool { return slices.Contains(todo, n.Spec.ID) && down(n) }); i >= 0 {
		todo = []int32{nodes[i].Spec.ID}
	}
	next := todo[0]
	err = r.insist(ctx, "NodesNotOrdered", func(ctx context.Context, t engine.Target) (string, error) {
		order, err := r.plane.options.Warden.Order(ctx, t, todo)
		if err == nil && len(order) > 0 && slices.Contains(todo, order[0]) {
			next = order[0]
		}
		return "", err
	})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Spec.ID == next })
	if i < 0 {
		return nil
	}
	if !down(nodes[i]) {
		if err := r.steady(ctx); err != nil {
			return err
		}
		if err := r.allowed(ctx, next); err != nil {
			return err
		}
	}
	if err := r.say(ctx, "%s, node %d is next", progress, next); err != nil {
		return err
	}
	if err := r.edit(ctx, next, change); err != nil {
		return err
	}
	return r.patient(ctx, func(ctx context.Context) error { return r.serving(ctx, []int32{next}) })
}

// steady waits until all nodes serve and all replicas and controllers are in step.
func (r *run) steady(ctx context.Context) error {
	all := append(r.cluster.ControllerIDs(), spec.IDs(1, r.cluster.Brokers)...)
	err := r.bounded(ctx, "BrokersNotServing", func(ctx context.Context) error { return r.serving(ctx, all) })
	if err != nil {
		return err
	}
	return r.settled(ctx)
}

// round is that of the step's restarts: an operation's first pass, and what undoes one, are told from its last.
func (r *run) round() int64 {
	round := r.op.Number
	if r.step.First {
		round |= firstPass
	}
	if r.step.Back {
		round |= backPass
	}
	return round
}

// renewal is the change that gives a node of Apache Kafka what it shall be: program, sizes, logins, and where the controllers are.
func (r *run) renewal(ctx context.Context) (func(*engine.NodeSpec), error) {
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
	if err != nil {
		return nil, err
	}
	hosts, err := r.plane.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	c, at := r.target, map[int32][]engine.Listener{}
	auth := func(s engine.NodeSpec) string {
		if r.op.Request.Kind == Logins {
			return cmp.Or(r.step.Auth, r.op.Request.Auth)
		}
		return cmp.Or(r.step.Auth, c.Auth)
	}
	var voters []engine.Voter
	for _, n := range nodes {
		if n.Spec.Role == engine.Controller {
			voters = append(voters, engine.Voter{ID: n.Spec.ID, Address: n.Spec.Listen})
		}
		h := engine.Host{}
		if i := slices.IndexFunc(hosts, func(h engine.Host) bool { return h.Name == n.Spec.Host }); i >= 0 {
			h = hosts[i]
		}
		if at[n.Spec.ID], err = c.NodeListeners(n.Spec.ID, auth(n.Spec), n.Spec.Listen, c.PublicOf(h)); err != nil {
			return nil, fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	return func(s *engine.NodeSpec) {
		s.Round, s.Auth, s.Listeners, s.Voters = r.round(), auth(*s), at[s.ID], voters
		s.Binary, s.Memory, s.Limits, s.Properties, s.Stopped = c.Binary, c.Memory, c.Limits, c.Properties, false
		s.Secure = c.SecureOf(s.Auth)
		s.Secure.Authorize = s.Secure.Authorize && (!r.step.First || Authorizes(r.cluster.Auth))
		c.Tell(s)
		s.Format = s.Least()
	}, nil
}

// resize gives brokers volumes of another size. Their data lie in a directory, which is watched and not cut, so nothing has to move.
func (r *run) resize(ctx context.Context) error {
	volume := int64(r.target.Settings.VolumeGiB) << 30
	return r.each(ctx, func(s *engine.NodeSpec) { s.Volume = volume })
}
