package policy

// principals reads Principal or NotPrincipal, where the kind of policy has them.
func (p *parser) principals(n *node, s *statement, e map[string]*node) error {
	if !p.policy.kind.hasPrincipal() {
		for _, name := range []string{"Principal", "NotPrincipal"} {
			if e[name] != nil {
				return p.wrong(e[name], "%s has no %s: it speaks to whom it is attached", p.policy.kind, name)
			}
		}
		return nil
	}
	found, not, err := p.either(n, e, "Principal")
	if err != nil {
		return err
	}
	s.notPrincipal = not
	if not && !s.deny {
		p.warn(found, "Allow with NotPrincipal allows to everybody else, those without login too")
	}
	if found.shape == text {
		if found.text != "*" {
			return p.wrong(found, `it must be "*" or an object such as {"AWS": "arn:aws:iam::ACCOUNT:user/NAME"}`)
		}
		s.principals = []principal{{everybody: true}}
		return nil
	}
	types, err := p.elements(found, "AWS", "Service", "Federated", "CanonicalUser")
	if err != nil {
		return err
	}
	if len(types) == 0 {
		return p.wrong(found, "it names nobody")
	}
	for i := range found.members {
		if err := p.principalList(&found.members[i], s); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) principalList(m *member, s *statement) error {
	items, err := p.list(&m.value, false)
	if err != nil {
		return err
	}
	for i := range items {
		name := items[i].text
		if m.name != "AWS" {
			p.warn(&items[i], "nobody here is a %s principal", m.name)
			s.principals = append(s.principals, principal{})
			continue
		}
		one := principal{everybody: name == "*"}
		if number, ok := accountOf(name); ok {
			one.account = number
		} else if isPrincipalARN(name) {
			one.arn = name
		} else if !one.everybody {
			return p.wrong(&items[i], `%q is not a principal: use "*", an account number, or the ARN of an account's root, a user, a role or a session, without wildcards`, name)
		}
		s.principals = append(s.principals, one)
	}
	return nil
}
