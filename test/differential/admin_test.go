package differential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminScripts lists the scripts about topics, configurations, quotas and the cluster.
func adminScripts() []script {
	return []script{
		{name: "topics/life", run: topicLife},
		{name: "topics/names", run: topicNames},
		{name: "topics/settings", run: topicSettings},
		{name: "configs/topic", run: topicConfigs},
		{name: "configs/other", run: otherConfigs},
		{name: "quotas/life", run: quotaLife},
		{name: "moves/life", run: moves},
		{name: "telemetry/life", run: telemetry},
	}
}

// lists asks for everything that there is, before other scripts make more.
func lists(r *run) {
	for _, v := range r.plan.of(kmsg.Metadata, 0) {
		q := kmsg.NewPtrMetadataRequest()
		q.IncludeClusterAuthorizedOperations, q.IncludeTopicAuthorizedOperations = v > 7, v > 7
		ask[*kmsg.MetadataResponse](r, "all", v, q)
		q.Topics = []kmsg.MetadataRequestTopic{}
		ask[*kmsg.MetadataResponse](r, "none", v, q)
	}
	for _, v := range r.plan.of(kmsg.ListGroups, 0) {
		ask[*kmsg.ListGroupsResponse](r, "all", v, kmsg.NewPtrListGroupsRequest())
		for _, state := range []string{"Empty", "empty", "Stable", "nonsense"} {
			q := kmsg.NewPtrListGroupsRequest()
			q.StatesFilter = []string{state}
			ask[*kmsg.ListGroupsResponse](r, state, v, q)
		}
		for _, kind := range []string{"classic", "Classic", "consumer", "share", "streams", "nonsense"} {
			q := kmsg.NewPtrListGroupsRequest()
			q.TypesFilter = []string{kind}
			ask[*kmsg.ListGroupsResponse](r, "type "+kind, v, q)
		}
	}
	for _, v := range r.plan.of(kmsg.DescribeLogDirs, 1) {
		ask[*kmsg.DescribeLogDirsResponse](r, "all", v, kmsg.NewPtrDescribeLogDirsRequest())
	}
	for _, v := range r.plan.of(kmsg.ListConfigResources, 0) {
		ask[*kmsg.ListConfigResourcesResponse](r, "all", v, kmsg.NewPtrListConfigResourcesRequest())
	}
	for _, v := range r.plan.of(kmsg.ListTransactions, 0) {
		ask[*kmsg.ListTransactionsResponse](r, "all", v, kmsg.NewPtrListTransactionsRequest())
	}
	for _, v := range r.plan.of(kmsg.DescribeClientQuotas, 0) {
		ask[*kmsg.DescribeClientQuotasResponse](r, "all", v, kmsg.NewPtrDescribeClientQuotasRequest())
	}
	for _, v := range r.plan.of(kmsg.DescribeConfigs, 1) {
		for kind, name := range map[kmsg.ConfigResourceType]string{
			kmsg.ConfigResourceTypeTopic: fixTopic, kmsg.ConfigResourceTypeBroker: fmt.Sprint(r.side.broker), kmsg.ConfigResourceTypeGroupConfig: fixGroup,
		} {
			q := kmsg.NewPtrDescribeConfigsRequest()
			q.IncludeSynonyms = v > 1
			one := kmsg.NewDescribeConfigsRequestResource()
			one.ResourceType, one.ResourceName = kind, name
			q.Resources = append(q.Resources, one)
			ask[*kmsg.DescribeConfigsResponse](r, fmt.Sprint("all of ", int(kind)), v, q)
		}
	}
	page := kmsg.NewPtrDescribeTopicPartitionsRequest()
	page.ResponsePartitionLimit = 1
	t := kmsg.NewDescribeTopicPartitionsRequestTopic()
	t.Topic = fixTopic
	page.Topics = append(page.Topics, t)
	got := ask[*kmsg.DescribeTopicPartitionsResponse](r, "first page", 0, page)
	if got.NextCursor != nil {
		page.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: got.NextCursor.Topic, Partition: got.NextCursor.Partition}
	}
	ask[*kmsg.DescribeTopicPartitionsResponse](r, "second page", 0, page)
}

