package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key names something that a request says about itself.
type key struct {
	id   keyID
	rest string // the tag's key; for other, the whole name in lower case
}

type keyID uint8

const (
	other keyID = iota
	sourceIP
	currentTime
	epochTime
	secureTransport
	userName
	userID
	principalARN
	principalType
	principalAccount
	tokenIssueTime
	multiFactor
	resourceAccount
	requestedRegion
	principalTag
	resourceTag
)

// keyNames are the keys that every request may have, in lower case.
func keyNames() map[string]keyID {
	return map[string]keyID{
		"aws:sourceip": sourceIP, "aws:currenttime": currentTime, "aws:epochtime": epochTime, "aws:securetransport": secureTransport,
		"aws:username": userName, "aws:userid": userID, "aws:principalarn": principalARN, "aws:principaltype": principalType,
		"aws:principalaccount": principalAccount, "aws:tokenissuetime": tokenIssueTime, "aws:multifactorauthpresent": multiFactor,
		"aws:resourceaccount": resourceAccount, "aws:requestedregion": requestedRegion,
	}
}

// rareKeys are keys of other services' requests that may be in Request.More, in lower case.
func rareKeys() []string {
	return []string{"sts:externalid", "sts:rolesessionname", "sts:sourceidentity", "iam:policyarn", "iam:passedtoservice", "aws:requesttag/", "aws:tagkeys"}
}

// parseKey reads the name of a key, SERVICE:NAME; case does not count.
func parseKey(name string) (k key, ok bool) {
	lower := strings.ToLower(name)
	service, rest, found := strings.Cut(lower, ":")
	if !found || service == "" || rest == "" || strings.ContainsAny(name, " \t\r\n*?${}'\"") && !strings.Contains(name, "/") {
		return key{}, false
	}
	if id, known := keyNames()[lower]; known {
		return key{id: id}, true
	}
	for prefix, id := range map[string]keyID{"aws:principaltag/": principalTag, "aws:resourcetag/": resourceTag} {
		if strings.HasPrefix(lower, prefix) {
			return key{id: id, rest: name[len(prefix):]}, len(name) > len(prefix)
		}
	}
	return key{id: other, rest: lower}, true
}

// unheard says that no request has this key here: a condition on it sees it missing.
func (k key) unheard() bool {
	return k.id == other && !slices.ContainsFunc(rareKeys(), func(known string) bool {
		return k.rest == known || strings.HasSuffix(known, "/") && strings.HasPrefix(k.rest, known)
	})
}

// datum is one value of a key.
type datum struct {
	kind    datumKind
	text    string
	at      time.Time
	address netip.Addr
}

type datumKind uint8

const (
	isText datumKind = iota
	isTime
	isEpoch
	isAddress
)

// String is the value as text, as StringEquals sees it.
func (d datum) String() string {
	switch d.kind {
	case isTime:
		return d.at.UTC().Format("2006-01-02T15:04:05Z")
	case isEpoch:
		return strconv.FormatInt(d.at.Unix(), 10)
	case isAddress:
		return d.address.String()
	default:
		return d.text
	}
}

// evaluation is a request being decided.
type evaluation struct {
	r        *Request
	resource splitText
}

// lookup returns the values of a key: none (n is 0: the key is missing), one, or one and the rest.
func (e *evaluation) lookup(k key) (first datum, rest []string, n int) {
	switch k.id {
	case sourceIP:
		return optional(datum{kind: isAddress, address: e.r.Source.Unmap().WithZone("")}, e.r.Source.IsValid())
	case currentTime:
		return optional(datum{kind: isTime, at: e.r.Now}, !e.r.Now.IsZero())
	case epochTime:
		return optional(datum{kind: isEpoch, at: e.r.Now}, !e.r.Now.IsZero())
	case secureTransport:
		return optional(datum{text: strconv.FormatBool(e.r.TLS)}, true)
	case resourceAccount:
		return words(e.resource.parts[4])
	case requestedRegion:
		return words(e.resource.parts[3])
	case resourceTag:
		return tag(e.r.ResourceTags, k.rest)
	case other:
		values := e.r.More[k.rest]
		if len(values) == 0 {
			return datum{}, nil, 0
		}
		return datum{text: values[0]}, values[1:], len(values)
	}
	return e.r.Who.lookup(k)
}

// lookup returns what a principal says of itself.
func (p *Principal) lookup(k key) (first datum, rest []string, n int) {
	if p == nil {
		return optional(datum{text: "Anonymous"}, k.id == principalType)
	}
	switch k.id {
	case userName:
		return words(p.Name)
	case userID:
		return words(p.UserID)
	case principalARN:
		if p.RoleARN != "" {
			return words(p.RoleARN)
		}
		return words(p.ARN)
	case principalType:
		return words(p.kind())
	case principalAccount:
		return words(p.Account)
	case tokenIssueTime:
		return optional(datum{kind: isTime, at: p.Issued}, !p.Issued.IsZero())
	case multiFactor:
		return optional(datum{text: "false"}, !p.Issued.IsZero())
	case principalTag:
		return tag(p.Tags, k.rest)
	}
	return datum{}, nil, 0
}

// kind is aws:PrincipalType.
func (p *Principal) kind() string {
	switch {
	case p.Root:
		return "Account"
	case p.RoleARN != "":
		return "AssumedRole"
	default:
		return "User"
	}
}

func optional(d datum, present bool) (datum, []string, int) {
	if !present {
		return datum{}, nil, 0
	}
	return d, nil, 1
}

// words is a text that is missing where it is empty.
func words(s string) (datum, []string, int) { return optional(datum{text: s}, s != "") }

// tag finds a tag: the key as it is spelled goes before others that differ in case only, of which the first by order counts.
func tag(tags map[string]string, name string) (datum, []string, int) {
	if v, ok := tags[name]; ok {
		return datum{text: v}, nil, 1
	}
	best, found := "", false
	for k := range tags {
		if strings.EqualFold(k, name) && (!found || k < best) {
			best, found = k, true
		}
	}
	return optional(datum{text: tags[best]}, found)
}
