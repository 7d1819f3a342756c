package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"millrace/base/disk"
	"millrace/base/kv"
)

// ErrInUse is returned by StartEmbedded when another member runs on the directory; the text names its
// process.
var ErrInUse = errors.New("etcd: data directory is in use")

// Quotas of an embedded member in bytes.
const (
	DefaultQuota int64 = 2 << 30
	MaxQuota     int64 = 8 << 30
)

// The member is alone, so nobody's heartbeat can be late and short timeouts cost nothing: it elects itself
// 100 to 200 ms after its start at most, which is most of the time that a start takes.
const (
	tickMillis     = 10
	electionMillis = 100
)

// keptRevisions is how much history stays for watches when the member compacts itself (every five minutes).
const keptRevisions = "20000"

// EmbeddedConfig is read once by StartEmbedded. A zero field takes its default.
type EmbeddedConfig struct {
	Dir        string       // created with mode 0700 if need be; no default
	QuotaBytes int64        // size of the database at which it takes no more writes; default 2 GiB, at most 8 GiB
	Log        *slog.Logger // for etcd's errors; default none
}

func (cfg *EmbeddedConfig) validate() error {
	if cfg.QuotaBytes == 0 {
		cfg.QuotaBytes = DefaultQuota
	}
	var errs []error
	if cfg.Dir == "" {
		errs = append(errs, errors.New("no directory"))
	}
	if cfg.QuotaBytes < 0 || cfg.QuotaBytes > MaxQuota {
		errs = append(errs, fmt.Errorf("quota of %d bytes, at most %d", cfg.QuotaBytes, MaxQuota))
	}
	return errors.Join(errs...)
}

// Embedded is an etcd cluster of one member in this process.
type Embedded struct {
	member   *embed.Etcd
	lock     io.Closer
	socket   string
	server   *grpc.Server
	serving  sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// StartEmbedded starts the member and returns when it serves clients. It returns ErrInUse when another
// process, or this one, runs a member on the same directory.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig) (*Embedded, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	e, err := startEmbedded(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	return e, nil
}

func startEmbedded(ctx context.Context, cfg EmbeddedConfig) (*Embedded, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	fsys := disk.OS(dir)
	if err := fsys.MkdirAll("", 0o700); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock("lock")
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("%w: %s: %w", ErrInUse, dir, err)
	}
	if err != nil {
		return nil, err
	}
	e := &Embedded{lock: lock}
	if err := e.start(ctx, dir, cfg); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// start starts the member, waits until it leads itself, and opens the socket.
func (e *Embedded) start(ctx context.Context, dir string, cfg EmbeddedConfig) error {
	err := os.Chmod(dir, 0o700)
	if err != nil {
		return err
	}
	if e.socket, err = socketPath(dir, os.TempDir()); err != nil {
		return err
	}
	if e.member, err = embed.StartEtcd(memberConfig(dir, cfg)); err != nil {
		return err
	}
	select {
	case <-e.member.Server.ReadyNotify():
	case <-e.member.Server.StopNotify():
		return errors.New("the member stopped while it was starting")
	case <-ctx.Done():
		return ctx.Err()
	}
	listener, err := listen(e.socket)
	if err != nil {
		return err
	}
	e.serve(listener)
	return nil
}

// serve runs our own gRPC server for the member's services rather than one of etcd's listeners: those also
// offer HTTP, and on Close they wait seconds for watches to end.
func (e *Embedded) serve(listener net.Listener) {
	// Without this gRPC takes the pings of clients (see Dial) for an attack and disconnects them.
	pings := keepalive.EnforcementPolicy{MinTime: pingInterval / 2, PermitWithoutStream: true}
	e.server = v3rpc.Server(e.member.Server, nil, nil, grpc.KeepaliveEnforcementPolicy(pings))
	e.serving.Add(1)
	go func() {
		defer e.serving.Done()
		_ = e.server.Serve(listener) // ends only with Stop, for a unix listener's Accept does not fail
	}()
}

// memberConfig is etcd's configuration for a single member without listeners.
func memberConfig(dir string, cfg EmbeddedConfig) *embed.Config {
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"} // a name that the member needs and nobody uses
	c := embed.NewConfig()
	c.Name = "millrace"
	c.Dir = dir
	c.ListenPeerUrls = nil
	c.ListenClientUrls = nil
	c.AdvertisePeerUrls = []url.URL{peer}
	c.AdvertiseClientUrls = nil
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	c.TickMs = tickMillis
	c.ElectionMs = electionMillis
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = keptRevisions
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.MaxTxnOps = 4 * kv.MaxOps
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(cfg.Log))
	return c
}

// Endpoint returns the URL for Dial, in this process and in others of the same user. It is the same after a
// restart on the same directory.
func (e *Embedded) Endpoint() string {
	u := url.URL{Scheme: "unix", Path: e.socket}
	return u.String()
}

// SocketURL is the Endpoint of the member that runs on a directory in some process of this user, or would.
func SocketURL(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path, err := socketPath(dir, os.TempDir())
	if err != nil {
		return "", fmt.Errorf("socket of the etcd in %s: %w", dir, err)
	}
	u := url.URL{Scheme: "unix", Path: path}
	return u.String(), nil
}

// Done is closed when the member has stopped, be it by Close or because it could not go on.
func (e *Embedded) Done() <-chan struct{} { return e.member.Server.StopNotify() }

// Close disconnects all clients, stops the member and waits for it. It may be called again.
func (e *Embedded) Close() error {
	e.closing.Do(func() {
		if e.server != nil {
			e.server.Stop() // closes the listener and removes the socket
			e.serving.Wait()
		}
		if e.member != nil {
			e.member.Close()
		}
		e.closeErr = e.lock.Close()
	})
	return e.closeErr
}
