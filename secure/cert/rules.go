package cert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of mapping rules: a rule is applied to every login.
const (
	maxRulesBytes = 16 << 10
	maxRules      = 64
)

// Rules map the name in a client's certificate to a principal, as ssl.principal.mapping.rules of Apache Kafka does. The zero value
// is DEFAULT: the whole name. Make one with ParseRules.
type Rules struct {
	text  string
	rules []rule
}

// rule is one of them; without a pattern it is DEFAULT.
type rule struct {
	pattern *regexp.Regexp
	whole   *regexp.Regexp // fits a text from its begin to its end or not at all
	again   *regexp.Regexp // finds out whether the pattern fits the empty end of a text as well
	parts   []part
	letters byte // 'L', 'U' or 0
}

// part is a piece of a replacement: a group of the pattern, or text.
type part struct {
	text  string
	group int // -1: text
}

// ParseRules reads rules: DEFAULT and RULE:pattern/replacement/[LU], separated by commas; the first that fits counts. Empty text is
// DEFAULT. Patterns are regular expressions as Go has them, which is what Java has but for look-around, back-references within the
// pattern, possessive quantifiers and operators of character classes: those are refused.
func ParseRules(text string) (Rules, error) {
	if len(text) > maxRulesBytes {
		return Rules{}, fmt.Errorf("%w: %d bytes, at most %d", ErrRules, len(text), maxRulesBytes)
	}
	r := Rules{text: strings.TrimSpace(text)}
	for rest := r.text; rest != ""; {
		before := len(r.text) - len(rest)
		one, after, err := parseRule(rest)
		if err != nil {
			return Rules{}, fmt.Errorf("%w: at character %d: %w", ErrRules, before+1, err)
		}
		if one != nil {
			r.rules = append(r.rules, *one)
		}
		if rest = after; len(r.rules) > maxRules {
			return Rules{}, fmt.Errorf("%w: more than %d", ErrRules, maxRules)
		}
	}
	if r.text != "" && len(r.rules) == 0 {
		// Only commas: Kafka takes that for no rule at all, with which nobody can log in.
		return Rules{}, fmt.Errorf("%w: no rule in %q", ErrRules, clip(r.text))
	}
	return r, nil
}

// String returns the text that ParseRules was given.
func (r Rules) String() string {
	if r.text == "" {
		return "DEFAULT"
	}
	return r.text
}

// Principal maps a distinguished name in the form of RFC 2253; the result lacks "User:". It returns ErrNoRule where none fits.
func (r Rules) Principal(name string) (string, error) {
	if r.text == "" {
		return name, nil
	}
	for _, one := range r.rules {
		if got, ok := one.apply(name); ok {
			return got, nil
		}
	}
	return "", fmt.Errorf("%w to %q", ErrNoRule, clip(name))
}

// parseRule reads the first rule of text; nil where there is nothing before the comma.
func parseRule(text string) (*rule, string, error) {
	const defaultRule, prefix = "DEFAULT", "RULE:"
	text = strings.TrimLeft(text, spaces)
	if rest, ok := strings.CutPrefix(text, defaultRule); ok {
		after, err := endOfRule(rest)
		return &rule{}, after, err
	}
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		after, err := endOfRule(text)
		return nil, after, err
	}
	pattern, rest, ok := untilSlash(rest)
	if !ok {
		return nil, "", fmt.Errorf("RULE:pattern/replacement/ lacks the slash behind the pattern")
	}
	replacement, rest, ok := untilSlash(rest)
	if !ok {
		return nil, "", fmt.Errorf("RULE:pattern/replacement/ lacks the slash behind the replacement")
	}
	var letters byte
	if rest != "" && (rest[0] == 'L' || rest[0] == 'U') {
		letters, rest = rest[0], rest[1:]
	}
	after, err := endOfRule(rest)
	if err != nil {
		return nil, "", err
	}
	one, err := compileRule(pattern, replacement, letters)
	return one, after, err
}

const spaces = " \t\r\n\f\v"

// endOfRule expects a comma or the end.
func endOfRule(text string) (after string, err error) {
	text = strings.TrimLeft(text, spaces)
	if text == "" {
		return "", nil
	}
	if rest, ok := strings.CutPrefix(text, ","); ok {
		return rest, nil
	}
	return "", fmt.Errorf("%q is neither DEFAULT nor RULE:pattern/replacement/[LU]", clip(text))
}

