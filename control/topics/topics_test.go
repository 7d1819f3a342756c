package topics

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	franz "github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// cluster is one with topics whose answers can be told before.
type cluster struct {
	topics  map[string]kadm.TopicDetail
	configs map[string]map[string]string
	answer  error // of the next change
	fail    error // of the connection
	open    int
	asked   int // changes
}

func (c *cluster) dial(context.Context, string) (Admin, error) { c.open++; return c, nil }
func (c *cluster) Close()                                      { c.open-- }

func (c *cluster) CreateTopic(_ context.Context, n int32, r int16, configs map[string]*string, topic string) (kadm.CreateTopicResponse, error) {
	c.asked++
	if c.answer == nil && c.fail == nil {
		c.topics[topic] = kadm.TopicDetail{Topic: topic, Partitions: kadm.PartitionDetails{0: {Leader: -1, Replicas: make([]int32, r)}}}
		c.configs[topic] = map[string]string{}
		for k, v := range configs {
			c.configs[topic][k] = *v
		}
	}
	return kadm.CreateTopicResponse{Err: c.answer, ErrMessage: "in a broker's words"}, errors.Join(c.answer, c.fail)
}

func (c *cluster) DeleteTopic(_ context.Context, topic string) (kadm.DeleteTopicResponse, error) {
	c.asked++
	delete(c.topics, topic)
	return kadm.DeleteTopicResponse{Err: c.answer}, errors.Join(c.answer, c.fail)
}

func (c *cluster) UpdatePartitions(_ context.Context, _ int, topics ...string) (kadm.CreatePartitionsResponses, error) {
	c.asked++
	return kadm.CreatePartitionsResponses{topics[0]: {Err: c.answer}}, c.fail
}

func (c *cluster) AlterTopicConfigsState(_ context.Context, configs []kadm.AlterConfig, topics ...string) (kadm.AlterConfigsResponses, error) {
	c.asked++
	next := map[string]string{}
	for _, one := range configs {
		next[one.Name] = *one.Value
	}
	c.configs[topics[0]] = next
	return kadm.AlterConfigsResponses{{Err: c.answer, ErrMessage: "in a broker's words"}}, c.fail
}

func (c *cluster) DescribeTopicConfigs(_ context.Context, topics ...string) (kadm.ResourceConfigs, error) {
	set, inherited := "5", "7"
	r := kadm.ResourceConfig{Name: topics[0], Configs: []kadm.Config{
		{Key: "retention.ms", Value: &set, Source: kmsg.ConfigSourceDynamicTopicConfig},
		{Key: "segment.ms", Value: &inherited, Source: kmsg.ConfigSourceDefaultConfig},
		{Key: "cleanup.policy", Value: &inherited, Source: kmsg.ConfigSourceDynamicDefaultBrokerConfig},
	}}
	return kadm.ResourceConfigs{r}, c.fail
}

func (c *cluster) ListTopicsWithInternal(_ context.Context, topics ...string) (kadm.TopicDetails, error) {
	if len(topics) == 0 {
		return c.topics, c.fail
	}
	d, ok := c.topics[topics[0]]
	if !ok {
		d.Err = franz.UnknownTopicOrPartition
	}
	return kadm.TopicDetails{topics[0]: d}, c.fail
}

func newCluster() *cluster {
	return &cluster{configs: map[string]map[string]string{}, topics: map[string]kadm.TopicDetail{
		"b": {Topic: "b", Partitions: kadm.PartitionDetails{
			1: {Partition: 1, Leader: 2, Replicas: []int32{2, 3, 1}, ISR: []int32{2}},
			0: {Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
		}},
		"a":    {Topic: "a", IsInternal: true, Partitions: kadm.PartitionDetails{0: {Leader: -1, Replicas: []int32{1}}}},
		"gone": {Topic: "gone", Err: franz.UnknownTopicOrPartition},
	}}
}

func TestWhatIsTold(t *testing.T) {
	c := newCluster()
	s := New(c.dial)
	b := Topic{Spec: Spec{Name: "b", Partitions: 2, Replicas: 3}, OutOfSync: 2, State: Active}
	a := Topic{Spec: Spec{Name: "a", Partitions: 1, Replicas: 1}, OutOfSync: 1, State: Creating}
	if got, err := s.List(t.Context(), "main"); err != nil || !reflect.DeepEqual(got, []Topic{a, b}) {
		t.Errorf("%+v, %v", got, err)
	}
	b.Configs = map[string]string{"retention.ms": "5"}
	if got, err := s.Describe(t.Context(), "main", "b"); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("%+v, %v", got, err)
	}
	want := []Partition{{0, 1, []int32{1, 2, 3}, []int32{1, 2, 3}}, {1, 2, []int32{2, 3, 1}, []int32{2}}}
	if got, err := s.Partitions(t.Context(), "main", "b"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if c.open != 0 {
		t.Errorf("%d connections are open", c.open)
	}
}

func TestChanges(t *testing.T) {
	c := newCluster()
	s := New(c.dial)
	if err := s.Create(t.Context(), "main", Spec{"n", 1, 3, map[string]string{"x": "1", "y": "2"}}); err != nil || len(c.configs["n"]) != 2 || c.configs["n"]["y"] != "2" {
		t.Error(err, c.configs)
	}
	if err := s.Configure(t.Context(), "main", "n", map[string]string{"z": "3"}); err != nil || !maps.Equal(c.configs["n"], map[string]string{"z": "3"}) {
		t.Error(err, c.configs)
	}
	if err := errors.Join(s.Extend(t.Context(), "main", "n", 5), s.Delete(t.Context(), "main", "n")); err != nil || c.asked != 4 {
		t.Error(err, c.asked)
	}
}

// calls are all that Topics can do, with the topic "b".
func calls(t *testing.T, s *Topics) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"create":     func() error { return s.Create(ctx, "main", Spec{Name: "b", Partitions: 1, Replicas: 1}) },
		"configure":  func() error { return s.Configure(ctx, "main", "b", nil) },
		"extend":     func() error { return s.Extend(ctx, "main", "b", 9) },
		"delete":     func() error { return s.Delete(ctx, "main", "b") },
		"describe":   func() error { _, err := s.Describe(ctx, "main", "b"); return err },
		"list":       func() error { _, err := s.List(ctx, "main"); return err },
		"partitions": func() error { _, err := s.Partitions(ctx, "main", "b"); return err },
	}
}

