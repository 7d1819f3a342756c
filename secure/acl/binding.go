package acl

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// Names with a meaning of their own.
const (
	Wildcard    = "*"             // the literal name of all resources of a type; the host that is any
	Everybody   = "User:*"        // the principal that is anybody
	ClusterName = "kafka-cluster" // the only resource of the type CLUSTER
)

// textMost is the longest name, principal or host in bytes: what the protocol's strings can hold.
const textMost = 1<<15 - 1

// Binding is one line of the list: plain data that can be compared. A Binding without a fault (Validate) has a pattern that is
// LITERAL or PREFIXED, a permission that is ALLOW or DENY, and no ANY or UNKNOWN.
type Binding struct {
	Resource   kmsg.ACLResourceType
	Name       string // of the resource, or what its name begins with; Wildcard with LITERAL: all
	Pattern    kmsg.ACLResourcePatternType
	Principal  string // "User:alice", Everybody
	Host       string // an address, or Wildcard
	Operation  kmsg.ACLOperation
	Permission kmsg.ACLPermissionType
}

// Validate returns an error that is kerr.InvalidRequest with Kafka's text for a binding that cannot be kept.
func (b Binding) Validate() error {
	switch {
	case b.Resource == kmsg.ACLResourceTypeCluster && b.Name != ClusterName:
		return invalid("The only valid name for the CLUSTER resource is %s", ClusterName)
	case b.Name == "":
		return invalid("Invalid empty resource name")
	case !resourceKnown(b.Resource) || b.Resource == kmsg.ACLResourceTypeAny:
		return invalid("Invalid resourceType %s", b.Resource)
	case b.Pattern != kmsg.ACLResourcePatternTypeLiteral && b.Pattern != kmsg.ACLResourcePatternTypePrefixed:
		return invalid("Invalid patternType %s", b.Pattern)
	case !operationKnown(b.Operation) || b.Operation == kmsg.ACLOperationAny:
		return invalid("Invalid operation %s", b.Operation)
	case b.Permission != kmsg.ACLPermissionTypeAllow && b.Permission != kmsg.ACLPermissionTypeDeny:
		return invalid("Invalid permissionType %s", b.Permission)
	case !strings.Contains(b.Principal, ":"):
		return invalid("Could not parse principal from `%s` (no colon is present separating the principal type from the principal name)", clip(b.Principal))
	case len(b.Name) > textMost || len(b.Principal) > textMost || len(b.Host) > textMost:
		return invalid("A name is longer than %d bytes", textMost)
	}
	return nil
}

// String shows a binding on one line.
func (b Binding) String() string {
	return fmt.Sprintf("%s %s on %s:%s:%s to %s from %s", b.Permission, b.Operation, b.Resource, b.Pattern, b.Name, b.Principal, b.Host)
}

// Compare orders bindings: those of a resource stand together.
func Compare(a, b Binding) int {
	return cmp.Or(
		cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Pattern, b.Pattern),
		cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Operation, b.Operation),
		cmp.Compare(a.Permission, b.Permission),
	)
}

func resourceKnown(t kmsg.ACLResourceType) bool {
	return t > kmsg.ACLResourceTypeUnknown && t <= kmsg.ACLResourceTypeUser
}

func operationKnown(op kmsg.ACLOperation) bool {
	return op > kmsg.ACLOperationUnknown && op <= TwoPhaseCommit
}

// Operations that the codec has no names for.
const (
	// TwoPhaseCommit is that of transactional ids (KIP-939), which nothing here asks for.
	TwoPhaseCommit kmsg.ACLOperation = 15
)

// fault is an error with the text that clients are told.
type fault struct {
	code kerr.Code
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.code }

func invalid(format string, args ...any) error {
	return &fault{kerr.InvalidRequest, fmt.Sprintf(format, args...)}
}

// clip keeps a hostile text from filling answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// MarshalJSON shows a binding in the words of Kafka's tools.
func (b Binding) MarshalJSON() ([]byte, error) { return encode(b), nil }
