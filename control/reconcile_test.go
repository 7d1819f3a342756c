package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/control/place"
	"millrace/engine"
)

// joinAt makes the record of a host with an address of its own; its agent acts from then on.
func (f *farm) joinAt(name string) {
	b, err := engine.Encode(engine.Host{Format: engine.First, Name: name, Address: "10.0.0." + strings.TrimLeft(name, "hn") + "9"})
	must(f.t, err)
	put(f.t, f.store, engine.HostPrefix+name, string(b))
	f.mu.Lock()
	f.cut[name] = false
	f.mu.Unlock()
	f.look()
}

// lose takes a host's agent away; its processes run on.
func (f *farm) lose(name string) {
	f.mu.Lock()
	f.cut[name] = true
	f.mu.Unlock()
	leave(f.t, f.store, name)
}

// onHosts begins with a cluster of three brokers on h, n1 and n2; n3 has none.
func onHosts(t *testing.T, f *farm, log string, o control.Options) {
	t.Helper()
	for _, name := range []string{"h", "n1", "n2", "n3"} {
		f.joinAt(name)
	}
	o.Like.Log = log
	settleWith(t, f.store, o, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
}

// during runs a control plane while do is done.
func during(t *testing.T, store kv.KV, do func(p *control.Plane)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	plane := managedPlane(store)
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	do(plane)
	synctest.Wait()
	cancel()
	must(t, <-done)
}

func hostsOf(t *testing.T, p *control.Plane) string {
	t.Helper()
	nodes, err := p.Nodes(context.Background(), "c")
	must(t, err)
	var all []string
	for _, n := range nodes {
		all = append(all, n.Spec.Host)
	}
	return strings.Join(all, " ")
}

func TestBrokersOfALostHostArePlacedElsewhere(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "object", options())
		during(t, store, func(p *control.Plane) {
			before := hostsOf(t, p)
			nodes, err := p.Nodes(ctx, "c")
			must(t, err)
			lost := nodes[1].Spec.Host
			f.lose(lost)
			later(14 * time.Second)
			if got := hostsOf(t, p); got != before {
				t.Errorf("after 14 s: on %s, before on %s", got, before)
			}
			later(2 * time.Second)
			if got := hostsOf(t, p); strings.Contains(got, lost) || f.ids("c") != "1 2 3" {
				t.Errorf("after 16 s: on %s, running %s", got, f.ids("c"))
			}
			c, err := p.Cluster(ctx, "c")
			must(t, err)
			ops, err := p.OperationsOf(ctx, "c")
			must(t, err)
			if last := ops[len(ops)-1]; c.Phase != control.Active || c.Version != 1 || last.Request.Kind != control.Replace || last.State != control.Done {
				t.Errorf("%+v, %+v", c, last)
			}
			f.joinAt(lost)
			synctest.Wait()
			later(time.Second)
			items, _, err := store.List(ctx, engine.SpecPrefix(lost))
			must(t, err)
			if f.ids("c") != "1 2 3" || len(items) != 0 || len(f.running) != 3 {
				t.Errorf("when it was back: running %v, %d specs of its", f.running, len(items))
			}
		})
	})
}

// A plane that dies at any write of a healing is followed by one that ends it.
func TestHealingAfterACrashAtEveryWrite(t *testing.T) {
	for k := 1; ; k += betweenCuts() {
		more := false
		for _, applies := range []bool{false, true} {
			inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
				onHosts(t, f, "object", options())
				nodes, err := managedPlane(store).Nodes(ctx, "c")
				must(t, err)
				lost := nodes[2].Spec.Host
				f.lose(lost)
				run, stop := context.WithCancel(ctx)
				plane := newPlane(&cut{KV: store, left: k, applies: applies, stop: stop}).With(options())
				done := make(chan error, 1)
				go func() { done <- plane.Run(run) }()
				later(30 * time.Second)
				more = more || run.Err() != nil
				stop()
				must(t, <-done)
				during(t, store, func(p *control.Plane) {
					later(30 * time.Second)
					f.joinAt(lost)
					later(time.Second)
					c, err := p.Cluster(ctx, "c")
					must(t, err)
					if strings.Contains(hostsOf(t, p), lost) || f.ids("c") != "1 2 3" || c.Phase != control.Active || len(f.running) != 3 {
						t.Errorf("cut at write %d (applied %v): on %s, running %s, %+v", k, applies, hostsOf(t, p), f.ids("c"), c)
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

// Logs on a host's disk stay there, and the cluster says so until the host is back.
func TestLogsOnFilesAreNotMoved(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "file", options())
		during(t, store, func(p *control.Plane) {
			before := hostsOf(t, p)
			f.lose("n2")
			later(time.Minute)
			c, err := p.Cluster(ctx, "c")
			must(t, err)
			if hostsOf(t, p) != before || c.Fault.Code != "HostLost" || !strings.Contains(c.Fault.Message, "n2") || c.Phase != control.Active {
				t.Errorf("on %s, before on %s; %+v", hostsOf(t, p), before, c)
			}
			f.joinAt("n2")
			later(time.Second)
			if c, err := p.Cluster(ctx, "c"); err != nil || c.Fault != (control.Fault{}) {
				t.Errorf("when it was back: %+v, %v", c, err)
			}
		})
	})
}

// An operation that waits for a host goes on when its brokers are elsewhere.
func TestHostThatIsLostDuringAnOperation(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "object", options())
		_, err := managedPlane(store).Begin(ctx, "c", control.Request{Kind: control.Roll})
		must(t, err)
		f.lose("n1")
		during(t, store, func(p *control.Plane) {
			later(2 * time.Minute)
			ops, err := p.OperationsOf(ctx, "c")
			must(t, err)
			if last := ops[len(ops)-1]; last.State != control.Done || last.Request.Kind != control.Roll || f.ids("c") != "1 2 3" {
				t.Errorf("%+v, running %s", last, f.ids("c"))
			}
		})
	})
}