// untilSlash cuts text at the first slash that has no backslash before it.
func untilSlash(text string) (before, after string, ok bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '/':
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

func compileRule(pattern, replacement string, letters byte) (*rule, error) {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", clip(pattern), err)
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", clip(pattern), err)
	}
	again, err := regexp.Compile(`\A((?s:.*))(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", clip(pattern), err)
	}
	parts, err := parseReplacement(replacement, compiled)
	if err != nil {
		return nil, fmt.Errorf("replacement %q: %w", clip(replacement), err)
	}
	return &rule{pattern: compiled, whole: whole, again: again, parts: parts, letters: letters}, nil
}

// parseReplacement reads what java.util.regex takes: $1 and ${name} are groups, a backslash makes what follows text. A number beyond the
// groups is text, if there are groups at all.
func parseReplacement(text string, pattern *regexp.Regexp) ([]part, error) {
	var parts []part
	literal := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].group < 0 {
			parts[n-1].text += s
			return
		}
		parts = append(parts, part{text: s, group: -1})
	}
	for text != "" {
		switch text[0] {
		case '\\':
			if len(text) == 1 {
				return nil, fmt.Errorf("it ends with a backslash")
			}
			literal(text[1:2])
			text = text[2:]
		case '$':
			group, rest, err := parseGroup(text[1:], pattern)
			if err != nil {
				return nil, err
			}
			if text = rest; group < 0 {
				literal("$")
			} else {
				parts = append(parts, part{group: group})
			}
		default:
			literal(text[:1])
			text = text[1:]
		}
	}
	return parts, nil
}

// parseGroup reads what follows a $; group -1 says that the $ is text.
func parseGroup(text string, pattern *regexp.Regexp) (group int, rest string, err error) {
	if name, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, ok = strings.Cut(name, "}")
		if group = pattern.SubexpIndex(name); !ok || group < 0 {
			return 0, "", fmt.Errorf("no group ${%s}", clip(name))
		}
		return group, rest, nil
	}
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	if digits == 0 {
		return 0, "", fmt.Errorf("a $ names a group by its number; write \\$ for the character")
	}
	// As many digits as still name a group.
	for n := digits; n > 0; n-- {
		if g, err := strconv.Atoi(text[:n]); err == nil && g <= pattern.NumSubexp() && (n == 1 || text[0] != '0') {
			return g, text[n:], nil
		}
	}
	if pattern.NumSubexp() == 0 {
		return 0, "", fmt.Errorf("$%s, but the pattern has no group", clip(text[:digits]))
	}
	return -1, text, nil
}

// apply returns ok false where the pattern does not fit the whole name. Where it does, every place in the name that it finds is
// replaced, which may be more than one: so does Kafka, with Java's replaceAll.
func (r rule) apply(name string) (string, bool) {
	if r.pattern == nil {
		return name, true
	}
	if !r.whole.MatchString(name) {
		return "", false
	}
	var b strings.Builder
	last := 0
	for _, m := range r.pattern.FindAllStringSubmatchIndex(name, -1) {
		b.WriteString(name[last:m[0]])
		r.expand(&b, name, m)
		last = m[1]
		// Java looks once more behind a match that reaches the end, where ".*" finds an empty text; Go does not.
		if m[1] == len(name) && m[0] < m[1] {
			r.expandEnd(&b, name)
		}
	}
	b.WriteString(name[last:])
	switch r.letters {
	case 'L':
		return strings.ToLower(b.String()), true
	case 'U':
		return strings.ToUpper(b.String()), true
	}
	return b.String(), true
}

func (r rule) expandEnd(b *strings.Builder, name string) {
	m := r.again.FindStringSubmatchIndex(name)
	if m == nil || m[3] != len(name) {
		return
	}
	// Groups of the pattern come behind again's own.
	r.expand(b, name, append([]int{len(name), len(name)}, m[4:]...))
}

func (r rule) expand(b *strings.Builder, name string, m []int) {
	for _, p := range r.parts {
		switch {
		case p.group < 0:
			b.WriteString(p.text)
		case m[2*p.group] >= 0:
			b.WriteString(name[m[2*p.group]:m[2*p.group+1]])
		}
	}
}