// creating makes a request to create a topic.
func creating(name string, partitions int32, factor int16, configs ...string) *kmsg.CreateTopicsRequest {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 5000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], ptr(configs[i+1])
		t.Configs = append(t.Configs, c)
	}
	q.Topics = append(q.Topics, t)
	return q
}

// topicLife creates, shows, grows and deletes a topic at every version of what does it.
func topicLife(r *run) {
	for _, v := range r.plan.of(kmsg.CreateTopics, 2) {
		name := fmt.Sprint("life-", v)
		q := creating(name, 1, 1)
		q.ValidateOnly = true
		ask[*kmsg.CreateTopicsResponse](r, "validate", v, q)
		ask[*kmsg.CreateTopicsResponse](r, "create", v, creating(name, 1, 1))
		r.awaitLeaders(name, 1)
		ask[*kmsg.CreateTopicsResponse](r, "create again", v, creating(name, 1, 1))
		ask[*kmsg.CreateTopicsResponse](r, "create twice", v, func() *kmsg.CreateTopicsRequest {
			q := creating(name+"-twice", 1, 1)
			q.Topics = append(q.Topics, q.Topics[0])
			return q
		}())
		for _, mv := range r.plan.of(kmsg.Metadata, 0) {
			ask[*kmsg.MetadataResponse](r, "created at v"+fmt.Sprint(v), mv, metadataOf(name, "no-such-topic", name))
		}
		for _, pv := range r.plan.of(kmsg.CreatePartitions, 0) {
			r.createPartitions("grow", pv, name, int32(pv)+2, false)
			r.awaitLeaders(name, int32(pv)+2)
			r.createPartitions("shrink", pv, name, 1, false)
			r.createPartitions("stay", pv, name, int32(pv)+2, false)
			r.createPartitions("validate", pv, name, 9, true)
			r.createPartitions("unknown", pv, "no-such-topic", 9, false)
		}
		dv := min(max(v-1, 1), 6)
		d := kmsg.NewPtrDeleteTopicsRequest()
		d.TimeoutMillis, d.TopicNames = 5000, []string{name, "no-such-topic"}
		for _, one := range d.TopicNames {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = ptr(one)
			d.Topics = append(d.Topics, t)
		}
		id := r.id(name)
		ask[*kmsg.DeleteTopicsResponse](r, "delete", dv, d)
		r.awaitGone(name)
		ask[*kmsg.DeleteTopicsResponse](r, "delete again", dv, d)
		ask[*kmsg.ProduceResponse](r, "after the end", 12, r.producing(name, 0, largeBatch()[:0]))
		m := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.TopicID = id
		m.Topics = append(m.Topics, t)
		ask[*kmsg.MetadataResponse](r, "by id after the end", 12, m)
		ask[*kmsg.FetchResponse](r, "by id after the end", 13, r.fetching(name, 0, 0))
	}
}

func (r *run) createPartitions(label string, version int16, topic string, count int32, validate bool) {
	q := kmsg.NewPtrCreatePartitionsRequest()
	q.TimeoutMillis, q.ValidateOnly = 5000, validate
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	q.Topics = append(q.Topics, t)
	ask[*kmsg.CreatePartitionsResponse](r, label, version, q)
}

