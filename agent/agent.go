package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/proc"
	"millrace/engine"
)

// Config is read once by New. A zero field takes its default.
type Config struct {
	Host       engine.Host   // what the control plane is told of this host; Name is required, Holder where Join is called
	LogDir     string        // where the nodes' output goes, one file each; required
	DrainGrace time.Duration // that a node has to hand over and end after SIGTERM, before it is asked again; default 35 s
	Grace      time.Duration // that it has then before SIGKILL; default 10 s
	MaxPause   time.Duration // longest pause between restarts; default 5 s
	Stable     time.Duration // a node that ran so long starts again at once; default 1 s
	HostTTL    time.Duration // for which the host counts as looked after when its agent is gone; default 10 s
	Hang       time.Duration // a node that served and does not answer for so long is killed and started again; default 2 s
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.DrainGrace, 35*time.Second)
	set(&c.Grace, 10*time.Second)
	set(&c.MaxPause, 5*time.Second)
	set(&c.Stable, time.Second)
	set(&c.Hang, 2*time.Second)
	set(&c.HostTTL, 10*time.Second)
	return c
}

// World is all that the agent touches outside itself.
type World struct {
	KV      kv.KV
	FS      disk.FS
	Engines map[string]engine.Engine // by NodeSpec.Engine
	Clock   clock.Clock
	Log     *slog.Logger
	// Purge deletes what the cluster of a spec keeps in the object store, and is nil where there is nothing left. It may be called again
	// after it was done. nil: this agent cannot, and reports so.
	Purge func(ctx context.Context, spec engine.NodeSpec) error
}

// Agent is made by New; Run does the work.
type Agent struct {
	cfg   Config
	world World
	nodes map[string]*node // by spec key; of Run's goroutine
	wait  sync.WaitGroup
	hurry chan struct{} // closed when the agent stops and no other host could take over
	lease kv.Lease      // of the host's record; of Join, then of Run's goroutine that keeps it

	mu     sync.Mutex
	joined bool                    // the record stands under a lease; guarded by mu
	shown  map[string]NodeSnapshot // by spec key; guarded by mu

	fellows map[string]*node // as nodes, for the supervisors to see one another; guarded by mu
}

// New makes an agent.
func New(cfg Config, w World) *Agent {
	return &Agent{cfg: cfg.withDefaults(), world: w, nodes: map[string]*node{}, hurry: make(chan struct{}), shown: map[string]NodeSnapshot{},
		fellows: map[string]*node{}}
}

// Run looks after the host's nodes until ctx ends; then it stops them and
// returns when all have ended. Where other hosts could take over, each is given
// time to hand over first. It returns ErrTaken where another agent has taken the
// host's name while this one was cut off.
func (a *Agent) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer a.leave(context.WithoutCancel(ctx))
	defer a.wait.Wait()
	if a.lease != nil {
		a.wait.Go(func() { stop(a.stay(ctx)) })
	}
	a.wait.Go(func() {
		<-ctx.Done()
		if !a.others(context.WithoutCancel(ctx)) {
			close(a.hurry)
		}
	})
	reset := func(items []kv.Item, _ int64) error {
		a.reset(ctx, items)
		return nil
	}
	change := func(e kv.Event) error {
		if e.Type == kv.EventPut {
			a.apply(ctx, e.Item)
		} else {
			a.remove(e.Item.Key)
		}
		return nil
	}
	for {
		err := kv.Follow(ctx, a.world.KV, engine.SpecPrefix(a.cfg.Host.Name), reset, change)
		if ctx.Err() != nil {
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
		a.world.Log.Warn("node specs could not be read, trying again", "err", err)
		sleep(ctx, time.Second)
	}
}

// reset applies every spec and stops nodes whose spec is gone.
func (a *Agent) reset(ctx context.Context, items []kv.Item) {
	seen := map[string]bool{}
	for _, item := range items {
		seen[item.Key] = true
		a.apply(ctx, item)
	}
	for key := range a.nodes {
		if !seen[key] {
			a.remove(key)
		}
	}
}

