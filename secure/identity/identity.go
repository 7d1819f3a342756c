// Package identity is what a login leaves behind: who is at the other end of a connection, and how that was shown.
//
// Flow: a listener without login, a client certificate (secure/cert) or a SASL exchange (secure/login) makes an Identity; the
// connection keeps it; secure/authz decides by it, and secure/trail writes it down.
//
// The types are plain data without secrets: they may be logged. They are not changed once made, so they are safe for concurrent use.
package identity

import "time"

// Mechanism is how somebody has logged in.
type Mechanism string

// The mechanisms; those of SASL have the names that SaslHandshake uses.
const (
	None        Mechanism = "NONE" // no login
	TLS         Mechanism = "TLS"  // a client certificate
	ScramSHA256 Mechanism = "SCRAM-SHA-256"
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
	MSKIAM      Mechanism = "AWS_MSK_IAM"
	OAuthBearer Mechanism = "OAUTHBEARER" // with a token of an MSK IAM signer
)

// Anonymous is the principal of who did not log in, in Kafka's words.
const Anonymous = "User:ANONYMOUS"

// Identity is who somebody is. The zero value is nobody; Nobody gives the one of a listener without login.
type Identity struct {
	Mechanism Mechanism
	Principal string    // Kafka's name, "User:alice"; for an IAM principal "User:" and its ARN
	IAM       *IAM      // nil: Kafka's ACLs decide for it; otherwise the IAM policies do
	Internal  bool      // a broker or an agent of this installation: it may do everything
	Expires   time.Time // when it has to log in again (KIP-368); zero: never
}

// IAM is what a login with an access key says beyond the name.
type IAM struct {
	Account       string // 12 digits
	ARN           string // arn:aws:iam::A:root, arn:aws:iam::A:user/NAME or arn:aws:sts::A:assumed-role/ROLE/SESSION
	UserID        string // unique and never used again, such as AIDA… of a user or AROA…:SESSION
	AccessKey     string // id of the key, which is no secret
	Role          string // name of the role whose policies count; "" for users and root
	SessionPolicy []byte // JSON document that bounds what the role may do; nil: none

	Issued time.Time         // when the session token was made; zero: logged in with a key that stays
	Tags   map[string]string // of the session, they go before those of the role or user; nil: none
}

// Nobody is who comes through a listener without login.
func Nobody() Identity { return Identity{Mechanism: None, Principal: Anonymous} }