// topicNames creates topics with names at and beyond the limits.
func topicNames(r *run) {
	for _, v := range []int16{4, 7} {
		for n, name := range []string{
			".", "..", "a.b", "a_b", "-", "A", "\u00e4", "with space", strings.Repeat("n", 249), strings.Repeat("n", 250), "__mine",
			"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata", "x\x00y",
		} {
			q := creating(name, 1, 1)
			p := ask[*kmsg.CreateTopicsResponse](r, fmt.Sprint("name ", n), v, q)
			if len(p.Topics) == 1 && p.Topics[0].ErrorCode == 0 {
				r.quietly(func() { r.awaitSettled(name) })
			}
			ask[*kmsg.MetadataResponse](r, fmt.Sprint("name ", n, " at v", v), 9, metadataOf(name))
		}
		for _, partitions := range []int32{-2, -1, 0, 10001} {
			for _, factor := range []int16{-2, -1, 0, 1, 2, 3, 4} {
				q := creating(fmt.Sprintf("counts-%d-%d-%d", v, partitions, factor), partitions, factor)
				q.ValidateOnly = true
				ask[*kmsg.CreateTopicsResponse](r, fmt.Sprintf("%d partitions, factor %d", partitions, factor), v, q)
			}
		}
	}
}

// awaitSettled waits until the broker answers alike about a topic for a moment: it may follow its controller with a delay.
func (r *run) awaitSettled(topic string) {
	until(r, "settled", 9, func() kmsg.Request { return metadataOf(topic) }, func(p *kmsg.MetadataResponse) bool {
		return len(p.Topics) == 1 && (p.Topics[0].ErrorCode == 17 || p.Topics[0].ErrorCode == 0 && p.Topics[0].Partitions[0].Leader >= 0)
	})
}

// settingsOfTopics are configurations of topics with values at and beyond the limits.
func settingsOfTopics() [][2]string {
	var all [][2]string
	for name, values := range map[string]string{
		"cleanup.policy":                          "delete compact compact,delete delete,compact nonsense Delete delete,delete none",
		"compression.type":                        "producer gzip snappy lz4 zstd uncompressed none Gzip",
		"compression.gzip.level":                  "-1 0 1 9 10 -2",
		"compression.lz4.level":                   "0 1 17 18",
		"compression.zstd.level":                  "-131073 -131072 0 22 23",
		"delete.retention.ms":                     "-1 0 1 9223372036854775807",
		"file.delete.delay.ms":                    "-1 0 1",
		"flush.messages":                          "0 1 -1",
		"flush.ms":                                "0 -1",
		"follower.replication.throttled.replicas": "* 0:1 0:1,1:1 nonsense 0",
		"leader.replication.throttled.replicas":   "* 0:1,1:2 nonsense",
		"index.interval.bytes":                    "-1 0 1",
		"local.retention.bytes":                   "-3 -2 -1 0",
		"local.retention.ms":                      "-3 -2 -1 0",
		"max.compaction.lag.ms":                   "0 1",
		"max.message.bytes":                       "-1 0 1 2147483647 2147483648",
		"message.timestamp.after.max.ms":          "-1 0 1",
		"message.timestamp.before.max.ms":         "-1 0 1",
		"message.timestamp.type":                  "CreateTime LogAppendTime createtime",
		"min.cleanable.dirty.ratio":               "-0.1 0 0.5 1 1.1 NaN half",
		"min.compaction.lag.ms":                   "-1 0 1",
		"min.insync.replicas":                     "-1 0 1 2",
		"preallocate":                             "true false TRUE yes",
		"remote.storage.enable":                   "true false",
		"remote.log.copy.disable":                 "true false",
		"remote.log.delete.on.disable":            "true false",
		"retention.bytes":                         "-2 -1 0 1",
		"retention.ms":                            "-2 -1 0 1 1h",
		"segment.bytes":                           "13 14 1048575 1048576 2147483647",
		"segment.index.bytes":                     "3 4 1024",
		"segment.jitter.ms":                       "-1 0 1",
		"segment.ms":                              "0 1",
		"unclean.leader.election.enable":          "true false maybe",
		"message.format.version":                  "3.0",
		"message.downconversion.enable":           "true",
		"errors.deadletterqueue.topic.name":       "x",
		"internal.segment.bytes":                  "100",
		"no.such.key":                             "1",
	} {
		for value := range strings.SplitSeq(values, " ") {
			all = append(all, [2]string{name, value})
		}
		all = append(all, [2]string{name, ""}, [2]string{name, " 1 "})
	}
	byName := make(map[string][2]string)
	for _, one := range all {
		byName[one[0]+"="+one[1]] = one
	}
	all = all[:0]
	for _, name := range sorted(byName) {
		all = append(all, byName[name])
	}
	return all
}

