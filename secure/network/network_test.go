package network_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/kafka/server"
	"millrace/secure/network"
)

// put writes a record as it is, past the Store.
func put(t testing.TB, store kv.KV, key, value string) {
	t.Helper()
	if _, err := store.Txn(t.Context(), nil, []kv.Op{kv.Put(key, []byte(value))}); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, store kv.KV, cfg network.Config) *network.View {
	t.Helper()
	cfg.Prefix = "clusters/c/"
	v, err := network.Open(t.Context(), cfg, network.World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func way(listener, from string) server.Way {
	return server.Way{Listener: listener, From: netip.MustParseAddr(from), To: netip.MustParseAddr("10.0.0.1")}
}

func group(name string, allow ...string) network.Group {
	g := network.Group{Name: name}
	for _, a := range allow {
		g.Allow = append(g.Allow, netip.MustParsePrefix(a))
	}
	return g
}

// TestFollows is W1 against a plain model: whatever is done in whatever order, who is let in is who the groups of the listener have.
func TestFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		store := kv.NewMemory()
		defer store.Close()
		s := network.NewStore(store, "clusters/c/")
		networks := []string{"10.0.0.0/8", "10.1.0.0/16", "192.168.7.0/24", "2001:db8::/32"}
		froms := []string{"10.1.2.3", "10.9.9.9", "192.168.7.1", "172.16.0.1", "2001:db8::1", "::ffff:10.1.2.3"}
		names, listeners := []string{"a", "b"}, []string{"CLIENT_IAM", "CLIENT_SECURE"}
		groups, guards := map[string][]string{}, map[string][]string{}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "group")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				allow := rapid.SliceOfNDistinct(rapid.SampledFrom(networks), 0, 3, rapid.ID[string]).Draw(t, "allow")
				_, had := groups[name]
				if _, err := s.PutGroup(ctx, group(name, allow...), !had); err != nil {
					t.Fatal(err)
				}
				groups[name] = allow
			case 1:
				listener := rapid.SampledFrom(listeners).Draw(t, "listener")
				by := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 2, rapid.ID[string]).Draw(t, "by")
				_, _, err := s.Edit(ctx, func(n *network.Network) error { n.Guard(listener, by); return nil })
				there := !slices.ContainsFunc(by, func(g string) bool { _, ok := groups[g]; return !ok })
				if there != (err == nil) || err != nil && !errors.Is(err, network.ErrUnknown) {
					t.Fatalf("guard by %v, of %v: %v", by, groups, err)
				}
				if there {
					guards[listener] = by
				}
			case 2:
				err := s.DeleteGroup(ctx, name)
				_, had := groups[name]
				used := slices.Contains(guards[listeners[0]], name) || slices.Contains(guards[listeners[1]], name)
				switch {
				case used != errors.Is(err, network.ErrInUse), !used && had != (err == nil):
					t.Fatalf("delete %s, there %v, used %v: %v", name, had, used, err)
				case err == nil:
					delete(groups, name)
				}
			}
			v, err := network.Open(ctx, network.Config{Prefix: "clusters/c/"}, network.World{KV: store, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range append(listeners, "REPLICATION_SECURE") {
				for _, from := range froms {
					want := len(guards[l]) == 0
					for _, g := range guards[l] {
						for _, p := range groups[g] {
							want = want || netip.MustParsePrefix(p).Contains(netip.MustParseAddr(from).Unmap())
						}
					}
					if err := v.Allowed(way(l, from)); (err == nil) != want || err != nil && !errors.Is(err, network.ErrRefused) {
						t.Fatalf("%s from %s, guards %v of %v: %v, want %v", l, from, guards[l], groups, err, want)
					}
				}
			}
		}
	})
}

