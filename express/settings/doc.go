// Package settings holds the topic and broker configurations under Kafka's names: their types, defaults,
// bounds and documentation, and how they are parsed into typed values.
//
// Flow: a map of texts, as clients set it and etcd stores it -> ParseTopic or ParseBroker -> a value that
// the rooms read. The other way, Topic.Describe and Broker.Describe give the rows of DescribeConfigs.
//
// A value is looked for in layers, nearest first, as in Kafka: the topic's own override, then along the
// chain of broker keys that stand for it (retention.ms, log.retention.ms, log.retention.minutes,
// log.retention.hours) one broker's overrides, the cluster's overrides, what the process was started
// with; then the default at the end of the chain.
//
// S1: A Topic or Broker that was returned without an error holds only values within bounds.
// S2: A fault names the key, the value and the bounds; all faults of one map are reported together.
// S3: Defaults are those of Apache Kafka 4, save those listed below.
//
// Where Amazon MSK differs we follow it: auto.create.topics.enable=false, allow.everyone.if.no.acl.found=true, default.replication.factor=3,
// min.insync.replicas=2 (stored and shown only: express has no replicas of its own, an acknowledged
// record is as durable as the log's store). Our own: log.cleaner.dedupe.buffer.size=32 MiB, for the memory
// budget; remote.storage.enable=true is refused, since express tiers by itself; more broker keys can be
// changed at runtime than in Kafka, because every value is read at its use.
//
// Values are immutable once made and safe for concurrent use. Files: definition.go (what a key is and how
// it is checked), topic_keys.go and broker_keys.go (the tables), topic.go and broker.go (typed values),
// group.go and group_keys.go (configurations of groups), layers.go (which value applies), describe.go (DescribeConfigs).
package settings
