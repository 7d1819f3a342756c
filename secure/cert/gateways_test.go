package cert

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/secure/identity"
)

// allowGateways is the part of control.Plane.Names that is about gateways.
func (i *install) allowGateways(ctx context.Context, n Node) (Names, error) {
	return GatewayNames(ctx, i.store, n)
}

func (i *install) register(name string, addresses ...string) {
	i.t.Helper()
	if _, err := i.authority.RegisterGateway(i.t.Context(), Registration{Name: name, Addresses: addresses}); err != nil {
		i.t.Fatal(err)
	}
}

// TestGatewayRegistered: no certificate without a registration, none for a name that it lacks, another where a name goes, and none once it
// is removed (C11).
func TestGatewayRegistered(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	background(t, NewSigner(i.authority, i.allowGateways, testWorld(i.store)).Run)
	n := Gateway("gw1")
	k, err := NewKeeper(KeeperConfig{Node: n, Names: n.Names("gw1.example.org:9192"), File: "/node/node.pem", Settle: time.Millisecond}, testWorld(i.store))
	if err != nil {
		t.Fatal(err)
	}
	background(t, k.Run)
	refused := func(why string) {
		t.Helper()
		until(t, why, func() bool {
			k.Renew() // now, not when it tries again by itself
			fault := k.Status().Fault
			return fault != nil && strings.Contains(fault.Error(), why)
		})
	}
	refused("gateway/gw1 is not registered with `millrace cert gateway add`")
	i.register("other", "gw1.example.org")
	i.register("gw1", "gw2.example.org")
	refused("gateway/gw1 may not be called gw1.example.org")
	i.register("gw1", "gw1.example.org", "gw2.example.org")
	until(t, "a certificate", func() bool { k.Renew(); return k.Status().Serial != "" })
	i.wait(k)
	first := k.Status()
	if got := first.Names.String(); got != "gateway.gw1.millrace, gw1.example.org" {
		t.Errorf("names: %s", got)
	}
	i.register("gw1", "gw1.example.org", "gw3.example.org") // none that it has is lost
	if c := i.stateOf(first.Serial); c != Valid {
		t.Errorf("after other addresses that it does not have: %s", c)
	}
	i.register("gw1", "gw3.example.org")
	if c := i.stateOf(first.Serial); c != Revoked {
		t.Errorf("without its name: %s", c)
	}
	k.SetNames(n.Names("gw3.example.org"))
	until(t, "one of the new name", func() bool { return slices.Contains(k.Status().Names.DNS, "gw3.example.org") })
	second := k.Status().Serial
	if _, err := i.authority.RemoveGateway(t.Context(), "gw1"); err != nil {
		t.Fatal(err)
	}
	if c := i.stateOf(second); c != Revoked {
		t.Errorf("after its removal: %s", c)
	}
	refused("gateway/gw1 is not registered")
	if _, err := i.authority.RemoveGateway(t.Context(), "gw1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed twice: %v", err)
	}
	all, err := i.authority.Gateways(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "other" {
		t.Errorf("%v, %v", all, err)
	}
}

func (i *install) stateOf(serial string) State {
	i.t.Helper()
	all, err := i.authority.Certificates(i.t.Context())
	if err != nil {
		i.t.Fatal(err)
	}
	for _, c := range all {
		if c.Serial == serial {
			return c.State
		}
	}
	return ""
}

// TestGatewayRemovedMeanwhile removes a registration between the moment when the Signer has read it and the moment when it signs: nothing
// is signed.
func TestGatewayRemovedMeanwhile(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.register("gw1", "gw1.example.org")
	var once atomic.Bool
	background(t, NewSigner(i.authority, func(ctx context.Context, n Node) (Names, error) {
		names, err := i.allowGateways(ctx, n)
		if once.CompareAndSwap(false, true) {
			if _, err := i.authority.RemoveGateway(ctx, "gw1"); err != nil {
				t.Error(err)
			}
		}
		return names, err
	}, testWorld(i.store)).Run)
	n := Gateway("gw1")
	k, err := NewKeeper(KeeperConfig{Node: n, Names: n.Names("gw1.example.org"), File: "/node/node.pem"}, testWorld(i.store))
	if err != nil {
		t.Fatal(err)
	}
	background(t, k.Run)
	until(t, "a refusal", func() bool { return k.Status().Fault != nil })
	all, err := i.authority.Certificates(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("signed all the same: %v, %v", all, err)
	}
}

// TestGatewayIsNoNode: to the others a gateway is a client with a name, whatever address it serves at (C8).
func TestGatewayIsNoNode(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.register("gw1", "127.0.0.1")
	both := func(ctx context.Context, n Node) (Names, error) {
		if _, ok := n.registration(); ok {
			return i.allowGateways(ctx, n)
		}
		return i.allow(ctx, n)
	}
	background(t, NewSigner(i.authority, both, testWorld(i.store)).Run)
	gateway, _ := i.keeper(Gateway("gw1"), testWorld(i.store))
	broker, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	meet(t, gateway, broker)
	// A broker's listener takes the gateway for a client.
	e := serve(t, broker, NeedClientCert)
	c, err := e.dial(ClientTLS(gateway, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	want := identity.Identity{Mechanism: identity.TLS, Principal: "User:CN=gateway.gw1.millrace,OU=millrace-node,O=Millrace"}
	if len(e.came) != 1 || e.came[0] != want {
		t.Errorf("came %+v", e.came)
	}
	// A broker does not take it for another broker.
	front := serve(t, gateway, NoClientCert)
	if c, err := front.dial(ClientTLS(broker, "127.0.0.1")); !errors.Is(err, ErrRefused) {
		t.Errorf("a node takes a gateway for a node: %v", err)
		if c != nil {
			_ = c.Close()
		}
	}
}

// TestBadRegistrations are refused.
func TestBadRegistrations(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	many := make([]string, maxAddresses+1)
	for n := range many {
		many[n] = net.IPv4(10, 0, 0, byte(n)).String()
	}
	for name, addresses := range map[string][]string{
		"": {"a"}, "a/b": {"a"}, "none": nil, "all": {"0.0.0.0"}, "bad": {"a b"}, "own": {"broker-1.c.millrace"}, "one-bad": {"a", "*"}, "many": many,
		strings.Repeat("x", 129): {"a"},
	} {
		if _, err := i.authority.RegisterGateway(t.Context(), Registration{Name: name, Addresses: addresses}); !errors.Is(err, ErrRequest) {
			t.Errorf("%q with %q: %v", name, addresses, err)
		}
	}
	if all, err := i.authority.Gateways(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept %v, %v", all, err)
	}
}

// TestWatchBegins: who watches is told once at the begin, for what was revoked before.
func TestWatchBegins(t *testing.T) {
	i := newInstall(t, AuthorityConfig{})
	i.sign(i.authority)
	k, _ := i.keeper(Broker("c", 1), testWorld(i.store))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	calls := 0
	if err := k.Watch(ctx, func() { calls++; cancel() }); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
