package iam

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// tokenContext is bound to sealed session tokens, so that nothing else that was sealed can pass for one.
const tokenContext = "millrace/session-token"

const (
	leastSession   = 15 * time.Minute
	mostSession    = 12 * time.Hour
	defaultSession = time.Hour
	chained        = time.Hour // longest session that a session can make
	mostToken      = 16 << 10  // bytes of a token
)

// token is what a session token says, sealed.
type token struct {
	Format  int               `json:"f"`
	ID      string            `json:"k"`
	Secret  string            `json:"s"`
	Account string            `json:"a"`
	User    string            `json:"u,omitempty"` // "": root, or a role
	Role    string            `json:"r,omitempty"`
	Owner   string            `json:"o,omitempty"` // unique id of the user or role
	Name    string            `json:"n,omitempty"` // of a role's session
	Policy  json.RawMessage   `json:"p,omitempty"`
	Tags    map[string]string `json:"t,omitempty"`
	Issued  int64             `json:"i"` // seconds since 1970
	Expires int64             `json:"e"`
}

// AssumeRole says which session of a role is wanted.
type AssumeRole struct {
	Role       string            `json:"role"`         // name, or ARN
	Session    string            `json:"session_name"` // 2 to 64 characters
	Duration   time.Duration     `json:"-"`            // zero: 1 hour; at least 15 minutes, at most what the role allows
	Policy     []byte            `json:"-"`            // bounds the session; nil: none
	ExternalID string            `json:"external_id"`  // for trust policies that ask for one
	Tags       map[string]string `json:"tags"`
	From       netip.Addr        `json:"-"` // address of the caller
	TLS        bool              `json:"-"`
}

// AssumeRole makes a session of a role for a caller that Key gave. Errors: ErrDenied (also where there is no such role: who may not
// assume roles does not learn which there are), ErrInvalid, ErrNotReady.
func (v *View) AssumeRole(caller *identity.IAM, a AssumeRole) (Session, error) {
	s := v.now.Load()
	if s == nil {
		return Session{}, ErrNotReady
	}
	name := strings.TrimPrefix(a.Role, arnOfRole(s.account, ""))
	if err := a.check(); err != nil {
		return Session{}, err
	}
	who, role := s.bind(caller), s.roles[name]
	denied := fmt.Errorf("%w: %s may not assume role %s", ErrDenied, caller.ARN, clip(name))
	switch {
	case who.why != "":
		return Session{}, fmt.Errorf("%w: %s", ErrDenied, who.why)
	case who.who.Root:
		return Session{}, fmt.Errorf("%w: root assumes no roles: make a user for it", ErrDenied)
	case role == nil || role.broken != "":
		return Session{}, denied
	}
	now := v.clock.Now()
	set := policy.Set{Identity: who.set.Identity, Session: who.set.Session, Resource: role.trust}
	r := policy.Request{
		Action: "sts:AssumeRole", Resource: arnOfRole(s.account, name), Who: &who.who, Source: a.From, Now: now, TLS: a.TLS, ResourceTags: role.tags,
		More: a.keys(),
	}
	if !set.DecideTrust(&r).Allowed {
		return Session{}, denied
	}
	if r.Action = "sts:TagSession"; len(a.Tags) > 0 && !set.DecideTrust(&r).Allowed {
		return Session{}, fmt.Errorf("%w: %s may not give tags to a session of role %s (sts:TagSession)", ErrDenied, caller.ARN, clip(name))
	}
	longest := time.Duration(role.longest) * time.Second
	if caller.Role != "" {
		longest = min(longest, chained)
	}
	duration, err := sessionTime(a.Duration, longest)
	if err != nil {
		return Session{}, err
	}
	t := token{Account: s.account, Role: name, Owner: role.id, Name: a.Session, Tags: a.Tags}
	if a.Policy != nil {
		t.Policy = compact(a.Policy)
	}
	return v.seal(t, arnOfSession(s.account, name, a.Session), now, duration)
}

// keys are what a trust policy can ask of the call.
func (a *AssumeRole) keys() map[string][]string {
	more := map[string][]string{"sts:rolesessionname": {a.Session}}
	if a.ExternalID != "" {
		more["sts:externalid"] = []string{a.ExternalID}
	}
	for _, k := range slices.Sorted(maps.Keys(a.Tags)) {
		more["aws:requesttag/"+strings.ToLower(k)] = []string{a.Tags[k]}
		more["aws:tagkeys"] = append(more["aws:tagkeys"], k)
	}
	return more
}

