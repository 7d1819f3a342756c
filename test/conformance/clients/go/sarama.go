package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// saramaDriver drives sarama.
type saramaDriver struct {
	bootstrap string
	client    sarama.Client
	admin     sarama.ClusterAdmin

	producers map[string]sarama.SyncProducer // the transactional ones that are open

	mu      sync.Mutex
	members map[string]*saramaMember
}

// saramaMember is an open member of a group; saramaDriver.mu guards assigned and failed.
type saramaMember struct {
	group    sarama.ConsumerGroup
	assigned []int32
	failed   error // what ended it; nil while nothing has
	cancel   context.CancelFunc
	done     chan struct{}
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Retry.Max = 3
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	return config
}

func newSarama(bootstrap string) (*driver, error) {
	client, err := sarama.NewClient([]string{bootstrap}, saramaConfig())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, err
	}
	s := &saramaDriver{
		bootstrap: bootstrap, client: client, admin: admin,
		producers: make(map[string]sarama.SyncProducer), members: make(map[string]*saramaMember),
	}
	return &driver{
		module: "github.com/IBM/sarama",
		operations: map[string]operation{
			"create_topic": s.createTopic, "delete_topic": s.deleteTopic, "list_topics": s.listTopics,
			"describe_topic": s.describeTopic, "create_partitions": s.createPartitions,
			"describe_configs": s.describeConfigs, "alter_configs": s.alterConfigs,
			"produce": s.produce, "consume": s.consume, "list_offsets": s.listOffsets, "offset_for_time": s.offsetForTime,
			"delete_records": s.deleteRecords, "group_read": s.groupRead, "committed": s.committed,
			"list_groups": s.listGroups, "describe_group": s.describeGroup, "delete_group": s.deleteGroup,
			"member_open": s.memberOpen, "member_state": s.memberState, "member_close": s.memberClose,
			"digest_group": s.digestGroup,
			"txn_open":     s.txnOpen, "txn_begin": s.txnBegin, "txn_send": s.txnSend, "txn_end": s.txnEnd, "txn_close": s.txnClose,
			"txn_transform": s.txnTransform,
		},
		code: func(err error) (int16, bool) {
			if broker, ok := errors.AsType[sarama.KError](err); ok {
				return int16(broker), true
			}
			if topic, ok := errors.AsType[*sarama.TopicError](err); ok {
				return int16(topic.Err), true
			}
			return 0, false
		},
		codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"},
		features: []string{
			"partition", "timestamp", "headers", "null_key", "null_value", "null_header", "reads_null", "idempotence", "read_committed",
		},
	}, nil
}

func (s *saramaDriver) createTopic(_ context.Context, r request) (any, error) {
	return nil, s.admin.CreateTopic(r.Topic, &sarama.TopicDetail{
		NumPartitions: r.Partitions, ReplicationFactor: 1, ConfigEntries: pointers(r.Configs),
	}, false)
}

func (s *saramaDriver) deleteTopic(_ context.Context, r request) (any, error) {
	return nil, s.admin.DeleteTopic(r.Topic)
}

func (s *saramaDriver) listTopics(context.Context, request) (any, error) {
	topics, err := s.admin.ListTopics()
	var list []string
	for topic := range topics {
		list = append(list, topic)
	}
	return sorted(list), err
}

func (s *saramaDriver) describeTopic(_ context.Context, r request) (any, error) {
	topics, err := s.admin.DescribeTopics([]string{r.Topic})
	if err != nil {
		return nil, err
	}
	if topics[0].Err != sarama.ErrNoError {
		return nil, topics[0].Err
	}
	out := description{Partitions: len(topics[0].Partitions)}
	for _, partition := range topics[0].Partitions {
		if partition.Leader >= 0 {
			out.Led++
		}
	}
	return out, nil
}

func (s *saramaDriver) createPartitions(_ context.Context, r request) (any, error) {
	return nil, s.admin.CreatePartitions(r.Topic, r.Partitions, nil, false)
}

func (s *saramaDriver) describeConfigs(_ context.Context, r request) (any, error) {
	entries, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: r.Topic, ConfigNames: r.Names})
	out := configs{Configs: make(map[string]string)}
	for _, entry := range entries {
		out.Configs[entry.Name] = entry.Value
	}
	return out, err
}

