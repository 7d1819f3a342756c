package warden

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/standard/warden"
	"millrace/standard/warden/volume"
	"millrace/test/harness"
)

// scene is what the steps of TestWarden share.
type scene struct {
	*fleet
	warden *warden.Warden
	admin  *kadm.Client
}

// TestWarden lives through a cluster's life, step by step: each goes on where the one before ended.
func TestWarden(t *testing.T) {
	harness.Long(t, "make suite SUITE=standard/warden")
	s := &scene{fleet: newFleet(t, "3.9"), warden: warden.New(warden.Config{Throttle: 20 << 20})}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.target().Bootstrap...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.admin = kadm.NewClient(client)
	s.settled(s.warden)
	if err := second(s.admin.CreateTopic(t.Context(), 12, 3, nil, "data")); err != nil {
		t.Fatal(err)
	}
	one := kmsg.NewCreateTopicsRequestTopic() // with its one replica on broker 3
	one.Topic, one.NumPartitions, one.ReplicationFactor = "one", -1, -1
	one.ReplicaAssignment = append(one.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Replicas: []int32{3}})
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = append(create.Topics, one)
	if answer, err := create.RequestWith(t.Context(), client); err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", answer, err)
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"levels", s.levels}, {"configuration", s.configuration}, {"order", s.order}, {"killed", s.killed}, {"hung", s.hung},
		{"spread", s.spread}, {"drain", s.drain}, {"leave", s.leave}, {"storage", s.storage},
	} {
		t.Run(step.name, step.run)
	}
}

func second[T any](_ T, err error) error { return err }

func (s *scene) levels(t *testing.T) {
	before, err := s.warden.Finished(t.Context(), s.target())
	formatted, _ := warden.Levels("3.9.x")
	for name, level := range before {
		if err != nil || name != "kraft.version" && formatted[name] != level {
			t.Fatalf("%v, %v, want %v", before, err, formatted)
		}
	}
	if err := s.warden.Finish(t.Context(), s.target(), "9.9.x"); !errors.Is(err, warden.ErrRefused) {
		t.Errorf("a version that there is not: %v", err)
	}
	finish := func(version, holds string) {
		t.Helper()
		if err := s.warden.Finish(t.Context(), s.target(), version); err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		want, _ := warden.Levels(holds)
		until(t, "the levels", func(ctx context.Context) error {
			have, err := s.warden.Finished(ctx, s.target())
			for name, level := range want {
				if err == nil && have[name] != level {
					err = fmt.Errorf("%s is %d, want %d", name, have[name], level)
				}
			}
			return err
		})
	}
	finish("4.1.x", "4.1.x")
	finish("4.3.x", "4.3.1")
	finish("4.3.x", "4.3.1")
	finish("4.0.x", "4.3.1") // lower ones are nothing to do
}

// value is what all brokers say of a property.
func (s *scene) value(t *testing.T, name string) string {
	t.Helper()
	var values []string
	for id := range s.zones {
		all, err := s.admin.DescribeBrokerConfigs(t.Context(), id)
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		for _, c := range all[0].Configs {
			if c.Key == name {
				values = append(values, c.MaybeValue())
			}
		}
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(values))), "|")
}

func (s *scene) configuration(t *testing.T) {
	apply := func(properties map[string]string, want error, start ...string) {
		t.Helper()
		got, err := s.warden.Apply(t.Context(), s.target(), properties)
		if !errors.Is(err, want) || !slices.Equal(got, start) {
			t.Errorf("%v: start for %q, want %q; %v", properties, got, start, err)
		}
	}
	becomes := func(name, want string) {
		t.Helper()
		until(t, name, func(context.Context) error {
			if have := s.value(t, name); have != want {
				return fmt.Errorf("%s is %s, want %s", name, have, want)
			}
			return nil
		})
	}
	apply(map[string]string{"log.retention.ms": "3600000", "auto.create.topics.enable": "true", "num.io.threads": "64", "no.such": "1"},
		nil, "auto.create.topics.enable", "no.such", "num.io.threads")
	becomes("log.retention.ms", "3600000")
	apply(map[string]string{"auto.create.topics.enable": "false", "num.io.threads": "4"}, nil)
	becomes("num.io.threads", "4")
	// Set for all brokers, it would still hold after a start with another value.
	apply(map[string]string{"num.io.threads": "64"}, nil, "num.io.threads")
	becomes("num.io.threads", "2")
	apply(map[string]string{"log.retention.ms": "7200000", "message.max.bytes": "many"}, warden.ErrRefused)
	apply(map[string]string{"log.retention.ms": "7200000", "compression.type": "brotli"}, warden.ErrRefused)
	becomes("log.retention.ms", "3600000")
	apply(map[string]string{"log.retention.ms": ""}, nil)
	becomes("log.retention.ms", "")
	// With the feature eligible.leader.replicas Kafka keeps a value for all brokers, which cannot be deleted.
	apply(map[string]string{"min.insync.replicas": "1"}, nil)
	becomes("min.insync.replicas", "1")
	apply(map[string]string{"min.insync.replicas": ""}, nil)
	becomes("min.insync.replicas", "2")
}

