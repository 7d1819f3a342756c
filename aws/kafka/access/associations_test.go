package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/secure/secret"
)

func wants(t interface {
	Helper()
	Fatalf(string, ...any)
}, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// code is that of a refusal; "": none.
func code(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func TestAssociateAndFollow(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	a := f.world.Associations
	alice := f.say(t, "AmazonMSK_alice", value("alice", "hidden-1"))
	wants(t, a.Associate(ctx, "main", alice), nil)
	wants(t, a.Associate(ctx, "main", alice), nil) // again
	if !f.users.password(t, "main/alice", "hidden-1") {
		t.Fatal("the credential is not that of the secret")
	}
	f.say(t, "AmazonMSK_alice", value("alice", "hidden-2"))
	wants(t, a.Sync(ctx, "AmazonMSK_alice"), nil)
	if !f.users.password(t, "main/alice", "hidden-2") {
		t.Error("a change is not followed")
	}
	f.say(t, "AmazonMSK_alice", value("bob", "hidden-3"))
	wants(t, a.Sync(ctx, ""), nil)
	if !f.users.password(t, "main/bob", "hidden-3") || len(f.users.of) != 1 {
		t.Errorf("another user: %v", f.users.of)
	}
	f.say(t, "AmazonMSK_alice", "no JSON")
	wants(t, a.Sync(ctx, ""), nil)
	if !f.users.password(t, "main/bob", "hidden-3") || !strings.Contains(f.log.String(), "AmazonMSK_alice") {
		t.Errorf("what cannot be read changes something, or is not told: %s", f.log)
	}
	f.say(t, "AmazonMSK_alice", value("bob", "hidden-4"))
	if _, err := f.secrets.Delete(ctx, alice, 7); err != nil {
		t.Fatal(err)
	}
	wants(t, a.Sync(ctx, ""), nil)
	if !f.users.password(t, "main/bob", "hidden-3") {
		t.Error("a secret that is marked for deletion takes its credential along")
	}
	if _, err := f.secrets.Delete(ctx, alice, 0); err != nil {
		t.Fatal(err)
	}
	wants(t, a.Sync(ctx, ""), nil)
	if len(f.users.of) != 0 {
		t.Errorf("a secret that is gone leaves %v", f.users.of)
	}
	wants(t, a.Disassociate(ctx, "main", alice), nil)
	if all, err := a.List(ctx, "main"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	items, _, err := f.kv.List(ctx, "")
	wants(t, err, nil)
	for _, item := range items {
		if bytes.Contains(item.Value, []byte("hidden")) {
			t.Errorf("%s has a password", item.Key)
		}
	}
	if strings.Contains(f.log.String(), "hidden") {
		t.Error("the log has a password")
	}
}

func TestRefusals(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	a := f.world.Associations
	wants(t, a.Associate(ctx, "main", f.say(t, "AmazonMSK_a", value("a", "x"))), nil)
	v := secret.Value{Bytes: []byte(value("z", "x"))}
	plain, _, err := f.secrets.Create(ctx, secret.Spec{Name: "AmazonMSK_nokey", Value: &v})
	wants(t, err, nil)
	marked := f.say(t, "AmazonMSK_marked", value("m", "x"))
	if _, err := f.secrets.Delete(ctx, marked, 7); err != nil {
		t.Fatal(err)
	}
	for want, refs := range map[string][]secret.Ref{
		invalidSecretARN: {f.say(t, "other", value("b", "x")), {Name: "AmazonMSK_none", Tail: "abcdef"}, {Name: "AmazonMSK_a", Tail: "abcdef"}, plain.Ref(), marked},
		invalidSecretValue: {
			f.say(t, "AmazonMSK_1", "x"), f.say(t, "AmazonMSK_2", `{"username":"u"}`), f.say(t, "AmazonMSK_3", `{"username":7,"password":"x"}`),
			f.say(t, "AmazonMSK_4", value("", "x")), f.say(t, "AmazonMSK_5", value("u", "")), f.say(t, "AmazonMSK_6", value(strings.Repeat("u", 1025), "x")), f.say(t, "AmazonMSK_7", `["u"]`),
		},
		duplicateUser: {f.say(t, "AmazonMSK_same", value("a", "y"))},
	} {
		for _, r := range refs {
			if err := a.Associate(ctx, "main", r); code(err) != want || strings.Contains(err.Error(), "password\":\"") {
				t.Errorf("%s: %v, want %s", r.Name, err, want)
			}
		}
	}
	if err := a.Disassociate(ctx, "main", marked); code(err) != notAssociated {
		t.Error(err)
	}
	wants(t, a.Associate(ctx, "plain", f.say(t, "AmazonMSK_same", value("a", "y"))), nil) // in another cluster it is free
	if len(f.users.of) != 2 {
		t.Errorf("%v", f.users.of)
	}
	// A user moves from one secret to another: the first lets go, also where that was broken off.
	f.say(t, "AmazonMSK_a", value("later", "x"))
	wants(t, a.edit(ctx, "main", func(all *associated) (bool, error) {
		all.Secrets[0].User, all.Secrets[0].Former, all.Secrets[0].Version = "later", "a", ""
		return true, nil
	}), nil)
	wants(t, a.Associate(ctx, "main", f.say(t, "AmazonMSK_same", value("a", "y"))), nil)
	if !f.users.password(t, "main/a", "y") || !f.users.password(t, "main/later", "x") {
		t.Error("two secrets have changed places, and not their users")
	}
}

func TestAtMostAThousand(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	a := f.world.Associations
	wants(t, a.edit(ctx, "main", func(all *associated) (bool, error) {
		for i := range maxSecrets {
			all.Secrets = append(all.Secrets, association{Name: fmt.Sprintf("AmazonMSK_%04d", i), Tail: "abcdef", User: fmt.Sprint(i)})
		}
		return true, nil
	}), nil)
	if err := a.Associate(ctx, "main", f.say(t, "AmazonMSK_more", value("more", "x"))); code(err) != limitExceeded {
		t.Error(err)
	}
}

// TestAChangeWhileItIsApplied: the value that counts is the last one, also where it comes between reading and setting (A3).
func TestAChangeWhileItIsApplied(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	r := f.say(t, "AmazonMSK_a", value("a", "1"))
	f.users.hook = func() { f.say(t, "AmazonMSK_a", value("a", "2")) }
	wants(t, f.world.Associations.Associate(ctx, "main", r), nil)
	if !f.users.password(t, "main/a", "2") {
		t.Error("the former password is left")
	}
}

// TestSyncFinishesWhatBrokeOff breaks calls off at any write, and wants that Sync then brings everything to where it belongs (A1, A2, A3).
func TestSyncFinishesWhatBrokeOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, ctx := newFixture(t), context.Background()
		names := []string{"AmazonMSK_1", "AmazonMSK_2"}
		values := map[string][2]string{} // user and password by name
		refs := map[string]secret.Ref{}
		change := func(t *rapid.T, name string) {
			v := [2]string{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "user"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "password")}
			r, err := f.store(name, value(v[0], v[1]))
			wants(t, err, nil)
			values[name], refs[name] = v, r
		}
		for _, name := range names {
			change(t, name)
		}
		associated := map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			w := f.assoc
			w.KV = &flaky{f.kv, rapid.IntRange(-1, 3).Draw(t, "writes"), rapid.Bool().Draw(t, "late")}
			f.users.fail, f.users.after = nil, rapid.Bool().Draw(t, "done")
			if rapid.Bool().Draw(t, "away") {
				f.users.fail = errBroken
			}
			a := NewAssociations(w)
			var err error
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				err = a.Associate(ctx, "main", refs[name])
			case 1:
				err = a.Disassociate(ctx, "main", refs[name])
			default:
				change(t, name)
				err = a.Sync(ctx, name)
			}
			if err != nil && !errors.Is(err, errBroken) && code(err) == "" {
				t.Fatal(err)
			}
		}
		f.users.fail = nil
		a := NewAssociations(f.assoc)
		for range 3 { // each time one secret may let go of a user whom the other waits for
			wants(t, a.Sync(ctx, ""), nil)
		}
		all, err := a.List(ctx, "main")
		wants(t, err, nil)
		for _, r := range all {
			associated[r.Name] = true
		}
		both := associated[names[0]] && associated[names[1]]
		if both && values[names[0]][0] == values[names[1]][0] {
			return // two say the same user: whose it is depends on who was first
		}
		want := map[string]bool{}
		for name := range associated {
			user := "main/" + values[name][0]
			want[user] = true
			if !f.users.password(t, user, values[name][1]) {
				if both {
					return // they have changed places at once, which is refused and told
				}
				t.Fatalf("%s is not as %s says: %v", user, name, values)
			}
		}
		got := map[string]bool{}
		for user := range f.users.of {
			got[user] = true
		}
		if !maps.Equal(got, want) {
			t.Fatalf("users %v, want %v", got, want)
		}
	})
}

// TestRun follows what changes, and begins anew after a failure.
func TestRun(t *testing.T) {
	f := newFixture(t)
	r := f.say(t, "AmazonMSK_a", value("a", "1"))
	wants(t, f.world.Associations.Associate(t.Context(), "main", r), nil)
	f.say(t, "AmazonMSK_a", value("a", "2")) // before it runs
	ctx, cancel := context.WithCancel(t.Context())
	f.users.told, f.users.fail = make(chan string), errBroken
	done := make(chan error)
	go func() { done <- f.world.Associations.Run(ctx) }()
	<-f.users.told // fails
	<-f.users.told
	f.say(t, "AmazonMSK_a", value("b", "3"))
	for user := range f.users.told {
		if user == "b" {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !f.users.password(t, "main/b", "3") || len(f.users.of) != 1 {
		t.Errorf("%v", f.users.of)
	}
}
