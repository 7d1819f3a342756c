package policy

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// piece is a part of a pattern.
type piece struct {
	kind     pieceKind
	text     string // of a literal; the default of a variable
	variable key
	fallback bool // the variable has a default
}

type pieceKind uint8

const (
	literal  pieceKind = iota
	star               // any characters, none too
	question           // one character
	variable
)

// pattern is text with wildcards and variables, ready to be compared.
type pattern []piece

// errVariable: a ${ that begins no variable.
var errVariable = errors.New("a ${ needs a } and the name of a key between them, or one of *, ? and $")

// compile reads a pattern. Without wildcards, stars and question marks are themselves; without variables, ${ is too.
func compile(s string, wildcards, variables bool) (pattern, error) {
	var p pattern
	begin := 0
	flush := func(end int) {
		if end > begin {
			p = append(p, piece{kind: literal, text: s[begin:end]})
		}
	}
	for i := 0; i < len(s); {
		switch {
		case wildcards && s[i] == '*':
			flush(i)
			if len(p) == 0 || p[len(p)-1].kind != star {
				p = append(p, piece{kind: star})
			}
			i++
			begin = i
		case wildcards && s[i] == '?':
			flush(i)
			p = append(p, piece{kind: question})
			i++
			begin = i
		case variables && strings.HasPrefix(s[i:], "${"):
			flush(i)
			v, length, err := readVariable(s[i:])
			if err != nil {
				return nil, err
			}
			p = append(p, v)
			i += length
			begin = i
		default:
			i++
		}
	}
	flush(len(s))
	return p, nil
}

// readVariable reads ${aws:username}, ${aws:PrincipalTag/team, 'none'}, ${*}, ${?} or ${$} at the beginning of s.
func readVariable(s string) (piece, int, error) {
	name, rest, ok := strings.Cut(s[2:], "}")
	length := len(s) - len(rest)
	if !ok {
		return piece{}, 0, errVariable
	}
	switch name {
	case "*", "?", "$":
		return piece{kind: literal, text: name}, length, nil
	}
	p := piece{kind: variable}
	if before, after, found := strings.Cut(name, ","); found {
		quoted := strings.TrimSpace(after)
		if len(quoted) < 2 || quoted[0] != '\'' || quoted[len(quoted)-1] != '\'' {
			return piece{}, 0, errors.New("the default of a variable stands in single quotes: ${aws:PrincipalTag/team, 'none'}")
		}
		name, p.text, p.fallback = before, quoted[1:len(quoted)-1], true
	}
	if p.variable, ok = parseKey(strings.TrimSpace(name)); !ok {
		return piece{}, 0, errVariable
	}
	return p, length, nil
}

// split cuts a pattern at the first n-1 colons that are not inside of variables.
func (p pattern) split(n int) []pattern {
	parts := []pattern{nil}
	for _, piece := range p {
		last := len(parts) - 1
		if piece.kind != literal {
			parts[last] = append(parts[last], piece)
			continue
		}
		texts := strings.SplitN(piece.text, ":", n-last)
		for i, t := range texts {
			if i > 0 {
				parts = append(parts, nil)
			}
			if t != "" {
				lit := piece
				lit.text = t
				parts[len(parts)-1] = append(parts[len(parts)-1], lit)
			}
		}
	}
	return parts
}

func (p pattern) hasVariables() bool {
	return slices.ContainsFunc(p, func(piece piece) bool { return piece.kind == variable })
}

// resolve gives the variables their values, in the buffer; ok is false where one has none.
func (p pattern) resolve(e *evaluation, buffer pattern) (resolved pattern, ok bool) {
	if !p.hasVariables() {
		return p, true
	}
	buffer = append(buffer[:0], p...)
	for i := range buffer {
		if buffer[i].kind != variable {
			continue
		}
		d, rest, n := e.lookup(buffer[i].variable)
		value := buffer[i].text
		switch {
		case n == 1 && len(rest) == 0:
			value = d.String()
		case !buffer[i].fallback:
			return nil, false
		}
		buffer[i] = piece{kind: literal, text: value}
	}
	return buffer, true
}