// topicSettings validates topics with each value of each configuration, and describes the topic that has it.
func topicSettings(r *run) {
	r.createTopic("ts", 1)
	for _, one := range settingsOfTopics() {
		label := one[0] + "=" + one[1]
		q := creating("ts-new", 1, 1, one[0], one[1])
		q.ValidateOnly = true
		ask[*kmsg.CreateTopicsResponse](r, label, 7, q)
		a := altering(kmsg.ConfigResourceTypeTopic, "ts", one[0], &one[1], kmsg.IncrementalAlterConfigOpSet)
		ask[*kmsg.IncrementalAlterConfigsResponse](r, label, 1, a)
	}
	r.describe("in the end", 4, kmsg.ConfigResourceTypeTopic, "ts")
}

// altering makes a request to change one configuration.
func altering(kind kmsg.ConfigResourceType, name, key string, value *string, op kmsg.IncrementalAlterConfigOp) *kmsg.IncrementalAlterConfigsRequest {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	one := kmsg.NewIncrementalAlterConfigsRequestResource()
	one.ResourceType, one.ResourceName = kind, name
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = key, value, op
	one.Configs = append(one.Configs, c)
	q.Resources = append(q.Resources, one)
	return q
}

// describe asks for configurations of a resource; none means all.
func (r *run) describe(label string, version int16, kind kmsg.ConfigResourceType, name string, keys ...string) {
	q := kmsg.NewPtrDescribeConfigsRequest()
	q.IncludeSynonyms = true
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName, one.ConfigNames = kind, name, keys
	q.Resources = append(q.Resources, one)
	ask[*kmsg.DescribeConfigsResponse](r, label, version, q)
}

// awaitConfig waits until a broker knows of a configuration's value; "" stands for its not being set.
func (r *run) awaitConfig(kind kmsg.ConfigResourceType, name, key, value string) {
	q := kmsg.NewPtrDescribeConfigsRequest()
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName, one.ConfigNames = kind, name, []string{key}
	q.Resources = append(q.Resources, one)
	r.quietly(func() {
		until(r, "known", 4, func() kmsg.Request { return q }, func(p *kmsg.DescribeConfigsResponse) bool {
			if len(p.Resources) != 1 || len(p.Resources[0].Configs) != 1 {
				return true
			}
			got := p.Resources[0].Configs[0]
			if value == "" {
				return !slices.Contains([]kmsg.ConfigSource{kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceDynamicBrokerConfig,
					kmsg.ConfigSourceClientMetricsConfig, kmsg.ConfigSourceGroupConfig}, got.Source)
			}
			// What a server does not know it keeps as a secret, and shows without its value.
			return got.Value != nil && *got.Value == value || got.Value == nil && got.IsSensitive && got.Source != kmsg.ConfigSourceDefaultConfig
		})
	})
}

