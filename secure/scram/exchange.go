package scram

import (
	"fmt"
	"slices"
	"strings"

	xdg "github.com/xdg-go/scram"

	"millrace/secure/identity"
)

// maxMessage bounds one message of a client, in bytes.
const maxMessage = 8 << 10

// Exchange is one login. It is for one goroutine.
type Exchange struct {
	conversation *xdg.ServerConversation
	known        bool // the user exists and can log in
	steps        int
	over         bool
}

// Begin begins a login, or returns ErrMechanism.
func (s *Store) Begin(m identity.Mechanism) (*Exchange, error) {
	if _, err := hashOf(m); err != nil {
		return nil, err
	}
	generator := xdg.SHA256
	if m == identity.ScramSHA512 {
		generator = xdg.SHA512
	}
	e := &Exchange{}
	server, err := generator.NewServer(func(name string) (xdg.StoredCredentials, error) {
		c, known := s.lookup(m, name)
		e.known = known
		return xdg.StoredCredentials{KeyFactors: xdg.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations},
			StoredKey: c.StoredKey, ServerKey: c.ServerKey}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("begin scram: %w", err)
	}
	e.conversation = server.NewConversation()
	return e, nil
}

// User is the name that the client gave in its first message; "" before, and if it could not be read.
func (e *Exchange) User() string { return e.conversation.Username() }

// Known says whether that user exists and has a credential. It is for the trail, not for the client.
func (e *Exchange) Known() bool { return e.known }

// Step takes a message of the client and returns what to answer; done says that the user is who they claim. Every error matches
// ErrRefused and ends the login; its text is for the trail, not for the client.
func (e *Exchange) Step(message []byte) (reply []byte, done bool, err error) {
	if e.over {
		return nil, false, fmt.Errorf("%w: the login is over", ErrRefused)
	}
	e.steps++
	e.over = true
	if len(message) > maxMessage {
		return nil, false, fmt.Errorf("%w: message of %d bytes", ErrRefused, len(message))
	}
	if e.steps == 1 {
		if err := checkFirst(string(message)); err != nil {
			return nil, false, err
		}
	}
	answer, err := e.conversation.Step(string(message))
	switch {
	case err != nil && e.steps == 1:
		return nil, false, fmt.Errorf("%w: first message not understood", ErrRefused)
	case err != nil || e.steps == 2 && !(e.conversation.Valid() && e.known):
		return nil, false, fmt.Errorf("%w: unknown user or wrong password", ErrRefused)
	case e.conversation.AuthzID() != "" && e.conversation.AuthzID() != e.conversation.Username():
		return nil, false, fmt.Errorf("%w: %w", ErrRefused, ErrAuthorization)
	}
	e.over = e.steps == 2
	return []byte(answer), e.over, nil
}

// checkFirst refuses what the library lets pass and Apache Kafka does not: a client that would bind to the channel, no user, no nonce, and
// a delegation token in the place of a password, which there are none of.
func checkFirst(message string) error {
	const fields = 4 // flag, authorization id, user, nonce, and extensions
	f := strings.Split(message, ",")
	if len(f) < fields || f[0] != "n" || f[2] == "n=" || f[3] == "r=" || slices.Contains(f[fields:], "tokenauth=true") {
		return fmt.Errorf("%w: first message not understood", ErrRefused)
	}
	return nil
}
