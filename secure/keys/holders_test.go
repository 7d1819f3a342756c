package keys

import (
	"context"
	"errors"
	"strings"
	"testing"

	"millrace/base/kv"
)

func holding(who string) World {
	w := testWorld()
	w.Holder = who
	return w
}

// announced are those who have a Ring, by etcd.
func announced(t *testing.T, store kv.KV) []kv.Item {
	t.Helper()
	items, _, err := store.List(t.Context(), holderPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// TestRotateAfterMove: after a move to another KMS no data key is made while somebody has a Ring by the former one, also when etcd had lost
// sight of them; a rewrap by the same KMS stands in nobody's way (Y8).
func TestRotateAfterMove(t *testing.T) {
	store, older, newer := kv.NewMemory(), newKeyring(t), renamed{newKeyring(t)}
	t.Cleanup(func() { _ = store.Close() })
	broker := openRing(t, store, "secrets", older, holding("broker 1 of c"))
	if _, err := Rewrap(t.Context(), store, older, older); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Rotate(t.Context()); err != nil {
		t.Fatalf("after a rewrap by the same: %v", err)
	}
	if n, err := Rewrap(t.Context(), store, older, newer); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	serve := openRing(t, store, "secrets", newer, holding("serve on h"))
	refused := func() {
		t.Helper()
		_, err := serve.Rotate(t.Context())
		if !errors.Is(err, ErrHeldBefore) || !strings.Contains(err.Error(), ": broker 1 of c; ") {
			t.Fatalf("while a broker has the KMS of before: %v", err)
		}
	}
	refused()
	for _, item := range announced(t, store) {
		store.ExpireLease(item.Lease)
	}
	waitFor(t, store, 2)
	refused() // it says since when it has its keys, not when it came back
	if keys := serve.Keys(); len(keys) != 2 {
		t.Errorf("made all the same: %v", keys)
	}
	// One that was killed says nothing when it ends: its successor takes its place at once. Should it live all the same, it does not come back.
	killed := announced(t, store)[0]
	again := openRing(t, store, "secrets", newer, holding("broker 1 of c"))
	store.ExpireLease(killed.Lease)
	broker.Close()
	if items := announced(t, store); len(items) != 2 {
		t.Errorf("%d announced after one was replaced", len(items))
	}
	broker = again
	id, err := serve.Rotate(t.Context())
	if err != nil || id != 3 {
		t.Fatal(id, err)
	}
	waitLearned(broker, func() bool { return broker.Newest() == 3 })
}

// renamed is a KMS by another name.
type renamed struct{ KMS }

func (r renamed) Name() string { return r.KMS.Name() + "-of-now" }

// waitFor waits until so many are announced.
func waitFor(t *testing.T, store kv.KV, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := store.Watch(ctx, holderPrefix, 1)
	for len(announced(t, store)) != n {
		if _, ok := <-changes; !ok {
			t.Fatal("the watch ended")
		}
	}
}

// moving is a store where the KMS changes between two steps of a rotation.
type moving struct {
	kv.KV
	move func()
}

func (m *moving) List(ctx context.Context, prefix string) ([]kv.Item, int64, error) {
	items, rev, err := m.KV.List(ctx, prefix)
	if prefix == holderPrefix && m.move != nil {
		move := m.move
		m.move = nil
		move()
	}
	return items, rev, err
}

// TestMoveDuringRotate: a move between a rotation's look and its write makes it fail, and no key is wrapped by the KMS of before.
func TestMoveDuringRotate(t *testing.T) {
	memory, older, newer := kv.NewMemory(), newKeyring(t), renamed{newKeyring(t)}
	t.Cleanup(func() { _ = memory.Close() })
	store := &moving{KV: memory}
	first := openRing(t, store, "secrets", newer, testWorld())
	if _, err := Rewrap(t.Context(), memory, newer, older); err != nil { // so that there was a move before
		t.Fatal(err)
	}
	first.Close()
	r := openRing(t, store, "secrets", older, holding("serve on h"))
	store.move = func() {
		if _, err := Rewrap(t.Context(), memory, older, newer); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Rotate(t.Context()); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("rotated: %v", err)
	}
	if all, err := List(t.Context(), memory); err != nil || len(all) != 1 || all[0].KMS != newer.Name() {
		t.Errorf("%+v, %v", all, err)
	}
}
