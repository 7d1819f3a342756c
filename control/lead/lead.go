// Package lead lets one process at a time do what must not be done by two: it holds a key of etcd under a lease, and the others wait.
//
// Flow: Run waits until nobody has the key, takes it, calls do, and cancels do's context when the lease is over.
//
// Invariants:
//
//	1  do runs only while the lease holds, as far as this process's clock can tell; who is cut off from etcd is told to stop before the
//	   store can give the key to another.
//	2  Run returns only after do has returned, and gives the key back then, so that the next one need not wait for the lease to end.
//	3  The former run of the same process on the same machine is not waited for: its data directory's lock says that it has ended.
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
	ttl         = 10 * time.Second // for which one that has died keeps the others waiting
	retryPause  = time.Second      // after the store refused
	leaveLimits = time.Second      // for giving the key back
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

// Run calls do whenever this process has the key, with a context that ends when it has it no more, and again when it has it again. It
// returns when ctx ends, or with do's error.
func Run(ctx context.Context, l Leader, w World, do func(context.Context) error) error {
	p, host := leading{l, w}, l.Host
	for ctx.Err() == nil {
		lease, err := p.take(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.Log.Warn("the lead could not be taken, trying again", "err", err)
				pause(ctx)
			}
			continue
		}
		p.Log.Info("this control plane leads", "host", host.Name)
		err = p.while(ctx, lease, do)
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

// while calls do for as long as the lease holds, and gives it back.
func (p leading) while(ctx context.Context, lease kv.Lease, do func(context.Context) error) (err error) {
	led, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(led) }()
	select {
	case err = <-done:
	case <-lease.Done():
		cancel()
		err = <-done
	}
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), leaveLimits)
	defer stop()
	if e := lease.Close(closing); e != nil {
		p.Log.Warn("the lead could not be given back, it ends by itself", "err", e)
	}
	return err
}

// take waits until nobody has the key, and takes it.
func (p leading) take(ctx context.Context) (kv.Lease, error) {
	host := p.Host
	host.Format, host.Began = engine.First, p.Clock.Now().UTC()
	record, err := engine.Encode(host)
	if err != nil {
		return nil, fmt.Errorf("encode host %s: %w", host.Name, err)
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := p.KV.Watch(watched, p.Key, 0)
	told := ""
	for {
		item, err := p.KV.Get(ctx, p.Key)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return nil, fmt.Errorf("read %s: %w", p.Key, err)
		}
		if err == nil {
			other, err := engine.Decode[engine.Host](item.Value)
			if err != nil && !errors.Is(err, engine.ErrNewer) {
				return nil, fmt.Errorf("%s: %w", p.Key, err)
			}
			if err != nil || other.Holder != host.Holder || other.Boot != host.Boot || host.Holder == "" {
				if p.Standby != nil && told != string(item.Value) {
					told = string(item.Value)
					p.Standby(other)
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case _, ok := <-changes:
					if !ok {
						return nil, fmt.Errorf("watch %s: %w", p.Key, kv.ErrClosed)
					}
				}
				continue
			}
		}
		lease, err := p.KV.Grant(ctx, ttl)
		if err != nil {
			return nil, fmt.Errorf("lease of %s: %w", p.Key, err)
		}
		_, err = p.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(p.Key, item.ModRev)}, []kv.Op{kv.PutLeased(p.Key, record, lease.ID())})
		if err == nil {
			return lease, nil
		}
		if e := lease.Close(context.WithoutCancel(ctx)); e != nil {
			p.Log.Warn("lease left to expire", "err", e)
		}
		if !errors.Is(err, kv.ErrConflict) {
			return nil, fmt.Errorf("take %s: %w", p.Key, err)
		}
	}
}
