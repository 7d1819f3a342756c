package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/engine"
	"millrace/express/node"
	"millrace/secure/cert"
)

// holder is who has data keys.
func (c *brokerConfig) holder() string { return fmt.Sprintf("broker %d of %s", c.id, c.cluster) }

// secure opens what the listeners need, which runs until end is called: longer than the broker, whose last answers need it too.
func (c *brokerConfig) secure(
	ctx context.Context, ways []engine.Listener, store kv.KV, files disk.FS, log *slog.Logger,
) (s node.Secure, end func() error, err error) {
	if len(ways) == 0 {
		return s, func() error { return nil }, nil
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	var mu sync.Mutex
	var faults []error
	end = func() error {
		stop()
		work.Wait()
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(faults...)
	}
	run := func(what string, f func(context.Context) error) {
		work.Go(func() {
			if err := f(running); err != nil {
				log.Error("a part of the broker's security ended", "part", what, "err", err)
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	s = node.Secure{Cluster: c.cluster, Region: c.region, Authorize: c.authorize, Super: c.rights.supers()}
	mapping, err := c.rights.rules()
	if err != nil {
		return s, end, err
	}
	ring, err := parts.OpenRing(ctx, c.holder(), c.kms, c.data, false, store, files, log)
	if err != nil {
		return s, end, err
	}
	work.Go(func() { <-running.Done(); ring.Close() })
	s.Sealer, s.Random = ring, parts.Random
	if c.trail != "" {
		recorder, err := parts.OpenTrailAt(ctx, fmt.Sprintf("%s-%d", c.cluster, c.id), c.trail, store, ring, files, log)
		if err != nil {
			return s, end, err
		}
		s.Trail = recorder
		run("trail", recorder.Run)
	}
	view, err := parts.OpenView(ctx, control.Prefix(c.cluster), store, ring, log, run)
	if err != nil {
		return s, end, err
	}
	s.Keys, s.Policies, s.Account = parts.AccessKeys{View: view}, view, view.Account()
	var addresses []string
	for _, l := range ways {
		addresses = append(addresses, l.Address, l.Told())
	}
	world := cert.World{KV: store, Clock: clock.System{}, Log: log, FS: files, Trail: s.Trail}
	if s.Keeper, err = parts.NewKeeper(cert.Broker(c.cluster, c.id), c.data, mapping, world, addresses...); err != nil {
		return s, end, err
	}
	run("certificate", s.Keeper.Run)
	return s, end, s.Keeper.Wait(ctx)
}
