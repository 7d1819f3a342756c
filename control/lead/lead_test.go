package lead_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control/lead"
	"millrace/engine"
)

const key = "control/plane"

// member is one process that leads when it can.
type member struct {
	stores chan kv.KV // that do was given
	ended  chan error // what Run returned
	leave  context.CancelFunc
}

// join starts a process that, while it leads, does nothing but hold the store that it was given.
func join(t *testing.T, store kv.KV, name string) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{stores: make(chan kv.KV, 8), ended: make(chan error, 1), leave: cancel}
	go func() {
		l := lead.Leader{Key: key, Host: engine.Host{Name: name, Holder: name}}
		m.ended <- lead.Run(ctx, l, lead.World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)},
			func(ctx context.Context, fenced kv.KV) error {
				m.stores <- fenced
				<-ctx.Done()
				return nil
			})
	}()
	synctest.Wait()
	return m
}

func (m *member) end(t *testing.T) {
	t.Helper()
	m.leave()
	if err := <-m.ended; err != nil {
		t.Error(err)
	}
}

// leads is the store that a member was given since it was asked last; nil: it does not lead.
func (m *member) leads() kv.KV {
	select {
	case s := <-m.stores:
		return s
	default:
		return nil
	}
}

func put(t *testing.T, store kv.KV, k, v string, cond ...kv.Cond) error {
	t.Helper()
	_, err := store.Txn(t.Context(), cond, []kv.Op{kv.Put(k, []byte(v))})
	return err
}

func bubble(t *testing.T, do func(t *testing.T, store kv.KV)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		do(t, store)
		synctest.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Invariant 4: what the former leader still writes when another leads is not applied, and it is told to stop.
func TestWritesOfAFormerLeader(t *testing.T) {
	bubble(t, func(t *testing.T, store kv.KV) {
		one := join(t, store, "one")
		defer one.end(t)
		former := one.leads()
		if err := put(t, former, "a", "1"); err != nil {
			t.Fatal(err)
		}
		// The store gives the key to another while the one thinks that it leads: it was stopped past its lease.
		b, err := engine.Encode(engine.Host{Format: engine.First, Name: "two", Holder: "two"})
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t, store, key, string(b)); err != nil {
			t.Fatal(err)
		}
		if err := put(t, former, "a", "2"); !errors.Is(err, lead.ErrLost) || errors.Is(err, kv.ErrConflict) {
			t.Errorf("a write of the former leader: %v", err)
		}
		if item, err := store.Get(t.Context(), "a"); err != nil || string(item.Value) != "1" {
			t.Errorf("%s, %v", item.Value, err)
		}
		synctest.Wait()
		if again := one.leads(); again != nil {
			t.Error("it leads again while another has the key")
		}
		if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Delete(key)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		again := one.leads()
		if again == nil {
			t.Fatal("it does not lead when the key is free")
		}
		if err := put(t, former, "a", "3"); !errors.Is(err, lead.ErrLost) {
			t.Errorf("a write of what it began when it led before: %v", err)
		}
		if err := put(t, again, "a", "4"); err != nil {
			t.Error(err)
		}
	})
}

// A condition of the caller's own that does not hold is the caller's conflict.
func TestConflictsOfALeader(t *testing.T) {
	bubble(t, func(t *testing.T, store kv.KV) {
		one := join(t, store, "one")
		defer one.end(t)
		fenced := one.leads()
		if err := put(t, fenced, "a", "1", kv.KeyExists("a")); !errors.Is(err, kv.ErrConflict) || errors.Is(err, lead.ErrLost) {
			t.Errorf("a condition that does not hold: %v", err)
		}
		if err := put(t, fenced, "a", "1", kv.KeyMissing("a")); err != nil {
			t.Error(err)
		}
	})
}

// Who stops gives the key to the next one at once; nobody leads beside another.
func TestOneLeadsAfterTheOther(t *testing.T) {
	bubble(t, func(t *testing.T, store kv.KV) {
		one, two := join(t, store, "one"), join(t, store, "two")
		if one.leads() == nil || two.leads() != nil {
			t.Error("not the first one leads")
		}
		one.end(t)
		synctest.Wait()
		if two.leads() == nil {
			t.Error("the second one does not lead when the first has ended")
		}
		two.end(t)
		if _, err := store.Get(t.Context(), key); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("the key when all have ended: %v", err)
		}
	})
}
