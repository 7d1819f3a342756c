package kafkatest

import (
	"context"
	"maps"
	"slices"

	"millrace/control/topics"
	"millrace/kafka/kerr"
)

// Topics keeps the topics of one cluster, whatever it is called.
type Topics struct {
	All     map[string]topics.Topic
	Changes int                       // that were let through
	Fail    func(method string) error // what a method answers before it does anything; nil, or nil from it: it does
}

// NewTopics makes a cluster without topics.
func NewTopics() *Topics { return &Topics{All: map[string]topics.Topic{}} }

func (s *Topics) fails(method string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(method)
}

func (s *Topics) change(method, name string, f func(*topics.Topic)) error {
	err := s.fails(method)
	t, ok := s.All[name]
	switch {
	case err != nil:
		return err
	case !ok:
		return kerr.UnknownTopicOrPartition
	}
	s.Changes++
	f(&t)
	s.All[name] = t
	return nil
}

// Create makes a topic.
func (s *Topics) Create(_ context.Context, _ string, spec topics.Spec) error {
	if err := s.fails("Create"); err != nil {
		return err
	}
	if _, ok := s.All[spec.Name]; ok {
		return kerr.TopicAlreadyExists
	}
	s.Changes++
	s.All[spec.Name] = topics.Topic{Spec: spec, State: topics.Active}
	return nil
}

// Describe returns a topic.
func (s *Topics) Describe(_ context.Context, _, name string) (topics.Topic, error) {
	if err := s.fails("Describe"); err != nil {
		return topics.Topic{}, err
	}
	t, ok := s.All[name]
	if !ok {
		return t, kerr.UnknownTopicOrPartition
	}
	return t, nil
}

// List lists all by name.
func (s *Topics) List(context.Context, string) ([]topics.Topic, error) {
	if err := s.fails("List"); err != nil {
		return nil, err
	}
	var all []topics.Topic
	for _, name := range slices.Sorted(maps.Keys(s.All)) {
		all = append(all, s.All[name])
	}
	return all, nil
}

// Configure makes configs all that is set.
func (s *Topics) Configure(_ context.Context, _, name string, configs map[string]string) error {
	return s.change("Configure", name, func(t *topics.Topic) { t.Configs = configs })
}

// Extend gives a topic more partitions.
func (s *Topics) Extend(_ context.Context, _, name string, partitions int) error {
	if t, ok := s.All[name]; ok && partitions <= t.Partitions {
		return kerr.InvalidPartitions
	}
	return s.change("Extend", name, func(t *topics.Topic) { t.Partitions = partitions })
}

// Delete deletes a topic.
func (s *Topics) Delete(_ context.Context, _, name string) error {
	err := s.change("Delete", name, func(*topics.Topic) {})
	if err == nil {
		delete(s.All, name)
	}
	return err
}

// Partitions lists the partitions, all led by broker 1.
func (s *Topics) Partitions(ctx context.Context, cluster, name string) ([]topics.Partition, error) {
	if err := s.fails("Partitions"); err != nil {
		return nil, err
	}
	t, err := s.Describe(ctx, cluster, name)
	var all []topics.Partition
	for i := range t.Partitions {
		all = append(all, topics.Partition{Number: int32(i), Leader: 1, Replicas: []int32{1}, ISR: []int32{1}})
	}
	return all, err
}
