package authz

import (
	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/identity"
)

// Access is one thing that somebody wants to do.
type Access struct {
	Who       *identity.Identity // nil: nobody, who may do nothing
	Host      netip.Addr         // the client's address; the zero value matches bindings for all hosts only
	TLS       bool               // the connection is encrypted
	Operation kmsg.ACLOperation
	Resource  kmsg.ACLResourceType
	Name      string // of the resource; acl.ClusterName for the cluster. Not looked at by AllowedSomewhere

	// Looks says that nothing was asked for that is refused: the answer decides what is shown. It is not recorded.
	Looks bool

	Key      int16  // of the request, for the record
	ClientID string // likewise
	Listener string // likewise
}

// Judge answers for every resource of every request: it is quick and safe for concurrent use. Authorizer is the real one.
type Judge interface {
	// Allowed says whether Access may be.
	Allowed(Access) bool
	// AllowedSomewhere says whether the operation is allowed on at least one resource of the type, which may not exist.
	AllowedSomewhere(Access) bool
}

// Policies judges principals of IAM. It is safe for concurrent use, takes no lock and makes no call.
type Policies interface {
	// Allowed evaluates identity policies, the cluster's resource policy and the session policy for one action on one resource. why
	// names the statement, or that there is none, for the record of a refusal; it may be empty.
	Allowed(who *identity.IAM, action, arn string, host netip.Addr, tls bool) (allowed bool, why string)
}