func TestDriftIsMendedAndTold(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		right := specs(t, store)
		during(t, store, func(p *control.Plane) {
			wrong := right[0]
			wrong.Stopped = true
			b, err := engine.Encode(wrong)
			must(t, err)
			put(t, store, wrong.Key(), string(b))
			f.mu.Lock()
			delete(f.running, right[1].Key())
			f.mu.Unlock()
			stray := right[2]
			stray.ID, stray.Listen, stray.Stopped = 9, "127.0.0.1:29000", true
			b, err = engine.Encode(stray)
			must(t, err)
			_, err = store.Txn(ctx, nil, []kv.Op{kv.Delete(right[1].Key()), kv.Put(stray.Key(), b)})
			must(t, err)
			later(time.Second)
			c, err := p.Cluster(ctx, "c")
			must(t, err)
			if got := specs(t, store); string(mustJSON(t, got)) != string(mustJSON(t, right)) || f.ids("c") != "1 2 3" {
				t.Errorf("running %s by %s", f.ids("c"), mustJSON(t, got))
			}
			told := fmt.Sprint(c.Drift)
			for _, code := range []string{"SpecMissing nodes/h/c/2", "SpecChanged nodes/h/c/1", "SpecUnexplained nodes/h/c/9"} {
				if !strings.Contains(told, code) || len(c.Drift) > 8 {
					t.Errorf("told %s, not %s", told, code)
				}
			}
		})
	})
}

// While an operation is under way, a spec is its: what looks like drift is left alone.
func TestOperationsAreNotMended(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		f.mu.Lock()
		f.bad = func(s engine.NodeSpec) string {
			if s.ID == 1 && s.Memory == 2<<30 {
				return "starts slowly"
			}
			return ""
		}
		f.mu.Unlock()
		must(t, updated(ctx, managedPlane(store), func(s *control.Settings) { s.BrokerType = "express.m7g.xlarge" }))
		during(t, store, func(p *control.Plane) {
			later(time.Minute)
			c, err := p.Cluster(ctx, "c")
			must(t, err)
			if got := specs(t, store); got[0].Memory != 2<<30 || c.Phase != control.Updating || len(c.Drift) != 0 {
				t.Errorf("%+v, specs %+v", c, got)
			}
		})
		settle(t, store, never, true, func(context.Context, *control.Plane) {})
	})
}

// hooked is a store in which something happens just before the first transaction that is looked for.
type hooked struct {
	kv.KV
	is     func([]kv.Op) bool
	before func()
}

func (h *hooked) Txn(ctx context.Context, cond []kv.Cond, ops []kv.Op) (int64, error) {
	if h.before != nil && h.is(ops) {
		before := h.before
		h.before = nil
		before()
	}
	return h.KV.Txn(ctx, cond, ops)
}

// puts says that a transaction writes a spec for which is holds.
func puts(ops []kv.Op, is func(engine.NodeSpec) bool) bool {
	for _, op := range ops {
		if !strings.HasPrefix(op.Key, engine.AllSpecs) || op.Kind != kv.OpPut {
			continue
		}
		if s, err := engine.Decode[engine.NodeSpec](op.Value); err == nil && is(s) {
			return true
		}
	}
	return false
}

