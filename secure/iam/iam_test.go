package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/base/kv"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

const (
	anyTopic    = "arn:aws:kafka:us-east-1:1:topic/demo/u/orders"
	allowAll    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	denyDeletes = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"kafka-cluster:Delete*","Resource":"*"}}`
)

func wants(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRootKeyIsMadeOnceAndFoundAgain(t *testing.T) {
	w := newWorld(t)
	first, err := w.RootKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, err := w.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.OpenAccount(t.Context())
	if err != nil || again.ID != before.ID || len(again.Keys) != 1 || len(again.ID) != 12 {
		t.Errorf("opened again: %+v, %v, before: %+v", again, err, before)
	}
	c, err := w.view.Key(t.Context(), first.ID, "")
	if err != nil || c.Secret != first.Secret || c.Principal != "User:arn:aws:iam::"+before.ID+":root" {
		t.Errorf("credential: %v, principal %s, %v", c, c.Principal, err)
	}
	if !w.allowed(&c.Identity, "kafka-cluster:WriteData", anyTopic) {
		t.Error("root may not write")
	}
	wants(t, w.DeleteKey(t.Context(), first.ID), ErrInUse)
	wants(t, w.SetKey(t.Context(), first.ID, false), ErrInUse)
	second, err := w.CreateKey(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.CreateKey(t.Context(), "")
	wants(t, err, ErrLimit)
	wants(t, w.SetKey(t.Context(), first.ID, false), nil)
	wants(t, w.DeleteKey(t.Context(), second.ID), ErrInUse) // the other one is disabled
	wants(t, w.DeleteKey(t.Context(), first.ID), nil)
	if k, err := w.RootKey(t.Context()); err != nil || k != second {
		t.Errorf("root key after the rotation: %v, %v", k, err)
	}
}

func TestManyStartsMakeOneAccount(t *testing.T) {
	w := &world{kv: kv.NewMemory(), sealer: newSealer(t), clock: newWorld(t).clock}
	s := NewStore(w.kv, w.sealer, w.clock, nil)
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			a, err := s.OpenAccount(t.Context())
			if err != nil {
				t.Error(err)
			}
			ids[i] = a.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("accounts: %v", ids)
		}
	}
	if keys, err := s.Keys(t.Context(), "", true); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v, %v", keys, err)
	}
}

func TestUsersLife(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, alice := w.user(t, "alice", nil)
	if w.allowed(alice, "kafka-cluster:Connect", anyTopic) {
		t.Error("a user without policies may connect")
	}
	_, err := w.CreateUser(ctx, "alice", nil)
	wants(t, err, ErrExists)
	_, err = w.CreateUser(ctx, "no/slash", nil)
	wants(t, err, ErrInvalid)
	_, err = w.CreateUser(ctx, "bob", map[string]string{"a": "1", "A": "2"})
	wants(t, err, ErrInvalid)
	o := Owner{Name: "alice"}
	wants(t, w.Attach(ctx, o, "nothing"), ErrNotFound)
	wants(t, w.Attach(ctx, Owner{Name: "nobody"}, "MillraceConsumer"), ErrNotFound)
	wants(t, w.Attach(ctx, o, "MillraceConsumer"), nil)
	wants(t, w.Attach(ctx, o, "MillraceConsumer"), nil)
	if !w.allowed(alice, "kafka-cluster:ReadData", anyTopic) || w.allowed(alice, "kafka-cluster:WriteData", anyTopic) {
		t.Error("a consumer reads and does not write")
	}
	wants(t, w.PutInline(ctx, o, "all", []byte(allowAll)), nil)
	if !w.allowed(alice, "kafka-cluster:WriteData", anyTopic) {
		t.Error("the inline policy does not count")
	}
	wants(t, w.PutInline(ctx, o, "no", []byte(`{`)), ErrInvalid)
	wants(t, w.DeleteUser(ctx, "alice"), ErrInUse)
	wants(t, w.DeleteInline(ctx, o, "all"), nil)
	wants(t, w.DeleteInline(ctx, o, "all"), ErrNotFound)
	wants(t, w.Detach(ctx, o, "MillraceConsumer"), nil)
	wants(t, w.Detach(ctx, o, "MillraceConsumer"), ErrNotFound)
	if w.allowed(alice, "kafka-cluster:ReadData", anyTopic) {
		t.Error("a detached policy counts")
	}
	wants(t, w.DeleteUser(ctx, "alice"), ErrInUse) // the key
	wants(t, w.DeleteKey(ctx, alice.AccessKey), nil)
	wants(t, w.DeleteUser(ctx, "alice"), nil)
	_, err = w.User(ctx, "alice")
	wants(t, err, ErrNotFound)
}

func TestKeysAreTwoAtMostEvenAtOnce(t *testing.T) {
	w := newWorld(t)
	w.user(t, "alice", nil)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := w.CreateKey(t.Context(), "alice"); err != nil && !errors.Is(err, ErrLimit) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if keys, err := w.Keys(t.Context(), "alice", false); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestPolicyInUseIsNotDeletedEvenAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.user(t, "alice", nil)
	for range 30 {
		if _, err := w.CreatePolicy(ctx, "p", "", []byte(allowAll)); err != nil {
			t.Fatal(err)
		}
		var attached, deleted error
		var wg sync.WaitGroup
		wg.Go(func() { attached = w.Attach(ctx, Owner{Name: "alice"}, "p") })
		wg.Go(func() { deleted = w.DeletePolicy(ctx, "p") })
		wg.Wait()
		switch {
		case attached == nil && errors.Is(deleted, ErrInUse):
			wants(t, w.Detach(ctx, Owner{Name: "alice"}, "p"), nil)
			wants(t, w.DeletePolicy(ctx, "p"), nil)
		case deleted == nil && errors.Is(attached, ErrNotFound):
		default:
			t.Fatalf("attached: %v, deleted: %v", attached, deleted)
		}
	}
}

func TestPolicyCountsAtOnceForAll(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.CreatePolicy(ctx, "p", "", []byte(allowAll)); err != nil {
		t.Fatal(err)
	}
	_, alice := w.user(t, "alice", nil, "p")
	_, bob := w.user(t, "bob", nil, "p")
	wants(t, w.SetPolicy(ctx, "p", []byte(denyDeletes)), nil)
	if w.allowed(alice, "kafka-cluster:WriteData", anyTopic) || w.allowed(bob, "kafka-cluster:WriteData", anyTopic) {
		t.Error("the former document counts")
	}
	_, err := w.CreatePolicy(ctx, "MillraceAdministrator", "", []byte(allowAll))
	wants(t, err, ErrExists)
	wants(t, w.SetPolicy(ctx, "MillraceAdministrator", []byte(allowAll)), ErrInvalid)
	wants(t, w.DeletePolicy(ctx, "MillraceAdministrator"), ErrInvalid)
}

// TestRevoked: what was disabled, deleted or made anew ends the rights of those who are in already (I5).
func TestRevoked(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key, alice := w.user(t, "alice", nil, "MillraceAdministrator")
	may := func() bool { return w.allowed(alice, "kafka-cluster:Connect", anyTopic) }
	login := func() error { _, err := w.view.Key(ctx, key.ID, ""); return err }
	if !may() {
		t.Fatal("an administrator may not")
	}
	wants(t, w.SetKey(ctx, key.ID, false), nil)
	if may() {
		t.Error("a disabled key may")
	}
	wants(t, login(), ErrKey)
	wants(t, w.SetKey(ctx, key.ID, true), nil)
	if !may() {
		t.Error("an enabled key may not")
	}
	session, err := w.view.SessionToken(alice, 0)
	if err != nil {
		t.Fatal(err)
	}
	in := w.who(t, session.ID, session.Token)
	if !w.allowed(in, "kafka-cluster:Connect", anyTopic) {
		t.Error("the session may not")
	}
	wants(t, w.DeleteKey(ctx, key.ID), nil)
	if may() {
		t.Error("a deleted key may")
	}
	wants(t, login(), ErrKey)
	wants(t, w.Detach(ctx, Owner{Name: "alice"}, "MillraceAdministrator"), nil)
	wants(t, w.DeleteUser(ctx, "alice"), nil)
	w.user(t, "alice", nil, "MillraceAdministrator") // another one of that name
	if w.allowed(in, "kafka-cluster:Connect", anyTopic) {
		t.Error("the session of a deleted user has the rights of another one")
	}
	_, err = w.view.Key(ctx, session.ID, session.Token)
	wants(t, err, ErrKey)
}

func TestKeyMadeAMomentAgoElsewhere(t *testing.T) {
	w := newWorld(t)
	other := NewStore(w.kv, w.sealer, w.clock, nil) // waits for no view
	if _, err := w.CreateUser(t.Context(), "alice", nil); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		k, err := other.CreateKey(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.view.Key(t.Context(), k.ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := other.DeleteKey(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func trust(principal string) []byte {
	return fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":["sts:AssumeRole","sts:TagSession"]}}`, principal)
}

func TestAssumeRole(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	account := w.view.Account()
	_, alice := w.user(t, "alice", nil)
	_, bob := w.user(t, "bob", nil, "MillraceAdministrator")
	make := func(name string, trust []byte, longest time.Duration, policies ...string) {
		if _, err := w.CreateRole(ctx, NewRole{Name: name, Trust: trust, MaxSession: longest}); err != nil {
			t.Fatal(err)
		}
		for _, p := range policies {
			wants(t, w.Attach(ctx, Owner{Role: true, Name: name}, p), nil)
		}
	}
	make("named", trust(arnOfUser(account, "alice")), 0, "MillraceAdministrator")
	make("delegated", trust(account), 4*time.Hour, "MillraceConsumer")
	as := func(role string) AssumeRole { return AssumeRole{Role: role, Session: "build"} }

	_, err := w.view.AssumeRole(bob, as("named"))
	wants(t, err, ErrDenied)
	_, err = w.view.AssumeRole(alice, as("delegated")) // her own policies allow nothing
	wants(t, err, ErrDenied)
	_, err = w.view.AssumeRole(alice, as("nothing"))
	wants(t, err, ErrDenied)
	_, err = w.view.AssumeRole(w.root(t), as("delegated"))
	wants(t, err, ErrDenied)
	_, err = w.view.AssumeRole(alice, AssumeRole{Role: "named", Session: "b/d"})
	wants(t, err, ErrInvalid)
	_, err = w.view.AssumeRole(alice, AssumeRole{Role: "named", Session: "build", Duration: 2 * time.Hour})
	wants(t, err, ErrInvalid)
	_, err = w.view.AssumeRole(alice, AssumeRole{Role: "named", Session: "build", Policy: []byte(`{}`)})
	wants(t, err, ErrInvalid)

	s, err := w.view.AssumeRole(alice, as(arnOfRole(account, "named")))
	if err != nil {
		t.Fatal(err)
	}
	in := w.who(t, s.ID, s.Token)
	if in.ARN != "arn:aws:sts::"+account+":assumed-role/named/build" || in.Role != "named" || !w.allowed(in, "kafka-cluster:WriteData", anyTopic) {
		t.Errorf("session: %+v", in)
	}
	_, err = w.view.SessionToken(in, 0)
	wants(t, err, ErrDenied)
	_, err = w.view.Key(ctx, "ASIAAAAAAAAAAAAAAAAA", s.Token) // the token of another key
	wants(t, err, ErrKey)
	_, err = w.view.Key(ctx, s.ID, "")
	wants(t, err, ErrKey)
	for i := range len(s.Token) {
		bent := []byte(s.Token)
		bent[i] ^= 1
		if _, err := w.view.Key(ctx, s.ID, string(bent)); !errors.Is(err, ErrKey) && string(bent) != s.Token {
			// The last character may have bits that count for nothing.
			if i < len(s.Token)-1 {
				t.Fatalf("a bent token (%d): %v", i, err)
			}
		}
	}
	// From a session, one hour at most, whatever the role allows.
	_, err = w.view.AssumeRole(in, AssumeRole{Role: "delegated", Session: "next", Duration: 2 * time.Hour})
	wants(t, err, ErrInvalid)
	if _, err = w.view.AssumeRole(in, as("delegated")); err != nil {
		t.Error(err)
	}
	w.clock.Advance(time.Hour - time.Second)
	if _, err := w.view.Key(ctx, s.ID, s.Token); err != nil {
		t.Error("expired too early")
	}
	w.clock.Advance(time.Second)
	_, err = w.view.Key(ctx, s.ID, s.Token)
	wants(t, err, ErrKey)
}

