package login

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/identity"
	"millrace/secure/scram"
	"millrace/secure/trail"
)

// ErrUnknownKey is what Keys return for a key that does not exist, is disabled or has expired, and for a session token that does not
// belong to the key. Logins do not tell these cases apart; the error may, for the trail.
var ErrUnknownKey = errors.New("login: unknown key")

// ErrConfig is returned by New for a field out of bounds.
var ErrConfig = errors.New("login: config")

// Key is an access key, with who has it. Its secret is in no String and no log.
type Key struct {
	ID        string
	Secret    string
	Principal string       // Kafka's name: "User:" and the ARN
	Identity  identity.IAM // whose key it is
	Expires   time.Time    // of a session; zero: never
}

// String returns the key's id alone.
func (k Key) String() string { return "key " + k.ID }

// GoString returns the key's id alone.
func (k Key) GoString() string { return k.String() }

// LogValue returns the key's id alone.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

// Keys finds access keys. It is asked for each login, so it answers from memory; it is safe for concurrent use.
type Keys interface {
	// Key returns the key with that id. sessionToken is "" for a key that lasts. The error matches ErrUnknownKey when there is no such
	// key; any other error means that it could not be found out, and refuses the login too.
	Key(ctx context.Context, id, sessionToken string) (Key, error)
}

// Users begins SCRAM logins; *scram.Store implements it.
type Users interface {
	Begin(m identity.Mechanism) (*scram.Exchange, error)
}

// Listener is what the Door needs to know of where a connection came in.
type Listener struct {
	Name string
	// Mechanisms are those of SASL that are offered, in the order in which clients are told. None: no login by SASL.
	Mechanisms []identity.Mechanism
	// Hosts are the names and addresses by which clients reach this broker's listener: what AWS_MSK_IAM signatures may be for. The address
	// that the client did connect to counts always, and localhost on loopback.
	Hosts []string
	// Certificate makes an identity of a client certificate, on listeners without Mechanisms; nil: certificates do not matter.
	Certificate func(state tls.ConnectionState) (identity.Identity, error)
	// MaxReauth is the longest time between two logins of a connection (connections.max.reauth.ms); zero: no bound.
	MaxReauth time.Duration
}

// Origin says where a login comes from, for World.Admit.
type Origin struct {
	Listener string
	Address  netip.Addr
	TLS      bool
}

// Config is read once by New. A zero field takes its default.
type Config struct {
	Region       string        // of AWS signatures; required where Keys are
	Cluster      string        // name, for the trail
	FailureDelay time.Duration // shortest time before a refusal is answered; default 100 ms, at most 5 s
	Addresses    int           // addresses and names whose refusals are remembered; default 16,384
	Signatures   int           // signatures that are remembered; default 131,072
}

// World is all that login touches outside itself. Users, Keys and Admit may be nil.
type World struct {
	Users Users // nil: no SCRAM
	Keys  Keys  // nil: neither AWS_MSK_IAM nor OAUTHBEARER
	Trail trail.Recorder
	Clock clock.Clock
	Log   *slog.Logger
	// Admit is asked after a login was proven, whether its principal may connect (kafka-cluster:Connect); nil: all may.
	Admit func(ctx context.Context, who identity.Identity, from Origin) error
}

// Metrics counts what happened at a Door.
type Metrics struct {
	Accepted        atomic.Int64 // logins, with re-authentications
	Refused         atomic.Int64
	Reauthenticated atomic.Int64 // of those accepted
	Expired         atomic.Int64 // connections closed because their session had ended
}

// Door lets connections in. Make one with New.
type Door struct {
	cfg      Config
	world    World
	decoder  *wire.Decoder
	refusals *refusals
	replays  *replays
	metrics  Metrics
}