func (s *scene) order(t *testing.T) {
	order, err := s.warden.Order(t.Context(), s.target(), []int32{3, 2, 1})
	if err != nil || len(order) != voters {
		t.Fatalf("%v, %v", order, err)
	}
	for id := int32(1); id <= voters; id++ {
		until(t, fmt.Sprintf("node %d may stop", id), func(ctx context.Context) error {
			return empty(s.warden.MayStop(ctx, s.target(), id))
		})
	}
}

// killed has a broker die: the others may not stop then, and it is named; when it is back, leaders come back.
func (s *scene) killed(t *testing.T) {
	s.kill(3)
	until(t, "the others are needed", func(ctx context.Context) error {
		for id := int32(1); id <= 2; id++ {
			why, err := s.warden.MayStop(ctx, s.target(), id)
			if err != nil {
				return err
			}
			if !strings.Contains(why, "controller") {
				return fmt.Errorf("%d may stop, or for another reason: %q", id, why)
			}
		}
		h, err := s.warden.Health(ctx, s.target())
		if err != nil {
			return err
		}
		if len(h.UnderReplicated) < 12 || !strings.Contains(h.UnderReplicated[0].Cause, "broker 3 is not there") {
			return fmt.Errorf("%+v", h)
		}
		if len(h.Offline) != 1 || !strings.Contains(h.Offline[0].Cause, "broker 3 has the last replica that is complete") {
			return fmt.Errorf("%+v", h)
		}
		order, err := s.warden.Order(ctx, s.target(), []int32{1, 2, 3})
		if err == nil && order[0] != 3 {
			err = fmt.Errorf("%v", order)
		}
		return err
	})
	if why, err := s.warden.MayStop(t.Context(), s.target(), 3); err != nil || !strings.Contains(why, "one-0") {
		t.Errorf("it has the only replica, and may be given up: %q, %v", why, err)
	}
	if why, err := s.warden.Settled(t.Context(), s.target()); err != nil || why == "" {
		t.Errorf("%q, %v", why, err)
	}
	s.start(3)
	s.settled(s.warden)
	until(t, "leaders are back", func(ctx context.Context) error { return none(s.warden.Elect(ctx, s.target())) })
	until(t, "leaders are seen back", func(ctx context.Context) error {
		topics, err := s.admin.ListTopics(ctx)
		if err != nil {
			return err
		}
		for _, p := range topics["data"].Partitions {
			if p.Leader != p.Replicas[0] {
				return fmt.Errorf("%+v", p)
			}
		}
		return nil
	})
}

// hung has a node answer nobody: the others are asked, and say so (W1, W2).
func (s *scene) hung(t *testing.T) {
	s.signal(2, syscall.SIGSTOP)
	defer s.signal(2, syscall.SIGCONT)
	until(t, "the hung node is seen", func(ctx context.Context) error {
		why, err := s.warden.MayStop(ctx, s.target(), 1)
		if err != nil {
			return err
		}
		order, err := s.warden.Order(ctx, s.target(), []int32{1, 2, 3})
		if err == nil && (why == "" || order[0] != 2) {
			err = fmt.Errorf("%q, %v", why, order)
		}
		return err
	})
	// It knows what was, and is not asked until it knows what is.
	s.signal(2, syscall.SIGCONT)
	s.settled(s.warden)
}

// counts are replicas by broker of a topic, checked to be in as many racks as they can be.
func (s *scene) counts(t *testing.T, topic string) map[int32]int {
	t.Helper()
	topics, err := s.admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int32]int{}
	for _, p := range topics[topic].Partitions {
		racks := map[string]bool{}
		for _, id := range p.Replicas {
			counts[id]++
			racks[s.zones[id]] = true
		}
		if len(racks) != len(p.Replicas) {
			t.Errorf("%s-%d is on %v", topic, p.Partition, p.Replicas)
		}
	}
	return counts
}

