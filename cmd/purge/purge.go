// Package purge deletes what a cluster that is gone has left in the object store, for the agent that is told to.
package purge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"millrace/base/clock"
	"millrace/base/disk"
	"millrace/base/object"
	"millrace/base/object/s3"
)

// Objects deletes what a cluster keeps in the object store of a URL, as brokers are given it. It may be called again after it was done, or interrupted.
func Objects(ctx context.Context, url, cluster string, files disk.FS) error {
	if dir, ok := strings.CutPrefix(url, "file://"); ok {
		return removeTree(ctx, files, filepath.Join(dir, cluster))
	}
	cfg, err := s3.Parse(url)
	if err != nil {
		return err
	}
	cfg.Prefix += cluster + "/"
	bucket, err := s3.Open(ctx, cfg, clock.System{})
	if err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	return deleteAll(ctx, bucket)
}

// removeTree deletes a directory and everything below it; it is no error when there is none.
func removeTree(ctx context.Context, files disk.FS, dir string) error {
	entries, err := files.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if err == nil {
			err = ctx.Err()
		}
		switch name := filepath.Join(dir, entry.Name()); {
		case err != nil:
			return err
		case entry.IsDir():
			err = removeTree(ctx, files, name)
		default:
			err = files.Remove(name)
		}
	}
	if err != nil {
		return err
	}
	return files.Remove(dir)
}

func deleteAll(ctx context.Context, objects object.Store) error {
	const page = 1000
	for {
		found, err := objects.List(ctx, "", "", page)
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := objects.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
		if len(found) < page {
			return nil
		}
	}
}
