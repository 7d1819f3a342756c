package topics

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// Admin is a connection to one cluster; a *kadm.Client is it.
type Admin interface {
	// CreateTopic makes a topic; the answer has the broker's error, too.
	CreateTopic(ctx context.Context, partitions int32, replicas int16, configs map[string]*string, topic string) (kadm.CreateTopicResponse, error)
	// DeleteTopic deletes a topic; the answer has the broker's error, too.
	DeleteTopic(ctx context.Context, topic string) (kadm.DeleteTopicResponse, error)
	// UpdatePartitions gives each topic so many partitions; the answers have the broker's errors.
	UpdatePartitions(ctx context.Context, set int, topics ...string) (kadm.CreatePartitionsResponses, error)
	// AlterTopicConfigsState makes configs all that is set for each topic; the answers have the broker's errors.
	AlterTopicConfigsState(ctx context.Context, configs []kadm.AlterConfig, topics ...string) (kadm.AlterConfigsResponses, error)
	// DescribeTopicConfigs tells the configs of topics, inherited ones included.
	DescribeTopicConfigs(ctx context.Context, topics ...string) (kadm.ResourceConfigs, error)
	// ListTopicsWithInternal tells what metadata say of these topics, or of all; of one that is not there an error.
	ListTopicsWithInternal(ctx context.Context, topics ...string) (kadm.TopicDetails, error)
	// Close ends the connection.
	Close()
}

// Dial connects to a cluster by its name, as one who may do everything: whether the caller may was asked before.
type Dial func(ctx context.Context, cluster string) (Admin, error)

// Topics are those of all clusters. Make them with New; safe for concurrent use.
type Topics struct{ dial Dial }

// New makes Topics that reach clusters by dial.
func New(dial Dial) *Topics { return &Topics{dial: dial} }

// Spec is what a topic is made of.
type Spec struct {
	Name       string
	Partitions int               // at least 1
	Replicas   int               // at least 1
	Configs    map[string]string // nil: none of its own
}

// State is how far a topic has come, in the words of the MSK API.
type State string

// The states of a topic (T4). One that is deleted is gone when Delete returns.
const (
	Creating State = "CREATING"
	Active   State = "ACTIVE"
)

// Topic is what a topic is.
type Topic struct {
	Spec            // Configs are those that were set for the topic; List leaves them out
	OutOfSync int   // replicas that are behind
	State     State //
}

// Partition is one partition of a topic.
type Partition struct {
	Number, Leader int32 // Leader -1: none
	Replicas, ISR  []int32
}

// with opens a connection for one call (T2).
func (t *Topics) with(ctx context.Context, what, cluster string, call func(Admin) error) error {
	admin, err := t.dial(ctx, cluster)
	if err != nil {
		return fmt.Errorf("%s of cluster %s: %w", what, cluster, withCode(err))
	}
	defer admin.Close()
	if err := call(admin); err != nil {
		return fmt.Errorf("%s of cluster %s: %w", what, cluster, withCode(err))
	}
	return nil
}

// Create makes a topic. Errors (T1): TopicAlreadyExists, InvalidTopicException, InvalidPartitions, InvalidReplicationFactor, InvalidConfig.
func (t *Topics) Create(ctx context.Context, cluster string, s Spec) error {
	if s.Partitions < 1 || s.Partitions > math.MaxInt32 {
		return fmt.Errorf("create topic: %w: %d partitions", kerr.InvalidPartitions, s.Partitions)
	}
	if s.Replicas < 1 || s.Replicas > math.MaxInt16 {
		return fmt.Errorf("create topic: %w: %d replicas", kerr.InvalidReplicationFactor, s.Replicas)
	}
	configs := make(map[string]*string, len(s.Configs))
	for name, value := range s.Configs {
		configs[name] = &value
	}
	return t.with(ctx, "create a topic", cluster, func(a Admin) error {
		answer, err := a.CreateTopic(ctx, int32(s.Partitions), int16(s.Replicas), configs, s.Name)
		if answer.Err != nil { // which a client may give as err, too, without the words
			return refused(answer.Err, answer.ErrMessage)
		}
		return err
	})
}

