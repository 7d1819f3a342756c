package policy

import "fmt"

// Kind says where a policy stands, and with that which elements it has and how long it may be.
type Kind int

// The kinds of policies.
const (
	Identity Kind = iota + 1 // attached to users and roles; no Principal; at most 6,144 characters
	Session                  // bounds a session; no Principal; 2,048
	Resource                 // of a cluster; Principal is needed; 20,480
	Trust                    // of a role: who may assume it; Principal is needed, no Resource; 2,048
)

// Policy is a document that was read. It is not changed; it is safe for concurrent use.
type Policy struct {
	name       string
	kind       Kind
	statements []statement
	warnings   []string
}

// Name is what the policy was called when it was parsed.
func (p *Policy) Name() string { return p.name }

// Warnings are what in the policy is likely not what was meant: unknown actions and keys. Parse lets it pass, as AWS does.
func (p *Policy) Warnings() []string { return p.warnings }

// limit is the most characters of a policy, white space not counted, as with AWS.
func (k Kind) limit() int {
	switch k {
	case Session, Trust:
		return 2048
	case Resource:
		return 20480
	default:
		return 6144
	}
}

// hasPrincipal says whether its statements say to whom they speak.
func (k Kind) hasPrincipal() bool { return k == Resource || k == Trust }

func (k Kind) String() string {
	names := map[Kind]string{Identity: "a policy of a user or role", Session: "a session policy", Resource: "a resource policy", Trust: "a trust policy"}
	if n, ok := names[k]; ok {
		return n
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

func refusal(p *Policy, s *statement) Decision {
	return Decision{Explicit: true, Policy: p.name, Statement: s.label}
}

func grant(p *Policy, s *statement) Decision {
	return Decision{Allowed: true, Policy: p.name, Statement: s.label}
}
