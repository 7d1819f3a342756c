package login

import (
	"context"
	"errors"
	"fmt"

	"millrace/secure/identity"
	"millrace/secure/scram"
	"millrace/secure/trail"
)

// byScram is a login by SCRAM: two messages.
type byScram struct {
	s         *Session
	mechanism identity.Mechanism
	exchange  *scram.Exchange
	claimed   bool // the first message is read
}

func (m *byScram) step(_ context.Context, message []byte) outcome {
	door := m.s.door
	if m.claimed && !door.refusals.may(m.s.origin.Address, m.exchange.User()) {
		return m.refuse(fmt.Errorf("%w: too many guesses at this user", scram.ErrRefused))
	}
	reply, done, err := m.exchange.Step(message)
	if err != nil {
		return m.refuse(err)
	}
	m.claimed = true
	if !done {
		return outcome{reply: reply}
	}
	return outcome{reply: reply, who: identity.Identity{Mechanism: m.mechanism, Principal: "User:" + m.exchange.User()}, done: true}
}

// refuse names the user in the trail only if there is one.
func (m *byScram) refuse(err error) outcome {
	e := trail.Event{Reason: err.Error()}
	if m.exchange.Known() {
		e.Principal = "User:" + m.exchange.User()
	}
	text := m.s.invalidCredentials()
	if errors.Is(err, scram.ErrAuthorization) {
		text = "Authentication failed: Client requested an authorization id that is different from username"
	}
	return outcome{err: err, event: e, name: m.exchange.User(), text: text}
}
