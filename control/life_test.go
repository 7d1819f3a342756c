package control_test

import (
	"context"
	"encoding/json"
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

// farm plays all agents, brokers and the object store of an installation: specs are done in no time.
type farm struct {
	t     *testing.T
	store kv.KV

	mu      sync.Mutex
	running map[string]engine.NodeSpec   // by key: what each process was started for
	cut     map[string]bool              // hosts whose agent is away; their processes run on
	owners  map[string]map[int32]int     // partitions by cluster and broker
	kafka   *kafka                       // what clusters of Apache Kafka are like
	objects map[string]bool              // clusters that have something in the object store
	bad     func(engine.NodeSpec) string // why a process does not serve; "": it does
	began   []string                     // "cluster/id" for each start after the first
	faults  []string
}

func newFarm(t *testing.T, store kv.KV) *farm {
	return &farm{
		t: t, store: store, running: map[string]engine.NodeSpec{}, cut: map[string]bool{}, owners: map[string]map[int32]int{}, objects: map[string]bool{},
		kafka: &kafka{behind: map[int32]int{}, may: map[int32]bool{}},
		bad:   func(engine.NodeSpec) string { return "" },
	}
}

func (f *farm) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// run acts on specs until ctx ends.
func (f *farm) run(ctx context.Context) {
	_ = kv.Follow(ctx, f.store, engine.AllSpecs, func([]kv.Item, int64) error { f.look(); return nil }, func(kv.Event) error { f.look(); return nil })
}

// look makes all specs so and reports.
func (f *farm) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	items, _, err := f.store.List(context.Background(), engine.AllSpecs)
	must(f.t, err)
	there := map[string]bool{}
	for _, item := range items {
		s, err := engine.Decode[engine.NodeSpec](item.Value)
		must(f.t, err)
		there[s.Key()] = true
		if !f.cut[s.Host] {
			f.act(s)
		}
	}
	for key, s := range f.running {
		if !there[key] {
			f.fault("the spec of broker %d of %s went while it ran", s.ID, s.Cluster)
			delete(f.running, key)
		}
	}
	for _, item := range items {
		if s, _ := engine.Decode[engine.NodeSpec](item.Value); !f.cut[s.Host] {
			f.report(s)
		}
	}
	f.check()
}

func (f *farm) act(s engine.NodeSpec) {
	old, runs := f.running[s.Key()]
	if f.owners[s.Cluster] == nil {
		f.owners[s.Cluster] = map[int32]int{}
	}
	owners := f.owners[s.Cluster]
	if s.Engine == engine.Standard {
		f.kafka.acts(f, s, old, runs)
	}
	switch {
	case s.Stopped:
		delete(f.running, s.Key())
		if s.Purge && f.objects[s.Cluster] {
			for _, o := range f.running {
				if o.Cluster == s.Cluster && !f.cut[o.Host] {
					f.fault("objects of %s were deleted while broker %d ran", s.Cluster, o.ID)
				}
			}
			delete(f.objects, s.Cluster)
		}
	case !runs || old.Round != s.Round || old.Binary != s.Binary:
		if runs {
			f.began = append(f.began, fmt.Sprintf("%s/%d", s.Cluster, s.ID))
		}
		f.running[s.Key()], f.objects[s.Cluster] = s, true
		if f.bad(s) == "" && s.Role == "" {
			owners[s.ID] += 0
		}
	case f.bad(old) != "": // it does not run in truth
		f.running[s.Key()] = s
	case s.Engine == engine.Standard && old.Version == s.Version && old.Heap == s.Heap && old.Auth == s.Auth && old.Listen == s.Listen:
		f.running[s.Key()] = s // its properties count from the next start on
	case old.Properties != s.Properties || old.Memory != s.Memory || old.Auth != s.Auth || old.Listen != s.Listen:
		f.fault("broker %d of %s was changed without a round", s.ID, s.Cluster)
		f.running[s.Key()] = s
	default:
		f.running[s.Key()] = s
	}
	if s.Engine != engine.Standard && s.Drain && owners[s.ID] > 0 {
		owners[1] += owners[s.ID]
		owners[s.ID] = 0
	}
}

