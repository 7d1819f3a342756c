package control_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// zoned has a host join that is in a zone.
func (f *farm) zoned(name, zone string) {
	b, err := engine.Encode(engine.Host{Format: engine.First, Name: name, Zone: zone, Address: "10.0.0." + strings.TrimLeft(name, "abchn") + "9"})
	must(f.t, err)
	put(f.t, f.store, engine.HostPrefix+name, string(b))
	f.mu.Lock()
	f.cut[name] = false
	f.mu.Unlock()
	f.look()
}

// kafkaOnHosts begins with a cluster of Apache Kafka on h, b1 and c2, each in a zone; a3 is in h's. It returns the host of the cluster in zone a.
func kafkaOnHosts(t *testing.T, f *farm) (lost string) {
	t.Helper()
	f.zoned("h", "zone-a")
	f.zoned("b1", "zone-b")
	f.zoned("c2", "zone-c")
	settleWith(t, f.store, standard(f), func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", kafkaThree) })
	f.zoned("a3", "zone-a")
	return "b1"
}

// duringKafka runs a control plane, which dies at its k-th write.
func duringKafka(t *testing.T, store kv.KV, f *farm, k int, applies bool, do func(p *control.Plane)) (cutOff bool) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	plane := newPlane(&cut{KV: store, left: k, applies: applies, stop: stop}).With(standard(f))
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	do(plane)
	cutOff = ctx.Err() != nil
	stop()
	must(t, <-done)
	return cutOff
}

// Nodes of a lost host are placed in its zone, one at a time, and the others hear where a controller is (C22).
func TestKafkaHealsAfterACrashAtEveryWrite(t *testing.T) {
	for k := 1; ; k++ {
		more := false
		for _, applies := range []bool{false, true} {
			inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
				lost := kafkaOnHosts(t, f)
				f.zoned("b4", "zone-b")
				f.lose(lost)
				more = duringKafka(t, store, f, k, applies, func(*control.Plane) { later(3 * time.Minute) }) || more
				duringKafka(t, store, f, never, true, func(p *control.Plane) {
					later(5 * time.Minute)
					nodes, err := p.Nodes(ctx, "c")
					must(t, err)
					at := map[string]int{}
					for _, n := range nodes {
						at[n.Spec.Host]++
						if len(n.Spec.Voters) != 3 || n.Spec.Zone == "zone-b" && n.Spec.Host != "b4" {
							t.Errorf("%+v", n.Spec)
						}
						for _, v := range n.Spec.Voters {
							for _, o := range nodes {
								if o.Spec.ID == v.ID && o.Spec.Listen != v.Address {
									t.Errorf("node %d looks for controller %d at %s, it is at %s", n.Spec.ID, v.ID, v.Address, o.Spec.Listen)
								}
							}
						}
					}
					c, err := p.Cluster(ctx, "c")
					must(t, err)
					if at[lost] != 0 || at["b4"] != 2 || c.Phase != control.Active || c.Fault.Code != "" {
						t.Errorf("cut at write %d (applied %v): at %v, %+v", k, applies, at, c.Managed)
					}
				})
			})
		}
		if !more || t.Failed() {
			t.Logf("%d writes", k-1)
			return
		}
	}
}

// What others do not have stays where it is, and the cluster says so; so it does where the zone has no other host.
func TestKafkaThatCannotHeal(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		lost := kafkaOnHosts(t, f)
		f.lose(lost)
		fault := func(why string) string {
			f.mu.Lock()
			f.kafka.forever = why
			f.mu.Unlock()
			var code string
			duringKafka(t, store, f, never, true, func(p *control.Plane) {
				later(time.Minute)
				c, err := p.Cluster(ctx, "c")
				must(t, err)
				code = c.Fault.Code
			})
			return code
		}
		if got := fault("the last replica of t-0"); got != "HostLost" {
			t.Errorf("with what nobody else has: %q", got)
		}
		if got := fault(""); got != "HostLostNoRoom" {
			t.Errorf("without a host in the zone: %q", got)
		}
	})
}
