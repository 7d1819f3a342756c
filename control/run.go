package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"millrace/base/kv"
)

// retryPause is before the runner tries again what the store refused.
const retryPause = time.Second

// errRefused ends an operation as Failed; the message says why.
var errRefused = errors.New("given up")

// Run does the operations of all clusters, those first that an earlier control
// plane began, until ctx ends, and keeps what is there as the records say: see
// reconcile. It returns when what it does has been put aside.
func (p *Plane) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { p.reconcile(ctx) })
	all := &attendants{kicks: map[string]chan struct{}{}}
	all.begin = func(name string, kick chan struct{}) {
		wait.Go(func() { p.attend(ctx, name, kick, all) })
	}
	kick := func(item kv.Item) { all.kick(strings.TrimPrefix(item.Key, clusterPrefix)) }
	reset := func(items []kv.Item, _ int64) error {
		for _, item := range items {
			kick(item)
		}
		return nil
	}
	change := func(e kv.Event) error { kick(e.Item); return nil }
	for {
		err := kv.Follow(ctx, p.store, clusterPrefix, reset, change)
		if ctx.Err() != nil {
			return nil
		}
		p.log.Warn("clusters could not be read, trying again", "err", err)
		pause(ctx, retryPause)
	}
}

// attendants are the goroutines that do operations, one for each cluster that there is.
type attendants struct {
	begin func(name string, kick chan struct{})

	mu    sync.Mutex
	kicks map[string]chan struct{} // of capacity 1, by cluster; guarded by mu
}

// kick has a cluster looked at.
func (a *attendants) kick(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kicks[name] == nil {
		a.kicks[name] = make(chan struct{}, 1)
		a.begin(name, a.kicks[name])
	}
	select {
	case a.kicks[name] <- struct{}{}:
	default:
	}
}

// leave says whether the attendant of a cluster that is gone may go too: nobody has kicked it since.
func (a *attendants) leave(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.kicks[name]) > 0 {
		return false
	}
	delete(a.kicks, name)
	return true
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// attend does one cluster's operations, whenever kick says that there may be one, and when one that waits may begin.
func (p *Plane) attend(ctx context.Context, cluster string, kick <-chan struct{}, all *attendants) {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-kick:
		case <-timer.C:
		}
		for ctx.Err() == nil {
			more, wait, err := p.advance(ctx, cluster)
			if errors.Is(err, ErrNoCluster) && all.leave(cluster) {
				return
			}
			if errors.Is(err, ErrNoCluster) {
				break
			}
			if err != nil && ctx.Err() == nil {
				p.log.Warn("operation is interrupted, going on soon", "cluster", cluster, "err", err)
				pause(ctx, retryPause)
				continue
			}
			if wait > 0 {
				timer.Reset(wait)
			}
			if !more {
				break
			}
		}
	}
}

// advance does the operation under way, or begins the one that brings the
// cluster to as many brokers as are wanted. more says that there may be another,
// wait how long it is until the one that there is may begin.
func (p *Plane) advance(ctx context.Context, cluster string) (more bool, wait time.Duration, err error) {
	c, rev, err := p.read(ctx, cluster)
	if err != nil {
		return false, 0, err
	}
	if c.Operation != 0 {
		wait, err := p.awaken(ctx, c, rev)
		if errors.Is(err, kv.ErrConflict) {
			return true, 0, nil
		}
		if wait > 0 || err != nil {
			return false, wait, err
		}
		return true, 0, p.execute(ctx, c)
	}
	r := Request{Kind: Scale, Brokers: c.Wanted}
	if c.WantedAuth != "" && c.WantedAuth != c.Auth {
		r = Request{Kind: Logins, Auth: c.WantedAuth}
	} else if c.Wanted == 0 || c.Wanted == c.Brokers {
		return false, 0, nil
	}
	_, err = p.Begin(ctx, cluster, r)
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrState) {
		err = nil
	}
	return c.Phase != Broken, 0, err
}

// awaken begins an operation that is Pending once the window is open; wait is until then.
func (p *Plane) awaken(ctx context.Context, c Cluster, rev int64) (wait time.Duration, err error) {
	op, opRev, err := p.readOperation(ctx, c.Name, c.Operation)
	if err != nil || op.State != Pending {
		return 0, err
	}
	if wait := opens(c.Settings, p.clock.Now()); wait > 0 {
		return wait, nil
	}
	op.State, c.Phase = Running, phaseOf(op.Request.Kind)
	record, err := json.Marshal(op)
	if err != nil {
		return 0, fmt.Errorf("encode operation: %w", err)
	}
	key := operationKey(c.Name, op.Number)
	return 0, p.swap(ctx, c, rev, []kv.Cond{kv.ModRevEquals(key, opRev)}, []kv.Op{kv.Put(key, record)})
}

// run is one operation while it is done.
type run struct {
	plane   *Plane
	cluster Cluster // as its record was when the operation began, or was gone on with
	target  Cluster // as the step's brokers shall be: after the operation, or before where the step undoes
	op      Operation
	rev     int64 // of op's record as we know it
	step    *Step
}

