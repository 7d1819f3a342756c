package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/object"
	"millrace/base/object/cache"
	"millrace/cmd/parts"
	"millrace/control"
	"millrace/engine"
	"millrace/secure/keys"
)

// offlineStores is what a verb works on that asks neither serve nor brokers.
type offlineStores struct {
	kv      kv.KV
	closers []func() error
}

// openEtcd connects to etcd. Where it is that of a data directory, and no serve runs it, it is run here.
func openEtcd(ctx context.Context, data string, cfg parts.Etcd, fs disk.FS, log *slog.Logger) (_ *offlineStores, err error) {
	s := &offlineStores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if cfg.URLs == "" {
		if data, err = filepath.Abs(data); err != nil {
			return nil, err
		}
		if _, err := fs.Stat(data); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
		dir := filepath.Join(data, "etcd")
		embedded, err := etcd.StartEmbedded(ctx, etcd.EmbeddedConfig{Dir: dir, Log: log})
		switch {
		case errors.Is(err, etcd.ErrInUse):
			if cfg.URLs, err = etcd.SocketURL(dir); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			s.closers, cfg.URLs = append(s.closers, embedded.Close), embedded.Endpoint()
		}
	}
	client, err := cfg.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	s.closers = append(s.closers, client.Close)
	s.kv = client
	return s, nil
}

// open opens a cluster's part of the object store, which is closed with the rest. Everything is read once, so nothing is cached.
// ring are the keys of the cluster's records; nil where they are not encrypted.
func (s *offlineStores) open(ctx context.Context, url, cluster string, fs disk.FS, ring *keys.Ring) (object.Store, error) {
	objects, closeObjects, err := parts.OpenObjects(ctx, url, cluster, 0, fs, ring)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, closeObjects)
	if c, ok := objects.(*cache.Store); ok {
		objects = c.Store
	}
	return objects, nil
}

// ring opens the data keys of a cluster, as the records in from tell: etcd, or a backup. It is closed with the rest.
func (s *offlineStores) ring(ctx context.Context, from kv.KV, cluster, kms, data string, fs disk.FS, log *slog.Logger) (*keys.Ring, error) {
	record, err := control.New(from, engine.Host{}, clock.System{}, log).Cluster(ctx, cluster)
	if errors.Is(err, control.ErrNoCluster) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ring, end, err := parts.RingOf(ctx, record.Encrypt, "", cluster, kms, data, from, fs, log)
	if err == nil {
		s.closers = append(s.closers, func() error { end(); return nil })
	}
	return ring, err
}

// close ends everything in the reverse order.
func (s *offlineStores) close() error {
	var errs []error
	for _, end := range slices.Backward(s.closers) {
		errs = append(errs, end())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// storeOf is the URL of the store as `millrace serve` makes it of its flags.
func storeOf(data, store string) string {
	if store != "" {
		return store
	}
	return parts.FileScheme + filepath.Join(data, "store")
}