func (s *saramaDriver) alterConfigs(_ context.Context, r request) (any, error) {
	entries := make(map[string]sarama.IncrementalAlterConfigsEntry)
	for name, value := range r.Configs {
		entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	}
	return nil, s.admin.IncrementalAlterConfig(sarama.TopicResource, r.Topic, entries, false)
}

// producerConfig is the config for a request that produces.
func producerConfig(r request) *sarama.Config {
	codecs := map[string]sarama.CompressionCodec{
		"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	config := saramaConfig()
	config.Producer.Compression = codecs[r.Compression]
	if r.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	return config
}

func (s *saramaDriver) produce(_ context.Context, r request) (any, error) {
	producer, err := sarama.NewSyncProducer([]string{s.bootstrap}, producerConfig(r))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	return saramaSend(producer, r)
}

// saramaSend writes the records of a request and waits for their offsets.
func saramaSend(producer sarama.SyncProducer, r request) (any, error) {
	batch := make([]*sarama.ProducerMessage, 0, len(r.Records))
	for _, one := range r.Records {
		message := &sarama.ProducerMessage{Topic: r.Topic, Partition: r.Partition}
		if one.Timestamp > 0 {
			message.Timestamp = millis(one.Timestamp)
		}
		if one.Key != nil {
			message.Key = sarama.ByteEncoder(one.Key)
		}
		if one.Value != nil {
			message.Value = sarama.ByteEncoder(one.Value)
		}
		for _, h := range one.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		batch = append(batch, message)
	}
	if err := producer.SendMessages(batch); err != nil {
		if failures, ok := errors.AsType[sarama.ProducerErrors](err); ok {
			return nil, failures[0].Err
		}
		return nil, err
	}
	var out offsets
	for _, message := range batch {
		out.Offsets = append(out.Offsets, message.Offset)
	}
	return out, nil
}

func fromSarama(in *sarama.ConsumerMessage) record {
	out := record{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli(),
		Key: in.Key, Value: in.Value,
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, header{Name: string(h.Key), Value: h.Value})
	}
	return out
}