// topicConfigs changes configurations of a topic by all operations, and by the old request that replaces all.
func topicConfigs(r *run) {
	r.createTopic("tc", 1)
	const kind = kmsg.ConfigResourceTypeTopic
	type step struct {
		key   string
		value *string
		op    kmsg.IncrementalAlterConfigOp
		after string
	}
	steps := []step{
		{"retention.ms", ptr("1000"), kmsg.IncrementalAlterConfigOpSet, "1000"},
		{"retention.ms", ptr("ignored"), kmsg.IncrementalAlterConfigOpDelete, ""},
		{"retention.ms", nil, kmsg.IncrementalAlterConfigOpDelete, ""},
		{"retention.ms", nil, kmsg.IncrementalAlterConfigOpSet, ""},
		{"retention.ms", ptr("1"), kmsg.IncrementalAlterConfigOpAppend, ""},
		{"retention.ms", ptr("1"), kmsg.IncrementalAlterConfigOpSubtract, ""},
		{"cleanup.policy", ptr("compact"), kmsg.IncrementalAlterConfigOpAppend, "delete,compact"},
		{"cleanup.policy", ptr("compact"), kmsg.IncrementalAlterConfigOpAppend, "delete,compact"},
		{"cleanup.policy", ptr("delete"), kmsg.IncrementalAlterConfigOpSubtract, "compact"},
		{"cleanup.policy", ptr("nonsense"), kmsg.IncrementalAlterConfigOpSubtract, "compact"},
		{"cleanup.policy", ptr("nonsense"), kmsg.IncrementalAlterConfigOpAppend, "compact"},
		{"cleanup.policy", nil, kmsg.IncrementalAlterConfigOpDelete, ""},
		{"no.such.key", ptr("1"), kmsg.IncrementalAlterConfigOpSet, ""},
		{"no.such.key", nil, kmsg.IncrementalAlterConfigOpDelete, ""},
		{"no.such.key", ptr("1"), kmsg.IncrementalAlterConfigOpAppend, ""},
		{"", ptr("1"), kmsg.IncrementalAlterConfigOpSet, ""},
	}
	for _, v := range r.plan.of(kmsg.IncrementalAlterConfigs, 0) {
		for n, s := range steps {
			q := altering(kind, "tc", s.key, s.value, s.op)
			q.ValidateOnly = true
			ask[*kmsg.IncrementalAlterConfigsResponse](r, fmt.Sprint("validate ", n), v, q)
			q.ValidateOnly = false
			ask[*kmsg.IncrementalAlterConfigsResponse](r, fmt.Sprint("change ", n), v, q)
			if s.key != "" && s.key != "no.such.key" {
				r.awaitConfig(kind, "tc", s.key, s.after)
			}
			r.describe(fmt.Sprint("after change ", n, " at v", v), 4, kind, "tc", s.key)
		}
		q := altering(kind, "tc", "retention.ms", ptr("1"), 0)
		q.Resources[0].Configs = append(q.Resources[0].Configs, q.Resources[0].Configs[0])
		ask[*kmsg.IncrementalAlterConfigsResponse](r, "one key twice", v, q)
		q = altering(kind, "tc", "retention.ms", ptr("1"), 0)
		q.Resources = append(q.Resources, q.Resources[0])
		ask[*kmsg.IncrementalAlterConfigsResponse](r, "one resource twice", v, q)
		ask[*kmsg.IncrementalAlterConfigsResponse](r, "unknown topic", v, altering(kind, "no-such-topic", "retention.ms", ptr("1"), 0))
	}
	for _, v := range r.plan.of(kmsg.AlterConfigs, 0) {
		for n, configs := range [][]string{{"retention.ms", "2000", "segment.bytes", "2097152"}, {"retention.ms", "3000"}, {}, {"retention.ms", "x"}, {"nonsense", "1"}} {
			q := kmsg.NewPtrAlterConfigsRequest()
			one := kmsg.NewAlterConfigsRequestResource()
			one.ResourceType, one.ResourceName = kind, "tc"
			for i := 0; i+1 < len(configs); i += 2 {
				c := kmsg.NewAlterConfigsRequestResourceConfig()
				c.Name, c.Value = configs[i], ptr(configs[i+1])
				one.Configs = append(one.Configs, c)
			}
			q.Resources = append(q.Resources, one)
			ask[*kmsg.AlterConfigsResponse](r, fmt.Sprint("replace ", n), v, q)
			if n < 3 {
				r.awaitConfig(kind, "tc", "retention.ms", []string{"2000", "3000", ""}[n])
			}
			r.describe(fmt.Sprint("after replace ", n, " at v", v), 4, kind, "tc", "retention.ms", "segment.bytes")
		}
	}
}