// New returns a Door, or ErrConfig.
func New(cfg Config, w World) (*Door, error) {
	if cfg.FailureDelay == 0 {
		cfg.FailureDelay = 100 * time.Millisecond
	}
	if cfg.Addresses == 0 {
		cfg.Addresses = 16_384
	}
	if cfg.Signatures == 0 {
		cfg.Signatures = 131_072
	}
	switch {
	case cfg.FailureDelay < 0 || cfg.FailureDelay > delayMost:
		return nil, fmt.Errorf("%w: failure delay %v, must be 0 to %v", ErrConfig, cfg.FailureDelay, delayMost)
	case cfg.Addresses < 1 || cfg.Signatures < 1:
		return nil, fmt.Errorf("%w: %d addresses, %d signatures, must be positive", ErrConfig, cfg.Addresses, cfg.Signatures)
	case w.Keys != nil && cfg.Region == "":
		return nil, fmt.Errorf("%w: keys without a region", ErrConfig)
	}
	return &Door{cfg: cfg, world: w, decoder: wire.NewDecoder(0), refusals: newRefusals(cfg.Addresses, w.Clock), replays: newReplays(cfg.Signatures)}, nil
}

// Metrics returns the counters, which go on counting.
func (d *Door) Metrics() *Metrics { return &d.metrics }

// Connected begins the login of a connection. Without Mechanisms it is in at once: as its certificate says, or as nobody. An error
// refuses the connection.
func (d *Door) Connected(c *server.Conn, l Listener) (*Session, error) {
	s := &Session{door: d, conn: c, listener: l, origin: Origin{Listener: l.Name, Address: addressOf(c), TLS: c.TLS() != nil}}
	if len(l.Mechanisms) > 0 {
		return s, nil
	}
	who := identity.Nobody()
	if state := c.TLS(); l.Certificate != nil && state != nil && len(state.PeerCertificates) > 0 {
		var err error
		if who, err = l.Certificate(*state); err != nil {
			d.refused(s, trail.Event{Mechanism: string(identity.TLS), Reason: err.Error()})
			return nil, fmt.Errorf("login: certificate: %w", err)
		}
		d.accepted(s, who)
	}
	s.enter(who, who.Expires)
	return s, nil
}

// HandshakeFailed tells of a connection that never came to a login, because the client's certificate was refused. It does not block.
func (d *Door) HandshakeFailed(c *server.Conn, l Listener, err error) {
	s := &Session{door: d, conn: c, listener: l, origin: Origin{Listener: l.Name, Address: addressOf(c)}}
	d.refused(s, trail.Event{Mechanism: string(identity.TLS), Reason: clip(err.Error())})
}

// offers says whether a listener offers a mechanism that this Door can do.
func (d *Door) offers(l Listener, m identity.Mechanism) bool {
	if !slices.Contains(l.Mechanisms, m) {
		return false
	}
	switch m {
	case identity.ScramSHA256, identity.ScramSHA512:
		return d.world.Users != nil
	case identity.MSKIAM, identity.OAuthBearer:
		return d.world.Keys != nil
	default:
		return false // PLAIN and others are never offered
	}
}

// accepted and refused tell the trail of a login.
func (d *Door) accepted(s *Session, who identity.Identity) {
	d.metrics.Accepted.Add(1)
	e := trail.Event{Outcome: trail.Accepted, Principal: who.Principal, Mechanism: string(who.Mechanism)}
	if who.IAM != nil {
		e.AccessKey = who.IAM.AccessKey
	}
	d.record(s, e)
}

func (d *Door) refused(s *Session, e trail.Event) {
	d.metrics.Refused.Add(1)
	e.Outcome = trail.Refused
	d.record(s, e)
}

func (d *Door) record(s *Session, e trail.Event) {
	e.Time, e.Kind, e.Action = d.world.Clock.Now(), trail.Login, "kafka-cluster:Connect"
	e.Listener, e.Cluster, e.ClientID = s.listener.Name, d.cfg.Cluster, clip(s.conn.ClientID())
	if s.origin.Address.IsValid() {
		e.From = s.origin.Address.String()
	}
	d.world.Trail.Record(e)
}

// addressOf is the client's address; invalid if it has none.
func addressOf(c *server.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// clip shortens a stranger's words.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most]
	}
	return s
}
