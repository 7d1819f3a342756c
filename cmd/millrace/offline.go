package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"millrace/base/disk"
	"millrace/base/kv"
	"millrace/base/kv/etcd"
	"millrace/base/object"
	"millrace/base/object/cache"
)

// offlineStores is what a verb works on that asks neither serve nor brokers.
type offlineStores struct {
	kv      kv.KV
	closers []func() error
}

// openEtcd connects to etcd. Where it is that of a data directory, and no serve runs it, it is run here.
func openEtcd(ctx context.Context, data, urls string, fs disk.FS, log *slog.Logger) (_ *offlineStores, err error) {
	s := &offlineStores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if urls == "" {
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
			if urls, err = etcd.SocketURL(dir); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			s.closers, urls = append(s.closers, embedded.Close), embedded.Endpoint()
		}
	}
	client, err := etcd.Dial(ctx, strings.Split(urls, ","), etcd.Options{Prefix: etcdPrefix})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	s.closers = append(s.closers, client.Close)
	s.kv = client
	return s, nil
}

// open opens a cluster's part of the object store, which is closed with the rest. Everything is read once, so nothing is cached.
func (s *offlineStores) open(ctx context.Context, url, cluster string, fs disk.FS) (object.Store, error) {
	objects, closeObjects, err := openObjects(ctx, url, cluster, 0, fs)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, closeObjects)
	if c, ok := objects.(*cache.Store); ok {
		objects = c.Store
	}
	return objects, nil
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

// statusLine shows on a terminal how far something is.
type statusLine struct {
	out  io.Writer
	live bool
}

func (l *statusLine) show(format string, args ...any) {
	if l.live {
		fmt.Fprintf(l.out, "\r\x1b[K"+format, args...)
	}
}

func (l *statusLine) clear() {
	if l.live {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

// storeOf is the URL of the store as `millrace serve` makes it of its flags.
func storeOf(data, store string) string {
	if store != "" {
		return store
	}
	return fileScheme + filepath.Join(data, "store")
}
