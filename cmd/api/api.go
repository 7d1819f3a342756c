// Package api is what the verbs and the HTTP API of the control plane say to each other: paths, and the bodies of requests and answers that
// no other package has. cmd/remote sends them, cmd/door answers.
package api

import (
	"encoding/json"
	"net"

	"millrace/secure/cert"
	"millrace/secure/keys"
)

// Names that stand where nobody said otherwise.
const (
	DefaultCluster = "default"   // the cluster that serve makes
	DefaultRegion  = "us-east-1" // of IAM logins
)

// Paths.
const (
	Root         = "/millrace/v1"           // of all below; what AWS's clients ask for lies elsewhere
	Security     = Root + "/security"       // of who may do what
	Certificates = Security + "/certs"      // of the certificate authority and what it signed
	Groups       = Security + "/groups"     // of security groups
	Compliance   = Security + "/compliance" // of reports
	DataKeys     = "/datakeys"              // of data keys, below Security
)

// Distrust is a body that names a former certificate authority.
type Distrust struct {
	Fingerprint string `json:"fingerprint"`
}

// Gateways is the answer to which gateways may have certificates.
type Gateways struct {
	Gateways []cert.Registration `json:"gateways"`
}

// Guard is a body that has groups guard a listener; none: it takes all.
type Guard struct {
	Groups []string `json:"groups"`
}

// Document is a body with a policy in it.
type Document struct {
	Document    json.RawMessage `json:"document"`
	Description string          `json:"description,omitempty"`
	Version     int64           `json:"version,omitempty"` // of a cluster's policy: that it replaces; 0: any
}

// Tags is a body with changes of tags.
type Tags struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// NewOwner is a body that makes a user or a role.
type NewOwner struct {
	Name        string            `json:"name"`
	Tags        map[string]string `json:"tags,omitempty"`
	Description string            `json:"description,omitempty"`
	Trust       json.RawMessage   `json:"trust,omitempty"`
	MaxSession  int               `json:"max_session,omitempty"` // seconds
}

// KeyState is a body that enables or disables an access key.
type KeyState struct {
	Enabled bool `json:"enabled"`
}

// Assume is a body that asks for a session, of a role where it names one.
type Assume struct {
	Role       string            `json:"role"`
	Session    string            `json:"session_name"`
	Seconds    int               `json:"duration_seconds,omitempty"`
	Policy     json.RawMessage   `json:"policy,omitempty"`
	ExternalID string            `json:"external_id,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// Whoami is the answer to who somebody is.
type Whoami struct {
	Account   string `json:"account"`
	ARN       string `json:"arn"`
	UserID    string `json:"user_id"`
	AccessKey string `json:"access_key_id"`
}

// Simulation is a body that asks what would be answered.
type Simulation struct {
	User     string `json:"user,omitempty"` // one of user, role; neither: the caller
	Role     string `json:"role,omitempty"`
	Session  string `json:"session_name,omitempty"` // of the role; default "simulated"
	Action   string `json:"action"`
	Resource string `json:"resource"`
	From     string `json:"from,omitempty"`  // address; default that of the caller
	Plain    bool   `json:"plain,omitempty"` // not encrypted
}

// Simulated is its answer.
type Simulated struct {
	Principal string `json:"principal"`
	Action    string `json:"action"`
	Resource  string `json:"resource"`
	Decision  string `json:"decision"` // allowed, explicitDeny or implicitDeny
	Why       string `json:"why"`
}

// Loopback says that a host, as a name or an IP address, is this one.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// DataKeyList is the answer to what data keys there are.
type DataKeyList struct {
	KMS  string      `json:"kms"` // that serve was started with
	Keys []keys.Info `json:"keys"`
}

// Rotated is a data key that was made.
type Rotated struct {
	Purpose string `json:"purpose"`
	ID      uint32 `json:"id"`
}

// Rotate is a body that asks for new data keys.
type Rotate struct {
	Purpose string `json:"purpose,omitempty"` // empty: of all that there are
}

// Rewrap is a body that asks for the data keys to be wrapped by another KMS.
type Rewrap struct {
	To string `json:"to,omitempty"` // URL; empty: anew by the one that serve was started with
}

// Rewrapped is the answer to Rewrap.
type Rewrapped struct {
	KMS  string `json:"kms"` // what wraps them now
	Keys int    `json:"keys"`
}
