package control_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// host plays the agent and the brokers of one host: it does what specs say in no time, and moves partitions as brokers do.
type host struct {
	t     *testing.T
	store kv.KV

	mu      sync.Mutex
	running map[int32]engine.NodeSpec // what each process was started for
	owners  map[int32]int             // partitions by broker
	late    int                       // partitions that come to a broker between its drain and its end
	broken  string                    // a program that does not start
	missing string                    // a program that this host does not have
	faults  []string
	maxDown int // brokers that were down at a time, after having served
	began   []string

	lastOwners  map[int32]int // what was counted last; it is reported until it is counted anew, as by an agent that lags
	lastCounted int64
}

func newHost(t *testing.T, store kv.KV, owners map[int32]int) *host {
	return &host{t: t, store: store, running: map[int32]engine.NodeSpec{}, owners: owners}
}

// run acts on specs until ctx ends.
func (h *host) run(ctx context.Context) {
	apply := func(item kv.Item) {
		spec, err := engine.Decode[engine.NodeSpec](item.Value)
		if err != nil {
			h.t.Error(err)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.act(spec)
		h.report()
	}
	_ = kv.Follow(ctx, h.store, engine.SpecPrefix("h"), func(items []kv.Item, _ int64) error {
		for _, item := range items {
			apply(item)
		}
		return nil
	}, func(e kv.Event) error {
		if e.Type == kv.EventPut {
			apply(e.Item)
			return nil
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for id, s := range h.running {
			if s.Key() == e.Item.Key {
				h.fault("the spec of broker %d went while it ran", id)
			}
		}
		return nil
	})
}

func (h *host) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// act makes one spec so.
func (h *host) act(s engine.NodeSpec) {
	old, runs := h.running[s.ID]
	switch {
	case s.Stopped && s.Remove:
		if n := h.owners[s.ID]; n > 0 {
			h.fault("broker %d was deleted with %d partitions", s.ID, n)
		}
		delete(h.running, s.ID)
		delete(h.owners, s.ID)
	case s.Stopped:
		if runs && h.late > 0 {
			h.owners[s.ID] += h.late
			h.late = 0
		}
		delete(h.running, s.ID)
	case runs && h.missing != "" && s.Binary == h.missing:
		return // it runs on; report says so
	case !runs || old.Round != s.Round || old.Binary != s.Binary:
		if runs {
			h.began = append(h.began, fmt.Sprintf("%d %s%s", s.ID, s.Binary, s.Auth))
		}
		h.running[s.ID] = s
		h.owners[s.ID] += 0
	}
	if s.Drain && !s.Stopped {
		h.owners[1] += h.owners[s.ID]
		h.owners[s.ID] = 0
	}
	if _, runs := h.running[s.ID]; runs {
		h.running[s.ID] = s
	}
}

// report writes the status of every node, as its agent would.
func (h *host) report() {
	items, _, err := h.store.List(context.Background(), engine.SpecPrefix("h"))
	must(h.t, err)
	down := 0
	for _, item := range items {
		spec, err := engine.Decode[engine.NodeSpec](item.Value)
		must(h.t, err)
		running, runs := h.running[spec.ID]
		st := engine.NodeStatus{Format: engine.First, State: engine.Ready, Round: running.Round}
		switch {
		case !runs && spec.Remove:
			st.State = engine.Removed
		case !runs && spec.Stopped:
			st.State = engine.Stopped
		case !runs:
			continue
		case h.broken != "" && running.Binary == h.broken:
			st.State, st.Message = engine.Failed, "exited with code 1"
			down++
		case running.Count != 0:
			h.lastOwners, h.lastCounted = maps.Clone(h.owners), running.Count
		}
		if runs && h.missing != "" && spec.Binary == h.missing {
			st.Refused, st.Message = spec.Round, "no such file"
		}
		if spec.ID == 1 && st.State == engine.Ready {
			st.Owners, st.Counted = h.lastOwners, h.lastCounted
		}
		b, err := engine.Encode(st)
		must(h.t, err)
		if old, err := h.store.Get(context.Background(), spec.StatusKey()); err == nil && string(old.Value) == string(b) {
			continue
		}
		_, err = h.store.Txn(context.Background(), nil, []kv.Op{kv.Put(spec.StatusKey(), b)})
		must(h.t, err)
	}
	h.maxDown = max(h.maxDown, down)
	h.reachOneAnother()
}

// reachOneAnother is C9: brokers that run come to each other by the internal listener, or without one by PLAINTEXT; and who has nothing to show
// is not refused.
func (h *host) reachOneAnother() {
	has := func(s engine.NodeSpec, name string) bool {
		return slices.ContainsFunc(s.Served(), func(l engine.Listener) bool { return l.Name == name })
	}
	for a, from := range h.running {
		for b, to := range h.running {
			inside := has(from, engine.Internal) && has(to, engine.Internal)
			if a != b && !inside && (!has(to, engine.Client) || to.Secure.Authorize) {
				h.fault("broker %d with %q cannot reach broker %d with %q", a, from.Auth, b, to.Auth)
			}
		}
	}
}

// cut is a store whose reader is stopped at a certain write, which is applied or not.
type cut struct {
	kv.KV
	mu      sync.Mutex
	left    int // writes until the cut; below zero: none
	applies bool
	stop    func()
}

func (c *cut) Txn(ctx context.Context, cond []kv.Cond, ops []kv.Op) (int64, error) {
	c.mu.Lock()
	c.left--
	now := c.left == 0
	gone := c.left < 0
	c.mu.Unlock()
	if gone || now && !c.applies {
		c.stop()
		return 0, context.Canceled
	}
	rev, err := c.KV.Txn(ctx, cond, ops)
	if now {
		c.stop()
		return 0, context.Canceled
	}
	return rev, err
}

const never = 1 << 30

// life runs a control plane over the store until done, or until its k-th write.
func life(t *testing.T, store kv.KV, k int, applies bool, begin func(context.Context, *control.Plane)) (cutOff bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &cut{KV: store, left: k, applies: applies, stop: cancel}
	plane := newPlane(c)
	begin(ctx, plane)
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	settledNow := func() bool {
		cl, err := newPlane(store).Cluster(context.Background(), "c")
		return err == nil && cl.Operation == 0 && (cl.Wanted == 0 || cl.Wanted == cl.Brokers) && cl.WantedAuth == ""
	}
	for ctx.Err() == nil && !settledNow() {
		time.Sleep(10 * time.Millisecond) // of synctest's time
	}
	cutOff = ctx.Err() != nil
	cancel()
	must(t, <-done)
	return cutOff
}

// outcome is what a scenario left.
type outcome struct {
	specs []engine.NodeSpec
	host  *host
	ops   []control.Operation
}

// scenario runs an operation on a cluster of n brokers, whose control plane dies at its k-th write and is followed by another.
func scenario(t *testing.T, auth string, n int, owners map[int32]int, r control.Request, k int, applies bool, prepare func(*host)) (out outcome, cutOff bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		defer wait.Wait()
		defer cancel()
		described := control.Cluster{Name: "c", Brokers: n, Listen: "127.0.0.1:9092"}
		described.Auth = auth
		must(t, ensure(newPlane(store), described))
		described.Auth = ""
		h := newHost(t, store, owners)
		if prepare != nil {
			prepare(h)
		}
		wait.Go(func() { h.run(ctx) })
		synctest.Wait()
		begun := control.Operation{}
		cutOff = life(t, store, k, applies, func(ctx context.Context, p *control.Plane) { begun, _ = p.Begin(ctx, "c", r) })
		if cutOff {
			described.Brokers = 0
			life(t, store, never, true, func(ctx context.Context, p *control.Plane) {
				_, err := p.Ensure(ctx, described)
				must(t, err)
				if ops, err := p.OperationsOf(ctx, "c"); err == nil && len(ops) == 0 {
					begun, err = p.Begin(ctx, "c", r) // the first attempt left nothing
					must(t, err)
				}
			})
		}
		_ = begun
		synctest.Wait()
		ops, err := newPlane(store).OperationsOf(context.Background(), "c")
		must(t, err)
		out = outcome{specs: specs(t, store), host: h, ops: ops}
	})
	return out, cutOff
}