// otherConfigs changes configurations of brokers, groups and client metrics.
func otherConfigs(r *run) {
	broker := fmt.Sprint(r.side.broker)
	type step struct {
		kind      kmsg.ConfigResourceType
		name, key string
		value     *string
	}
	const brokers, groups, metrics, loggers = kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeGroupConfig,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeBrokerLogger
	for n, s := range []step{
		{brokers, "", "log.retention.ms", ptr("7200000")},
		{brokers, broker, "log.retention.ms", ptr("3600000")},
		{brokers, broker, "log.retention.ms", nil},
		{brokers, "", "log.retention.ms", nil},
		{brokers, broker, "no.such.key", ptr("1")},
		{brokers, broker, "log.dirs", ptr("/tmp")},
		{brokers, broker, "node.id", ptr("5")},
		{brokers, "77", "log.retention.ms", ptr("1")},
		{brokers, "x", "log.retention.ms", ptr("1")},
		{brokers, broker, "message.max.bytes", ptr("-5")},
		{brokers, broker, "message.max.bytes", ptr("1000000")},
		{brokers, broker, "message.max.bytes", nil},
		{brokers, "", "log.retention.ms", ptr("soon")},
		{loggers, broker, "kafka", ptr("INFO")},
		{loggers, broker, "kafka", ptr("LOUD")},
		{loggers, "77", "kafka", ptr("INFO")},
		{groups, "a-group", "consumer.session.timeout.ms", ptr("50000")},
		{groups, "a-group", "consumer.session.timeout.ms", ptr("1")},
		{groups, "a-group", "consumer.heartbeat.interval.ms", ptr("6000")},
		{groups, "a-group", "share.session.timeout.ms", ptr("50000")},
		{groups, "a-group", "share.record.lock.duration.ms", ptr("20000")},
		{groups, "a-group", "share.isolation.level", ptr("read_committed")},
		{groups, "a-group", "share.auto.offset.reset", ptr("earliest")},
		{groups, "a-group", "streams.num.standby.replicas", ptr("1")},
		{groups, "a-group", "no.such.key", ptr("1")},
		{groups, "", "consumer.session.timeout.ms", ptr("50000")},
		{groups, "a-group", "consumer.session.timeout.ms", nil},
		{metrics, "a-subscription", "metrics", ptr("org.apache.kafka.producer.")},
		{metrics, "a-subscription", "interval.ms", ptr("99")},
		{metrics, "a-subscription", "interval.ms", ptr("30000")},
		{metrics, "a-subscription", "match", ptr("client_id=x.*")},
		{metrics, "a-subscription", "match", ptr("nonsense=x")},
		{metrics, "a-subscription", "no.such.key", ptr("1")},
		{metrics, "a-subscription", "metrics", nil},
	} {
		op := kmsg.IncrementalAlterConfigOpSet
		if s.value == nil {
			op = kmsg.IncrementalAlterConfigOpDelete
		}
		label := fmt.Sprintf("%d %s", n, s.key)
		p := ask[*kmsg.IncrementalAlterConfigsResponse](r, label, 1, altering(s.kind, s.name, s.key, s.value, op))
		if len(p.Resources) == 1 && p.Resources[0].ErrorCode == 0 {
			value := ""
			if s.value != nil {
				value = *s.value
			}
			r.awaitConfig(s.kind, s.name, s.key, value)
		}
		if s.name != "" {
			r.describe("after "+label, 4, s.kind, s.name, s.key)
		}
	}
	for _, v := range r.plan.of(kmsg.ListConfigResources, 0) {
		for kind := range int8(40) {
			if kind == int8(kmsg.ConfigResourceTypeTopic) {
				continue // there are more than two servers can agree on
			}
			q := kmsg.NewPtrListConfigResourcesRequest()
			q.ResourceTypes = []int8{kind}
			ask[*kmsg.ListConfigResourcesResponse](r, fmt.Sprint("of type ", kind), v, q)
			if v == 0 {
				break
			}
		}
	}
}

