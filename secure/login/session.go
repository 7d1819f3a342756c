package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/server"
	"millrace/kafka/wire"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

// Session is the login of one connection, which goes on as long as the connection: it may have to be renewed.
type Session struct {
	door     *Door
	conn     *server.Conn
	listener Listener
	origin   Origin
	who      atomic.Pointer[identity.Identity]

	// Of the connection's reader.
	mechanism identity.Mechanism // of the latest handshake
	exchange  exchange           // goes on; nil: none
	expires   time.Time          // when this login ends; zero: never
	renewed   time.Time          // when the latest re-authentication began
}

// exchange is one login going on.
type exchange interface {
	step(ctx context.Context, message []byte) outcome
}

// outcome is what a message of a client leads to: a reply, the end, or both.
type outcome struct {
	reply []byte
	done  bool
	who   identity.Identity // of a login that is done

	err   error       // refused; for the trail
	text  string      // what the client is told
	name  string      // that the client tried to be, for the count of guesses; "": none
	event trail.Event // what the trail is told
	soft  bool        // the refusal is told by reply, and ends with the next message
	again bool        // the end of a soft refusal
}

// reauthInterval is how often a connection may log in again, as in Kafka.
const reauthInterval = time.Second

// messageMost bounds one message of a client, in bytes: a token is some thousand.
const messageMost = 64 << 10

var errTooLong = errors.New("login: message too long")

// Who is Identity without a copy; nil before the login. It must not be changed.
func (s *Session) Who() *identity.Identity { return s.who.Load() }

// Identity returns who is logged in; the zero value before the login. Safe for concurrent use.
func (s *Session) Identity() identity.Identity {
	if who := s.who.Load(); who != nil {
		return *who
	}
	return identity.Identity{}
}

// Origin returns where the connection comes from.
func (s *Session) Origin() Origin { return s.origin }

// Listener returns where it came in.
func (s *Session) Listener() Listener { return s.listener }

// Handle answers what belongs to the login and refuses what may not come yet; then it returns true. It returns false for what is the
// caller's to handle: everything after the login, and ApiVersions before it. It may block, for as long as a refusal is delayed.
func (s *Session) Handle(ctx context.Context, r *server.Request) (handled bool) {
	in := s.who.Load() != nil
	key := r.Header.Key
	switch {
	case s.exchange != nil && r.Raw:
		s.raw(ctx, r)
	case s.exchange != nil && key == wire.KeySASLAuthenticate:
		s.authenticate(ctx, r)
	case s.exchange != nil || r.Raw:
		s.illegal(r)
	case key == wire.KeySASLHandshake && (!in || s.mayRenew()):
		s.handshake(r)
	case !in:
		if key == wire.KeyAPIVersions {
			return false
		}
		s.illegal(r)
	case s.expired():
		s.door.metrics.Expired.Add(1)
		r.Close()
	case key == wire.KeySASLHandshake, key == wire.KeySASLAuthenticate:
		s.tooLate(r)
	default:
		return false
	}
	return true
}

// tooLate answers a login after the login, which leaves the connection as it is.
func (s *Session) tooLate(r *server.Request) {
	req, err := s.door.decoder.Decode(r.Header.Key, r.Header.Version, r.Body)
	if err != nil {
		r.Refuse(err)
		return
	}
	resp := req.ResponseKind()
	switch resp := resp.(type) {
	case *kmsg.SASLHandshakeResponse:
		resp.ErrorCode = int16(kerr.IllegalSaslState)
	case *kmsg.SASLAuthenticateResponse:
		resp.ErrorCode = int16(kerr.IllegalSaslState)
		resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate request received after successful authentication")
	}
	r.Reply(server.Response{Msg: resp})
}

