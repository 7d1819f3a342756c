package settings

import (
	"fmt"
	"maps"
	"strings"
)

// Broker is the effective broker configuration. Immutable once made; safe for concurrent use. Durations
// are milliseconds.
type Broker struct {
	AllowEveryone                bool              // allow.everyone.if.no.acl.found; default true, as MSK
	MaxReauthMs                  int64             // connections.max.reauth.ms; default 0: logins hold as long as their connection, or their credentials
	AutoCreateTopics             bool              // auto.create.topics.enable; default false, as MSK
	DeleteTopics                 bool              // delete.topic.enable; default true
	NumPartitions                int32             // num.partitions; default 1
	DefaultReplicationFactor     int16             // default.replication.factor; default 3, as MSK
	OffsetsTopicPartitions       int32             // offsets.topic.num.partitions; default 50
	OffsetsRetentionMs           int64             // offsets.retention.minutes; default 7 days
	OffsetsRetentionCheckMs      int64             // offsets.retention.check.interval.ms; default 10 minutes
	OffsetMetadataMaxBytes       int               // offset.metadata.max.bytes; default 4096
	GroupMinSessionTimeoutMs     int32             // group.min.session.timeout.ms; default 6 s
	GroupMaxSessionTimeoutMs     int32             // group.max.session.timeout.ms; default 30 minutes
	GroupInitialRebalanceDelayMs int32             // group.initial.rebalance.delay.ms; default 3 s
	GroupMaxSize                 int32             // group.max.size; default without limit
	ConsumerGroups               ConsumerGroups    // group.consumer.*
	RebalanceProtocols           []string          // group.coordinator.rebalance.protocols; default classic, consumer
	ShareMaxSize                 int32             // group.share.max.size; default 200
	ShareMaxSessions             int32             // group.share.max.share.sessions; default 2000
	StreamsMaxSize               int32             // group.streams.max.size; default without limit
	ProducerIDExpirationMs       int64             // producer.id.expiration.ms; default 1 day
	RetentionCheckMs             int64             // log.retention.check.interval.ms; default 5 minutes
	CleanerBackoffMs             int64             // log.cleaner.backoff.ms; default 15 s
	CleanerDedupeBytes           int64             // log.cleaner.dedupe.buffer.size; default 32 MiB
	FetchMaxBytes                int32             // fetch.max.bytes; default 55 MiB
	FetchSessionSlots            int               // max.incremental.fetch.session.cache.slots; default 1000
	TransactionMaxTimeoutMs      int32             // transaction.max.timeout.ms; default 15 minutes
	TransactionAbortCheckMs      int32             // transaction.abort.timed.out.transaction.cleanup.interval.ms; default 10 s
	TransactionalIDExpirationMs  int32             // transactional.id.expiration.ms; default 7 days
	TransactionalIDCheckMs       int32             // transaction.remove.expired.transaction.cleanup.interval.ms; default 1 hour
	TransactionTopicPartitions   int32             // transaction.state.log.num.partitions; default 50
	TransactionTopicSegmentBytes int32             // transaction.state.log.segment.bytes; default 100 MiB
	TransactionTopicMinISR       int32             // transaction.state.log.min.isr; default 2
	Connections                  Connections       // of clients
	VerifyTransactions           bool              // transaction.partition.verification.enable; default true
	TopicDefaults                map[string]string // the overrides that are defaults of topic configurations; not to be changed
	Overrides                    map[string]string // everything set at runtime, nearest layer first; not to be changed

	layers []layer
}

// Connections is what a broker is started with of its clients' connections.
type Connections struct {
	Most         int32 // max.connections; default without limit
	PerIP        int32 // max.connections.per.ip; default without limit
	Rate         int32 // max.connection.creation.rate, per second; default without limit
	IdleMs       int64 // connections.max.idle.ms; default 10 minutes
	RequestBytes int32 // socket.request.max.bytes; default 100 MiB
	Receive      int32 // socket.receive.buffer.bytes; -1, the default: as the system sizes it
	Send         int32 // socket.send.buffer.bytes; -1, the default: as the system sizes it
}

// ConsumerGroups is what holds for all groups of the consumer protocol.
type ConsumerGroups struct {
	MaxSize            int32    // group.consumer.max.size; default without limit
	Assignors          []string // group.consumer.assignors; default uniform, range
	Upgrade, Downgrade bool     // group.consumer.migration.policy; default both
	RegexRefreshMs     int64    // group.consumer.regex.refresh.interval.ms; default 10 minutes
}

// ParseBroker is ParseLayers for values that were set at runtime for all brokers.
func ParseBroker(overrides map[string]string) (*Broker, error) {
	return ParseLayers(Layers{Default: overrides})
}

// ParseLayers validates all layers and returns the effective configuration. The error joins all faults
// and matches ErrInvalid. Read-only keys may stand in any layer (CheckAlter keeps clients from setting
// them), facts of the process only in the static one.
func ParseLayers(l Layers) (*Broker, error) {
	settable := func(k *key) error {
		if k.fact {
			return fmt.Errorf("%w: %s is told by the broker and cannot be set", ErrInvalid, k.Name)
		}
		return nil
	}
	var b Broker
	for _, part := range []struct {
		source int8
		values map[string]string
		allow  func(*key) error
	}{
		{SourceBroker, l.Broker, settable},
		{SourceDefaultBroker, l.Default, settable},
		{SourceStaticBroker, l.Static, func(*key) error { return nil }},
	} {
		if err := checkAll(part.values, brokerIndex, "broker", part.allow); err != nil {
			return nil, err
		}
		b.layers = append(b.layers, layer{part.source, maps.Clone(part.values)})
	}
	b.Overrides = maps.Clone(l.Default)
	if b.Overrides == nil {
		b.Overrides = map[string]string{}
	}
	maps.Copy(b.Overrides, l.Broker)
	b.read(&values{keys: brokerIndex, layers: b.layers})
	if err := b.checkTogether(); err != nil {
		return nil, err
	}
	return &b, nil
}