// quotaChange is one change of quotas.
type quotaChange struct {
	entity map[string]*string
	key    string
	value  float64
	remove bool
}

func (r *run) alterQuota(label string, version int16, validate bool, c quotaChange) {
	q := kmsg.NewPtrAlterClientQuotasRequest()
	q.ValidateOnly = validate
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for _, kind := range sorted(c.entity) {
		one := kmsg.NewAlterClientQuotasRequestEntryEntity()
		one.Type, one.Name = kind, c.entity[kind]
		e.Entity = append(e.Entity, one)
	}
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value, op.Remove = c.key, c.value, c.remove
	e.Ops = append(e.Ops, op)
	q.Entries = append(q.Entries, e)
	ask[*kmsg.AlterClientQuotasResponse](r, label, version, q)
}

// quotaLife sets and shows quotas of all kinds of entities.
func quotaLife(r *run) {
	name := ptr("quotas-entity")
	changes := []quotaChange{
		{map[string]*string{"user": name}, "producer_byte_rate", 1e9, false},
		{map[string]*string{"user": name}, "consumer_byte_rate", 1e9, false},
		{map[string]*string{"user": name, "client-id": name}, "request_percentage", 150.5, false},
		{map[string]*string{"user": name, "client-id": nil}, "controller_mutation_rate", 10, false},
		{map[string]*string{"client-id": nil}, "request_percentage", 1000, false},
		{map[string]*string{"ip": ptr("127.0.0.9")}, "connection_creation_rate", 100, false},
		{map[string]*string{"ip": ptr("not an address")}, "connection_creation_rate", 100, false},
		{map[string]*string{"ip": ptr("127.0.0.9"), "user": name}, "connection_creation_rate", 100, false},
		{map[string]*string{"ip": ptr("127.0.0.9")}, "producer_byte_rate", 100, false},
		{map[string]*string{"user": name}, "connection_creation_rate", 100, false},
		{map[string]*string{"user": name}, "no_such_quota", 1, false},
		{map[string]*string{"user": name}, "no_such_quota", 1, true},
		{map[string]*string{"planet": name}, "producer_byte_rate", 1, false},
		{map[string]*string{}, "producer_byte_rate", 1, false},
		{map[string]*string{"user": name}, "producer_byte_rate", 0, false},
		{map[string]*string{"user": name}, "producer_byte_rate", -1, false},
		{map[string]*string{"user": name}, "producer_byte_rate", 1.5, false},
		{map[string]*string{"user": ptr("")}, "producer_byte_rate", 1e9, false},
		{map[string]*string{"user": name}, "producer_byte_rate", 0, true},
		{map[string]*string{"user": name}, "producer_byte_rate", 0, true},
	}
	for _, v := range r.plan.of(kmsg.AlterClientQuotas, 0) {
		for n, c := range changes {
			r.alterQuota(fmt.Sprint("validate ", n), v, true, c)
			r.alterQuota(fmt.Sprint("change ", n), v, false, c)
		}
		// What the last change says is seen after all others: Apache Kafka applies them in order, with a delay.
		last := quotaChange{map[string]*string{"user": ptr(fmt.Sprint("last-", v))}, "producer_byte_rate", 7e8, false}
		r.alterQuota("last", v, false, last)
		until(r, "last is seen", 1, func() kmsg.Request { return describingQuota("user", 0, last.entity["user"]) },
			func(p *kmsg.DescribeClientQuotasResponse) bool { return len(p.Entries) > 0 })
		for _, kind := range []string{"user", "client-id", "ip", "planet", ""} {
			for _, how := range []kmsg.QuotasMatchType{0, 1, 2, 3} {
				for _, match := range []*string{nil, name} {
					for _, strict := range []bool{false, true} {
						q := describingQuota(kind, how, match)
						q.Strict = strict
						ask[*kmsg.DescribeClientQuotasResponse](r, fmt.Sprint(kind, " ", int(how), " ", match != nil, " ", strict), v, q)
					}
				}
			}
		}
		last.remove = true
		r.alterQuota("last, removed", v, false, last)
	}
	// No other script is to be slowed down.
	for _, c := range changes {
		c.remove = true
		r.alterQuota("clean up", 1, false, c)
	}
}