// everyCut runs a scenario without a crash, and with one at every write.
func everyCut(t *testing.T, n int, owners func() map[int32]int, r control.Request, prepare func(*host), check func(t *testing.T, o outcome)) {
	t.Helper()
	everyCutOf(t, "", n, owners, r, prepare, check)
}

// everyCutOf is everyCut for a cluster with logins.
func everyCutOf(t *testing.T, auth string, n int, owners func() map[int32]int, r control.Request, prepare func(*host), check func(t *testing.T, o outcome)) {
	t.Helper()
	for k := 1; ; k += betweenCuts() {
		more := false
		for _, applies := range []bool{false, true} {
			o, cutOff := scenario(t, auth, n, owners(), r, k, applies, prepare)
			more = more || cutOff
			if len(o.host.faults) > 0 {
				t.Fatalf("cut at write %d (applied %v): %s", k, applies, strings.Join(o.host.faults, "; "))
			}
			if len(o.ops) != 1 || o.ops[0].State == control.Running {
				t.Fatalf("cut at write %d (applied %v): operations %+v", k, applies, o.ops)
			}
			check(t, o)
		}
		if !more {
			t.Logf("%d writes", k-1)
			return
		}
	}
}

func TestScaleInAfterACrashAtEveryWrite(t *testing.T) {
	owners := func() map[int32]int { return map[int32]int{1: 3, 2: 3, 3: 3} }
	everyCut(t, 3, owners, control.Request{Kind: control.Scale, Brokers: 1}, func(h *host) { h.late = 2 }, func(t *testing.T, o outcome) {
		if len(o.specs) != 1 || o.specs[0].Count != 0 || o.host.owners[1] != 11 || len(o.host.running) != 1 {
			t.Fatalf("left: specs %+v, owners %v", o.specs, o.host.owners)
		}
	})
}

