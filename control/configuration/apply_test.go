package configuration

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/base/kv"
	"millrace/control"
)

// cluster is two brokers that keep what was altered, and refuse to alter Start properties as express does.
type cluster struct {
	set    map[string]string           // of all brokers, by AlterConfigs
	own    map[int32]map[string]string // of one
	static map[string]string
	fail   error // of the next request
	after  bool  // it fails after it was done
	open   int
}

func newCluster() *cluster {
	return &cluster{set: map[string]string{}, own: map[int32]map[string]string{1: {}, 2: {}}, static: map[string]string{"max.connections": "500"}}
}

func (c *cluster) dial(context.Context, string) (Brokers, error) { c.open++; return c, nil }
func (c *cluster) Close()                                        { c.open-- }

func (c *cluster) AlterBrokerConfigs(_ context.Context, changes []kadm.AlterConfig, ids ...int32) (kadm.AlterConfigsResponses, error) {
	fail := c.fail
	if c.fail = nil; fail != nil && !c.after {
		return nil, fail
	}
	next := maps.Clone(c.set)
	for _, one := range changes {
		if w, _ := writable(one.Name); w.Effect != Live || len(ids) != 0 {
			return kadm.AlterConfigsResponses{{Err: errors.New("INVALID_REQUEST"), ErrMessage: one.Name + " cannot be changed at runtime"}}, nil
		}
		if one.Op == kadm.DeleteConfig {
			delete(next, one.Name)
		} else {
			next[one.Name] = *one.Value
		}
	}
	c.set = next
	return kadm.AlterConfigsResponses{{}}, fail
}

func (c *cluster) ListBrokers(context.Context) (kadm.BrokerDetails, error) {
	return kadm.BrokerDetails{{NodeID: 2}, {NodeID: 1}}, nil
}

func (c *cluster) DescribeBrokerConfigs(_ context.Context, ids ...int32) (kadm.ResourceConfigs, error) {
	var all kadm.ResourceConfigs
	for _, id := range ids {
		r := kadm.ResourceConfig{Name: strconv.Itoa(int(id))}
		for _, w := range Writables() {
			value, source := "default", kmsg.ConfigSourceDefaultConfig
			for _, layer := range []struct {
				values map[string]string
				source kmsg.ConfigSource
			}{{c.static, kmsg.ConfigSourceStaticBrokerConfig}, {c.set, kmsg.ConfigSourceDynamicDefaultBrokerConfig}, {c.own[id], kmsg.ConfigSourceDynamicBrokerConfig}} {
				if v, ok := layer.values[w.Name]; ok {
					value, source = v, layer.source
				}
			}
			r.Configs = append(r.Configs, kadm.Config{Key: w.Name, Value: &value, Source: source})
		}
		all = append(all, r)
	}
	return all, nil
}

// revision adds one to the configuration "a".
func (f *fixture) revision(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) control.Revision {
	t.Helper()
	all, err := f.List(context.Background())
	wants(t, err, nil)
	var c Configuration
	if len(all) == 0 {
		c, err = f.Create(context.Background(), Spec{Name: "a", Properties: []byte(text)})
	} else {
		c, err = f.Update(context.Background(), all[0].ID, "", []byte(text))
	}
	wants(t, err, nil)
	return control.Revision{ID: c.ID, Number: c.Latest.Number}
}

