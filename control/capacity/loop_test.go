package capacity_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control/capacity"
	"millrace/engine"
)

// world is a plane that does at once what it is asked, and brokers that report.
type world struct {
	t        *testing.T
	clock    *clock.Manual
	kv       *kv.Memory
	loop     *capacity.Loop
	clusters []capacity.Cluster
	refuse   error
	scaled   []int
	number   int64
	began    int64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: clock.NewManual(start), kv: kv.NewMemory(), clusters: []capacity.Cluster{{Name: "c", Prefix: "clusters/c/", Brokers: 1}}}
	t.Cleanup(func() { _ = w.kv.Close() })
	w.loop = w.newLoop()
	return w
}

func (w *world) newLoop() *capacity.Loop {
	loop, err := capacity.New(capacity.Config{Policy: policy(w.t), Keep: 3000},
		capacity.World{Plane: w, KV: w.kv, Clock: w.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	return loop
}

func (w *world) Elastic(context.Context) ([]capacity.Cluster, error) { return w.clusters, nil }

func (w *world) Scale(_ context.Context, name string, brokers int) error {
	if w.refuse != nil {
		return w.refuse
	}
	w.scaled = append(w.scaled, brokers)
	w.clusters[0].Brokers = brokers
	return nil
}

// report has so many brokers of the cluster tell of a load, and forget those beyond.
func (w *world) report(brokers int, load capacity.Worth) {
	w.t.Helper()
	w.number++
	ctx := context.Background()
	if _, err := w.kv.Txn(ctx, nil, []kv.Op{kv.DeletePrefix("clusters/c/load/")}); err != nil {
		w.t.Fatal(err)
	}
	for _, l := range spread(brokers, load) {
		l.Number, l.Incarnation = w.number, w.began
		b, err := engine.Encode(l)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.kv.Txn(ctx, nil, []kv.Op{kv.Put("clusters/c/"+engine.LoadKey(l.Broker), b)}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) round(want error) {
	w.t.Helper()
	w.clock.Advance(5 * time.Second)
	if err := w.loop.Round(context.Background()); !errors.Is(err, want) {
		w.t.Fatalf("round: %v, want %v", err, want)
	}
}

// A load that rises twentyfold and falls again: the number of brokers follows, out at once and in to one, and the history shows it.
func TestBrokersFollowTheLoad(t *testing.T) {
	w := newWorld(t)
	unit := policy(t).Unit
	base := 0.3 * unit.In
	for minute := range 150 {
		load := base
		if minute >= 10 && minute < 40 {
			load = 20 * base
		}
		for range 12 {
			w.report(w.clusters[0].Brokers, capacity.Worth{In: load})
			w.round(nil)
		}
		have := w.clusters[0].Brokers
		if minute >= 10 && minute < 40 && have != 10 || minute < 10 && have != 1 {
			t.Fatalf("%d brokers at minute %d", have, minute)
		}
	}
	if w.clusters[0].Brokers != 1 || w.scaled[0] != 10 {
		t.Errorf("steps %v", w.scaled)
	}
	points := w.loop.History("c")
	if len(points) != 150*12 {
		t.Fatalf("%d points", len(points))
	}
	for i, p := range points {
		if p.Load.In > p.Capacity.In && p.Want == p.Brokers {
			t.Fatalf("point %d: %+v is left as it is", i, p)
		}
		if i > 0 && !p.At.After(points[i-1].At) {
			t.Fatalf("point %d is not after the one before", i)
		}
	}
}

// P4: a broker that does not renew its report is silent.
func TestOldReportsDoNotCount(t *testing.T) {
	w := newWorld(t)
	w.clusters[0].Brokers = 2
	w.report(2, capacity.Worth{})
	for range 1000 {
		w.round(nil)
	}
	if len(w.scaled) != 0 {
		t.Fatalf("scaled to %v by reports that are old", w.scaled)
	}
	if points := w.loop.History("c"); points[len(points)-1].Reports != 0 || points[1].Reports != 2 {
		t.Errorf("the last point: %+v", points[len(points)-1])
	}
	w.began++ // the brokers begin anew, and are as busy as before
	for range 200 {
		w.report(2, capacity.Worth{})
		w.round(nil)
	}
	if len(w.scaled) != 1 || w.scaled[0] != 1 {
		t.Errorf("scaled to %v, want once, to 1", w.scaled)
	}
}

// P5.
func TestClustersThatChangeAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.clusters[0].Busy = true
	heavy := capacity.Worth{In: 3 * policy(t).Unit.In}
	for range 5 {
		w.report(1, heavy)
		w.round(nil)
	}
	if len(w.scaled) != 0 {
		t.Fatalf("scaled to %v while it is changed", w.scaled)
	}
	w.clusters[0].Busy = false
	w.refuse = errors.New("another operation was quicker")
	w.report(1, heavy)
	w.round(w.refuse)
	if points := w.loop.History("c"); points[len(points)-1].Refused == "" || points[len(points)-1].Want != 5 {
		t.Errorf("the last point: %+v", points[len(points)-1])
	}
	w.refuse = nil
	w.report(1, heavy)
	w.round(nil)
	if len(w.scaled) != 1 || w.scaled[0] != 5 {
		t.Errorf("scaled to %v, want 5", w.scaled)
	}
	// Nor does what was before a change count as calm.
	for i := range 200 {
		w.clusters[0].Busy = i == 100
		w.report(5, capacity.Worth{})
		w.round(nil)
	}
	w.clusters[0].Busy = false
	if len(w.scaled) != 1 {
		t.Errorf("scaled to %v", w.scaled)
	}
	w.loop = w.newLoop()
	// A loop that starts anew knows nothing of the calm before.
	for range 100 {
		w.report(5, capacity.Worth{})
		w.round(nil)
	}
	w.loop = w.newLoop()
	for range 100 {
		w.report(5, capacity.Worth{})
		w.round(nil)
	}
	if len(w.scaled) != 1 {
		t.Errorf("scaled to %v", w.scaled)
	}
}

func TestClustersComeAndGo(t *testing.T) {
	w := newWorld(t)
	w.report(1, capacity.Worth{})
	if _, err := w.kv.Txn(context.Background(), nil, []kv.Op{kv.Put("clusters/c/load/9", []byte("what?"))}); err != nil {
		t.Fatal(err)
	}
	w.round(nil)
	if got := w.loop.History("c"); len(got) != 1 || got[0].Reports != 1 {
		t.Errorf("history %+v", got)
	}
	w.clusters = nil
	w.round(nil)
	if w.loop.History("c") != nil {
		t.Error("a cluster that is gone is remembered")
	}
}

func TestPoliciesThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*capacity.Policy){
		"no in": func(p *capacity.Policy) { p.In = 0 }, "in above out": func(p *capacity.Policy) { p.In = p.Out },
		"out above all": func(p *capacity.Policy) { p.Out = 1.1 }, "to zero": func(p *capacity.Policy) { p.Least = 0 },
		"none": func(p *capacity.Policy) { p.Most = 0 },
	} {
		p := policy(t)
		change(&p)
		if _, err := capacity.New(capacity.Config{Policy: p}, capacity.World{}); !errors.Is(err, capacity.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
