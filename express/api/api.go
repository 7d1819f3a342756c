package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/limit"
	"millrace/express/catalog"
	"millrace/express/partition"
	"millrace/express/quota"
	"millrace/express/replica"
	"millrace/express/session"
	"millrace/express/sharing"
	"millrace/express/telemetry"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
)

// Config is read once by New. A zero field takes its default.
type Config struct {
	// FetchBytes bounds the record bytes of all fetch responses that are not yet written; default 64 MiB, at
	// least 1 MiB. A single response takes at most a sixteenth of it, but always one batch.
	FetchBytes int64
	// MaxParkedFetches bounds how many fetches may wait for data at once; default 10,000. One more is answered
	// at once and throttled.
	MaxParkedFetches int
	// LogDir is the directory that DescribeLogDirs names; default "express".
	LogDir string
}

// ErrConfig is returned by New for a field out of bounds.
var ErrConfig = errors.New("api: config")

func (c *Config) validate() error {
	if c.FetchBytes == 0 {
		c.FetchBytes = 64 << 20
	}
	if c.MaxParkedFetches == 0 {
		c.MaxParkedFetches = 10_000
	}
	if c.LogDir == "" {
		c.LogDir = "express"
	}
	if c.FetchBytes < 1<<20 {
		return fmt.Errorf("%w: fetch bytes %d, must be at least 1 MiB", ErrConfig, c.FetchBytes)
	}
	if c.MaxParkedFetches < 0 {
		return fmt.Errorf("%w: max parked fetches %d, must be at least 1", ErrConfig, c.MaxParkedFetches)
	}
	return nil
}

// Partitions finds the partitions that this broker serves.
type Partitions interface {
	// Partition returns a partition that is open here. It may wait, in all for a second at most, for one that the catalog
	// says is here and that is just on its way.
	Partition(id topic.Partition) (*partition.Partition, bool)
}

// World is all that api touches outside itself. All fields are needed but Leads, Replicas, Verifier, Volume, Authorizer and Telemetry, and,
// where nobody asks for share groups, Sharing and ShareState.
type World struct {
	Catalog      *catalog.Catalog
	Partitions   Partitions
	Replicas     *replica.Reader // nil: consumers are not sent to brokers of their zone, nor served by one that is not the owner
	Groups       Groups
	Transactions Transactions
	Verifier     Verifier // nil: Transactions, for a cluster of one broker
	Markers      Markers
	Sharing      *sharing.Manager
	ShareState   ShareState
	Authorizer   Authorizer         // nil: everybody may do everything
	Telemetry    *telemetry.Manager // nil: clients are not asked for metrics
	// Leads tells whether this broker still may answer for what it owns, which a lease may bound; nil: it may.
	Leads func() bool
	Clock clock.Clock
	Log   *slog.Logger
	// Volume gives the size of the disk and what is left of it, in bytes, -1 unknown; nil: unknown.
	Volume func() (total, usable int64)
}

// API answers the requests of clients. It is a server.Handler. Make one with New.
type API struct {
	cfg      Config
	world    World
	catalog  *catalog.Catalog
	log      *slog.Logger
	decoder  *wire.Decoder
	table    map[int16]entry
	budget   *limit.Budget // of fetch responses
	parked   chan struct{} // holds a token for each fetch that waits
	sessions *session.Sessions
	quotas   *quota.Manager
	metrics  Metrics
	produces sync.Pool // of *produceCall
	fetches  sync.Pool // of *fetchReply
}

// New returns an API, or ErrConfig.
func New(cfg Config, w World) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if w.Leads == nil {
		w.Leads = func() bool { return true }
	}
	if w.Verifier == nil {
		w.Verifier = w.Transactions
	}
	if w.Volume == nil {
		w.Volume = func() (int64, int64) { return -1, -1 }
	}
	a := &API{
		cfg: cfg, world: w, catalog: w.Catalog, log: w.Log,
		decoder:  wire.NewDecoder(0),
		budget:   limit.NewBudget(cfg.FetchBytes),
		parked:   make(chan struct{}, cfg.MaxParkedFetches),
		sessions: session.New(w.Clock, w.Catalog.BrokerSettings().FetchSessionSlots),
		quotas:   quota.New(w.Clock, w.Catalog.Quotas),
	}
	a.produces.New = func() any { return newProduceCall() }
	a.fetches.New = func() any { return new(fetchReply) }
	a.table = a.newTable()
	a.addTelemetry(a.table)
	return a, nil
}

// Versions tells what is served of a key.
func (a *API) Versions(key int16) (lowest, highest int16, ok bool) {
	e, ok := a.table[key]
	return e.min, e.max, ok
}

// Handle answers one request; see server.Handler.
func (a *API) Handle(ctx context.Context, r *server.Request) {
	e, ok := a.table[r.Header.Key]
	if !ok || r.Raw {
		a.refuse(r, wire.ErrVersion)
		return
	}
	e.handle(ctx, r)
}

// Connected lets a connection in, unless its address makes too many. Listeners without a login know everybody as anonymous.
func (a *API) Connected(ctx context.Context, c *server.Conn) error {
	if err := a.admitConnection(ctx, c); err != nil {
		return err
	}
	c.SetSession(&peer{quotas: a.quotas.Client()})
	c.SetPrincipal(anonymous)
	return nil
}

// Disconnected ends what belongs to a connection: a share session.
func (a *API) Disconnected(c *server.Conn) {
	if a.world.Sharing != nil {
		a.world.Sharing.Disconnected(c.ID())
	}
}

// refuse closes the connection of a request that cannot be read, as Kafka does.
func (a *API) refuse(r *server.Request, err error) {
	r.Refuse(err)
}

// caller is who sent a request.
type caller struct {
	conn     *server.Conn
	clientID string
	quotas   *quota.Client
}

func callerOf(r *server.Request) caller {
	return caller{conn: r.Conn, clientID: r.Header.ClientID, quotas: quotasOf(r)}
}

// host is the client's address, as Kafka prints it: "/127.0.0.1".
func (c caller) host() string {
	addr := c.conn.RemoteAddr().String()
	if h, _, err := net.SplitHostPort(addr); err == nil {
		addr = h
	}
	return "/" + addr
}

// answer makes a handler of a function from request to response: for the keys that need nothing else.
func answer[Q kmsg.Request, P kmsg.Response](a *API, f func(context.Context, caller, Q) P) func(context.Context, *server.Request) {
	return func(ctx context.Context, r *server.Request) {
		q, err := decode[Q](a, r)
		if err != nil {
			a.refuse(r, err)
			return
		}
		c := callerOf(r)
		a.reply(r, c.quotas, f(ctx, c, q))
	}
}

// decode reads the body and gives the frame back. What the body's bytes stay in use for is copied first:
// groups keep the metadata and assignments of their members.
func decode[Q kmsg.Request](a *API, r *server.Request) (Q, error) {
	body := r.Body
	if r.Header.Key == int16(kmsg.JoinGroup) || r.Header.Key == int16(kmsg.SyncGroup) {
		body = bytes.Clone(body)
	}
	q, err := a.decoder.Decode(r.Header.Key, r.Header.Version, body)
	if err != nil {
		var none Q
		return none, err
	}
	r.FreeBody()
	return q.(Q), nil
}

// Bounds of the time that a client may give an administrative request.
const (
	timeoutLeast = time.Second
	timeoutMost  = time.Minute
)

// withTimeout bounds ctx by the time that the client gave.
func withTimeout(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	d := time.Duration(millis) * time.Millisecond
	return context.WithTimeout(ctx, min(max(d, timeoutLeast), timeoutMost))
}
