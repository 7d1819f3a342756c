package authz

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/secure/acl"
	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// judged are the policies of one group of the table.
type judged struct {
	set     *policy.Set
	request policy.Request
}

func (j *judged) Allowed(_ *identity.IAM, asked, arn string, _ netip.Addr, _ bool) (bool, string) {
	r := j.request
	r.Action, r.Resource = asked, arn
	return j.set.Decide(&r).Allowed, ""
}

// operationFor finds the operation of Kafka that an action stands for.
func operationFor(a action.Action) (kmsg.ACLOperation, kmsg.ACLResourceType) {
	for _, r := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster, kmsg.ACLResourceTypeTransactionalId} {
		for op := kmsg.ACLOperation(0); op <= acl.TwoPhaseCommit; op++ {
			if found, ok := Action(op, r); ok && found == string(a) {
				return op, r
			}
		}
	}
	return 0, 0
}

// TestTableOfPolicies asks for each resource of each call of the table, as the handlers do.
func TestTableOfPolicies(t *testing.T) {
	f, err := os.Open("../iam/testdata/policies.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := iamtest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	cluster := action.Cluster{Region: "us-east-1", Account: "123456789012", Name: "demo", UUID: "4f1c7b52-8f3c-4d0f-a5b4-3d6f0c0a6c11-2"}
	parse := func(kind policy.Kind, names ...string) (all []*policy.Policy) {
		for _, n := range names {
			p, err := policy.Parse([]byte(table.Document(n, cluster)), kind, n)
			if err != nil {
				t.Fatalf("policy %s: %v", n, err)
			}
			all = append(all, p)
		}
		return all
	}
	asked := 0
	for _, g := range table.Groups {
		set := &policy.Set{Identity: parse(policy.Identity, g.Attach...), Session: parse(policy.Session, g.Bound...)}
		if g.Resource != "" {
			set.Resource = parse(policy.Resource, g.Resource)[0]
		}
		j := &judged{set, policy.Request{Who: caller(g, cluster.Account), Source: g.From, Now: g.At, TLS: !g.Plain, ResourceTags: g.Tags}}
		a, err := New(Config{ClusterARN: cluster.ARN()}, World{ACLs: acl.Empty, Everyone: func() bool { return true }, Policies: j, Clock: clock.System{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Calls {
			for _, on := range c.On {
				asked++
				op, resource := operationFor(table.APIs[c.API][on.Kind])
				name := on.Name
				if on.Kind == action.OnCluster {
					name = acl.ClusterName
				}
				got := a.Allowed(Access{Who: &identity.Identity{Principal: "User:arn", IAM: &identity.IAM{}}, Host: g.From, TLS: !g.Plain,
					Operation: op, Resource: resource, Name: name})
				if want := !c.NoLogin && !slices.Contains(c.Refused, on); got != want {
					t.Errorf("line %d, %s: %v: %v allowed is %v, want %v", c.Line, g.Name, c, on, got, want)
				}
			}
		}
	}
	if asked < 300 {
		t.Errorf("only %d questions", asked)
	}
	for _, e := range action.Table() { // what the handlers ask for together is what the table of actions says
		for _, n := range e.Needs {
			other, _ := action.Find(n)
			if n != action.Connect && other.On == e.On && Needs(string(e.Action)) != string(n) {
				t.Errorf("%s needs %s", e.Action, n)
			}
		}
	}
}

func caller(g iamtest.Group, account string) *policy.Principal {
	who := &policy.Principal{Account: account, Tags: g.As.Tags}
	switch g.As.Kind {
	case "root":
		who.Root, who.ARN, who.UserID = true, "arn:aws:iam::"+account+":root", account
	case "user":
		who.ARN, who.UserID, who.Name = "arn:aws:iam::"+account+":user/"+g.As.Name, "AIDA"+g.As.Name, g.As.Name
	case "session":
		who.ARN, who.RoleARN = "arn:aws:sts::"+account+":assumed-role/"+g.As.Name+"/"+g.As.Session, "arn:aws:iam::"+account+":role/"+g.As.Name
		who.UserID, who.Issued = "AROA"+g.As.Name+":"+g.As.Session, g.At
	}
	return who
}
