package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// applier plays the room of configurations.
type applier struct {
	restart bool
	refuse  int64    // a revision that cannot be applied
	applied *[]int64 // in order
}

func (a applier) Plan(context.Context, control.Cluster, control.Revision, control.Revision) (bool, error) {
	return a.restart, nil
}

func (a applier) Apply(_ context.Context, _ control.Cluster, r control.Revision) error {
	*a.applied = append(*a.applied, r.Number)
	if r.Number == a.refuse {
		return fmt.Errorf("%w: no such property", control.ErrSpec)
	}
	return nil
}

// updated changes the settings of a cluster.
func updated(ctx context.Context, p *control.Plane, change func(*control.Settings)) error {
	c, err := p.Cluster(ctx, "c")
	if err != nil {
		return err
	}
	s := c.Settings
	change(&s)
	_, err = p.Begin(ctx, "c", control.Request{Kind: control.Update, Settings: &s, Version: control.CurrentVersion(c), Type: "UPDATE"})
	return err
}

func TestUpdatesAfterACrashAtEveryWrite(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*control.Settings)
		began  int // processes that were started anew, at most
		ids    string
	}{
		"type":           {func(s *control.Settings) { s.BrokerType = "express.m7g.xlarge" }, 3, "1 2 3"},
		"more":           {func(s *control.Settings) { s.Brokers = 5 }, 0, "1 2 3 4 5"},
		"fewer":          {func(s *control.Settings) { s.Brokers = 1 }, 0, "1"},
		"logins":         {func(s *control.Settings) { s.Auth = "iam,scram" }, 6, "1 2 3"},
		"tags of a kind": {func(s *control.Settings) { s.Monitoring, s.Paused = "PER_BROKER", true }, 0, "1 2 3"},
		"all": {func(s *control.Settings) {
			s.BrokerType, s.Auth, s.Brokers = "express.m7g.xlarge", "tls", 4
		}, 6, "1 2 3 4"},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(ctx context.Context, p *control.Plane, _ *farm) { create(t, ctx, p, "c", three) },
				func(ctx context.Context, p *control.Plane) error { return updated(ctx, p, c.change) },
				func(t *testing.T, store kv.KV, f *farm) {
					got, err := managedPlane(store).Cluster(context.Background(), "c")
					must(t, err)
					want := three
					want.Type, want.KafkaVersion = control.Provisioned, control.DefaultKafkaVersion
					c.change(&want)
					want.Auth, _ = control.ParseAuth(strings.Trim(want.Auth+",", ","))
					if string(mustJSON(t, got.Settings)) != string(mustJSON(t, want)) || got.Version != 2 || got.Phase != control.Active {
						t.Errorf("%+v, want %+v", got.Managed, want)
					}
					if f.ids("c") != c.ids || len(f.restarts()) != c.began || got.Brokers != want.Brokers || got.WantedAuth != "" {
						t.Errorf("running %q, began %v, %+v", f.ids("c"), f.restarts(), got)
					}
					for _, s := range specs(t, store) {
						if s.Auth != want.Auth || s.Memory != got.Memory || s.Secure.Authorize != control.Authorizes(want.Auth) || s.Count != 0 {
							t.Errorf("spec %+v", s)
						}
					}
					ops, err := managedPlane(store).OperationsOf(context.Background(), "c")
					must(t, err)
					last := ops[len(ops)-1]
					if last.State != control.Done || last.Before.Brokers != 3 || last.After.Brokers != want.Brokers || last.ID == "" || last.Type != "UPDATE" {
						t.Errorf("operation %+v", last)
					}
				})
		})
	}
}

// What an update that fails has done is undone: brokers, listeners and configuration are as before, and so is the record.
func TestUpdatesThatFailAreUndoneAfterACrashAtEveryWrite(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*control.Settings)
		bad    func(engine.NodeSpec) bool
	}{
		"type":   {func(s *control.Settings) { s.BrokerType = "express.m7g.xlarge" }, func(s engine.NodeSpec) bool { return s.ID == 2 && s.Memory == 2<<30 }},
		"more":   {func(s *control.Settings) { s.Brokers = 5 }, func(s engine.NodeSpec) bool { return s.ID == 5 }},
		"logins": {func(s *control.Settings) { s.Auth = "iam" }, func(s engine.NodeSpec) bool { return s.ID == 2 && s.Auth == "iam" }},
		"type and more": {func(s *control.Settings) {
			s.BrokerType, s.Brokers = "express.m7g.xlarge", 4
		}, func(s engine.NodeSpec) bool { return s.ID == 4 }},
	} {
		t.Run(name, func(t *testing.T) {
			var before []engine.NodeSpec
			everywhere(t, func(ctx context.Context, p *control.Plane, f *farm) {
				create(t, ctx, p, "c", three)
				f.bad = func(s engine.NodeSpec) string {
					if c.bad(s) {
						return "no memory"
					}
					return ""
				}
			}, func(ctx context.Context, p *control.Plane) error {
				nodes, err := p.Nodes(ctx, "c")
				if err == nil && len(before) == 0 {
					for _, n := range nodes {
						before = append(before, n.Spec)
					}
				}
				return updated(ctx, p, c.change)
			}, func(t *testing.T, store kv.KV, f *farm) {
				got, err := managedPlane(store).Cluster(context.Background(), "c")
				must(t, err)
				if got.Version != 1 || got.Brokers != 3 || got.Phase != control.Active || got.Fault.Code != "BrokersNotServing" || got.Auth != "" || got.WantedAuth != "" {
					t.Errorf("%+v", got)
				}
				now := specs(t, store)
				for i := range now {
					now[i].Round = 0
				}
				if string(mustJSON(t, now)) != string(mustJSON(t, before)) || f.ids("c") != "1 2 3" {
					t.Errorf("running %q by\n%s, before\n%s", f.ids("c"), mustJSON(t, now), mustJSON(t, before))
				}
				ops, err := managedPlane(store).OperationsOf(context.Background(), "c")
				must(t, err)
				if last := ops[len(ops)-1]; last.State != control.Failed || !strings.Contains(last.Fault.Message, "no memory") {
					t.Errorf("operation %+v", last)
				}
			})
		})
	}
}