// report writes the status of a node, as its agent would.
func (f *farm) report(s engine.NodeSpec) {
	run, runs := f.running[s.Key()]
	st := engine.NodeStatus{Format: engine.First, State: engine.Ready, Round: run.Round, PID: 1}
	switch {
	case !runs && s.Remove:
		st.State, st.Purged, st.PID = engine.Removed, s.Purge, 0
	case !runs:
		st.State, st.PID = engine.Stopped, 0
	case f.bad(run) != "":
		st.State, st.Message = engine.Failed, f.bad(run)
	case s.Count != 0:
		st.Owners, st.Counted = maps.Clone(f.owners[s.Cluster]), s.Count
	}
	b, err := engine.Encode(st)
	must(f.t, err)
	if old, err := f.store.Get(context.Background(), s.StatusKey()); err == nil && string(old.Value) == string(b) {
		return
	}
	_, err = f.store.Txn(context.Background(), []kv.Cond{kv.KeyExists(s.Key())}, []kv.Op{kv.Put(s.StatusKey(), b)})
	if !errors.Is(err, kv.ErrConflict) {
		must(f.t, err)
	}
}

// check is what holds at every moment: two processes of hosts that have agents never are one broker, nor at one address.
func (f *farm) check() {
	f.reachOneAnother()
	who, at := map[string]string{}, map[string]string{}
	for key, s := range f.running {
		if f.cut[s.Host] {
			continue
		}
		id := fmt.Sprintf("%s/%d", s.Cluster, s.ID)
		if other := who[id]; other != "" {
			f.fault("broker %s runs as %s and %s", id, other, key)
		}
		who[id] = key
		for _, a := range s.Addresses() {
			if other := at[a]; other != "" {
				f.fault("%s and %s listen at %s", other, key, a)
			}
			at[a] = key
		}
	}
}

// reachOneAnother is C9, as for host.
func (f *farm) reachOneAnother() {
	has := func(s engine.NodeSpec, name string) bool {
		return slices.ContainsFunc(s.Served(), func(l engine.Listener) bool { return l.Name == name })
	}
	for _, from := range f.running {
		for _, to := range f.running {
			inside := has(from, engine.Internal) && has(to, engine.Internal)
			if f.cut[from.Host] || f.cut[to.Host] || from.Engine == engine.Standard {
				continue // brokers have been placed elsewhere, or nobody can do anything
			}
			if from.Cluster == to.Cluster && from.ID != to.ID && !inside && (!has(to, engine.Client) || to.Secure.Authorize) {
				f.fault("broker %d with %q cannot reach broker %d with %q", from.ID, from.Auth, to.ID, to.Auth)
			}
		}
	}
}

