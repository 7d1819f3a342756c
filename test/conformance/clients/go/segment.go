package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// segment drives segmentio's kafka-go.
type segment struct {
	bootstrap string
	client    *kafka.Client

	mu      sync.Mutex
	members map[string]*segmentMember
}

// segmentMember is an open member of a group; segment.mu guards assigned.
type segmentMember struct {
	group    *kafka.ConsumerGroup
	assigned []int32
	done     chan struct{}
}

func newSegment(bootstrap string) (*driver, error) {
	s := &segment{
		bootstrap: bootstrap, client: &kafka.Client{
			Addr: kafka.TCP(bootstrap), Timeout: 30 * time.Second, Transport: &kafka.Transport{MetadataTTL: metadataAge},
		},
		members: make(map[string]*segmentMember),
	}
	return &driver{
		module: "github.com/segmentio/kafka-go",
		operations: map[string]operation{
			"create_topic": s.createTopic, "delete_topic": s.deleteTopic, "list_topics": s.listTopics,
			"describe_topic": s.describeTopic, "create_partitions": s.createPartitions,
			"describe_configs": s.describeConfigs, "alter_configs": s.alterConfigs,
			"produce": s.produce, "consume": s.consume, "list_offsets": s.listOffsets, "offset_for_time": s.offsetForTime,
			"group_read": s.groupRead, "committed": s.committed, "list_groups": s.listGroups, "describe_group": s.describeGroup,
			"delete_group": s.deleteGroup, "member_open": s.memberOpen, "member_state": s.memberState,
			"member_close": s.memberClose, "digest_group": s.digestGroup,
		},
		code: func(err error) (int16, bool) {
			if broker, ok := errors.AsType[kafka.Error](err); ok {
				return int16(broker), true
			}
			return 0, false
		},
		codecs:   []string{"none", "gzip", "snappy", "lz4", "zstd"},
		features: []string{"partition", "timestamp", "headers", "null_key", "null_value", "null_header", "shows_markers"},
	}, nil
}

func (s *segment) createTopic(ctx context.Context, r request) (any, error) {
	topic := kafka.TopicConfig{Topic: r.Topic, NumPartitions: int(r.Partitions), ReplicationFactor: 1}
	for name, value := range r.Configs {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	response, err := s.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		return nil, err
	}
	return nil, response.Errors[r.Topic]
}

func (s *segment) deleteTopic(ctx context.Context, r request) (any, error) {
	response, err := s.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{r.Topic}})
	if err != nil {
		return nil, err
	}
	return nil, response.Errors[r.Topic]
}

func (s *segment) metadata(ctx context.Context, topics ...string) ([]kafka.Topic, error) {
	response, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	return response.Topics, nil
}

func (s *segment) listTopics(ctx context.Context, _ request) (any, error) {
	topics, err := s.metadata(ctx)
	var list []string
	for _, topic := range topics {
		list = append(list, topic.Name)
	}
	return sorted(list), err
}

func (s *segment) describeTopic(ctx context.Context, r request) (any, error) {
	topics, err := s.metadata(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	out := description{Partitions: len(topics[0].Partitions)}
	for _, partition := range topics[0].Partitions {
		if partition.Leader.Host != "" {
			out.Led++
		}
	}
	return out, topics[0].Error
}

func (s *segment) createPartitions(ctx context.Context, r request) (any, error) {
	response, err := s.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: r.Topic, Count: r.Partitions}},
	})
	if err != nil {
		return nil, err
	}
	return nil, response.Errors[r.Topic]
}

func (s *segment) describeConfigs(ctx context.Context, r request) (any, error) {
	response, err := s.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic, ConfigNames: r.Names,
	}}})
	if err != nil {
		return nil, err
	}
	out := configs{Configs: make(map[string]string)}
	for _, entry := range response.Resources[0].ConfigEntries {
		out.Configs[entry.ConfigName] = entry.ConfigValue
	}
	return out, response.Resources[0].Error
}

