package quota_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/express/quota"
)

// bench is a Manager under a clock that the test moves.
type bench struct {
	clock   *clock.Manual
	manager *quota.Manager
	table   atomic.Pointer[quota.Table]
}

func newBench(entities map[quota.Entity]quota.Values) *bench {
	b := &bench{clock: clock.NewManual(time.Unix(1_700_000_000, 0))}
	b.set(entities)
	b.manager = quota.New(b.clock, b.table.Load)
	return b
}

func (b *bench) set(entities map[quota.Entity]quota.Values) { b.table.Store(quota.NewTable(entities)) }

func (b *bench) client(user, id string) *quota.Client {
	c := b.manager.Client()
	c.Identify(user, id)
	return &c
}

func user(name quota.Name) quota.Entity         { return quota.Entity{User: name} }
func clientID(name quota.Name) quota.Entity     { return quota.Entity{ClientID: name} }
func both(u, c quota.Name) quota.Entity         { return quota.Entity{User: u, ClientID: c} }
func address(name quota.Name) quota.Entity      { return quota.Entity{IP: name} }
func only(k quota.Kind, v float64) quota.Values { return quota.Values{k.String(): v} }

func TestTheMostSpecificQuotaCounts(t *testing.T) {
	levels := []quota.Entity{
		both(quota.Exactly("alice"), quota.Exactly("app")),
		both(quota.Exactly("alice"), quota.Default()),
		user(quota.Exactly("alice")),
		both(quota.Default(), quota.Exactly("app")),
		both(quota.Default(), quota.Default()),
		user(quota.Default()),
		clientID(quota.Exactly("app")),
		clientID(quota.Default()),
	}
	entities := map[quota.Entity]quota.Values{
		user(quota.Exactly("bob")):                           only(quota.Produce, 7),
		clientID(quota.Exactly("other")):                     only(quota.Produce, 8),
		both(quota.Exactly("bob"), quota.Exactly("app")):     only(quota.Produce, 9),
		both(quota.Exactly("alice"), quota.Exactly("other")): only(quota.Produce, 10),
	}
	b := newBench(entities)
	if c := b.client("alice", "app"); c.Limited(quota.Produce) {
		t.Fatal("a quota of somebody else counts")
	}
	for i := len(levels) - 1; i >= 0; i-- {
		entities[levels[i]] = quota.Values{quota.Produce.String(): float64(100 + i), quota.Fetch.String(): 1}
		b.set(entities)
		if got, want := b.client("alice", "app").Most(quota.Produce), 10*(100+i); got != want {
			t.Errorf("with level %d set at most %d bytes at once, want %d", i, got, want)
		}
	}
}

func TestEmptyClientIDHasOnlyQuotasOfUsers(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{
		both(quota.Exactly("alice"), quota.Default()): only(quota.Produce, 1),
		clientID(quota.Default()):                     only(quota.Produce, 2),
		user(quota.Default()):                         only(quota.Produce, 3),
	})
	if got := b.client("alice", "").Most(quota.Produce); got != 30 {
		t.Errorf("at most %d bytes at once, want 30", got)
	}
}

func TestAccountsAreSharedAsTheQuotaSays(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{
		user(quota.Exactly("alice")): only(quota.Produce, 100),
		user(quota.Default()):        only(quota.Produce, 100),
		clientID(quota.Default()):    only(quota.Fetch, 100),
	})
	for _, c := range []struct {
		name          string
		kind          quota.Kind
		first, second *quota.Client
		shared        bool
	}{
		{"two clients of a user", quota.Produce, b.client("alice", "a"), b.client("alice", "b"), true},
		{"two users by default", quota.Produce, b.client("bob", "a"), b.client("carol", "a"), false},
		{"two users of a client id", quota.Fetch, b.client("bob", "x"), b.client("carol", "x"), true},
		{"two client ids", quota.Fetch, b.client("bob", "y"), b.client("bob", "z"), false},
	} {
		if wait := c.first.Record(c.kind, 1000); wait != 0 {
			t.Errorf("%s: the first waits %v", c.name, wait)
		}
		if wait := c.second.Record(c.kind, 1000); wait > 0 != c.shared {
			t.Errorf("%s: the second waits %v", c.name, wait)
		}
	}
}

