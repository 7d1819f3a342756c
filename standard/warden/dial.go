package warden

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine"
)

// session is the connections of one call. It is used by one goroutine.
type session struct {
	cfg    Config
	target engine.Target

	opened    []*kgo.Client
	addresses map[int32]string // of brokers, once read has run
	peers     map[int32]peer   // those that were asked
	active    *peer            // the controller that answered as the active one; nil until then
	fresh     peer             // broker that keeps up with the controllers, once read has run: it passes on what is for them
	throttled map[string]throttles
}

func (s *session) close() {
	for _, c := range s.opened {
		c.Close()
	}
}

// peer is one node. It has so long for each answer, whatever else the client would do.
type peer struct {
	*kgo.Broker
	timeout time.Duration
}

// Request asks the node.
func (p peer) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return p.Broker.Request(ctx, req)
}

// open makes peers of addresses. It asks nobody yet: which of them answers is seen when they are all asked. Requests go to peers, not to
// where the client would send them: that is a node that may be hung, and it would wait for longer than is good.
func (s *session) open(addresses ...string) ([]peer, error) {
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
	s.opened = append(s.opened, c)
	var peers []peer
	for _, b := range c.SeedBrokers() {
		peers = append(peers, peer{Broker: b, timeout: s.cfg.Timeout})
	}
	return peers, nil
}

// broker is a broker that metadata told of.
func (s *session) broker(id int32) (peer, error) {
	if p, ok := s.peers[id]; ok {
		return p, nil
	}
	address, ok := s.addresses[id]
	if !ok {
		return peer{}, fmt.Errorf("broker %d does not run", id)
	}
	opened, err := s.open(address)
	if err != nil {
		return peer{}, err
	}
	s.peers[id] = opened[0]
	return opened[0], nil
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

// first asks several nodes at once and returns the first answer that is taken: one that is hung costs nothing. The error joins what was
// wrong with each.
func first[T any](ctx context.Context, nodes []peer, ask func(context.Context, peer) (T, error)) (T, peer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		node   peer
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
		return none, peer{}, errors.Join(faults...)
	}
	return won.answer, won.node, nil
}

// request asks a node and gives the answer its type.
func request[T kmsg.Response](ctx context.Context, to peer, req kmsg.Request) (answer T, err error) {
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
