package sigv4

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// parameter is one of a query, decoded.
type parameter struct{ name, value string }

// parseQuery takes a query apart. A plus sign stands for itself, as in the canonical form.
func parseQuery(raw string) ([]parameter, error) {
	var out []parameter
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.PathUnescape(name)
		if err != nil {
			return nil, fmt.Errorf("%w: query", ErrMalformed)
		}
		v, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("%w: query", ErrMalformed)
		}
		out = append(out, parameter{n, v})
	}
	return out, nil
}

// canonicalQuery encodes and sorts parameters.
func canonicalQuery(in []parameter) string {
	encoded := make([]parameter, len(in))
	for i, p := range in {
		encoded[i] = parameter{escape(p.name, false), escape(p.value, false)}
	}
	slices.SortFunc(encoded, func(a, b parameter) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range encoded {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String()
}

// escape encodes all but RFC 3986's unreserved characters, and slashes if they are to be kept.
func escape(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' ||
			keepSlash && c == '/'
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}

// canonicalLogin is the request that a login is the signature of.
func canonicalLogin(host string, query []parameter) string {
	return strings.Join([]string{"GET", "/", canonicalQuery(query), "host:" + host, "", "host", emptyHash}, "\n")
}
