package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/base/kv"
	"millrace/control/place"
	"millrace/control/spec"
	"millrace/engine"
)

// driftsKept is how many mends a cluster's record tells of.
const driftsKept = 8

// reconcile keeps what is there as the records say, until ctx ends: whenever a host, a cluster, a spec or a report changes, it mends
// specs that differ, removes what moved brokers have left, and places the brokers of lost hosts elsewhere when their time is up.
func (p *Plane) reconcile(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	kick := make(chan struct{}, 1)
	wake := func() {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
	for _, prefix := range []string{engine.HostPrefix, clusterPrefix, engine.AllSpecs, engine.AllStatuses} {
		wait.Go(func() { p.wakeAt(ctx, prefix, wake) })
	}
	lost := absences{}
	for {
		began := p.clock.Now()
		next, err := p.look(ctx, lost)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("what is there could not be compared with what shall be, trying again", "err", err)
			next = retryPause
		}
		// Where there is much to compare, and changes come all the time, most of the time is for others.
		pause(ctx, restShare*p.clock.Now().Sub(began))
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// restShare is how much longer reconcile rests than it works.
const restShare = 4

// wakeAt calls wake at each change below a prefix.
func (p *Plane) wakeAt(ctx context.Context, prefix string, wake func()) {
	for ctx.Err() == nil {
		err := kv.Follow(ctx, p.store, prefix, func([]kv.Item, int64) error { wake(); return nil }, func(kv.Event) error { wake(); return nil })
		if ctx.Err() == nil {
			p.log.Warn("changes could not be followed, trying again", "prefix", prefix, "err", err)
			pause(ctx, retryPause)
		}
	}
}

// lookAgain is when reconcile looks though nothing has changed.
const lookAgain = time.Minute

// look is one round of reconcile; next is until something is due.
func (p *Plane) look(ctx context.Context, lost absences) (next time.Duration, err error) {
	if err := p.sweep(ctx); err != nil {
		return 0, err
	}
	clusters, err := p.Clusters(ctx)
	if err != nil {
		return 0, err
	}
	if err := p.mendAll(ctx, clusters); err != nil {
		return 0, err
	}
	due, err := p.heal(ctx, clusters, lost)
	if err != nil {
		return 0, err
	}
	for _, c := range clusters {
		wait, err := p.patch(ctx, c)
		if err != nil {
			return 0, err
		}
		due = min(due, wait)
	}
	return min(due, lookAgain), nil
}

// patch begins to start brokers anew that run by another release than their hosts have, in the maintenance window; next is until that
// opens. A cluster without a window is not patched, nor one that was given a program of its own.
func (p *Plane) patch(ctx context.Context, c Cluster) (next time.Duration, err error) {
	if !quiet(c) || c.Settings.Standard() || c.Settings.Window == "" || c.Binary != "" || p.options.Release == "" || c.Release == p.options.Release {
		return lookAgain, nil
	}
	if wait := opens(c.Settings, p.clock.Now()); wait > 0 {
		return wait, nil
	}
	nodes, err := p.HostStates(ctx, c.Name)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(nodes, func(h HostState) bool { return len(h.Nodes) > 0 && (h.Lost || h.Host.Version != p.options.Release) }) {
		return lookAgain, nil
	}
	_, err = p.Begin(ctx, c.Name, Request{Kind: Patch})
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrState) || errors.Is(err, ErrNoCluster) || errors.Is(err, ErrLost) {
		err = nil
	}
	return lookAgain, err
}

// sweep removes the specs of brokers that have moved, once their former host has nothing of them any more.
func (p *Plane) sweep(ctx context.Context) error {
	items, _, err := p.store.List(ctx, engine.AllSpecs)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, item := range items {
		s, err := engine.Decode[engine.NodeSpec](item.Value)
		if err != nil || !s.Moved {
			continue // what cannot be read is for a newer control plane
		}
		status, err := p.store.Get(ctx, s.StatusKey())
		if errors.Is(err, kv.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.StatusKey(), err)
		}
		if st, err := engine.Decode[engine.NodeStatus](status.Value); err != nil || st.State != engine.Removed {
			continue
		}
		_, err = p.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(item.Key, item.ModRev)}, []kv.Op{kv.Delete(item.Key), kv.Delete(s.StatusKey())})
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("remove node %s: %w", item.Key, err)
		}
		p.log.Info("former host of a broker is clean", "cluster", s.Cluster, "broker", s.ID, "host", s.Host)
	}
	return nil
}