// TestEveryErrorHoldsACode (T1).
func TestEveryErrorHoldsACode(t *testing.T) {
	for _, code := range []*franz.Error{
		franz.TopicAlreadyExists, franz.UnknownTopicOrPartition, franz.ReassignmentInProgress, franz.NotController, franz.InvalidConfig,
		franz.RequestTimedOut, franz.InvalidPartitions, franz.TopicDeletionDisabled,
	} {
		for _, name := range []string{"create", "configure", "extend", "delete"} {
			c := newCluster()
			c.answer = code
			err := calls(t, New(c.dial))[name]()
			if kerr.Of(err) != kerr.Code(code.Code) || c.open != 0 {
				t.Errorf("%s: %v, want %v; %d are open", name, err, code, c.open)
			}
			if (name == "create" || name == "configure") && !strings.Contains(err.Error(), "in a broker's words") {
				t.Errorf("%s: %v lacks what the broker said", name, err)
			}
		}
	}
	for fail, want := range map[error]kerr.Code{errors.New("reset by peer"): kerr.NetworkException, context.DeadlineExceeded: kerr.RequestTimedOut} {
		for name := range calls(t, nil) {
			c := newCluster()
			c.fail = fail
			if err := calls(t, New(c.dial))[name](); kerr.Of(err) != want || !errors.Is(err, fail) || c.open != 0 {
				t.Errorf("%s: %v, want %v; %d are open", name, err, want, c.open)
			}
			away := New(func(context.Context, string) (Admin, error) { return nil, fail })
			if err := calls(t, away)[name](); kerr.Of(err) != want {
				t.Errorf("%s without a connection: %v, want %v", name, err, want)
			}
		}
	}
}

func TestBadInput(t *testing.T) {
	c := newCluster()
	s := New(c.dial)
	ctx := t.Context()
	_, describe := s.Describe(ctx, "main", "")
	_, unknown := s.Describe(ctx, "main", "x")
	_, partitions := s.Partitions(ctx, "main", "x")
	for _, one := range []struct {
		err  error
		want kerr.Code
	}{
		{s.Create(ctx, "main", Spec{"n", 0, 1, nil}), kerr.InvalidPartitions}, {s.Create(ctx, "main", Spec{"n", 1 << 31, 1, nil}), kerr.InvalidPartitions},
		{s.Create(ctx, "main", Spec{"n", 1, 0, nil}), kerr.InvalidReplicationFactor}, {s.Create(ctx, "main", Spec{"n", 1, 1 << 15, nil}), kerr.InvalidReplicationFactor},
		{s.Extend(ctx, "main", "b", 0), kerr.InvalidPartitions}, {s.Extend(ctx, "main", "x", 3), kerr.UnknownTopicOrPartition},
		{s.Configure(ctx, "main", "x", nil), kerr.UnknownTopicOrPartition}, {s.Configure(ctx, "main", "", nil), kerr.InvalidTopicException},
		{describe, kerr.InvalidTopicException}, {unknown, kerr.UnknownTopicOrPartition}, {partitions, kerr.UnknownTopicOrPartition},
	} {
		if kerr.Of(one.err) != one.want {
			t.Errorf("%v, want %v", one.err, one.want)
		}
	}
	if c.asked != 0 || c.open != 0 {
		t.Errorf("%d changes, %d open", c.asked, c.open)
	}
}
