package scram

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	xdg "github.com/xdg-go/scram"
	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/secure/identity"
)

// box is a Sealer for tests: it keeps the bytes apart from their context, and opens only with the same one.
type box struct{}

func (box) Seal(plain, context []byte) ([]byte, error) {
	out := append([]byte("sealed:"), context...)
	out = append(out, '|')
	for _, b := range plain {
		out = append(out, b^0x5a)
	}
	return out, nil
}

func (box) Open(sealed, context []byte) ([]byte, error) {
	prefix := append(append([]byte("sealed:"), context...), '|')
	if !bytes.HasPrefix(sealed, prefix) {
		return nil, errors.New("another context")
	}
	out := bytes.Clone(sealed[len(prefix):])
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, nil
}

func openTest(t testing.TB, store kv.KV, sealer Sealer) *Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := OpenStore(ctx, Config{Prefix: "m/clusters/c/"}, World{KV: store, Sealer: sealer, Random: func(b []byte) { _, _ = rand.Read(b) },
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func set(t testing.TB, s *Store, user string, m identity.Mechanism, password string, iterations int) {
	t.Helper()
	c, err := FromPassword(m, password, []byte("a salt of some 26 bytes..."), iterations)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, s, nil, Change{User: user, Mechanism: m, Credential: c})
}

func alter(t testing.TB, s *Store, want error, changes ...Change) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i, err := range s.Alter(ctx, changes) {
		if !errors.Is(err, want) {
			t.Fatalf("change %d: %v, want %v", i, err, want)
		}
	}
}

// dance logs in as a client does; first is the server's first message.
func dance(t testing.TB, s *Store, m identity.Mechanism, user, password string) (first string, err error) {
	t.Helper()
	generator := xdg.SHA256
	if m == identity.ScramSHA512 {
		generator = xdg.SHA512
	}
	client, err := generator.NewClientUnprepped(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewConversation()
	e, err := s.Begin(m)
	if err != nil {
		t.Fatal(err)
	}
	message, err := c.Step("")
	if err != nil {
		t.Fatal(err)
	}
	reply, done, err := e.Step([]byte(message))
	if err != nil || done {
		return "", fmt.Errorf("first step: done %v: %w", done, err)
	}
	first = string(reply)
	if message, err = c.Step(first); err != nil {
		t.Fatal(err)
	}
	reply, done, err = e.Step([]byte(message))
	if err != nil {
		return first, err
	}
	if _, err := c.Step(string(reply)); err != nil || !done || e.User() != user {
		t.Fatalf("the client does not accept the server: %v, done %v, user %q", err, done, e.User())
	}
	if _, _, err := e.Step([]byte(message)); !errors.Is(err, ErrRefused) {
		t.Fatalf("a third step: %v", err)
	}
	return first, nil
}

func TestLogin(t *testing.T) {
	for _, sealer := range []Sealer{nil, box{}} {
		s := openTest(t, kv.NewMemory(), sealer)
		for _, m := range []identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512} {
			for _, user := range []string{"alice", "a,b=c/d", "ünï 漢", "."} {
				set(t, s, user, m, "secret", 4096)
				if _, err := dance(t, s, m, user, "secret"); err != nil {
					t.Errorf("%s %s: %v", m, user, err)
				}
				if _, err := dance(t, s, m, user, "wrong"); !errors.Is(err, ErrRefused) {
					t.Errorf("%s %s with a wrong password: %v", m, user, err)
				}
				if _, err := dance(t, s, m, user, ""); !errors.Is(err, ErrRefused) {
					t.Errorf("%s %s without password: %v", m, user, err)
				}
			}
		}
	}
}

// Who asks cannot tell whether a user exists (SC2).
func TestUnknownUserLooksTheSame(t *testing.T) {
	s := openTest(t, kv.NewMemory(), box{})
	for i := range 5 {
		set(t, s, fmt.Sprint("user", i), identity.ScramSHA512, "p", 8192)
	}
	set(t, s, "odd", identity.ScramSHA512, "p", 4096)
	part := func(first, name string) string {
		for _, f := range strings.Split(first, ",") {
			if v, ok := strings.CutPrefix(f, name+"="); ok {
				return v
			}
		}
		t.Fatalf("no %s in %q", name, first)
		return ""
	}
	known, errKnown := dance(t, s, identity.ScramSHA512, "user1", "wrong")
	unknown, errUnknown := dance(t, s, identity.ScramSHA512, "nobody", "wrong")
	again, _ := dance(t, s, identity.ScramSHA512, "nobody", "wrong")
	other, _ := dance(t, s, identity.ScramSHA512, "nobody2", "wrong")
	if part(known, "i") != part(unknown, "i") || len(part(known, "s")) != len(part(unknown, "s")) {
		t.Errorf("known %q, unknown %q", known, unknown)
	}
	if part(unknown, "s") != part(again, "s") || part(unknown, "s") == part(other, "s") {
		t.Errorf("salts of unknown users: %q, again %q, other %q", unknown, again, other)
	}
	if errKnown == nil || errUnknown == nil || errKnown.Error() != errUnknown.Error() {
		t.Errorf("known: %v, unknown: %v", errKnown, errUnknown)
	}
	// One who has the other mechanism only.
	if _, err := dance(t, s, identity.ScramSHA256, "user1", "p"); err == nil || err.Error() != errUnknown.Error() {
		t.Errorf("other mechanism: %v", err)
	}
	// Another broker gives the same salt.
	second := openTest(t, s.world.KV, box{})
	if there, _ := dance(t, second, identity.ScramSHA512, "nobody", "wrong"); part(there, "s") != part(unknown, "s") {
		t.Error("another broker gives another salt")
	}
}

