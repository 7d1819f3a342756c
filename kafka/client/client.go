// Package client is how the rest of Millrace talks to a Kafka cluster, of
// whichever engine: a thin layer over franz-go that sets the project's defaults
// and turns failures into messages that say what to do next.
//
// Clients made here are safe for concurrent use and must be closed by their user.
package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says which cluster and how patient to be. The zero value of a field
// takes its default.
type Config struct {
	Bootstrap []string      // HOST:PORT of one or more brokers; required
	ClientID  string        // default "millrace"
	Timeout   time.Duration // for a connection, and for requests without a longer need; default 10 s
	Security  Security      // zero: plain text, without a login
}

// metadataAge is how soon metadata is asked for again: for less than franz-go's 5 s the heirs of a broker that is gone would not be found.
const metadataAge = 500 * time.Millisecond

// Errors of New, beside ErrSecurity.
var (
	// ErrUnreachable: no broker of the bootstrap list answers.
	ErrUnreachable = errors.New("no broker answers")
	// ErrRefused: a broker answers, and refuses the login.
	ErrRefused = errors.New("login refused")
)

func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = "millrace"
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// New makes a client; opts come after the defaults and may replace them. It
// fails at once, with ErrUnreachable or ErrRefused, where no broker answers or
// the login is refused.
func New(ctx context.Context, cfg Config, opts ...kgo.Opt) (*kgo.Client, error) {
	cfg = cfg.withDefaults()
	secure, err := cfg.Security.options()
	if err != nil {
		return nil, err
	}
	opts = append(secure, opts...)
	all := append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Bootstrap...),
		kgo.ClientID(cfg.ClientID),
		kgo.DialTimeout(cfg.Timeout),
		kgo.MetadataMinAge(metadataAge),
		kgo.RetryTimeout(3 * cfg.Timeout),
		kgo.RecordDeliveryTimeout(6 * cfg.Timeout),
	}, opts...)
	c, err := kgo.NewClient(all...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	ping, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if err := c.Ping(ping); err != nil {
		c.Close()
		what := ErrUnreachable
		if errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) {
			what = ErrRefused
		}
		return nil, fmt.Errorf("%w at %s: %w", what, strings.Join(cfg.Bootstrap, ", "), err)
	}
	return c, nil
}

// NewAdmin is New for the admin calls; closing it closes the connection.
func NewAdmin(ctx context.Context, cfg Config) (*kadm.Client, error) {
	c, err := New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(c), nil
}

// Hint gives one sentence on what to do about err, or "".
func Hint(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dns):
		return "The host name cannot be resolved; check --bootstrap."
	case errors.As(err, &authority):
		return "The broker's certificate is of an authority that is not known here: --tls-ca FILE or MILLRACE_CA names it; `millrace cert ca` prints it."
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "This listener does not offer that login; another port may. --sasl chooses scram, scram-256 or iam."
	case errors.Is(err, ErrRefused):
		return "Check --user and --password-file, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that AWS_REGION is the cluster's."
	case errors.Is(err, ErrUnreachable):
		return "Is the cluster running? `millrace serve` starts one; --bootstrap HOST:PORT or MILLRACE_BOOTSTRAP names another."
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "`millrace topic list` shows what exists; `millrace topic create NAME` makes one."
	case errors.Is(err, kerr.TopicAlreadyExists):
		return "Choose another name, or add --if-not-exists."
	case errors.Is(err, kerr.GroupIDNotFound):
		return "`millrace group list` shows the groups that exist."
	case errors.Is(err, kerr.NonEmptyGroup):
		return "Stop the group's consumers first; `millrace group describe` shows them."
	case errors.Is(err, kerr.MessageTooLarge):
		return "Raise the topic's limit: `millrace topic alter NAME --config max.message.bytes=BYTES`."
	}
	return ""
}