// match compares text with a pattern that has no variables (left), taking the text from one star on one character at a time.
func (p pattern) match(s string, fold bool) bool {
	at, i := 0, 0             // piece, byte
	starAt, starText := -1, 0 // the last star, and where the text after it begins
	for {
		if at < len(p) && p[at].kind == star {
			if at == len(p)-1 {
				return true
			}
			starAt, starText = at, i
			at++
			continue
		}
		if at == len(p) && i == len(s) {
			return true
		}
		if n, ok := p.step(at, s[i:], fold); ok {
			at++
			i += n
			continue
		}
		if starAt < 0 || starText >= len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[starText:])
		starText += size
		at, i = starAt+1, starText
	}
}

// step says whether the piece fits the beginning of s, and how many bytes of it.
func (p pattern) step(at int, s string, fold bool) (n int, ok bool) {
	if at == len(p) {
		return 0, false
	}
	if p[at].kind == question {
		_, size := utf8.DecodeRuneInString(s)
		return size, size > 0
	}
	t := p[at].text
	switch {
	case len(s) < len(t):
		return 0, false
	case fold:
		return len(t), strings.EqualFold(s[:len(t)], t)
	default:
		return len(t), s[:len(t)] == t
	}
}

// plain says that the pattern is nothing but text.
func (p pattern) plain() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].kind == literal:
		return p[0].text, true
	default:
		return "", false
	}
}

// arnParts is how many parts an ARN has: arn, partition, service, region, account, resource.
const arnParts = 6

// splitARN cuts text into the parts of an ARN; the last one may hold colons.
func splitARN(s string) (parts [arnParts]string, ok bool) {
	for i := range arnParts - 1 {
		part, rest, found := strings.Cut(s, ":")
		if !found {
			return parts, false
		}
		parts[i], s = part, rest
	}
	parts[arnParts-1] = s
	return parts, parts[0] == "arn"
}

// arnPattern is a pattern of ARNs, compared part by part.
type arnPattern struct {
	parts     []pattern // six; nil: whole counts
	whole     pattern   // of fewer parts, with a star at the end
	variables bool      // there are some in it
}

// compileARN reads a pattern of ARNs. short allows fewer than six parts where the last character is a star.
func compileARN(s string, variables, short bool) (arnPattern, error) {
	p, err := compile(s, true, variables)
	if err != nil {
		return arnPattern{}, err
	}
	parts := p.split(arnParts)
	if short && len(p) == 1 && p[0].kind == star {
		return arnPattern{whole: p}, nil
	}
	if lit, ok := parts[0].plain(); !ok || lit != "arn" {
		return arnPattern{}, errors.New(`it must be "*" or an ARN, which begins with "arn:"`)
	}
	if len(parts) == arnParts {
		return arnPattern{parts: parts, variables: p.hasVariables()}, nil
	}
	if short && p[len(p)-1].kind == star && len(parts) > 1 {
		return arnPattern{whole: p}, nil
	}
	return arnPattern{}, errors.New("an ARN has six parts: arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE")
}

// match compares an ARN. known is false where any variable of the pattern has no value; it matches nothing then.
func (a *arnPattern) match(e *evaluation, arn *splitText) (matched, known bool) {
	var buffer [8]piece
	if a.parts == nil {
		p, ok := a.whole.resolve(e, buffer[:0])
		return ok && p.match(arn.whole, false), ok
	}
	matched, known = arn.isARN, true
	for i, part := range a.parts {
		p, ok := part.resolve(e, buffer[:0])
		known = known && ok
		matched = matched && ok && p.match(arn.parts[i], false)
		if !matched && !a.variables {
			return false, true
		}
	}
	return matched && known, known
}

// splitText is a text and, where it is an ARN, its parts.
type splitText struct {
	whole string
	parts [arnParts]string
	isARN bool
}

func split(s string) splitText {
	t := splitText{whole: s}
	t.parts, t.isARN = splitARN(s)
	return t
}