// Nothing that a login could be made of is stored (SC1).
func TestNothingSecretIsStored(t *testing.T) {
	store := kv.NewMemory()
	s := openTest(t, store, box{})
	salted := []byte("salted-password-of-some-32-bytes")
	c, err := FromSalted(identity.ScramSHA256, salted, []byte("salt"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, s, nil, Change{User: "alice", Mechanism: identity.ScramSHA256, Credential: c})
	items, _, err := store.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		for what, secret := range map[string][]byte{"salted password": salted, "stored key": c.StoredKey, "server key": c.ServerKey} {
			encoded, _ := json.Marshal(secret)
			if bytes.Contains(item.Value, secret) || bytes.Contains(item.Value, bytes.Trim(encoded, `"`)) {
				t.Errorf("%s is in %s", what, item.Key)
			}
		}
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprint(slog.Any("c", c))} {
		if strings.Contains(text, "83") && bytes.Contains([]byte(text), c.StoredKey) || strings.Contains(text, "StoredKey") {
			t.Errorf("shown: %s", text)
		}
	}
	// A record of one user does not open as another's (SC1).
	item, err := store.Get(context.Background(), "m/clusters/c/scram/alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Txn(context.Background(), nil, []kv.Op{kv.Put("m/clusters/c/scram/mallory", item.Value)}); err != nil {
		t.Fatal(err)
	}
	alter(t, s, ErrNotFound, Change{User: "alice", Mechanism: identity.ScramSHA512, Delete: true})
	if _, ok := s.lookup(identity.ScramSHA256, "alice"); !ok {
		t.Error("alice is not found")
	}
	set(t, s, "later", identity.ScramSHA256, "p", 4096) // so that the copy was seen
	if _, ok := s.lookup(identity.ScramSHA256, "mallory"); ok {
		t.Error("a copied record opens")
	}
}

