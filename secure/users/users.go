// Package users answers Kafka's requests about SCRAM users, by Kafka's rules and in its words: for brokers and gateways alike.
//
// Flow: request, authorized -> Describe or Alter -> scram.Store -> the response, or a Result for each user.
//
// A user may be named once in a request. Users stand for themselves: one that is refused keeps no other from being changed.
// Everything here is safe for concurrent use. Files: users.go (what both have), describe.go, alter.go.
package users

import (
	"millrace/kafka/kerr"
	"millrace/secure/identity"
)

// said is a code with Kafka's own words, which its tools print.
type said struct {
	code kerr.Code
	text string
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.code }

func say(code kerr.Code, text string) error { return &said{code, text} }

// numbers are the mechanisms as Kafka numbers them.
func numbers() map[identity.Mechanism]int8 {
	return map[identity.Mechanism]int8{identity.ScramSHA256: 1, identity.ScramSHA512: 2}
}

// clip shortens a name that comes back in a text.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
