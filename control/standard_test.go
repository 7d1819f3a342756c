package control_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/base/kv"
	"millrace/control"
	"millrace/engine"
)

// kafka plays what a cluster of Apache Kafka says of itself; the farm's mutex guards it. There is one such cluster, "c".
type kafka struct {
	behind  map[int32]int  // nodes that are not in step yet, and how often that will be said
	may     map[int32]bool // nodes that have leave to stop
	forever string         // why nothing may stop, as long as that is so
	version string         // that was finished
	left    []int32        // brokers that were forgotten
	applied map[string]string
}

// acts is what holds at each moment: C19 and C20.
func (k *kafka) acts(f *farm, s, old engine.NodeSpec, runs bool) {
	again := runs && old.Round != s.Round
	if runs && (s.Stopped || again) && f.bad(old) == "" && !s.Remove {
		if !k.may[s.ID] {
			f.fault("node %d was stopped without leave", s.ID)
		}
		for id := range k.behind {
			if id != s.ID && (id > 10000) == (s.ID > 10000) {
				f.fault("node %d was stopped while %d was behind", s.ID, id)
			}
		}
		for _, o := range f.running {
			if o.ID != s.ID && o.Role == s.Role && !f.cut[o.Host] && f.bad(o) != "" {
				f.fault("node %d was stopped while %d was down", s.ID, o.ID)
			}
		}
		delete(k.may, s.ID)
	}
	if s.Stopped && s.Drain && !s.Remove && f.owners[s.Cluster][s.ID] > 0 {
		f.fault("broker %d was stopped with replicas", s.ID)
	}
	if s.Remove && s.Drain && !slices.Contains(k.left, s.ID) {
		f.fault("broker %d was deleted before it was forgotten", s.ID)
	}
	if !s.Stopped && (!runs || again) {
		k.behind[s.ID] = 2
		if s.Role == "" && !runs {
			f.owners[s.Cluster][s.ID] = max(f.owners[s.Cluster][s.ID], 0)
		}
	}
	if s.Stopped {
		delete(k.behind, s.ID)
	}
}

// warden is the control.Warden of a farm.
type warden struct{ f *farm }

func (w warden) with(do func(k *kafka)) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	do(w.f.kafka)
}

// Order puts 10001 last of the controllers.
func (w warden) Order(_ context.Context, _ engine.Target, nodes []int32) ([]int32, error) {
	all := slices.Clone(nodes)
	slices.SortFunc(all, func(a, b int32) int {
		rank := func(id int32) int32 {
			switch {
			case id == 10001:
				return 10
			case id > 10000:
				return id - 10000
			}
			return 100 + id
		}
		return int(rank(a) - rank(b))
	})
	return all, nil
}

func (w warden) MayStop(_ context.Context, _ engine.Target, node int32) (why string, err error) {
	w.with(func(k *kafka) {
		for id := range k.behind {
			if id != node && (id > 10000) == (node > 10000) {
				why = fmt.Sprintf("node %d is behind", id)
			}
		}
		if k.forever != "" {
			why = k.forever
		}
		k.may[node] = why == ""
	})
	return why, nil
}

func (w warden) Settled(context.Context, engine.Target) (why string, err error) {
	w.with(func(k *kafka) {
		for id := range k.behind {
			why = fmt.Sprintf("node %d is behind", id)
			if k.behind[id]--; k.behind[id] < 0 {
				delete(k.behind, id)
			}
		}
	})
	return why, nil
}

func (w warden) Elect(context.Context, engine.Target) (int, error) { return 0, nil }

func (w warden) Drain(_ context.Context, t engine.Target, brokers []int32) (left int, err error) {
	w.with(func(*kafka) {
		owners := w.f.owners[t.Cluster]
		stay := len(owners)
		for _, id := range brokers {
			if _, there := owners[id]; there {
				stay--
			}
		}
		if stay < 3 {
			err = fmt.Errorf("%w: topic t has 3 replicas", control.ErrRefused)
			return
		}
		for _, id := range brokers {
			if owners[id] > 0 {
				owners[id]--
				owners[1]++
			}
			left += owners[id]
		}
	})
	return left, err
}

func (w warden) Spread(_ context.Context, t engine.Target) (left int, err error) {
	w.with(func(*kafka) {
		owners := w.f.owners[t.Cluster]
		for id := range t.Zones {
			for owners[id] < 2 {
				owners[id]++
				left++
			}
		}
	})
	return left, nil
}