func TestScaleOutAfterACrashAtEveryWrite(t *testing.T) {
	owners := func() map[int32]int { return map[int32]int{1: 3} }
	everyCut(t, 1, owners, control.Request{Kind: control.Scale, Brokers: 3}, nil, func(t *testing.T, o outcome) {
		if len(o.specs) != 3 || len(o.host.running) != 3 {
			t.Fatalf("left: specs %+v", o.specs)
		}
	})
}

func TestRollAfterACrashAtEveryWrite(t *testing.T) {
	owners := func() map[int32]int { return map[int32]int{1: 3, 2: 3, 3: 3} }
	everyCut(t, 3, owners, control.Request{Kind: control.Roll}, nil, func(t *testing.T, o outcome) {
		if got := strings.Join(o.host.began, ","); got != "1 ,2 ,3 " {
			t.Fatalf("restarted: %q", got)
		}
	})
}

func TestUpgradeThatDoesNotServeIsTakenBack(t *testing.T) {
	owners := func() map[int32]int { return map[int32]int{1: 1, 2: 1} }
	everyCut(t, 2, owners, control.Request{Kind: control.Upgrade, Binary: "/new"}, func(h *host) { h.broken = "/new" }, func(t *testing.T, o outcome) {
		op := o.ops[0]
		if op.State != control.Failed || !strings.Contains(op.Error, "exited with code 1") {
			t.Fatalf("operation %+v", op)
		}
		if o.host.maxDown > 1 || o.specs[0].Binary != "" || o.specs[1].Binary != "" {
			t.Fatalf("%d down at a time; specs %+v", o.host.maxDown, o.specs)
		}
	})
}

func TestUpgradeToAProgramThatAHostLacksStopsNothing(t *testing.T) {
	owners := func() map[int32]int { return map[int32]int{1: 1, 2: 1} }
	everyCut(t, 2, owners, control.Request{Kind: control.Upgrade, Binary: "/new"}, func(h *host) { h.missing = "/new" }, func(t *testing.T, o outcome) {
		op := o.ops[0]
		if op.State != control.Failed || !strings.Contains(op.Error, "no such file") || !strings.Contains(op.Error, "host h") {
			t.Fatalf("operation %+v", op)
		}
		if len(o.host.began) != 0 || o.specs[0].Binary != "" || o.specs[0].Round != 0 || o.specs[1].Round != 0 {
			t.Fatalf("restarted %v; specs %+v", o.host.began, o.specs)
		}
	})
}

