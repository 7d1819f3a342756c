package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/control/spec"
	"millrace/engine"
)

// ErrRefused: a Warden says that what was asked for cannot be, however often it is asked for; the message says why.
var ErrRefused = errors.New("the cluster cannot do that")

// Warden tells of a cluster of Apache Kafka what reports of agents do not show, and moves its replicas. Safe for concurrent use; ctx bounds
// each call; errors are temporary unless they match ErrRefused. What changes something may be asked for again after it was done.
type Warden interface {
	// Order is the order in which nodes are started anew: unready controllers, ready controllers (the active one last), unready brokers, ready
	// brokers.
	Order(ctx context.Context, t engine.Target, nodes []int32) ([]int32, error)
	// MayStop says why a node must not stop now; "": it may.
	MayStop(ctx context.Context, t engine.Target, node int32) (why string, err error)
	// Settled says what is not yet as before a restart; "": all is.
	Settled(ctx context.Context, t engine.Target) (why string, err error)
	// Elect gives partitions back to their preferred leaders where they are in sync; left is how many are elsewhere.
	Elect(ctx context.Context, t engine.Target) (left int, err error)
	// Drain moves the replicas of brokers to the others; it is called again until left is 0.
	Drain(ctx context.Context, t engine.Target, brokers []int32) (left int, err error)
	// Spread moves replicas so that brokers that were added, or stay after all, carry their share; it is called again until left is 0.
	Spread(ctx context.Context, t engine.Target) (left int, err error)
	// Leave takes a broker that is stopped and empty out of the cluster's records.
	Leave(ctx context.Context, t engine.Target, broker int32) error
	// Finish raises the feature levels to those of a version, after which there is no way back.
	Finish(ctx context.Context, t engine.Target, version string) error
	// Apply changes properties dynamically where Kafka lets them be, and returns those that need a start. An empty value takes back what an
	// earlier call has set.
	Apply(ctx context.Context, t engine.Target, properties map[string]string) (needStart []string, err error)
}

// Used says how many bytes the brokers of a cluster of Apache Kafka keep, by their ids.
type Used func(ctx context.Context, t engine.Target) (map[int32]int64, error)

// asked is where a cluster of Apache Kafka can be asked.
func (p *Plane) asked(ctx context.Context, c Cluster) (engine.Target, error) {
	nodes, err := p.Nodes(ctx, c.Name)
	if err != nil {
		return engine.Target{}, err
	}
	t := engine.Target{Cluster: c.Name, Zones: map[int32]string{}}
	if c.Auth != "" {
		t.TLS = p.options.TLS
	}
	for _, n := range nodes {
		if n.Spec.Role == engine.Controller {
			t.Controllers = append(t.Controllers, n.Spec.Listen)
			continue
		}
		if !n.Spec.Stopped {
			t.Bootstrap = append(t.Bootstrap, n.Spec.Inside().Told())
		}
		if !n.Spec.Drain {
			t.Zones[n.Spec.ID] = n.Spec.Zone
		}
	}
	return t, nil
}

// mayStop asks for a node's leave to stop; why says that nobody could be asked, too.
func (p *Plane) mayStop(ctx context.Context, c Cluster, node int32) (why string, err error) {
	t, err := p.asked(ctx, c)
	if err != nil {
		return "", err
	}
	why, err = p.options.Warden.MayStop(ctx, t, node)
	if err != nil && ctx.Err() == nil {
		return "it cannot be told: " + err.Error(), nil
	}
	return why, err
}

// Pauses between two questions to a Warden that has said no, or could not say.
const (
	firstAsk = 500 * time.Millisecond
	lastAsk  = 15 * time.Second
)