// Settle corrects what an earlier agent reported of nodes that have ended
// since, so that nobody takes an old READY for a new one. Call it before the
// reports are served to anyone, and before Run.
func (a *Agent) Settle(ctx context.Context) error {
	items, _, err := a.world.KV.List(ctx, engine.StatusPrefix(a.cfg.Host.Name))
	if err != nil {
		return fmt.Errorf("list node statuses: %w", err)
	}
	for _, item := range items {
		s, err := engine.Decode[engine.NodeStatus](item.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", item.Key, err)
		}
		if s.State == engine.Stopped || s.State == engine.Removed || s.PID > 0 && running(s) {
			continue
		}
		s.State, s.Message, s.PID, s.Began = engine.Stopped, "ended while no agent looked after it", 0, ""
		s.Changed = a.world.Clock.Now().UTC()
		b, err := engine.Encode(s)
		if err != nil {
			return fmt.Errorf("%s: %w", item.Key, err)
		}
		if _, err := a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(item.Key, item.ModRev)}, []kv.Op{kv.Put(item.Key, b)}); err != nil {
			return fmt.Errorf("correct %s: %w", item.Key, err)
		}
	}
	return nil
}

// running says whether the process of a status still is.
func running(s engine.NodeStatus) bool {
	p, err := proc.Adopt(s.PID, s.Began)
	if err != nil {
		return false
	}
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

func (a *Agent) apply(ctx context.Context, item kv.Item) {
	spec, err := engine.Decode[engine.NodeSpec](item.Value)
	if err != nil {
		a.unable(ctx, item.Key, err)
		return
	}
	eng, ok := a.world.Engines[spec.Engine]
	if !ok {
		a.unable(ctx, item.Key, fmt.Errorf("this agent does not have the engine %q", spec.Engine))
		return
	}
	if n, ok := a.nodes[item.Key]; ok {
		n.change(spec)
		return
	}
	n := newNode(a, spec, eng)
	a.nodes[item.Key] = n
	a.setFellows(func(all map[string]*node) { all[item.Key] = n })
	a.wait.Go(func() { n.run(ctx) })
}

// unable says that nothing can be done by a spec, and why. A node that runs by an earlier one goes on, and one that an earlier agent left
// running stays adoptable.
func (a *Agent) unable(ctx context.Context, key string, cause error) {
	a.world.Log.Error("node spec cannot be used", "key", key, "err", cause)
	if _, runs := a.nodes[key]; runs {
		return
	}
	if err := a.putUnable(ctx, engine.AllStatuses+strings.TrimPrefix(key, engine.AllSpecs), cause); err != nil {
		a.world.Log.Warn("status could not be written", "key", key, "err", err)
	}
}

func (a *Agent) putUnable(ctx context.Context, key string, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	item, err := a.world.KV.Get(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if err == nil {
		if s, err := engine.Decode[engine.NodeStatus](item.Value); err != nil || s.PID > 0 {
			return err
		}
	}
	b, err := engine.Encode(engine.NodeStatus{
		Format: engine.First, State: engine.Failed, Message: "its agent cannot use the spec: " + cause.Error(), Changed: a.world.Clock.Now().UTC(),
	})
	if err == nil {
		_, err = a.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{kv.Put(key, b)})
	}
	return err
}

func (a *Agent) remove(key string) {
	if n, ok := a.nodes[key]; ok {
		delete(a.nodes, key)
		a.setFellows(func(all map[string]*node) { delete(all, key) })
		close(n.gone)
	}
}

func (a *Agent) setFellows(change func(map[string]*node)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.fellows)
}

func (a *Agent) logFile(spec engine.NodeSpec) string {
	return filepath.Join(a.cfg.LogDir, fmt.Sprintf("broker-%s-%d.log", spec.Cluster, spec.ID))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