func describingQuota(kind string, how kmsg.QuotasMatchType, match *string) *kmsg.DescribeClientQuotasRequest {
	q := kmsg.NewPtrDescribeClientQuotasRequest()
	c := kmsg.NewDescribeClientQuotasRequestComponent()
	c.EntityType, c.MatchType, c.Match = kind, how, match
	q.Components = append(q.Components, c)
	return q
}

// moves reassigns partitions and elects leaders where there is but one broker.
func moves(r *run) {
	r.createTopic("mv", 2)
	for _, v := range r.plan.of(kmsg.AlterPartitionAssignments, 0) {
		for n, replicas := range [][]int32{{r.side.broker}, nil, {}, {77}, {r.side.broker, 77}, {r.side.broker, r.side.broker}, {-1}} {
			q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			q.TimeoutMillis = 5000
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = "mv"
			for _, partition := range []int32{0, 9} {
				p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
				p.Partition, p.Replicas = partition, replicas
				t.Partitions = append(t.Partitions, p)
			}
			q.Topics = append(q.Topics, t)
			ask[*kmsg.AlterPartitionAssignmentsResponse](r, fmt.Sprint("replicas ", n), v, q)
		}
	}
	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	ask[*kmsg.ListPartitionReassignmentsResponse](r, "all", 0, list)
	list.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{}
	ask[*kmsg.ListPartitionReassignmentsResponse](r, "none", 0, list)
	for _, v := range r.plan.of(kmsg.ElectLeaders, 0) {
		for kind := range int8(3) {
			q := kmsg.NewPtrElectLeadersRequest()
			q.TimeoutMillis, q.ElectionType = 5000, kind
			t := kmsg.NewElectLeadersRequestTopic()
			t.Topic, t.Partitions = "mv", []int32{0, 1, 9}
			q.Topics = append(q.Topics, t)
			ask[*kmsg.ElectLeadersResponse](r, fmt.Sprint("of kind ", kind), v, q)
		}
	}
}

// telemetry asks for a subscription and pushes metrics.
func telemetry(r *run) {
	q := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	got := ask[*kmsg.GetTelemetrySubscriptionsResponse](r, "first", 0, q)
	q.ClientInstanceID = got.ClientInstanceID
	ask[*kmsg.GetTelemetrySubscriptionsResponse](r, "too early", 0, q)
	push := kmsg.NewPtrPushTelemetryRequest()
	push.ClientInstanceID, push.SubscriptionID = got.ClientInstanceID, got.SubscriptionID
	ask[*kmsg.PushTelemetryResponse](r, "empty", 0, push)
	push.SubscriptionID++
	ask[*kmsg.PushTelemetryResponse](r, "wrong subscription", 0, push)
	push.SubscriptionID--
	push.CompressionType = 77
	ask[*kmsg.PushTelemetryResponse](r, "unknown compression", 0, push)
	push.CompressionType, push.Terminating = 0, true
	ask[*kmsg.PushTelemetryResponse](r, "last", 0, push)
	ask[*kmsg.PushTelemetryResponse](r, "after the last", 0, push)
}
