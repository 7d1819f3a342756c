package iam

import (
	"log/slog"
	"time"

	"millrace/secure/identity"
)

// Credential is an access key or a session as a login needs it: the same fields as login.Key, into which it converts. It holds the
// secret: it is not kept longer than the login takes, and neither prints nor logs it.
type Credential struct {
	ID        string       // AKIA… or ASIA…
	Secret    string       // what signatures are made with
	Principal string       // Kafka's name: "User:" and the ARN
	Identity  identity.IAM // who it is
	Expires   time.Time    // of a session; zero: it stays until it is disabled
}

// String names the key without its secret.
func (c Credential) String() string { return "access key " + c.ID }

// GoString is String, for %#v.
func (c Credential) GoString() string { return c.String() }

// LogValue is the key without its secret.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.ID) }

// NewKey is an access key at the one time that its secret is told: when it is made.
type NewKey struct {
	ID     string `json:"access_key_id"`
	Secret string `json:"secret_access_key"`
	User   string `json:"user,omitempty"` // whose it is; "": root
}

// String names the key without its secret.
func (k NewKey) String() string { return "access key " + k.ID }

// GoString is String, for %#v.
func (k NewKey) GoString() string { return k.String() }

// LogValue is the key without its secret.
func (k NewKey) LogValue() slog.Value { return slog.StringValue(k.ID) }

// Session is temporary credentials at the one time that they are told: when they are made.
type Session struct {
	ID      string    `json:"access_key_id"`
	Secret  string    `json:"secret_access_key"`
	Token   string    `json:"session_token"`
	ARN     string    `json:"arn"` // whom they are for
	Expires time.Time `json:"expiration"`
}

// String names the session without its secrets.
func (s Session) String() string { return "session " + s.ID + " of " + s.ARN }

// GoString is String, for %#v.
func (s Session) GoString() string { return s.String() }

// LogValue is the session without its secrets.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }
