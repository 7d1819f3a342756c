package logins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"millrace/secure/iam"
	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
	"millrace/secure/identity"
	"millrace/test/harness"
)

// TestPolicyTable asks every call of the table of policies over the wire, by principals that log in by IAM, at express and through the gateway.
func TestPolicyTable(t *testing.T) {
	harness.Long(t, "make suite SUITE=security/logins")
	f, err := os.Open("../../../secure/iam/testdata/policies.txt")
	must(t, err)
	defer f.Close()
	table, err := iamtest.Read(f)
	must(t, err)
	s := openSite(t)
	for _, to := range s.targets() {
		t.Run(to.name, func(t *testing.T) {
			s := *s
			s.t = t
			(&tableRun{site: &s, table: table, to: to}).run()
		})
	}
}

// tableRun is the table at one cluster.
type tableRun struct {
	*site
	table   *iamtest.Table
	to      target
	step    int // counts groups: what was written for one is in force when its marker is
	asked   int
	super   admin         // of root
	waiter  admin         // of the barrier's user
	assumer *identity.IAM // who makes sessions of roles: the same
}

// leastCalls is what the table has at least over the wire.
const leastCalls = 400

func (r *tableRun) run() {
	r.super = r.client(r.to.auth, r.root.ID, r.root.Secret, "", kgo.MaxVersions(versions()))
	createTopic(r.t, r.super, "kept")
	_, err := r.store.CreateUser(r.deadline(), "barrier", nil)
	must(r.t, err)
	// Root assumes no roles.
	assume := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}]}`
	must(r.t, r.store.PutInline(r.deadline(), iam.Owner{Name: "barrier"}, "assume", []byte(assume)))
	key, err := r.store.CreateKey(r.deadline(), "barrier")
	must(r.t, err)
	r.assumer = r.identity(key.ID)
	r.waiter = r.client(r.to.auth, key.ID, key.Secret, "", r.from("127.0.5.5"))
	defer r.waiter.Close()
	for _, g := range r.table.Groups {
		if !g.Offline {
			r.group(g)
		}
	}
	_ = r.store.DeleteClusterPolicy(r.t.Context(), prefix)
	must(r.t, r.store.SetClusterTags(r.t.Context(), prefix, nil))
	r.remove(iam.Owner{Name: "barrier"})
	r.t.Logf("%d calls asked", r.asked)
	if r.asked < leastCalls {
		r.t.Errorf("only %d calls were asked", r.asked)
	}
}

// group makes what a group says, and asks its calls.
func (r *tableRun) group(g iamtest.Group) {
	r.step++
	id, secret, token, end := r.principal(g)
	defer end()
	r.resource(g)
	r.barrier()
	refused := len(g.Calls) > 0 && g.Calls[0].NoLogin
	source := "127.0.0.1"
	if refused { // logins from one address take longer the more of them are refused
		source = fmt.Sprintf("127.0.%d.%d", 10+r.step/200, 1+r.step%200)
	}
	c := r.client(r.to.auth, id, secret, token, r.from(source), kgo.MaxVersions(versions()))
	defer c.Close()
	for _, call := range g.Calls {
		r.asked++
		if call.NoLogin {
			_, err := c.SeedBrokers()[0].Request(r.deadline(), metadata())
			if !errors.Is(err, kerr.SaslAuthenticationFailed) {
				r.t.Errorf("line %d, %s: %v: %v, want a refused login", call.Line, g.Name, call, err)
			}
			continue
		}
		if call.API == "ListGroups" {
			r.makeGroups(call)
		}
		if call.API == "DeleteTopics" {
			r.makeTopics(call)
		}
		got, err := ask(r.deadline(), c.SeedBrokers()[0], call)
		if err != nil {
			r.t.Errorf("line %d, %s: %v: %v", call.Line, g.Name, call, err)
			continue
		}
		if fault := judge(call, got); fault != "" {
			r.t.Errorf("line %d, %s: %v: %s", call.Line, g.Name, call, fault)
		}
	}
}

// makeTopics makes the topics that a call may not delete: of one that is not there Kafka says so to who may describe it.
func (r *tableRun) makeTopics(call iamtest.Call) {
	for _, on := range call.Refused {
		done, err := kadm.NewClient(r.super.Client).CreateTopic(r.deadline(), 1, 1, nil, on.Name)
		if err != nil && !errors.Is(done.Err, kerr.TopicAlreadyExists) && !errors.Is(err, kerr.TopicAlreadyExists) {
			r.t.Fatal(err)
		}
	}
}

// judge compares the codes for each resource with what the table says; "": they are what it says.
func judge(call iamtest.Call, got map[iamtest.On]int16) string {
	var whole *iamtest.On // the first that the whole call hangs on and that is refused
	for _, on := range call.On {
		if _, alone := got[on]; !alone && on.Kind != action.OnTopic && slices.Contains(call.Refused, on) {
			whole = &on
			break
		}
	}
	if len(got) == 0 {
		return "no answer for any resource"
	}
	for on, code := range got {
		want := int16(0)
		switch {
		case whole != nil:
			want = refusal(whole.Kind)
		case slices.Contains(call.Refused, on):
			want = refusal(on.Kind)
		}
		if !isRefusal(code) {
			code = 0
		}
		if code != want {
			return fmt.Sprintf("%v has %v, want %v", on, kerr.ErrorForCode(code), kerr.ErrorForCode(want))
		}
	}
	return ""
}

func refusal(kind action.Kind) int16 {
	switch kind {
	case action.OnCluster:
		return kerr.ClusterAuthorizationFailed.Code
	case action.OnTransactionalID:
		return kerr.TransactionalIDAuthorizationFailed.Code
	case action.OnGroup:
		return kerr.GroupAuthorizationFailed.Code
	default:
		return kerr.TopicAuthorizationFailed.Code
	}
}

func isRefusal(code int16) bool {
	return slices.ContainsFunc([]action.Kind{action.OnCluster, action.OnTransactionalID, action.OnGroup, action.OnTopic},
		func(k action.Kind) bool { return refusal(k) == code })
}

// versions are the newest that name topics, instead of telling their ids.
func versions() *kversion.Versions {
	v := kversion.V4_0_0()
	v.SetMaxKeyVersion(int16(kmsg.Produce), 12)
	v.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	v.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 7)
	v.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 8)
	v.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	return v
}

func (r *tableRun) document(name string) []byte {
	return []byte(r.table.Document(name, action.Cluster{Region: region, Account: r.account, Name: cluster, UUID: r.to.id}))
}

// principal makes who a group's calls are of; end undoes it.
func (r *tableRun) principal(g iamtest.Group) (id, secret, token string, end func()) {
	ctx := r.deadline()
	switch g.As.Kind {
	case "root":
		return r.root.ID, r.root.Secret, "", func() {}
	case "user":
		o := iam.Owner{Name: g.As.Name}
		_, err := r.store.CreateUser(ctx, g.As.Name, g.As.Tags)
		must(r.t, err)
		r.attach(o, g.Attach)
		key, err := r.store.CreateKey(ctx, g.As.Name)
		must(r.t, err)
		return key.ID, key.Secret, "", func() { r.remove(o) }
	default:
		o := iam.Owner{Role: true, Name: g.As.Name}
		trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`, r.account)
		_, err := r.store.CreateRole(ctx, iam.NewRole{Name: g.As.Name, Trust: []byte(trust)})
		must(r.t, err)
		r.attach(o, g.Attach)
		ask := iam.AssumeRole{Role: g.As.Name, Session: g.As.Session, Tags: g.As.Tags, TLS: true}
		if len(g.Bound) > 0 {
			ask.Policy = r.document(g.Bound[0])
		}
		session, err := r.view.AssumeRole(r.assumer, ask)
		must(r.t, err)
		return session.ID, session.Secret, session.Token, func() { r.remove(o) }
	}
}

// identity is whose key it is.
func (s *site) identity(id string) *identity.IAM {
	found, err := s.view.Key(s.t.Context(), id, "")
	must(s.t, err)
	return &found.Identity
}

func (r *tableRun) attach(o iam.Owner, names []string) {
	for _, n := range names {
		must(r.t, r.store.PutInline(r.deadline(), o, n, r.document(n)))
	}
}

// remove takes a user or role away, and all that it has.
func (s *site) remove(o iam.Owner) {
	ctx := s.deadline()
	var inline map[string]json.RawMessage
	if o.Role {
		role, err := s.store.Role(ctx, o.Name)
		must(s.t, err)
		inline = role.Inline
	} else {
		user, err := s.store.User(ctx, o.Name)
		must(s.t, err)
		inline = user.Inline
		for _, id := range user.Keys {
			must(s.t, s.store.DeleteKey(ctx, id))
		}
	}
	for name := range inline {
		must(s.t, s.store.DeleteInline(ctx, o, name))
	}
	if o.Role {
		must(s.t, s.store.DeleteRole(ctx, o.Name))
	} else {
		must(s.t, s.store.DeleteUser(ctx, o.Name))
	}
}

// resource sets the cluster's tags and policy. Both have the marker of this group, which only the barrier's user sees.
func (r *tableRun) resource(g iamtest.Group) {
	tags := map[string]string{"marker": strconv.Itoa(r.step)}
	for k, v := range g.Tags {
		tags[k] = v
	}
	must(r.t, r.store.SetClusterTags(r.deadline(), prefix, tags))
	document := map[string]any{"Version": "2012-10-17"}
	if g.Resource != "" {
		must(r.t, json.Unmarshal(r.document(g.Resource), &document))
	}
	statements, several := document["Statement"].([]any)
	if one := document["Statement"]; !several && one != nil {
		statements = []any{one}
	}
	document["Statement"] = append(statements, map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"AWS": "arn:aws:iam::" + r.account + ":user/barrier"},
		"Action": "kafka-cluster:DescribeGroup", "Resource": "arn:aws:kafka:*:*:group/*/*/" + r.marker(),
		"Condition": map[string]any{"StringEquals": map[string]string{"aws:ResourceTag/marker": strconv.Itoa(r.step)}},
	})
	text, err := json.Marshal(document)
	must(r.t, err)
	_, err = r.store.SetClusterPolicy(r.deadline(), prefix, text, 0)
	must(r.t, err)
}

func (r *tableRun) marker() string { return fmt.Sprintf("marker-%d", r.step) }

// barrier waits until the cluster knows what was written: its user's policy is written last.
func (r *tableRun) barrier() {
	o := iam.Owner{Name: "barrier"}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kafka-cluster:Connect","Resource":"*"},
		{"Effect":"Allow","Action":"kafka-cluster:DescribeTransactionalId","Resource":"arn:aws:kafka:*:*:transactional-id/*/*/%s"}]}`, r.marker())
	must(r.t, r.store.PutInline(r.deadline(), o, "marker", []byte(policy)))
	call := iamtest.Call{API: "FindCoordinator"}
	harness.Eventually(r.t, patience, "group "+strconv.Itoa(r.step)+" in force", func(ctx context.Context) error {
		for _, on := range []iamtest.On{{Kind: action.OnGroup, Name: r.marker()}, {Kind: action.OnTransactionalID, Name: r.marker()}} {
			call.On = []iamtest.On{on}
			got, err := ask(ctx, r.waiter.SeedBrokers()[0], call)
			if err != nil {
				return err
			}
			if fault := judge(call, got); fault != "" {
				return errors.New(fault)
			}
		}
		return nil
	})
}
