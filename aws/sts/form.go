package sts

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/secure/iam"
)

const (
	policyMost = 2048 // characters of a session policy
	tagsMost   = 50
)

func invalid(format string, args ...any) error {
	return door.Fail(http.StatusBadRequest, "ValidationError", "", format, args...)
}

// askedRole reads the input of AssumeRole.
func askedRole(c *door.Call) (a iam.AssumeRole, err error) {
	if err := refuseUnknown(c, "PolicyArns", "TransitiveTagKeys", "SourceIdentity", "SerialNumber", "TokenCode", "ProvidedContexts"); err != nil {
		return a, err
	}
	a.Role, a.Session, a.ExternalID = c.Query.Get("RoleArn"), c.Query.Get("RoleSessionName"), c.Query.Get("ExternalId")
	for name, value := range map[string]string{"RoleArn": a.Role, "RoleSessionName": a.Session} {
		if value == "" {
			return a, invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", strings.ToLower(name[:1])+name[1:])
		}
	}
	role, err := arn.Split(a.Role)
	if err != nil || role.Service != "iam" || role.Partition != "aws" || role.Region != "" || !strings.HasPrefix(role.Resource, "role/") {
		return a, invalid("%.2048s is invalid", strings.ToValidUTF8(a.Role, "?"))
	}
	if text := c.Query.Get("Policy"); text != "" {
		a.Policy = []byte(text)
	}
	if a.Duration, err = seconds(c, "DurationSeconds"); err != nil {
		return a, err
	}
	if a.Tags, err = tags(c); err != nil {
		return a, err
	}
	a.From, a.TLS = c.Source(), c.Request.TLS != nil
	return a, nil
}

// refuseUnknown refuses parameters, or lists of them, that would bound a session and are not known here (ST2).
func refuseUnknown(c *door.Call, names ...string) error {
	for _, name := range names {
		for given, values := range c.Query {
			if (given == name || strings.HasPrefix(given, name+".")) && strings.Join(values, "") != "" {
				return invalid("The parameter %s is not supported.", name)
			}
		}
	}
	return nil
}

// seconds reads a duration; zero: it is not given.
func seconds(c *door.Call, name string) (time.Duration, error) {
	text := c.Query.Get(name)
	if text == "" {
		return 0, nil
	}
	const least, most = 900, 129_600
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, invalid("1 validation error detected: Value '%.32s' at 'durationSeconds' failed to satisfy constraint: Member must have value between %d and %d",
			strings.ToValidUTF8(text, "?"), least, most)
	}
	return time.Duration(n) * time.Second, nil
}

// tags reads Tags.member.N.Key and Tags.member.N.Value.
func tags(c *door.Call) (map[string]string, error) {
	out := make(map[string]string)
	given := 0
	for name := range c.Query {
		if strings.HasPrefix(name, "Tags.") {
			given++
		}
	}
	for n := 1; n <= tagsMost+1; n++ {
		at := "Tags.member." + strconv.Itoa(n)
		if !c.Query.Has(at + ".Key") {
			break
		}
		key := c.Query.Get(at + ".Key")
		if _, twice := out[key]; twice || n > tagsMost || !c.Query.Has(at+".Value") {
			return nil, invalid("The tags of the session are not valid: at most %d, each with its own key and a value.", tagsMost)
		}
		out[key] = c.Query.Get(at + ".Value")
		given -= 2
	}
	if given != 0 {
		return nil, invalid("The tags of the session are not numbered from 1 on.")
	}
	return out, nil
}