// mendAll mends the clusters that differ from their records by what was there a moment ago.
func (p *Plane) mendAll(ctx context.Context, clusters []Cluster) error {
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return err
	}
	there, err := p.allSpecs(ctx)
	if err != nil {
		return err
	}
	lent := slices.Clone(hosts)
	p.lendPorts(lent)
	for _, c := range clusters {
		if !quiet(c) {
			continue
		}
		at := hosts
		if c.Listen == "" {
			at = lent
		}
		specs, err := place.Brokers(c, at, there)
		if err == nil && len(drift(c, specs, there)) == 0 {
			continue
		}
		if err := p.mend(ctx, c.Name); err != nil {
			return err
		}
	}
	return nil
}

// mend brings the specs of a cluster to what its record says, where no operation is under way (C15), and tells.
func (p *Plane) mend(ctx context.Context, name string) error {
	c, rev, err := p.read(ctx, name)
	if errors.Is(err, ErrNoCluster) || err == nil && !quiet(c) {
		return nil
	}
	if err != nil {
		return err
	}
	specs, there, err := p.placed(ctx, c)
	if errors.Is(err, ErrSpec) {
		p.log.Error("brokers find no address", "cluster", c.Name, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	drifts := drift(c, specs, there)
	if len(drifts) == 0 {
		return nil
	}
	guard := kv.ModRevEquals(clusterKey(name), rev)
	err = p.arrange(ctx, c, arrangement{create: func(int32) bool { return true }, tidy: true}, guard)
	for _, s := range specs {
		if err == nil {
			err = p.edit(ctx, s.Key(), false, func(s *engine.NodeSpec) {
				s.Stopped, s.Drain, s.Remove, s.Purge, s.Count = false, false, false, false, 0
			}, guard)
		}
	}
	if errors.Is(err, kv.ErrConflict) || errors.Is(err, ErrSpec) {
		return nil // the record has changed, which brings us here again; or a host has gone
	}
	if err != nil {
		return err
	}
	for _, d := range drifts {
		p.log.Warn("node differed from its cluster's record, mended", "cluster", name, "what", d.Code, "node", d.Message)
	}
	c.Drift = append(slices.Clone(c.Drift), drifts...)
	c.Drift = c.Drift[max(len(c.Drift)-driftsKept, 0):]
	if err := p.save(ctx, c, rev); err != nil && !errors.Is(err, kv.ErrConflict) {
		return err
	}
	return nil
}

// quiet says that the cluster's record is all that says what its brokers shall be.
func quiet(c Cluster) bool {
	return c.Operation == 0 && (c.Phase == Active || c.Phase == "") && (c.Wanted == 0 || c.Wanted == c.Brokers) && c.WantedAuth == ""
}

// drift is how the specs that are there differ from those that there shall be.
func drift(c Cluster, specs, there []engine.NodeSpec) (all []Fault) {
	tell := func(code string, s engine.NodeSpec) { all = append(all, Fault{Code: code, Message: s.Key()}) }
	wanted := map[string]bool{}
	for _, s := range specs {
		wanted[s.Key()] = true
		i := slices.IndexFunc(there, func(o engine.NodeSpec) bool { return o.Key() == s.Key() })
		if i < 0 {
			tell("SpecMissing", s)
			continue
		}
		s.Round, s.Binary = there[i].Round, there[i].Binary // of the last operation
		s = started(s, there[i])
		if !spec.Same(s, there[i]) {
			tell("SpecChanged", s)
		}
	}
	for _, o := range there {
		if o.Cluster == c.Name && !o.Moved && !wanted[o.Key()] {
			tell("SpecUnexplained", o)
		}
	}
	return all
}

// absences are since when hosts that have brokers have no agent.
type absences map[string]time.Time

// heal places the brokers of hosts that have been away for too long elsewhere (C14), and says of those that cannot be. It returns
// how long it is until the next host is due.
func (p *Plane) heal(ctx context.Context, clusters []Cluster, lost absences) (next time.Duration, err error) {
	next = lookAgain
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return next, err
	}
	specs, err := p.specs(ctx)
	if err != nil {
		return next, err
	}
	live := func(host string) bool {
		return slices.ContainsFunc(hosts, func(h engine.Host) bool { return h.Name == host })
	}
	maps.DeleteFunc(lost, func(host string, _ time.Time) bool { return live(host) })
	now := p.clock.Now()
	away := map[string]bool{}
	for _, s := range specs {
		if live(s.Host) {
			continue
		}
		if _, known := lost[s.Host]; !known {
			lost[s.Host] = now
		}
		left := p.options.Away - now.Sub(lost[s.Host])
		if away[s.Host] = left <= 0; left > 0 {
			next = min(next, left)
		}
	}
	for _, c := range clusters {
		var ids []int32
		var names []string
		for _, s := range specs {
			if s.Cluster == c.Name && away[s.Host] {
				ids, names = append(ids, s.ID), append(names, s.Host)
			}
		}
		if err := p.healCluster(ctx, c, ids, names); err != nil {
			return next, err
		}
	}
	return next, nil
}

// Codes of what keeps a cluster from being healed.
const (
	faultLost    = "HostLost"       // logs are on the disk of a host that is away
	faultNoPlace = "HostLostNoRoom" // no other host has room
)

func (p *Plane) healCluster(ctx context.Context, c Cluster, ids []int32, hosts []string) error {
	slices.Sort(hosts)
	who := strings.Join(slices.Compact(hosts), ", ")
	switch {
	case c.Phase == Deleting || c.Phase == Broken:
		return nil
	case len(ids) == 0:
		if c.Fault.Code == faultLost || c.Fault.Code == faultNoPlace {
			return p.blame(ctx, c.Name, Fault{})
		}
		return nil
	case c.Settings.Standard():
		return p.healStandard(ctx, c, ids, who)
	case c.Log != "object":
		return p.blame(ctx, c.Name, Fault{Code: faultLost, Message: "no agent looks after host " + who + "; the logs of its brokers are on its disk, so they cannot be placed elsewhere"})
	}
	err := p.rehomes(ctx, c, ids)
	if errors.Is(err, ErrSpec) {
		return p.blame(ctx, c.Name, Fault{Code: faultNoPlace, Message: fmt.Sprintf("no agent looks after host %s, and its brokers find no place elsewhere: %v", who, err)})
	}
	if err != nil {
		return err
	}
	if c.Operation != 0 && !p.waits(ctx, c) {
		p.log.Warn("host is lost during an operation, its brokers are placed elsewhere", "cluster", c.Name, "hosts", who, "brokers", ids)
		return p.rehome(ctx, c, ids)
	}
	_, err = p.Begin(ctx, c.Name, Request{Kind: Replace, Nodes: ids})
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrState) || errors.Is(err, ErrNoCluster) {
		return nil // that has changed the record, which brings us here again
	}
	return err
}

