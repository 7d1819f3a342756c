package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/limit"
	"millrace/express/api/acls"
	"millrace/express/catalog"
	"millrace/express/meter"
	"millrace/express/partition"
	"millrace/express/quota"
	"millrace/express/replica"
	"millrace/express/session"
	"millrace/express/sharing"
	"millrace/express/telemetry"
	"millrace/kafka/server"
	"millrace/kafka/topic"
	"millrace/kafka/wire"
	"millrace/secure/acl"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/scram"
	"millrace/secure/trail"
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
	// Limits are what all clients together are held to.
	Limits quota.Limits
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

// World is all that api touches outside itself. All fields are needed but those of which it says what nil means, and, where nobody
// asks for share groups, Sharing and ShareState.
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
	Authorizer   authz.Judge    // nil: everybody may do everything
	ACLs         *acl.Store     // nil: there are none to be listed or changed
	Trail        trail.Recorder // is told of changes that administrators make; nil: nobody is
	// Identify says who is at the other end of a connection, at each request; nil, and where it returns nil: who logged in.
	Identify func(*server.Conn) *identity.Identity
	// Read is told of the bytes of records in each answer, and whose they are. It is quick and safe for concurrent use; nil: nobody is.
	Read      func(principal string, bytes int64)
	Usage     *meter.Meter       // counts what clients produce and fetch; nil: nobody does
	Telemetry *telemetry.Manager // nil: clients are not asked for metrics
	Presence  Presence           // nil: answers to Metadata do not wait for the heirs of brokers that are away
	Door      *login.Door        // nil: no listener asks for a login
	// Listener tells of a listener by its name; nil: none asks for a login.
	Listener func(name string) login.Listener
	Users    *scram.Store // nil: there are no SCRAM credentials, and none can be made
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
	whole    *quota.Whole // of all clients; nil: they are held to nothing
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
	if w.Listener == nil {
		w.Listener = func(name string) login.Listener { return login.Listener{Name: name} }
	}
	if w.Door == nil {
		var err error
		if w.Door, err = login.New(login.Config{}, login.World{Trail: trail.Discard{}, Clock: w.Clock, Log: w.Log}); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	if w.Volume == nil {
		w.Volume = func() (int64, int64) { return -1, -1 }
	}
	if w.Trail == nil {
		w.Trail = trail.Discard{}
	}
	a := &API{
		cfg: cfg, world: w, catalog: w.Catalog, log: w.Log,
		decoder:  wire.NewDecoder(0),
		budget:   limit.NewBudget(cfg.FetchBytes),
		parked:   make(chan struct{}, cfg.MaxParkedFetches),
		sessions: session.New(w.Clock, w.Catalog.BrokerSettings().FetchSessionSlots),
		quotas:   quota.New(w.Clock, w.Catalog.Quotas),
		whole:    quota.NewWhole(cfg.Limits, w.Clock),
	}
	a.produces.New = func() any { return newProduceCall() }
	a.fetches.New = func() any { return newFetchReply(a) }
	a.table = a.newTable()
	a.addTelemetry(a.table)
	return a, nil
}

// Versions tells what is served of a key.
func (a *API) Versions(key int16) (lowest, highest int16, ok bool) {
	e, ok := a.table[key]
	return e.min, e.max, ok
}

// Handle answers one request; see server.Handler. What belongs to the login, and what comes before it, the session answers.
func (a *API) Handle(ctx context.Context, r *server.Request) {
	if sessionOf(r).Handle(ctx, r) {
		return
	}
	e, ok := a.table[r.Header.Key]
	if !ok || r.Raw {
		a.refuse(r, wire.ErrVersion)
		return
	}
	e.handle(ctx, r)
}

// Connected lets a connection in, unless its address makes too many, and begins its login.
func (a *API) Connected(ctx context.Context, c *server.Conn) error {
	if err := a.admitConnection(ctx, c); err != nil {
		return err
	}
	if err := a.enter(ctx, c); err != nil {
		return err
	}
	session, err := a.world.Door.Connected(c, a.world.Listener(c.Listener()))
	if err != nil {
		a.leave(c)
		return fmt.Errorf("api: %w", err)
	}
	c.SetSession(&peer{quotas: a.quotas.Client(), login: session, address: addressOf(c.RemoteAddr())})
	return nil
}

// Disconnected ends what belongs to a connection: a share session, its place.
func (a *API) Disconnected(c *server.Conn) {
	a.leave(c)
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
	version  int16 // of the request
	quotas   *quota.Client
	key      int16
	who      *identity.Identity
	address  netip.Addr
	looks    bool // what is refused was not asked for, see looking
	records  bool // the connection has carried records
}

func (a *API) callerOf(r *server.Request) caller {
	p := r.Conn.Session().(*peer)
	return caller{
		conn: r.Conn, clientID: r.Header.ClientID, version: r.Header.Version, quotas: quotasOf(r), key: r.Header.Key,
		who: a.identify(r.Conn), address: p.address, records: p.records,
	}
}

func (a *API) identify(c *server.Conn) *identity.Identity {
	if a.world.Identify != nil {
		return a.world.Identify(c)
	}
	return c.Session().(*peer).login.Who()
}

// host is the client's address, as Kafka prints it: "/127.0.0.1".
func (c caller) host() string { return "/" + c.address.String() }

// addressOf gives the address without the port; the zero value where there is none.
func addressOf(addr net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// answer makes a handler of a function from request to response: for the keys that need nothing else.
func answer[Q kmsg.Request, P kmsg.Response](a *API, f func(context.Context, caller, Q) P) func(context.Context, *server.Request) {
	return func(ctx context.Context, r *server.Request) {
		q, err := decode[Q](a, r)
		if err != nil {
			a.refuse(r, err)
			return
		}
		c := a.callerOf(r)
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
	if !acls.Known(q) {
		var none Q
		return none, errUnknownElement
	}
	return q.(Q), nil
}

// errUnknownElement ends the connection of a request about ACLs that has UNKNOWN in it.
var errUnknownElement = errors.New("api: the request has an element of the number 0")

// Bounds of the time that a client may give an administrative request, in ms where it is the field of one.
const (
	timeoutLeast = time.Second
	timeoutMost  = time.Minute
	timeoutSelf  = 5000 // where the request has no such field
)

// withTimeout bounds ctx by the time that the client gave.
func withTimeout(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	d := time.Duration(millis) * time.Millisecond
	return context.WithTimeout(ctx, min(max(d, timeoutLeast), timeoutMost))
}
