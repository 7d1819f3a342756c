package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/base/kv"
	"millrace/control/spec"
	"millrace/engine"
)

// Patience of steps.
const (
	settled         = 10 * time.Second // leaders that have not moved for so long are as even as they get
	upgradePatience = time.Minute      // for a broker to serve with another program
)

// do does one step.
func (r *run) do(ctx context.Context) error {
	switch r.step.Action {
	case spec.ActStart:
		return r.start(ctx)
	case spec.ActRestart:
		return r.restart(ctx)
	case spec.ActEven:
		return r.byEngine(ctx, r.even, r.elect)
	case spec.ActDrain:
		return r.byEngine(ctx, r.drain, r.drainStandard)
	case spec.ActStop:
		return r.byEngine(ctx, r.halt, r.haltStandard)
	case spec.ActRoll:
		return r.roll(ctx)
	case spec.ActSettle:
		return r.settled(ctx)
	case spec.ActSpread:
		return r.spreadStandard(ctx)
	case spec.ActLeave:
		return r.leave(ctx)
	case spec.ActFinish:
		return r.finish(ctx)
	case spec.ActResize:
		return r.resize(ctx)
	case spec.ActRemove:
		return r.remove(ctx)
	case spec.ActConfigure:
		return r.configure(ctx)
	case spec.ActRecord:
		return nil
	case spec.ActErase:
		return r.erase(ctx)
	case spec.ActPurge:
		return r.purge(ctx)
	case spec.ActHalt:
		return r.each(ctx, func(s *engine.NodeSpec) { s.Stopped = true })
	case spec.ActReplace:
		return r.replace(ctx)
	}
	return fmt.Errorf("%w: this version does not know the action %q", errRefused, r.step.Action)
}

// byEngine does what the cluster's engine needs.
func (r *run) byEngine(ctx context.Context, express, standard func(context.Context) error) error {
	if r.cluster.Settings.Standard() {
		return standard(ctx)
	}
	return express(ctx)
}

// spec is that of a broker; ok is false where there is none.
func (r *run) spec(ctx context.Context, id int32) (s engine.NodeSpec, ok bool, err error) {
	specs, err := r.plane.specs(ctx)
	if err != nil {
		return s, false, err
	}
	i := slices.IndexFunc(specs, func(s engine.NodeSpec) bool { return s.Cluster == r.op.Cluster && s.ID == id })
	if i < 0 {
		return s, false, nil
	}
	return specs[i], true, nil
}

// edit changes the spec of a broker, if there is one.
func (r *run) edit(ctx context.Context, id int32, change func(*engine.NodeSpec)) error {
	s, ok, err := r.spec(ctx, id)
	if err != nil || !ok {
		return err
	}
	return r.plane.edit(ctx, s.Key(), false, change)
}

// each changes the specs of the step's brokers.
func (r *run) each(ctx context.Context, change func(*engine.NodeSpec)) error {
	for _, id := range r.step.Brokers {
		if err := r.edit(ctx, id, change); err != nil {
			return err
		}
	}
	return nil
}

// serving waits until the brokers serve.
func (r *run) serving(ctx context.Context, brokers []int32) error {
	return r.plane.await(ctx, r.op.Cluster, func(nodes []Node) (bool, error) {
		var waiting []string
		for _, n := range nodes {
			if !slices.Contains(brokers, n.Spec.ID) || n.Ready() {
				continue
			}
			if n.Status.Refused != 0 && n.Status.Refused == n.Spec.Round && !n.Lost {
				return false, fmt.Errorf("%w: broker %d on host %s: %s", errUnusable, n.Spec.ID, n.Spec.Host, n.Status.Message)
			}
			if moves, err := r.moves(ctx, n); err != nil {
				return false, err
			} else if moves {
				return false, errTaken
			}
			waiting = append(waiting, waits(n))
		}
		if len(waiting) == 0 {
			r.step.Detail = ""
			return true, nil
		}
		return false, r.say(ctx, "%s", strings.Join(waiting, "; "))
	})
}