// Describe returns a topic. Errors (T1): UnknownTopicOrPartition.
func (t *Topics) Describe(ctx context.Context, cluster, topic string) (Topic, error) {
	var out Topic
	return out, t.with(ctx, "describe a topic", cluster, func(a Admin) error {
		detail, err := one(ctx, a, topic)
		if err != nil {
			return err
		}
		out = told(detail)
		answers, err := a.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		out.Configs = map[string]string{}
		for _, answer := range answers {
			if answer.Err != nil {
				return refused(answer.Err, answer.ErrMessage)
			}
			for _, c := range answer.Configs {
				if c.Source == kmsg.ConfigSourceDynamicTopicConfig && !c.Sensitive {
					out.Configs[c.Key] = c.MaybeValue()
				}
			}
		}
		return nil
	})
}

// one asks for one topic.
func one(ctx context.Context, a Admin, topic string) (kadm.TopicDetail, error) {
	if topic == "" { // which would ask for all
		return kadm.TopicDetail{}, kerr.InvalidTopicException
	}
	all, err := a.ListTopicsWithInternal(ctx, topic)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	detail, ok := all[topic]
	if !ok {
		return detail, kerr.UnknownTopicOrPartition
	}
	return detail, refused(detail.Err, "")
}

// told is what a topic's metadata say.
func told(d kadm.TopicDetail) Topic {
	t := Topic{Spec: Spec{Name: d.Topic, Partitions: len(d.Partitions)}, State: Active}
	for _, p := range d.Partitions {
		t.Replicas = max(t.Replicas, len(p.Replicas))
		t.OutOfSync += len(p.Replicas) - len(p.ISR)
		if p.Leader < 0 {
			t.State = Creating
		}
	}
	if len(d.Partitions) == 0 {
		t.State = Creating
	}
	return t
}

// List returns all topics by name, without their configs, those that Kafka keeps for itself included. What is gone meanwhile is left out.
func (t *Topics) List(ctx context.Context, cluster string) ([]Topic, error) {
	var out []Topic
	return out, t.with(ctx, "list topics", cluster, func(a Admin) error {
		all, err := a.ListTopicsWithInternal(ctx)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if all[name].Err == nil {
				out = append(out, told(all[name]))
			}
		}
		return err
	})
}

// Configure makes configs all that is set for the topic (T3). Errors (T1): UnknownTopicOrPartition, InvalidConfig.
func (t *Topics) Configure(ctx context.Context, cluster, topic string, configs map[string]string) error {
	return t.with(ctx, "configure a topic", cluster, func(a Admin) error {
		if _, err := one(ctx, a, topic); err != nil { // a broker's answer about the configs of none may be another
			return err
		}
		var next []kadm.AlterConfig
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			value := configs[name]
			next = append(next, kadm.AlterConfig{Name: name, Value: &value})
		}
		answers, err := a.AlterTopicConfigsState(ctx, next, topic)
		for _, answer := range answers {
			if answer.Err != nil {
				return refused(answer.Err, answer.ErrMessage)
			}
		}
		return err
	})
}

// Extend gives a topic more partitions, that many in the end. Errors (T1): UnknownTopicOrPartition, InvalidPartitions,
// ReassignmentInProgress.
func (t *Topics) Extend(ctx context.Context, cluster, topic string, partitions int) error {
	if partitions < 1 || partitions > math.MaxInt32 {
		return fmt.Errorf("extend a topic: %w: %d partitions", kerr.InvalidPartitions, partitions)
	}
	return t.with(ctx, "extend a topic", cluster, func(a Admin) error {
		if _, err := one(ctx, a, topic); err != nil {
			return err
		}
		answers, err := a.UpdatePartitions(ctx, partitions, topic)
		for _, answer := range answers {
			if answer.Err != nil {
				return refused(answer.Err, answer.ErrMessage)
			}
		}
		return err
	})
}

// Delete deletes a topic with all its records. Errors (T1): UnknownTopicOrPartition, TopicDeletionDisabled.
func (t *Topics) Delete(ctx context.Context, cluster, topic string) error {
	return t.with(ctx, "delete a topic", cluster, func(a Admin) error {
		answer, err := a.DeleteTopic(ctx, topic)
		if answer.Err != nil {
			return refused(answer.Err, answer.ErrMessage)
		}
		return err
	})
}

// Partitions returns those of a topic by number. Errors (T1): UnknownTopicOrPartition.
func (t *Topics) Partitions(ctx context.Context, cluster, topic string) ([]Partition, error) {
	var out []Partition
	return out, t.with(ctx, "describe a topic", cluster, func(a Admin) error {
		detail, err := one(ctx, a, topic)
		for _, number := range slices.Sorted(maps.Keys(detail.Partitions)) {
			p := detail.Partitions[number]
			out = append(out, Partition{number, p.Leader, p.Replicas, p.ISR})
		}
		return err
	})
}
