package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/harness"
)

// TestAdminAnswers sends administrative requests, right and wrong ones, by hand and compares the answers field by field with
// what Apache Kafka answers.
func TestAdminAnswers(t *testing.T) {
	adminAnswers(t, harness.StartMillrace(t, harness.MillraceOptions{}))
}

// TestAdminAnswersApacheKafka is the same body; with -rewrite it records the answers.
func TestAdminAnswersApacheKafka(t *testing.T) {
	harness.Long(t, "make conformance")
	adminAnswers(t, harness.StartKafka(t, harness.KafkaOptions{}))
}

func adminAnswers(t *testing.T, cluster *harness.Cluster) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	s := &adminScript{t: t, client: cl}
	s.createTopic()
	s.elections()
	s.reassignments()
	s.logDirs()
	s.features()
	s.alterQuotas()
	s.describeQuotas()
	s.answers.compare(t, "admin", cluster.Engine == harness.ApacheKafka)
}

// adminScript asks and notes the answers.
type adminScript struct {
	t       *testing.T
	client  *kgo.Client
	answers answers
}

// noise is what every answer carries and no answer means.
var noise = regexp.MustCompile(`"UnknownTags":\{\},?|"ThrottleMillis":0,?|"Version":\d+,?`)

func (s *adminScript) ask(scenario, step string, version int16, q kmsg.Request) kmsg.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	q.SetVersion(version)
	resp, err := s.client.SeedBrokers()[0].Request(ctx, pinned{q, version})
	if err != nil {
		s.t.Errorf("%s: %s: %v", scenario, step, err)
		return nil
	}
	text, err := json.Marshal(resp)
	if err != nil {
		s.t.Fatal(err)
	}
	if scenario != "" {
		s.answers.add(scenario, step, noise.ReplaceAllString(string(text), ""))
	}
	return resp
}

// pinned keeps the client from raising the version.
type pinned struct {
	kmsg.Request
	version int16
}

func (p pinned) MaxVersion() int16 { return p.version }

func (s *adminScript) createTopic() {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 10_000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = "admin", 2, 1
	q.Topics = append(q.Topics, in)
	s.ask("", "create", 7, q)
}

func (s *adminScript) elections() {
	type topic = kmsg.ElectLeadersRequestTopic
	for _, c := range []struct {
		name   string
		kind   int8
		topics []topic
	}{
		{"preferred", 0, []topic{{Topic: "admin", Partitions: []int32{0, 1}}}},
		{"unclean", 1, []topic{{Topic: "admin", Partitions: []int32{0}}}},
		{"unknown type", 2, []topic{{Topic: "admin", Partitions: []int32{0}}}},
		{"unknown", 0, []topic{{Topic: "nope", Partitions: []int32{0}}, {Topic: "admin", Partitions: []int32{7, 0}}}},
		{"all", 0, nil},
		{"none", 0, []topic{}},
		{"twice", 0, []topic{{Topic: "admin", Partitions: []int32{0, 0}}, {Topic: "admin", Partitions: []int32{0}}}},
		{"no partitions", 0, []topic{{Topic: "admin"}}},
	} {
		for version := range int16(3) {
			q := kmsg.NewPtrElectLeadersRequest()
			q.ElectionType, q.Topics, q.TimeoutMillis = c.kind, c.topics, 10_000
			s.ask("elect", fmt.Sprintf("%s v%d", c.name, version), version, q)
		}
	}
}

func (s *adminScript) reassignments() {
	type part = kmsg.AlterPartitionAssignmentsRequestTopicPartition
	for _, c := range []struct {
		name  string
		topic string
		keep  bool
		parts []part
	}{
		{"present", "admin", false, []part{{Partition: 0, Replicas: []int32{1}}}},
		{"present, factor kept", "admin", true, []part{{Partition: 0, Replicas: []int32{1}}}},
		{"unknown broker", "admin", false, []part{{Partition: 0, Replicas: []int32{9}}}},
		{"one unknown broker", "admin", false, []part{{Partition: 0, Replicas: []int32{1, 9}}}},
		{"broker twice", "admin", false, []part{{Partition: 0, Replicas: []int32{1, 1}}}},
		{"negative broker", "admin", false, []part{{Partition: 0, Replicas: []int32{-1}}}},
		{"empty", "admin", false, []part{{Partition: 0, Replicas: []int32{}}}},
		{"cancel", "admin", false, []part{{Partition: 0}}},
		{"unknown partition", "admin", false, []part{{Partition: 7, Replicas: []int32{1}}}},
		{"cancel unknown partition", "admin", false, []part{{Partition: 7}}},
		{"unknown topic", "nope", false, []part{{Partition: 0, Replicas: []int32{1}}}},
		{"twice", "admin", false, []part{{Partition: 0, Replicas: []int32{1}}, {Partition: 0, Replicas: []int32{9}}}},
	} {
		for version := range int16(2) {
			q := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			q.TimeoutMillis, q.AllowReplicationFactorChange = 10_000, !c.keep
			q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: c.topic, Partitions: c.parts}}
			s.ask("reassign", fmt.Sprintf("%s v%d", c.name, version), version, q)
		}
	}
	s.ask("reassign", "nothing", 1, kmsg.NewPtrAlterPartitionAssignmentsRequest())
	for name, topics := range map[string][]kmsg.ListPartitionReassignmentsRequestTopic{
		"list all": nil, "list one": {{Topic: "admin", Partitions: []int32{0, 7}}}, "list unknown": {{Topic: "nope", Partitions: []int32{0}}},
	} {
		q := kmsg.NewPtrListPartitionReassignmentsRequest()
		q.TimeoutMillis, q.Topics = 10_000, topics
		s.ask("reassign", name, 0, q)
	}
}