func TestPlanAndStarting(t *testing.T) {
	f, none := newFixture(t), control.Revision{}
	a := NewApplier(f.Store, newCluster().dial)
	live := f.revision(t, "num.partitions=3\nreplica.fetch.max.bytes=5")
	start := f.revision(t, "num.partitions=4\nmax.connections=100")
	other := f.revision(t, "max.connections=200")
	for _, c := range []struct {
		before, after control.Revision
		want          bool
	}{
		{none, none, false}, {none, live, false}, {live, none, false}, {none, start, true}, {live, start, true}, {start, other, true},
		{start, start, false}, {other, none, true},
	} {
		if got, err := a.Plan(t.Context(), "main", c.before, c.after); err != nil || got != c.want {
			t.Errorf("%v to %v: %v, %v", c.before, c.after, got, err)
		}
	}
	_, err := a.Plan(t.Context(), "main", none, control.Revision{ID: start.ID, Number: 9})
	wants(t, err, ErrNotFound)
	if got, err := a.Starting(t.Context(), start); err != nil || !maps.Equal(got, map[string]string{"max.connections": "100"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// flaky breaks off after so many writes, before or after the last of them was done.
type flaky struct {
	kv.KV
	left  int
	after bool
}

var errBroken = errors.New("broken off")

func (f *flaky) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	f.left--
	if f.left < 0 && !f.after {
		return 0, errBroken
	}
	rev, err := f.KV.Txn(ctx, cond, then)
	if f.left < 0 && err == nil {
		err = errBroken
	}
	return rev, err
}

// TestApplyIsFinishedAfterItBrokeOff goes from revision to revision, breaks Apply off anywhere, and wants that in the end exactly what the
// last one has is set, beside what somebody else has set (F5, F6).
func TestApplyIsFinishedAfterItBrokeOff(t *testing.T) {
	properties := []string{"num.partitions", "log.retention.ms", "message.max.bytes"}
	rapid.Check(t, func(t *rapid.T) {
		f, c := newFixture(t), newCluster()
		c.set["offsets.retention.minutes"] = "77" // somebody else's
		ctx := context.Background()
		var last control.Revision
		want := map[string]string{}
		for range rapid.IntRange(1, 8).Draw(t, "revisions") {
			want, last = map[string]string{}, control.Revision{}
			text := ""
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(properties), rapid.ID[string]).Draw(t, "names") {
				want[name] = strconv.Itoa(rapid.IntRange(1, 3).Draw(t, "value"))
				text += name + "=" + want[name] + "\n"
			}
			if rapid.Bool().Draw(t, "some") {
				last = f.revision(t, text)
			} else {
				want = map[string]string{}
			}
			w := f.world
			w.KV = &flaky{f.kv, rapid.IntRange(0, 2).Draw(t, "writes"), rapid.Bool().Draw(t, "late")}
			c.fail, c.after = nil, rapid.Bool().Draw(t, "done")
			if rapid.Bool().Draw(t, "away") {
				c.fail = errBroken
			}
			if err := NewApplier(NewStore(w), c.dial).Apply(ctx, "main", last); err != nil && !errors.Is(err, errBroken) {
				t.Fatal(err)
			}
			c.fail = nil
		}
		a := NewApplier(f.Store, c.dial)
		wants(t, a.Apply(ctx, "main", last), nil)
		want["offsets.retention.minutes"] = "77"
		if !maps.Equal(c.set, want) || c.open != 0 {
			t.Fatalf("set are %v, want %v; %d connections are open", c.set, want, c.open)
		}
	})
}

func TestRefused(t *testing.T) {
	f, c := newFixture(t), newCluster()
	a := NewApplier(f.Store, func(context.Context, string) (Brokers, error) { return refusing{c}, nil })
	wants(t, a.Apply(t.Context(), "main", f.revision(t, "num.partitions=3")), ErrRefused)
}

type refusing struct{ *cluster }

func (refusing) AlterBrokerConfigs(context.Context, []kadm.AlterConfig, ...int32) (kadm.AlterConfigsResponses, error) {
	return kadm.AlterConfigsResponses{{Err: errors.New("INVALID_REQUEST"), ErrMessage: "no"}}, nil
}
func (refusing) Close() {}

func TestDrift(t *testing.T) {
	f, c := newFixture(t), newCluster()
	a := NewApplier(f.Store, c.dial)
	wants(t, a.Apply(t.Context(), "main", f.revision(t, "num.partitions=3\nmessage.max.bytes=0100\nmax.connections=500\nconnections.max.idle.ms=9\nreplica.fetch.max.bytes=1")), nil)
	c.static["connections.max.idle.ms"] = "9"
	if got, err := a.Drift(t.Context(), "main"); err != nil || len(got) != 0 {
		t.Fatalf("nothing has changed: %+v, %v", got, err)
	}
	c.set["num.partitions"] = "4"            // altered
	delete(c.set, "message.max.bytes")       // taken back
	c.own[2]["log.retention.ms"] = "5"       // set by somebody, at one broker
	c.static["max.connections"] = "400"      // not started with it
	c.set["min.insync.replicas"] = "1"       // nothing of a configuration's
	c.own[2]["num.partitions"] = "3"         // right again, at one
	c.static["max.connections.per.ip"] = "1" // not the revision's
	want := []Drift{
		{"max.connections", 1, Start, "500", true, "400"}, {"message.max.bytes", 1, Live, "0100", true, "default"},
		{"num.partitions", 1, Live, "3", true, "4"},
		{"log.retention.ms", 2, Live, "", false, "5"}, {"max.connections", 2, Start, "500", true, "400"},
		{"message.max.bytes", 2, Live, "0100", true, "default"},
	}
	before := maps.Clone(c.set)
	got, err := a.Drift(t.Context(), "main")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%+v, want\n%+v", err, got, want)
	}
	if !maps.Equal(before, c.set) {
		t.Error("it was overwritten")
	}
}