// C14: an agent that is back in the last moment keeps its brokers.
func TestHostThatIsBackInTime(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "object", options())
		before := hostsOf(t, managedPlane(store))
		f.lose("n2")
		moves := func(ops []kv.Op) bool { return puts(ops, func(s engine.NodeSpec) bool { return s.Moved }) }
		back := false
		during(t, &hooked{KV: store, is: moves, before: func() { back = true; f.joinAt("n2") }}, func(p *control.Plane) {
			later(time.Minute)
			c, err := p.Cluster(ctx, "c")
			if hostsOf(t, p) != before || !back || err != nil || c.Phase != control.Active || f.ids("c") != "1 2 3" {
				t.Errorf("on %s, before on %s; back %v, %+v, %v", hostsOf(t, p), before, back, c, err)
			}
		})
	})
}

// C15: an operation that begins while something is mended finds the specs as they were.
func TestMendThatAnOperationOvertakes(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		wrong := specs(t, store)[2]
		wrong.Drain = true
		b, err := engine.Encode(wrong)
		must(t, err)
		put(t, store, wrong.Key(), string(b))
		mends := func(ops []kv.Op) bool {
			return puts(ops, func(s engine.NodeSpec) bool { return s.ID == 3 && !s.Drain })
		}
		begun, wrote := false, false
		run := &hooked{KV: store, is: mends, before: func() {
			_, err := managedPlane(store).Begin(ctx, "c", control.Request{Kind: control.Scale, Brokers: 2})
			must(t, err)
			begun = true
		}}
		watch, stop := context.WithCancel(ctx)
		changes, done := store.Watch(watch, wrong.Key(), 0), make(chan struct{})
		go func() {
			defer close(done)
			for e := range changes {
				if s, err := engine.Decode[engine.NodeSpec](e.Item.Value); e.Type == kv.EventPut && err == nil && !s.Drain {
					wrote = true
				}
			}
		}()
		during(t, run, func(p *control.Plane) { later(time.Minute) })
		stop()
		<-done
		if !begun || wrote || f.ids("c") != "1 2" {
			t.Errorf("begun %v, mended %v, running %s", begun, wrote, f.ids("c"))
		}
	})
}

// What a broker left on a host that is away stays told until that host's agent has removed it, and the host gets no other in its place.
func TestWhatIsLeftOnAHostThatIsSlow(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "object", options())
		during(t, store, func(p *control.Plane) {
			f.lose("n2")
			later(30 * time.Second)
			join(t, store, "n2") // its agent is back, and has done nothing yet
			later(time.Minute)
			items, _, err := store.List(ctx, engine.SpecPrefix("n2"))
			must(t, err)
			if len(items) != 1 || len(f.running) != 4 {
				t.Errorf("before its agent has acted: %d specs, running %v", len(items), f.running)
			}
			f.joinAt("n2")
			later(time.Second)
			if items, _, err = store.List(ctx, engine.SpecPrefix("n2")); err != nil || len(items) != 0 || len(f.running) != 3 {
				t.Errorf("after: %d specs, running %v, %v", len(items), f.running, err)
			}
		})
	})
	left := engine.NodeSpec{Cluster: "c", ID: 1, Host: "h1", Listen: "10.0.0.1:9092", Moved: true}
	hosts := []engine.Host{{Name: "h1", Address: "10.0.0.1"}, {Name: "h2", Address: "10.0.0.2"}}
	specs, err := place.Brokers(described(1), hosts, []engine.NodeSpec{left})
	if err != nil || len(specs) != 1 || specs[0].Host != "h2" {
		t.Errorf("placed at %+v, %v", specs, err)
	}
}

// A cluster is deleted though a host is away, which finds what it has to do when it is back.
func TestDeleteWithoutAHost(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		onHosts(t, f, "file", options())
		during(t, store, func(p *control.Plane) {
			f.lose("n2")
			_, err := p.Delete(ctx, "c", "")
			must(t, err)
			later(time.Minute)
			if c, err := p.Cluster(ctx, "c"); err != nil || c.Phase != control.Deleting {
				t.Errorf("after a minute: %+v, %v", c, err)
			}
			later(2 * time.Minute)
			if _, err := p.Cluster(ctx, "c"); !errors.Is(err, control.ErrNoCluster) || len(f.running) != 1 || f.objects["c"] {
				t.Errorf("after three minutes: %v, running %v, objects %v", err, f.running, f.objects)
			}
			f.joinAt("n2")
			later(time.Second)
			items, _, err := store.List(ctx, engine.AllSpecs)
			if err != nil || len(items) != 0 || len(f.running) != 0 {
				t.Errorf("when it was back: %d specs, running %v, %v", len(items), f.running, err)
			}
		})
	})
}