func (w warden) Leave(_ context.Context, t engine.Target, broker int32) error {
	w.with(func(k *kafka) {
		k.left = append(k.left, broker)
		delete(w.f.owners[t.Cluster], broker)
	})
	return nil
}

func (w warden) Finish(_ context.Context, _ engine.Target, version string) error {
	w.with(func(k *kafka) {
		for _, s := range w.f.running {
			if s.Version != version {
				w.f.fault("%s was finished while node %d ran %s", version, s.ID, s.Version)
			}
		}
		k.version = version
	})
	return nil
}

func (w warden) Apply(_ context.Context, _ engine.Target, properties map[string]string) (needs []string, err error) {
	w.with(func(k *kafka) { k.applied = maps.Clone(properties) })
	for name := range properties {
		if strings.HasPrefix(name, "start.") {
			needs = append(needs, name)
		}
	}
	return needs, nil
}

// standard are the options of planes that run Apache Kafka.
func standard(f *farm) control.Options {
	o := options()
	o.Warden = warden{f}
	o.Used = func(context.Context, engine.Target) (map[int32]int64, error) {
		return map[int32]int64{1: 40 << 30, 2: 1, 3: 1}, nil
	}
	o.Heap = func(brokerType string) (int64, error) { return int64(len(brokerType)) << 20, nil }
	o.Memory = func(string) (int64, error) { return 1 << 30, nil }
	o.Starting = func(_ context.Context, _ control.Cluster, r control.Revision) (string, error) { return r.ID, nil }
	return o
}

var kafkaThree = control.Settings{Brokers: 3, BrokerType: "kafka.m5.large", KafkaVersion: "3.9.x", VolumeGiB: 100}

const sixNodes = "1 10001 10002 10003 2 3"

// made is a cluster of Apache Kafka that has been there for a while.
func made(t *testing.T) func(ctx context.Context, p *control.Plane, f *farm) {
	return func(ctx context.Context, p *control.Plane, _ *farm) { create(t, ctx, p, "c", kafkaThree) }
}

func TestCreateOfKafkaAfterACrashAtEveryWrite(t *testing.T) {
	everywhereWith(t, standard, func(context.Context, *control.Plane, *farm) {}, func(ctx context.Context, p *control.Plane) error {
		_, err := p.Create(ctx, "c", kafkaThree, nil)
		return err
	}, func(t *testing.T, store kv.KV, f *farm) {
		c, err := managedPlane(store).Cluster(context.Background(), "c")
		must(t, err)
		if c.Phase != control.Active || f.ids("c") != sixNodes || len(f.kafka.behind) != 0 {
			t.Errorf("%+v, running %q, behind %v", c, f.ids("c"), f.kafka.behind)
		}
		all, zones := specs(t, store), map[string]int{}
		for _, s := range all {
			zones[s.Zone+s.Role]++
			if s.Engine != engine.Standard || s.Format != engine.Format || len(s.Voters) != 3 || len(s.ClusterID) != 22 || s.Version != "3.9.x" {
				t.Errorf("%+v", s)
			}
			if isController := s.ID > 10000; isController != (s.Role == engine.Controller) || isController == (s.Volume == 100<<30) {
				t.Errorf("%+v", s)
			}
			if s.Role == engine.Controller && !slices.Contains(s.Voters, engine.Voter{ID: s.ID, Address: s.Listen}) {
				t.Errorf("controller %d at %s, voters %v", s.ID, s.Listen, s.Voters)
			}
		}
		if len(zones) != 6 {
			t.Errorf("zones %v", zones)
		}
		at, err := managedPlane(store).Endpoints(context.Background(), "c")
		if must(t, err); len(at) != 1 || len(at[engine.Client]) != 3 {
			t.Errorf("endpoints %v", at)
		}
	})
}