// ids are the running brokers of a cluster.
func (f *farm) ids(cluster string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, s := range f.running {
		if s.Cluster == cluster && !f.cut[s.Host] {
			all = append(all, fmt.Sprint(s.ID))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// restarts are the processes that were started anew, as "cluster/id".
func (f *farm) restarts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.began)
}

// options are those of the planes here.
func options() control.Options {
	return control.Options{
		Like: control.Cluster{Log: "object", Region: "eu-west-1"},
		Memory: func(brokerType string) (int64, error) {
			sizes := map[string]int64{"": 0, "express.m7g.large": 1 << 30, "express.m7g.xlarge": 2 << 30}
			n, ok := sizes[brokerType]
			if !ok {
				return 0, fmt.Errorf("%w: broker type %q", control.ErrSpec, brokerType)
			}
			return n, nil
		},
		Identity: control.Identity{
			Key:    "catalog/cluster",
			Record: func(id, log string, _ time.Time) []byte { return []byte(id + " " + log) },
			ID:     func(b []byte) (string, error) { id, _, _ := strings.Cut(string(b), " "); return id, nil },
		},
		Keys: func(name string) []string { return []string{"security/datakeys/clusters/" + name + "/"} },
	}
}

func managedPlane(store kv.KV) *control.Plane { return newPlane(store).With(options()) }

// inFarm runs a test with a farm whose brokers are looked after, in synctest's time.
func inFarm(t *testing.T, do func(t *testing.T, ctx context.Context, store kv.KV, f *farm)) {
	synctest.Test(t, func(t *testing.T) {
		store := kv.NewMemory()
		defer func() { must(t, store.Close()) }()
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		defer wait.Wait()
		defer cancel()
		f := newFarm(t, store)
		wait.Go(func() { f.run(ctx) })
		do(t, ctx, store, f)
		if len(f.faults) > 0 {
			t.Error(strings.Join(f.faults, "; "))
		}
	})
}

// settle runs a control plane until no cluster has an operation under way, or until its k-th write, and says whether it came to that.
func settle(t *testing.T, store kv.KV, k int, applies bool, begin func(context.Context, *control.Plane)) (cutOff bool) {
	t.Helper()
	return settleBy(t, store, options(), k, applies, begin)
}

// settleWith is settle for a control plane with other options.
func settleWith(t *testing.T, store kv.KV, o control.Options, begin func(context.Context, *control.Plane)) {
	t.Helper()
	settleBy(t, store, o, never, true, begin)
}

func settleBy(t *testing.T, store kv.KV, o control.Options, k int, applies bool, begin func(context.Context, *control.Plane)) (cutOff bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	plane := newPlane(&cut{KV: store, left: k, applies: applies, stop: cancel}).With(o)
	begin(ctx, plane)
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	idle := func() bool {
		all, err := managedPlane(store).Clusters(context.Background())
		must(t, err)
		return !slices.ContainsFunc(all, func(c control.Cluster) bool {
			return c.Operation != 0 || c.Phase == control.Creating || c.Phase == control.Deleting || c.Wanted != c.Brokers
		})
	}
	for ctx.Err() == nil && !idle() {
		later(200 * time.Millisecond) // of synctest's time
	}
	synctest.Wait()
	cutOff = ctx.Err() != nil
	cancel()
	must(t, <-done)
	return cutOff
}

// betweenCuts is how many writes are between two at which a plane dies: each is tried, but with -short, as under the race detector, not all.
func betweenCuts() int {
	if testing.Short() {
		return 5
	}
	return 1
}

// everywhere does something without a crash, and with one at each of its writes; then it is begun again where the crash left nothing of it.
func everywhere(t *testing.T, prepare func(ctx context.Context, p *control.Plane, f *farm), begin func(ctx context.Context, p *control.Plane) error,
	check func(t *testing.T, store kv.KV, f *farm),
) {
	t.Helper()
	everywhereWith(t, func(*farm) control.Options { return options() }, prepare, begin, check)
}

// everywhereWith is everywhere for a control plane with other options.
func everywhereWith(t *testing.T, with func(f *farm) control.Options, prepare func(ctx context.Context, p *control.Plane, f *farm),
	begin func(ctx context.Context, p *control.Plane) error, check func(t *testing.T, store kv.KV, f *farm),
) {
	t.Helper()
	for k := 1; ; k += betweenCuts() {
		more := false
		for _, applies := range []bool{false, true} {
			inFarm(t, func(t *testing.T, _ context.Context, store kv.KV, f *farm) {
				settleBy(t, store, with(f), never, true, func(ctx context.Context, p *control.Plane) { prepare(ctx, p, f) })
				synctest.Wait()
				before, err := managedPlane(store).Clusters(context.Background())
				must(t, err)
				cutOff := settleBy(t, store, with(f), k, applies, func(ctx context.Context, p *control.Plane) { _ = begin(ctx, p) })
				more = more || cutOff
				settleBy(t, store, with(f), never, true, func(ctx context.Context, p *control.Plane) {
					now, err := p.Clusters(ctx)
					must(t, err)
					if a, _ := json.Marshal(before); cutOff && string(a) == string(mustJSON(t, now)) {
						must(t, begin(ctx, p))
					}
				})
				check(t, store, f)
				if t.Failed() {
					t.Fatalf("cut at write %d (applied %v)", k, applies)
				}
			})
			if t.Failed() {
				return
			}
		}
		if !more {
			t.Logf("%d writes", k-1)
			return
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func create(t *testing.T, ctx context.Context, p *control.Plane, name string, s control.Settings) control.Cluster {
	t.Helper()
	c, err := p.Create(ctx, name, s, nil)
	must(t, err)
	return c
}

var three = control.Settings{Brokers: 3, BrokerType: "express.m7g.large"}

func TestCreateAfterACrashAtEveryWrite(t *testing.T) {
	everywhere(t, func(context.Context, *control.Plane, *farm) {}, func(ctx context.Context, p *control.Plane) error {
		_, err := p.Create(ctx, "c", three, map[string]string{"a": "b"})
		return err
	}, func(t *testing.T, store kv.KV, f *farm) {
		c, err := managedPlane(store).Cluster(context.Background(), "c")
		must(t, err)
		kafka, err := store.Get(context.Background(), "clusters/c/catalog/cluster")
		must(t, err)
		if c.Phase != control.Active || c.Version != 1 || f.ids("c") != "1 2 3" || c.Tags["a"] != "b" || string(kafka.Value) != c.ID+" object" {
			t.Errorf("cluster %+v, running %q, id in Kafka %q", c, f.ids("c"), kafka.Value)
		}
		at, err := managedPlane(store).Endpoints(context.Background(), "c")
		must(t, err)
		if want := []string{"127.0.0.1:20000", "127.0.0.1:20008", "127.0.0.1:20016"}; !slices.Equal(at["CLIENT"], want) || len(at) != 1 {
			t.Errorf("endpoints %v", at)
		}
		for _, s := range specs(t, store) {
			if s.Memory != 1<<30 || s.Log != "object" {
				t.Errorf("spec %+v", s)
			}
		}
	})
}

func TestDeleteAfterACrashAtEveryWrite(t *testing.T) {
	everywhere(t, func(ctx context.Context, p *control.Plane, f *farm) {
		create(t, ctx, p, "c", three)
		create(t, ctx, p, "other", control.Settings{Brokers: 1})
		put(t, f.store, "clusters/c/catalog/topics/t", "x")
		put(t, f.store, "security/datakeys/clusters/c/1", "x")
	}, func(ctx context.Context, p *control.Plane) error {
		if _, err := p.Cluster(ctx, "c"); errors.Is(err, control.ErrNoCluster) {
			return nil
		}
		_, err := p.Delete(ctx, "c", "")
		return err
	}, func(t *testing.T, store kv.KV, f *farm) {
		items, _, err := store.List(context.Background(), "")
		must(t, err)
		for _, item := range items {
			if strings.Contains(item.Key, "/c/") || strings.HasSuffix(item.Key, "/c") {
				t.Errorf("%s is left", item.Key)
			}
		}
		if f.ids("c") != "" || f.ids("other") != "1" || f.objects["c"] || !f.objects["other"] {
			t.Errorf("running %q and %q, objects %v", f.ids("c"), f.ids("other"), f.objects)
		}
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", control.Settings{Brokers: 1}) })
		c, err := managedPlane(store).Cluster(context.Background(), "c")
		if err != nil || c.Phase != control.Active || c.Operations != 1 || f.ids("c") != "1" {
			t.Errorf("made anew: %+v, %v", c, err)
		}
	})
}

// A cluster that cannot be made is FAILED with a reason, runs nothing, and can be deleted.
func TestCreateThatCannotBe(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		f.bad = func(s engine.NodeSpec) string {
			if s.Cluster == "taken" && s.ID == 2 {
				return "its address cannot be taken"
			}
			return ""
		}
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) {
			create(t, ctx, p, "taken", three)
		})
		plane := managedPlane(store)
		c, err := plane.Cluster(ctx, "taken")
		must(t, err)
		if c.Phase != control.Broken || c.Fault.Code != "BrokersNotServing" || !strings.Contains(c.Fault.Message, "its address cannot be taken") || f.ids("taken") != "" {
			t.Errorf("%+v, running %q", c, f.ids("taken"))
		}
		if _, err := plane.Begin(ctx, "taken", control.Request{Kind: control.Roll}); !errors.Is(err, control.ErrState) {
			t.Errorf("a roll of what failed: %v", err)
		}
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) {
			_, err := p.Delete(ctx, "taken", control.CurrentVersion(c))
			must(t, err)
		})
		if _, err := plane.Cluster(ctx, "taken"); !errors.Is(err, control.ErrNoCluster) {
			t.Errorf("deleted: %v", err)
		}
	})
}

