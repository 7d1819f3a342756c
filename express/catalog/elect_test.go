package catalog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/kv"
	"millrace/kafka/topic"
)

func campaign(t *testing.T, c *Catalog) {
	t.Helper()
	if err := c.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// C9: one process holds the office, and it ends with its registration.
func TestOneControllerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		want := func(when string, id int32, holder *Catalog) {
			t.Helper()
			synctest.Wait()
			for _, c := range []*Catalog{a, b} {
				if c.Controller() != id || c.IsController() != (c == holder) {
					t.Errorf("%s: broker %d says %d, is %v", when, c.Self().ID, c.Controller(), c.IsController())
				}
			}
		}
		want("before an election", 1, nil)
		lonely := open(t, store, self(3, 1))
		campaign(t, lonely) // not registered
		want("without a registration", 1, nil)
		campaign(t, b)
		campaign(t, a)
		want("elected", 2, b)
		if err := b.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		want("withdrawn", 1, nil)
		campaign(t, b)
		want("withdrawn and asked", 1, nil)
		campaign(t, a)
		want("elected again", 1, a)
		a.reg.mu.Lock()
		lease := a.reg.lease
		a.reg.mu.Unlock()
		store.mem.ExpireLease(lease.ID())
		<-lease.Done()
		want("lease lost", 1, nil)
		if err := a.SetDraining(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		campaign(t, a)
		want("draining", 1, nil)
		if err := a.SetDraining(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		campaign(t, a)
		want("registered again", 1, a)
	})
}

func TestCampaignsAtOnceElectOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		store.fail(func([]kv.Op) error {
			store.fail(nil)
			campaign(t, b)
			return nil
		})
		campaign(t, a)
		synctest.Wait()
		if a.IsController() || !b.IsController() || a.Controller() != 2 {
			t.Errorf("%v, %v, %d", a.IsController(), b.IsController(), a.Controller())
		}
	})
}

// C9: a broker that was killed takes up the office again without waiting for the lease of its dead process.
func TestRestartedControllerTakesTheOfficeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		old := open(t, store, self(1, 1))
		if err := old.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		campaign(t, old)
		other := start(t, store, self(2, 1))
		young := start(t, store, self(1, 2))
		if young.IsController() || young.Controller() != 1 {
			t.Errorf("before: %v, %d", young.IsController(), young.Controller())
		}
		campaign(t, other)
		campaign(t, young)
		synctest.Wait()
		if !young.IsController() || other.IsController() || other.Controller() != 1 {
			t.Errorf("%v, %v, %d", young.IsController(), other.IsController(), other.Controller())
		}
	})
}

// C8: draining outlasts a lost lease, and is over when it is taken back.
func TestDrainingStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), open(t, store, self(2, 1))
		if err := b.SetDraining(t.Context(), true); err != nil { // before it is registered
			t.Fatal(err)
		}
		if err := b.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, b)
		draining := func() bool {
			synctest.Wait()
			at := slices.IndexFunc(a.Brokers(), func(b Broker) bool { return b.ID == 2 })
			return at >= 0 && a.Brokers()[at].Draining
		}
		if !draining() {
			t.Error("not draining")
		}
		b.reg.mu.Lock()
		lease := b.reg.lease
		b.reg.mu.Unlock()
		store.mem.ExpireLease(lease.ID())
		<-lease.Done()
		if !draining() {
			t.Error("not draining after a lost lease")
		}
		for range 2 {
			if err := b.SetDraining(t.Context(), false); err != nil || draining() {
				t.Errorf("still draining: %v", err)
			}
		}
		// It holds on to its lease: the record goes with it.
		err := b.Deregister(t.Context())
		synctest.Wait()
		if err != nil || len(a.Brokers()) != 1 {
			t.Errorf("%v, %v", a.Brokers(), err)
		}
	})
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		synctest.Wait()
		tp := create(t, a, "orders", 250)
		synctest.Wait()
		told := 0
		defer b.Subscribe(func(_, _ *Topic) { told++ })()
		var moves []Move
		for i := range tp.Partitions {
			moves = append(moves, Move{ID: topic.Partition{Topic: tp.ID, Index: int32(i)}, From: 1, To: 2})
		}
		moves = append(moves, Move{ID: topic.Partition{Topic: topic.NewID()}, From: 1, To: 2}, Move{ID: topic.Partition{Topic: tp.ID, Index: 999}, From: 1, To: 2})
		check := func(when string, c *Catalog, to int32) {
			t.Helper()
			now, _ := c.Topic("orders")
			for i, p := range now.Partitions {
				if p.Owner == 1 && p.To != to || p.Owner == 2 && p.To != 0 {
					t.Fatalf("%s: partition %d is %+v", when, i, p)
				}
			}
		}
		// Between look and write one partition of the first batch goes: the others are ordered all the same.
		store.fail(func([]kv.Op) error {
			store.fail(nil)
			put(t, store, "partitions/"+tp.ID.String()+"/0", `{"version":1,"owner":2,"epoch":1,"incarnation":1}`)
			return nil
		})
		if err := a.Move(t.Context(), moves); err != nil {
			t.Fatal(err)
		}
		check("ordered", a, 2)
		synctest.Wait()
		check("ordered, at the other broker", b, 2)
		if told < 2 {
			t.Error("subscribers were not told")
		}
		// Withdrawn, with a lost answer.
		for i := range moves {
			moves[i].To = int32(i % 2) // 0, or the owner
		}
		lost := false
		store.fail(func([]kv.Op) error {
			if lost {
				return nil
			}
			lost = true
			return kv.ErrUnknown
		})
		if err := a.Move(t.Context(), moves); err != nil {
			t.Fatal(err)
		}
		check("withdrawn", a, 0)
		store.setAway(true)
		defer store.setAway(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		moves[1].To = 2
		moves[2].To = 2
		if err := a.Move(ctx, moves); !errors.Is(err, ErrUnavailable) {
			t.Errorf("store away: %v", err)
		}
	})
}
