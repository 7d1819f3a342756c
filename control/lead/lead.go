// Package lead lets one process at a time do what must not be done by two: it holds a key of etcd under a lease, and the others wait.
//
// Flow: Run waits until nobody has the key, takes it, calls do with a store to write to, and cancels do's context when the lease is over.
//
// Invariants:
//
//	1  do runs only while the lease holds, as far as this process's clock can tell; who is cut off from etcd is told to stop before the
//	   store can give the key to another.
//	2  Run returns only after do has returned, and gives the key back then, so that the next one need not wait for the lease to end.
//	3  The former run of the same process on the same machine is not waited for: its data directory's lock says that it has ended.
//	4  What do writes by the store that it is given is applied only while the key is as this process has put it: a clock cannot tell a
//	   process that was stopped for a while that it was, the store can. Who is refused so is told to stop.
//
// Files: lead.go (the key and its lease), fence.go (the store that do writes to).
package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/engine"
)

// Limits of a lease.
const (
	ttl         = 5 * time.Second // for which one that has died keeps the others waiting
	retryPause  = time.Second     // after the store refused
	leaveLimits = time.Second     // for giving the key back
)

// World is all that Run touches outside itself.
type World struct {
	KV    kv.KV
	Clock clock.Clock
	Log   *slog.Logger
}

// Leader is who wants the key. It is not changed while Run runs.
type Leader struct {
	Key     string                  // in etcd
	Host    engine.Host             // names the process, with the Holder and Boot of its agent; it stands in the key's value
	Standby func(other engine.Host) // told who is waited for, once for each; it must not block. nil: nobody is told
}

// Run calls do whenever this process has the key, with a context that ends when it has it no more, and again when it has it again. What
// only the process may write that has the key, do writes by the store that it is given (4); its Txn takes one condition less, and returns
// ErrLost where the key is another's by now. Run returns when ctx ends, or with do's error.
func Run(ctx context.Context, l Leader, w World, do func(ctx context.Context, store kv.KV) error) error {
	p, host := leading{l, w}, l.Host
	for ctx.Err() == nil {
		lease, rev, err := p.take(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.Log.Warn("the lead could not be taken, trying again", "err", err)
				pause(ctx)
			}
			continue
		}
		p.Log.Info("this control plane leads", "host", host.Name)
		err = p.while(ctx, lease, rev, do)
		if err != nil {
			return err
		}
		if ctx.Err() == nil {
			p.Log.Warn("this control plane leads no longer", "host", host.Name)
		}
	}
	return nil
}

// leading is a process that leads or wants to.
type leading struct {
	Leader
	World
}

func pause(ctx context.Context) {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// while calls do for as long as the lease holds and the key is as it was put at rev, and gives the lease back.
func (p leading) while(ctx context.Context, lease kv.Lease, rev int64, do func(context.Context, kv.KV) error) (err error) {
	led, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(led, &fence{KV: p.KV, key: p.Key, rev: rev, lost: cancel}) }()
	select {
	case err = <-done:
	case <-lease.Done():
		cancel()
		err = <-done
	}
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), leaveLimits)
	defer stop()
	if errors.Is(err, ErrLost) {
		err = nil // it was told to stop
	}
	if e := lease.Close(closing); e != nil {
		p.Log.Warn("the lead could not be given back, it ends by itself", "err", e)
	}
	return err
}

// take waits until nobody has the key, and takes it; rev is that of the key as it stands then.
func (p leading) take(ctx context.Context) (_ kv.Lease, rev int64, _ error) {
	host := p.Host
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := p.KV.Watch(watched, p.Key, 0)
	told := ""
	for {
		item, err := p.KV.Get(ctx, p.Key)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return nil, 0, fmt.Errorf("read %s: %w", p.Key, err)
		}
		if err == nil {
			other, err := engine.Decode[engine.Host](item.Value)
			if err != nil && !errors.Is(err, engine.ErrNewer) {
				return nil, 0, fmt.Errorf("%s: %w", p.Key, err)
			}
			if err != nil || other.Holder != host.Holder || other.Boot != host.Boot || host.Holder == "" {
				if p.Standby != nil && told != string(item.Value) {
					told = string(item.Value)
					p.Standby(other)
				}
				select {
				case <-ctx.Done():
					return nil, 0, ctx.Err()
				case _, ok := <-changes:
					if !ok {
						return nil, 0, fmt.Errorf("watch %s: %w", p.Key, kv.ErrClosed)
					}
				}
				continue
			}
		}
		host.Format, host.Began = engine.First, p.Clock.Now().UTC()
		record, err := engine.Encode(host)
		if err != nil {
			return nil, 0, fmt.Errorf("encode host %s: %w", host.Name, err)
		}
		lease, err := p.KV.Grant(ctx, ttl)
		if err != nil {
			return nil, 0, fmt.Errorf("lease of %s: %w", p.Key, err)
		}
		rev, err := p.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(p.Key, item.ModRev)}, []kv.Op{kv.PutLeased(p.Key, record, lease.ID())})
		if err == nil {
			return lease, rev, nil
		}
		if e := lease.Close(context.WithoutCancel(ctx)); e != nil {
			p.Log.Warn("lease left to expire", "err", e)
		}
		if !errors.Is(err, kv.ErrConflict) {
			return nil, 0, fmt.Errorf("take %s: %w", p.Key, err)
		}
	}
}
