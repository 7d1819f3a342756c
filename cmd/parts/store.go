package parts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/object"
	"millrace/base/object/cache"
	"millrace/base/object/s3"
	"millrace/cmd/api"
	"millrace/secure/atrest"
	"millrace/secure/keys"
)

// FileScheme is before the absolute path of a store on a file system.
const FileScheme = "file://"

// ErrStore: --store names no store.
var ErrStore = errors.New("use file:///DIR or s3://BUCKET[/PREFIX][?region=…&endpoint=…]")

// CheckStore says what is wrong with the URL of an object store; nil: nothing.
func CheckStore(url string) error {
	if dir, ok := strings.CutPrefix(url, FileScheme); ok && filepath.IsAbs(dir) {
		return nil
	}
	if strings.HasPrefix(url, "s3://") {
		_, err := s3.Parse(url)
		return err
	}
	return ErrStore
}

// cacheShare is the part of a broker's memory that keeps blocks of a store behind a network.
const cacheShare = 8

// OpenObjects opens the part of an object store that belongs to a cluster: what a cluster's sweep does not know, it deletes. Where reads are
// requests over a network, a share of memory (bytes) keeps what was read.
func OpenObjects(ctx context.Context, url, cluster string, memory int64, fs disk.FS, keys *keys.Ring) (object.Store, func() error, error) {
	if dir, ok := strings.CutPrefix(url, FileScheme); ok {
		files, err := object.OpenFiles(ctx, fs, filepath.Join(dir, cluster))
		if err != nil {
			return nil, nil, err
		}
		return sealed(files, keys), files.Close, nil
	}
	cfg, err := s3.Parse(url)
	if err != nil {
		return nil, nil, err
	}
	cfg.Prefix += cluster + "/"
	bucket, err := s3.Open(ctx, cfg, clock.System{})
	if err != nil {
		return nil, nil, fmt.Errorf("object store: %w", err)
	}
	return cache.New(sealed(bucket, keys), cache.Config{Bytes: memory / cacheShare}), func() error { return nil }, nil
}

// TryStore finds out before a broker is started whether the store can be reached, and can be relied on.
func TryStore(ctx context.Context, url string, fs disk.FS) error {
	if strings.HasPrefix(url, FileScheme) {
		return nil // its folder is made when it is needed
	}
	_, closeStore, err := OpenObjects(ctx, url, api.DefaultCluster, 0, fs, nil)
	if err != nil {
		return err
	}
	return closeStore()
}

// sealed encrypts what goes into a store, where there are keys.
func sealed(store object.Store, ring *keys.Ring) object.Store {
	if ring == nil {
		return store
	}
	return atrest.New(store, ring)
}

// ClusterPurpose is that of the data keys of a cluster's records.
func ClusterPurpose(cluster string) string { return "clusters/" + cluster }

// RingOf opens the data keys of a cluster's records, nil where they are not encrypted. The function ends following them.
func RingOf(ctx context.Context, encrypted bool, who, cluster, kms, data string, store kv.KV, files disk.FS, log *slog.Logger) (*keys.Ring, func(), error) {
	if !encrypted {
		return nil, func() {}, nil
	}
	ring, err := OpenRingFor(ctx, who, ClusterPurpose(cluster), kms, data, false, store, files, log)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %s is encrypted: %w", cluster, err)
	}
	return ring, ring.Close, nil
}
