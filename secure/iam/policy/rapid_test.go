package policy

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func oneOf(t *rapid.T, label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(t, label)
}

func some(t *rapid.T, label string, draw func() string) []string {
	n := rapid.IntRange(1, 3).Draw(t, label)
	var all []string
	for range n {
		all = append(all, draw())
	}
	return all
}

func drawARN(t *rapid.T, wildcards bool) string {
	name := func() string {
		parts := []string{"a", "b", ":", "/", "é"}
		if wildcards {
			parts = append(parts, "*", "?", "*", "${aws:username}", "${aws:PrincipalTag/team}", "${aws:PrincipalTag/team, 'a'}", "${*}", "${$}", "${aws:PrincipalArn}")
		}
		s := ""
		for range rapid.IntRange(0, 4).Draw(t, "length") {
			s += oneOf(t, "part", parts...)
		}
		return s
	}
	if !wildcards {
		return "arn:aws:kafka:" + oneOf(t, "region", "r", "rr") + ":" + oneOf(t, "account", "1", "2") + ":topic/c/" + name()
	}
	if rapid.IntRange(0, 5).Draw(t, "short") == 0 {
		return oneOf(t, "shape", "*", "arn:aws:kafka:*", "arn:aws:kafka:r*", "arn:aws:kafka:r:1:*", "arn:aws:kafka:r:?*")
	}
	return "arn:" + oneOf(t, "partition", "aws", "*", "aw?") + ":kafka:" + oneOf(t, "region", "r", "*", "r?", "") + ":" +
		oneOf(t, "account", "1", "*", "${aws:username}") + ":" + oneOf(t, "kind", "topic/c/", "*/c/", "topic/*", "*") + name()
}

