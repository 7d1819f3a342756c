package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/base/kv"
	"millrace/engine"
)

// ErrTaken: another agent looks after a host of this name; the message says which.
var ErrTaken = errors.New("taken by another host")

// Pauses of the registration.
const (
	rejoinPause  = time.Second     // after the store refused
	lookPause    = time.Second     // between looks at a record that should go
	leaveTimeout = 2 * time.Second // for what is said at a stop
)

// Join tells the control plane that this host has an agent (A8). It returns ErrTaken where another agent says so of its own
// host under the same name. Call it before Run, which keeps it so; without Join, Run keeps quiet about the host.
func (a *Agent) Join(ctx context.Context) error {
	began := a.world.Clock.Now()
	for {
		wait, err := a.tryJoin(ctx, began)
		if err != nil || !wait {
			return err
		}
		sleep(ctx, lookPause)
	}
}

// tryJoin says wait where the record is an earlier one of this host, from before a reboot, that ends by itself soon.
func (a *Agent) tryJoin(ctx context.Context, began time.Time) (wait bool, err error) {
	lease, err := a.world.KV.Grant(ctx, a.cfg.HostTTL)
	if err != nil {
		return false, fmt.Errorf("register host %s: %w", a.cfg.Host.Name, err)
	}
	wait, err = a.put(ctx, lease.ID(), began)
	if err != nil || wait {
		return wait, errors.Join(err, lease.Close(context.WithoutCancel(ctx)))
	}
	a.lease = lease
	a.setJoined(true)
	return false, nil
}

// put writes the host's record, unless it is another's.
func (a *Agent) put(ctx context.Context, lease kv.LeaseID, began time.Time) (wait bool, err error) {
	h := a.cfg.Host
	h.Format, h.Began = engine.First, a.world.Clock.Now().UTC()
	record, err := engine.Encode(h)
	if err != nil {
		return false, fmt.Errorf("encode host %s: %w", h.Name, err)
	}
	for {
		rev, wait, err := a.free(ctx, began)
		if err != nil || wait {
			return wait, err
		}
		_, err = a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(h.Key(), rev)}, []kv.Op{kv.PutLeased(h.Key(), record, lease)})
		if !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown) || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("register host %s: %w", h.Name, err)
			}
			return false, err
		}
	}
}

// free says at which revision the host's record may be replaced by ours.
func (a *Agent) free(ctx context.Context, began time.Time) (rev int64, wait bool, err error) {
	h := a.cfg.Host
	item, err := a.world.KV.Get(ctx, h.Key())
	if errors.Is(err, kv.ErrNotFound) {
		return 0, false, nil
	}
	var other engine.Host
	if err == nil {
		other, err = engine.Decode[engine.Host](item.Value)
	}
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("register host %s: %w", h.Name, err)
	case other.Holder == h.Holder && other.Boot == h.Boot:
		return item.ModRev, false, nil // ours, from before a restart: the data directory's lock says that nobody else has it
	case other.Holder == h.Holder && a.world.Clock.Now().Sub(began) < 2*a.cfg.HostTTL:
		a.world.Log.Info("waiting for the end of this host's former registration", "host", h.Name)
		return 0, true, ctx.Err()
	}
	who := fmt.Sprintf("at %s, version %s, since %s", cmp.Or(other.Address, "an unknown address"), cmp.Or(other.Version, "unknown"), other.Began.Format(time.RFC3339))
	return 0, false, fmt.Errorf("%w: a live agent has been host %q %s; choose another with --name (if that agent is dead, its registration ends within %s)",
		ErrTaken, h.Name, who, a.cfg.HostTTL)
}

// stay keeps the host's record until ctx ends, or somebody else has the name. While the store is away the nodes are looked after as
// ever: they serve, and nobody else could be told to run them.
func (a *Agent) stay(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-a.lease.Done():
		}
		a.setJoined(false)
		a.world.Log.Warn("the registration of this host has ended, registering again", "host", a.cfg.Host.Name)
		if err := a.rejoin(ctx); err != nil {
			a.world.Log.Error("another agent has taken the name of this host, stopping its nodes", "err", err)
			return err
		}
	}
	return nil
}

// rejoin tries until the host is registered, or ctx ends; it returns an error only where another has its name.
func (a *Agent) rejoin(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.Join(ctx)
		switch {
		case err == nil:
			a.world.Log.Info("this host is registered again", "host", a.cfg.Host.Name)
			return nil
		case errors.Is(err, ErrTaken):
			return err
		case ctx.Err() == nil:
			a.world.Log.Warn("host could not be registered, trying again", "err", err)
		}
		sleep(ctx, rejoinPause)
	}
	return nil
}

// leave takes the host's record back; what fails ends with the lease.
func (a *Agent) leave(ctx context.Context) {
	if a.lease == nil {
		return
	}
	a.setJoined(false)
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := a.lease.Close(ctx); err != nil {
		a.world.Log.Warn("registration of this host could not be taken back, it ends by itself", "err", err)
	}
}

// others says whether another host has an agent. Where the store cannot say, none has.
func (a *Agent) others(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	items, _, err := a.world.KV.List(ctx, engine.HostPrefix)
	return err == nil && slices.ContainsFunc(items, func(i kv.Item) bool { return i.Key != a.cfg.Host.Key() })
}

// NodeSnapshot is one node as its supervisor last reported it.
type NodeSnapshot struct {
	Spec   engine.NodeSpec
	Status engine.NodeStatus
}

// Snapshot is what the agent shows of itself.
type Snapshot struct {
	Joined bool // the control plane sees this host
	Nodes  []NodeSnapshot
}

// Snapshot returns the state of the moment, the nodes by key.
func (a *Agent) Snapshot() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Snapshot{Joined: a.joined}
	for _, n := range a.shown {
		s.Nodes = append(s.Nodes, n)
	}
	slices.SortFunc(s.Nodes, func(x, y NodeSnapshot) int { return cmp.Compare(x.Spec.Key(), y.Spec.Key()) })
	return s
}

func (a *Agent) setJoined(joined bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.joined = joined
}

// show keeps what a node reports; nil: it is gone.
func (a *Agent) show(key string, n *NodeSnapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n == nil {
		delete(a.shown, key)
		return
	}
	a.shown[key] = *n
}