func (s *adminScript) logDirs() {
	described, ok := s.ask("", "log dirs", 4, kmsg.NewPtrDescribeLogDirsRequest()).(*kmsg.DescribeLogDirsResponse)
	if !ok || len(described.Dirs) != 1 {
		s.t.Fatalf("log dirs %+v", described)
	}
	for name, dir := range map[string]string{"same": described.Dirs[0].Dir, "unknown": "/nowhere", "relative": "somewhere"} {
		for version := int16(1); version <= 2; version++ {
			q := kmsg.NewPtrAlterReplicaLogDirsRequest()
			q.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{
				{Topic: "admin", Partitions: []int32{0}}, {Topic: "nope", Partitions: []int32{0}},
			}}}
			s.ask("log dirs", fmt.Sprintf("%s v%d", name, version), version, q)
			q.Dirs[0].Topics[0].Partitions[0] = 9
			s.ask("log dirs", fmt.Sprintf("%s, unknown partition v%d", name, version), version, q)
		}
	}
}

// features leaves out what tells of the level in force, which is not the same.
func (s *adminScript) features() {
	for _, c := range []struct {
		name, feature string
		level         int16
		kind          int8
	}{
		{"unknown", "nope", 1, 1},
		{"unknown, removed", "nope", 0, 2},
		{"negative", "metadata.version", -1, 1},
		{"unknown type", "metadata.version", 29, 9},
		{"downgrade without saying so", "metadata.version", 20, 1},
		{"empty name", "", 5, 1},
	} {
		for version := range int16(3) {
			q := kmsg.NewPtrUpdateFeaturesRequest()
			q.TimeoutMillis, q.ValidateOnly = 10_000, true
			u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			u.Feature, u.MaxVersionLevel, u.UpgradeType = c.feature, c.level, c.kind
			q.FeatureUpdates = append(q.FeatureUpdates, u)
			if version == 0 && c.kind > 2 { // it has no type, so this would be another question
				continue
			}
			s.ask("features", fmt.Sprintf("%s v%d", c.name, version), version, q)
		}
	}
	q := kmsg.NewPtrUpdateFeaturesRequest()
	q.TimeoutMillis = 10_000
	s.ask("features", "none", 2, q)
}

// quotaSteps are alterations, right and wrong.
func quotaSteps() []quotaStep {
	user := func(name string, ops ...kmsg.AlterClientQuotasRequestEntryOp) kmsg.AlterClientQuotasRequestEntry {
		return quotaEntry(ops, "user", name)
	}
	return []quotaStep{
		{"set", entries(user("alice", set("producer_byte_rate", 1000)), quotaEntry(ops(set("consumer_byte_rate", 5)), "client-id", "<default>"))},
		{"set both", entries(quotaEntry(ops(set("request_percentage", 12.5)), "user", "alice", "client-id", "app"))},
		{"nobody", entries(quotaEntry(ops(set("producer_byte_rate", 1))))},
		{"unknown type", entries(quotaEntry(ops(set("producer_byte_rate", 1)), "team", "x"))},
		{"empty name", entries(user("", set("producer_byte_rate", 1)))},
		{"ip and user", entries(quotaEntry(ops(set("producer_byte_rate", 1)), "user", "x", "ip", "10.0.0.1"))},
		{"no address", entries(quotaEntry(ops(set("connection_creation_rate", 1)), "ip", "256.1.1.1"))},
		{"ip", entries(quotaEntry(ops(set("connection_creation_rate", 1000)), "ip", "10.1.1.1"))},
		{"ip fraction", entries(quotaEntry(ops(set("connection_creation_rate", 1.5)), "ip", "10.1.1.1"))},
		{"ip too large", entries(quotaEntry(ops(set("connection_creation_rate", 1e12)), "ip", "10.1.1.1"))},
		{"ip key of users", entries(quotaEntry(ops(set("producer_byte_rate", 1)), "ip", "10.1.1.1"))},
		{"user key of ips", entries(user("bob", set("connection_creation_rate", 1)))},
		{"fraction", entries(user("bob", set("producer_byte_rate", 1.5)))},
		{"nearly whole", entries(user("near", set("producer_byte_rate", 10.0000001)))},
		{"too large", entries(user("bob", set("producer_byte_rate", 1e30)))},
		{"negative", entries(user("bob", set("producer_byte_rate", -10)))},
		{"zero", entries(user("bob", set("request_percentage", 0)))},
		{"unknown key", entries(user("bob", set("speed", 1)))},
		{"good and unknown key", entries(user("carol", set("speed", 1), set("producer_byte_rate", 7)))},
		{"key twice", entries(user("bob", set("producer_byte_rate", 10), set("producer_byte_rate", 11)))},
		{"entity twice", entries(user("dave", set("producer_byte_rate", 10)), user("dave", set("producer_byte_rate", 11)))},
		{"type twice", entries(quotaEntry(ops(set("producer_byte_rate", 10)), "user", "erin", "user", "frank"))},
		{"remove missing", entries(user("zed", remove("producer_byte_rate")))},
		{"remove unknown key", entries(user("zed", remove("speed")))},
		{"no ops", entries(user("zed"))},
		{"remove", entries(quotaEntry(ops(remove("request_percentage")), "user", "alice", "client-id", "app"))},
	}
}