// waits says why a broker that should serve does not yet.
func waits(n Node) string {
	switch {
	case n.Lost:
		return fmt.Sprintf("broker %d: %s", n.Spec.ID, n.away())
	case n.Status.Round != n.Spec.Round:
		return fmt.Sprintf("broker %d hands over and stops", n.Spec.ID)
	case n.Status.Message != "":
		return fmt.Sprintf("broker %d: %s", n.Spec.ID, n.Status.Message)
	}
	return fmt.Sprintf("broker %d starts", n.Spec.ID)
}

func (r *run) start(ctx context.Context) error {
	if err := r.placed(ctx, r.target); err != nil {
		return err
	}
	if r.step.Back { // they were to leave
		if err := r.each(ctx, func(s *engine.NodeSpec) { s.Stopped, s.Remove = false, false }); err != nil {
			return err
		}
	}
	return r.patient(ctx, func(ctx context.Context) error { return r.up(ctx, r.target) })
}

// restart waits for the others first (C6). An upgraded broker that does not
// serve gets its former program back, and the operation ends.
func (r *run) restart(ctx context.Context) error {
	var others []int32
	for id := int32(1); int(id) <= r.cluster.Brokers; id++ {
		if !slices.Contains(r.step.Brokers, id) {
			others = append(others, id)
		}
	}
	if err := r.serving(ctx, others); err != nil {
		return err
	}
	switch r.op.Request.Kind {
	case Upgrade:
		return r.upgrade(ctx)
	case Update:
		if err := r.relogin(ctx, r.target); err != nil {
			return err
		}
		return r.patient(ctx, func(ctx context.Context) error { return r.serving(ctx, r.step.Brokers) })
	case Logins:
		if err := r.relogin(ctx, r.cluster); err != nil {
			return err
		}
	default:
		binary := r.cluster.Binary
		if err := r.each(ctx, func(s *engine.NodeSpec) { s.Round, s.Binary = r.op.Number, binary }); err != nil {
			return err
		}
	}
	return r.served(ctx, r.serving(ctx, r.step.Brokers))
}

// served makes of a program that a host refuses the end of the operation.
func (r *run) served(ctx context.Context, err error) error {
	if errors.Is(err, errUnusable) {
		return r.unchanged(ctx, err)
	}
	return err
}

// upgrade restarts the brokers with another program.
func (r *run) upgrade(ctx context.Context) error {
	binary := r.op.Request.Binary
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Round, s.Binary = r.op.Number, binary }); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, upgradePatience)
	defer cancel()
	err := r.serving(limited, r.step.Brokers)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return r.served(ctx, err)
	}
	cause := r.step.Detail
	// A round of its own: its report must not be taken for one of the new program where this is done twice.
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Round, s.Binary = -r.op.Number, r.cluster.Binary }); err != nil {
		return err
	}
	return fmt.Errorf("%w: with the new program, %s; it runs the former one again", errRefused, cause)
}

// relogin gives the step's brokers the program, the memory and the listeners that the cluster shall have, with the step's logins. A
// round for each pass: one that serves by the former pass is not done.
func (r *run) relogin(ctx context.Context, c Cluster) error {
	hosts, err := r.plane.Hosts(ctx)
	if err != nil {
		return err
	}
	public := make(map[string]string, len(hosts))
	for _, h := range hosts {
		public[h.Name] = c.PublicOf(h)
	}
	auth, round := cmp.Or(r.step.Auth, c.Auth), r.op.Number
	if r.step.First {
		round |= firstPass
	}
	if r.step.Back {
		round |= backPass
	}
	changed := r.each(ctx, func(s *engine.NodeSpec) {
		all, fault := spec.Listeners(auth, s.Listen, public[s.Host])
		if fault != nil {
			err = fmt.Errorf("%w: %w", errRefused, fault)
			return
		}
		s.Round, s.Auth, s.Listeners, s.Binary, s.Memory, s.Limits, s.Properties = round, auth, all, c.Binary, c.Memory, c.Limits, c.Properties
		if c.Listen == "" {
			s.Metrics = ""
			if c.Shows() {
				s.Metrics, err = spec.Above(s.Listen, spec.PortMetrics)
			}
		}
		s.Secure = c.SecureOf(auth)
		// Where nobody could log in before, nobody is refused until all can.
		s.Secure.Authorize = s.Secure.Authorize && (!r.step.First || Authorizes(r.cluster.Auth))
		s.Format = s.Least()
	})
	return errors.Join(err, changed)
}

