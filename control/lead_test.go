package control_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/control/lead"
	"millrace/engine"
)

// leader is a control plane that leads when it can.
func leader(t *testing.T, store kv.KV, host engine.Host, waits *[]string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		l := lead.Leader{Key: control.PlaneKey, Host: host, Standby: func(o engine.Host) { *waits = append(*waits, host.Name+" for "+o.Name) }}
		done <- lead.Run(ctx, l, lead.World{KV: store, Clock: clockNow(), Log: silent()}, func(ctx context.Context, fenced kv.KV) error {
			return managedPlane(fenced).Run(ctx)
		})
	}()
	synctest.Wait()
	return func() {
		cancel()
		must(t, <-done)
	}
}

// A second control plane waits, and goes on with what the first was at.
func TestStandbyTakesOver(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		var waits []string
		one := leader(t, store, engine.Host{Name: "one", Holder: "1"}, &waits)
		two := leader(t, store, engine.Host{Name: "two", Holder: "2"}, &waits)
		defer two()
		if !slices.Equal(waits, []string{"two for one"}) {
			t.Errorf("waited: %v", waits)
		}
		slow := true
		f.mu.Lock()
		f.bad = func(s engine.NodeSpec) string {
			if slow && s.ID == 2 {
				return "starts"
			}
			return ""
		}
		f.mu.Unlock()
		create(t, ctx, managedPlane(store), "c", three)
		later(time.Second)
		one()
		f.mu.Lock()
		slow = false
		f.mu.Unlock()
		f.look()
		later(time.Second)
		c, err := managedPlane(store).Cluster(ctx, "c")
		if err != nil || c.Phase != control.Active || f.ids("c") != "1 2 3" {
			t.Errorf("%+v, %v", c, err)
		}
		item, err := store.Get(ctx, control.PlaneKey)
		if err != nil || !strings.Contains(string(item.Value), `"two"`) {
			t.Errorf("%s, %v", item.Value, err)
		}
	})
}

// Who dies keeps the others waiting until its lease ends; itself, started again, it does not.
func TestLeadOfOneThatDied(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, _ *farm) {
		lease, err := store.Grant(ctx, 10*time.Second)
		must(t, err)
		b, err := engine.Encode(engine.Host{Format: engine.First, Name: "one", Holder: "1", Boot: "b"})
		must(t, err)
		_, err = store.Txn(ctx, nil, []kv.Op{kv.PutLeased(control.PlaneKey, b, lease.ID())})
		must(t, err)
		var waits []string
		other := leader(t, store, engine.Host{Name: "other", Holder: "1", Boot: "c"}, &waits)
		defer other()
		later(time.Hour)
		if !slices.Equal(waits, []string{"other for one"}) {
			t.Errorf("waited: %v", waits)
		}
		again := leader(t, store, engine.Host{Name: "one", Holder: "1", Boot: "b"}, &waits)
		if len(waits) != 2 || waits[1] != "other for one" {
			t.Errorf("started again: %v", waits)
		}
		again()
		synctest.Wait()
		must(t, lease.Close(ctx))
		item, err := store.Get(ctx, control.PlaneKey)
		if err != nil || !strings.Contains(string(item.Value), `"other"`) {
			t.Errorf("%s, %v", item.Value, err)
		}
	})
}

func TestOperationsWaitForTheirWindow(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		s := three
		s.Window = "Sun:02:00-Sun:04:00" // synctest begins on Saturday, 2000-01-01 at midnight
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", s) })
		during(t, store, func(p *control.Plane) {
			op, err := p.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: []int32{2}, Window: true})
			must(t, err)
			later(25 * time.Hour)
			c, err := p.Cluster(ctx, "c")
			must(t, err)
			now, err := p.Operation(ctx, "c", op.Number)
			must(t, err)
			if now.State != control.Pending || c.Phase != control.Active || len(f.restarts()) != 0 {
				t.Errorf("after 25 hours: %+v, %s, began %v", now, c.Phase, f.restarts())
			}
			later(time.Hour + time.Minute)
			if now, err = p.Operation(ctx, "c", op.Number); err != nil || now.State != control.Done || len(f.restarts()) != 1 {
				t.Errorf("after 26 hours: %+v, %v, began %v", now, err, f.restarts())
			}
			if _, err = p.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: []int32{2}, Window: true}); err != nil {
				t.Error(err)
			}
			later(time.Minute)
			if len(f.restarts()) != 2 {
				t.Errorf("in the window: began %v", f.restarts())
			}
			later(3 * time.Hour)
			_, err = p.Begin(ctx, "c", control.Request{Kind: control.Roll, Window: true})
			must(t, err)
			_, err = p.Delete(ctx, "c", "") // who deletes does not wait
			must(t, err)
			later(time.Minute)
			if all, err := p.Clusters(ctx); err != nil || len(all) != 0 {
				t.Errorf("deleted: %+v, %v", all, err)
			}
		})
	})
}

func TestPatchesRollInTheirWindow(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		o := options()
		o.Release = "1.0"
		s := three
		s.Window = "Sun:02:00-Sun:04:00"
		settleWith(t, store, o, func(ctx context.Context, p *control.Plane) {
			create(t, ctx, p, "c", s)
			create(t, ctx, p, "unasked", three)
		})
		o.Release = "1.1"
		run, stop := context.WithCancel(ctx)
		plane := control.New(store, engine.Host{Name: "h", Version: "1.1"}, clockNow(), silent()).With(o)
		done := make(chan error, 1)
		go func() { done <- plane.Run(run) }()
		later(25 * time.Hour)
		if len(f.restarts()) != 0 {
			t.Errorf("before the window: began %v", f.restarts())
		}
		later(2 * time.Hour)
		stop()
		must(t, <-done)
		c, err := plane.Cluster(ctx, "c")
		must(t, err)
		ops, err := plane.OperationsOf(ctx, "c")
		must(t, err)
		if strings.Join(f.restarts(), " ") != "c/1 c/2 c/3" || c.Release != "1.1" || c.Version != 1 || len(ops) != 2 || ops[1].Request.Kind != control.Patch {
			t.Errorf("began %v, %+v, %+v", f.restarts(), c, ops)
		}
	})
}