func (a *AssumeRole) check() error {
	if err := checkName("session", a.Session, mostSessionName); err != nil || len(a.Session) < 2 {
		return fmt.Errorf("%w: name of a session %q: use 2 to %d letters, digits and +=,.@_-", ErrInvalid, clip(a.Session), mostSessionName)
	}
	if a.Policy != nil {
		if _, err := checkDocument(a.Policy, policy.Session, "of the session"); err != nil {
			return err
		}
	}
	return checkTags(a.Tags)
}

func sessionTime(asked, longest time.Duration) (time.Duration, error) {
	if asked == 0 {
		return min(defaultSession, longest), nil
	}
	if asked < leastSession || asked > longest {
		return 0, fmt.Errorf("%w: a session of %v: use %v to %v", ErrInvalid, asked, leastSession, longest)
	}
	return asked, nil
}

// SessionToken makes a session of the caller itself, a user or root, so that the lasting key need not be given away. Duration zero: 1 hour; at
// least 15 minutes, at most 12 hours, for root 1. Errors: ErrDenied for a caller that is a session, ErrInvalid, ErrNotReady.
func (v *View) SessionToken(caller *identity.IAM, duration time.Duration) (Session, error) {
	s := v.now.Load()
	if s == nil {
		return Session{}, ErrNotReady
	}
	who := s.bind(caller)
	switch {
	case who.why != "":
		return Session{}, fmt.Errorf("%w: %s", ErrDenied, who.why)
	case !caller.Issued.IsZero():
		return Session{}, fmt.Errorf("%w: a session makes no session of itself", ErrDenied)
	}
	longest := mostSession
	t := token{Account: s.account, User: who.who.Name, Owner: caller.UserID}
	if who.who.Root {
		longest = chained
	}
	duration, err := sessionTime(duration, longest)
	if err != nil {
		return Session{}, err
	}
	return v.seal(t, caller.ARN, v.clock.Now(), duration)
}

// seal makes a session of a token.
func (v *View) seal(t token, arn string, now time.Time, duration time.Duration) (Session, error) {
	t.Format, t.ID, t.Secret = currentFormat, randomID("ASIA", keyLength), randomSecret()
	t.Issued, t.Expires = now.Unix(), now.Add(duration).Unix()
	sealed, err := v.sealer.Seal(encode(t), []byte(tokenContext))
	if err != nil {
		return Session{}, fmt.Errorf("seal session token: %w", err)
	}
	return Session{
		ID: t.ID, Secret: t.Secret, Token: base64.RawURLEncoding.EncodeToString(sealed), ARN: arn, Expires: time.Unix(t.Expires, 0).UTC(),
	}, nil
}

// session opens a token. All that is wrong is ErrKey.
func (v *View) session(s *snapshot, id, text string) (Credential, error) {
	if len(text) > mostToken {
		return Credential{}, ErrKey
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return Credential{}, ErrKey
	}
	plain, err := v.sealer.Open(sealed, []byte(tokenContext))
	if err != nil {
		return Credential{}, ErrKey
	}
	var t token
	if json.Unmarshal(plain, &t) != nil || t.Format != currentFormat || t.ID != id || t.Account != s.account {
		return Credential{}, ErrKey
	}
	if v.clock.Now().Unix() >= t.Expires {
		return Credential{}, ErrExpired
	}
	c := Credential{ID: id, Secret: t.Secret, Expires: time.Unix(t.Expires, 0)}
	c.Identity = identity.IAM{Account: s.account, AccessKey: id, Issued: time.Unix(t.Issued, 0), Tags: t.Tags, SessionPolicy: t.Policy, UserID: t.Owner}
	switch {
	case t.Role != "":
		c.Identity.ARN, c.Identity.Role, c.Identity.UserID = arnOfSession(s.account, t.Role, t.Name), t.Role, t.Owner+":"+t.Name
	case t.User != "":
		c.Identity.ARN = arnOfUser(s.account, t.User)
	default:
		c.Identity.ARN = arnOfRoot(s.account)
	}
	if s.work(&c.Identity).why != "" {
		return Credential{}, ErrKey
	}
	c.Principal = "User:" + c.Identity.ARN
	return c, nil
}