// TestUnreadable is W2 and W3.
func TestUnreadable(t *testing.T) {
	for _, damage := range []string{`{`, `{"format":2,"name":"a","allow":["0.0.0.0/0"]}`, `{"name":"a","allow":["0.0.0.0/0"]}`, `{"format":1,"name":"b","allow":["0.0.0.0/0"]}`} {
		store := kv.NewMemory()
		put(t, store, "security/groups/a", damage)
		put(t, store, "clusters/c/network", `{"format":1,"guards":{"CLIENT_IAM":["a","gone"]}}`)
		v := open(t, store, network.Config{})
		if err := v.Allowed(way("CLIENT_IAM", "10.0.0.9")); !errors.Is(err, network.ErrRefused) {
			t.Errorf("group %s: %v", damage, err)
		}
		if err := v.Allowed(way("CLIENT_SECURE", "10.0.0.9")); err != nil {
			t.Errorf("a listener without groups: %v", err)
		}
	}
	for _, damage := range []string{`]`, `{"format":9}`, `{"format":1,"guards":{"REPLICATION_SECURE":["a"]}}`} {
		store := kv.NewMemory()
		put(t, store, "clusters/c/network", damage)
		v := open(t, store, network.Config{})
		if err := v.Allowed(way("CLIENT_IAM", "10.0.0.9")); !errors.Is(err, network.ErrRefused) {
			t.Errorf("network %s: %v", damage, err)
		}
		if err := v.Allowed(way("REPLICATION_SECURE", "10.0.0.9")); err != nil {
			t.Errorf("network %s: a broker is refused: %v", damage, err)
		}
	}
}

