package users

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/kv"
	"millrace/kafka/kerr"
	"millrace/secure/identity"
	"millrace/secure/scram"
)

func openStore(t *testing.T, store kv.KV) *scram.Store {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := scram.OpenStore(ctx, scram.Config{Prefix: "c/"}, scram.World{KV: store, Random: func(b []byte) { _, _ = rand.Read(b) }, Log: slog.New(slog.DiscardHandler)})
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

func request(users ...string) *kmsg.AlterUserSCRAMCredentialsRequest {
	q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, u := range users {
		p := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		p.Name, p.Mechanism, p.Iterations, p.Salt, p.SaltedPassword = u, 2, 5000, []byte("salt"), []byte("a salted password")
		q.Upsertions = append(q.Upsertions, p)
	}
	return q
}

// What a trail is told of a change has no secret in it.
func TestAlterTellsWhatChanged(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	results := Alter(t.Context(), s, request("alice"), nil)
	if len(results) != 1 || results[0].Err != nil || *results[0].Told != (Told{identity.ScramSHA512, 5000, false}) {
		t.Errorf("%+v", results[0])
	}
	resp := Describe(s, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest())
	if len(resp.Results) != 1 || resp.Results[0].User != "alice" || fmt.Sprint(resp.Results[0].CredentialInfos[0].Iterations) != "5000" {
		t.Errorf("%+v", resp.Results)
	}
}

func TestAlterRefused(t *testing.T) {
	s := openStore(t, kv.NewMemory())
	for _, r := range Alter(t.Context(), s, request("alice", ""), kerr.ClusterAuthorizationFailed) {
		if r.Code != kerr.ClusterAuthorizationFailed {
			t.Errorf("%q: %v", r.User, r.Code.Name())
		}
	}
	for _, r := range Alter(t.Context(), nil, request("alice"), nil) {
		if r.Code != kerr.UnsupportedVersion {
			t.Errorf("without a store: %v", r.Code.Name())
		}
	}
	if len(s.Users()) > 0 {
		t.Errorf("users: %v", s.Users())
	}
}

// A store that cannot be reached says so in time, and a record of a newer version is left alone.
func TestAlterFails(t *testing.T) {
	store := kv.NewMemory()
	s := openStore(t, store)
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put("c/scram/newer", []byte(`{"format":2}`))}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if r := Alter(ctx, s, request("newer"), nil)[0]; r.Code != kerr.UnsupportedVersion || !errors.Is(r.Err, scram.ErrFormat) {
		t.Errorf("newer: %v %v", r.Code.Name(), r.Err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if r := Alter(gone, s, request("alice"), nil)[0]; r.Code != kerr.RequestTimedOut {
		t.Errorf("unreachable: %v %v", r.Code.Name(), r.Err)
	}
}