// blame says in the cluster's record what is wrong, or that it is not any more.
func (p *Plane) blame(ctx context.Context, cluster string, f Fault) error {
	c, rev, err := p.read(ctx, cluster)
	if errors.Is(err, ErrNoCluster) || err == nil && (c.Fault == f || c.Operation != 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Code != "" {
		p.log.Error("brokers are lost", "cluster", cluster, "err", f.Message)
	}
	c.Fault = f
	if err := p.save(ctx, c, rev); err != nil && !errors.Is(err, kv.ErrConflict) {
		return err
	}
	return nil
}

// replace is the step that places brokers elsewhere, those whose host is still away.
func (r *run) replace(ctx context.Context) error {
	if err := r.spared(ctx); err != nil {
		return err
	}
	err := r.plane.rehome(ctx, r.cluster, r.step.Brokers)
	if errors.Is(err, ErrSpec) {
		return refused("BrokersNotPlaced", err)
	}
	if err != nil {
		return err
	}
	return r.patient(ctx, func(ctx context.Context) error { return r.up(ctx, r.cluster) })
}

// rehomes says why brokers find no place elsewhere.
func (p *Plane) rehomes(ctx context.Context, c Cluster, ids []int32) error {
	_, _, err := p.heirs(ctx, c, ids)
	return err
}

// heirs are the specs of brokers at other hosts, beside those that they have at hosts without an agent.
func (p *Plane) heirs(ctx context.Context, c Cluster, ids []int32) (old, heirs []engine.NodeSpec, err error) {
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return nil, nil, err
	}
	there, err := p.allSpecs(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i, s := range there {
		live := slices.ContainsFunc(hosts, func(h engine.Host) bool { return h.Name == s.Host })
		if s.Cluster == c.Name && !s.Moved && !live && slices.Contains(ids, s.ID) {
			old = append(old, s)
			there[i].Moved = true
		}
	}
	if len(old) == 0 {
		return nil, nil, nil
	}
	if c.Listen == "" {
		p.lendPorts(hosts)
	}
	if int(slices.MaxFunc(old, func(a, b engine.NodeSpec) int { return int(a.ID - b.ID) }).ID) > c.Brokers {
		c.Brokers = MaxBrokers
	}
	for _, o := range old {
		at := hosts
		if o.Engine == engine.Standard {
			at = slices.DeleteFunc(slices.Clone(hosts), func(h engine.Host) bool { return cmp.Or(h.Zone, o.Zone) != o.Zone })
		}
		placed, err := place.Brokers(c, at, there)
		if err != nil {
			return nil, nil, err
		}
		s := placed[slices.IndexFunc(placed, func(s engine.NodeSpec) bool { return s.ID == o.ID })]
		there = append(there, s)
		h := hosts[slices.IndexFunc(hosts, func(h engine.Host) bool { return h.Name == s.Host })]
		s.Stopped, s.Round, s.Drain, s.Remove, s.Binary, s.Memory, s.Limits, s.Properties = o.Stopped, o.Round, o.Drain, o.Remove, o.Binary, o.Memory, o.Limits, o.Properties
		s.Format, s.Auth, s.Secure = o.Format, o.Auth, o.Secure // an operation may be changing them
		s.Version, s.Heap, s.Volume = o.Version, o.Heap, o.Volume
		if s.Listeners, err = c.NodeListeners(s.ID, s.Auth, s.Listen, c.PublicOf(h)); err != nil {
			return nil, nil, err
		}
		heirs = append(heirs, s)
	}
	return old, heirs, nil
}

// rehome moves brokers whose hosts have no agent to other hosts, all in one transaction, which compares that their hosts still have none:
// an agent that comes back registers first and looks for what it has to do then, so it finds either the spec as it was or the order to
// stop (C14). A process that still runs there is not asked. It can acknowledge nothing once the heir has sealed the log that the
// records of its partitions name; before that, what it acknowledges is in that log, which the heir reads (docs/decisions/0016). And it
// cannot renew its registration, which the heir's has replaced, so it ends when it hears of that.
func (p *Plane) rehome(ctx context.Context, c Cluster, ids []int32) error {
	for {
		given, err := p.store.Get(ctx, placementKey)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("read %s: %w", placementKey, err)
		}
		old, heirs, err := p.heirs(ctx, c, ids)
		if err != nil || len(old) == 0 {
			return err
		}
		cond := []kv.Cond{kv.ModRevEquals(placementKey, given.ModRev)}
		ops := []kv.Op{kv.Put(placementKey, []byte(c.Name))}
		put := func(s engine.NodeSpec) error {
			b, err := engine.Encode(s)
			ops = append(ops, kv.Put(s.Key(), b))
			return err
		}
		changed := false
		for i, o := range old {
			item, err := p.store.Get(ctx, o.Key())
			if errors.Is(err, kv.ErrNotFound) {
				changed = true
				break
			}
			if err != nil {
				return fmt.Errorf("read node %s: %w", o.Key(), err)
			}
			now, err := engine.Decode[engine.NodeSpec](item.Value)
			if changed = err != nil || !spec.Same(now, o); changed {
				break
			}
			cond = append(cond, kv.ModRevEquals(o.Key(), item.ModRev), kv.KeyMissing(heirs[i].Key()), kv.KeyMissing(engine.Host{Name: o.Host}.Key()))
			o.Stopped, o.Remove, o.Moved, o.Drain, o.Count, o.Purge = true, true, true, false, 0, false
			if err := errors.Join(put(o), put(heirs[i])); err != nil {
				return fmt.Errorf("encode node: %w", err)
			}
		}
		if changed {
			continue
		}
		_, err = p.store.Txn(ctx, cond, ops)
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("move brokers of %s: %w", c.Name, err)
		}
		for i, o := range old {
			p.log.Warn("broker placed elsewhere", "cluster", c.Name, "broker", o.ID, "lost", o.Host, "host", heirs[i].Host, "address", heirs[i].Listen)
		}
		return nil
	}
}