func TestInside(t *testing.T) {
	store := kv.NewMemory()
	put(t, store, "security/groups/none", `{"format":1,"name":"none","allow":[]}`)
	put(t, store, "clusters/c/network", `{"format":1,"guards":{"CLIENT":["none"]}}`)
	v := open(t, store, network.Config{Inside: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.2") }})
	for from, want := range map[string]bool{"10.0.0.1": true, "10.0.0.2": true, "10.0.0.3": false} {
		if err := v.Allowed(way("CLIENT", from)); (err == nil) != want {
			t.Errorf("from %s: %v", from, err)
		}
	}
	if err := open(t, store, network.Config{}).Allowed(way("CLIENT", "10.0.0.1")); err == nil {
		t.Error("where there is an internal listener, nobody is inside")
	}
}

// TestConnections is W5.
func TestConnections(t *testing.T) {
	store := kv.NewMemory()
	s := network.NewStore(store, "clusters/c/")
	now := time.Unix(1e9, 0)
	edit := func(change func(*network.Network) error) error {
		_, _, err := s.Edit(t.Context(), change)
		return err
	}
	ask := func(name, listener string, port int) error {
		return edit(func(n *network.Network) error {
			return n.Request(network.Connection{Name: name, Listener: listener, Port: port, By: "somebody"}, now)
		})
	}
	for i := range 6 {
		if err := ask(fmt.Sprintf("c%d", i), "CLIENT_IAM", 0); err != nil {
			t.Fatal(err)
		}
	}
	for err, want := range map[error]error{
		ask("c7", "CLIENT_IAM", 0): network.ErrInvalid, ask("c1", "CLIENT_IAM", 20000): network.ErrExists, ask("c8", "CLIENT_IAM", 14000): network.ErrInvalid,
		ask("c9", "CLIENT", 20000): network.ErrInvalid, ask("c9", "REPLICATION_SECURE", 20000): network.ErrInvalid,
	} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	in := way("CLIENT_IAM_VPCE_c1", "10.0.0.9")
	check := func(when string, want bool) {
		t.Helper()
		v := open(t, store, network.Config{})
		if err := v.Allowed(in); (err == nil) != want || len(v.Active()) > 0 != want {
			t.Errorf("%s: %v, active %v", when, err, v.Active())
		}
	}
	check("requested", false)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(edit(func(n *network.Network) error { return n.Accept("c1", now) }))
	check("accepted", true)
	if err := edit(func(n *network.Network) error { return n.Accept("c1", now) }); !errors.Is(err, network.ErrState) {
		t.Errorf("accepted twice: %v", err)
	}
	must(edit(func(n *network.Network) error { return n.Reject("c1", now) }))
	check("rejected", false)
	must(edit(func(n *network.Network) error { return n.Accept("c1", now) }))
	must(edit(func(n *network.Network) error { return n.Delete("c1") }))
	check("deleted", false)
	must(ask("again", "CLIENT_SECURE", 0))
	n, err := s.Network(t.Context())
	must(err)
	if c, err := n.Connection("again"); err != nil || c.Port != network.FirstPort+network.PortsEach {
		t.Errorf("got the ports of none that is gone: %+v, %v", c, err)
	}
}

// TestChanges says that who watches is told, and that the rules are new by then.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer store.Close()
		s := network.NewStore(store, "clusters/c/")
		var told atomic.Int32
		v := open(t, store, network.Config{Changed: func() { told.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.Run(ctx) }()
		synctest.Wait()
		before := told.Load()
		if _, err := s.PutGroup(ctx, group("a", "10.0.0.0/8"), true); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Edit(ctx, func(n *network.Network) error { n.Guard("CLIENT_IAM", []string{"a"}); return nil }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if told.Load() <= before || v.Allowed(way("CLIENT_IAM", "11.0.0.1")) == nil || v.Allowed(way("CLIENT_IAM", "10.0.0.1")) != nil {
			t.Errorf("told %d times; %v, %v", told.Load()-before, v.Allowed(way("CLIENT_IAM", "11.0.0.1")), v.Allowed(way("CLIENT_IAM", "10.0.0.1")))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestLimits is W7, and that a limit is one.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer store.Close()
		put(t, store, "clusters/c/network", `{"format":1,"limits":{"per_address":3,"per_listener":50000}}`)
		v := open(t, store, network.Config{})
		admitted := func(from string, tries int) (n int) {
			for range tries {
				if err := v.Admit(way("CLIENT_IAM", from)); err == nil {
					n++
				} else if !errors.Is(err, network.ErrBusy) {
					t.Fatal(err)
				}
			}
			return n
		}
		if n := admitted("10.0.0.1", 10); n != 3 {
			t.Errorf("%d of one address", n)
		}
		if n := admitted("2001:db8::1", 2) + admitted("2001:db8::2", 2); n != 3 {
			t.Errorf("%d of one IPv6 network", n)
		}
		time.Sleep(time.Second) // of the bubble
		if n := admitted("10.0.0.1", 10); n != 3 {
			t.Errorf("%d a second later", n)
		}
		a := netip.MustParseAddr("11.0.0.0")
		flood := 0
		for range network.Most + 1000 {
			a = a.Next()
			flood += admitted(a.String(), 1)
		}
		if flood < network.Most-10 || flood > network.Most+10 {
			t.Errorf("%d of a flood were let in", flood)
		}
		if n := admitted("10.0.0.1", 1); n != 0 {
			t.Errorf("the flood gave an address new room")
		}
		for range 100 {
			if err := v.Admit(way("REPLICATION_SECURE", "10.0.0.1")); err != nil {
				t.Fatalf("a broker: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if n := admitted("12.0.0.1", 5); n != 3 {
			t.Errorf("%d after the flood", n)
		}
	})
}

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "2001:db8::/32": "2001:db8::/32", "::1": "::1/128", "::ffff:1.2.3.4": "1.2.3.4/32"} {
		if p, err := network.ParseNetwork(text); err != nil || p.String() != want {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "host", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0/-1"} {
		if p, err := network.ParseNetwork(text); !errors.Is(err, network.ErrInvalid) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

// FuzzView takes any bytes as records.
func FuzzView(f *testing.F) {
	f.Add([]byte(`{"format":1,"name":"a","allow":["10.0.0.0/8"]}`), []byte(`{"format":1,"guards":{"CLIENT":["a"]},"limits":{"per_address":1},"connections":[{"name":"x","listener":"CLIENT_IAM","state":"ACTIVE","port":14001}]}`))
	f.Fuzz(func(t *testing.T, g, n []byte) {
		store := kv.NewMemory()
		defer store.Close()
		put(t, store, "security/groups/a", string(g))
		put(t, store, "clusters/c/network", string(n))
		v := open(t, store, network.Config{})
		for _, l := range []string{"CLIENT", "CLIENT_IAM_VPCE_x", "REPLICATION_SECURE"} {
			_, _ = v.Allowed(way(l, "10.0.0.1")), v.Admit(server.Way{Listener: l})
		}
		for _, c := range v.Active() {
			if c.PortOf(1) < 1 || c.PortOf(15) > 65535 {
				t.Errorf("ports of %+v", c)
			}
		}
	})
}