// execute does what is left of a cluster's operation (C4).
func (p *Plane) execute(ctx context.Context, c Cluster) error {
	r := &run{plane: p, cluster: c}
	var err error
	if r.op, r.rev, err = p.readOperation(ctx, c.Name, c.Operation); err != nil {
		return err
	}
	log := p.log.With("cluster", c.Name, "operation", r.op.Number, "kind", r.op.Request.Kind)
	log.Info("operation begins or goes on", "steps", len(r.op.Steps))
	for i := 0; i < len(r.op.Steps); i++ { // there are more of them where something is undone
		r.step = &r.op.Steps[i]
		if r.step.State == Done || r.step.State == Failed {
			continue
		}
		if r.step.State == Pending {
			r.step.Began = p.clock.Now().UTC()
		}
		r.step.State, r.step.Detail = Running, ""
		if err := r.save(ctx); err != nil {
			return err
		}
		err := r.aim(ctx)
		if err == nil {
			err = r.do(ctx)
		}
		switch {
		case errors.Is(err, errRefused):
			log.Error("operation fails", "step", r.step.Name, "err", err)
			r.undo(i, err)
		case err != nil:
			return err
		default:
			r.step.State, r.step.Ended = Done, p.clock.Now().UTC()
			log.Info("step done", "step", r.step.Name, "detail", r.step.Detail)
		}
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	r.op.State = Done
	if r.op.Error != "" {
		r.op.State = Failed
	}
	log.Info("operation ended", "state", r.op.State)
	return r.end(ctx)
}

// save writes the operation as it stands. Where somebody else has written it,
// it is theirs to do.
func (r *run) save(ctx context.Context) error {
	record, err := json.Marshal(r.op)
	if err != nil {
		return fmt.Errorf("encode operation: %w", err)
	}
	key := operationKey(r.op.Cluster, r.op.Number)
	rev, err := r.plane.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, r.rev)}, []kv.Op{kv.Put(key, record)})
	if err != nil {
		return fmt.Errorf("save operation %d of %s: %w", r.op.Number, r.op.Cluster, err)
	}
	r.rev = rev
	return nil
}

// say shows what the step waits for.
func (r *run) say(ctx context.Context, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	if r.step.Detail == detail {
		return nil
	}
	r.step.Detail = detail
	return r.save(ctx)
}

// end closes the operation, and the cluster's record with it (C3).
func (r *run) end(ctx context.Context) error {
	r.op.Ended = r.plane.clock.Now().UTC()
	record, err := json.Marshal(r.op)
	if err != nil {
		return fmt.Errorf("encode operation: %w", err)
	}
	for {
		c, rev, err := r.plane.read(ctx, r.op.Cluster)
		if err != nil {
			return err
		}
		if c.Operation != r.op.Number {
			return nil // ended before, by us or by another
		}
		if r.op.Request.Kind == Delete && r.op.State == Done {
			if err := r.plane.erased(ctx, c, rev); !errors.Is(err, kv.ErrConflict) {
				return err
			}
			continue
		}
		if c, err = r.outcome(ctx, c); err != nil {
			return err
		}
		ops := []kv.Op{kv.Put(operationKey(c.Name, r.op.Number), record)}
		if old := r.op.Number - operationsKept; old > 0 {
			ops = append(ops, kv.Delete(operationKey(c.Name, old)))
		}
		err = r.plane.save(ctx, c, rev, ops...)
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// outcome is the cluster's record when the operation has ended (C12).
func (r *run) outcome(ctx context.Context, c Cluster) (Cluster, error) {
	c.Operation, c.Phase = 0, Active
	if r.op.State == Failed {
		c.Fault = r.op.Fault
		if r.op.Request.Kind == Create {
			c.Phase = Broken
		}
		if r.op.Before != nil && r.op.Before.Brokers > 0 {
			c.Brokers = r.op.Before.Brokers
		}
		c.Wanted, c.WantedAuth = c.Brokers, "" // or it would begin again at once
		return c, nil
	}
	c.Fault = Fault{}
	switch r.op.Request.Kind {
	case Create, Roll, Patch:
		c.Release = r.plane.options.Release
	}
	switch r.op.Request.Kind {
	case Scale:
		c.Brokers = r.op.Request.Brokers
	case Upgrade:
		c.Binary = r.op.Request.Binary
	case Logins:
		c.Auth, c.WantedAuth = r.op.Request.Auth, ""
	case Create, Roll, Reboot, Replace, Patch:
		return c, nil
	case Update:
		after, err := r.plane.told(ctx, c, *r.op.After)
		if err != nil {
			return c, err
		}
		after.Settings = c.Settings
		after.Settle(*r.op.After)
		after.WantedAuth = ""
		return after, nil
	}
	if c.ID != "" {
		c.Describe()
	}
	return c, nil
}