func TestSessionPolicyAndTags(t *testing.T) {
	w := newWorld(t)
	account := w.view.Account()
	_, alice := w.user(t, "alice", nil)
	if _, err := w.CreateRole(t.Context(), NewRole{Name: "app", Trust: trust(arnOfUser(account, "alice")), Tags: map[string]string{"team": "blue"}}); err != nil {
		t.Fatal(err)
	}
	doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kafka-cluster:*","Resource":"arn:aws:kafka:*:*:topic/*/${aws:PrincipalTag/TEAM}"}}`
	wants(t, w.PutInline(t.Context(), Owner{Role: true, Name: "app"}, "team", []byte(doc)), nil)
	s, err := w.view.AssumeRole(alice, AssumeRole{
		Role: "app", Session: "build", Tags: map[string]string{"Team": "red"},
		Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kafka-cluster:Describe*","Resource":"*"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	in := w.who(t, s.ID, s.Token)
	topic := "arn:aws:kafka:us-east-1:1:topic/demo/u/"
	for _, c := range []struct {
		action, topic string
		want          bool
	}{{"DescribeTopic", "red", true}, {"DescribeTopic", "blue", false}, {"WriteData", "red", false}} {
		if got := w.allowed(in, "kafka-cluster:"+c.action, topic+c.topic); got != c.want {
			t.Errorf("%s on %s: %v", c.action, c.topic, got)
		}
	}
	narrow := []byte(strings.Replace(string(trust(arnOfUser(account, "alice"))), `,"sts:TagSession"`, "", 1))
	wants(t, w.SetTrust(t.Context(), "app", narrow), nil)
	_, err = w.view.AssumeRole(alice, AssumeRole{Role: "app", Session: "build", Tags: map[string]string{"team": "red"}})
	wants(t, err, ErrDenied)
	if _, err = w.view.AssumeRole(alice, AssumeRole{Role: "app", Session: "build"}); err != nil {
		t.Error(err)
	}
}

func TestExternalID(t *testing.T) {
	w := newWorld(t)
	_, alice := w.user(t, "alice", nil)
	doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x-1"}}}}`
	if _, err := w.CreateRole(t.Context(), NewRole{Name: "app", Trust: []byte(doc)}); err != nil {
		t.Fatal(err)
	}
	_, err := w.view.AssumeRole(alice, AssumeRole{Role: "app", Session: "build"})
	wants(t, err, ErrDenied)
	if _, err := w.view.AssumeRole(alice, AssumeRole{Role: "app", Session: "build", ExternalID: "x-1"}); err != nil {
		t.Error(err)
	}
}

// TestUnreadableRecordsOpenNothing: a record of a newer format, or one that was damaged, takes rights away and gives none (I6).
func TestUnreadableRecordsOpenNothing(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.CreatePolicy(ctx, "deny", "", []byte(denyDeletes)); err != nil {
		t.Fatal(err)
	}
	_, alice := w.user(t, "alice", nil, "MillraceAdministrator", "deny")
	may := func() bool { return w.allowed(alice, "kafka-cluster:Connect", anyTopic) }
	for _, key := range []string{dirPolicies + "deny", dirUsers + "alice", dirKeys + alice.AccessKey, keyAccount, ClusterPolicyKey(testCluster)} {
		if !may() {
			t.Fatal("she may not")
		}
		old, err := w.kv.Get(ctx, key)
		if err != nil && key != ClusterPolicyKey(testCluster) {
			t.Fatal(err)
		}
		for _, value := range []string{"", "{", `{"format":2}`, `{"format":1}`} {
			if value == `{"format":1}` && (key == keyAccount || key == dirUsers+"alice") {
				continue // whole, only empty
			}
			set(t, w, key, []byte(value))
			if may() {
				t.Errorf("%s is %q, and she may", key, value)
			}
		}
		if err != nil {
			wants(t, w.DeleteClusterPolicy(ctx, testCluster), nil)
			waitFor(t, w, may)
			continue
		}
		set(t, w, key, old.Value)
	}
	if !strings.Contains(w.log.String(), "cannot be read") {
		t.Error("the log says nothing")
	}
}

// set writes a key and waits until the view has it.
func set(t *testing.T, w *world, key string, value []byte) {
	t.Helper()
	before := w.view.now.Load()
	if _, err := w.kv.Txn(t.Context(), nil, []kv.Op{kv.Put(key, value)}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, w, func() bool { return w.view.now.Load() != before })
}

// waitFor waits until the view shows something.
func waitFor(t testing.TB, w *world, shown func() bool) {
	t.Helper()
	for {
		w.view.mu.Lock()
		changed := w.view.changed
		w.view.mu.Unlock()
		if shown() {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("not seen")
		}
	}
}

func TestClusterPolicyAndTags(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, alice := w.user(t, "alice", nil)
	doc := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kafka-cluster:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}}}`,
		arnOfUser(w.view.Account(), "alice"))
	version, err := w.SetClusterPolicy(ctx, testCluster, []byte(doc), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.SetClusterPolicy(ctx, testCluster, []byte(doc), version+7)
	wants(t, err, kv.ErrConflict)
	if w.allowed(alice, "kafka-cluster:Connect", anyTopic) {
		t.Error("allowed without the tag")
	}
	wants(t, w.SetClusterTags(ctx, testCluster, map[string]string{"env": "prod"}), nil)
	waitFor(t, w, func() bool { return w.allowed(alice, "kafka-cluster:Connect", anyTopic) })
	if _, err := w.SetClusterPolicy(ctx, testCluster, []byte(allowAll), 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("a policy without principal: %v", err)
	}
	wants(t, w.DeleteClusterPolicy(ctx, testCluster), nil)
	waitFor(t, w, func() bool { return !w.allowed(alice, "kafka-cluster:Connect", anyTopic) })
	wants(t, w.DeleteClusterPolicy(ctx, testCluster), ErrNotFound)
}

// TestDecideOn: on what the view does not follow only the policy that is given counts, with the tags of the request; the cluster's own neither
// opens nor closes it.
func TestDecideOn(t *testing.T) {
	w := newWorld(t)
	_, alice := w.user(t, "alice", nil)
	_, bob := w.user(t, "bob", nil, "MillraceAdministrator")
	const other = "arn:aws:kafka:us-east-1:1:cluster/other/1"
	doc := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kafka:*","Resource":"*"}}`, arnOfUser(w.view.Account(), "alice"))
	_, err := w.SetClusterPolicy(t.Context(), testCluster, []byte(doc), 0)
	wants(t, err, nil)
	waitFor(t, w, func() bool { return w.allowed(alice, "kafka:DescribeCluster", anyTopic) })
	on := func(who *identity.IAM, own string, tags map[string]string) bool {
		var p *policy.Policy
		if own != "" {
			var err error
			p, err = policy.Parse([]byte(own), policy.Resource, "own")
			wants(t, err, nil)
		}
		d, broken := w.view.DecideOn(who, &policy.Request{Action: "kafka:DescribeCluster", Resource: other, ResourceTags: tags}, p)
		return broken == "" && d.Allowed
	}
	tagged := strings.Replace(doc, `"Resource":"*"`, `"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}`, 1)
	deny := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"kafka:*","Resource":"*"}}`
	for i, f := range []struct {
		who  *identity.IAM
		own  string
		tags map[string]string
		want bool
	}{
		{alice, "", nil, false}, {alice, doc, nil, true}, {alice, tagged, nil, false}, {alice, tagged, map[string]string{"env": "prod"}, true},
		{alice, tagged, map[string]string{"env": "test"}, false}, {bob, "", nil, true}, {bob, deny, nil, false},
	} {
		if got := on(f.who, f.own, f.tags); got != f.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	set(t, w, ClusterPolicyKey(testCluster), []byte("broken"))
	waitFor(t, w, func() bool { return !w.allowed(bob, "kafka:DescribeCluster", anyTopic) })
	if !on(bob, "", nil) {
		t.Error("a broken policy of one cluster closes another")
	}
	wants(t, w.SetKey(t.Context(), bob.AccessKey, false), nil)
	if on(bob, "", nil) {
		t.Error("a disabled key is taken")
	}
}

// TestExpiredSession is told apart from one that never was, to who shows its token.
func TestExpiredSession(t *testing.T) {
	w := newWorld(t)
	_, alice := w.user(t, "alice", nil)
	s, err := w.view.SessionToken(alice, 15*time.Minute)
	wants(t, err, nil)
	w.clock.Advance(15 * time.Minute)
	_, err = w.view.Key(t.Context(), s.ID, s.Token)
	wants(t, err, ErrExpired)
	wants(t, err, ErrKey)
	if _, err = w.view.Key(t.Context(), s.ID, s.Token[1:]); errors.Is(err, ErrExpired) || !errors.Is(err, ErrKey) {
		t.Errorf("a token of nobody: %v", err)
	}
}

// TestSecretsAreNowhere looks for secrets in etcd, the log and printed values (I1).
func TestSecretsAreNowhere(t *testing.T) {
	w := newWorld(t)
	key, alice := w.user(t, "alice", nil, "MillraceAdministrator")
	session, err := w.view.SessionToken(alice, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.view.Key(t.Context(), key.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	items, _, err := w.kv.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, item := range items {
		all.Write(item.Value)
	}
	for _, v := range []any{key, &key, c, &c, session, &session, w.view.now.Load().keys, alice} {
		fmt.Fprintf(&all, "%v %+v %#v %s", v, v, v, v)
	}
	all.WriteString(w.log.String())
	for _, secret := range []string{key.Secret, session.Secret, session.Token} {
		if strings.Contains(all.String(), secret) {
			t.Error("a secret is told")
		}
	}
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	key, alice := w.user(t, "alice", nil, "MillraceAdministrator")
	used := func() *Use {
		w.view.used.flush(t.Context())
		keys, err := w.Keys(t.Context(), "alice", false)
		if err != nil || len(keys) != 1 || keys[0].ID != key.ID {
			t.Fatalf("keys: %v, %v", keys, err)
		}
		return keys[0].Used
	}
	if u := used(); u != nil {
		t.Errorf("used already: %+v", u)
	}
	w.allowed(alice, "kafka-cluster:Connect", anyTopic)
	first := used()
	if first == nil || !first.At.Equal(w.clock.Now()) || first.Service != "kafka-cluster" || first.From != "127.0.0.1" {
		t.Fatalf("used: %+v", first)
	}
	w.clock.Advance(30 * time.Second)
	w.allowed(alice, "kafka-cluster:Connect", anyTopic)
	if u := used(); !u.At.Equal(first.At) {
		t.Errorf("noted again after 30 seconds: %+v", u)
	}
	w.clock.Advance(30 * time.Second)
	w.allowed(alice, "kafka-cluster:Connect", anyTopic)
	if u := used(); !u.At.Equal(w.clock.Now()) {
		t.Errorf("not noted after a minute: %+v", u)
	}
	wants(t, w.DeleteKey(t.Context(), key.ID), nil)
	w.view.used.flush(t.Context())
	if items, _, _ := w.kv.List(t.Context(), dirUsed); len(items) != 0 {
		t.Errorf("left behind: %v", items)
	}
}

// TestHalfAChangeIsWaitedFor: a transaction's keys come to a view one by one; a change is seen when the last one is.
func TestHalfAChangeIsWaitedFor(t *testing.T) {
	v := newWorld(t).view
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s := v.now.Load().clone()
	s.rev, s.seen = 1000, 1
	v.now.Store(s)
	for w, want := range map[written]bool{{999, 9}: true, {1000, 1}: true, {1000, 2}: false, {1001, 1}: false} {
		if got := v.wait(ended, w) == nil; got != want {
			t.Errorf("%+v: seen %v", w, got)
		}
	}
}