func TestSpikeIsSpreadOverTheWindow(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{clientID(quota.Exactly("app")): only(quota.Produce, 500)})
	c := b.client("alice", "app")
	for range 10 {
		if wait := c.Record(quota.Produce, 400); wait != 0 {
			t.Fatalf("below the quota, and it waits %v", wait)
		}
		b.clock.Advance(time.Second)
	}
	b.clock.Advance(500 * time.Millisecond)
	// 10 × 400 + 2300 in 10.5 s are 600 per second; a fifth too much of 10.5 s.
	if wait := c.Record(quota.Produce, 2300); wait != 2100*time.Millisecond {
		t.Errorf("waits %v, want 2.1s", wait)
	}
	if times, millis := b.manager.Throttled(quota.Produce); times != 1 || millis != 2100 {
		t.Errorf("counted %d waits of %d ms", times, millis)
	}
	b.clock.Advance(12 * time.Second)
	if wait := c.Record(quota.Produce, 5000); wait != 0 {
		t.Errorf("after the windows have gone it waits %v", wait)
	}
}

func TestRequestTimeWaitsAtMostAWindow(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{user(quota.Exactly("alice")): only(quota.Request, 1)})
	c := b.client("alice", "app")
	if wait := c.Record(quota.Request, 10_000); wait != time.Second {
		t.Errorf("waits %v, want a second", wait)
	}
}

func TestChangedQuotaCountsAtOnce(t *testing.T) {
	b := newBench(nil)
	c := b.client("alice", "app")
	if wait := c.Record(quota.Produce, 1e9); wait != 0 {
		t.Fatalf("without a quota it waits %v", wait)
	}
	b.set(map[quota.Entity]quota.Values{user(quota.Exactly("alice")): only(quota.Produce, 100)})
	c.Identify("alice", "app")
	if wait := c.Record(quota.Produce, 2000); wait != 10*time.Second {
		t.Errorf("waits %v, want 10s", wait)
	}
	b.set(map[quota.Entity]quota.Values{user(quota.Exactly("alice")): only(quota.Produce, 200)})
	c.Identify("alice", "app")
	if wait := c.Record(quota.Produce, 0); wait != 0 {
		t.Errorf("with twice the quota it waits %v", wait)
	}
}

func TestOfferIsTakenBackUnlessItWouldNeverPass(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{user(quota.Exactly("alice")): only(quota.Fetch, 100)})
	c := b.client("alice", "app")
	if wait, withheld := c.Offer(quota.Fetch, 900); wait != 0 || withheld {
		t.Fatalf("below the quota: wait %v, withheld %t", wait, withheld)
	}
	for range 3 { // each time as if it were the first
		if wait, withheld := c.Offer(quota.Fetch, 200); wait != time.Second || !withheld {
			t.Fatalf("above the quota: wait %v, withheld %t", wait, withheld)
		}
	}
	b.clock.Advance(12 * time.Second)
	if wait, withheld := c.Offer(quota.Fetch, 5000); wait != 40*time.Second || withheld {
		t.Errorf("a large batch after a rest: wait %v, withheld %t", wait, withheld)
	}
}

func TestStrictMutationsAreRefusedWhenOverdrawn(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{user(quota.Exactly("alice")): only(quota.Mutation, 5)})
	strict, permissive := b.client("alice", "a"), b.client("alice", "b")
	if wait, ok := strict.Mutate(56, true); wait != 0 || !ok {
		t.Fatalf("a full bucket overdrawn: wait %v, ok %t", wait, ok)
	}
	if wait, ok := strict.Mutate(1, true); wait != 200*time.Millisecond || ok {
		t.Fatalf("an overdrawn bucket: wait %v, ok %t", wait, ok)
	}
	if wait, ok := permissive.Mutate(4, false); wait != time.Second || !ok {
		t.Fatalf("a permissive client: wait %v, ok %t", wait, ok)
	}
	b.clock.Advance(time.Second)
	if wait, ok := strict.Mutate(1, true); wait != 0 || !ok {
		t.Errorf("after the wait: wait %v, ok %t", wait, ok)
	}
}

func TestConnectionsOfAnAddress(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{
		address(quota.Exactly("10.0.0.1")): only(quota.Connections, 2),
		address(quota.Default()):           only(quota.Connections, 1),
	})
	for _, c := range []struct {
		ip   string
		most int
	}{{"10.0.0.1", 20}, {"10.0.0.2", 10}, {"10.0.0.3", 10}} {
		ip := netip.MustParseAddr(c.ip)
		for i := range c.most {
			if wait := b.manager.Connect(ip); wait != 0 {
				t.Fatalf("%s: connection %d of %d waits %v", c.ip, i+1, c.most, wait)
			}
		}
		for range 2 {
			if wait := b.manager.Connect(ip); wait != 500*time.Millisecond && c.most == 20 || wait != time.Second && c.most == 10 {
				t.Errorf("%s: a connection too many waits %v", c.ip, wait)
			}
		}
	}
}