func (s *saramaDriver) consume(ctx context.Context, r request) (any, error) {
	config := saramaConfig()
	config.Consumer.IsolationLevel = saramaIsolation(r)
	consumer, err := sarama.NewConsumer([]string{s.bootstrap}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(stop)
	for _, topic := range r.Topics {
		partitions, err := consumer.Partitions(topic)
		if err != nil {
			return nil, err
		}
		for _, partition := range partitions {
			reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
			if err != nil {
				return nil, err
			}
			readers.Go(func() {
				defer reader.Close()
				for {
					select {
					case message := <-reader.Messages():
						select {
						case messages <- message:
						case <-stop:
							return
						}
					case <-stop:
						return
					}
				}
			})
		}
	}
	var out records
	for range r.Count {
		select {
		case message := <-messages:
			out.Records = append(out.Records, fromSarama(message))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// groupHandler is one session of a consumer group: each gets every message, in turn, until it returns false.
type groupHandler struct {
	mu      sync.Mutex
	over    bool
	each    func(*sarama.ConsumerMessage) bool
	cancel  context.CancelFunc
	setup   func(sarama.ConsumerGroupSession)
	cleanup func(sarama.ConsumerGroupSession)
}

func (h *groupHandler) Setup(session sarama.ConsumerGroupSession) error {
	if h.setup != nil {
		h.setup(session)
	}
	return nil
}

func (h *groupHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	if h.cleanup != nil {
		h.cleanup(session)
	}
	return nil
}

func (h *groupHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.take(session, message)
		case <-session.Context().Done():
			return nil
		}
	}
}

func (h *groupHandler) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.each == nil {
		return
	}
	session.MarkMessage(message, "")
	if !h.each(message) {
		h.over = true
		session.Commit()
		h.cancel()
	}
}

func (s *saramaDriver) readGroup(ctx context.Context, r request, each func(*sarama.ConsumerMessage)) error {
	topics := r.Topics
	if r.Topic != "" {
		topics = []string{r.Topic}
	}
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, r.Group, saramaConfig())
	if err != nil {
		return err
	}
	defer group.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	left := r.Count
	handler := &groupHandler{cancel: cancel, each: func(message *sarama.ConsumerMessage) bool {
		each(message)
		left--
		return left > 0
	}}
	for left > 0 {
		if err := group.Consume(ctx, topics, handler); err != nil {
			return err
		}
		if left > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s *saramaDriver) groupRead(ctx context.Context, r request) (any, error) {
	var out records
	err := s.readGroup(ctx, r, func(message *sarama.ConsumerMessage) { out.Records = append(out.Records, fromSarama(message)) })
	return out, err
}

func (s *saramaDriver) digestGroup(ctx context.Context, r request) (any, error) {
	var out digests
	err := s.readGroup(ctx, r, func(message *sarama.ConsumerMessage) { out.add(message.Topic, message.Key, message.Value) })
	return out.finish(), err
}

func (s *saramaDriver) listOffsets(_ context.Context, r request) (any, error) {
	first, err := s.client.GetOffset(r.Topic, r.Partition, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	last, err := s.client.GetOffset(r.Topic, r.Partition, sarama.OffsetNewest)
	return bounds{Earliest: first, Latest: last}, err
}

func (s *saramaDriver) offsetForTime(_ context.Context, r request) (any, error) {
	found, err := s.client.GetOffset(r.Topic, r.Partition, r.Timestamp)
	return offset{Offset: found}, err
}

func (s *saramaDriver) deleteRecords(_ context.Context, r request) (any, error) {
	if err := s.admin.DeleteRecords(r.Topic, map[int32]int64{r.Partition: r.Before}); err != nil {
		return nil, err
	}
	low, err := s.client.GetOffset(r.Topic, r.Partition, sarama.OffsetOldest) // DeleteRecords keeps the answer to itself
	return offset{Offset: low}, err
}

func (s *saramaDriver) committed(_ context.Context, r request) (any, error) {
	response, err := s.admin.ListConsumerGroupOffsets(r.Group, nil)
	if err != nil {
		return nil, err
	}
	out := byPartition{Offsets: make(map[int32]int64)}
	for partition, block := range response.Blocks[r.Topic] {
		out.Offsets[partition] = block.Offset
	}
	if response.Err != sarama.ErrNoError {
		return nil, response.Err
	}
	return out, nil
}

func (s *saramaDriver) listGroups(context.Context, request) (any, error) {
	groups, err := s.admin.ListConsumerGroups()
	var list []string
	for group := range groups {
		list = append(list, group)
	}
	return sorted(list), err
}

func (s *saramaDriver) describeGroup(_ context.Context, r request) (any, error) {
	groups, err := s.admin.DescribeConsumerGroups([]string{r.Group})
	if err != nil {
		return nil, err
	}
	if groups[0].Err != sarama.ErrNoError {
		return nil, groups[0].Err
	}
	return groupState{State: groups[0].State, Members: len(groups[0].Members)}, nil
}

func (s *saramaDriver) deleteGroup(_ context.Context, r request) (any, error) {
	return nil, s.admin.DeleteConsumerGroup(r.Group)
}

func (s *saramaDriver) memberOpen(_ context.Context, r request) (any, error) {
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, r.Group, saramaConfig())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &saramaMember{group: group, cancel: cancel, done: make(chan struct{})}
	set := func(assigned []int32) {
		slices.Sort(assigned)
		s.mu.Lock()
		defer s.mu.Unlock()
		m.assigned = assigned
	}
	handler := &groupHandler{
		setup:   func(session sarama.ConsumerGroupSession) { set(slices.Clone(session.Claims()[r.Topic])) },
		cleanup: func(sarama.ConsumerGroupSession) { set(nil) },
	}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{r.Topic}, handler); err != nil && ctx.Err() == nil {
				s.mu.Lock()
				m.failed = fmt.Errorf("member %s: %w", r.Member, err)
				s.mu.Unlock()
				return
			}
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[r.Member] = m
	return nil, nil
}

func (s *saramaDriver) memberState(context.Context, request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := assignments{Assignments: make(map[string][]int32)}
	for name, m := range s.members {
		if m.failed != nil {
			return nil, m.failed
		}
		out.Assignments[name] = append([]int32{}, m.assigned...)
	}
	return out, nil
}

func (s *saramaDriver) memberClose(_ context.Context, r request) (any, error) {
	s.mu.Lock()
	m := s.members[r.Member]
	delete(s.members, r.Member)
	s.mu.Unlock()
	m.cancel()
	<-m.done
	return nil, errors.Join(m.failed, m.group.Close())
}