// throttles are all that are set.
func (s *scene) throttles(t *testing.T) (set []string) {
	t.Helper()
	all, err := s.admin.DescribeTopicConfigs(t.Context(), "data", "one")
	if err != nil {
		t.Fatal(err)
	}
	for id := range s.zones {
		broker, err := s.admin.DescribeBrokerConfigs(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, broker...)
	}
	for _, r := range all {
		for _, c := range r.Configs {
			if strings.Contains(c.Key, ".replication.throttled.") && c.MaybeValue() != "" && c.Source != kmsg.ConfigSourceDefaultConfig {
				set = append(set, fmt.Sprintf("%s %s=%s", r.Name, c.Key, c.MaybeValue()))
			}
		}
	}
	return set
}

// unthrottled waits until no throttle is left.
func (s *scene) unthrottled(t *testing.T) {
	t.Helper()
	until(t, "no throttle is left", func(context.Context) error {
		if set := s.throttles(t); len(set) > 0 {
			return fmt.Errorf("%q", set)
		}
		return nil
	})
}

// spread adds a broker under load; each call is another process's.
func (s *scene) spread(t *testing.T) {
	l := newLoad(t, s.target().Bootstrap, "data")
	s.prepare(4, "a")
	s.start(4)
	s.settled(s.warden)
	stale := "0:1,0:2"
	changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "leader.replication.throttled.replicas", Value: &stale}}
	if err := second(s.admin.AlterTopicConfigs(t.Context(), changes, "one")); err != nil { // as of a process that crashed
		t.Fatal(err)
	}
	if left, err := s.warden.Spread(t.Context(), s.target()); err != nil || left == 0 {
		t.Fatalf("%d left, %v", left, err)
	}
	until(t, "what moves is throttled", func(ctx context.Context) error {
		set := s.throttles(t)
		for _, want := range []string{"data follower.replication.throttled.replicas=", "4 follower.replication.throttled.rate=20971520"} {
			if !slices.ContainsFunc(set, func(one string) bool { return strings.HasPrefix(one, want) }) {
				return fmt.Errorf("no %s in %q", want, set)
			}
		}
		if slices.Contains(set, "one leader.replication.throttled.replicas="+stale) {
			return fmt.Errorf("stale: %q", set)
		}
		return nil
	})
	until(t, "replicas are spread", func(ctx context.Context) error {
		return none(warden.New(warden.Config{Throttle: 20 << 20}).Spread(ctx, s.target()))
	})
	l.check(t)
	until(t, "all brokers know", func(context.Context) error {
		if counts := s.counts(t, "data"); counts[4] < 4 || counts[2] != 12 || counts[3] != 12 {
			return fmt.Errorf("%v", counts)
		}
		return nil
	})
	s.unthrottled(t)
	s.settled(s.warden)
}

// drain takes it out again under load; what cannot be is refused before anything moves.
func (s *scene) drain(t *testing.T) {
	if _, err := s.warden.Drain(t.Context(), s.target(), []int32{3, 4}); !errors.Is(err, warden.ErrRefused) {
		t.Fatalf("two brokers for three replicas: %v", err)
	}
	if counts := s.counts(t, "data"); counts[4] < 4 {
		t.Errorf("moved after all: %v", counts)
	}
	if err := s.warden.Leave(t.Context(), s.target(), 4); err == nil || errors.Is(err, warden.ErrRefused) {
		t.Errorf("it runs: %v", err)
	}
	l := newLoad(t, s.target().Bootstrap, "data")
	until(t, "the broker is empty", func(ctx context.Context) error {
		return none(warden.New(warden.Config{Throttle: 20 << 20}).Drain(ctx, s.target(), []int32{4}))
	})
	l.check(t)
	until(t, "all brokers know", func(context.Context) error {
		if counts := s.counts(t, "data"); counts[4] != 0 {
			return fmt.Errorf("%v", counts)
		}
		return nil
	})
	s.unthrottled(t)
	if err := second(s.admin.CreateTopic(t.Context(), 8, 3, nil, "after")); err != nil {
		t.Fatal(err)
	}
	until(t, "the topic is there", func(ctx context.Context) error { return empty(s.warden.Settled(ctx, s.target())) })
	if counts := s.counts(t, "after"); counts[4] != 0 {
		t.Errorf("it is cordoned, and was given replicas: %v", counts)
	}
}

