package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/kv"
	"millrace/engine"
)

// leadTTL is for how long a control plane that has died keeps the others waiting.
const leadTTL = 10 * time.Second

// Lead calls do whenever this process is the one that does operations (C16), with a context that ends when it is not any more, and again
// when it is again. It returns when ctx ends, or with do's error, after do has returned. host names the process, with the Holder and Boot of
// its agent: what it left itself before a restart it takes over at once. standby, which may be nil, is told who it waits for, once for
// each; it must not block. Another process may answer reads, and begin operations, all the same: they compare and swap.
func (p *Plane) Lead(ctx context.Context, host engine.Host, standby func(other engine.Host), do func(context.Context) error) error {
	for ctx.Err() == nil {
		lease, err := p.takeLead(ctx, host, standby)
		if err != nil {
			if ctx.Err() == nil {
				p.log.Warn("the lead could not be taken, trying again", "err", err)
				pause(ctx, retryPause)
			}
			continue
		}
		p.log.Info("this control plane leads", "host", host.Name)
		err = p.leading(ctx, lease, do)
		if err != nil {
			return err
		}
		if ctx.Err() == nil {
			p.log.Warn("this control plane leads no longer", "host", host.Name)
		}
	}
	return nil
}

// leading calls do for as long as the lease holds, and gives it back.
func (p *Plane) leading(ctx context.Context, lease kv.Lease, do func(context.Context) error) (err error) {
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
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), retryPause)
	defer stop()
	if e := lease.Close(closing); e != nil {
		p.log.Warn("the lead could not be given back, it ends by itself", "err", e)
	}
	return err
}

// takeLead waits until nobody has PlaneKey, and takes it.
func (p *Plane) takeLead(ctx context.Context, host engine.Host, standby func(engine.Host)) (kv.Lease, error) {
	host.Format, host.Began = engine.First, p.clock.Now().UTC()
	record, err := engine.Encode(host)
	if err != nil {
		return nil, fmt.Errorf("encode host %s: %w", host.Name, err)
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := p.store.Watch(watched, PlaneKey, 0)
	told := ""
	for {
		item, err := p.store.Get(ctx, PlaneKey)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return nil, fmt.Errorf("read %s: %w", PlaneKey, err)
		}
		if err == nil {
			other, err := engine.Decode[engine.Host](item.Value)
			if err != nil && !errors.Is(err, engine.ErrNewer) {
				return nil, fmt.Errorf("%s: %w", PlaneKey, err)
			}
			if err != nil || other.Holder != host.Holder || other.Boot != host.Boot || host.Holder == "" {
				if standby != nil && told != string(item.Value) {
					told = string(item.Value)
					standby(other)
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case _, ok := <-changes:
					if !ok {
						return nil, fmt.Errorf("watch %s: %w", PlaneKey, kv.ErrClosed)
					}
				}
				continue
			}
		}
		lease, err := p.store.Grant(ctx, leadTTL)
		if err != nil {
			return nil, fmt.Errorf("lease of %s: %w", PlaneKey, err)
		}
		_, err = p.store.Txn(ctx, []kv.Cond{kv.ModRevEquals(PlaneKey, item.ModRev)}, []kv.Op{kv.PutLeased(PlaneKey, record, lease.ID())})
		if err == nil {
			return lease, nil
		}
		if e := lease.Close(context.WithoutCancel(ctx)); e != nil {
			p.log.Warn("lease left to expire", "err", e)
		}
		if !errors.Is(err, kv.ErrConflict) {
			return nil, fmt.Errorf("take %s: %w", PlaneKey, err)
		}
	}
}
