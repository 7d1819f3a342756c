package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// family is what an operator compares.
type family uint8

const (
	stringEquals family = iota + 1
	stringFold
	stringLike
	numeric
	date
	boolOf
	binaryOf
	ipAddress
	arnLike
	nullOf
)

// relation is how numbers and dates are compared.
type relation uint8

const (
	equal relation = iota
	less
	lessEqual
	greater
	greaterEqual
)

// operator is the first half of a condition, such as ForAllValues:StringNotEqualsIfExists.
type operator struct {
	family   family
	relation relation
	negated  bool
	ifExists bool
	quantity quantity
}

// quantity is how many of a key's values must meet a condition.
type quantity uint8

const (
	single quantity = iota
	forAll
	forAny
)

// operators are all operators, without their prefix and IfExists.
func operators() map[string]operator {
	all := map[string]operator{
		"StringEquals": {family: stringEquals}, "StringNotEquals": {family: stringEquals, negated: true},
		"StringEqualsIgnoreCase": {family: stringFold}, "StringNotEqualsIgnoreCase": {family: stringFold, negated: true},
		"StringLike": {family: stringLike}, "StringNotLike": {family: stringLike, negated: true},
		"Bool": {family: boolOf}, "BinaryEquals": {family: binaryOf}, "Null": {family: nullOf},
		"IpAddress": {family: ipAddress}, "NotIpAddress": {family: ipAddress, negated: true},
		"ArnEquals": {family: arnLike}, "ArnNotEquals": {family: arnLike, negated: true},
		"ArnLike": {family: arnLike}, "ArnNotLike": {family: arnLike, negated: true},
	}
	for name, f := range map[string]family{"Numeric": numeric, "Date": date} {
		all[name+"Equals"] = operator{family: f, relation: equal}
		all[name+"NotEquals"] = operator{family: f, relation: equal, negated: true}
		all[name+"LessThan"] = operator{family: f, relation: less}
		all[name+"LessThanEquals"] = operator{family: f, relation: lessEqual}
		all[name+"GreaterThan"] = operator{family: f, relation: greater}
		all[name+"GreaterThanEquals"] = operator{family: f, relation: greaterEqual}
	}
	return all
}

// parseOperator reads an operator's name.
func parseOperator(name string) (operator, error) {
	base := name
	var op operator
	prefix, after, found := strings.Cut(name, ":")
	quantities := map[string]quantity{"ForAllValues": forAll, "ForAnyValue": forAny}
	if found {
		if op.quantity = quantities[prefix]; op.quantity == single {
			return op, fmt.Errorf("unknown prefix %q: use ForAllValues or ForAnyValue", prefix)
		}
		base = after
	}
	base, ifExists := strings.CutSuffix(base, "IfExists")
	known, ok := operators()[base]
	if !ok {
		for candidate := range operators() {
			if strings.EqualFold(candidate, base) {
				return op, fmt.Errorf("unknown operator %q: write it %q", name, candidate)
			}
		}
		return op, fmt.Errorf("unknown operator %q", name)
	}
	if known.family == nullOf && (ifExists || found) {
		return op, fmt.Errorf("unknown operator %q: Null goes without IfExists, ForAllValues and ForAnyValue", name)
	}
	known.ifExists, known.quantity = ifExists, op.quantity
	return known, nil
}

// operand is a value in a policy, made ready for its operator.
type operand struct {
	text    pattern // of the string operators
	arn     arnPattern
	number  float64
	at      time.Time
	bits    []byte
	network netip.Prefix
	truth   bool
}

// parseOperand reads a value; variables only stand in those of strings and ARNs.
func (op operator) parseOperand(s string, variables bool) (o operand, err error) {
	switch op.family {
	case stringEquals, stringFold:
		o.text, err = compile(s, false, variables)
	case stringLike:
		o.text, err = compile(s, true, variables)
	case arnLike:
		o.arn, err = compileARN(s, variables, false)
	case numeric:
		o.number, err = parseNumber(s)
	case date:
		o.at, err = parseDate(s)
	case binaryOf:
		if o.bits, err = base64.StdEncoding.DecodeString(s); err != nil {
			err = fmt.Errorf("%q is not Base64", s)
		}
	case ipAddress:
		o.network, err = parseNetwork(s)
	case boolOf, nullOf:
		var ok bool
		if o.truth, ok = parseBool(s); !ok {
			err = fmt.Errorf(`%q is neither "true" nor "false"`, s)
		}
	default:
		err = errors.New("unknown operator")
	}
	return o, err
}

// compare says whether a value of the request fits; known is false where that cannot be told: a variable without value, or
// a value of another kind.
func (op operator) compare(e *evaluation, o *operand, d datum) (fits, known bool) {
	switch op.family {
	case stringEquals, stringFold, stringLike:
		var buffer [8]piece
		p, ok := o.text.resolve(e, buffer[:0])
		if op.family == stringFold {
			return ok && strings.EqualFold(p.text(), d.String()), ok
		}
		return ok && p.match(d.String(), false), ok
	case arnLike:
		arn := split(d.String())
		fits, known = o.arn.match(e, &arn)
		return fits, known && arn.isARN
	case numeric:
		n, err := parseNumber(d.String())
		return err == nil && op.relation.holds(compareNumbers(n, o.number)), err == nil
	case date:
		at, ok := d.date()
		return ok && op.relation.holds(at.Compare(o.at)), ok
	case binaryOf:
		bits, err := base64.StdEncoding.DecodeString(d.String())
		return err == nil && string(bits) == string(o.bits), err == nil
	case ipAddress:
		address := d.address
		if d.kind != isAddress {
			address, _ = netip.ParseAddr(d.String())
			address = address.Unmap().WithZone("")
		}
		return o.network.Contains(address), address.IsValid()
	case boolOf:
		truth, ok := parseBool(d.String())
		return ok && truth == o.truth, ok
	default:
		return false, false
	}
}

// text is a resolved pattern without wildcards as text.
func (p pattern) text() string {
	if s, ok := p.plain(); ok {
		return s
	}
	var b strings.Builder
	for _, piece := range p {
		b.WriteString(piece.text)
	}
	return b.String()
}

func (r relation) holds(order int) bool {
	switch r {
	case less:
		return order < 0
	case lessEqual:
		return order <= 0
	case greater:
		return order > 0
	case greaterEqual:
		return order >= 0
	default:
		return order == 0
	}
}

func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// date is the value as a moment.
func (d datum) date() (time.Time, bool) {
	if d.kind == isTime || d.kind == isEpoch {
		return d.at.Truncate(time.Second), true
	}
	at, err := parseDate(d.String())
	return at, err == nil
}

// parseNumber reads an integer or a decimal number, without exponents, infinities and such.
func parseNumber(s string) (float64, error) {
	digits := strings.TrimLeft(s, "+-")
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

// parseDate reads 2026-07-01T12:00:00Z and its shorter forms, or seconds since 1970.
func parseDate(s string) (time.Time, error) {
	const shortYear = 4 // 2026 may be a year or a second
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > shortYear {
		const farthest = 253402300799 // the last second of the year 9999
		if n < -farthest || n > farthest {
			return time.Time{}, fmt.Errorf("%q is not a date", s)
		}
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date: write 2026-07-01T12:00:00Z, 2026-07-01 or seconds since 1970", s)
}

// parseNetwork reads 10.0.0.0/8, 2001:db8::/32, or one address.
func parseNetwork(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", s)
	}
	return network.Masked(), nil
}

func parseBool(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	default:
		return false, false
	}
}