func TestUpdatesOfKafkaAfterACrashAtEveryWrite(t *testing.T) {
	all := []string{"c/10002", "c/10003", "c/10001", "c/1", "c/2", "c/3"}
	for name, c := range map[string]struct {
		change func(*control.Settings)
		ids    string
		began  []string
		check  func(f *farm, s engine.NodeSpec) bool
	}{
		"upgrade": {func(s *control.Settings) { s.KafkaVersion = "4.1.x" }, sixNodes, all, func(f *farm, s engine.NodeSpec) bool {
			return s.Version == "4.1.x" && f.kafka.version == "4.1.x"
		}},
		"type": {func(s *control.Settings) { s.BrokerType = "kafka.m5.xlarge" }, sixNodes, all[3:], func(_ *farm, s engine.NodeSpec) bool {
			return s.Role != "" || s.Heap == 15<<20
		}},
		"live": {func(s *control.Settings) { s.Configuration.ID = "a=b" }, sixNodes, nil, func(f *farm, s engine.NodeSpec) bool {
			return s.Properties == "a=b" && f.kafka.applied["a"] == "b"
		}},
		"start":  {func(s *control.Settings) { s.Configuration.ID = "start.a=b" }, sixNodes, all, func(_ *farm, s engine.NodeSpec) bool { return s.Properties == "start.a=b" }},
		"volume": {func(s *control.Settings) { s.VolumeGiB = 50 }, sixNodes, nil, func(_ *farm, s engine.NodeSpec) bool { return s.Role != "" || s.Volume == 50<<30 }},
		"more": {func(s *control.Settings) { s.Brokers = 6 }, "1 10001 10002 10003 2 3 4 5 6", nil, func(f *farm, s engine.NodeSpec) bool {
			return s.Role != "" || f.owners["c"][s.ID] >= 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			everywhereWith(t, standard, made(t), func(ctx context.Context, p *control.Plane) error { return updated(ctx, p, c.change) },
				func(t *testing.T, store kv.KV, f *farm) {
					got, err := managedPlane(store).Cluster(context.Background(), "c")
					must(t, err)
					want := got.Settings
					c.change(&want)
					if got.Phase != control.Active || got.Fault.Code != "" || got.Version != 2 || string(mustJSON(t, want)) != string(mustJSON(t, got.Settings)) {
						t.Errorf("%+v", got)
					}
					if !slices.Equal(f.restarts(), c.began) || f.ids("c") != c.ids {
						t.Errorf("began %v, running %s", f.restarts(), f.ids("c"))
					}
					for _, s := range specs(t, store) {
						if !c.check(f, s) {
							t.Errorf("%+v", s)
						}
					}
				})
		})
	}
}

// Brokers leave in the order of C21.
func TestBrokersOfKafkaLeaveAfterACrashAtEveryWrite(t *testing.T) {
	everywhereWith(t, standard, func(ctx context.Context, p *control.Plane, f *farm) {
		s := kafkaThree
		s.Brokers = 5
		create(t, ctx, p, "c", s)
		f.mu.Lock()
		f.owners["c"] = map[int32]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 2}
		f.mu.Unlock()
	}, func(ctx context.Context, p *control.Plane) error {
		return updated(ctx, p, func(s *control.Settings) { s.Brokers = 3 })
	},
		func(t *testing.T, store kv.KV, f *farm) {
			got, err := managedPlane(store).Cluster(context.Background(), "c")
			must(t, err)
			if got.Brokers != 3 || got.Phase != control.Active || f.ids("c") != sixNodes || f.owners["c"][1] != 5 || len(f.owners["c"]) != 3 {
				t.Errorf("%+v, running %s, replicas %v", got, f.ids("c"), f.owners["c"])
			}
		})
}

// What cannot be, or fails, leaves the cluster as it was.
func TestUpdatesOfKafkaThatFailAfterACrashAtEveryWrite(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*control.Settings)
		bad    func(engine.NodeSpec) bool
		code   string
		began  int
	}{
		"upgrade": {func(s *control.Settings) { s.KafkaVersion = "4.1.x" }, func(s engine.NodeSpec) bool { return s.ID == 2 && s.Version == "4.1.x" }, "BrokersNotServing", 10},
		"fewer":   {func(s *control.Settings) { s.Brokers = 2 }, func(engine.NodeSpec) bool { return false }, "BrokersNotDrained", 0},
	} {
		t.Run(name, func(t *testing.T) {
			everywhereWith(t, standard, func(ctx context.Context, p *control.Plane, f *farm) {
				create(t, ctx, p, "c", kafkaThree)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.owners["c"] = map[int32]int{1: 2, 2: 2, 3: 2}
				f.bad = func(s engine.NodeSpec) string {
					if c.bad(s) {
						return "it does not know how"
					}
					return ""
				}
			}, func(ctx context.Context, p *control.Plane) error { return updated(ctx, p, c.change) },
				func(t *testing.T, store kv.KV, f *farm) {
					got, err := managedPlane(store).Cluster(context.Background(), "c")
					must(t, err)
					if got.Fault.Code != c.code || got.Version != 1 || got.Brokers != 3 || f.ids("c") != sixNodes || len(f.restarts()) != c.began {
						t.Errorf("%+v, running %s, began %v", got, f.ids("c"), f.restarts())
					}
					for _, s := range specs(t, store) {
						if s.Version != "3.9.x" || s.Drain || s.Stopped || f.kafka.version != "" {
							t.Errorf("%+v", s)
						}
					}
				})
		})
	}
}

