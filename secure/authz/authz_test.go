package authz

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/secure/acl"
	"millrace/secure/iam/action"
	"millrace/secure/identity"
	"millrace/secure/trail"
)

const clusterARN = "arn:aws:kafka:us-east-1:123456789012:cluster/demo/4c5f6f2e-0b1a-4f6e-9a8e-1d2c3b4a5f60-2"

// grants are Policies that allow what is listed as "action arn".
type grants []string

func (g grants) Allowed(_ *identity.IAM, asked, arn string, _ netip.Addr, _ bool) (bool, string) {
	return slices.Contains(g, asked+" "+arn), "not granted"
}

type trailList []trail.Event

func (l *trailList) Record(e trail.Event) { *l = append(*l, e) }

func binding(user string, op kmsg.ACLOperation, kind kmsg.ACLPermissionType) acl.Binding {
	return acl.Binding{Resource: kmsg.ACLResourceTypeTopic, Name: "orders", Pattern: kmsg.ACLResourcePatternTypeLiteral,
		Principal: user, Host: acl.Wildcard, Operation: op, Permission: kind}
}

func newJudge(t *testing.T, everyone bool, p Policies, list ...acl.Binding) (*Authorizer, *trailList) {
	t.Helper()
	events := new(trailList)
	snap := acl.NewSnapshot(list)
	a, err := New(Config{ClusterARN: clusterARN, Cluster: "demo", SuperUsers: []string{"User:root"}}, World{
		ACLs: func() *acl.Snapshot { return snap }, Everyone: func() bool { return everyone }, Policies: p, Recorder: events, Clock: clock.System{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, events
}

func topicAccess(who *identity.Identity, op kmsg.ACLOperation) Access {
	return Access{Who: who, Host: netip.MustParseAddr("10.0.0.1"), Operation: op, Resource: kmsg.ACLResourceTypeTopic, Name: "orders", Key: 1}
}

func user(name string) *identity.Identity {
	return &identity.Identity{Mechanism: identity.ScramSHA512, Principal: "User:" + name}
}

// Z1, Z2: each identity has one judge.
func TestWhoIsJudgedByWhat(t *testing.T) {
	read := kmsg.ACLOperationRead
	iam := func(principal string) *identity.Identity {
		return &identity.Identity{Mechanism: identity.MSKIAM, Principal: principal, IAM: &identity.IAM{AccessKey: "AKIA1"}}
	}
	arn := strings.Replace(clusterARN, ":cluster/", ":topic/", 1) + "/orders"
	full := grants{string(action.ReadData) + " " + arn, string(action.DescribeTopic) + " " + arn, string(action.Connect) + " " + clusterARN}
	allowAll := binding(acl.Everybody, kmsg.ACLOperationAll, kmsg.ACLPermissionTypeAllow)
	for name, tc := range map[string]struct {
		who      *identity.Identity
		list     []acl.Binding
		policies Policies
		everyone bool
		want     bool
	}{
		"nil":                            {nil, []acl.Binding{allowAll}, full, true, false},
		"the zero identity":              {&identity.Identity{}, []acl.Binding{allowAll}, full, true, false},
		"internal":                       {&identity.Identity{Internal: true}, nil, nil, false, true},
		"super user":                     {user("root"), []acl.Binding{binding("User:root", kmsg.ACLOperationAll, kmsg.ACLPermissionTypeDeny)}, nil, false, true},
		"allowed":                        {user("alice"), []acl.Binding{binding("User:alice", read, kmsg.ACLPermissionTypeAllow)}, nil, false, true},
		"another":                        {user("bob"), []acl.Binding{binding("User:alice", read, kmsg.ACLPermissionTypeAllow)}, nil, true, false},
		"no list, closed":                {user("bob"), nil, nil, false, false},
		"no list, open":                  {user("bob"), nil, nil, true, true},
		"policies are not for users":     {user("bob"), nil, full, false, false},
		"iam by policy":                  {iam("User:arn"), nil, full, false, true},
		"iam with no policies":           {iam("User:arn"), []acl.Binding{allowAll}, nil, true, false},
		"iam is not open to everybody":   {iam("User:arn"), nil, grants{}, true, false},
		"acls are not for iam":           {iam("User:arn"), []acl.Binding{allowAll}, grants{}, true, false},
		"nor do they deny it":            {iam("User:arn"), []acl.Binding{binding("User:arn", read, kmsg.ACLPermissionTypeDeny)}, full, false, true},
		"nor is it a super user by name": {iam("User:root"), nil, grants{}, false, false},
		"without Connect":                {iam("User:arn"), nil, full[:2], false, false},
		"without DescribeTopic":          {iam("User:arn"), nil, grants{full[0], full[2]}, false, false},
	} {
		a, events := newJudge(t, tc.everyone, tc.policies, tc.list...)
		if got := a.Allowed(topicAccess(tc.who, read)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if len(*events) == 0 != tc.want {
			t.Errorf("%s: %d events", name, len(*events))
		}
		*events = nil
		if tc.who != nil && tc.who.IAM != nil && (a.AllowedSomewhere(topicAccess(tc.who, read)) || len(*events) != 1) {
			t.Errorf("%s: somewhere, or not recorded", name)
		}
	}
}

// Z4: a refusal says who was refused what, and why; what only looks leaves nothing.
func TestRefusalsAreRecorded(t *testing.T) {
	a, events := newJudge(t, true, nil, binding("User:alice", kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeDeny))
	q := topicAccess(user("alice"), kmsg.ACLOperationWrite)
	q.Listener, q.ClientID, q.Key = "CLIENT_SASL_SCRAM", "app", 0
	q.Looks = true
	a.Allowed(q)
	a.AllowedSomewhere(q)
	if len(*events) != 0 {
		t.Fatalf("%+v", *events)
	}
	q.Looks = false
	a.Allowed(q)
	want := trail.Event{Kind: trail.Refusal, Action: "kafka:Produce", Outcome: trail.Refused, Principal: "User:alice", Mechanism: "SCRAM-SHA-512",
		From: "10.0.0.1", Listener: "CLIENT_SASL_SCRAM", ClientID: "app", Cluster: "demo", Resource: "topic/orders", Reason: "WRITE: an ACL denies it"}
	got := (*events)[0]
	if got.Time.IsZero() {
		t.Error("no time")
	}
	got.Time = time.Time{}
	if got.Resource != want.Resource || got.Reason != want.Reason || got.Principal != want.Principal || got.From != want.From || got.Action != want.Action ||
		got.Mechanism != want.Mechanism || got.Cluster != want.Cluster || got.Listener != want.Listener || got.ClientID != want.ClientID || got.Kind != want.Kind {
		t.Errorf("%+v", got)
	}
	q.Name = strings.Repeat("x", 30_000)
	q.Operation = kmsg.ACLOperationAlter
	snap := acl.NewSnapshot([]acl.Binding{{Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral,
		Principal: "User:z", Host: "*", Operation: kmsg.ACLOperationRead, Permission: kmsg.ACLPermissionTypeAllow}})
	a.world.ACLs = func() *acl.Snapshot { return snap }
	a.Allowed(q)
	if n := len((*events)[1].Resource); n > 300 {
		t.Errorf("a resource of %d bytes is kept", n)
	}
}

// Z3: all actions, with what they need; every operation of Kafka that has one.
func TestActions(t *testing.T) {
	all := map[string]bool{string(action.Connect): true}
	for resource := kmsg.ACLResourceType(-1); resource < 10; resource++ {
		for op := kmsg.ACLOperation(-1); op < 20; op++ {
			if found, ok := Action(op, resource); ok {
				all[found] = true
				if n := Needs(found); n != "" && Needs(n) != "" {
					t.Errorf("%s needs %s, which needs more", found, n)
				}
			}
		}
	}
	if len(all) != 19 {
		t.Errorf("%d actions: %v", len(all), all)
	}
	for _, none := range [][2]int{{int(kmsg.ACLOperationClusterAction), int(kmsg.ACLResourceTypeCluster)},
		{int(kmsg.ACLOperationCreate), int(kmsg.ACLResourceTypeCluster)}, {int(kmsg.ACLOperationAll), int(kmsg.ACLResourceTypeTopic)},
		{int(kmsg.ACLOperationDescribe), int(kmsg.ACLResourceTypeDelegationToken)}, {int(acl.TwoPhaseCommit), int(kmsg.ACLResourceTypeTransactionalId)}} {
		if a, ok := Action(kmsg.ACLOperation(none[0]), kmsg.ACLResourceType(none[1])); ok {
			t.Errorf("%v is %s", none, a)
		}
	}
}

// With any set of granted actions, what is allowed is what the table of research says: the action, what it needs, and Connect.
func TestPoliciesPlainly(t *testing.T) {
	resources := []kmsg.ACLResourceType{kmsg.ACLResourceTypeCluster, kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId}
	var names []string
	for _, r := range resources {
		for op := kmsg.ACLOperation(0); op < 16; op++ {
			if a, ok := Action(op, r); ok && !slices.Contains(names, a) {
				names = append(names, a)
			}
		}
	}
	names = append(names, string(action.Connect))
	rapid.Check(t, func(rt *rapid.T) {
		granted := rapid.SliceOfDistinct(rapid.SampledFrom(names), func(s string) string { return s }).Draw(rt, "granted")
		a, _ := newJudge(t, rapid.Bool().Draw(rt, "everyone"), byAction(granted))
		who := &identity.Identity{Principal: "User:arn", IAM: &identity.IAM{}}
		r := rapid.SampledFrom(resources).Draw(rt, "resource")
		op := kmsg.ACLOperation(rapid.IntRange(0, 15).Draw(rt, "op"))
		got := a.Allowed(Access{Who: who, Operation: op, Resource: r, Name: "x"})
		asked, ok := Action(op, r)
		needed := Needs(asked)
		want := ok && slices.Contains(granted, asked) && slices.Contains(granted, string(action.Connect)) && (needed == "" || slices.Contains(granted, needed))
		if got != want {
			rt.Fatalf("%v on %v by %v: %v", op, r, granted, got)
		}
	})
}

type byAction []string

func (g byAction) Allowed(_ *identity.IAM, asked, arn string, _ netip.Addr, _ bool) (bool, string) {
	kind := map[bool]string{true: "cluster"}[asked == string(action.Connect) || strings.HasSuffix(asked, "Cluster") || strings.Contains(asked, "ClusterDynamic") || asked == string(action.WriteDataIdempotently)]
	if kind == "cluster" && arn != clusterARN || kind == "" && (arn == clusterARN || !strings.HasSuffix(arn, "/x")) {
		return false, "wrong ARN " + arn
	}
	return slices.Contains(g, asked), ""
}

// The login asks here whether somebody may connect.
func TestAdmit(t *testing.T) {
	a, _ := newJudge(t, true, grants{string(action.Connect) + " " + clusterARN})
	who := identity.Identity{Principal: "User:arn", IAM: &identity.IAM{}}
	if err := a.Admit(context.Background(), who, netip.Addr{}, true); err != nil {
		t.Error(err)
	}
	a, _ = newJudge(t, true, grants{})
	if err := a.Admit(context.Background(), who, netip.Addr{}, true); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if err := a.Admit(context.Background(), *user("alice"), netip.Addr{}, true); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	good := World{ACLs: acl.Empty, Clock: clock.System{}}
	for _, tc := range []struct {
		cfg Config
		w   World
	}{
		{Config{}, World{}},
		{Config{SuperUsers: []string{"root"}}, good},
		{Config{ClusterARN: "arn:aws:kafka:us-east-1:1:cluster/demo"}, good},
		{Config{ClusterARN: "cluster/demo/uuid"}, good},
		{Config{}, World{ACLs: acl.Empty, Clock: clock.System{}, Policies: grants{}}},
	} {
		if _, err := New(tc.cfg, tc.w); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
	}
	if _, err := New(Config{ClusterARN: clusterARN}, good); err != nil {
		t.Error(err)
	}
}
