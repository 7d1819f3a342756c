package arn

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrForm: the text is not an ARN of the form that is asked for.
	ErrForm = errors.New("not a valid ARN")
	// ErrElsewhere: the ARN is valid, and of another region or account.
	ErrElsewhere = errors.New("an ARN of another region or account")
)

// most is the longest ARN, in bytes, as AWS has it.
const most = 2048

// ARN is any Amazon Resource Name, taken apart at its colons.
type ARN struct {
	Partition string // aws
	Service   string // kafka
	Region    string // "" for services without regions, as iam
	Account   string // 12 digits; "" for resources without owner
	Resource  string // all the rest
}

// String is the ARN as it is written.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Split takes any ARN apart. The error is ErrForm.
func Split(text string) (ARN, error) {
	const parts = 6
	p := strings.SplitN(text, ":", parts)
	if len(text) > most || len(p) < parts || p[0] != "arn" {
		return ARN{}, ErrForm
	}
	a := ARN{Partition: p[1], Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}
	ok := word(a.Partition) && word(a.Service) && (a.Region == "" || word(a.Region)) && (a.Account == "" || account(a.Account)) && a.Resource != ""
	if !ok || strings.IndexFunc(a.Resource, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
		return ARN{}, ErrForm
	}
	return a, nil
}

// Home is the region and the account of an installation, of which its ARNs are made. Both are needed.
type Home struct {
	Region  string // us-east-1
	Account string // 12 digits
}

func (h Home) arn(service, resource string) string {
	return ARN{"aws", service, h.Region, h.Account, resource}.String()
}

// owns returns ErrElsewhere for an ARN of another region or account.
func (h Home) owns(region, owner string) error {
	if region != h.Region || owner != h.Account {
		return fmt.Errorf("%w: here it is %s, %s", ErrElsewhere, h.Region, h.Account)
	}
	return nil
}

// word says whether s has lower case letters, digits and dashes only, at least one and at most 63.
func word(s string) bool { return made(s, 63, "-", false) }

// name says whether s can be the name of something: letters, digits, dashes, dots and underscores, at most 249.
func name(s string) bool { return made(s, 249, "-._", true) }

func account(s string) bool {
	const digits = 12
	return len(s) == digits && strings.Trim(s, "0123456789") == ""
}

// made says whether s is of 1 to longest letters, digits and characters of more.
func made(s string, longest int, more string, upper bool) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || upper && c >= 'A' && c <= 'Z' || strings.IndexByte(more, c) >= 0
		if !ok {
			return false
		}
	}
	return true
}

// uuid says whether s is a UUID in lower case.
func uuid(s string) bool {
	const length = 36
	if len(s) != length {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// numbered says whether s is UUID-N, N from 1 to 999,999 without zeros before it.
func numbered(s string) bool {
	const length = 36
	if len(s) < length+2 || s[length] != '-' || !uuid(s[:length]) {
		return false
	}
	n := s[length+1:]
	return len(n) <= 6 && n[0] != '0' && strings.Trim(n, "0123456789") == ""
}