// insist asks until there is nothing left to wait for, with longer and longer pauses, and shows in the step what it waits for. What is
// refused for good ends the operation with the code.
func (r *run) insist(ctx context.Context, code string, ask func(context.Context, engine.Target) (why string, err error)) error {
	wait := firstAsk
	for {
		t, err := r.plane.asked(ctx, r.cluster)
		if err != nil {
			return err
		}
		why, err := ask(ctx, t)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrRefused):
			return refused(code, err)
		case err != nil:
			why = err.Error()
		case why == "":
			return nil
		}
		if err := r.say(ctx, "%s", why); err != nil {
			return err
		}
		pause(ctx, wait)
		wait = min(2*wait, lastAsk)
	}
}

// left says how much there is still to move.
func left(n int, err error) (string, error) {
	if n == 0 || err != nil {
		return "", err
	}
	return fmt.Sprintf("%d replicas left", n), nil
}

// drainStandard has the replicas of brokers that leave moved to the others.
func (r *run) drainStandard(ctx context.Context) error {
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Drain = true }); err != nil {
		return err
	}
	return r.insist(ctx, "BrokersNotDrained", func(ctx context.Context, t engine.Target) (string, error) {
		return left(r.plane.options.Warden.Drain(ctx, t, r.step.Brokers))
	})
}

// spreadStandard has brokers carry their share. Those of the step may have been told to leave before.
func (r *run) spreadStandard(ctx context.Context) error {
	if err := r.each(ctx, func(s *engine.NodeSpec) { s.Drain = false }); err != nil {
		return err
	}
	return r.insist(ctx, "ReplicasNotMoved", func(ctx context.Context, t engine.Target) (string, error) {
		return left(r.plane.options.Warden.Spread(ctx, t))
	})
}

// haltStandard stops brokers that have given everything away, one at a time. A topic may have come to one after it was asked: then it runs
// on until that is gone too (C21).
func (r *run) haltStandard(ctx context.Context) error {
	for {
		for _, id := range r.step.Brokers {
			if s, ok, err := r.spec(ctx, id); err != nil || !ok || s.Stopped {
				if err != nil {
					return err
				}
				continue
			}
			if err := r.allowed(ctx, id); err != nil {
				return err
			}
			if err := r.edit(ctx, id, func(s *engine.NodeSpec) { s.Drain, s.Stopped = true, true }); err != nil {
				return err
			}
		}
		if err := r.reported(ctx, engine.Stopped); err != nil {
			return err
		}
		t, err := r.plane.asked(ctx, r.cluster)
		if err != nil {
			return err
		}
		n, err := r.plane.options.Warden.Drain(ctx, t, r.step.Brokers)
		if err != nil || n == 0 {
			return err
		}
		r.plane.log.Warn("stopped brokers have replicas, they are started again", "cluster", r.op.Cluster, "brokers", r.step.Brokers, "replicas", n)
		if err := r.each(ctx, func(s *engine.NodeSpec) { s.Stopped = false }); err != nil {
			return err
		}
		if err := r.serving(ctx, r.step.Brokers); err != nil {
			return err
		}
		if err := r.drainStandard(ctx); err != nil {
			return err
		}
	}
}

// allowed waits until a node may stop (C20).
func (r *run) allowed(ctx context.Context, id int32) error {
	return r.bounded(ctx, codeMustNotStop, func(ctx context.Context) error {
		return r.insist(ctx, codeMustNotStop, func(ctx context.Context, t engine.Target) (string, error) {
			why, err := r.plane.options.Warden.MayStop(ctx, t, id)
			if why != "" {
				why = fmt.Sprintf("node %d must not stop now: %s", id, why)
			}
			return why, err
		})
	})
}

// settled waits until all replicas and controllers are in step.
func (r *run) settled(ctx context.Context) error {
	return r.bounded(ctx, "ReplicasNotInSync", func(ctx context.Context) error {
		return r.insist(ctx, "ReplicasNotInSync", r.plane.options.Warden.Settled)
	})
}

