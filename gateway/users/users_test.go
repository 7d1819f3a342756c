package users

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/kv"
	"millrace/kafka/kerr"
	"millrace/secure/identity"
	"millrace/secure/scram"
)

func openStore(t *testing.T, store kv.KV) *scram.Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := scram.OpenStore(ctx, scram.Config{Prefix: "c/"},
		scram.World{KV: store, Random: func(b []byte) { _, _ = rand.Read(b) }, Log: slog.New(slog.DiscardHandler)})
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

// ask has a request answered, and returns the answer as one that has come over the wire.
func ask[R kmsg.Response](t *testing.T, s *scram.Store, req kmsg.Request) R {
	t.Helper()
	own := Own(s)[req.Key()]
	if own == nil {
		t.Fatalf("nobody answers %s", kmsg.NameForKey(req.Key()))
	}
	resp, err := own(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	out := req.ResponseKind()
	if err := out.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	return out.(R)
}

func alter(names ...string) *kmsg.AlterUserSCRAMCredentialsRequest {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, name := range names {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, 2, 5000, []byte("salty"), []byte("hush-hush")
		req.Upsertions = append(req.Upsertions, u)
	}
	return req
}

func codes(resp *kmsg.AlterUserSCRAMCredentialsResponse) string {
	var all []string
	for _, r := range resp.Results {
		all = append(all, fmt.Sprintf("%s %s", r.User, kerr.Code(r.ErrorCode).Name()))
	}
	return strings.Join(all, ", ")
}

// TestChangesShow: what is altered is described, without key or salt (U1), and what is deleted is not.
func TestChangesShow(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	if resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](t, s, alter("alice", "bob")); codes(resp) != "alice NONE, bob NONE" {
		t.Fatal(codes(resp))
	}
	if got := s.Describe("alice"); len(got) != 1 || got[0].Mechanism != identity.ScramSHA512 || got[0].Iterations != 5000 {
		t.Errorf("%+v", got)
	}
	told := ask[*kmsg.DescribeUserSCRAMCredentialsResponse](t, s, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest())
	if len(told.Results) != 2 {
		t.Errorf("%+v", told)
	}
	if text := string(told.AppendTo(nil)); strings.Contains(text, "salty") || strings.Contains(text, "hush") {
		t.Errorf("the answer tells %q", text)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "alice", Mechanism: 2}, {Name: "nobody", Mechanism: 2}}
	if resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](t, s, req); codes(resp) != "alice NONE, nobody RESOURCE_NOT_FOUND" {
		t.Error(codes(resp))
	}
	if got := fmt.Sprint(s.Users()); got != "[bob]" {
		t.Errorf("left: %s", got)
	}
}

// TestNamedTwice: a user that a request names twice is not changed, and the others are (U2).
func TestNamedTwice(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](t, s, alter("alice", "bob", "alice"))
	if got := codes(resp); got != "alice DUPLICATE_RESOURCE, bob NONE" {
		t.Error(got)
	}
	if got := fmt.Sprint(s.Users()); got != "[bob]" {
		t.Errorf("there are %s", got)
	}
}

// TestStoreFails: what could not be written has an error, which tells nothing of what it was (U1).
func TestStoreFails(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	req := alter("alice")
	resp, err := Own(s)[req.Key()](gone, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := codes(resp.(*kmsg.AlterUserSCRAMCredentialsResponse)); got != "alice REQUEST_TIMED_OUT" {
		t.Error(got)
	}
	if text := string(resp.AppendTo(nil)); strings.Contains(text, "salty") || strings.Contains(text, "hush") {
		t.Errorf("the answer tells %q", text)
	}
	if len(s.Users()) > 0 {
		t.Errorf("there are %v", s.Users())
	}
}
