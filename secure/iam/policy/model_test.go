package policy

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The model decides as the documentation reads, from JSON as it is, with regular expressions, slowly. It shares no code with what it judges
// but Request and Principal.

type modelDoc struct {
	Version   string
	Statement []modelStatement
}

type modelStatement struct {
	Effect                  string
	Action, NotAction       []string
	Resource, NotResource   []string
	Principal, NotPrincipal *modelPrincipals
	Condition               map[string]map[string][]string
}

type modelPrincipals struct{ AWS []string }

// modelKeys are the values of a key in a request.
func modelKeys(r *Request, key string) []string {
	key = strings.ToLower(key)
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	who := r.Who
	if who == nil {
		who = &Principal{}
	}
	tagged := func(tags map[string]string, prefix string) []string {
		for k, v := range tags {
			if strings.ToLower(k) == strings.TrimPrefix(key, prefix) {
				return []string{v}
			}
		}
		return nil
	}
	switch {
	case key == "aws:sourceip":
		if r.Source.IsValid() {
			return one(r.Source.Unmap().String())
		}
	case key == "aws:currenttime":
		if !r.Now.IsZero() {
			return one(r.Now.UTC().Format("2006-01-02T15:04:05Z"))
		}
	case key == "aws:epochtime":
		if !r.Now.IsZero() {
			return one(strconv.FormatInt(r.Now.Unix(), 10))
		}
	case key == "aws:securetransport":
		return one(strconv.FormatBool(r.TLS))
	case key == "aws:username":
		return one(who.Name)
	case key == "aws:userid":
		return one(who.UserID)
	case key == "aws:principalarn":
		if who.RoleARN != "" {
			return one(who.RoleARN)
		}
		return one(who.ARN)
	case key == "aws:principaltype":
		switch {
		case r.Who == nil:
			return one("Anonymous")
		case who.Root:
			return one("Account")
		case who.RoleARN != "":
			return one("AssumedRole")
		}
		return one("User")
	case strings.HasPrefix(key, "aws:principaltag/"):
		return tagged(who.Tags, "aws:principaltag/")
	case strings.HasPrefix(key, "aws:resourcetag/"):
		return tagged(r.ResourceTags, "aws:resourcetag/")
	default:
		return r.More[key]
	}
	return nil
}

var modelVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// modelPattern makes a regular expression; ok is false where a variable has no value.
func modelPattern(r *Request, version, s string, wildcards bool) (re *regexp.Regexp, ok bool) {
	ok = true
	plain := func(s string) string {
		q := regexp.QuoteMeta(s)
		if wildcards {
			q = strings.ReplaceAll(strings.ReplaceAll(q, `\*`, `.*`), `\?`, `.`)
		}
		return q
	}
	var b strings.Builder
	if version != "2012-10-17" {
		b.WriteString(plain(s))
	} else {
		at := 0
		for _, m := range modelVariable.FindAllStringSubmatchIndex(s, -1) {
			b.WriteString(plain(s[at:m[0]]))
			name, fallback, has := strings.Cut(s[m[2]:m[3]], ", ")
			values := modelKeys(r, name)
			switch {
			case slices.Contains([]string{"*", "?", "$"}, name):
				b.WriteString(regexp.QuoteMeta(name))
			case len(values) == 1:
				b.WriteString(regexp.QuoteMeta(values[0]))
			case has:
				b.WriteString(regexp.QuoteMeta(strings.Trim(fallback, "'")))
			default:
				ok = false
			}
			at = m[1]
		}
		b.WriteString(plain(s[at:]))
	}
	return regexp.MustCompile(`(?s)^` + b.String() + `$`), ok
}