func TestCreateWithoutAPlaceFails(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		o := options()
		o.Ports = engine.Ports{From: 30000, To: 30015} // two brokers
		plane := newPlane(store).With(o)
		create(t, ctx, plane, "crowded", three)
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- plane.Run(run) }()
		later(time.Second)
		stop()
		must(t, <-done)
		c, err := plane.Cluster(ctx, "crowded")
		must(t, err)
		if c.Phase != control.Broken || c.Fault.Code != "BrokersNotPlaced" || len(specs(t, store)) != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestCreateAndDeleteRefuse(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	o := options()
	o.Clusters = 2
	plane := newPlane(store).With(o)
	for _, name := range []string{"", "-a", "a_b", "a/b", "a b", strings.Repeat("a", 65), "ä"} {
		if _, err := plane.Create(ctx, name, three, nil); !errors.Is(err, control.ErrSpec) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, s := range []control.Settings{{}, {Brokers: 16}, {Brokers: 1, BrokerType: "huge"}, {Brokers: 1, Auth: "magic"}, {Brokers: 1, Window: "sometimes"}} {
		if _, err := plane.Create(ctx, "a", s, nil); !errors.Is(err, control.ErrSpec) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	c := create(t, ctx, plane, strings.Repeat("a", 64), three)
	if _, err := plane.Create(ctx, c.Name, three, nil); !errors.Is(err, control.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if _, err := plane.Delete(ctx, c.Name, "K0"); !errors.Is(err, control.ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := plane.Delete(ctx, c.Name, control.CurrentVersion(c)); !errors.Is(err, control.ErrBusy) {
		t.Errorf("while it is made: %v", err)
	}
	if _, err := plane.Begin(ctx, c.Name, control.Request{Kind: control.Reboot, Nodes: []int32{1}}); !errors.Is(err, control.ErrState) {
		t.Errorf("a reboot while it is made: %v", err)
	}
	if _, err := plane.Delete(ctx, "b", ""); !errors.Is(err, control.ErrNoCluster) {
		t.Errorf("none: %v", err)
	}
	create(t, ctx, plane, "z", three)
	if _, err := plane.Create(ctx, "y", three, nil); !errors.Is(err, control.ErrLimit) {
		t.Errorf("a third: %v", err)
	}
	all, err := plane.Clusters(ctx)
	if err != nil || len(all) != 2 || all[0].Name != c.Name || all[1].ID == all[0].ID {
		t.Errorf("%+v, %v", all, err)
	}
	if v := control.CurrentVersion(c); len(v) != 14 || v[0] != 'K' || v == control.CurrentVersion(all[1]) {
		t.Errorf("version %q", v)
	}
}

// The id of a cluster that an earlier version made is the one that its brokers made.
func TestEarlierClustersKeepTheirID(t *testing.T) {
	ctx, store := context.Background(), kv.NewMemory()
	plane := managedPlane(store)
	put(t, store, "control/clusters/c", `{"format":1,"name":"c","brokers":1,"listen":"127.0.0.1:9092","memory":0,"wanted":1}`)
	put(t, store, "clusters/c/catalog/cluster", "former file")
	described := control.Cluster{Name: "c", Brokers: 1, Listen: "127.0.0.1:9092"}
	first, err := plane.Ensure(ctx, described)
	must(t, err)
	again, err := plane.Ensure(ctx, described)
	must(t, err)
	if first.ID != "former" || again.ID != "former" || first.Version != 1 || !first.Created.Equal(again.Created) || first.Format != 3 {
		t.Errorf("%+v, then %+v", first, again)
	}
	described.Name, described.Listen = "d", "127.0.0.1:9093"
	d, err := plane.Ensure(ctx, described)
	must(t, err)
	item, err := store.Get(ctx, "clusters/d/catalog/cluster")
	if err != nil || string(item.Value) != d.ID+" file" || d.Settings.Brokers != 1 || d.Settings.InTransit != "PLAINTEXT" {
		t.Errorf("%+v: %q, %v", d, item.Value, err)
	}
}

// later lets synctest's time pass, and everything come to rest that happens meanwhile.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
