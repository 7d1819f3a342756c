package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/base/life"
	"millrace/base/proc"
	"millrace/cmd/terminal"
	"millrace/control"
	"millrace/control/lead"
	"millrace/engine"
)

// leading is who leads, as far as this process knows. Safe for concurrent use.
type leading struct {
	settled chan struct{} // closed once it is known for the first time
	settle  func()        // closes it

	mu     sync.Mutex
	leader string // host; "": nobody, or not known; guarded by mu
	mine   bool   // it is this process; guarded by mu
}

func newLeading() *leading {
	l := &leading{settled: make(chan struct{})}
	l.settle = sync.OnceFunc(func() { close(l.settled) })
	return l
}

func (l *leading) set(leader string, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader, l.mine = leader, mine
}

// shown is what /readyz says of it.
func (l *leading) shown() map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return map[string]any{"leader": l.leader, "leads": l.mine}
}

// began says that it was known who leads.
func (l *leading) began() bool {
	select {
	case <-l.settled:
		return true
	default:
		return false
	}
}

// lead does what one process of the installation does at a time, whenever this is the one, until ctx ends.
func (i *installation) lead(ctx context.Context) error {
	boot, err := proc.Boot()
	if err != nil {
		return fmt.Errorf("identity of this host: %w", err)
	}
	self := i.self
	self.Version, self.Holder, self.Boot = version, i.holder, boot
	standBy := func(other engine.Host) {
		i.leading.set(other.Name, false)
		i.log.Info("another control plane leads, this one stands by: it answers the API, and leads when the other is gone",
			"leader", other.Name, "address", other.Address, "since", other.Began)
		i.leading.settle()
	}
	return lead.Run(ctx, lead.Leader{Key: control.PlaneKey, Host: self, Standby: standBy}, lead.World{KV: i.store, Clock: clock.System{}, Log: i.log}, i.whileLeading)
}

// whileLeading runs the leader's part until ctx ends. What is wrong with the flags ends a process that has just begun, but not one that
// takes over: without it there might be none.
func (i *installation) whileLeading(ctx context.Context, store kv.KV) error {
	err := i.ensureCluster(ctx, store)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil
	case !i.leading.began() || errors.Is(err, lead.ErrLost):
		return err
	default:
		i.log.Error("the default cluster is not as the flags say", "err", err)
	}
	i.leading.set(i.cfg.name, true)
	defer i.leading.set("", false)
	i.leading.settle()
	return life.Run(ctx, i.services.Actors(store)...)
}

// runAgent looks after the brokers of this host once it is known who leads: flags that cannot be must not stop brokers that run.
func (i *installation) runAgent(ctx context.Context) error {
	select {
	case <-i.leading.settled:
	case <-ctx.Done():
	}
	return i.agent.Run(ctx)
}

// ensureCluster makes the default cluster's records, or brings them to what the flags say where they are this process's to describe.
func (i *installation) ensureCluster(ctx context.Context, store kv.KV) error {
	if i.cfg.noCluster {
		return nil
	}
	plane, asked := i.services.PlaneOn(store), i.cfg.cluster()
	old, err := plane.Cluster(ctx, asked.Name)
	missing := errors.Is(err, control.ErrNoCluster)
	if err != nil && !missing {
		return err
	}
	if !i.mine() {
		if !missing {
			return nil
		}
		if err := i.takeHome(ctx, store); err != nil {
			return err
		}
		asked.Store = i.home.Like.Store
	}
	// How many brokers there are may only be known from what is there.
	if i.cfg.brokers == 0 && old.Brokers > 0 {
		asked.Brokers, asked.Memory = old.Brokers, i.cfg.memoryOf(old.Brokers)
	}
	if err := i.cfg.collision(asked); err != nil {
		return fmt.Errorf("%w: %w", terminal.ErrUsage, err)
	}
	if i.cfg.brokers == 0 {
		asked.Brokers = 0
	}
	c, err := plane.Ensure(ctx, asked)
	if errors.Is(err, control.ErrSpec) {
		return fmt.Errorf("%w: %w", terminal.ErrUsage, err)
	}
	if err != nil {
		return err
	}
	if asked.Encrypt && !c.Encrypt { // who asked for it must not think that it is so
		i.log.Warn("what the cluster keeps is not encrypted, and stays so: it was made without --secure", "cluster", c.Name)
	}
	// Said before anything is started; a broker whose address is taken is started when it is free.
	taken, err := i.portsTaken(ctx, c)
	for _, t := range taken {
		i.log.Error("address is taken", "err", t)
	}
	return err
}
