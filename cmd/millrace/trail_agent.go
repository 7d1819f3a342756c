package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/cmd/parts"
	"millrace/cmd/remote"
	"millrace/cmd/trails"
)

// hostTrails looks after the trails of a host whose control plane is elsewhere: serve does the same for its own.
type hostTrails struct {
	host   hostConfig
	shipTo string // URL; empty: nowhere
	store  kv.KV
	files  disk.FS
	log    *slog.Logger
}

// Between looks for the first trail of a host, and before the keys of a trail are tried again.
const (
	firstTrailPause = 2 * time.Second
	trailKeysPause  = 10 * time.Second
)

// Run watches and ships the trails until ctx ends, from when a broker has begun one: where nobody logs in there are none, and no keys.
func (t hostTrails) Run(ctx context.Context) error {
	for pause := firstTrailPause; ; {
		_, err := t.files.Stat(remote.TrailDir(t.host.data))
		switch {
		case err == nil:
			if err = t.follow(ctx); ctx.Err() == nil && err != nil {
				t.log.Error("the audit trails of this host are not watched, trying again", "err", err)
				pause = trailKeysPause
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// follow does it with the host's own trail, in which alerts are. That goes on until nobody writes into it any more.
func (t hostTrails) follow(ctx context.Context) error {
	ring, err := parts.OpenRing(ctx, "agent on "+t.host.name, t.host.kms, t.host.data, false, t.store, t.files, t.log)
	if err != nil {
		return err
	}
	defer ring.Close()
	own, err := parts.OpenTrail(ctx, "agent-"+t.host.name, t.host.data, t.store, ring, t.files, t.log)
	if err != nil {
		return err
	}
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	written := make(chan error, 1)
	go func() { written <- own.Run(writing) }()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return trails.Watch(ctx, t.files, remote.TrailDir(t.host.data), own, t.log) })
	work.Go(func() error { return trails.Ship(ctx, t.files, remote.TrailDir(t.host.data), t.shipTo, t.log) })
	err = work.Wait()
	stop()
	return errors.Join(err, <-written)
}
