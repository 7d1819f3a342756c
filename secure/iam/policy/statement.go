package policy

import (
	"slices"
	"strings"
)

// statement is one rule of a policy, compiled.
type statement struct {
	label        string // statement "Sid", or statement 2
	deny         bool
	actions      []pattern
	notAction    bool
	resources    []arnPattern // nil: any (of a trust policy)
	notResource  bool
	principals   []principal // of resource and trust policies
	notPrincipal bool
	conditions   []condition
}

// principal is one to whom a resource policy speaks.
type principal struct {
	everybody bool
	account   string // 12 digits
	arn       string // of a user, a role or a session
}

// applies says whether everything but the principal fits.
func (s *statement) applies(e *evaluation) bool {
	return s.forAction(e.r.Action) && s.forResource(e) && s.meets(e)
}

func (s *statement) forAction(action string) bool {
	for _, p := range s.actions {
		if p.match(action, true) {
			return !s.notAction
		}
	}
	return s.notAction
}

func (s *statement) forResource(e *evaluation) bool {
	if s.resources == nil {
		return true
	}
	for i := range s.resources {
		matched, known := s.resources[i].match(e, &e.resource)
		switch {
		case matched:
			return !s.notResource
		case !known && s.notResource && !s.deny:
			return false
		}
	}
	return s.notResource
}

func (s *statement) meets(e *evaluation) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(e) {
			return false
		}
	}
	return true
}

// reaches says whether and how the statement speaks to somebody. An account that NotPrincipal names spares only its root: policies
// name it beside the user or role that they spare.
func (s *statement) reaches(who *Principal) reach {
	best := nobody
	for i := range s.principals {
		best = max(best, s.principals[i].reaches(who))
	}
	switch {
	case !s.notPrincipal:
		return best
	case best >= direct:
		return nobody
	default:
		return direct
	}
}

func (p *principal) reaches(who *Principal) reach {
	switch {
	case p.everybody:
		return direct
	case who == nil:
		return nobody
	case p.account != "" && p.account == who.Account:
		if who.Root {
			return direct
		}
		return account
	case p.arn == "":
		return nobody
	case p.arn == who.RoleARN:
		return direct
	case p.arn == who.ARN && who.RoleARN != "":
		return session
	case p.arn == who.ARN:
		return direct
	default:
		return nobody
	}
}

// find returns the first statement that applies to a request of whom the policy is attached to; a Deny goes before
// every Allow.
func (p *Policy) find(e *evaluation) (st *statement, denied bool) {
	for i := range p.statements {
		s := &p.statements[i]
		if !s.deny && st != nil || !s.applies(e) {
			continue
		}
		if s.deny {
			return s, true
		}
		st = s
	}
	return st, false
}

// findResource is find for the policy of a resource: with the Allow that reaches furthest.
func (p *Policy) findResource(e *evaluation) (st *statement, to reach, denied bool) {
	for i := range p.statements {
		s := &p.statements[i]
		r := s.reaches(e.r.Who)
		if r == nobody || !s.deny && r <= to || !s.applies(e) {
			continue
		}
		if s.deny {
			return s, r, true
		}
		st, to = s, r
	}
	return st, to, false
}

// accountOf returns the number in an account's root ARN or the number itself.
func accountOf(s string) (string, bool) {
	if parts, ok := splitARN(s); ok && parts[2] == "iam" && parts[3] == "" && parts[5] == "root" {
		s = parts[4]
	}
	const digits = 12
	return s, len(s) == digits && strings.Trim(s, "0123456789") == ""
}

// principalARN says whether s names a user, a role or a session.
func isPrincipalARN(s string) bool {
	parts, ok := splitARN(s)
	kind, name, _ := strings.Cut(parts[5], "/")
	kinds := map[string][]string{"iam": {"user", "role"}, "sts": {"assumed-role"}}
	return ok && name != "" && slices.Contains(kinds[parts[2]], kind) && !strings.ContainsAny(s, "*?")
}
