package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace/base/clock"
	"millrace/base/kv"
)

// listPage is how many items List asks for at a time, so that an answer stays far below gRPC's limits.
const listPage = 1000

// pingInterval is how often a client that waits for answers or events checks its connection; gRPC allows no
// shorter one.
const pingInterval = 10 * time.Second

// Options of Dial. The zero value suits an embedded member.
type Options struct {
	Prefix   string      // of every key in the cluster, unseen by the KV's user; default none
	TLS      *tls.Config // for https endpoints
	Username string
	Password string
	Clock    clock.Clock // for leases; default clock.System
}

// Client is a kv.KV over an etcd cluster.
type Client struct {
	etcd    *clientv3.Client
	kv      clientv3.KV
	lease   clientv3.Lease
	watcher clientv3.Watcher
	leases  *kv.Leases
	life    context.Context // ends with Close
	end     context.CancelFunc

	mu      sync.Mutex // guards the rest
	closed  bool
	watches sync.WaitGroup
}

// Dial returns a Client of the cluster at the endpoints (http://, https:// or unix:// URLs). It does not wait
// for a connection, except to log in when a user name is given; ctx bounds that. The Client outlives ctx. While
// there is no connection calls wait for one (K6): a call that was never sent has no unknown outcome.
func Dial(ctx context.Context, endpoints []string, opts Options) (*Client, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	etcd, err := clientv3.New(clientv3.Config{
		Context:              life,
		Endpoints:            endpoints,
		TLS:                  opts.TLS,
		Username:             opts.Username,
		Password:             opts.Password,
		DialKeepAliveTime:    pingInterval,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   2 * kv.MaxBytes,
		Logger:               zap.NewNop(), // errors are returned
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
		},
	})
	if !stop() && err == nil {
		err = errors.Join(ctx.Err(), etcd.Close())
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	c := &Client{
		etcd: etcd, life: life, end: end,
		kv:      namespace.NewKV(etcd.KV, opts.Prefix),
		lease:   namespace.NewLease(etcd.Lease, opts.Prefix),
		watcher: namespace.NewWatcher(etcd.Watcher, opts.Prefix),
	}
	clk := opts.Clock
	if clk == nil {
		clk = clock.System{}
	}
	c.leases = kv.NewLeases(leaseStore{c}, clk)
	return c, nil
}

// Get implements kv.KV.
func (c *Client) Get(ctx context.Context, key string) (kv.Item, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.kv.Get(ctx, key)
	if err != nil {
		return kv.Item{}, fmt.Errorf("get %q: %w", key, c.translate(err))
	}
	if len(resp.Kvs) == 0 {
		return kv.Item{}, fmt.Errorf("get %q: %w", key, kv.ErrNotFound)
	}
	return item(resp.Kvs[0]), nil
}

// List implements kv.KV. It begins again when its revision is compacted while it reads page after page.
func (c *Client) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	for {
		items, rev, err := c.list(ctx, prefix)
		if errors.Is(err, rpctypes.ErrCompacted) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("list %q: %w", prefix, c.translate(err))
		}
		return items, rev, nil
	}
}

func (c *Client) list(ctx context.Context, prefix string) (items []kv.Item, rev int64, err error) {
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	if prefix == "" {
		from, end = "\x00", "\x00" // etcd's way to say all keys
	}
	for {
		resp, err := c.kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(rev))
		if err != nil {
			return nil, 0, err
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		for _, pair := range resp.Kvs {
			items = append(items, item(pair))
		}
		if !resp.More {
			return items, rev, nil
		}
		from = items[len(items)-1].Key + "\x00"
	}
}

// Grant implements kv.KV.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (kv.Lease, error) {
	return c.leases.Grant(ctx, ttl)
}

// Close implements kv.KV.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	c.leases.Close()
	c.end()
	c.watches.Wait()
	if err := c.etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("disconnect from etcd: %w", err)
	}
	return nil
}

// bound returns a context that ends with ctx and with the Client; etcd's own client would go on trying for
// seconds after its Close.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// translate turns etcd's errors into those of package kv and of context; others stay.
func (c *Client) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case c.isClosed():
		return kv.ErrClosed
	case errors.Is(err, rpctypes.ErrNoSpace):
		return kv.ErrNoSpace
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return kv.ErrLeaseLost
	case status.Code(err) == codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case status.Code(err) == codes.Canceled:
		return fmt.Errorf("%w: %w", context.Canceled, err)
	default:
		return err
	}
}

// leaseStore is what kv.Leases needs.
type leaseStore struct{ c *Client }

func (s leaseStore) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, time.Duration, error) {
	ctx, cancel := s.c.bound(ctx)
	defer cancel()
	resp, err := s.c.lease.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, 0, s.c.translate(err)
	}
	return kv.LeaseID(resp.ID), time.Duration(resp.TTL) * time.Second, nil
}

func (s leaseStore) KeepAlive(ctx context.Context, id kv.LeaseID) (time.Duration, error) {
	resp, err := s.c.lease.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	if err != nil {
		return 0, s.c.translate(err)
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

func (s leaseStore) Revoke(ctx context.Context, id kv.LeaseID) error {
	ctx, cancel := s.c.bound(ctx)
	defer cancel()
	_, err := s.c.lease.Revoke(ctx, clientv3.LeaseID(id))
	return s.c.translate(err)
}
