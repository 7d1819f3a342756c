package cert

import (
	"errors"
	"strings"
	"testing"
)

// TestRules holds what Apache Kafka's documentation and KIP-371 promise; test/security/certs compares with Kafka's own code.
func TestRules(t *testing.T) {
	const dn = "CN=Duke,OU=ServiceUsers,O=Org,C=US"
	for _, c := range []struct{ rules, name, want string }{
		{"", dn, dn},
		{"DEFAULT", dn, dn},
		{" DEFAULT ", dn, dn},
		{"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,DEFAULT", dn, "Duke"},
		{"RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L", dn, "duke"},
		{"RULE:^CN=(.*?),OU=(.*?),O=(.*?),C=(.*?)$/$1@$2/U", dn, "DUKE@SERVICEUSERS"},
		{"RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT", "C=US,CN=A.B", "a.b"},
		{"RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/L,RULE:^CN=(.*?),.*$/$1/,DEFAULT", dn, "Duke"},
		{`RULE:^CN=(.*)\/(.*)$/$2\/$1/`, "CN=a/b", "b/a"},
		{`RULE:^CN=([^,]*),.*$/\$1/`, dn, "$1"},
		{"RULE:^CN=([^,]*),.*$/$1$2/", dn, "Duke$2"},
		{"RULE:^CN=([^,]*),.*$/$12/", dn, "Duke2"},
		{"RULE:^CN=([^,]*),.*$/$0/", dn, dn},
		{"RULE:^CN=(?P<who>[^,]*),.*$/${who}/", dn, "Duke"},
		{"RULE:a,b/c/", "a,b", "c"},
		{"RULE:.*/x/", "abc", "xx"}, // Java's replaceAll
		{"RULE:a*/x/", "aaa", "xx"},
		{"RULE:^.*$/x/", "abc", "x"},
		{"RULE:.+/x/", "abc", "x"},
		{",,DEFAULT,", dn, dn},
		{"RULE:^x$/y/", dn, ""},
		{"RULE:/y/", "", "y"},
	} {
		r, err := ParseRules(c.rules)
		if err != nil {
			t.Errorf("%q: %v", c.rules, err)
			continue
		}
		got, err := r.Principal(c.name)
		if got != c.want || (c.want == "") != errors.Is(err, ErrNoRule) {
			t.Errorf("%q to %q: %q, %v; want %q", c.rules, c.name, got, err, c.want)
		}
	}
	for _, bad := range []string{
		"x", "DEFAULTX", "DEFAULT x", "RULE:a", "RULE:a/b", "RULE:a/b/X", "RULE:a/b/LU", "rule:a/b/", "RULE:(/b/", "RULE:(?=a)/b/", `RULE:(a)\1/b/`,
		"RULE:a/$1/", "RULE:a/$/", "RULE:(a)/$x/", "RULE:(a)/${b}/", `RULE:a/b\`, ",", " , ", strings.Repeat("DEFAULT,", maxRules+1),
		"RULE:" + strings.Repeat("a", maxRulesBytes) + "/b/",
	} {
		if r, err := ParseRules(bad); !errors.Is(err, ErrRules) {
			t.Errorf("%q: %+v, %v", clip(bad), r, err)
		}
	}
}

func TestDistinguishedName(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	for _, c := range []struct {
		r    ClientRequest
		want string
	}{
		{ClientRequest{Name: "alice"}, "CN=alice"},
		{ClientRequest{Name: "alice", Unit: "ops", Organization: "Example, Inc."}, `CN=alice,OU=ops,O=Example\, Inc.`},
		{ClientRequest{Name: " a b "}, `CN=\ a b\ `},
		{ClientRequest{Name: `#"+,;<=>\`}, `CN=\#\"\+\,\;\<\=\>\\`},
		{ClientRequest{Name: "Jürgen 東"}, "CN=Jürgen 東"},
	} {
		p := i.client(c.r)
		got, err := DistinguishedName(p.leaf().RawSubject)
		if err != nil || got != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.r, got, err, c.want)
		}
		if cn := commonName(p.leaf().RawSubject); cn != c.r.Name {
			t.Errorf("%+v: CN %q", c.r, cn)
		}
	}
}

func TestNames(t *testing.T) {
	n := Broker("prod", 3).Names("10.0.0.1:9094", "Broker.Example.com.:9094", "[::1]:9094", "0.0.0.0:9092", "[fe80::1%eth0]:1", "::ffff:10.0.0.9", "under_score", "bad name", "")
	const want = "broker-3.prod.millrace, broker.example.com, localhost, under_score, 10.0.0.1, 10.0.0.9, 127.0.0.1, ::1, fe80::1"
	if n.String() != want {
		t.Errorf("names: %s", n)
	}
	for _, bad := range []Node{"", "broker/c", "broker/c/x", "broker/c/1/2", "agent/", "agent/a b", "other/x", "serve/a/b"} {
		if bad.check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
