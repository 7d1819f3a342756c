package policy

import (
	"os"
	"slices"
	"testing"

	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
)

// readTable reads the table of policies.
func readTable(t testing.TB) *iamtest.Table {
	t.Helper()
	f, err := os.Open("../testdata/policies.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := iamtest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func demo() action.Cluster {
	return action.Cluster{Region: "us-east-1", Account: "123456789012", Name: "demo", UUID: "4f1c7b52-8f3c-4d0f-a5b4-3d6f0c0a6c11-2"}
}

// principalOf is the caller of a group as policies see it.
func principalOf(p iamtest.Principal, account string) *Principal {
	who := &Principal{Account: account, Tags: p.Tags}
	switch p.Kind {
	case "root":
		who.Root, who.ARN, who.UserID = true, "arn:aws:iam::"+account+":root", account
	case "user":
		who.ARN, who.UserID, who.Name = "arn:aws:iam::"+account+":user/"+p.Name, "AIDA"+p.Name, p.Name
	case "session":
		who.ARN, who.RoleARN = "arn:aws:sts::"+account+":assumed-role/"+p.Name+"/"+p.Session, "arn:aws:iam::"+account+":role/"+p.Name
		who.UserID = "AROA" + p.Name + ":" + p.Session
	}
	return who
}

// TestTable runs the table against the evaluator.
func TestTable(t *testing.T) {
	table, cluster := readTable(t), demo()
	parse := func(kind Kind, names ...string) (all []*Policy) {
		for _, n := range names {
			p, err := Parse([]byte(table.Document(n, cluster)), kind, n)
			if err != nil {
				t.Fatalf("policy %s: %v", n, err)
			}
			all = append(all, p)
		}
		return all
	}
	cases := 0
	for _, g := range table.Groups {
		set := &Set{Identity: parse(Identity, g.Attach...), Session: parse(Session, g.Bound...)}
		if g.Resource != "" {
			set.Resource = parse(Resource, g.Resource)[0]
		}
		r := Request{Who: principalOf(g.As, cluster.Account), Source: g.From, Now: g.At, TLS: !g.Plain, ResourceTags: g.Tags}
		if g.As.Kind == "session" {
			r.Who.Issued = g.At
		}
		allowed := func(a action.Action, on iamtest.On) bool {
			r.Action, r.Resource = string(a), cluster.Resource(on.Kind, on.Name)
			return set.Decide(&r).Allowed
		}
		for _, c := range g.Calls {
			cases++
			login := allowed(action.Connect, iamtest.On{Kind: action.OnCluster})
			if login == c.NoLogin {
				t.Errorf("line %d, %s: %v: login %v", c.Line, g.Name, c, login)
				continue
			}
			for _, on := range c.On {
				got := login
				for _, a := range table.Needed(c.API, on) {
					got = got && allowed(a, on)
				}
				if want := !c.NoLogin && !slices.Contains(c.Refused, on); got != want {
					t.Errorf("line %d, %s: %v: %v allowed is %v, want %v", c.Line, g.Name, c, on, got, want)
				}
			}
		}
	}
	if cases < 300 {
		t.Errorf("%d cases, want at least 300", cases)
	}
}