// A roll does not go on while a host is lost, whatever its agent reported last.
func TestRollWaitsForAHostThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		defer wait.Wait()
		defer cancel()
		join(t, store, "i")
		must(t, ensure(newPlane(store), control.Cluster{Name: "c", Brokers: 2, Listen: "127.0.0.1:9092"}))
		h := newHost(t, store, map[int32]int{1: 1, 2: 1})
		wait.Go(func() { h.run(ctx) })
		serves, err := engine.Encode(engine.NodeStatus{Format: engine.First, State: engine.Ready})
		must(t, err)
		put(t, store, engine.NodeSpec{Host: "i", Cluster: "c", ID: 2}.StatusKey(), string(serves))
		synctest.Wait()
		plane := newPlane(store)
		op, err := plane.Begin(ctx, "c", control.Request{Kind: control.Roll})
		must(t, err)
		leave(t, store, "i")
		wait.Go(func() { must(t, plane.Run(ctx)) })
		time.Sleep(time.Hour)
		op, err = plane.Operation(ctx, "c", op.Number)
		must(t, err)
		if len(h.began) != 0 || op.State != control.Running || !strings.Contains(op.Steps[0].Detail, "millrace agent --name i") {
			t.Errorf("restarted %v, operation %+v", h.began, op)
		}
	})
}

func TestUpgradeReachesEveryBroker(t *testing.T) {
	o, _ := scenario(t, "", 2, map[int32]int{1: 1, 2: 1}, control.Request{Kind: control.Upgrade, Binary: "/new"}, never, true, nil)
	if o.ops[0].State != control.Done || o.specs[0].Binary != "/new" || o.specs[1].Binary != "/new" {
		t.Fatalf("operation %+v, specs %+v", o.ops[0], o.specs)
	}
}

// TestFewerBrokersAreScaledInByRun: what serve is told when it starts again.
func TestFewerBrokersAreScaledInByRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		defer wait.Wait()
		defer cancel()
		c := control.Cluster{Name: "c", Brokers: 3, Listen: "127.0.0.1:9092"}
		must(t, ensure(newPlane(store), c))
		h := newHost(t, store, map[int32]int{1: 1, 2: 1, 3: 1})
		wait.Go(func() { h.run(ctx) })
		synctest.Wait()
		c.Brokers = 2
		life(t, store, never, true, func(ctx context.Context, p *control.Plane) {
			_, err := p.Ensure(ctx, c)
			must(t, err)
		})
		if got := specs(t, store); len(got) != 2 || len(h.faults) > 0 || h.owners[1] != 2 {
			t.Fatalf("specs %+v, faults %v, owners %v", got, h.faults, h.owners)
		}
	})
}

func TestOneOperationAtATime(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := newPlane(store)
	if _, err := plane.Begin(ctx, "c", control.Request{Kind: control.Roll}); !errors.Is(err, control.ErrNoCluster) {
		t.Errorf("no cluster: %v", err)
	}
	must(t, ensure(plane, control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092"}))
	for _, r := range []control.Request{{Kind: control.Scale, Brokers: 16}, {Kind: control.Scale}, {Kind: "SING"}} {
		if _, err := plane.Begin(ctx, "c", r); !errors.Is(err, control.ErrSpec) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if op, err := plane.Begin(ctx, "c", control.Request{Kind: control.Scale, Brokers: 1}); err != nil || op.State != control.Done || op.Number != 0 {
		t.Errorf("nothing to do: %+v, %v", op, err)
	}
	op, err := plane.Begin(ctx, "c", control.Request{Kind: control.Roll})
	must(t, err)
	if _, err := plane.Begin(ctx, "c", control.Request{Kind: control.Roll}); !errors.Is(err, control.ErrBusy) || !strings.Contains(err.Error(), "roll, number 1") {
		t.Errorf("a second one: %v", err)
	}
	if got, err := plane.Operation(ctx, "c", op.Number); err != nil || got.State != control.Running || len(got.Steps) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := plane.Operation(ctx, "c", 9); !errors.Is(err, control.ErrNoOperation) {
		t.Errorf("unknown: %v", err)
	}
}
