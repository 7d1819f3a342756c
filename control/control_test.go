package control_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newPlane(store kv.KV) *control.Plane {
	return control.New(store, engine.Host{Name: "h"}, clockNow(), silent())
}

func clockNow() clock.Clock { return clock.System{} }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func ensure(plane *control.Plane, c control.Cluster) error {
	_, err := plane.Ensure(context.Background(), c)
	return err
}

func put(t *testing.T, store kv.KV, key, value string) {
	t.Helper()
	_, err := store.Txn(context.Background(), nil, []kv.Op{kv.Put(key, []byte(value))})
	must(t, err)
}

func specs(t *testing.T, store kv.KV) []engine.NodeSpec {
	t.Helper()
	items, _, err := store.List(context.Background(), engine.SpecPrefix("h"))
	must(t, err)
	var out []engine.NodeSpec
	for _, item := range items {
		s, err := engine.Decode[engine.NodeSpec](item.Value)
		must(t, err)
		out = append(out, s)
	}
	return out
}

func TestEnsurePlacesBrokersOverZonesAndPorts(t *testing.T) {
	store := kv.NewMemory()
	plane := newPlane(store)
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 4, Listen: "127.0.0.1:9092"}))
	got := specs(t, store)
	if len(got) != 4 || got[2].Listen != "127.0.0.1:9292" || got[2].Zone != "zone-c" || got[3].Zone != "zone-a" {
		t.Fatalf("specs %+v", got)
	}
	for _, fewer := range []int{2, 0} {
		must(t, ensure(plane, control.Cluster{Name: "c", Brokers: fewer, Listen: "127.0.0.1:9092"}))
		if got := specs(t, store); len(got) != 4 {
			t.Fatalf("%d nodes after %d were asked for: they must hand over first", len(got), fewer)
		}
	}
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 5, Listen: "127.0.0.1:9092"}))
	if got := specs(t, store); len(got) != 5 {
		t.Fatalf("%d nodes after scaling out to 5", len(got))
	}
}

func TestEnsureChangesNothingThatIsRight(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := newPlane(store)
	c := control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092"}
	must(t, ensure(plane, c))
	_, before, err := store.List(ctx, "")
	must(t, err)
	must(t, ensure(plane, c))
	if _, after, err := store.List(ctx, ""); err != nil || after != before {
		t.Fatalf("revision went from %d to %d (%v): brokers would be looked at again", before, after, err)
	}
}

func TestPortsThatCollideAreNamed(t *testing.T) {
	err := ensure(newPlane(kv.NewMemory()), control.Cluster{Name: "c", Brokers: 3, Listen: "127.0.0.1:9092", Metrics: "127.0.0.1:9292"})
	if !errors.Is(err, control.ErrSpec) || !strings.Contains(err.Error(), "127.0.0.1:9292 is the address of the metrics of broker 1 and of broker 3") {
		t.Fatalf("error %v", err)
	}
}

func TestEnsureRefusesWhatCannotBe(t *testing.T) {
	plane := newPlane(kv.NewMemory())
	err := ensure(plane, control.Cluster{Name: "a/b", Brokers: -1, Listen: "nowhere", Memory: -1})
	if !errors.Is(err, control.ErrSpec) {
		t.Fatalf("error %v", err)
	}
	for _, fault := range []string{"a/b", "-1 brokers", "nowhere", "memory"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("the error does not name %q: %v", fault, err)
		}
	}
}

func TestNewerRecordsAreRefused(t *testing.T) {
	store := kv.NewMemory()
	put(t, store, "control/clusters/c", `{"format":99}`)
	err := ensure(newPlane(store), control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092"})
	if !errors.Is(err, control.ErrNewer) {
		t.Fatalf("error %v", err)
	}
	put(t, store, "nodes/h/d/1", `{"format":99}`)
	err = ensure(newPlane(store), control.Cluster{Name: "d", Brokers: 1, Listen: "127.0.0.1:9092"})
	if !errors.Is(err, engine.ErrNewer) {
		t.Fatalf("error %v", err)
	}
}

func TestReadinessFollowsReports(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := newPlane(store)
	if r, err := plane.Readiness(ctx, "c"); err != nil || r.Ready {
		t.Fatalf("a cluster without nodes is %+v, %v", r, err)
	}
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092"}))
	expect := func(ready bool, reason string) {
		t.Helper()
		r, err := plane.Readiness(ctx, "c")
		must(t, err)
		if r.Ready != ready || reason != "" && !strings.Contains(strings.Join(r.Reasons, "\n"), reason) {
			t.Fatalf("readiness %+v, want %v because of %q", r, ready, reason)
		}
	}
	expect(false, "not started yet")
	for _, c := range []struct {
		state engine.NodeState
		ready bool
	}{{engine.Starting, false}, {engine.Ready, true}, {engine.Failed, false}} {
		b, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: c.state, Message: "exited with code 1"})
		must(t, err)
		put(t, store, specs(t, store)[0].StatusKey(), string(b))
		reason := ""
		if !c.ready {
			reason = "exited with code 1"
		}
		expect(c.ready, reason)
	}
}

func TestWhereLogsAreKeptIsFixed(t *testing.T) {
	for kind, others := range map[string][]string{"": {"object"}, "file": {"object"}, "object": {"file"}} {
		store := kv.NewMemory()
		plane := newPlane(store)
		c := control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092", Log: kind}
		must(t, ensure(plane, c))
		for _, again := range []string{kind, ""} { // not said: as it was
			c.Log = again
			must(t, ensure(plane, c))
			if got := specs(t, store); got[0].Log != kind {
				t.Errorf("made with %q, ensured with %q: %q", kind, again, got[0].Log)
			}
		}
		for _, other := range append(others, "paper") {
			c.Log = other
			if err := ensure(plane, c); !errors.Is(err, control.ErrSpec) {
				t.Errorf("made with %q, ensured with %q: %v", kind, other, err)
			}
		}
	}
	if err := ensure(newPlane(kv.NewMemory()), control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092", Log: "paper"}); !errors.Is(err, control.ErrSpec) {
		t.Error(err)
	}
}
