package controller

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/express/catalog"
	"millrace/kafka/topic"
)

// broker is one running broker: its catalog and its controller, and an owner that follows orders.
type broker struct {
	catalog *catalog.Catalog
	stop    func()
}

// start runs a broker until the test ends or stop is called. An owner that follows releases what it is
// ordered to, as soon as it hears of it.
func start(t *testing.T, store kv.KV, id int32, follows bool) *broker {
	t.Helper()
	return startWith(t, store, id, follows, catalog.LogFile)
}

// startWith is start for a cluster with another kind of log.
func startWith(t *testing.T, store kv.KV, id int32, follows bool, kind catalog.LogKind) *broker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := catalog.Open(t.Context(), catalog.Config{Prefix: "c/", Self: catalog.Broker{ID: id, Incarnation: uint64(time.Now().UnixNano())}, Log: kind},
		catalog.World{KV: store, Clock: clock.System{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- c.Run(ctx) }()
	go func() {
		ended <- New(Config{Takes: kind == catalog.LogObject}, World{Cluster: c, Clock: clock.System{}, Log: log}).Run(ctx)
	}()
	go func() { ended <- own(ctx, c, follows) }()
	if err := c.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := &broker{catalog: c}
	b.stop = func() {
		if err := c.Deregister(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		cancel()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		b.stop = func() {}
	}
	t.Cleanup(func() { b.stop() })
	return b
}

// own is an owner of partitions without records.
func own(ctx context.Context, c *catalog.Catalog, follows bool) error {
	for ctx.Err() == nil && follows {
		changed := c.Changed()
		for _, t := range c.Topics() {
			for i, p := range t.Partitions {
				for _, b := range c.Brokers() {
					if p.Owner == c.Self().ID && p.To == b.ID {
						_ = c.Release(ctx, topic.Partition{Topic: t.ID, Index: int32(i)}, p.Epoch, b, "") // or at the next change
					}
				}
			}
		}
		wait(ctx, time.Hour, changed)
	}
	return nil
}

// counts gives the partitions by owner once things have calmed down.
func counts(c *catalog.Catalog) map[int32]int {
	time.Sleep(time.Minute) // fake time
	synctest.Wait()
	return counted(c)
}

// counted gives the partitions by owner now.
func counted(c *catalog.Catalog) map[int32]int {
	n := make(map[int32]int)
	for _, t := range c.Topics() {
		for _, p := range t.Partitions {
			n[p.Owner]++
		}
	}
	return n
}

func newStore(t *testing.T) *kv.Memory {
	t.Helper()
	store := kv.NewMemory()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// controllers counts the brokers that hold the office.
func controllers(brokers ...*broker) (n int) {
	for _, b := range brokers {
		if b.catalog.IsController() {
			n++
		}
	}
	return n
}

func TestBrokersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		first := start(t, store, 1, true)
		if _, err := first.catalog.CreateTopic(t.Context(), catalog.NewTopic{Name: "orders", Partitions: 300, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		if n := counts(first.catalog); n[1] != 300 || controllers(first) != 1 {
			t.Fatalf("alone: %v, %d controllers", n, controllers(first))
		}
		second, third := start(t, store, 2, true), start(t, store, 3, true)
		if n := counts(second.catalog); n[1] != 100 || n[2] != 100 || n[3] != 100 {
			t.Errorf("joined: %v", n)
		}
		if n := controllers(first, second, third); n != 1 || second.catalog.Controller() != 1 {
			t.Errorf("%d controllers, %d says the view", n, second.catalog.Controller())
		}
		if err := first.catalog.SetDraining(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if n := counts(second.catalog); n[1] != 0 || n[2] != 150 || n[3] != 150 {
			t.Errorf("drained: %v", n)
		}
		first.stop()
		if n := counts(second.catalog); n[1] != 0 || controllers(second, third) != 1 {
			t.Errorf("gone: %v, %d controllers", n, controllers(second, third))
		}
		if at := third.catalog.Controller(); at != 2 && at != 3 {
			t.Errorf("controller %d", at)
		}
		again := start(t, store, 1, true)
		if n := counts(third.catalog); n[1] != 100 || n[2] != 100 || n[3] != 100 {
			t.Errorf("back: %v", n)
		}
		if n := controllers(again, second, third); n != 1 {
			t.Errorf("%d controllers", n)
		}
	})
}

// Orders that nobody follows are withdrawn when the broker that they point to goes, and a store that is away is waited for.
func TestOrdersAreWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		first := start(t, store, 1, false)
		tp, err := first.catalog.CreateTopic(t.Context(), catalog.NewTopic{Name: "orders", Partitions: 9, ReplicationFactor: 1})
		if err != nil {
			t.Fatal(err)
		}
		second := start(t, store, 2, false)
		counts(first.catalog)
		ordered := func() (n int) {
			now, _ := first.catalog.TopicByID(tp.ID)
			for _, p := range now.Partitions {
				if p.To == 2 {
					n++
				}
			}
			return n
		}
		if n := ordered(); n != 4 {
			t.Errorf("%d of 9 ordered to the second", n)
		}
		store.SetAway(true)
		counts(first.catalog)
		store.SetAway(false)
		counts(first.catalog)
		if n := ordered(); n != 4 || controllers(first, second) != 1 {
			t.Errorf("%d ordered, %d controllers after the store was away", n, controllers(first, second))
		}
		second.stop()
		if counts(first.catalog); ordered() != 0 {
			t.Error("orders to a broker that is gone")
		}
	})
}

// slow is a store that takes two seconds for a batch of orders.
type slow struct{ kv.KV }

func (s slow) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if len(then) > 1 {
		time.Sleep(2 * time.Second) // fake time
	}
	return s.KV.Txn(ctx, cond, then)
}

// What the store takes for orders is no reason to rest between them: who drains waits for the next.
func TestASlowStoreDoesNotSlowDownThePlans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		first := start(t, slow{store}, 1, true)
		if _, err := first.catalog.CreateTopic(t.Context(), catalog.NewTopic{Name: "orders", Partitions: 1000, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		counts(first.catalog)
		second := start(t, store, 2, true)
		if n := counts(second.catalog); n[1] != 500 || n[2] != 500 { // 500 orders take 12 s of the minute
			t.Errorf("after a minute: %v", n)
		}
	})
}