func (s *segment) alterConfigs(ctx context.Context, r request) (any, error) {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.Topic}
	for name, value := range r.Configs {
		resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{
			Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet,
		})
	}
	response, err := s.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{resource},
	})
	if err != nil {
		return nil, err
	}
	return nil, response.Resources[0].Error
}

func (s *segment) produce(ctx context.Context, r request) (any, error) {
	codecs := map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	batch := make([]kafka.Record, 0, len(r.Records))
	for _, one := range r.Records {
		out := kafka.Record{}
		if one.Timestamp > 0 {
			out.Time = millis(one.Timestamp)
		}
		if one.Key != nil {
			out.Key = kafka.NewBytes(one.Key)
		}
		if one.Value != nil {
			out.Value = kafka.NewBytes(one.Value)
		}
		for _, h := range one.Headers {
			out.Headers = append(out.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		batch = append(batch, out)
	}
	response, err := s.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: r.Topic, Partition: int(r.Partition), RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(batch...), Compression: codecs[r.Compression],
	})
	if err != nil {
		return nil, err
	}
	var out offsets
	for i := range batch {
		out.Offsets = append(out.Offsets, response.BaseOffset+int64(i))
	}
	return out, response.Error
}

func fromSegment(in kafka.Message) record {
	out := record{
		Topic: in.Topic, Partition: int32(in.Partition), Offset: in.Offset, Timestamp: in.Time.UnixMilli(),
		Key: in.Key, Value: in.Value,
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, header{Name: h.Key, Value: h.Value})
	}
	return out
}

// consume reads every partition of every topic to the end that it has now: kafka-go reads one partition at a time.
func (s *segment) consume(ctx context.Context, r request) (any, error) {
	topics, err := s.metadata(ctx, r.Topics...)
	if err != nil {
		return nil, err
	}
	var out records
	for _, topic := range topics {
		for _, partition := range topic.Partitions {
			if err := s.readPartition(ctx, topic.Name, partition.ID, &out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (s *segment) readPartition(ctx context.Context, topic string, partition int, out *records) error {
	range_, err := s.bounds(ctx, topic, partition)
	if err != nil || range_.Earliest == range_.Latest {
		return err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.bootstrap}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond, MaxBytes: 8 << 20,
	})
	defer reader.Close()
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		out.Records = append(out.Records, fromSegment(message))
		if message.Offset+1 >= range_.Latest {
			return nil
		}
	}
}

func (s *segment) bounds(ctx context.Context, topic string, partition int) (bounds, error) {
	listed, err := s.listed(ctx, topic, partition, kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition))
	return bounds{Earliest: listed.FirstOffset, Latest: listed.LastOffset}, err
}

func (s *segment) listed(ctx context.Context, topic string, partition int, asked ...kafka.OffsetRequest) (kafka.PartitionOffsets, error) {
	response, err := s.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
	if err != nil {
		return kafka.PartitionOffsets{}, err
	}
	for _, one := range response.Topics[topic] {
		if one.Partition == partition {
			return one, one.Error
		}
	}
	return kafka.PartitionOffsets{}, errors.New("the partition is not in the answer")
}

func (s *segment) listOffsets(ctx context.Context, r request) (any, error) {
	return s.bounds(ctx, r.Topic, int(r.Partition))
}

func (s *segment) offsetForTime(ctx context.Context, r request) (any, error) {
	listed, err := s.listed(ctx, r.Topic, int(r.Partition), kafka.TimeOffsetOf(int(r.Partition), millis(r.Timestamp)))
	if err != nil {
		return nil, err
	}
	for found := range listed.Offsets {
		return offset{Offset: found}, nil
	}
	return offset{Offset: -1}, nil
}

func (s *segment) groupReader(r request) *kafka.Reader {
	topics := r.Topics
	if r.Topic != "" {
		topics = []string{r.Topic}
	}
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.bootstrap}, GroupID: r.Group, GroupTopics: topics, StartOffset: kafka.FirstOffset,
		MaxWait: 100 * time.Millisecond, MaxBytes: 8 << 20, QueueCapacity: 1000,
	})
}