// modelARN compares an ARN with a pattern of one, part by part.
func modelARN(r *Request, version, pattern, arn string, short bool) (matched, known bool) {
	masked := modelVariable.ReplaceAllStringFunc(pattern, func(v string) string {
		if version != "2012-10-17" {
			return v
		}
		return strings.ReplaceAll(v, ":", "\x00")
	})
	parts := strings.SplitN(masked, ":", 6)
	if len(parts) < 6 {
		if !short {
			panic("not an ARN: " + pattern)
		}
		re, ok := modelPattern(r, version, pattern, true)
		return ok && re.MatchString(arn), ok
	}
	given := strings.SplitN(arn, ":", 6)
	isARN := len(given) == 6 && given[0] == "arn"
	matched, known = isARN, true
	for i, p := range parts {
		re, ok := modelPattern(r, version, strings.ReplaceAll(p, "\x00", ":"), true)
		known = known && ok
		matched = matched && ok && re.MatchString(given[i])
	}
	return matched, known
}

// modelFits compares one value of a request with one of a policy.
func modelFits(r *Request, version, operator, want, got string) (fits, known bool) {
	number := func(s string) (float64, bool) {
		if !regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`).MatchString(s) {
			return 0, false
		}
		n, err := strconv.ParseFloat(s, 64)
		return n, err == nil
	}
	ordered := func(a, b float64) bool {
		switch {
		case strings.HasSuffix(operator, "LessThan"):
			return a < b
		case strings.HasSuffix(operator, "LessThanEquals"):
			return a <= b
		case strings.HasSuffix(operator, "GreaterThan"):
			return a > b
		case strings.HasSuffix(operator, "GreaterThanEquals"):
			return a >= b
		}
		return a == b
	}
	date := func(s string) (float64, bool) {
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return float64(at.Unix()), true
		}
		n, err := strconv.ParseInt(s, 10, 64)
		return float64(n), err == nil && len(s) > 4
	}
	switch {
	case strings.HasPrefix(operator, "String"):
		re, ok := modelPattern(r, version, want, strings.HasSuffix(operator, "Like"))
		if !ok {
			return false, false
		}
		if strings.HasSuffix(operator, "IgnoreCase") {
			re = regexp.MustCompile("(?i)" + re.String())
		}
		return re.MatchString(got), true
	case strings.HasPrefix(operator, "Arn"):
		matched, known := modelARN(r, version, want, got, false)
		parts := strings.SplitN(got, ":", 6)
		return matched, known && len(parts) == 6 && parts[0] == "arn"
	case strings.HasPrefix(operator, "Numeric"):
		a, ok := number(got)
		b, _ := number(want)
		return ok && ordered(a, b), ok
	case strings.HasPrefix(operator, "Date"):
		a, ok := date(got)
		b, _ := date(want)
		return ok && ordered(a, b), ok
	case operator == "Bool":
		lower := strings.ToLower(got)
		return lower == strings.ToLower(want), lower == "true" || lower == "false"
	case operator == "BinaryEquals":
		a, err := base64.StdEncoding.DecodeString(got)
		b, _ := base64.StdEncoding.DecodeString(want)
		return err == nil && string(a) == string(b), err == nil
	default: // IpAddress
		ip, err := netip.ParseAddr(got)
		if one, e := netip.ParseAddr(want); e == nil {
			return err == nil && one == ip, err == nil
		}
		return err == nil && netip.MustParsePrefix(want).Contains(ip), err == nil
	}
}

// modelHolds says whether a condition holds.
func modelHolds(r *Request, version, operator, key string, wants []string, allow bool) bool {
	values := modelKeys(r, key)
	if operator == "Null" {
		return slices.Contains(wants, strconv.FormatBool(len(values) == 0))
	}
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	set, rest, found := strings.Cut(operator, ":")
	if found {
		operator = rest
	} else {
		set = ""
	}
	negated := strings.Contains(operator, "Not")
	operator = strings.Replace(operator, "Not", "", 1)
	meets := func(v string) bool {
		any, unknown := false, false
		for _, w := range wants {
			fits, known := modelFits(r, version, operator, w, v)
			any, unknown = any || fits, unknown || !known
		}
		if negated {
			return !any && (!unknown || !allow)
		}
		return any
	}
	all, some := true, false
	for _, v := range values {
		all, some = all && meets(v), some || meets(v)
	}
	switch {
	case len(values) == 0 && ifExists:
		return true
	case set == "ForAllValues":
		return all
	case set == "ForAnyValue":
		return some
	case len(values) == 0:
		return negated
	case negated:
		return all
	default:
		return some
	}
}

// modelReach says to whom principals speak: 0 nobody, 1 the account, 2 directly, 3 the session.
func modelReach(p *modelPrincipals, who *Principal) int {
	best := 0
	for _, s := range p.AWS {
		n := 0
		switch {
		case s == "*":
			n = 2
		case who == nil:
		case s == who.Account || s == "arn:aws:iam::"+who.Account+":root":
			n = 1
			if who.Root {
				n = 2
			}
		case who.RoleARN != "" && s == who.RoleARN:
			n = 2
		case s == who.ARN && who.RoleARN != "":
			n = 3
		case s == who.ARN:
			n = 2
		}
		best = max(best, n)
	}
	return best
}

// modelFind returns the furthest reach of the Allows that match (for a policy without principals 2), and whether a Deny does.
func modelFind(doc *modelDoc, r *Request) (reach int, deny bool) {
	for _, s := range doc.Statement {
		to := 2
		if s.Principal != nil {
			to = modelReach(s.Principal, r.Who)
		}
		if s.NotPrincipal != nil {
			if to = 2; modelReach(s.NotPrincipal, r.Who) >= 2 {
				to = 0
			}
		}
		if to == 0 || !modelApplies(doc.Version, &s, r) {
			continue
		}
		if s.Effect == "Deny" {
			deny = true
		} else {
			reach = max(reach, to)
		}
	}
	return reach, deny
}

func modelApplies(version string, s *modelStatement, r *Request) bool {
	action := func(list []string) bool {
		for _, p := range list {
			re, _ := modelPattern(r, "", strings.ToLower(p), true)
			if re.MatchString(strings.ToLower(r.Action)) {
				return true
			}
		}
		return false
	}
	resource := func(list []string) (matched, known bool) {
		known = true
		for _, p := range list {
			m, k := modelARN(r, version, p, r.Resource, true)
			matched, known = matched || m, known && k
		}
		return matched, known
	}
	if s.Action != nil && !action(s.Action) || s.NotAction != nil && action(s.NotAction) {
		return false
	}
	if s.Resource != nil {
		if m, _ := resource(s.Resource); !m {
			return false
		}
	} else if m, known := resource(s.NotResource); m || !known && s.Effect == "Allow" {
		return false
	}
	for operator, keys := range s.Condition {
		for key, wants := range keys {
			if !modelHolds(r, version, operator, key, wants, s.Effect == "Allow") {
				return false
			}
		}
	}
	return true
}

// modelDecide is the whole answer: allowed, and whether by an explicit Deny refused.
func modelDecide(identity, session []*modelDoc, resource *modelDoc, r *Request) (allowed, explicit bool) {
	own := r.Who != nil && r.Who.Root
	within := true
	for _, d := range identity {
		reach, deny := modelFind(d, r)
		own, explicit = own || reach > 0, explicit || deny
	}
	for _, d := range session {
		reach, deny := modelFind(d, r)
		within, explicit = within && reach > 0, explicit || deny
	}
	reach := 0
	if resource != nil {
		var deny bool
		reach, deny = modelFind(resource, r)
		explicit = explicit || deny
	}
	if explicit {
		return false, true
	}
	return own && within || reach == 3 || reach == 2 && within, false
}

func modelJSON(d *modelDoc) []byte {
	type object = map[string]any
	var list []any
	for _, s := range d.Statement {
		o := object{"Effect": s.Effect}
		for name, v := range map[string][]string{"Action": s.Action, "NotAction": s.NotAction, "Resource": s.Resource, "NotResource": s.NotResource} {
			if v != nil {
				o[name] = v
			}
		}
		if s.Principal != nil {
			o["Principal"] = object{"AWS": s.Principal.AWS}
		}
		if s.NotPrincipal != nil {
			o["NotPrincipal"] = object{"AWS": s.NotPrincipal.AWS}
		}
		if s.Condition != nil {
			o["Condition"] = s.Condition
		}
		list = append(list, o)
	}
	o := object{"Statement": list}
	if d.Version != "" {
		o["Version"] = d.Version
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}