// drawCondition draws a condition whose values can be read.
func drawCondition(t *rapid.T) (operator, key string, wants []string) {
	key = oneOf(t, "key", "aws:username", "AWS:UserName", "aws:PrincipalTag/team", "aws:ResourceTag/Team", "aws:SourceIp", "aws:CurrentTime",
		"aws:EpochTime", "aws:SecureTransport", "aws:PrincipalArn", "aws:PrincipalType", "aws:TagKeys", "aws:SourceVpc", "aws:userid")
	values := map[string]func() string{
		"String": func() string {
			return oneOf(t, "text", "a", "A", "b", "*", "a*", "?", "${aws:username}", "${aws:ResourceTag/team}", "true", "User", "${*}", "1", "2026-07-01T12:00:00Z", "")
		},
		"Numeric": func() string { return oneOf(t, "number", "0", "1", "1.0", "-5", "1782907200", "2.5") },
		"Date": func() string {
			return oneOf(t, "date", "2026-07-01T12:00:00Z", "2026-07-01T14:00:00+02:00", "2001-01-01T00:00:00Z", "1782907201")
		},
		"Arn": func() string {
			return oneOf(t, "arn", "arn:aws:iam::1:user/a", "arn:aws:iam::1:role/*", "arn:*:iam::*:*", "arn:aws:iam::1:user/${aws:username}", "arn:aws:sts::1:assumed-role/r/s")
		},
		"Ip":     func() string { return oneOf(t, "network", "10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0") },
		"Bool":   func() string { return oneOf(t, "truth", "true", "false", "True") },
		"Binary": func() string { return oneOf(t, "bits", "YQ==", "Yg==", "") },
	}
	families := map[string][]string{
		"String":  {"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"},
		"Numeric": {"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
		"Date":    {"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"},
		"Arn":     {"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"},
		"Ip":      {"IpAddress", "NotIpAddress"}, "Bool": {"Bool"}, "Binary": {"BinaryEquals"},
	}
	family := oneOf(t, "family", "String", "String", "Numeric", "Date", "Arn", "Ip", "Bool", "Binary", "Null")
	if family == "Null" {
		return "Null", key, []string{oneOf(t, "null", "true", "false")}
	}
	operator = oneOf(t, "set", "", "", "", "ForAllValues:", "ForAnyValue:") + oneOf(t, "operator", families[family]...) + oneOf(t, "if", "", "", "IfExists")
	return operator, key, some(t, "values", values[family])
}

func drawDoc(t *rapid.T, principals bool) *modelDoc {
	d := &modelDoc{Version: oneOf(t, "version", "2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", "")}
	for range rapid.IntRange(1, 3).Draw(t, "statements") {
		s := modelStatement{Effect: oneOf(t, "effect", "Allow", "Allow", "Deny")}
		actions := some(t, "actions", func() string {
			return oneOf(t, "action", "*", "k:*", "k:Read", "K:rEAD", "k:R*d", "k:?rite", "k:Write", "j:*", "*:*")
		})
		if rapid.IntRange(0, 3).Draw(t, "not action") == 0 {
			s.NotAction = actions
		} else {
			s.Action = actions
		}
		resources := some(t, "resources", func() string { return drawARN(t, true) })
		if rapid.IntRange(0, 3).Draw(t, "not resource") == 0 {
			s.NotResource = resources
		} else {
			s.Resource = resources
		}
		if principals {
			p := &modelPrincipals{AWS: some(t, "principals", func() string {
				return oneOf(t, "principal", "*", "000000000001", "arn:aws:iam::000000000001:root", "arn:aws:iam::000000000001:user/a", "arn:aws:iam::000000000001:role/r",
					"arn:aws:sts::000000000001:assumed-role/r/s", "000000000002")
			})}
			if rapid.IntRange(0, 4).Draw(t, "not principal") == 0 {
				s.NotPrincipal = p
			} else {
				s.Principal = p
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "conditions") {
			operator, key, wants := drawCondition(t)
			if s.Condition == nil {
				s.Condition = map[string]map[string][]string{}
			}
			s.Condition[operator] = map[string][]string{key: wants}
		}
		d.Statement = append(d.Statement, s)
	}
	return d
}

func drawRequest(t *rapid.T) *Request {
	r := &Request{
		Action: oneOf(t, "asked", "k:Read", "k:Write", "K:READ", "j:Read"), Resource: drawARN(t, false), TLS: rapid.Bool().Draw(t, "tls"),
		ResourceTags: map[string]string{}, More: map[string][]string{},
	}
	const account = "000000000001"
	who := &Principal{Account: account, Tags: map[string]string{}}
	switch oneOf(t, "who", "user", "user", "session", "session", "root", "nobody") {
	case "user":
		who.Name, who.UserID = oneOf(t, "name", "a", "b", "1"), "AIDA"
		who.ARN = "arn:aws:iam::" + account + ":user/" + who.Name
	case "session":
		who.ARN, who.RoleARN, who.UserID = "arn:aws:sts::"+account+":assumed-role/r/"+oneOf(t, "session", "s", "t"), "arn:aws:iam::"+account+":role/r", "AROA:s"
	case "root":
		who.ARN, who.Root, who.UserID = "arn:aws:iam::"+account+":root", true, account
	case "nobody":
		who = nil
	}
	value := func(label string) string {
		return oneOf(t, label, "a", "b", "A", "1", "*", "", "true", "YQ==", "10.1.2.3", "arn:aws:iam::1:user/a")
	}
	if who != nil && rapid.Bool().Draw(t, "tagged") {
		who.Tags[oneOf(t, "tag", "team", "TEAM")] = value("team")
	}
	if rapid.Bool().Draw(t, "resource tagged") {
		r.ResourceTags[oneOf(t, "tag", "team", "Team")] = value("resource team")
	}
	for range rapid.IntRange(0, 2).Draw(t, "keys") {
		r.More["aws:tagkeys"] = append(r.More["aws:tagkeys"], value("tag key"))
	}
	if rapid.Bool().Draw(t, "from") {
		r.Source = netip.MustParseAddr(oneOf(t, "address", "10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.9.9.9"))
	}
	if rapid.Bool().Draw(t, "timed") {
		r.Now = time.Date(2026, 7, 1, 12, 0, rapid.IntRange(-1, 1).Draw(t, "second"), 0, time.UTC)
	}
	r.Who = who
	return r
}

// TestDecideAsTheModel draws policies and requests, and compares the answers with those of a plain model (P1 to P7).
func TestDecideAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parse := func(d *modelDoc, kind Kind) *Policy {
			text := modelJSON(d)
			p, err := Parse(text, kind, "drawn")
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return p
		}
		var identity, session []*modelDoc
		var resource *modelDoc
		set := &Set{}
		for range rapid.IntRange(0, 2).Draw(t, "identity") {
			d := drawDoc(t, false)
			identity, set.Identity = append(identity, d), append(set.Identity, parse(d, Identity))
		}
		for range rapid.IntRange(0, 1).Draw(t, "session") {
			d := drawDoc(t, false)
			session, set.Session = append(session, d), append(set.Session, parse(d, Session))
		}
		if rapid.Bool().Draw(t, "resource") {
			resource = drawDoc(t, true)
			set.Resource = parse(resource, Resource)
		}
		for range 4 {
			r := drawRequest(t)
			d := set.Decide(r)
			allowed, explicit := modelDecide(identity, session, resource, r)
			if d.Allowed != allowed || d.Explicit != explicit {
				t.Fatalf("%s on %s by %+v: allowed %v, explicit %v (%s); the model: %v, %v", r.Action, r.Resource, r.Who, d.Allowed, d.Explicit, d.Why(), allowed, explicit)
			}
		}
	})
}

// TestDenyOnlyTakesAway: a Deny that is added to any policy allows nothing that was not allowed before, and an Allow that is added takes
// nothing away from the identity.
func TestDenyOnlyTakesAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, more := drawDoc(t, false), drawDoc(t, false)
		effect := oneOf(t, "added", "Allow", "Deny")
		for i := range more.Statement {
			more.Statement[i].Effect = effect
		}
		parse := func(d *modelDoc) *Policy {
			p, err := Parse(modelJSON(d), Identity, "drawn")
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		one := &Set{Identity: []*Policy{parse(d)}}
		two := &Set{Identity: []*Policy{parse(d), parse(more)}}
		r := drawRequest(t)
		before, after := one.Decide(r).Allowed, two.Decide(r).Allowed
		if effect == "Deny" && after && !before || effect == "Allow" && before && !after {
			t.Fatalf("an added %s: before %v, after %v", effect, before, after)
		}
	})
}