// leave takes the broker out of the records; one that comes by its id is like a new one.
func (s *scene) leave(t *testing.T) {
	s.stop(4)
	until(t, "it leaves", func(ctx context.Context) error { return s.warden.Leave(ctx, s.target(), 4) })
	if err := s.warden.Leave(t.Context(), s.target(), 4); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.warden.Leave(t.Context(), s.target(), 2); err == nil {
		t.Error("it runs and has replicas")
	}
	s.prepare(4, "a")
	s.start(4)
	s.settled(s.warden)
	if dirs := s.value(t, "cordoned.log.dirs"); dirs != "" {
		t.Errorf("a new broker is cordoned: %q", dirs)
	}
	// A Drain that is given up leaves nothing behind.
	if _, err := s.warden.Drain(t.Context(), s.target(), []int32{4}); err != nil {
		t.Fatal(err)
	}
	if dirs := s.value(t, "cordoned.log.dirs"); !strings.Contains(dirs, "*") {
		t.Errorf("a drained broker is not cordoned: %q", dirs)
	}
	until(t, "it is used again", func(ctx context.Context) error { return none(s.warden.Spread(ctx, s.target())) })
	until(t, "it has replicas", func(context.Context) error {
		if counts := s.counts(t, "data"); counts[4] == 0 {
			return fmt.Errorf("%v, cordoned %q", counts, s.value(t, "cordoned.log.dirs"))
		}
		return nil
	})
	if err := second(s.admin.DeleteTopic(t.Context(), "one")); err != nil { // its only replica could be on the broker
		t.Fatal(err)
	}
	s.kill(4)
	until(t, "it has replicas and does not run", func(ctx context.Context) error {
		if err := s.warden.Leave(ctx, s.target(), 4); !errors.Is(err, warden.ErrRefused) {
			return fmt.Errorf("left: %w", err)
		}
		return nil
	})
	s.stuck(t)
	until(t, "a dead broker is drained", func(ctx context.Context) error { return none(s.warden.Drain(ctx, s.target(), []int32{4})) })
	until(t, "it leaves", func(ctx context.Context) error { return s.warden.Leave(ctx, s.target(), 4) })
	delete(s.zones, 4)
	s.settled(s.warden)
}

// stuck has somebody else begin a move that cannot end, to a broker that does not run, and give it up again. It is seen to be under way.
func (s *scene) stuck(t *testing.T) {
	topics, err := s.admin.ListTopics(t.Context(), "data")
	if err != nil {
		t.Fatal(err)
	}
	var cancel kadm.AlterPartitionAssignmentsReq
	for _, p := range topics["data"].Partitions.Sorted() {
		if slices.Contains(p.Replicas, 4) {
			continue
		}
		var move kadm.AlterPartitionAssignmentsReq
		move.Assign("data", p.Partition, []int32{2, 3, 4})
		if err := second(s.admin.AlterPartitionAssignments(t.Context(), move)); err != nil {
			t.Fatal(err)
		}
		cancel.CancelAssign("data", p.Partition)
		break
	}
	if left, err := s.warden.Spread(t.Context(), s.target()); err != nil || left == 0 {
		t.Errorf("one at least is under way: %d, %v", left, err)
	}
	if err := second(s.admin.AlterPartitionAssignments(t.Context(), cancel)); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) storage(t *testing.T) {
	disks, err := s.warden.Disks(t.Context(), s.target())
	if err != nil || len(disks) != voters {
		t.Fatalf("%+v, %v", disks, err)
	}
	for _, d := range disks {
		if d.Used < 500*100 || d.Total <= 0 || d.Usable <= 0 || d.Usable > d.Total {
			t.Errorf("%+v", d)
		}
	}
	quotas := func() (values []string) {
		all, err := s.admin.DescribeClientQuotas(t.Context(), false, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range all {
			for _, v := range q.Values {
				values = append(values, fmt.Sprintf("%v %s=%v", len(q.Entity), v.Key, v.Value))
			}
		}
		return values
	}
	state := volume.State{}
	most := slices.MaxFunc(disks, func(a, b warden.Disk) int { return cmp.Compare(a.Used, b.Used) }).Used
	for _, c := range []struct {
		size int64
		want []string
	}{
		{2 * most, nil}, {most * 100 / 92, []string{"2 producer_byte_rate=1.048576e+06"}}, {most, []string{"2 producer_byte_rate=1024"}},
		{most, []string{"2 producer_byte_rate=1024"}}, {2 * most, nil},
	} {
		var d volume.Decision
		if d, state, err = s.warden.Tend(t.Context(), s.target(), time.Unix(0, 0), c.size, volume.Policy{}, state); err != nil {
			t.Fatal(err)
		}
		if (d.Advice == "") != (c.want == nil) {
			t.Errorf("%+v", d)
		}
		until(t, "the quota", func(context.Context) error {
			if got := quotas(); !slices.Equal(got, c.want) {
				return fmt.Errorf("%v, want %v", got, c.want)
			}
			return nil
		})
	}
}
