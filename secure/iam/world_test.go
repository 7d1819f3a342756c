package iam

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/identity"
)

// testSealer seals with a key of its own.
type testSealer struct{ gcm cipher.AEAD }

func newSealer(t testing.TB) testSealer {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return testSealer{gcm}
}

func (s testSealer) Seal(plain, context []byte) ([]byte, error) {
	return s.gcm.Seal(nil, nil, plain, context), nil
}

func (s testSealer) Open(sealed, context []byte) ([]byte, error) {
	return s.gcm.Open(nil, nil, sealed, context)
}

// journal is a log that can be read.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// world is an installation with a view and a store.
type world struct {
	kv     *kv.Memory
	sealer testSealer
	clock  *clock.Manual
	log    *journal
	view   *View
	*Store
}

const testCluster = "clusters/demo/"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{kv: kv.NewMemory(), sealer: newSealer(t), clock: clock.NewManual(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)), log: &journal{}}
	t.Cleanup(func() { _ = w.kv.Close() }) // after the view
	w.view = w.newView(t)
	w.Store = NewStore(w.kv, w.sealer, w.clock, w.view)
	if _, err := w.OpenAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, w, func() bool { return w.view.Account() != "" }) // OpenAccount waits for no view
	return w
}

// newView returns a View that follows until the test ends.
func (w *world) newView(t testing.TB) *View {
	t.Helper()
	v := NewView(w.kv, w.sealer, w.clock, slog.New(slog.NewTextHandler(w.log, nil)), ViewConfig{Cluster: testCluster})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("view: %v", err)
		}
	})
	<-v.Ready()
	return v
}

// user makes a user with a key and policies.
func (w *world) user(t testing.TB, name string, tags map[string]string, attached ...string) (NewKey, *identity.IAM) {
	t.Helper()
	if _, err := w.CreateUser(t.Context(), name, tags); err != nil {
		t.Fatal(err)
	}
	for _, p := range attached {
		if err := w.Attach(t.Context(), Owner{Name: name}, p); err != nil {
			t.Fatal(err)
		}
	}
	k, err := w.CreateKey(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k, w.who(t, k.ID, "")
}

func (w *world) who(t testing.TB, id, token string) *identity.IAM {
	t.Helper()
	c, err := w.view.Key(t.Context(), id, token)
	if err != nil {
		t.Fatalf("key %s: %v", id, err)
	}
	return &c.Identity
}

func (w *world) root(t testing.TB) *identity.IAM {
	t.Helper()
	k, err := w.RootKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w.who(t, k.ID, "")
}

func (w *world) allowed(who *identity.IAM, action, resource string) bool {
	ok, _ := w.view.Allowed(who, action, resource, netip.MustParseAddr("127.0.0.1"), true)
	return ok
}