func TestRebootAndDeleteOfKafkaAfterACrashAtEveryWrite(t *testing.T) {
	everywhereWith(t, standard, made(t), func(ctx context.Context, p *control.Plane) error {
		_, err := p.Begin(ctx, "c", control.Request{Kind: control.Reboot, Nodes: []int32{2, 10003}})
		return err
	}, func(t *testing.T, _ kv.KV, f *farm) {
		if !slices.Equal(f.restarts(), []string{"c/10003", "c/2"}) || f.ids("c") != sixNodes {
			t.Errorf("began %v, running %s", f.restarts(), f.ids("c"))
		}
	})
	everywhereWith(t, standard, made(t), func(ctx context.Context, p *control.Plane) error {
		_, err := p.Delete(ctx, "c", "")
		if errors.Is(err, control.ErrNoCluster) {
			return nil
		}
		return err
	}, func(t *testing.T, store kv.KV, f *farm) {
		if left := specs(t, store); len(left) != 0 || f.ids("c") != "" {
			t.Errorf("left %v, running %q", left, f.ids("c"))
		}
	})
}

// A node that must not stop is waited for, with the reason in the step; an operation of the API ends when that takes too long.
func TestNodesThatMustNotStop(t *testing.T) {
	inFarm(t, func(t *testing.T, _ context.Context, store kv.KV, f *farm) {
		settleWith(t, store, standard(f), func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", kafkaThree) })
		f.mu.Lock()
		f.kafka.forever = "partition t-0 would fall below its min.insync.replicas"
		f.mu.Unlock()
		began := time.Now()
		settleWith(t, store, standard(f), func(ctx context.Context, p *control.Plane) {
			must(t, updated(ctx, p, func(s *control.Settings) { s.KafkaVersion = "4.1.x" }))
		})
		c, err := managedPlane(store).Cluster(t.Context(), "c")
		must(t, err)
		if c.Fault.Code != "NodeMustNotStop" || !strings.Contains(c.Fault.Message, "t-0") || len(f.restarts()) != 0 || time.Since(began) > time.Hour {
			t.Errorf("%+v, began %v after %v", c.Fault, f.restarts(), time.Since(began))
		}
	})
}

// What cannot be is refused before anything is done.
func TestSettingsOfKafkaThatAreRefused(t *testing.T) {
	inFarm(t, func(t *testing.T, ctx context.Context, store kv.KV, f *farm) {
		settleWith(t, store, standard(f), func(ctx context.Context, p *control.Plane) { create(t, ctx, p, "c", kafkaThree) })
		p := newPlane(store).With(standard(f))
		for name, change := range map[string]func(*control.Settings){
			"express":   func(s *control.Settings) { s.BrokerType = "express.m7g.large" },
			"older":     func(s *control.Settings) { s.KafkaVersion = "3.8.x" },
			"two":       func(s *control.Settings) { s.KafkaVersion, s.Brokers = "4.1.x", 6 },
			"iam":       func(s *control.Settings) { s.Auth = "iam" },
			"tls":       func(s *control.Settings) { s.Auth = "tls" },
			"too small": func(s *control.Settings) { s.VolumeGiB = 41 },
		} {
			if err := updated(ctx, p, change); !errors.Is(err, control.ErrSpec) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := managedPlane(store).Create(ctx, "d", kafkaThree, nil); !errors.Is(err, control.ErrSpec) {
			t.Errorf("without a warden: %v", err)
		}
	})
}