// illegal ends a connection that sends something that may not come at this point of the login. In the middle of one Apache Kafka answers with
// an error first; so are the two requests here that clients do send in a wrong place.
func (s *Session) illegal(r *server.Request) {
	var msg kmsg.Response
	switch {
	case s.exchange == nil || r.Raw:
	case r.Header.Key == wire.KeySASLHandshake:
		resp := kmsg.NewPtrSASLHandshakeResponse()
		resp.ErrorCode, msg = int16(kerr.IllegalSaslState), resp
	case r.Header.Key == wire.KeyAPIVersions:
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode, msg = int16(kerr.IllegalSaslState), resp
	}
	if msg != nil {
		r.Reply(server.Response{Msg: msg, Close: true})
		return
	}
	r.Refuse(fmt.Errorf("%w: before the login is over", kerr.IllegalSaslState))
}

// mayRenew says whether a login may begin anew: only where sessions end, and not more often than once a second.
func (s *Session) mayRenew() bool {
	return len(s.listener.Mechanisms) > 0 && !s.expires.IsZero() &&
		(s.renewed.IsZero() || s.door.world.Clock.Now().Sub(s.renewed) >= reauthInterval)
}

func (s *Session) expired() bool {
	return !s.expires.IsZero() && s.door.world.Clock.Now().After(s.expires)
}

// enter logs the connection in.
func (s *Session) enter(who identity.Identity, expires time.Time) {
	s.expires = expires
	s.who.Store(&who)
	s.conn.SetPrincipal(who.Principal)
}

// handshake answers SaslHandshake: v0 means that the messages come without a header, v1 that they come by SaslAuthenticate.
func (s *Session) handshake(r *server.Request) {
	req, err := s.door.decoder.Decode(r.Header.Key, r.Header.Version, r.Body)
	if err != nil {
		r.Refuse(err)
		return
	}
	m := identity.Mechanism(req.(*kmsg.SASLHandshakeRequest).Mechanism)
	resp := kmsg.NewPtrSASLHandshakeResponse()
	for _, l := range s.listener.Mechanisms {
		if s.door.offers(s.listener, l) {
			resp.SupportedMechanisms = append(resp.SupportedMechanisms, string(l))
		}
	}
	next, err := s.begin(m)
	if err != nil {
		s.door.refused(s, trail.Event{Mechanism: clip(string(m)), Reason: err.Error()})
		if s.who.Load() != nil { // as Apache Kafka does it
			r.Close()
			return
		}
		resp.ErrorCode = int16(kerr.UnsupportedSaslMechanism)
		r.Reply(server.Response{Msg: resp, Close: true})
		return
	}
	if who := s.who.Load(); who != nil {
		s.renewed = s.door.world.Clock.Now()
		if who.Mechanism != m {
			next = otherMechanism{}
		}
	}
	s.mechanism, s.exchange = m, next
	s.conn.SetRaw(r.Header.Version == 0)
	r.Reply(server.Response{Msg: resp})
}

// begin makes the exchange of a mechanism that is offered here.
func (s *Session) begin(m identity.Mechanism) (exchange, error) {
	if !s.door.offers(s.listener, m) {
		return nil, fmt.Errorf("mechanism is not offered: %w", kerr.UnsupportedSaslMechanism)
	}
	switch m {
	case identity.MSKIAM:
		return &byIAM{s: s}, nil
	case identity.OAuthBearer:
		return &byOAuth{s: s}, nil
	default:
		e, err := s.door.world.Users.Begin(m)
		if err != nil {
			return nil, fmt.Errorf("begin %s: %w", m, err)
		}
		return &byScram{s: s, mechanism: m, exchange: e}, nil
	}
}

// otherMechanism is a re-authentication by a mechanism that is not that of the login. As in Kafka it fails with its first message, and
// without an answer.
type otherMechanism struct{}

func (otherMechanism) step(context.Context, []byte) outcome {
	err := fmt.Errorf("re-authentication by another mechanism: %w", kerr.UnsupportedSaslMechanism)
	return outcome{err: err, event: trail.Event{Reason: err.Error()}}
}

// raw takes a message that comes without a header. A refusal has no answer: the connection is closed.
func (s *Session) raw(ctx context.Context, r *server.Request) {
	out, _ := s.step(ctx, r.Body)
	if out.err != nil && !out.soft {
		r.Close()
		return
	}
	if out.done {
		s.conn.SetRaw(false)
	}
	r.Reply(server.Response{Buffers: net.Buffers{out.reply}})
}