// Rounds of an operation's first pass, and of what undoes one, are told from those of its last, and of all other operations.
const (
	firstPass = 1 << 40
	backPass  = 1 << 41
)

// errUnusable: a host cannot run the new program.
var errUnusable = errors.New("the program cannot be run on its host")

// unchanged gives the brokers the specs back that their processes run by: a host refused the new program and nothing was stopped.
func (r *run) unchanged(ctx context.Context, cause error) error {
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !slices.Contains(r.step.Brokers, n.Spec.ID) {
			continue
		}
		if err := r.edit(ctx, n.Spec.ID, func(s *engine.NodeSpec) { s.Round, s.Binary = n.Status.Round, r.cluster.Binary }); err != nil {
			return err
		}
	}
	return refused("ProgramNotUsable", fmt.Errorf("%w; it runs the former one", cause))
}

// errWitness: the broker that counts is gone; another can, when the step is done again.
var errWitness = errors.New("the broker that counts partitions is away")

// witness is the broker that counts: the first that serves and stays.
func (r *run) witness(ctx context.Context) (Node, error) {
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster)
	if err != nil {
		return Node{}, err
	}
	for _, n := range nodes {
		if n.Ready() && !slices.Contains(r.step.Brokers, n.Spec.ID) {
			return n, nil
		}
	}
	return Node{}, fmt.Errorf("%w: none serves", errWitness)
}

// count asks a witness who owns what, and calls done with each answer that it
// gives from now on until done says so. Nobody is asked any longer when it returns.
func (r *run) count(ctx context.Context, done func(owners map[int32]int) (bool, error)) error {
	w, err := r.witness(ctx)
	if err != nil {
		return err
	}
	item, err := r.plane.store.Get(ctx, w.Spec.Key())
	if err != nil {
		return fmt.Errorf("read node %s: %w", w.Spec.Key(), err)
	}
	number := item.ModRev + 1 // never used before, because the spec changes with it
	if err := r.plane.edit(ctx, w.Spec.Key(), false, func(s *engine.NodeSpec) { s.Count = number }); err != nil {
		return err
	}
	err = r.plane.await(ctx, r.op.Cluster, func(nodes []Node) (bool, error) {
		for _, n := range nodes {
			switch {
			case n.Spec.ID != w.Spec.ID:
			case n.Lost:
				return false, fmt.Errorf("%w: broker %d", errWitness, n.Spec.ID)
			case n.Ready() && n.Status.Counted == number:
				return done(n.Status.Owners)
			}
		}
		return false, nil
	})
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, r.uncount(ctx))
}

// uncount tells every broker to count no longer, one that was asked before a crash included.
func (r *run) uncount(ctx context.Context) error {
	specs, err := r.plane.specs(ctx)
	for _, s := range specs {
		if err == nil && s.Cluster == r.op.Cluster && s.Count != 0 {
			err = r.plane.edit(ctx, s.Key(), false, func(s *engine.NodeSpec) { s.Count = 0 })
		}
	}
	return err
}

// even is done when no broker leads more than a few partitions more than another,
// or when nothing has moved for a while.
func (r *run) even(ctx context.Context) error {
	var last map[int32]int
	var since time.Time
	nodes, err := r.plane.Nodes(ctx, r.op.Cluster) // fewer than there shall be, where others are still to come
	if err != nil {
		return err
	}
	return r.count(ctx, func(owners map[int32]int) (bool, error) {
		if !maps.Equal(last, owners) {
			last, since = maps.Clone(owners), r.plane.clock.Now()
		}
		if balanced(owners, len(nodes)) {
			return true, r.say(ctx, "%s", spread(owners))
		}
		if r.plane.clock.Now().Sub(since) >= settled {
			return true, r.say(ctx, "%s; nothing moves any more", spread(owners))
		}
		return false, r.say(ctx, "%s", spread(owners))
	})
}