// leave has brokers of which nothing is left forgotten.
func (r *run) leave(ctx context.Context) error {
	for _, id := range r.step.Brokers {
		err := r.insist(ctx, "BrokersNotForgotten", func(ctx context.Context, t engine.Target) (string, error) {
			return "", r.plane.options.Warden.Leave(ctx, t, id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finish raises what a version has, when every node runs it.
func (r *run) finish(ctx context.Context) error {
	return r.insist(ctx, "UpgradeNotFinished", func(ctx context.Context, t engine.Target) (string, error) {
		return "", r.plane.options.Warden.Finish(ctx, t, r.op.After.KafkaVersion)
	})
}

// elect gives partitions back to their preferred leaders. Those whose preferred leader is away stay where they are, which is no reason to
// wait for ever.
func (r *run) elect(ctx context.Context) error {
	last, since := -1, r.plane.clock.Now()
	return r.insist(ctx, "LeadersNotEven", func(ctx context.Context, t engine.Target) (string, error) {
		n, err := r.plane.options.Warden.Elect(ctx, t)
		if n != last {
			last, since = n, r.plane.clock.Now()
		}
		if err == nil && (n == 0 || r.plane.clock.Now().Sub(since) >= settled) {
			return "", nil
		}
		return fmt.Sprintf("%d partitions are not led by their first replica", n), err
	})
}

// configureStandard changes what Kafka lets be changed while it runs. Where that is all there is to it, the restarts that follow are none.
func (r *run) configureStandard(ctx context.Context) error {
	before, after := parse(r.cluster.Properties), parse(r.target.Properties)
	if r.step.Back {
		all, err := r.plane.told(ctx, r.cluster, *r.op.After)
		if err != nil {
			return err
		}
		before = parse(all.Properties)
	}
	changed := map[string]string{}
	for name, value := range after {
		if before[name] != value {
			changed[name] = value
		}
	}
	again := false
	for name := range before {
		if _, stays := after[name]; !stays {
			changed[name], again = "", true // only a start without it brings the default back
		}
	}
	err := r.insist(ctx, "ConfigurationNotApplied", func(ctx context.Context, t engine.Target) (string, error) {
		needs, err := r.plane.options.Warden.Apply(ctx, t, changed)
		again = again || len(needs) > 0
		return "", err
	})
	if err != nil || again || r.step.Back {
		return err
	}
	for i := range r.op.Steps {
		if s := &r.op.Steps[i]; s.State == Pending && s.Action == spec.ActRoll && !r.othersDiffer() {
			s.Live = true
		}
	}
	return r.save(ctx)
}

// othersDiffer says that an Update changes more of what nodes are started with than their properties.
func (r *run) othersDiffer() bool {
	a, b := r.cluster, r.target
	return a.Auth != b.Auth || a.Memory != b.Memory || a.Heap != b.Heap || a.Limits != b.Limits || a.Public() != b.Public() ||
		a.Settings.KafkaVersion != b.Settings.KafkaVersion
}

// parse reads lines "key=value".
func parse(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			all[name] = value
		}
	}
	return all
}

// shrinks says why volumes cannot be made so small: what is in them must fit, with room to go on.
func (p *Plane) shrinks(ctx context.Context, c Cluster, to Settings) error {
	const full = 85 // percent at which a volume would be too full from the beginning
	if !to.Standard() || to.VolumeGiB == 0 || c.Settings.VolumeGiB != 0 && to.VolumeGiB >= c.Settings.VolumeGiB {
		return nil
	}
	if p.options.Used == nil {
		return fmt.Errorf("%w: volumes of %d GiB cannot become smaller here", ErrSpec, c.Settings.VolumeGiB)
	}
	t, err := p.asked(ctx, c)
	if err != nil {
		return err
	}
	used, err := p.options.Used(ctx, t)
	if err != nil {
		return fmt.Errorf("what the volumes of cluster %s hold: %w", c.Name, err)
	}
	var faults []error
	for _, id := range spec.IDs(1, c.Brokers) {
		bytes, known := used[id]
		if !known || bytes > int64(to.VolumeGiB)<<30*full/100 {
			faults = append(faults, fmt.Errorf("%w: broker %d keeps %d bytes, too many for a volume of %d GiB", ErrSpec, id, bytes, to.VolumeGiB))
		}
	}
	return errors.Join(slices.Clip(faults)...)
}
