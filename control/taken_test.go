package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// inUse is what an agent reports of a broker at whose address another program listens.
func inUse(s engine.NodeSpec, at ...string) string {
	for _, a := range s.Addresses() {
		if slices.Contains(at, a) {
			return "its address cannot be taken, another process may have it: listen tcp " + a + ": bind: address already in use"
		}
	}
	return ""
}

// A port of the range that another program holds is left to it (C17).
func TestPortsOfOthersAreLeftToThemAfterACrashAtEveryWrite(t *testing.T) {
	everywhere(t, func(_ context.Context, _ *control.Plane, f *farm) {
		f.bad = func(s engine.NodeSpec) string {
			return inUse(s, "127.0.0.1:20000", "127.0.0.1:20016", "127.0.0.1:20024")
		}
	}, func(ctx context.Context, p *control.Plane) error {
		_, err := p.Create(ctx, "c", three, nil)
		return err
	}, func(t *testing.T, store kv.KV, f *farm) {
		c, err := managedPlane(store).Cluster(context.Background(), "c")
		must(t, err)
		at, err := managedPlane(store).Endpoints(context.Background(), "c")
		must(t, err)
		all := slices.Sorted(slices.Values(at["CLIENT"]))
		if want := []string{"127.0.0.1:20008", "127.0.0.1:20032", "127.0.0.1:20040"}; c.Phase != control.Active || !slices.Equal(all, want) || f.ids("c") != "1 2 3" {
			t.Errorf("%s at %v, running %q", c.Phase, all, f.ids("c"))
		}
	})
}

// A range that somebody else uses is not searched for ever, and a broker whose address is in use later on keeps it.
func TestPortsOfOthersAreNotSearchedForEver(t *testing.T) {
	inFarm(t, func(t *testing.T, _ context.Context, store kv.KV, f *farm) {
		f.bad = func(s engine.NodeSpec) string { return inUse(s, s.Listen) }
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", control.Settings{Brokers: 1}) })
		c, err := managedPlane(store).Cluster(context.Background(), "c")
		must(t, err)
		op, err := managedPlane(store).Operation(context.Background(), "c", 1)
		must(t, err)
		if c.Phase != control.Broken || !strings.Contains(c.Fault.Message, "address already in use") || len(op.Steps[0].Taken) != 16 {
			t.Errorf("%+v, tried %v", c, op.Steps[0].Taken)
		}
	})
}

// An update to a configuration that is deleted in the moment of its beginning does not begin (C18).
func TestAnOperationHoldsItsConfiguration(t *testing.T) {
	inFarm(t, func(t *testing.T, _ context.Context, store kv.KV, _ *farm) {
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		put(t, store, "configuration", "x")
		gone := errors.New("it is being deleted")
		var asked atomic.Int32
		o := options()
		o.Holds = func(ctx context.Context, _ control.Revision) ([]kv.Cond, error) {
			item, err := store.Get(ctx, "configuration")
			if err != nil || string(item.Value) != "x" {
				return nil, gone
			}
			if asked.Add(1) == 1 {
				put(t, store, "configuration", "deleting") // between the question and the write
			}
			return []kv.Cond{kv.ModRevEquals("configuration", item.ModRev)}, nil
		}
		p := newPlane(store).With(o)
		uses := three
		uses.Configuration = control.Revision{ID: "r", Number: 1}
		if _, err := p.Create(t.Context(), "d", uses, nil); !errors.Is(err, gone) {
			t.Errorf("a create: %v", err)
		}
		asked.Store(0)
		put(t, store, "configuration", "x")
		_, err := p.Begin(t.Context(), "c", control.Request{Kind: control.Update, Settings: &uses})
		c, readErr := p.Cluster(t.Context(), "c")
		must(t, readErr)
		if !errors.Is(err, gone) || c.Operation != 0 {
			t.Errorf("an update: %v, %+v", err, c)
		}
	})
}

// What brokers are started with comes to each by a restart of its own, to added ones at once, and is taken back where an update fails.
func TestPropertiesThatNeedAStart(t *testing.T) {
	o := options()
	o.Starting = func(_ context.Context, _ control.Cluster, r control.Revision) (string, error) {
		if r.ID == "" {
			return "", nil
		}
		return "num.io.threads=" + r.ID, nil
	}
	to := func(t *testing.T, store kv.KV, change func(*control.Settings)) {
		settleWith(t, store, o, func(ctx context.Context, p *control.Plane) { must(t, updated(ctx, p, change)) })
	}
	inFarm(t, func(t *testing.T, _ context.Context, store kv.KV, f *farm) {
		settleWith(t, store, o, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		to(t, store, func(s *control.Settings) { s.Configuration, s.Brokers = control.Revision{ID: "4", Number: 1}, 4 })
		for _, s := range specs(t, store) {
			if s.Properties != "num.io.threads=4" || s.Format != engine.Format {
				t.Errorf("%+v", s)
			}
		}
		if got := f.restarts(); !slices.Equal(got, []string{"c/1", "c/2", "c/3"}) {
			t.Errorf("restarted %v", got)
		}
		f.mu.Lock()
		f.bad = func(s engine.NodeSpec) string {
			if s.ID == 2 && s.Properties == "num.io.threads=5" {
				return "no threads"
			}
			return ""
		}
		f.mu.Unlock()
		to(t, store, func(s *control.Settings) { s.Configuration.ID = "5" })
		c, err := newPlane(store).Cluster(t.Context(), "c")
		must(t, err)
		for _, s := range specs(t, store) {
			if s.Properties != "num.io.threads=4" || c.Properties != s.Properties || c.Fault.Code != "BrokersNotServing" {
				t.Errorf("after a failed update %+v, %+v", s, c)
			}
		}
	})
}
