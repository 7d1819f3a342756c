package settings

import "math"

// Names and texts of the version that this engine speaks for; tools read them to show a Kafka version.
const (
	// MetadataVersion is the value of inter.broker.protocol.version.
	MetadataVersion = "4.2-IV1"
	// MetadataVersionLevel is the same as the level of the feature metadata.version.
	MetadataVersionLevel int16 = 29
)

// broker keys that several places name.
const (
	keyBrokerID   = "broker.id"
	keyMaxMessage = "message.max.bytes"
)

const (
	msPerMinute = 60 * 1000
	msPerHour   = 60 * msPerMinute
)

// brokerKeys is every broker configuration that means something here, by name. Keys with fact set are told
// by the process; read-only ones can be given at its start; the rest can be changed at any time.
var brokerKeys = []key{
	{Definition: Definition{Name: "advertised.listeners", Type: TypeString, ReadOnly: true,
		Doc: "The addresses that clients are told to connect to."}, fact: true},
	{Definition: Definition{Name: "auto.create.topics.enable", Type: TypeBoolean, Default: "false",
		Doc: "Whether asking for an unknown topic creates it. Off by default, as in Amazon MSK."}},
	{Definition: Definition{Name: keyBrokerID, Type: TypeInt, Default: "-1", ReadOnly: true,
		Doc: "The id of this broker."}, min: -1, fact: true},
	{Definition: Definition{Name: "broker.rack", Type: TypeString, ReadOnly: true,
		Doc: "The zone this broker runs in."}, fact: true},
	{Definition: Definition{Name: "compression.gzip.level", Type: TypeInt, Default: "-1",
		Doc: "The default of the topic configuration of the same name."}, min: -1, max: 9, check: notZero},
	{Definition: Definition{Name: "compression.lz4.level", Type: TypeInt, Default: "9",
		Doc: "The default of the topic configuration of the same name."}, min: 1, max: 17},
	{Definition: Definition{Name: "compression.type", Type: TypeString, Default: "producer",
		Doc: "The default of the topic configuration of the same name."}, choices: append([]string{"producer"}, compressionNames...)},
	{Definition: Definition{Name: "compression.zstd.level", Type: TypeInt, Default: "3",
		Doc: "The default of the topic configuration of the same name."}, min: -131072, max: 22},
	{Definition: Definition{Name: "connections.max.idle.ms", Type: TypeLong, Default: "600000", ReadOnly: true,
		Doc: "A connection without traffic is closed after this many milliseconds."}},
	{Definition: Definition{Name: "default.replication.factor", Type: TypeShort, Default: "3",
		Doc: "The replication factor of topics created without one. 3 as in Amazon MSK; it is accepted whatever the number of brokers."}, min: 1},
	{Definition: Definition{Name: "delete.topic.enable", Type: TypeBoolean, Default: "true",
		Doc: "Whether topics can be deleted."}},
	{Definition: Definition{Name: "fetch.max.bytes", Type: TypeInt, Default: "57671680",
		Doc: "The most bytes of records one fetch is answered with; its first batch may be larger."}, min: 1024},
	{Definition: Definition{Name: "group.initial.rebalance.delay.ms", Type: TypeInt, Default: "3000",
		Doc: "How long a new group waits for more members before its first rebalance, in milliseconds."}},
	{Definition: Definition{Name: "group.max.session.timeout.ms", Type: TypeInt, Default: "1800000",
		Doc: "The longest session timeout a group member may ask for, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "group.max.size", Type: TypeInt, Default: "2147483647",
		Doc: "The most members of one group."}, min: 1},
	{Definition: Definition{Name: "group.min.session.timeout.ms", Type: TypeInt, Default: "6000",
		Doc: "The shortest session timeout a group member may ask for, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "inter.broker.protocol.version", Type: TypeString, Default: MetadataVersion, ReadOnly: true,
		Doc: "The version of Apache Kafka whose behaviour this broker shows."}, fact: true},
	{Definition: Definition{Name: "listeners", Type: TypeString, ReadOnly: true,
		Doc: "The addresses that the broker listens on."}, fact: true},
	{Definition: Definition{Name: "log.cleaner.backoff.ms", Type: TypeLong, Default: "15000",
		Doc: "How long the cleaner rests when there is nothing to clean, in milliseconds."}},
	{Definition: Definition{Name: "log.cleaner.dedupe.buffer.size", Type: TypeLong, Default: "33554432",
		Doc: "Memory for the cleaner's map of keys, in bytes. Kafka's default is 128 MiB; here 32 MiB, for the memory budget."}, min: 1 << 20},
	{Definition: Definition{Name: "log.cleaner.delete.retention.ms", Type: TypeLong, Default: "86400000",
		Doc: "The default of the topic configuration delete.retention.ms."}},
	{Definition: Definition{Name: "log.cleaner.max.compaction.lag.ms", Type: TypeLong, Default: noLimit,
		Doc: "The default of the topic configuration max.compaction.lag.ms."}, min: 1},
	{Definition: Definition{Name: "log.cleaner.min.cleanable.ratio", Type: TypeDouble, Default: "0.5",
		Doc: "The default of the topic configuration min.cleanable.dirty.ratio."}, max: 1},
	{Definition: Definition{Name: "log.cleaner.min.compaction.lag.ms", Type: TypeLong, Default: "0",
		Doc: "The default of the topic configuration min.compaction.lag.ms."}},
	{Definition: Definition{Name: "log.cleanup.policy", Type: TypeList, List: true, Default: "delete",
		Doc: "The default of the topic configuration cleanup.policy."}, choices: []string{"compact", "delete"}},
	{Definition: Definition{Name: "log.dirs", Type: TypeString, ReadOnly: true,
		Doc: "The directory that holds the broker's data."}, fact: true},
	{Definition: Definition{Name: "log.flush.interval.messages", Type: TypeLong, Default: noLimit,
		Doc: "The default of the topic configuration flush.messages. Stored only."}, min: 1},
	{Definition: Definition{Name: "log.flush.interval.ms", Type: TypeLong, Default: noLimit,
		Doc: "The default of the topic configuration flush.ms. Stored only."}},
	{Definition: Definition{Name: "log.index.interval.bytes", Type: TypeInt, Default: "4096",
		Doc: "The default of the topic configuration index.interval.bytes."}},
	{Definition: Definition{Name: "log.index.size.max.bytes", Type: TypeInt, Default: "10485760",
		Doc: "The default of the topic configuration segment.index.bytes. Stored only."}, min: 4},
	{Definition: Definition{Name: "log.local.retention.bytes", Type: TypeLong, Default: "-2",
		Doc: "The default of the topic configuration local.retention.bytes. Stored only."}, min: -2},
	{Definition: Definition{Name: "log.local.retention.ms", Type: TypeLong, Default: "-2",
		Doc: "The default of the topic configuration local.retention.ms. Stored only."}, min: -2},
	{Definition: Definition{Name: "log.message.timestamp.after.max.ms", Type: TypeLong, Default: "3600000",
		Doc: "The default of the topic configuration message.timestamp.after.max.ms."}},
	{Definition: Definition{Name: "log.message.timestamp.before.max.ms", Type: TypeLong, Default: noLimit,
		Doc: "The default of the topic configuration message.timestamp.before.max.ms."}},
	{Definition: Definition{Name: "log.message.timestamp.type", Type: TypeString, Default: "CreateTime",
		Doc: "The default of the topic configuration message.timestamp.type."}, choices: []string{"CreateTime", "LogAppendTime"}},
	{Definition: Definition{Name: "log.preallocate", Type: TypeBoolean, Default: "false",
		Doc: "The default of the topic configuration preallocate. Stored only."}},
	{Definition: Definition{Name: "log.retention.bytes", Type: TypeLong, Default: "-1",
		Doc: "The default of the topic configuration retention.bytes."}, min: -1},
	{Definition: Definition{Name: "log.retention.check.interval.ms", Type: TypeLong, Default: "300000",
		Doc: "How often the broker looks for data to delete, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "log.retention.hours", Type: TypeInt, Default: "168", ReadOnly: true,
		Doc: "Hours that records are kept, unless log.retention.minutes or log.retention.ms is set."}, min: -1, unitMs: msPerHour},
	{Definition: Definition{Name: "log.retention.minutes", Type: TypeInt, Synonym: "log.retention.hours", ReadOnly: true,
		Doc: "Minutes that records are kept, unless log.retention.ms is set."}, min: -1, unitMs: msPerMinute},
	{Definition: Definition{Name: "log.retention.ms", Type: TypeLong, Synonym: "log.retention.minutes",
		Doc: "The default of the topic configuration retention.ms."}, min: -1},
	{Definition: Definition{Name: "log.roll.hours", Type: TypeInt, Default: "168", ReadOnly: true,
		Doc: "Hours after which a segment is closed, unless log.roll.ms is set."}, min: 1, unitMs: msPerHour},
	{Definition: Definition{Name: "log.roll.jitter.hours", Type: TypeInt, Default: "0", ReadOnly: true,
		Doc: "Hours of random part, unless log.roll.jitter.ms is set. Stored only."}, unitMs: msPerHour},
	{Definition: Definition{Name: "log.roll.jitter.ms", Type: TypeLong, Synonym: "log.roll.jitter.hours",
		Doc: "The default of the topic configuration segment.jitter.ms. Stored only."}},
	{Definition: Definition{Name: "log.roll.ms", Type: TypeLong, Synonym: "log.roll.hours",
		Doc: "The default of the topic configuration segment.ms."}, min: 1},
	{Definition: Definition{Name: "log.segment.bytes", Type: TypeInt, Default: "1073741824",
		Doc: "The default of the topic configuration segment.bytes."}, min: 1 << 20},
	{Definition: Definition{Name: "log.segment.delete.delay.ms", Type: TypeLong, Default: "60000",
		Doc: "The default of the topic configuration file.delete.delay.ms. Stored only."}},
	{Definition: Definition{Name: "max.connections", Type: TypeInt, Default: "2147483647", ReadOnly: true,
		Doc: "The most client connections of this broker."}},
	{Definition: Definition{Name: "max.connections.per.ip", Type: TypeInt, Default: "2147483647", ReadOnly: true,
		Doc: "The most client connections from one address."}},
	{Definition: Definition{Name: "max.incremental.fetch.session.cache.slots", Type: TypeInt, Default: "1000", ReadOnly: true,
		Doc: "The most fetch sessions that are kept."}},
	{Definition: Definition{Name: keyMaxMessage, Type: TypeInt, Default: "1048588",
		Doc: "The default of the topic configuration max.message.bytes."}},
	{Definition: Definition{Name: "min.insync.replicas", Type: TypeInt, Default: "2",
		Doc: "The default of the topic configuration of the same name. Stored only. 2 as in Amazon MSK."}, min: 1},
	{Definition: Definition{Name: "node.id", Type: TypeInt, Default: "-1", ReadOnly: true,
		Doc: "The id of this broker."}, min: -1, fact: true},
	{Definition: Definition{Name: "num.partitions", Type: TypeInt, Default: "1",
		Doc: "The number of partitions of topics created without one."}, min: 1, max: MaxPartitions},
	{Definition: Definition{Name: "offset.metadata.max.bytes", Type: TypeInt, Default: "4096",
		Doc: "The most bytes of metadata that may go with a committed offset."}},
	{Definition: Definition{Name: "offsets.retention.check.interval.ms", Type: TypeLong, Default: "600000",
		Doc: "How often the broker looks for expired group offsets, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "offsets.retention.minutes", Type: TypeInt, Default: "10080",
		Doc: "Minutes that the offsets of an empty group are kept."}, min: 1},
	{Definition: Definition{Name: "offsets.topic.num.partitions", Type: TypeInt, Default: "50", ReadOnly: true,
		Doc: "The number of partitions of the topic that holds group offsets."}, min: 1, max: MaxPartitions},
	{Definition: Definition{Name: "producer.id.expiration.ms", Type: TypeInt, Default: "86400000",
		Doc: "A producer's sequence numbers are forgotten after this many milliseconds without a write."}, min: 1},
	{Definition: Definition{Name: "socket.request.max.bytes", Type: TypeInt, Default: "104857600", ReadOnly: true,
		Doc: "The largest request that is read."}, min: 1},
	{Definition: Definition{Name: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Type: TypeInt, Default: "10000", ReadOnly: true,
		Doc: "How often the broker looks for transactions that take longer than their producer allowed, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "transaction.max.timeout.ms", Type: TypeInt, Default: "900000", ReadOnly: true,
		Doc: "The longest transaction timeout that a producer may ask for, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "transaction.partition.verification.enable", Type: TypeBoolean, Default: "true",
		Doc: "Whether the broker makes sure that a partition is part of a producer's transaction before it takes records."}},
	{Definition: Definition{Name: "transaction.remove.expired.transaction.cleanup.interval.ms", Type: TypeInt, Default: "3600000", ReadOnly: true,
		Doc: "How often the broker looks for transactional ids that nobody used for long, in milliseconds."}, min: 1},
	{Definition: Definition{Name: "transaction.state.log.min.isr", Type: TypeInt, Default: "2", ReadOnly: true,
		Doc: "The minimum of in-sync replicas of the topic that holds transactional ids. Stored only."}, min: 1},
	{Definition: Definition{Name: "transaction.state.log.num.partitions", Type: TypeInt, Default: "50", ReadOnly: true,
		Doc: "The number of partitions of the topic that holds transactional ids."}, min: 1, max: MaxPartitions},
	{Definition: Definition{Name: "transaction.state.log.segment.bytes", Type: TypeInt, Default: "104857600", ReadOnly: true,
		Doc: "The size of segments of the topic that holds transactional ids, in bytes."}, min: 1 << 20},
	{Definition: Definition{Name: "transactional.id.expiration.ms", Type: TypeInt, Default: "604800000", ReadOnly: true,
		Doc: "A transactional id that nobody used for this many milliseconds is forgotten, unless it has a transaction."}, min: 1},
	{Definition: Definition{Name: "unclean.leader.election.enable", Type: TypeBoolean, Default: "false",
		Doc: "The default of the topic configuration of the same name. Stored only."}},
}

var brokerIndex = index(brokerKeys)

// MaxPartitions is the most partitions one topic may have.
const MaxPartitions = 10000

// BrokerDefinitions gives all broker keys, sorted by name.
func BrokerDefinitions() []Definition { return definitions(brokerKeys) }

// toMs converts n units of k to milliseconds; negative (no limit) stays, and nothing overflows.
func (k *key) toMs(n int64) int64 {
	switch {
	case k.unitMs == 0 || n < 0:
		return n
	case n > math.MaxInt64/k.unitMs:
		return maxMs
	}
	return n * k.unitMs
}