func TestAccountsAreBoundedAndIdleOnesGo(t *testing.T) {
	const most = 16_384
	b := newBench(map[quota.Entity]quota.Values{clientID(quota.Default()): only(quota.Produce, 10)})
	old := b.client("alice", "old")
	old.Record(quota.Produce, 100)
	for i := range 2 * most {
		b.client("alice", fmt.Sprint(i)).Record(quota.Produce, 1)
	}
	if n := b.manager.Accounts(); n > most {
		t.Fatalf("%d accounts, at most %d", n, most)
	}
	if wait := b.client("alice", "newcomer").Record(quota.Produce, 0); wait == 0 {
		t.Error("those without an account of their own are not held to the quota")
	}
	b.clock.Advance(12 * time.Second)
	late := b.client("alice", "late")
	if n := b.manager.Accounts(); n != 1 {
		t.Errorf("%d accounts after all were idle, want the newcomer's", n)
	}
	if wait := late.Record(quota.Produce, 100); wait != 0 {
		t.Errorf("a newcomer with an account of its own waits %v", wait)
	}
	// The connection still holds the account that was dropped: it must not have a second one beside the new.
	old.Record(quota.Produce, 100)
	if wait := b.client("bob", "old").Record(quota.Produce, 10); wait != time.Second {
		t.Errorf("a second connection of the client waits %v, want 1s", wait)
	}
}

// Q1, with any sequence of recordings of up to a second's worth by a client that waits as it is told.
func TestAWaitingClientKeepsToItsQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := float64(rapid.IntRange(1, 10_000).Draw(t, "limit"))
		b := newBench(map[quota.Entity]quota.Values{clientID(quota.Default()): only(quota.Produce, limit)})
		c := b.client("alice", "app")
		type event struct {
			at    time.Time
			value float64
		}
		var events []event
		largest := 0.0
		for range rapid.IntRange(1, 80).Draw(t, "recordings") {
			value := float64(rapid.IntRange(0, int(limit)).Draw(t, "value"))
			largest = max(largest, value)
			events = append(events, event{b.clock.Now(), value})
			b.clock.Advance(c.Record(quota.Produce, value))
			b.clock.Advance(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
		}
		for i := range events {
			sum := 0.0
			for _, e := range events[i:] {
				sum += e.value
				seconds := e.at.Sub(events[i].at).Seconds()
				if most := limit*(seconds+11) + largest + limit/100; sum > most {
					t.Fatalf("%v in %v s, at most %v", sum, seconds, most)
				}
			}
		}
	})
}

func TestKeysOfEntitiesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := func(label string) *string {
			if rapid.Bool().Draw(t, label+" default") {
				return nil
			}
			s := rapid.StringN(1, 20, -1).Draw(t, label)
			return &s
		}
		var parts []quota.Part
		if rapid.Bool().Draw(t, "has user") {
			parts = append(parts, quota.Part{Type: quota.TypeUser, Name: name("user")})
		}
		if len(parts) == 0 || rapid.Bool().Draw(t, "has client") {
			parts = append(parts, quota.Part{Type: quota.TypeClientID, Name: name("client")})
		}
		e, err := quota.NewEntity(parts)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := quota.ParseKey(e.Key()); err != nil || back != e {
			t.Fatalf("%q gives %+v, %v; want %+v", e.Key(), back, err, e)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("user=alice,client-id")
	f.Add("ip=::1")
	f.Add("user=%2C")
	f.Fuzz(func(t *testing.T, key string) {
		e, err := quota.ParseKey(key)
		if err != nil {
			if !errors.Is(err, quota.ErrInvalid) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if back, err := quota.ParseKey(e.Key()); err != nil || back != e {
			t.Fatalf("%q gives %+v, %v; want %+v", e.Key(), back, err, e)
		}
	})
}

func TestRecordingAllocatesNothing(t *testing.T) {
	b := newBench(map[quota.Entity]quota.Values{clientID(quota.Default()): only(quota.Produce, 1e12)})
	c := b.client("alice", "app")
	if n := testing.AllocsPerRun(100, func() {
		c.Identify("alice", "app")
		c.Record(quota.Produce, 100)
		b.clock.Advance(time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, limited := range []bool{false, true} {
		b.Run(fmt.Sprintf("limited=%t", limited), func(b *testing.B) {
			entities := map[quota.Entity]quota.Values{}
			if limited {
				entities[clientID(quota.Default())] = only(quota.Produce, 1e15)
			}
			table := quota.NewTable(entities)
			m := quota.New(clock.System{}, func() *quota.Table { return table })
			c := m.Client()
			b.ReportAllocs()
			for b.Loop() {
				c.Identify("alice", "app")
				c.Record(quota.Produce, 100)
			}
		})
	}
}
