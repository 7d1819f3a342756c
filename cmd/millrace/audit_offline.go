package main

import (
	"context"
	"errors"
	"path/filepath"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/cmd/operate"
	"millrace/cmd/parts"
	"millrace/cmd/terminal"
	"millrace/control"
	"millrace/express/audit"
	"millrace/express/manifest"
	"millrace/kafka/topic"
)

// auditOffline reads etcd and the store itself.
func (a *app) auditOffline(ctx context.Context, cfg auditConfig, rate int64, limited bool) (err error) {
	if !limited {
		rate = 0 // nobody else is at work
	}
	log, fs := a.QuietLogger(), disk.OS("")
	if cfg.data != "" {
		if cfg.data, err = filepath.Abs(cfg.data); err != nil {
			return err
		}
	}
	stores, err := openEtcd(ctx, cfg.data, parts.Etcd{URLs: cfg.etcd}, fs, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	ring, err := stores.ring(ctx, stores.kv, defaultCluster, cfg.kms, cfg.data, fs, log)
	if err != nil {
		return err
	}
	objects, err := stores.open(ctx, storeOf(cfg.data, cfg.store), defaultCluster, fs, ring)
	if err != nil {
		return err
	}
	prefix := control.Prefix(defaultCluster)
	line := a.StatusLine()
	pass, err := audit.Offline(ctx, audit.Stored{
		Records: func(ctx context.Context) (map[topic.Partition]audit.Record, error) {
			return audit.StoredRecords(ctx, stores.kv, prefix)
		},
		Manifests: manifest.NewStore(stores.kv, objects, prefix+"manifests/", log),
		Objects:   objects, Clock: clock.System{}, Log: log, Rate: rate,
		Progress: func(p *audit.Pass) {
			line.Show("%d of %d partitions, %s read", p.Checked+p.Skipped, p.Partitions, terminal.Size(p.Bytes))
		},
	})
	line.Clear()
	if err != nil {
		return err
	}
	return operate.Audit{IO: &a.IO}.Tell([]*audit.Pass{pass}, nil, 0)
}