// authenticate answers SaslAuthenticate.
func (s *Session) authenticate(ctx context.Context, r *server.Request) {
	req, err := s.door.decoder.Decode(r.Header.Key, r.Header.Version, r.Body)
	if err != nil {
		r.Refuse(err)
		return
	}
	out, lifetime := s.step(ctx, req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = out.reply
	resp.ErrorMessage = kmsg.StringPtr("") // as Apache Kafka says it
	switch {
	case out.err == nil || out.soft:
		resp.SessionLifetimeMillis = lifetime.Milliseconds()
		r.Reply(server.Response{Msg: resp})
	case out.text == "":
		r.Close()
	default:
		resp.SASLAuthBytes = []byte{}
		resp.ErrorCode, resp.ErrorMessage = int16(kerr.SaslAuthenticationFailed), &out.text
		r.Reply(server.Response{Msg: resp, Close: true})
	}
}

// step takes one message, and does what follows from it. lifetime is how long a login that is done holds; zero: for ever.
func (s *Session) step(ctx context.Context, message []byte) (out outcome, lifetime time.Duration) {
	if len(message) > messageMost {
		out = outcome{err: errTooLong, text: s.invalidCredentials(), event: trail.Event{Reason: errTooLong.Error()}}
	} else {
		out = s.exchange.step(ctx, message)
	}
	if out.done && out.err == nil {
		s.admit(ctx, &out)
	}
	switch {
	case out.again:
	case out.err != nil:
		out.done = false
		s.refuse(ctx, out)
	case out.done:
		lifetime = s.accept(out.who)
	}
	return out, lifetime
}

// admit refuses a login that is proven, and still may not be.
func (s *Session) admit(ctx context.Context, out *outcome) {
	who, before := out.who, s.who.Load()
	refuse := func(err error, text string) {
		*out = outcome{err: err, text: text, event: trail.Event{Principal: who.Principal, Reason: err.Error()}}
		if who.IAM != nil {
			out.event.AccessKey = who.IAM.AccessKey
		}
	}
	if before != nil && before.Principal != who.Principal {
		refuse(fmt.Errorf("%w: re-authentication as another principal", kerr.SaslAuthenticationFailed), fmt.Sprintf(
			"Cannot change principals during re-authentication from %s: %s", dotted(before.Principal), dotted(who.Principal)))
		return
	}
	if s.door.world.Admit == nil {
		return
	}
	if err := s.door.world.Admit(ctx, who, s.origin); err != nil {
		refuse(err, s.denied(who))
	}
}

// denied is what MSK says to those who may not connect.
func (s *Session) denied(who identity.Identity) string {
	if who.IAM == nil {
		return s.invalidCredentials()
	}
	return accessDenied()
}

// dotted is a principal in the words of that message.
func dotted(principal string) string { return strings.Replace(principal, ":", ".", 1) }

// accept ends an exchange well, and returns how long the login holds.
func (s *Session) accept(who identity.Identity) time.Duration {
	now := s.door.world.Clock.Now()
	expires := who.Expires
	if s.listener.MaxReauth > 0 {
		expires = until(expires, now.Add(s.listener.MaxReauth))
	}
	if s.who.Load() != nil {
		s.door.metrics.Reauthenticated.Add(1)
	}
	s.exchange = nil
	who.Expires = expires
	s.door.accepted(s, who)
	s.enter(who, expires)
	if expires.IsZero() {
		return 0
	}
	return max(expires.Sub(now), time.Millisecond)
}

// refuse tells of a refusal, and waits before it is answered. The exchange stays, so that nothing else can come.
func (s *Session) refuse(ctx context.Context, out outcome) {
	out.event.Mechanism = string(s.mechanism)
	s.door.refused(s, out.event)
	delay := s.door.refusals.add(s.origin.Address, out.name, s.door.cfg.FailureDelay)
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// invalidCredentials is what Kafka says of all that is wrong with a login.
func (s *Session) invalidCredentials() string {
	what := "authentication"
	if s.who.Load() != nil {
		what = "re-authentication"
	}
	return fmt.Sprintf("Authentication failed during %s due to invalid credentials with SASL mechanism %s", what, s.mechanism)
}