func TestChanges(t *testing.T) {
	s := openTest(t, kv.NewMemory(), nil)
	c, err := FromPassword(identity.ScramSHA256, "p", []byte("salt"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, s, ErrUnacceptable, Change{User: "", Mechanism: identity.ScramSHA256, Credential: c})
	alter(t, s, ErrUnacceptable, Change{User: strings.Repeat("x", 2000), Mechanism: identity.ScramSHA256, Credential: c})
	alter(t, s, ErrMechanism, Change{User: "a", Mechanism: "PLAIN", Credential: c})
	alter(t, s, ErrUnacceptable, Change{User: "a", Mechanism: identity.ScramSHA512, Credential: c})
	alter(t, s, ErrNotFound, Change{User: "a", Mechanism: identity.ScramSHA256, Delete: true})
	for iterations, want := range map[int]error{4095: ErrUnacceptable, 4096: nil, 16384: nil, 16385: ErrUnacceptable} {
		if _, err := FromSalted(identity.ScramSHA256, []byte("x"), nil, iterations); !errors.Is(err, want) {
			t.Errorf("%d iterations: %v", iterations, err)
		}
	}
	if _, err := FromSalted(identity.ScramSHA256, nil, nil, 4096); !errors.Is(err, ErrUnacceptable) {
		t.Errorf("empty salted password: %v", err)
	}
	alter(t, s, nil, Change{User: "a", Mechanism: identity.ScramSHA256, Credential: c}, Change{User: "b", Mechanism: identity.ScramSHA256, Credential: c})
	if got := s.Users(); fmt.Sprint(got) != "[a b]" {
		t.Errorf("users: %v", got)
	}
	alter(t, s, nil, Change{User: "a", Mechanism: identity.ScramSHA256, Delete: true})
	if got := s.Users(); fmt.Sprint(got) != "[b]" || len(s.Describe("a")) != 0 || fmt.Sprint(s.Describe("b")) != "[{SCRAM-SHA-256 4096}]" {
		t.Errorf("users: %v, b: %v", got, s.Describe("b"))
	}
}

// What cannot be read lets nobody in and hurts no other (SC4, SC5).
func TestUnreadableRecords(t *testing.T) {
	store := kv.NewMemory()
	s := openTest(t, store, nil)
	set(t, s, "good", identity.ScramSHA256, "p", 4096)
	item, err := store.Get(context.Background(), "m/clusters/c/scram/good")
	if err != nil {
		t.Fatal(err)
	}
	value := string(item.Value)
	for name, v := range map[string]string{
		"newer": strings.Replace(value, `"format":1`, `"format":2`, 1), "torn": value[:20], "weak": strings.Replace(value, "4096", "1", 1),
		"short": `{"format":1,"credentials":{"SCRAM-SHA-256":{"iterations":4096,"stored_key":"YQ==","server_key":"YQ=="}}}`, "bad%zz": value,
	} {
		if _, err := store.Txn(context.Background(), nil, []kv.Op{kv.Put("m/clusters/c/scram/"+name, []byte(v))}); err != nil {
			t.Fatal(err)
		}
	}
	set(t, s, "good", identity.ScramSHA256, "p2", 4096)
	for _, name := range []string{"newer", "torn", "weak", "short"} {
		if _, err := dance(t, s, identity.ScramSHA256, name, "p"); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := dance(t, s, identity.ScramSHA256, "good", "p2"); err != nil {
		t.Error(err)
	}
	alter(t, s, ErrFormat, Change{User: "newer", Mechanism: identity.ScramSHA256, Delete: true})
}

func TestAuthorizationID(t *testing.T) {
	s := openTest(t, kv.NewMemory(), nil)
	set(t, s, "alice", identity.ScramSHA256, "p", 4096)
	for id, ok := range map[string]bool{"": true, "a=alice": true, "a=bob": false} {
		e, err := s.Begin(identity.ScramSHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.Step([]byte("n," + id + ",n=alice,r=abcdef")); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Two stores, changed at random, are what a plain map says.
func TestStoreAgainstModel(t *testing.T) {
	credentials := map[identity.Mechanism]Credential{}
	for _, m := range []identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512} {
		c, err := FromPassword(m, "p", []byte("salt"), 4096)
		if err != nil {
			t.Fatal(err)
		}
		credentials[m] = c
	}
	rapid.Check(t, func(rt *rapid.T) {
		store := kv.NewMemory()
		stores := []*Store{openTest(t, store, box{}), openTest(t, store, nil)}
		model := map[string]map[identity.Mechanism]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			s := stores[rapid.IntRange(0, 1).Draw(rt, "store")]
			c := Change{User: rapid.SampledFrom([]string{"a", "b/c", "%41"}).Draw(rt, "user"),
				Mechanism: rapid.SampledFrom([]identity.Mechanism{identity.ScramSHA256, identity.ScramSHA512}).Draw(rt, "mechanism"),
				Delete:    rapid.Bool().Draw(rt, "delete")}
			c.Credential = credentials[c.Mechanism]
			var want error
			switch {
			case c.Delete && !model[c.User][c.Mechanism]:
				want = ErrNotFound
			case c.Delete:
				delete(model[c.User], c.Mechanism)
			default:
				if model[c.User] == nil {
					model[c.User] = map[identity.Mechanism]bool{}
				}
				model[c.User][c.Mechanism] = true
			}
			alter(t, s, want, c)
			if want != nil {
				continue // Nothing was written, so what others wrote need not be seen yet.
			}
			for user, has := range model {
				if got := s.Describe(user); len(got) != len(has) {
					rt.Fatalf("%s has %v, want %v", user, got, has)
				}
			}
		}
	})
}

func FuzzExchange(f *testing.F) {
	s := openTest(f, kv.NewMemory(), nil)
	set(f, s, "alice", identity.ScramSHA256, "p", 4096)
	f.Add("n,,n=alice,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("p=tls-unique,a=x,n=a=2Cb,r=", "c=,r=,p=")
	f.Add("y,,m=ext,n=,r=x,tokenauth=true", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		e, err := s.Begin(identity.ScramSHA256)
		if err != nil {
			t.Fatal(err)
		}
		_, done, err := e.Step([]byte(first))
		if done || err != nil && !errors.Is(err, ErrRefused) {
			t.Fatalf("done %v, %v", done, err)
		}
		if _, done, err := e.Step([]byte(second)); done || !errors.Is(err, ErrRefused) {
			t.Fatalf("nobody knows the password: done %v, %v", done, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"credentials":{"SCRAM-SHA-256":{"iterations":4096,"salt":"YQ==","sealed":"YQ=="}}}`))
	f.Fuzz(func(_ *testing.T, value []byte) {
		r, err := decodeRecord(value)
		if err != nil {
			return
		}
		for m, c := range r.Credentials {
			_, _ = open(box{}, c, m, "key")
		}
	})
}
