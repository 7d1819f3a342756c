package control_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/control"
	"millrace/control/place"
	"millrace/engine"
)

// described is a cluster of n brokers, as serve describes it.
func described(n int) control.Cluster {
	return control.Cluster{Name: "c", Brokers: n, Listen: "10.0.0.1:9092", Metrics: "127.0.0.1:9404"}
}

// anyHosts draws up to six hosts in up to three zones; some have a range of ports.
func anyHosts(t *rapid.T) []engine.Host {
	var hosts []engine.Host
	for k := range rapid.IntRange(1, 6).Draw(t, "hosts") {
		h := engine.Host{Name: fmt.Sprint("h", k), Address: fmt.Sprint("10.0.0.", k+1), Zone: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "zone")}
		if rapid.Bool().Draw(t, "ranged") {
			h.Ports = engine.Ports{From: 9000, To: 9000 + 8*rapid.IntRange(1, 16).Draw(t, "places") - 1}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// counts are the brokers by what key says of their host.
func counts(hosts []engine.Host, specs []engine.NodeSpec, key func(engine.Host) string) map[string]int {
	n := map[string]int{}
	for _, h := range hosts {
		n[key(h)] += 0
		for _, s := range specs {
			if s.Host == h.Name {
				n[key(h)]++
			}
		}
	}
	return n
}

func gap(n map[string]int) int {
	least, most := 1<<30, 0
	for _, v := range n {
		least, most = min(least, v), max(most, v)
	}
	return most - least
}

func zone(h engine.Host) string {
	if h.Zone == "" {
		return h.Name
	}
	return h.Zone
}

func checkAddresses(t *rapid.T, hosts []engine.Host, specs []engine.NodeSpec) {
	taken := map[string]int32{}
	for _, s := range specs {
		i := slices.IndexFunc(hosts, func(h engine.Host) bool { return h.Name == s.Host })
		host, text, err := net.SplitHostPort(s.Listen)
		port, _ := strconv.Atoi(text)
		if r := hosts[i].Ports; err != nil || host != hosts[i].Address || r.From != 0 && (port < r.From || port+7 > r.To) {
			t.Fatalf("broker %d on %+v listens at %s (%v)", s.ID, hosts[i], s.Listen, err)
		}
		for _, a := range []string{s.Listen, s.Host + s.Metrics} {
			if other := taken[a]; other != 0 {
				t.Fatalf("%s is given to brokers %d and %d", a, other, s.ID)
			}
			taken[a] = s.ID
		}
	}
}

// Brokers are spread over zones, then hosts; they stay where they are; the order of hosts does not matter.
func TestPlacement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := anyHosts(t)
		for i := range hosts {
			hosts[i].Ports.To = max(hosts[i].Ports.To, 0)
		}
		unbounded := slices.IndexFunc(hosts, func(h engine.Host) bool { return h.Ports != engine.Ports{} }) < 0
		var specs []engine.NodeSpec
		n := 0
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			n = rapid.IntRange(1, control.MaxBrokers).Draw(t, "brokers")
			before := slices.DeleteFunc(slices.Clone(specs), func(s engine.NodeSpec) bool { return int(s.ID) > n })
			shuffled := slices.Clone(hosts)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			now, err := place.Brokers(described(n), shuffled, before)
			if err != nil {
				if unbounded || !errors.Is(err, control.ErrSpec) {
					t.Fatal(err)
				}
				return
			}
			again, err := place.Brokers(described(n), hosts, before)
			if err != nil || !reflect.DeepEqual(now, again) {
				t.Fatalf("another order of hosts: %+v, %v", again, err)
			}
			settled, err := place.Brokers(described(n), hosts, now)
			if err != nil || !reflect.DeepEqual(now, settled) {
				t.Fatalf("placed again: %+v, %v", settled, err)
			}
			for _, s := range before {
				if !reflect.DeepEqual(now[s.ID-1], s) {
					t.Fatalf("broker %d moved from %+v to %+v", s.ID, s, now[s.ID-1])
				}
			}
			if len(now) != n {
				t.Fatalf("%d brokers, want %d", len(now), n)
			}
			checkAddresses(t, hosts, now)
			if unbounded && len(before) == 0 {
				if g := gap(counts(hosts, now, zone)); g > 1 {
					t.Fatalf("zones: %v", counts(hosts, now, zone))
				}
				for _, h := range hosts {
					inZone := slices.DeleteFunc(slices.Clone(hosts), func(o engine.Host) bool { return zone(o) != zone(h) })
					if of := counts(inZone, now, func(h engine.Host) string { return h.Name }); gap(of) > 1 {
						t.Fatalf("hosts of zone %s: %v", zone(h), of)
					}
				}
			}
			specs = now
		}
	})
}

