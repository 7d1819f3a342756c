package policy

import (
	"net/netip"
	"time"
)

// Principal is who asks, as policies see it. It is not changed once used.
type Principal struct {
	Account string            // 12 digits
	ARN     string            // of root, of a user, or of a session (arn:aws:sts::A:assumed-role/ROLE/SESSION)
	RoleARN string            // of the role of a session; "": root or a user
	UserID  string            // aws:userid
	Name    string            // aws:username; "" for root and sessions
	Root    bool              // the account itself
	Issued  time.Time         // of the session token; zero: none
	Tags    map[string]string // aws:PrincipalTag/KEY; keys are compared without regard to case
}

// Request is what somebody wants to do. Zero fields are conditions' missing keys.
type Request struct {
	Action       string            // kafka-cluster:ReadData; compared without regard to case
	Resource     string            // an ARN
	Who          *Principal        // nil: nobody, whom no policy allows anything but one for "*"
	Source       netip.Addr        // aws:SourceIp
	Now          time.Time         // aws:CurrentTime, aws:EpochTime
	TLS          bool              // aws:SecureTransport
	ResourceTags map[string]string // aws:ResourceTag/KEY; keys are compared without regard to case
	More         map[string][]string
	// More are condition keys beside these, in lower case, such as sts:externalid.
}

// Set is the policies that count for one who asks on one resource.
type Set struct {
	Identity []*Policy // attached to and kept in the user or role: their union counts
	Session  []*Policy // bounds of the session: each must allow too; empty: none
	Resource *Policy   // of the resource; nil: none
}

// Decision is the answer.
type Decision struct {
	Allowed  bool
	Explicit bool // refused by a Deny; false with Allowed false: nothing allows it
	// Policy and Statement say which statement has decided; "" where nothing allowed it, or where it is root's right.
	Policy, Statement string
}

// Why is the decision in words, for audit trails and for people.
func (d Decision) Why() string {
	switch {
	case d.Allowed && d.Policy == "":
		return "allowed to root"
	case d.Allowed:
		return "allowed by " + d.Policy + ", " + d.Statement
	case d.Explicit:
		return "explicit deny in " + d.Policy + ", " + d.Statement
	default:
		return "no policy allows it"
	}
}

// reach is to whom a statement of a resource policy speaks.
type reach int

const (
	nobody  reach = iota
	account       // to the account, which delegates
	direct        // to the role, the user, root, or everybody
	session       // to the very session
)

// Decide answers the request by the policies (P1 to P4).
func (s *Set) Decide(r *Request) Decision {
	e := evaluation{r: r, resource: split(r.Resource)}
	own, to := s.own(&e)
	if s.Resource == nil || own.Explicit {
		return own
	}
	st, reach, denied := s.Resource.findResource(&e)
	switch {
	case denied:
		return refusal(s.Resource, st)
	case own.Allowed:
		return own
	case reach == session, reach == direct && to == bounds:
		return grant(s.Resource, st)
	}
	return Decision{}
}

// DecideTrust answers whether a trust policy, as Resource, lets somebody assume its role: by itself where it names the
// caller, together with the caller's own policies where it names the account.
func (s *Set) DecideTrust(r *Request) Decision {
	e := evaluation{r: r, resource: split(r.Resource)}
	own, to := s.own(&e)
	if s.Resource == nil || own.Explicit {
		if own.Explicit {
			return own
		}
		return Decision{}
	}
	st, reach, denied := s.Resource.findResource(&e)
	switch {
	case denied:
		return refusal(s.Resource, st)
	case reach == session, reach == direct && to == bounds, reach == account && own.Allowed:
		return grant(s.Resource, st)
	}
	return Decision{}
}

// bounded says what the session policies say.
type bounded bool

// bounds: every session policy allows the request, or there is none.
const bounds bounded = true

// own answers by the policies of the identity and the session alone, and says whether the session policies allow the request.
func (s *Set) own(e *evaluation) (Decision, bounded) {
	var allow Decision
	for _, p := range s.Identity {
		st, denied := p.find(e)
		if denied {
			return refusal(p, st), false
		}
		if st != nil && !allow.Allowed {
			allow = grant(p, st)
		}
	}
	within := bounds
	for _, p := range s.Session {
		st, denied := p.find(e)
		if denied {
			return refusal(p, st), false
		}
		within = within && st != nil
	}
	if e.r.Who != nil && e.r.Who.Root && !allow.Allowed {
		allow = Decision{Allowed: true}
	}
	if !within {
		allow = Decision{}
	}
	return allow, within
}