type quotaStep struct {
	name    string
	entries []kmsg.AlterClientQuotasRequestEntry
}

func entries(all ...kmsg.AlterClientQuotasRequestEntry) []kmsg.AlterClientQuotasRequestEntry {
	return all
}

func ops(all ...kmsg.AlterClientQuotasRequestEntryOp) []kmsg.AlterClientQuotasRequestEntryOp {
	return all
}

func set(key string, v float64) kmsg.AlterClientQuotasRequestEntryOp {
	return kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: v}
}

func remove(key string) kmsg.AlterClientQuotasRequestEntryOp {
	return kmsg.AlterClientQuotasRequestEntryOp{Key: key, Remove: true}
}

// quotaEntry makes an entry of an entity given as types and names.
func quotaEntry(ops []kmsg.AlterClientQuotasRequestEntryOp, entity ...string) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.AlterClientQuotasRequestEntry{Ops: ops}
	for i := 0; i < len(entity); i += 2 {
		part := kmsg.AlterClientQuotasRequestEntryEntity{Type: entity[i]}
		if entity[i+1] != "<default>" {
			part.Name = &entity[i+1]
		}
		e.Entity = append(e.Entity, part)
	}
	return e
}

func (s *adminScript) alterQuotas() {
	for _, step := range quotaSteps() {
		for version := range int16(2) {
			q := kmsg.NewPtrAlterClientQuotasRequest()
			q.Entries, q.ValidateOnly = step.entries, version == 0
			s.ask("quotas", fmt.Sprintf("%s v%d", step.name, version), version, q)
		}
	}
}

func (s *adminScript) describeQuotas() {
	type part = kmsg.DescribeClientQuotasRequestComponent
	x := "x"
	for _, c := range []struct {
		name   string
		strict bool
		filter []part
	}{
		{"strict without parts", true, nil},
		{"client ids", true, []part{{EntityType: "client-id", MatchType: 2}}},
		{"ips", false, []part{{EntityType: "ip", MatchType: 2}}},
		{"default user", false, []part{{EntityType: "user", MatchType: 1}}},
		{"empty type", false, []part{{}}},
		{"unknown type", false, []part{{EntityType: "team"}}},
		{"type twice", false, []part{{EntityType: "user", Match: &x}, {EntityType: "user", MatchType: 1}}},
		{"exact without name", false, []part{{EntityType: "user"}}},
		{"default with name", false, []part{{EntityType: "user", MatchType: 1, Match: &x}}},
		{"any with name", false, []part{{EntityType: "user", MatchType: 2, Match: &x}}},
		{"unknown match", false, []part{{EntityType: "user", MatchType: 7}}},
		{"ip and user", false, []part{{EntityType: "user", MatchType: 2}, {EntityType: "ip", MatchType: 2}}},
	} {
		for version := range int16(2) {
			q := kmsg.NewPtrDescribeClientQuotasRequest()
			q.Components, q.Strict = c.filter, c.strict
			s.ask("quotas", fmt.Sprintf("describe %s v%d", c.name, version), version, q)
		}
	}
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "near", "zed"} { // one each: the order of several is not fixed
		q := kmsg.NewPtrDescribeClientQuotasRequest()
		q.Components = []part{{EntityType: "user", Match: &name}}
		s.ask("quotas", "in force for "+name, 1, q)
	}
}
