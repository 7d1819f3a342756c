package sts

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"millrace/aws/door"
	"millrace/secure/iam"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// Sessions makes sessions, and knows whose they are. iam.View is one.
type Sessions interface {
	// AssumeRole makes a session of a role. Errors: iam.ErrDenied, iam.ErrInvalid, iam.ErrNotReady.
	AssumeRole(caller *identity.IAM, a iam.AssumeRole) (iam.Session, error)
	// SessionToken makes a session of the caller itself. Errors as above.
	SessionToken(caller *identity.IAM, duration time.Duration) (iam.Session, error)
	// Key finds the session that a token is for. The error is iam.ErrKey or iam.ErrNotReady.
	Key(ctx context.Context, id, token string) (iam.Credential, error)
}

// Service is STS for a door.
func Service(s Sessions) door.Service {
	return door.Service{
		Name: "sts", Protocol: door.Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Error: told,
		Operations: []door.Operation{
			{Name: "GetCallerIdentity", Reads: true, Handle: getCallerIdentity},
			{Name: "AssumeRole", Resource: func(c *door.Call) string { return c.Query.Get("RoleArn") }, Handle: func(ctx context.Context, c *door.Call) (any, error) {
				return assumeRole(ctx, c, s)
			}},
			{Name: "GetSessionToken", Handle: func(_ context.Context, c *door.Call) (any, error) { return getSessionToken(c, s) }},
		},
	}
}

// callerIdentity is the answer to GetCallerIdentity.
type callerIdentity struct {
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
	Account string
}

func getCallerIdentity(_ context.Context, c *door.Call) (any, error) {
	who := c.Caller.IAM
	return callerIdentity{who.ARN, who.UserID, who.Account}, nil
}

// credentials are those of a session.
type credentials struct {
	ID      string `xml:"AccessKeyId"`
	Secret  string `xml:"SecretAccessKey"`
	Token   string `xml:"SessionToken"`
	Expires string `xml:"Expiration"`
}

func credentialsOf(s iam.Session) credentials {
	return credentials{s.ID, s.Secret, s.Token, s.Expires.UTC().Format(time.RFC3339)}
}

// assumed is the answer to AssumeRole.
type assumed struct {
	User struct {
		ID  string `xml:"AssumedRoleId"`
		ARN string `xml:"Arn"`
	} `xml:"AssumedRoleUser"`
	Credentials credentials
	Packed      int `xml:"PackedPolicySize"`
}

func assumeRole(ctx context.Context, c *door.Call, s Sessions) (any, error) {
	a, err := askedRole(c)
	if err != nil {
		return nil, err
	}
	session, err := s.AssumeRole(c.Caller.IAM, a)
	if errors.Is(err, iam.ErrDenied) {
		return nil, door.Fail(http.StatusForbidden, "AccessDenied", "", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.Caller.IAM.ARN, a.Role)
	}
	if err != nil {
		return nil, err
	}
	made, err := s.Key(ctx, session.ID, session.Token)
	if err != nil {
		return nil, err
	}
	c.Changed(nil, map[string]any{"access_key_id": session.ID, "arn": session.ARN, "expiration": session.Expires})
	var out assumed
	out.User.ID, out.User.ARN, out.Credentials = made.Identity.UserID, session.ARN, credentialsOf(session)
	if a.Policy != nil {
		out.Packed = max(1, 100*len(a.Policy)/policyMost)
	}
	return out, nil
}

func getSessionToken(c *door.Call, s Sessions) (any, error) {
	if err := refuseUnknown(c, "SerialNumber", "TokenCode"); err != nil {
		return nil, err
	}
	duration, err := seconds(c, "DurationSeconds")
	if err != nil {
		return nil, err
	}
	session, err := s.SessionToken(c.Caller.IAM, duration)
	if errors.Is(err, iam.ErrDenied) {
		return nil, door.Fail(http.StatusForbidden, "AccessDenied", "", "Cannot call GetSessionToken with session credentials")
	}
	if err != nil {
		return nil, err
	}
	c.Changed(nil, map[string]any{"access_key_id": session.ID, "arn": session.ARN, "expiration": session.Expires})
	return struct{ Credentials credentials }{credentialsOf(session)}, nil
}

// told is what clients are told of errors of secure/iam.
func told(err error) *door.Error {
	switch {
	case errors.Is(err, policy.ErrMalformed):
		return door.Fail(http.StatusBadRequest, "MalformedPolicyDocument", "", "%s", plain(err))
	case errors.Is(err, iam.ErrInvalid), errors.Is(err, iam.ErrLimit):
		return door.Fail(http.StatusBadRequest, "ValidationError", "", "%s", plain(err))
	case errors.Is(err, iam.ErrKey):
		return door.Fail(http.StatusForbidden, "InvalidClientTokenId", "", "The security token included in the request is invalid.")
	case errors.Is(err, iam.ErrNotReady):
		return door.Fail(http.StatusServiceUnavailable, "ServiceUnavailable", "", "The service cannot answer at the moment. Try again.")
	}
	return nil
}

// plain is the text of an error about what the client itself has sent.
func plain(err error) string { return strings.TrimPrefix(err.Error(), iam.ErrInvalid.Error()+": ") }
