package iam

import (
	"fmt"

	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// Imagine returns the identity that a user has, or a session of a role, for Simulate: no key is needed for it. An empty session is called
// "simulated". Errors: ErrNotFound, ErrNotReady.
func (v *View) Imagine(o Owner, session string) (*identity.IAM, error) {
	s := v.now.Load()
	if s == nil {
		return nil, ErrNotReady
	}
	if session == "" {
		session = "simulated"
	}
	who := &identity.IAM{Account: s.account}
	e := s.users[o.Name]
	if o.Role {
		e = s.roles[o.Name]
	}
	if e == nil {
		return nil, fmt.Errorf("%v: %w", o, ErrNotFound)
	}
	if o.Role {
		who.ARN, who.Role, who.UserID, who.Issued = arnOfSession(s.account, o.Name, session), o.Name, e.id+":"+session, v.clock.Now()
		return who, nil
	}
	who.ARN, who.UserID = arnOfUser(s.account, o.Name), e.id
	for id, k := range s.keys {
		if k.user == o.Name && k.enabled {
			who.AccessKey = id
			return who, nil
		}
	}
	who.Issued = v.clock.Now() // as if by a session: one with a lasting key needs the key
	return who, nil
}

// Simulate is Decide without any trace.
func (v *View) Simulate(who *identity.IAM, r *policy.Request) (d policy.Decision, broken string) {
	s := v.now.Load()
	if s == nil {
		return policy.Decision{}, ErrNotReady.Error()
	}
	b := s.work(who)
	if b.why != "" {
		return policy.Decision{}, b.why
	}
	r.Who, r.Now, r.ResourceTags = &b.who, v.clock.Now(), s.tags
	return b.set.Decide(r), ""
}
