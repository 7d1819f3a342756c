package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"millrace/secure/iam/action"
)

const whole = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"*"}]}`

// TestFaults: what is wrong is refused, and its place is named (P8).
func TestFaults(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":{` + s + `}}` }
	const ok = `"Effect":"Allow","Action":"*","Resource":"*"`
	condition := func(s string) string { return statement(ok + `,"Condition":` + s) }
	for _, c := range []struct {
		kind           Kind
		document, want string
	}{
		{Identity, ``, "line 1, column 1: the document ends too early"},
		{Identity, `null`, "it must be an object, not null"},
		{Identity, `[]`, "it must be an object, not a list"},
		{Identity, `{`, "ends too early"},
		{Identity, "{\n\"Version\": 2012}", "line 2, column 12: Version"},
		{Identity, `{"Version":"2013-01-01","Statement":[]}`, `Version: it must be "2012-10-17" or "2008-10-17"`},
		{Identity, `{"Version":"2012-10-17"}`, "Statement is missing"},
		{Identity, `{"Version":"2012-10-17","Statement":[]}`, "there is no statement"},
		{Identity, `{"version":"2012-10-17","Statement":[]}`, `unknown element "version": write it "Version"`},
		{Identity, `{"Statement":[],"Statement":[]}`, `"Statement" stands there twice`},
		{Identity, whole + `x`, "more after the end"},
		{Identity, whole + whole, "more after the end"},
		{Identity, "{\"Id\":\"\xff\"}", "not UTF-8"},
		{Identity, strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40), "nested too deeply"},
		{Identity, statement(`"Action":"*","Resource":"*"`), "Effect is missing"},
		{Identity, statement(`"Effect":"allow","Action":"*","Resource":"*"`), `Statement.Effect: it must be "Allow" or "Deny"`},
		{Identity, statement(`"Effect":"Allow","Resource":"*"`), "Action or NotAction is missing"},
		{Identity, statement(`"Effect":"Allow","Action":"*"`), "Resource or NotResource is missing"},
		{Identity, statement(ok + `,"NotAction":"*"`), "exclude each other"},
		{Identity, statement(ok + `,"NotResource":"*"`), "exclude each other"},
		{Identity, statement(ok + `,"Principal":"*"`), "has no Principal"},
		{Session, statement(ok + `,"NotPrincipal":"*"`), "has no NotPrincipal"},
		{Resource, statement(ok), "Principal or NotPrincipal is missing"},
		{Resource, statement(ok + `,"Principal":"alice"`), `it must be "*" or an object`},
		{Resource, statement(ok + `,"Principal":{}`), "it names nobody"},
		{Resource, statement(ok + `,"Principal":{"AWS":[]}`), "the list is empty"},
		{Resource, statement(ok + `,"Principal":{"aws":"*"}`), `write it "AWS"`},
		{Resource, statement(ok + `,"Principal":{"AWS":"arn:aws:iam::123456789012:user/*"}`), "without wildcards"},
		{Resource, statement(ok + `,"Principal":{"AWS":"12345"}`), "is not a principal"},
		{Trust, statement(ok + `,"Principal":"*"`), "a trust policy has no Resource"},
		{Identity, statement(ok + `,"Sid":"a b"`), "letters and digits only"},
		{Identity, `{"Statement":[{"Sid":"a",` + ok + `},{"Sid":"a",` + ok + `}]}`, `Statement[1].Sid: another statement has the Sid "a" too`},
		{Identity, statement(`"Effect":"Allow","Action":[],"Resource":"*"`), "the list is empty"},
		{Identity, statement(`"Effect":"Allow","Action":["*",7],"Resource":"*"`), "Statement.Action[1]: it must be a string, not a number"},
		{Identity, statement(`"Effect":"Allow","Action":"Read","Resource":"*"`), `"Read" is not an action`},
		{Identity, statement(`"Effect":"Allow","Action":"kafka*:Read","Resource":"*"`), "is not an action"},
		{Identity, statement(`"Effect":"Allow","Action":"kafka:${x}","Resource":"*"`), "is not an action"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"orders"`), `begins with "arn:"`},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1"`), "six parts"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafk?:r:1:topic/*"`), "service of an ARN must be told"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:*"`), "service of an ARN must be told"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:${aws:username"`), "a ${ needs a }"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:${username}"`), "a ${ needs a }"},
		{Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:${aws:username, x}"`), "single quotes"},
		{Identity, condition(`[]`), "it must be an object"},
		{Identity, condition(`{"StringEquals":{}}`), "an object of keys and values"},
		{Identity, condition(`{"stringEquals":{"aws:username":"a"}}`), `write it "StringEquals"`},
		{Identity, condition(`{"StringMatches":{"aws:username":"a"}}`), "unknown operator"},
		{Identity, condition(`{"NullIfExists":{"aws:username":"true"}}`), "Null goes without"},
		{Identity, condition(`{"ForSome:StringEquals":{"aws:username":"a"}}`), "unknown prefix"},
		{Identity, condition(`{"StringEquals":{"username":"a"}}`), "is not a condition key"},
		{Identity, condition(`{"StringEquals":{"aws:username":[]}}`), "the list is empty"},
		{Identity, condition(`{"StringEquals":{"aws:username":{}}}`), "it must be a string, not an object"},
		{Identity, condition(`{"StringEquals":{"aws:username":"a","AWS:UserName":"b"}}`), "stands there twice"},
		{Identity, condition(`{"Bool":{"aws:SecureTransport":"yes"}}`), `neither "true" nor "false"`},
		{Identity, condition(`{"NumericEquals":{"aws:EpochTime":"1e5"}}`), "is not a number"},
		{Identity, condition(`{"NumericEquals":{"aws:EpochTime":"Inf"}}`), "is not a number"},
		{Identity, condition(`{"NumericEquals":{"aws:EpochTime":"0x10"}}`), "is not a number"},
		{Identity, condition(`{"DateLessThan":{"aws:CurrentTime":"July"}}`), "is not a date"},
		{Identity, condition(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}`), "neither an address nor a network"},
		{Identity, condition(`{"IpAddress":{"aws:SourceIp":"${aws:SourceIp}"}}`), "neither an address nor a network"},
		{Identity, condition(`{"BinaryEquals":{"aws:PrincipalTag/x":"%"}}`), "is not Base64"},
		{Identity, condition(`{"ArnLike":{"aws:PrincipalArn":"*"}}`), `begins with "arn:"`},
		{Session, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:topic/` + strings.Repeat("a", 2048) + `"`), "at most 2048 characters"},
		{Identity, strings.Repeat(" ", 65<<10) + whole, "at most 65536"},
	} {
		_, err := Parse([]byte(c.document), c.kind, "test")
		var fault *Fault
		if !errors.Is(err, ErrMalformed) || !errors.As(err, &fault) || fault.Line < 1 || fault.Column < 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: %v, want %q", c.document, err, c.want)
		}
	}
}

// TestTaken: what AWS takes is taken.
func TestTaken(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		document string
		warnings int
	}{
		{Identity, whole, 0},
		{Identity, strings.Repeat(" \n", 20<<10) + whole, 0},
		{Identity, `{"Id":"x","Statement":{"Sid":"","Effect":"Deny","NotAction":["*:*"],"NotResource":["arn:aws:kafka:*"],"Condition":{}}}`, 0},
		{Identity, `{"Statement":{"Effect":"Allow","Action":"kafka-cluster:Reed","Resource":"*"}}`, 1},
		{Identity, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:topic/${aws:SourceVpc}","Condition":{"StringEquals":{"aws:SourceVpc":"x"}}}}`, 2},
		{Identity, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"aws:EpochTime":[1,2.5]},"Bool":{"aws:SecureTransport":true},"DateLessThan":{"aws:CurrentTime":["2026-07","2026-07-01T12:00Z",1782907200]}}}}`, 0},
		{Resource, `{"Statement":{"Sid":"any words, even these","Effect":"Allow","Principal":{"AWS":"123456789012","Service":["x.amazonaws.com"]},"Action":"*","Resource":"*"}}`, 1},
		{Trust, `{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"*"},"Action":"sts:AssumeRole"}}`, 1},
	} {
		p, err := Parse([]byte(c.document), c.kind, "test")
		if err != nil {
			t.Errorf("%.200s: %v", c.document, err)
		} else if len(p.Warnings()) != c.warnings {
			t.Errorf("%.200s: warnings %q", c.document, p.Warnings())
		}
	}
}

// TestWildcardsStayInTheirPart: the name of a group may look like the end of an ARN, and opens nothing (P6).
func TestWildcardsStayInTheirPart(t *testing.T) {
	p, err := Parse([]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:*:123456789012:group/prod/*/x"}}`), Identity, "test")
	if err != nil {
		t.Fatal(err)
	}
	dev := action.Cluster{Region: "us-east-1", Account: "123456789012", Name: "dev", UUID: "u"}
	set := &Set{Identity: []*Policy{p}}
	for name, want := range map[string]bool{
		dev.Resource(action.OnGroup, "z:123456789012:group/prod/u/x"): false,
		"arn:aws:kafka:us-east-1:123456789012:group/prod/u/x":         true,
	} {
		if got := set.Decide(&Request{Action: "kafka-cluster:AlterGroup", Resource: name}).Allowed; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhy(t *testing.T) {
	parse := func(s string) *Policy {
		p, err := Parse([]byte(`{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"},{"Sid":"Never","Effect":"Deny","Action":"a:c","Resource":"*"}]}`), Identity, s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	set := &Set{Identity: []*Policy{parse("mine")}}
	for name, want := range map[string]string{"a:b": "allowed by mine, statement 1", "a:c": `explicit deny in mine, statement "Never"`, "a:d": "no policy allows it"} {
		if got := set.Decide(&Request{Action: name, Resource: "*"}).Why(); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTrustOfAccountDelegates: DecideTrust wants the caller's own policies where the account is named, and only there (P4).
func TestTrustOfAccountDelegates(t *testing.T) {
	parse := func(text string, kind Kind) *Policy {
		p, err := Parse([]byte(text), kind, "p")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const trust = `{"Statement":{"Effect":"Allow","Principal":{"AWS":"`
	const end = `"},"Action":"sts:AssumeRole"}}`
	own := parse(`{"Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`, Identity)
	deny := parse(`{"Statement":{"Effect":"Deny","Action":"sts:*","Resource":"*"}}`, Identity)
	who := &Principal{Account: "123456789012", ARN: "arn:aws:iam::123456789012:user/a", Name: "a"}
	for _, c := range []struct {
		identity []*Policy
		trusted  string
		want     bool
	}{
		{nil, "123456789012", false}, {[]*Policy{own}, "123456789012", true}, {[]*Policy{own}, "000000000000", false},
		{nil, who.ARN, true}, {[]*Policy{deny}, who.ARN, false}, {[]*Policy{own}, "arn:aws:iam::123456789012:user/b", false}, {nil, "*", true},
	} {
		set := &Set{Identity: c.identity, Resource: parse(trust+c.trusted+end, Trust)}
		if got := set.DecideTrust(&Request{Action: "sts:AssumeRole", Resource: "arn:aws:iam::123456789012:role/r", Who: who}).Allowed; got != c.want {
			t.Errorf("trusted %s, own policies %d: %v", c.trusted, len(c.identity), got)
		}
	}
}

// FuzzParse: nothing that is read fails to decide, and a policy that is read once is read again as the same (P7).
func FuzzParse(f *testing.F) {
	table := readTable(f)
	for _, g := range table.Groups {
		for _, n := range append(g.Attach, g.Resource) {
			f.Add([]byte(table.Document(n, demo())), "kafka-cluster:WriteData", demo().Resource(action.OnTopic, "orders"))
		}
	}
	f.Add([]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:a:${aws:userid}*"}}`), "", "")
	f.Fuzz(func(t *testing.T, text []byte, name, resource string) {
		for kind := Identity; kind <= Trust; kind++ {
			p, err := Parse(text, kind, "fuzz")
			if err != nil {
				var fault *Fault
				if !errors.As(err, &fault) {
					t.Fatalf("%v is no fault", err)
				}
				continue
			}
			r := &Request{Action: name, Resource: resource, Who: &Principal{Account: "1", Name: name, Tags: map[string]string{"t": resource}}, Source: netip.IPv4Unspecified(), Now: time.Unix(1, 0)}
			set := &Set{Identity: []*Policy{p}, Session: []*Policy{p}, Resource: p}
			d := set.Decide(r)
			set.DecideTrust(r)
			again, err := Parse(text, kind, "fuzz")
			if err != nil {
				t.Fatal(err)
			}
			if d != (&Set{Identity: []*Policy{again}, Session: []*Policy{again}, Resource: again}).Decide(r) {
				t.Fatal("read again, it decides otherwise")
			}
		}
	})
}

// FuzzPattern compares patterns with the model's regular expressions.
func FuzzPattern(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("*€??", "€é")
	f.Add("*??", "€") // half a character is none
	f.Add("**?*", "")
	f.Fuzz(func(t *testing.T, wild, s string) {
		if len(wild) > 40 || len(s) > 200 || strings.ContainsRune(wild, '$') {
			return
		}
		for _, one := range []string{wild, s} {
			if strings.ToValidUTF8(one, "") != one {
				return
			}
		}
		p, err := compile(wild, true, false)
		if err != nil {
			t.Fatal(err)
		}
		re, _ := modelPattern(&Request{}, "", wild, true)
		if got, want := p.match(s, false), re.MatchString(s); got != want {
			t.Fatalf("%q on %q: %v, want %v", wild, s, got, want)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	table := readTable(b)
	parse := func(name string, kind Kind) *Policy {
		p, err := Parse([]byte(table.Document(name, demo())), kind, name)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	who := &Principal{Account: demo().Account, ARN: "arn:aws:iam::123456789012:user/alice", Name: "alice", Tags: map[string]string{"team": "red"}}
	for name, policies := range map[string][]string{"one": {"produce-orders"}, "variable": {"connect", "team-topics"}, "ten": {
		"connect", "deny-secret", "consume-orders", "transact", "create-dev", "topic-prefix", "own-topics", "env-prod", "office-only", "produce-orders",
	}} {
		b.Run(name, func(b *testing.B) {
			set := &Set{}
			for _, p := range policies {
				set.Identity = append(set.Identity, parse(p, Identity))
			}
			topic := demo().Resource(action.OnTopic, "orders")
			b.ReportAllocs()
			for b.Loop() {
				set.Decide(&Request{Action: "kafka-cluster:WriteData", Resource: topic, Who: who, Source: netip.IPv4Unspecified(), Now: time.Unix(1, 0), TLS: true})
			}
		})
	}
}

// BenchmarkWorst is a pattern made to be slow on a long name.
func BenchmarkWorst(b *testing.B) {
	p, err := Parse([]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kafka:r:1:group/`+strings.Repeat("*a", 900)+`b"}}`), Session, "worst")
	if err != nil {
		b.Fatal(err)
	}
	name := "arn:aws:kafka:r:1:group/" + strings.Repeat("a", 32<<10)
	for b.Loop() {
		(&Set{Identity: []*Policy{p}}).Decide(&Request{Action: "a:b", Resource: name})
	}
}