func TestPlacementOnHostsThatComeAndGo(t *testing.T) {
	h1, h2 := engine.Host{Name: "h1", Address: "10.0.0.1"}, engine.Host{Name: "h2", Address: "10.0.0.2"}
	two, err := place.Brokers(described(2), []engine.Host{h1, h2}, nil)
	must(t, err)
	if two[0].Host != "h1" || two[1].Host != "h2" || two[1].Listen != "10.0.0.2:9192" || two[1].Metrics != "127.0.0.1:9504" {
		t.Fatalf("placed at %+v", two)
	}
	four, err := place.Brokers(described(4), []engine.Host{h1}, two)
	must(t, err)
	if !reflect.DeepEqual(four[1], two[1]) || four[2].Host != "h1" || four[3].Host != "h1" {
		t.Errorf("without h2: %+v", four)
	}
	h2.Address = "10.0.0.9"
	moved, err := place.Brokers(described(2), []engine.Host{h1, h2}, two)
	must(t, err)
	if moved[1].Host != "h2" || moved[1].Listen != "10.0.0.9:9192" {
		t.Errorf("h2 has another address: %+v", moved[1])
	}
	other := engine.NodeSpec{Cluster: "other", ID: 1, Host: "h1", Listen: "10.0.0.1:9092"}
	if _, err := place.Brokers(described(1), []engine.Host{h1}, []engine.NodeSpec{other}); !errors.Is(err, control.ErrSpec) || !strings.Contains(err.Error(), "broker 1 of cluster other") {
		t.Errorf("an address of another cluster: %v", err)
	}
	full := engine.Host{Name: "h1", Address: "10.0.0.1", Ports: engine.Ports{From: 9000, To: 9007}}
	if _, err := place.Brokers(described(2), []engine.Host{full}, nil); !errors.Is(err, control.ErrSpec) || !strings.Contains(err.Error(), "9000 to 9007 of host h1") {
		t.Errorf("a full range: %v", err)
	}
	local := described(2)
	local.Listen = "127.0.0.1:9092"
	if _, err := place.Brokers(local, []engine.Host{{Name: "local"}, h2}, nil); !errors.Is(err, control.ErrSpec) || !strings.Contains(err.Error(), "--advertise") {
		t.Errorf("a host that others cannot reach: %v", err)
	}
}

// join makes a host's record, leave deletes it.
func join(t *testing.T, store kv.KV, name string) {
	t.Helper()
	b, err := engine.Encode(engine.Host{Format: engine.First, Name: name, Address: "127.0.0.2"})
	must(t, err)
	put(t, store, engine.HostPrefix+name, string(b))
}

func leave(t *testing.T, store kv.KV, name string) {
	t.Helper()
	_, err := store.Txn(context.Background(), nil, []kv.Op{kv.Delete(engine.HostPrefix + name)})
	must(t, err)
}

// A host without an agent is named, nobody waits for it, and a cluster may grow elsewhere meanwhile.
func TestHostThatIsLost(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := newPlane(store)
	join(t, store, "i")
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 2, Listen: "127.0.0.1:9092"}))
	nodes, err := plane.Nodes(ctx, "c")
	must(t, err)
	if len(nodes) != 2 || nodes[1].Spec.Host != "i" || nodes[1].Lost {
		t.Fatalf("nodes %+v", nodes)
	}
	for _, n := range nodes {
		b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready})
		must(t, err)
		put(t, store, n.Spec.StatusKey(), string(b))
	}
	if r, err := plane.Readiness(ctx, "c"); err != nil || !r.Ready {
		t.Fatalf("readiness %+v, %v", r, err)
	}
	leave(t, store, "i")
	r, err := plane.Readiness(ctx, "c")
	must(t, err)
	if text := strings.Join(r.Reasons, ";"); r.Ready || !strings.Contains(text, "broker 2") || !strings.Contains(text, "millrace agent --name i") {
		t.Errorf("readiness %+v", r)
	}
	for _, r := range []control.Request{{Kind: control.Roll}, {Kind: control.Upgrade}, {Kind: control.Scale, Brokers: 1}} {
		if _, err := plane.Begin(ctx, "c", r); !errors.Is(err, control.ErrLost) || !strings.Contains(err.Error(), "host i") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := plane.Begin(ctx, "c", control.Request{Kind: control.Scale, Brokers: 3}); err != nil {
		t.Errorf("scale out: %v", err)
	}
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 0, Listen: "127.0.0.1:9092"}))
	if nodes, err := plane.Nodes(ctx, "c"); err != nil || nodes[1].Spec.Host != "i" {
		t.Errorf("after another start of the control plane: %+v, %v", nodes, err)
	}
}

// A host that joins with another address has its brokers listen there.
func TestHostThatComesBackWithAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		ctx, cancel := context.WithCancel(context.Background())
		plane := newPlane(store)
		join(t, store, "i")
		must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 2, Listen: "127.0.0.1:9092"}))
		done := make(chan error, 1)
		go func() { done <- plane.Run(ctx) }()
		synctest.Wait()
		b, err := engine.Encode(engine.Host{Format: engine.First, Name: "i", Address: "127.0.0.9"})
		must(t, err)
		put(t, store, engine.HostPrefix+"i", string(b))
		synctest.Wait()
		nodes, err := plane.Nodes(ctx, "c")
		must(t, err)
		if len(nodes) != 2 || nodes[0].Spec.Listen != "127.0.0.1:9092" || nodes[1].Spec.Listen != "127.0.0.9:9192" {
			t.Errorf("nodes %+v", nodes)
		}
		cancel()
		must(t, <-done)
	})
}

// An agent of a newer version does not stop an older control plane: its host counts, and gets no brokers.
func TestHostOfANewerVersion(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := newPlane(store)
	put(t, store, engine.HostPrefix+"g", `{"format":99,"name":{"of":"another kind"}}`)
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 2, Listen: "127.0.0.1:9092"}))
	nodes, err := plane.Nodes(ctx, "c")
	must(t, err)
	states, err := plane.HostStates(ctx, "c")
	must(t, err)
	if len(nodes) != 2 || nodes[0].Spec.Host != "h" || nodes[1].Spec.Host != "h" || len(states) != 2 || states[0].Host.Name != "g" || states[0].Lost {
		t.Errorf("nodes %+v, hosts %+v", nodes, states)
	}
}