func (s *segment) groupRead(ctx context.Context, r request) (any, error) {
	reader := s.groupReader(r)
	defer reader.Close()
	var out records
	var messages []kafka.Message
	for range r.Count {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return nil, err
		}
		out.Records = append(out.Records, fromSegment(message))
		messages = append(messages, message)
	}
	return out, reader.CommitMessages(ctx, messages...)
}

func (s *segment) digestGroup(ctx context.Context, r request) (any, error) {
	reader := s.groupReader(r)
	defer reader.Close()
	var out digests
	last := make(map[string]kafka.Message)
	for range r.Count {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return nil, err
		}
		out.add(message.Topic, message.Key, message.Value)
		last[message.Topic+"/"+strconv.Itoa(message.Partition)] = message
	}
	for _, message := range last {
		if err := reader.CommitMessages(ctx, message); err != nil {
			return nil, err
		}
	}
	return out.finish(), nil
}

func (s *segment) committed(ctx context.Context, r request) (any, error) {
	topics, err := s.metadata(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	var partitions []int
	for _, partition := range topics[0].Partitions {
		partitions = append(partitions, partition.ID)
	}
	response, err := s.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: r.Group, Topics: map[string][]int{r.Topic: partitions},
	})
	if err != nil {
		return nil, err
	}
	out := byPartition{Offsets: make(map[int32]int64)}
	for _, partition := range response.Topics[r.Topic] {
		if partition.CommittedOffset >= 0 {
			out.Offsets[int32(partition.Partition)] = partition.CommittedOffset
		}
	}
	return out, response.Error
}

func (s *segment) listGroups(ctx context.Context, _ request) (any, error) {
	response, err := s.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	var list []string
	for _, group := range response.Groups {
		list = append(list, group.GroupID)
	}
	return sorted(list), response.Error
}

func (s *segment) describeGroup(ctx context.Context, r request) (any, error) {
	response, err := s.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{r.Group}})
	if err != nil {
		return nil, err
	}
	group := response.Groups[0]
	return groupState{State: group.GroupState, Members: len(group.Members)}, group.Error
}

func (s *segment) deleteGroup(ctx context.Context, r request) (any, error) {
	response, err := s.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{r.Group}})
	if err != nil {
		return nil, err
	}
	return nil, response.Errors[r.Group]
}

func (s *segment) memberOpen(_ context.Context, r request) (any, error) {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: r.Group, Brokers: []string{s.bootstrap}, Topics: []string{r.Topic},
		HeartbeatInterval: 300 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond,
		RebalanceTimeout: 10 * time.Second, SessionTimeout: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	m := &segmentMember{group: group, done: make(chan struct{})}
	go s.follow(m, r.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[r.Member] = m
	return nil, nil
}

// follow keeps the assignment of the member's newest generation until its group is closed.
func (s *segment) follow(m *segmentMember, topic string) {
	defer close(m.done)
	for {
		generation, err := m.group.Next(context.Background())
		if errors.Is(err, kafka.ErrGroupClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			continue // Next backs off by itself
		}
		var assigned []int32
		for _, partition := range generation.Assignments[topic] {
			assigned = append(assigned, int32(partition.ID))
		}
		slices.Sort(assigned)
		s.mu.Lock()
		m.assigned = assigned
		s.mu.Unlock()
		generation.Start(func(ctx context.Context) {
			<-ctx.Done()
			s.mu.Lock()
			m.assigned = nil
			s.mu.Unlock()
		})
	}
}

func (s *segment) memberState(context.Context, request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := assignments{Assignments: make(map[string][]int32)}
	for name, m := range s.members {
		out.Assignments[name] = append([]int32{}, m.assigned...)
	}
	return out, nil
}

func (s *segment) memberClose(_ context.Context, r request) (any, error) {
	s.mu.Lock()
	m := s.members[r.Member]
	delete(s.members, r.Member)
	s.mu.Unlock()
	err := m.group.Close()
	<-m.done
	return nil, err
}
