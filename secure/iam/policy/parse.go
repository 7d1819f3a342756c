package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/secure/iam/action"
)

// most bytes of a document, white space too.
const mostBytes = 64 << 10

// Size is the length of a document as its limit counts it: characters without white space.
func Size(document []byte) int {
	n := 0
	for _, r := range string(document) {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// Parse reads a policy. The name is what decisions call it. Every error is a *Fault, an ErrMalformed.
func Parse(document []byte, kind Kind, name string) (*Policy, error) {
	if len(document) > mostBytes {
		return nil, &Fault{Line: 1, Column: 1, Text: fmt.Sprintf("it has %d bytes, at most %d", len(document), mostBytes)}
	}
	if n := Size(document); n > kind.limit() {
		return nil, &Fault{Line: 1, Column: 1, Text: fmt.Sprintf("%s has at most %d characters without white space; it has %d", kind, kind.limit(), n)}
	}
	root, err := read(document)
	if err != nil {
		return nil, err
	}
	p := &parser{reader: reader{source: document}, policy: &Policy{name: name, kind: kind}}
	if err := p.document(&root); err != nil {
		return nil, err
	}
	return p.policy, nil
}

// parser makes statements of nodes.
type parser struct {
	reader
	policy    *Policy
	variables bool // the version has them
}

func (p *parser) wrong(n *node, format string, args ...any) error {
	return p.fault(n.at, n.path, format, args...)
}

func (p *parser) warn(n *node, format string, args ...any) {
	p.policy.warnings = append(p.policy.warnings, n.path+": "+fmt.Sprintf(format, args...))
}

// elements are the members of an object by name, when all of them are known.
func (p *parser) elements(n *node, known ...string) (map[string]*node, error) {
	if n.shape != object {
		return nil, p.wrong(n, "it must be an object, not %s", n.shape)
	}
	all := map[string]*node{}
	for i := range n.members {
		m := &n.members[i]
		if !slices.Contains(known, m.name) {
			hint := ""
			for _, k := range known {
				if strings.EqualFold(k, m.name) {
					hint = fmt.Sprintf(": write it %q", k)
				}
			}
			return nil, p.wrong(&m.value, "unknown element %q%s", m.name, hint)
		}
		all[m.name] = &m.value
	}
	return all, nil
}

func (p *parser) text(n *node) (string, error) {
	if n.shape != text {
		return "", p.wrong(n, "it must be a string, not %s", n.shape)
	}
	return n.text, nil
}

func (p *parser) document(n *node) error {
	e, err := p.elements(n, "Version", "Id", "Statement")
	if err != nil {
		return err
	}
	if v := e["Version"]; v != nil {
		if v.shape != text || v.text != "2012-10-17" && v.text != "2008-10-17" {
			return p.wrong(v, `it must be "2012-10-17" or "2008-10-17"`)
		}
		p.variables = v.text == "2012-10-17"
	}
	if id := e["Id"]; id != nil {
		if _, err := p.text(id); err != nil {
			return err
		}
	}
	list := e["Statement"]
	if list == nil {
		return p.wrong(n, "Statement is missing")
	}
	statements := []node{*list}
	if list.shape == array {
		statements = list.items
	}
	if len(statements) == 0 {
		return p.wrong(list, "there is no statement")
	}
	sids := map[string]bool{}
	for i := range statements {
		s, err := p.statement(&statements[i], i, sids)
		if err != nil {
			return err
		}
		p.policy.statements = append(p.policy.statements, s)
	}
	return nil
}

func (p *parser) statement(n *node, number int, sids map[string]bool) (s statement, err error) {
	e, err := p.elements(n, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return s, err
	}
	s.label = "statement " + strconv.Itoa(number+1)
	if sid := e["Sid"]; sid != nil {
		if err := p.sid(sid, sids); err != nil {
			return s, err
		}
		if sid.text != "" {
			s.label = "statement " + strconv.Quote(sid.text)
		}
	}
	switch effect := e["Effect"]; {
	case effect == nil:
		return s, p.wrong(n, "Effect is missing")
	case effect.shape != text || effect.text != "Allow" && effect.text != "Deny":
		return s, p.wrong(effect, `it must be "Allow" or "Deny"`)
	default:
		s.deny = effect.text == "Deny"
	}
	if err := p.principals(n, &s, e); err != nil {
		return s, err
	}
	if err := p.actions(n, &s, e); err != nil {
		return s, err
	}
	if err := p.resources(n, &s, e); err != nil {
		return s, err
	}
	if c := e["Condition"]; c != nil {
		err = p.conditions(c, &s)
	}
	return s, err
}

func (p *parser) sid(n *node, seen map[string]bool) error {
	sid, err := p.text(n)
	if err != nil {
		return err
	}
	const most = 256
	odd := strings.IndexFunc(sid, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	switch {
	case sid == "":
		return nil
	case utf8.RuneCountInString(sid) > most:
		return p.wrong(n, "it has more than %d characters", most)
	case odd >= 0 && !p.policy.kind.hasPrincipal():
		return p.wrong(n, "it may have letters and digits only")
	case seen[sid]:
		return p.wrong(n, "another statement has the Sid %q too", sid)
	}
	seen[sid] = true
	return nil
}

// either returns one of two elements that exclude each other, and whether it is the second.
func (p *parser) either(n *node, e map[string]*node, name string) (found *node, not bool, err error) {
	yes, no := e[name], e["Not"+name]
	switch {
	case yes != nil && no != nil:
		return nil, false, p.wrong(no, "%s and Not%s exclude each other", name, name)
	case no != nil:
		return no, true, nil
	case yes != nil:
		return yes, false, nil
	default:
		return nil, false, p.wrong(n, "%s or Not%s is missing", name, name)
	}
}

// list is a string or a list of them; for values, numbers and booleans are strings too.
func (p *parser) list(n *node, values bool) ([]node, error) {
	items := []node{*n}
	if n.shape == array {
		items = n.items
	}
	if len(items) == 0 {
		return nil, p.wrong(n, "the list is empty")
	}
	for i := range items {
		if s := items[i].shape; s != text && (!values || s != number && s != boolean) {
			return nil, p.wrong(&items[i], "it must be a string, not %s", s)
		}
	}
	return items, nil
}

func (p *parser) actions(n *node, s *statement, e map[string]*node) error {
	found, not, err := p.either(n, e, "Action")
	if err != nil {
		return err
	}
	items, err := p.list(found, false)
	if err != nil {
		return err
	}
	s.notAction = not
	for i := range items {
		name := items[i].text
		if !validAction(name) {
			return p.wrong(&items[i], `%q is not an action: write SERVICE:ACTION, with * and ? in ACTION only, or "*"`, name)
		}
		compiled, err := compile(name, true, false)
		if err != nil {
			return p.wrong(&items[i], "%v", err)
		}
		s.actions = append(s.actions, compiled)
		p.checkAction(&items[i], compiled)
	}
	return nil
}

// validAction wants SERVICE:ACTION, "*" or "*:*".
func validAction(s string) bool {
	if s == "*" || s == "*:*" {
		return true
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	service, name, ok := strings.Cut(s, ":")
	return ok && service != "" && name != "" && strings.Trim(service, letters+"-") == "" && strings.Trim(name, letters+"*?") == ""
}

// checkAction warns of an action of kafka-cluster that there is not.
func (p *parser) checkAction(n *node, compiled pattern) {
	service, _, _ := strings.Cut(n.text, ":")
	if !strings.EqualFold(service, "kafka-cluster") {
		return
	}
	if !slices.ContainsFunc(action.Table(), func(e action.Entry) bool { return compiled.match(string(e.Action), true) }) {
		p.warn(n, "%q is none of the actions of kafka-cluster", n.text)
	}
}

func (p *parser) resources(n *node, s *statement, e map[string]*node) error {
	if p.policy.kind == Trust {
		for _, name := range []string{"Resource", "NotResource"} {
			if e[name] != nil {
				return p.wrong(e[name], "a trust policy has no %s: it speaks of its role", name)
			}
		}
		return nil
	}
	found, not, err := p.either(n, e, "Resource")
	if err != nil {
		return err
	}
	items, err := p.list(found, false)
	if err != nil {
		return err
	}
	s.notResource = not
	for i := range items {
		compiled, err := p.resource(items[i].text)
		if err != nil {
			return p.wrong(&items[i], "%q: %v", items[i].text, err)
		}
		s.resources = append(s.resources, compiled)
		p.checkVariables(&items[i], compiled.parts...)
		p.checkVariables(&items[i], compiled.whole)
	}
	return nil
}

// resource reads "*" or the pattern of an ARN, whose service must be told.
func (p *parser) resource(s string) (arnPattern, error) {
	compiled, err := compileARN(s, p.variables, true)
	if err != nil || s == "*" || bytes.Count([]byte(s), []byte{':'}) == 0 {
		return compiled, err
	}
	parts := compiled.parts
	if parts == nil {
		parts = compiled.whole.split(arnParts)
	}
	const service = 2
	if len(parts) <= service {
		return compiled, fmt.Errorf("the service of an ARN must be told: arn:aws:SERVICE:*")
	}
	if name, ok := parts[service].plain(); !ok || name == "" {
		return compiled, fmt.Errorf("the service of an ARN must be told, without wildcards")
	}
	return compiled, nil
}

// checkVariables warns of variables that never have a value.
func (p *parser) checkVariables(n *node, patterns ...pattern) {
	for _, one := range patterns {
		for _, piece := range one {
			if piece.kind == variable && !piece.fallback && piece.variable.unheard() {
				p.warn(n, "the variable ${%s} never has a value here", piece.variable.rest)
			}
		}
	}
}

func (p *parser) conditions(n *node, s *statement) error {
	if n.shape != object {
		return p.wrong(n, "it must be an object, not %s", n.shape)
	}
	for i := range n.members {
		m := &n.members[i]
		op, err := parseOperator(m.name)
		if err != nil {
			return p.wrong(&m.value, "%v", err)
		}
		if m.value.shape != object || len(m.value.members) == 0 {
			return p.wrong(&m.value, "it must be an object of keys and values")
		}
		seen := map[string]bool{}
		for j := range m.value.members {
			k := &m.value.members[j]
			if lower := strings.ToLower(k.name); seen[lower] {
				return p.wrong(&k.value, "%q stands there twice; case does not count", k.name)
			} else {
				seen[lower] = true
			}
			c, err := p.condition(op, k, !s.deny)
			if err != nil {
				return err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return nil
}

func (p *parser) condition(op operator, m *member, allow bool) (condition, error) {
	c := condition{op: op, allow: allow}
	var ok bool
	if c.key, ok = parseKey(m.name); !ok {
		return c, p.wrong(&m.value, "%q is not a condition key: write SERVICE:NAME", m.name)
	}
	if c.key.unheard() {
		p.warn(&m.value, "no request here has the key %q", m.name)
	}
	items, err := p.list(&m.value, true)
	if err != nil {
		return c, err
	}
	for i := range items {
		o, err := op.parseOperand(items[i].text, p.variables)
		if err != nil {
			return c, p.wrong(&items[i], "%v", err)
		}
		c.operands = append(c.operands, o)
		p.checkVariables(&items[i], append([]pattern{o.text}, o.arn.parts...)...)
	}
	return c, nil
}
