package differential

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// What all scripts may read and none may change.
const (
	fixTopic = "fix"  // two partitions; the first has three batches of two records
	fixGroup = "fixg" // has committed offset 5 of the first partition
)

// began is the time of the first record of each topic, in milliseconds since 1970.
const began = 1_700_000_000_000

func ptr[T any](v T) *T { return &v }

// id returns the id of a topic that an answer has told of, or an unknown one.
func (r *run) id(topic string) [16]byte {
	if known, ok := r.side.topics.byName.Load(topic); ok {
		return known.([16]byte)
	}
	return [16]byte{0xff, 0xff, 15: 0xff}
}

// batch makes a batch of plain records from a sequence number on; the producer may be nil.
func batch(o record.Options, first, records int) []byte {
	b := record.NewBuilder(o)
	for n := range records {
		must(b.Add(began+int64(first+n)*1000, fmt.Appendf(nil, "k%d", first+n), fmt.Appendf(nil, "v%d", first+n)))
	}
	built, err := b.Build(nil)
	must(err)
	return built
}

// must ends the run for a fault of the test itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// createTopic creates a topic that keeps records however old they are, and all in one segment, and learns its id.
func (r *run) createTopic(name string, partitions int32, configs ...string) {
	configs = append(configs, "retention.ms", "-1", "segment.ms", "9223372036854775807")
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 5000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, config)
	}
	q.Topics = append(q.Topics, topic)
	if p := ask[*kmsg.CreateTopicsResponse](r, "create topic "+name, 7, q); len(p.Topics) == 1 && p.Topics[0].ErrorCode == 0 {
		r.awaitLeaders(name, partitions)
	}
}

// awaitLeaders waits until all partitions answer: Apache Kafka's broker follows its controller with a delay.
func (r *run) awaitLeaders(topic string, partitions int32) {
	q := kmsg.NewPtrListOffsetsRequest()
	q.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for n := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = n, -1
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	until(r, "leaders of "+topic, 7, func() kmsg.Request { return q }, func(p *kmsg.ListOffsetsResponse) bool {
		for _, t := range p.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return false
				}
			}
		}
		return len(p.Topics) == 1
	})
}

// awaitGone waits until a topic is unknown to the broker.
func (r *run) awaitGone(topic string) {
	q := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	q.Topics = append(q.Topics, t)
	until(r, "no more "+topic, 12, func() kmsg.Request { return q }, func(p *kmsg.MetadataResponse) bool {
		return len(p.Topics) == 1 && p.Topics[0].ErrorCode == 3
	})
}

// producing makes a request that produces one batch to a partition.
func (r *run) producing(topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.Acks, q.TimeoutMillis = -1, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, r.id(topic)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// produce appends one plain batch of records.
func (r *run) produce(topic string, partition int32, first, records int) {
	ask[*kmsg.ProduceResponse](r, "produce", 13, r.producing(topic, partition, batch(record.Options{}, first, records)))
}

// fetching makes a request that reads a partition from an offset on, without a session.
func (r *run) fetching(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionEpoch = 0, 0, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, r.id(topic)
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// coordinator waits until the coordinator of a key answers.
func (r *run) coordinator(kind int8, key string) {
	until(r, fmt.Sprintf("coordinator of kind %d", kind), 6, func() kmsg.Request {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorType, q.CoordinatorKeys = kind, []string{key}
		return q
	}, func(p *kmsg.FindCoordinatorResponse) bool {
		return len(p.Coordinators) == 1 && p.Coordinators[0].ErrorCode == 0
	})
}

// committing makes a request that commits an offset without a member.
func (r *run) committing(group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, r.id(topic)
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 0, ptr("note")
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// commit commits an offset without a member, once the coordinator is there.
func (r *run) commit(group, topic string, partition int32, offset int64) {
	until(r, "commit", 9, func() kmsg.Request { return r.committing(group, topic, partition, offset) },
		func(p *kmsg.OffsetCommitResponse) bool {
			return len(p.Topics) == 1 && len(p.Topics[0].Partitions) == 1 && !passing(p.Topics[0].Partitions[0].ErrorCode)
		})
}

// passing tells whether a code is of a coordinator that is not ready yet, or of a transaction that is just ending.
func passing(code int16) bool {
	return code == 14 || code == 15 || code == 16 || code == 51 // loading, not available, not the coordinator, concurrent
}

// fixture makes what scripts read.
func fixture() script {
	return script{name: "fixture", run: func(r *run) {
		r.createTopic(fixTopic, 2)
		for n := range 3 {
			r.produce(fixTopic, 0, 2*n, 2)
		}
		for kind, key := range []string{fixGroup, "fixtxn", fixGroup + ":AAAAAAAAAAAAAAAAAAAAAQ:0"} {
			r.coordinator(int8(kind), key)
		}
		for _, topic := range []string{"__consumer_offsets", "__transaction_state", "__share_group_state"} {
			const partitions = 50
			r.awaitLeaders(topic, partitions)
		}
		r.commit(fixGroup, fixTopic, 0, 5)
		r.initNew("producer ids", 5, "fixtxn")
	}}
}