func (b *Broker) read(v *values) {
	b.AllowEveryone = v.flag("allow.everyone.if.no.acl.found")
	b.MaxReauthMs = v.number("connections.max.reauth.ms")
	b.AutoCreateTopics = v.flag("auto.create.topics.enable")
	b.DeleteTopics = v.flag("delete.topic.enable")
	b.NumPartitions = int32(v.number("num.partitions"))
	b.DefaultReplicationFactor = int16(v.number("default.replication.factor"))
	b.OffsetsTopicPartitions = int32(v.number("offsets.topic.num.partitions"))
	b.OffsetsRetentionMs = v.number("offsets.retention.minutes") * msPerMinute
	b.OffsetsRetentionCheckMs = v.number("offsets.retention.check.interval.ms")
	b.OffsetMetadataMaxBytes = int(v.number("offset.metadata.max.bytes"))
	b.GroupMinSessionTimeoutMs = int32(v.number("group.min.session.timeout.ms"))
	b.GroupMaxSessionTimeoutMs = int32(v.number("group.max.session.timeout.ms"))
	b.GroupInitialRebalanceDelayMs = int32(v.number("group.initial.rebalance.delay.ms"))
	b.GroupMaxSize = int32(v.number("group.max.size"))
	policy := strings.TrimSpace(v.text("group.consumer.migration.policy").value)
	b.ConsumerGroups = ConsumerGroups{
		MaxSize:        int32(v.number("group.consumer.max.size")),
		Assignors:      SplitList(v.text("group.consumer.assignors").value),
		Upgrade:        policy == "upgrade" || policy == "bidirectional",
		Downgrade:      policy == "downgrade" || policy == "bidirectional",
		RegexRefreshMs: v.number("group.consumer.regex.refresh.interval.ms"),
	}
	b.RebalanceProtocols = SplitList(v.text("group.coordinator.rebalance.protocols").value)
	b.ShareMaxSize = int32(v.number("group.share.max.size"))
	b.ShareMaxSessions = int32(v.number("group.share.max.share.sessions"))
	b.StreamsMaxSize = int32(v.number("group.streams.max.size"))
	b.ProducerIDExpirationMs = v.number("producer.id.expiration.ms")
	b.RetentionCheckMs = v.number("log.retention.check.interval.ms")
	b.CleanerBackoffMs = v.number("log.cleaner.backoff.ms")
	b.CleanerDedupeBytes = v.number("log.cleaner.dedupe.buffer.size")
	b.FetchMaxBytes = int32(v.number("fetch.max.bytes"))
	b.FetchSessionSlots = int(v.number("max.incremental.fetch.session.cache.slots"))
	b.Connections = Connections{
		Most: int32(v.number("max.connections")), PerIP: int32(v.number("max.connections.per.ip")),
		Rate: int32(v.number("max.connection.creation.rate")), IdleMs: v.number("connections.max.idle.ms"),
		RequestBytes: int32(v.number("socket.request.max.bytes")),
		Receive:      int32(v.number("socket.receive.buffer.bytes")), Send: int32(v.number("socket.send.buffer.bytes")),
	}
	b.readTransactions(v)
	b.TopicDefaults = make(map[string]string)
	for _, k := range topicKeys {
		for _, s := range chain(&k) {
			if value, ok := b.Overrides[s.Name]; ok {
				b.TopicDefaults[s.Name] = value
			}
		}
	}
}

func (b *Broker) readTransactions(v *values) {
	b.TransactionMaxTimeoutMs = int32(v.number("transaction.max.timeout.ms"))
	b.TransactionAbortCheckMs = int32(v.number("transaction.abort.timed.out.transaction.cleanup.interval.ms"))
	b.TransactionalIDExpirationMs = int32(v.number("transactional.id.expiration.ms"))
	b.TransactionalIDCheckMs = int32(v.number("transaction.remove.expired.transaction.cleanup.interval.ms"))
	b.TransactionTopicPartitions = int32(v.number("transaction.state.log.num.partitions"))
	b.TransactionTopicSegmentBytes = int32(v.number("transaction.state.log.segment.bytes"))
	b.TransactionTopicMinISR = int32(v.number("transaction.state.log.min.isr"))
	b.VerifyTransactions = v.flag("transaction.partition.verification.enable")
}

// checkTogether finds values that are each within bounds but contradict each other.
func (b *Broker) checkTogether() error {
	if b.GroupMinSessionTimeoutMs > b.GroupMaxSessionTimeoutMs {
		return fmt.Errorf("%w: invalid value %d for group.min.session.timeout.ms: must be at most group.max.session.timeout.ms (%d)",
			ErrInvalid, b.GroupMinSessionTimeoutMs, b.GroupMaxSessionTimeoutMs)
	}
	if _, err := ParseTopic(nil, b); err != nil { // the defaults must make a valid topic
		return err
	}
	_, err := ParseGroup(nil, b) // and a valid group
	return err
}

// CheckAlter says whether clients may set or delete the named broker key at runtime; the error matches
// ErrInvalid.
func CheckAlter(name string) error {
	k, ok := brokerIndex[name]
	switch {
	case !ok:
		return fmt.Errorf("%w: unknown broker configuration %q", ErrInvalid, clip(name))
	case k.ReadOnly:
		return fmt.Errorf("%w: %s cannot be changed at runtime", ErrInvalid, name)
	}
	return nil
}

func (b *Broker) layersOrNone() []layer {
	if b == nil {
		return nil
	}
	return b.layers
}
