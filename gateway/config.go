package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/kafka/server"
	"millrace/secure/authz"
	"millrace/secure/identity"
	"millrace/secure/login"
	"millrace/secure/trail"
)

// Config is read once by Open. A zero field takes its default, if one is told.
type Config struct {
	Cluster   string      // name of the cluster, for the trail and the logs
	Upstream  []string    // HOST:PORT of one or more brokers; at least one
	User      *User       // as whom the gateway logs in to the brokers; nil: it does not
	TLS       *tls.Config // for the connections to the brokers; nil: none. An empty ServerName means the host dialled
	Listeners []Listener  // at least one
	FirstNode int32       // node id whose port follows the bootstrap port; default 0
	MostNodes int         // brokers that are served; default 64, at most 1,000

	Server server.Config // of the connections of clients

	Refresh         time.Duration // how often the cluster is asked for its brokers and quotas; default 5 s
	DialTimeout     time.Duration // longest time to connect to a broker and log in; default 10 s
	ResponseTimeout time.Duration // longest time that a broker may take for an answer; default 15 min, for a join may wait for all members
	FrameTimeout    time.Duration // time in which 64 KiB of an answer have to come; default 30 s
	WriteTimeout    time.Duration // longest time that a write to a broker may block; default 30 s

	AnswerBytes     int64 // answers of brokers, over all connections, that are read and not yet written; default 64 MiB
	ConnAnswerBytes int64 // the same for one connection; one larger answer is let in alone; default 8 MiB
	MaxAnswerBytes  int   // largest answer; default 128 MiB
	FetchMaxBytes   int32 // what a fetch may ask for; more is lowered to it, as by fetch.max.bytes of a broker; default a quarter of AnswerBytes

	ProduceBytesPerSecond float64 // of a principal that the cluster has no quota for; 0: unbounded
	FetchBytesPerSecond   float64 // of a principal that the cluster has no quota for; 0: unbounded
}

// Listener is one way in, with a port for each broker.
type Listener struct {
	Name      string         // such as CLIENT_IAM
	Address   string         // HOST:PORT of the bootstrap port
	Advertise string         // host that clients are told; empty: the host of Address, or the address a client came to if that is a wildcard
	TLS       *tls.Config    // nil: none
	Allow     []netip.Prefix // networks that may connect; nil: all
	Login     login.Listener // how clients log in; its Name is the listener's
}

// User is a user of the brokers.
type User struct {
	Mechanism identity.Mechanism // ScramSHA256 or ScramSHA512
	Name      string
	Password  string
}

// String hides the password.
func (u User) String() string { return string(u.Mechanism) + " as " + u.Name }

// LogValue hides the password.
func (u User) LogValue() slog.Value { return slog.StringValue(u.String()) }

// World is all that the gateway touches outside itself.
type World struct {
	Log   *slog.Logger
	Clock clock.Clock
	Slabs *slab.Pool
	// Connect begins the login of a connection; an error refuses it. login.Door's Connected is meant. nil: there are no logins, everybody
	// is nobody.
	Connect func(*server.Conn, login.Listener) (Session, error)
	Judge   authz.Judge
	Trail   trail.Recorder
	// Own are keys that the cluster is not asked about, such as those of ACLs and users where the gateway's count. They are authorized as
	// the others are.
	Own map[int16]Own
	// Dial connects to a broker; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen opens a port; nil: net.Listen.
	Listen func(network, address string) (net.Listener, error)
}

// Own answers requests that the gateway's installation has the answer to, not the cluster: they are authorized already.
type Own func(ctx context.Context, req kmsg.Request) (kmsg.Response, error)

// Session is the login of one connection; *login.Session is meant.
type Session interface {
	// Handle answers what belongs to the login, and what comes before it and may not; then it reports true.
	Handle(ctx context.Context, r *server.Request) (handled bool)
	// Identity returns who is logged in; the zero value before that. Safe for concurrent use.
	Identity() identity.Identity
}

// nobody is the session of a gateway without logins.
type nobody struct{}

func (nobody) Handle(context.Context, *server.Request) bool { return false }
func (nobody) Identity() identity.Identity                  { return identity.Nobody() }

var errConfig = errors.New("gateway: config")

// Validate fills defaults and returns every fault, joined.
func (c *Config) Validate() error {
	def(&c.MostNodes, 64)
	def(&c.Refresh, 5*time.Second)
	def(&c.DialTimeout, 10*time.Second)
	def(&c.ResponseTimeout, 15*time.Minute)
	def(&c.FrameTimeout, 30*time.Second)
	def(&c.WriteTimeout, 30*time.Second)
	def(&c.AnswerBytes, 64<<20)
	def(&c.ConnAnswerBytes, min(8<<20, c.AnswerBytes))
	def(&c.MaxAnswerBytes, 128<<20)
	def(&c.FetchMaxBytes, int32(min(c.AnswerBytes/4, 1<<30)))
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{errConfig}, args...)...))
	}
	if len(c.Upstream) == 0 {
		fault("no upstream broker")
	}
	for _, u := range c.Upstream {
		if _, _, err := net.SplitHostPort(u); err != nil {
			fault("upstream %q: use HOST:PORT", u)
		}
	}
	if c.User != nil && c.User.Mechanism != identity.ScramSHA256 && c.User.Mechanism != identity.ScramSHA512 {
		fault("mechanism %q of the upstream login: use %s or %s", c.User.Mechanism, identity.ScramSHA256, identity.ScramSHA512)
	}
	if len(c.Listeners) == 0 {
		fault("no listener")
	}
	names := map[string]bool{}
	for _, l := range c.Listeners {
		if names[l.Name] {
			fault("two listeners named %q", l.Name)
		}
		names[l.Name] = true
		if _, _, err := splitPort(l.Address); err != nil {
			fault("listener %q: address %q: use HOST:PORT", l.Name, l.Address)
		}
	}
	if c.MostNodes < 1 || c.MostNodes > 1000 {
		fault("most nodes is %d, must be 1 to 1000", c.MostNodes)
	}
	if c.AnswerBytes < 1<<10 || c.ConnAnswerBytes < 1<<10 || c.ConnAnswerBytes > c.AnswerBytes || c.MaxAnswerBytes < 1<<10 || c.FetchMaxBytes < 1 {
		fault("answer bytes %d, of a connection %d, largest %d, fetch %d: all at least 1 KiB, a connection's no more than all",
			c.AnswerBytes, c.ConnAnswerBytes, c.MaxAnswerBytes, c.FetchMaxBytes)
	}
	if c.ProduceBytesPerSecond < 0 || c.FetchBytesPerSecond < 0 {
		fault("a quota is negative")
	}
	for name, d := range map[string]time.Duration{"refresh": c.Refresh, "dial timeout": c.DialTimeout, "response timeout": c.ResponseTimeout,
		"frame timeout": c.FrameTimeout, "write timeout": c.WriteTimeout} {
		if d < time.Millisecond || d > 24*time.Hour {
			fault("%s is %v, must be 1 ms to 24 h", name, d)
		}
	}
	return errors.Join(append(faults, c.Server.Validate())...)
}

func def[T int | int32 | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func splitPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, int(n), err
}