func TestConfigurationIsAppliedAndTakenBack(t *testing.T) {
	for _, c := range []struct {
		restart bool
		refuse  int64
		applied []int64
		began   int
	}{{false, 0, []int64{7}, 0}, {true, 0, []int64{7}, 3}, {true, 7, []int64{7, 0}, 0}} {
		inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
			settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
			var applied []int64
			o := options()
			o.Applier = applier{c.restart, c.refuse, &applied}
			settleWith(t, store, o, func(ctx context.Context, p *control.Plane) {
				must(t, updated(ctx, p, func(s *control.Settings) { s.Configuration = control.Revision{ID: "x", Number: 7} }))
			})
			got, err := managedPlane(store).Cluster(ctx, "c")
			must(t, err)
			if want := c.refuse == 0; !slices.Equal(applied, c.applied) || len(f.restarts()) != c.began || (got.Settings.Configuration.Number == 7) != want ||
				(got.Fault.Code == "ConfigurationNotApplied") == want {
				t.Errorf("%+v: applied %v, began %v, %+v", c, applied, f.restarts(), got.Managed)
			}
		})
	}
}

func TestRebootAfterACrashAtEveryWrite(t *testing.T) {
	everywhere(t, func(ctx context.Context, p *control.Plane, _ *farm) { create(t, ctx, p, "c", three) },
		func(ctx context.Context, p *control.Plane) error {
			_, err := p.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: []int32{3, 1, 3}})
			return err
		},
		func(t *testing.T, store kv.KV, f *farm) {
			got, err := managedPlane(store).Cluster(context.Background(), "c")
			must(t, err)
			if strings.Join(f.restarts(), " ") != "c/1 c/3" || got.Version != 1 || got.Phase != control.Active {
				t.Errorf("began %v, %+v", f.restarts(), got)
			}
		})
}

func TestUpdatesThatAreRefused(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		settle(t, store, never, true, func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", three) })
		plane := managedPlane(store)
		for name, change := range map[string]func(*control.Settings){
			"none":   func(s *control.Settings) { s.Brokers = 0 },
			"many":   func(s *control.Settings) { s.Brokers = 16 },
			"type":   func(s *control.Settings) { s.Type = control.Serverless },
			"size":   func(s *control.Settings) { s.BrokerType = "huge" },
			"key":    func(s *control.Settings) { s.KMSKey = "other" },
			"logins": func(s *control.Settings) { s.Auth = "magic" },
			"window": func(s *control.Settings) { s.Window = "never" },
		} {
			if err := updated(ctx, plane, change); !errors.Is(err, control.ErrSpec) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, nodes := range [][]int32{nil, {0}, {4}} {
			if _, err := plane.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: nodes}); !errors.Is(err, control.ErrSpec) {
				t.Errorf("reboot of %v: %v", nodes, err)
			}
		}
		for _, kind := range []control.Kind{control.Create, control.Delete, control.Update} {
			if _, err := plane.Begin(ctx, "c", control.Request{Kind: kind}); !errors.Is(err, control.ErrSpec) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if _, err := plane.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: []int32{1}, Version: "K0"}); !errors.Is(err, control.ErrVersion) {
			t.Errorf("another version: %v", err)
		}
		if err := updated(ctx, plane, func(*control.Settings) {}); err != nil {
			t.Errorf("nothing: %v", err)
		}
		must(t, updated(ctx, plane, func(s *control.Settings) { s.Brokers = 4 }))
		c, err := plane.Cluster(ctx, "c")
		if err != nil || c.Phase != control.Updating {
			t.Errorf("phase %s, %v", c.Phase, err)
		}
		if err := updated(ctx, plane, func(s *control.Settings) { s.Brokers = 5 }); !errors.Is(err, control.ErrBusy) {
			t.Errorf("a second one: %v", err)
		}
		settle(t, store, never, true, func(context.Context, *control.Plane) {})
		synctest.Wait()
	})
}
