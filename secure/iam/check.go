package iam

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/secure/iam/policy"
)

// The limits of IAM.
const (
	mostUserName    = 64
	mostRoleName    = 64
	mostPolicyName  = 128
	mostSessionName = 64
	mostTags        = 50
	mostTagKey      = 128
	mostTagValue    = 256
	mostAttached    = 10
	mostKeys        = 2
	mostInlineUser  = 2048  // characters of all inline policies of a user
	mostInlineRole  = 10240 // of a role
	mostUsers       = 5000
	mostRoles       = 1000
	mostPolicies    = 1500
	mostDescription = 1000
)

// checkName wants letters, digits and +=,.@_- as IAM does.
func checkName(what, name string, most int) error {
	ok := len(name) >= 1 && len(name) <= most
	for _, r := range name {
		ok = ok && r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("+=,.@_-", r))
	}
	if !ok {
		return fmt.Errorf("%w: name of a %s %q: use 1 to %d letters, digits and +=,.@_-", ErrInvalid, what, clip(name), most)
	}
	return nil
}

// clip keeps what somebody else wrote short in a message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// checkTags wants what IAM takes as tags; keys that differ in case only are one key.
func checkTags(tags map[string]string) error {
	if len(tags) > mostTags {
		return fmt.Errorf("%w: %d tags, at most %d", ErrLimit, len(tags), mostTags)
	}
	seen := map[string]bool{}
	for k, v := range tags {
		lower := strings.ToLower(k)
		switch {
		case k == "" || utf8.RuneCountInString(k) > mostTagKey || !tagText(k):
			return fmt.Errorf("%w: key of a tag %q: use 1 to %d letters, digits, spaces and _.:/=+-@", ErrInvalid, clip(k), mostTagKey)
		case utf8.RuneCountInString(v) > mostTagValue || !tagText(v):
			return fmt.Errorf("%w: value of the tag %q: use up to %d letters, digits, spaces and _.:/=+-@", ErrInvalid, clip(k), mostTagValue)
		case strings.HasPrefix(lower, "aws:"):
			return fmt.Errorf("%w: key of a tag %q: aws: is kept for AWS", ErrInvalid, clip(k))
		case seen[lower]:
			return fmt.Errorf("%w: two tags %q; case does not count", ErrInvalid, clip(k))
		}
		seen[lower] = true
	}
	return nil
}

func tagText(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Zs, r) && !strings.ContainsRune("_.:/=+-@", r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// checkDocument reads a policy that somebody wants to keep.
func checkDocument(document []byte, kind policy.Kind, name string) (*policy.Policy, error) {
	p, err := policy.Parse(document, kind, name)
	if err != nil {
		return nil, fmt.Errorf("%w: policy %s: %w", ErrInvalid, clip(name), err)
	}
	return p, nil
}