// balanced says that the brokers 1 to n lead about as many partitions each: as
// even as the express controller makes them.
func balanced(owners map[int32]int, n int) bool {
	const few, share = 2, 10 // difference that is left alone, and the part of the mean
	least, most, total := owners[1], owners[1], 0
	for id := int32(1); int(id) <= n; id++ {
		least, most = min(least, owners[id]), max(most, owners[id])
		total += owners[id]
	}
	starved := least == 0 && total > n
	return most-least <= max(few, total/n/share) && !starved
}

// spread is for people: "leaders: 12, 11, 12".
func spread(owners map[int32]int) string {
	var b strings.Builder
	b.WriteString("leaders: ")
	for i, id := range slices.Sorted(maps.Keys(owners)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d", owners[id])
	}
	return b.String()
}

// owned is how many partitions the step's brokers own together.
func (r *run) owned(owners map[int32]int) (n int) {
	for _, id := range r.step.Brokers {
		n += owners[id]
	}
	return n
}

func (r *run) drain(ctx context.Context) error {
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Drain = true }); err != nil {
		return err
	}
	return r.emptied(ctx)
}

// emptied waits until the step's brokers own nothing.
func (r *run) emptied(ctx context.Context) error {
	return r.count(ctx, func(owners map[int32]int) (bool, error) {
		left := r.owned(owners)
		if left == 0 {
			return true, r.say(ctx, "none left")
		}
		return false, r.say(ctx, "%d left", left)
	})
}

// halt stops the brokers and looks again. Something may have come to one in its
// last moments, by somebody who did not know yet that it leaves: then it must
// run on until that is gone too.
func (r *run) halt(ctx context.Context) error {
	for {
		if err := r.each(ctx, func(s *engine.NodeSpec) { s.Drain, s.Stopped = true, true }); err != nil {
			return err
		}
		if err := r.reported(ctx, engine.Stopped); err != nil {
			return err
		}
		left := 0
		err := r.count(ctx, func(owners map[int32]int) (bool, error) {
			left = r.owned(owners)
			return true, nil
		})
		if err != nil || left == 0 {
			return err
		}
		r.plane.log.Warn("stopped brokers own partitions, they are started again", "cluster", r.op.Cluster, "brokers", r.step.Brokers, "partitions", left)
		if err := r.each(ctx, func(s *engine.NodeSpec) { s.Stopped = false }); err != nil {
			return err
		}
		if err := r.emptied(ctx); err != nil {
			return err
		}
	}
}

// reported waits until the agents have reported a state of all the step's
// brokers, or a later one.
func (r *run) reported(ctx context.Context, state engine.NodeState) error {
	return r.plane.await(ctx, r.op.Cluster, func(nodes []Node) (bool, error) {
		for _, n := range nodes {
			if !slices.Contains(r.step.Brokers, n.Spec.ID) || n.Status.State == state || n.Status.State == engine.Removed {
				continue
			}
			if n.Lost {
				return false, r.say(ctx, "broker %d: %s", n.Spec.ID, n.away())
			}
			if n.Status.Message != "" {
				return false, r.say(ctx, "broker %d: %s", n.Spec.ID, n.Status.Message)
			}
			return false, nil
		}
		return true, nil
	})
}

func (r *run) remove(ctx context.Context) error {
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Stopped, s.Remove = true, true }); err != nil {
		return err
	}
	if err := r.reported(ctx, engine.Removed); err != nil {
		return err
	}
	return r.forget(ctx)
}

// forget removes the specs of the step's brokers, of which nothing is left.
func (r *run) forget(ctx context.Context) error {
	for _, id := range r.step.Brokers {
		spec, ok, err := r.spec(ctx, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		// The agent may write the status once more when its supervisor ends; that says what is true.
		if _, err := r.plane.store.Txn(ctx, nil, []kv.Op{kv.Delete(spec.Key()), kv.Delete(spec.StatusKey())}); err != nil {
			return fmt.Errorf("remove node %s: %w", spec.Key(), err)
		}
	}
	return nil
}
