package login

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

// byIAM is a login by AWS_MSK_IAM: one message.
type byIAM struct{ s *Session }

func (m *byIAM) step(ctx context.Context, message []byte) outcome {
	denied := accessDenied()
	signed, err := sigv4.ParseIAM(message)
	if err != nil {
		return outcome{err: err, text: denied, event: trail.Event{Reason: err.Error()}}
	}
	out := m.s.bySignature(ctx, identity.MSKIAM, signed, m.s.isHost)
	if out.err != nil {
		out.text = denied
		return out
	}
	now := m.s.door.world.Clock.Now()
	if !m.s.door.replays.admit(signed.Digest(), m.s.origin.Address, now, signed.Time.Add(signed.Expires+clockSkew)) {
		err := fmt.Errorf("%w: the signature has been used from another address", sigv4.ErrSignature)
		return outcome{err: err, text: denied, name: signed.KeyID, event: eventOf(signed.KeyID, out.who.Principal, err)}
	}
	out.reply = sigv4.IAMReply(uuid.NewString())
	return out
}

// accessDenied is what MSK says of all that is wrong with a signature.
func accessDenied() string { return "[" + uuid.NewString() + "]: Access denied" }

// bySignature verifies a login that is a presigned URL. Text and reply are left to the mechanism.
func (s *Session) bySignature(ctx context.Context, m identity.Mechanism, signed *sigv4.Signed, host func(string) bool) outcome {
	d := s.door
	if !d.refusals.may(s.origin.Address, signed.KeyID) {
		err := fmt.Errorf("%w: too many guesses at this key", sigv4.ErrSignature)
		return outcome{err: err, name: signed.KeyID, event: eventOf(signed.KeyID, "", err)}
	}
	rules := sigv4.Rules{Region: d.cfg.Region, Service: kafkaService, Action: connect, Host: host, MaxExpires: lifetimeMost, Skew: clockSkew}
	key, err := verifier{d.world.Keys, d.world.Log}.verify(ctx, signed, rules, d.world.Clock.Now())
	if err != nil {
		return outcome{err: err, name: signed.KeyID, event: eventOf(signed.KeyID, key.Principal, err)}
	}
	return outcome{who: key.who(m), done: true}
}

// eventOf is what the trail is told of a signature that was refused. A key's id that nobody has is told only if it looks like one: it might
// be a secret in the wrong place.
func eventOf(keyID, principal string, err error) trail.Event {
	e := trail.Event{Principal: principal, Reason: err.Error()}
	if principal != "" || looksLikeKeyID(keyID) {
		e.AccessKey = keyID
	}
	return e
}

func looksLikeKeyID(id string) bool {
	const length = 20
	if len(id) != length || !strings.HasPrefix(id, "AKIA") && !strings.HasPrefix(id, "ASIA") {
		return false
	}
	return strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// isHost says whether a host that a client signed for is this listener.
func (s *Session) isHost(host string) bool {
	for _, h := range s.listener.Hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	local, _, err := net.SplitHostPort(s.conn.LocalAddr().String())
	if err != nil {
		return false
	}
	at, err := netip.ParseAddr(local)
	if err != nil {
		return false
	}
	at = at.Unmap().WithZone("")
	if asked, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return asked.Unmap().WithZone("") == at
	}
	return at.IsLoopback() && strings.EqualFold(host, "localhost")
}

// until is when a login ends by its credential, the earlier of two times of which zero is none.
func until(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
