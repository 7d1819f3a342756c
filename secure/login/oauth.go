package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/secure/identity"
	"millrace/secure/sigv4"
	"millrace/secure/trail"
)

// invalidToken is what a client is told whose token is refused (RFC 7628).
const invalidToken = `{"status":"invalid_token"}`

// sessionLeast is how long a token's session lasts whatever the token says.
const sessionLeast = time.Minute

// errFirstMessage: the first message of OAUTHBEARER is not as RFC 7628 wants it.
var errFirstMessage = errors.New("login: first message not understood")

// byOAuth is a login by OAUTHBEARER: one message. If its token is refused the client is told why, says that it has understood, and fails then.
type byOAuth struct {
	s    *Session
	told bool // that the token is refused
}

func (m *byOAuth) step(ctx context.Context, message []byte) outcome {
	if m.told {
		return outcome{err: errFirstMessage, text: invalidToken, again: true}
	}
	token, authorization, err := bearerOf(string(message))
	if err != nil {
		return outcome{err: err, text: m.s.invalidCredentials(), event: trail.Event{Reason: err.Error()}}
	}
	signed, err := sigv4.ParseBearer(token)
	if err != nil {
		return m.refuse(outcome{err: err, event: trail.Event{Reason: err.Error()}})
	}
	region := m.s.door.cfg.Region
	out := m.s.bySignature(ctx, identity.OAuthBearer, signed, func(host string) bool { return host == sigv4.BearerHost(region) })
	switch {
	case out.err != nil:
		return m.refuse(out)
	case authorization != "" && "User:"+authorization != out.who.Principal:
		err := fmt.Errorf("%w: authorization id differs from the principal", errFirstMessage)
		return outcome{err: err, text: m.s.invalidCredentials(), name: signed.KeyID, event: eventOf(signed.KeyID, out.who.Principal, err)}
	}
	// As in Kafka the session ends with the token, but not before the client could do anything, as it would if its clock is behind.
	ends := signed.Time.Add(signed.Expires)
	if soon := m.s.door.world.Clock.Now().Add(sessionLeast); ends.Before(soon) {
		ends = soon
	}
	out.who.Expires = until(out.who.Expires, ends)
	return out
}

// refuse answers the message with the reason that RFC 7628 has, and waits for another one.
func (m *byOAuth) refuse(out outcome) outcome {
	m.told = true
	out.reply = []byte(invalidToken)
	out.soft = true
	return out
}

// bearerOf reads the first message of a client: "n,[a=ID],\x01auth=Bearer TOKEN\x01[NAME=VALUE\x01…]\x01".
func bearerOf(message string) (token, authorization string, err error) {
	header, rest, ok := strings.Cut(message, "\x01")
	pairs, ended := strings.CutSuffix(rest, "\x01")
	if !ok || !ended {
		return "", "", errFirstMessage
	}
	parts := strings.Split(header, ",")
	if len(parts) != 3 || parts[0] != "n" || parts[2] != "" {
		return "", "", errFirstMessage
	}
	if parts[1] != "" {
		id, found := strings.CutPrefix(parts[1], "a=")
		if !found || id == "" {
			return "", "", errFirstMessage
		}
		authorization = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(id)
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(pairs, "\x01"), "\x01") {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return "", "", errFirstMessage
		}
		if name != "auth" { // an extension, which says nothing to us
			continue
		}
		scheme, t, found := strings.Cut(value, " ")
		if !found || token != "" || !strings.EqualFold(scheme, "bearer") {
			return "", "", errFirstMessage
		}
		token = strings.TrimLeft(t, " ")
	}
	if token == "" {
		return "", "", errFirstMessage
	}
	return token, authorization, nil
}
