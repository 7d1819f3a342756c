package warden

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

// session is the connections of one call. It is used by one goroutine.
type session struct {
	cfg    Config
	target engine.Target

	toBrokers, toControllers *kgo.Client // nil until they are asked for
	active                   *kgo.Broker // the controller that answered as the active one; nil until then
	fresh                    int32       // broker that keeps up with the controllers, once read has run
	throttled                map[string]throttles
}

func (s *session) close() {
	for _, c := range []*kgo.Client{s.toBrokers, s.toControllers} {
		if c != nil {
			c.Close()
		}
	}
}

// open makes a client that knows some addresses. It asks nobody yet: which of them answers is seen when they are all asked.
func (s *session) open(addresses []string) (*kgo.Client, error) {
	if len(addresses) == 0 {
		return nil, errors.New("no address is known")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(addresses...),
		kgo.ClientID("millrace-warden"),
		kgo.RequestTimeoutOverhead(s.cfg.Timeout),
		kgo.RetryTimeout(2 * s.cfg.Timeout),
		kgo.Dialer(s.dial),
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return c, nil
}

func (s *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: s.cfg.Timeout}
	if s.target.TLS == nil {
		return dialer.DialContext(ctx, network, address)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg, err := s.target.TLS(ctx, host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return (&tls.Dialer{NetDialer: dialer, Config: cfg}).DialContext(ctx, network, address)
}

// brokers is the client to the brokers.
func (s *session) brokers() (c *kgo.Client, err error) {
	if s.toBrokers == nil {
		s.toBrokers, err = s.open(s.target.Bootstrap)
	}
	return s.toBrokers, err
}

// controllers is the client to the controllers.
func (s *session) controllers() (c *kgo.Client, err error) {
	if s.toControllers == nil {
		s.toControllers, err = s.open(s.target.Controllers)
	}
	return s.toControllers, err
}

// first asks several nodes at once and returns the first answer that is taken: one that is hung costs nothing. The error joins what was
// wrong with each.
func first[T any](ctx context.Context, nodes []*kgo.Broker, ask func(context.Context, *kgo.Broker) (T, error)) (T, *kgo.Broker, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		node   *kgo.Broker
		answer T
		err    error
	}
	replies := make(chan reply, len(nodes))
	for _, node := range nodes {
		go func() {
			answer, err := ask(ctx, node)
			replies <- reply{node, answer, err}
		}()
	}
	var won *reply
	var faults []error
	for range nodes { // all of them are waited for; who lost is told so by ctx
		r := <-replies
		switch {
		case won != nil:
		case r.err == nil:
			won = &r
			cancel()
		default:
			faults = append(faults, r.err)
		}
	}
	if won == nil {
		var none T
		return none, nil, errors.Join(faults...)
	}
	return won.answer, won.node, nil
}

// request asks a node, or a client for whichever node is right, and gives the answer its type.
func request[T kmsg.Response](ctx context.Context, to kmsg.Requestor, req kmsg.Request) (answer T, err error) {
	got, err := to.Request(ctx, req)
	if err != nil {
		return answer, err
	}
	answer, ok := got.(T)
	if !ok {
		return answer, fmt.Errorf("unexpected answer %T", got)
	}
	return answer, nil
}
