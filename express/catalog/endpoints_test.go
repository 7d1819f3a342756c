package catalog

import (
	"strings"
	"testing"
	"testing/synctest"
)

// shows waits until the view has something.
func shows(t *testing.T, c *Catalog, ok func() bool) {
	t.Helper()
	for {
		c.mu.RLock()
		changed := c.changed
		c.mu.RUnlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the view does not show it")
		}
	}
}

// TestEndpoints says which listeners a record names, and that those of brokers which name none are read as the one that they have.
func TestEndpoints(t *testing.T) {
	synctest.Test(t, endpoints)
}

func endpoints(t *testing.T) {
	store := newMemory(t)
	old := self(1, 10)
	c := start(t, store, old)
	item, err := store.Get(t.Context(), c.brokerKey(1))
	if err != nil || strings.Contains(string(item.Value), "endpoints") {
		t.Errorf("a broker with one listener says more than it did: %s, %v", item.Value, err)
	}
	seen := func(id int32) Broker {
		t.Helper()
		for _, b := range c.Brokers() {
			if b.ID == id {
				return b
			}
		}
		t.Fatalf("broker %d is not there", id)
		return Broker{}
	}
	if e, ok := seen(1).At(Client); !ok || e.Host != "host1" || e.Port != 9092 {
		t.Errorf("at %+v, %v", e, ok)
	}
	if e, ok := seen(1).At(Internal); ok {
		t.Errorf("it has no internal listener: %+v", e)
	}
	private := Endpoint{Listener: "CLIENT_IAM_VPCE_x", Host: "h", Port: 14001}
	if err := c.SetPrivate(t.Context(), []Endpoint{private}); err != nil {
		t.Fatal(err)
	}
	shows(t, c, func() bool { e, ok := seen(1).At(private.Listener); return ok && e == private })
	if e, ok := seen(1).At(Client); !ok || e.Port != 9092 {
		t.Errorf("beside a private one: %+v, %v", e, ok)
	}
	if err := c.SetDraining(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, ok := seen(1).At(private.Listener); !ok || !seen(1).Draining {
		t.Errorf("a registration that drains: %+v", seen(1))
	}
	if err := c.SetPrivate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	shows(t, c, func() bool { return len(seen(1).Endpoints) == 0 })
	second := self(2, 20)
	second.Endpoints = []Endpoint{{Listener: "CLIENT_IAM", Host: "host2", Port: 9098}, {Listener: Internal, Host: "host2", Port: 9095}}
	start(t, store, second)
	shows(t, c, func() bool { return len(c.Brokers()) == 2 })
	if e, ok := seen(2).At(Internal); !ok || e.Port != 9095 {
		t.Errorf("internal: %+v, %v", e, ok)
	}
	if e, ok := seen(2).At(Client); ok {
		t.Errorf("a broker without PLAINTEXT has it: %+v", e)
	}
}
