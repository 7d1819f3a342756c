package main

import (
	"context"
	"log/slog"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/cmd/parts"
	"millrace/cmd/rescue"
	"millrace/secure/keys"
)

// rescueStores are the stores of backup and restore. It implements rescue.Stores.
type rescueStores struct {
	*offlineStores
	fs  disk.FS
	log *slog.Logger
}

// KV implements rescue.Stores.
func (s rescueStores) KV() kv.KV { return s.kv }

// Ring implements rescue.Stores.
func (s rescueStores) Ring(ctx context.Context, from kv.KV, cluster, kms, data string) (*keys.Ring, error) {
	return s.ring(ctx, from, cluster, kms, data, s.fs, s.log)
}

// Objects implements rescue.Stores.
func (s rescueStores) Objects(ctx context.Context, data, url, cluster string, ring *keys.Ring) (object.Store, error) {
	return s.open(ctx, storeOf(data, url), cluster, s.fs, ring)
}

// Close implements rescue.Stores.
func (s rescueStores) Close() error { return s.close() }

// rescueWorld is what backup and restore take of this process.
func rescueWorld() rescue.World {
	return rescue.World{
		Open: func(ctx context.Context, data, urls string, fs disk.FS, log *slog.Logger) (rescue.Stores, error) {
			s, err := openEtcd(ctx, data, parts.Etcd{URLs: urls}, fs, log)
			if err != nil {
				return nil, err
			}
			return rescueStores{s, fs, log}, nil
		},
		Check: checkStores, KMS: parts.KMSFlag,
	}
}
