package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

func metadataRequest(names ...string) *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	q.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		in := kmsg.NewMetadataRequestTopic()
		in.Topic = kmsg.StringPtr(name)
		q.Topics = append(q.Topics, in)
	}
	return q
}

func TestMetadataEveryVersion(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	c := e.dial()
	for version := range int16(14) {
		for _, all := range []bool{false, true} {
			q := metadataRequest("orders")
			if all {
				q.Topics = nil
			}
			resp := ask[*kmsg.MetadataResponse](c, version, q)
			if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != selfID || resp.Brokers[0].Host != "127.0.0.1" || version >= 1 && (resp.ControllerID != selfID || *resp.Brokers[0].Rack != "zone-a") {
				t.Errorf("v%d: brokers %+v, controller %d", version, resp.Brokers, resp.ControllerID)
			}
			if version >= 2 && (resp.ClusterID == nil || *resp.ClusterID != e.catalog.ClusterID()) {
				t.Errorf("v%d: cluster %v", version, resp.ClusterID)
			}
			if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 2 || version >= 10 && resp.Topics[0].TopicID != tp.ID {
				t.Fatalf("v%d: %+v", version, resp.Topics)
			}
			p := resp.Topics[0].Partitions[1]
			if p.Leader != selfID || p.Partition != 1 || !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) || p.ErrorCode != 0 {
				t.Errorf("v%d: %+v", version, p)
			}
		}
		empty := ask[*kmsg.MetadataResponse](c, version, metadataRequest())
		if want := map[bool]int{true: 1, false: 0}[version == 0]; len(empty.Topics) != want {
			t.Errorf("v%d: an empty list gives %d topics, want %d", version, len(empty.Topics), want)
		}
	}
}

// Gotcha 11: unknown topics, auto creation only when client and broker want it.
func TestGotcha11AutoCreation(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	q := metadataRequest("fresh", "a/b", "__transaction_state")
	q.AllowAutoTopicCreation = true
	resp := ask[*kmsg.MetadataResponse](c, 8, q)
	c.wantCode(resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
	c.wantCode(resp.Topics[1].ErrorCode, kerr.InvalidTopicException)
	c.wantCode(resp.Topics[2].ErrorCode, kerr.UnknownTopicOrPartition)

	must(t, e.catalog.SetBrokerConfigs(t.Context(), "", false, func(now map[string]string) (map[string]string, error) {
		now["auto.create.topics.enable"], now["num.partitions"] = "true", "4"
		return now, nil
	}))
	q.AllowAutoTopicCreation = false
	c.wantCode(ask[*kmsg.MetadataResponse](c, 8, q).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
	q.AllowAutoTopicCreation = true
	resp = ask[*kmsg.MetadataResponse](c, 8, q)
	if tp := resp.Topics[0]; tp.ErrorCode != 0 || len(tp.Partitions) != 4 || tp.Partitions[3].Leader != selfID {
		t.Errorf("%+v", tp)
	}
	c.wantCode(resp.Topics[1].ErrorCode, kerr.InvalidTopicException)
	if tp := ask[*kmsg.MetadataResponse](c, 3, metadataRequest("by-an-old-client")).Topics[0]; tp.ErrorCode != 0 {
		t.Errorf("%+v", tp)
	}
}

// Gotcha 11: authorized operations only for those who ask, a live controller, leaders only of live brokers.
func TestGotcha11AuthorizedOperationsAndLeaders(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 2, nil)
	c := e.dial()
	q := metadataRequest("orders", "orders", "nope", "orders")
	resp := ask[*kmsg.MetadataResponse](c, 8, q)
	if resp.AuthorizedOperations != -2147483648 || resp.Topics[0].AuthorizedOperations != -2147483648 || len(resp.Topics) != 2 {
		t.Errorf("%+v", resp)
	}
	q.IncludeClusterAuthorizedOperations, q.IncludeTopicAuthorizedOperations = true, true
	resp = ask[*kmsg.MetadataResponse](c, 8, q)
	if resp.AuthorizedOperations != 8096 || resp.Topics[0].AuthorizedOperations != 3576 { // as Kafka, for a superuser
		t.Errorf("cluster %x, topic %x", resp.AuthorizedOperations, resp.Topics[0].AuthorizedOperations)
	}

	e.moveAway("orders", 1, 2, 3)
	p := ask[*kmsg.MetadataResponse](c, 9, q).Topics[0].Partitions[1]
	if p.Leader != 2 || p.LeaderEpoch != 3 || !slices.Equal(p.Replicas, []int32{2, 1}) || !slices.Equal(p.ISR, []int32{2, 1}) {
		t.Errorf("%+v", p)
	}
	tp, _ := e.catalog.Topic("orders")
	e.put("partitions/"+tp.ID.String()+"/1", `{"version":1,"owner":7,"epoch":4,"incarnation":1}`)
	e.eventually(func() bool {
		tp, _ := e.catalog.Topic("orders")
		return tp.Partitions[1].Owner == 7
	})
	p = ask[*kmsg.MetadataResponse](c, 9, q).Topics[0].Partitions[1]
	if kerr.Code(p.ErrorCode) != kerr.LeaderNotAvailable || p.Leader != -1 || !slices.Equal(p.OfflineReplicas, []int32{7}) {
		t.Errorf("%+v", p)
	}
}

func createRequest(name string, partitions int32, rf int16) *kmsg.CreateTopicsRequest {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 10_000
	in := kmsg.NewCreateTopicsRequestTopic()
	in.Topic, in.NumPartitions, in.ReplicationFactor = name, partitions, rf
	q.Topics = append(q.Topics, in)
	return q
}

// Gotcha 10: -1 takes the defaults, and three replicas are accepted on one broker.
func TestGotcha10CreateTopicsDefaults(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for version := int16(2); version <= 7; version++ {
		out := ask[*kmsg.CreateTopicsResponse](c, version, createRequest(fmt.Sprintf("connect-%d", version), 5, 3)).Topics[0]
		if out.ErrorCode != 0 || version >= 5 && (out.NumPartitions != 5 || out.ReplicationFactor != 3 || len(out.Configs) == 0) || version >= 7 && out.TopicID == [16]byte{} {
			t.Errorf("v%d: %+v", version, out)
		}
		out = ask[*kmsg.CreateTopicsResponse](c, version, createRequest(fmt.Sprintf("streams-%d", version), -1, -1)).Topics[0]
		if out.ErrorCode != 0 || version >= 5 && (out.NumPartitions != 1 || out.ReplicationFactor != 3) {
			t.Errorf("v%d: %+v", version, out)
		}
	}
	if p := ask[*kmsg.MetadataResponse](c, 9, metadataRequest("connect-7")).Topics[0].Partitions[0]; !slices.Equal(p.Replicas, []int32{1}) {
		t.Errorf("replicas %v", p.Replicas)
	}
}

func TestCreateTopicsRefusals(t *testing.T) {
	e := newEnv(t, options{})
	e.create("there", 1, nil)
	c := e.dial()
	f := func(want kerr.Code, q *kmsg.CreateTopicsRequest, change func(*kmsg.CreateTopicsRequestTopic)) string {
		t.Helper()
		change(&q.Topics[0])
		out := ask[*kmsg.CreateTopicsResponse](c, 7, q).Topics[0]
		if kerr.Code(out.ErrorCode) != want || out.ErrorMessage == nil || out.NumPartitions != -1 || out.TopicID != [16]byte{} {
			t.Errorf("%+v, want %s", out, want.Name())
			return ""
		}
		return *out.ErrorMessage
	}
	same := func(*kmsg.CreateTopicsRequestTopic) {}
	config := func(name string, value *string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(in *kmsg.CreateTopicsRequestTopic) {
			in.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: value}}
		}
	}
	f(kerr.TopicAlreadyExists, createRequest("there", 1, 1), same)
	f(kerr.InvalidTopicException, createRequest("a b", 1, 1), same)
	f(kerr.InvalidTopicException, createRequest("", 1, 1), same)
	f(kerr.InvalidPartitions, createRequest("x", 0, 1), same)
	f(kerr.PolicyViolation, createRequest("x", 10_001, 1), same)
	f(kerr.InvalidReplicationFactor, createRequest("x", 1, 0), same)
	if m := f(kerr.InvalidConfig, createRequest("x", 1, 1), config("segment.bytes", kmsg.StringPtr("7"))); !strings.Contains(m, "segment.bytes") || !strings.Contains(m, "1048576") {
		t.Errorf("message %q", m)
	}
	f(kerr.InvalidConfig, createRequest("x", 1, 1), config("no.such", kmsg.StringPtr("7")))
	f(kerr.InvalidConfig, createRequest("x", 1, 1), config("segment.bytes", nil))
	assign := func(parts ...int32) func(*kmsg.CreateTopicsRequestTopic) {
		return func(in *kmsg.CreateTopicsRequestTopic) {
			for _, p := range parts {
				in.ReplicaAssignment = append(in.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: p, Replicas: []int32{1}})
			}
		}
	}
	f(kerr.InvalidRequest, createRequest("x", 1, 1), assign(0))
	f(kerr.InvalidReplicaAssignment, createRequest("x", -1, -1), assign(0, 0))
	f(kerr.InvalidReplicaAssignment, createRequest("x", -1, -1), assign(1))

	twice := createRequest("x", 1, 1)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	resp := ask[*kmsg.CreateTopicsResponse](c, 7, twice)
	if len(resp.Topics) != 1 || kerr.Code(resp.Topics[0].ErrorCode) != kerr.InvalidRequest {
		t.Errorf("%+v", resp.Topics)
	}
	many := createRequest("x", 1, 1)
	for i := range createTopicsMost {
		many.Topics = append(many.Topics, createRequest(fmt.Sprintf("x%d", i), 1, 1).Topics[0])
	}
	for _, out := range ask[*kmsg.CreateTopicsResponse](c, 7, many).Topics {
		c.wantCode(out.ErrorCode, kerr.PolicyViolation)
	}
	only := createRequest("dry", 3, 1)
	only.ValidateOnly = true
	if out := ask[*kmsg.CreateTopicsResponse](c, 7, only).Topics[0]; out.ErrorCode != 0 || out.NumPartitions != 3 {
		t.Errorf("%+v", out)
	}
	if n := len(e.catalog.Topics()); n != 1 {
		t.Errorf("%d topics", n)
	}
}

func TestDeleteTopics(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	a, b := e.create("a", 1, nil), e.create("b", 1, nil)
	_, err := e.api.consumerOffsets(t.Context())
	must(t, err)
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.TopicNames = []string{"a", "nope", topic.ConsumerOffsets, "b", "b"}
	resp := ask[*kmsg.DeleteTopicsResponse](c, 5, q)
	for i, want := range []kerr.Code{kerr.None, kerr.UnknownTopicOrPartition, kerr.InvalidRequest, kerr.InvalidRequest} {
		c.wantCode(resp.Topics[i].ErrorCode, want)
	}
	q = kmsg.NewPtrDeleteTopicsRequest()
	q.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: a.ID}, {TopicID: b.ID}, {Topic: kmsg.StringPtr("x"), TopicID: b.ID}, {}}
	resp = ask[*kmsg.DeleteTopicsResponse](c, 6, q)
	for i, want := range []kerr.Code{kerr.UnknownTopicID, kerr.None, kerr.InvalidRequest, kerr.InvalidRequest} {
		c.wantCode(resp.Topics[i].ErrorCode, want)
	}
	if *resp.Topics[1].Topic != "b" || resp.Topics[0].Topic != nil {
		t.Errorf("%+v", resp.Topics)
	}
	must(t, e.catalog.SetBrokerConfigs(t.Context(), "", false, func(now map[string]string) (map[string]string, error) {
		now["delete.topic.enable"] = "false"
		return now, nil
	}))
	q = kmsg.NewPtrDeleteTopicsRequest()
	q.TopicNames = []string{"a"}
	c.wantCode(ask[*kmsg.DeleteTopicsResponse](c, 5, q).Topics[0].ErrorCode, kerr.TopicDeletionDisabled)
	c.wantCode(ask[*kmsg.DeleteTopicsResponse](c, 1, q).Topics[0].ErrorCode, kerr.InvalidRequest)
}

func TestCreatePartitions(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	for _, f := range []struct {
		name  string
		count int32
		want  kerr.Code
	}{{"orders", 1, kerr.InvalidPartitions}, {"orders", 10_001, kerr.InvalidPartitions}, {"nope", 3, kerr.UnknownTopicOrPartition}, {"orders", 3, kerr.None}} {
		q := kmsg.NewPtrCreatePartitionsRequest()
		q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: f.name, Count: f.count}}
		c.wantCode(ask[*kmsg.CreatePartitionsResponse](c, 3, q).Topics[0].ErrorCode, f.want)
	}
	c.produce(tp, 2, 1)
	q := kmsg.NewPtrCreatePartitionsRequest()
	q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "orders", Count: 5}, {Topic: "orders", Count: 6}}
	resp := ask[*kmsg.CreatePartitionsResponse](c, 0, q)
	if len(resp.Topics) != 1 || kerr.Code(resp.Topics[0].ErrorCode) != kerr.InvalidRequest {
		t.Errorf("%+v", resp.Topics)
	}
}

func TestDeleteRecords(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	e.create("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	c := e.dial()
	c.produce(tp, 0, 10)
	f := func(name string, index int32, offset, low int64, want kerr.Code) {
		t.Helper()
		q := kmsg.NewPtrDeleteRecordsRequest()
		q.TimeoutMillis = 10_000
		q.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: index, Offset: offset}}}}
		p := ask[*kmsg.DeleteRecordsResponse](c, 2, q).Topics[0].Partitions[0]
		if kerr.Code(p.ErrorCode) != want || p.LowWatermark != low {
			t.Errorf("%s-%d to %d: %+v", name, index, offset, p)
		}
	}
	f("orders", 0, 4, 4, kerr.None)
	f("orders", 0, 11, -1, kerr.OffsetOutOfRange)
	f("orders", 0, -2, -1, kerr.OffsetOutOfRange)
	f("orders", 0, -1, 10, kerr.None)
	f("orders", 5, 1, -1, kerr.UnknownTopicOrPartition)
	f("nope", 0, 1, -1, kerr.UnknownTopicOrPartition)
	f("compacted", 0, 0, -1, kerr.PolicyViolation)
	f(topic.ConsumerOffsets, 0, 0, -1, kerr.InvalidTopicException)
	c.wantCode(ask[*kmsg.FetchResponse](c, 12, fetchRequest(tp, 1, 4)).Topics[0].Partitions[0].ErrorCode, kerr.OffsetOutOfRange)
}

func TestListOffsets(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 2, nil)
	c := e.dial()
	for _, ts := range []int64{1000, 3000, 2000} {
		b := record.NewBuilder(record.Options{})
		must(t, b.Add(ts, []byte("k"), []byte("v")))
		out, err := b.Build(nil)
		must(t, err)
		c.wantCode(ask[*kmsg.ProduceResponse](c, 9, produceRequest(tp, 0, out)).Topics[0].Partitions[0].ErrorCode, kerr.None)
	}
	f := func(version int16, index int32, ts, offset, when int64, want kerr.Code) {
		t.Helper()
		q := kmsg.NewPtrListOffsetsRequest()
		q.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = index, ts, -1
		q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		out := ask[*kmsg.ListOffsetsResponse](c, version, q).Topics[0].Partitions[0]
		if kerr.Code(out.ErrorCode) != want || out.Offset != offset || out.Timestamp != when {
			t.Errorf("v%d, partition %d, time %d: %+v", version, index, ts, out)
		}
		if version >= 4 && want == kerr.None && offset >= 0 && out.LeaderEpoch != 0 {
			t.Errorf("v%d: leader epoch %d", version, out.LeaderEpoch)
		}
	}
	for version := int16(1); version <= 11; version++ {
		f(version, 0, -1, 3, -1, kerr.None)
		f(version, 0, -2, 0, -1, kerr.None)
		f(version, 0, 0, 0, 1000, kerr.None)
		f(version, 0, 1001, 1, 3000, kerr.None)
		f(version, 0, 3001, -1, -1, kerr.None)
		f(version, 1, -1, 0, -1, kerr.None)
		f(version, 1, 5, -1, -1, kerr.None)
		for ts, since := range map[int64]int16{-3: 7, -4: 8, -5: 9, -6: 11} {
			if version < since {
				f(version, 0, ts, -1, -1, kerr.UnsupportedVersion)
			}
		}
	}
	f(11, 0, -3, 1, 3000, kerr.None)
	f(11, 1, -3, -1, -1, kerr.None)
	f(11, 0, -4, 0, -1, kerr.None)
	f(11, 0, -5, -1, -1, kerr.None)
	f(11, 0, -6, -1, -1, kerr.None)
	f(11, 9, -1, -1, -1, kerr.UnknownTopicOrPartition)

	q := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -1, -1
	q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p, p}}}
	c.wantCode(ask[*kmsg.ListOffsetsResponse](c, 7, q).Topics[0].Partitions[1].ErrorCode, kerr.InvalidRequest)
	p.CurrentLeaderEpoch = 3
	q.Topics[0].Partitions = []kmsg.ListOffsetsRequestTopicPartition{p}
	c.wantCode(ask[*kmsg.ListOffsetsResponse](c, 7, q).Topics[0].Partitions[0].ErrorCode, kerr.UnknownLeaderEpoch)
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	e := newEnv(t, options{})
	tp := e.create("orders", 1, nil)
	c := e.dial()
	c.produce(tp, 0, 4)
	for version := int16(2); version <= 4; version++ {
		for _, f := range []struct {
			current, asked, epoch int32
			end                   int64
			want                  kerr.Code
		}{{-1, 0, 0, 4, kerr.None}, {0, 5, -1, -1, kerr.None}, {2, 0, -1, -1, kerr.UnknownLeaderEpoch}} {
			q := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch, p.LeaderEpoch = f.current, f.asked
			q.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			out := ask[*kmsg.OffsetForLeaderEpochResponse](c, version, q).Topics[0].Partitions[0]
			if kerr.Code(out.ErrorCode) != f.want || out.LeaderEpoch != f.epoch || out.EndOffset != f.end {
				t.Errorf("v%d: %+v: %+v", version, f, out)
			}
		}
	}
}

func describeConfigsRequest(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	q := kmsg.NewPtrDescribeConfigsRequest()
	q.IncludeSynonyms, q.IncludeDocumentation = true, true
	q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	return q
}

func TestDescribeConfigs(t *testing.T) {
	e := newEnv(t, options{})
	e.create("connect-offsets", 1, map[string]string{"cleanup.policy": "compact"})
	c := e.dial()
	for version := int16(1); version <= 4; version++ {
		r := ask[*kmsg.DescribeConfigsResponse](c, version, describeConfigsRequest(kmsg.ConfigResourceTypeTopic, "connect-offsets", "cleanup.policy", "no.such")).Resources[0]
		if r.ErrorCode != 0 || len(r.Configs) != 1 {
			t.Fatalf("v%d: %+v", version, r)
		}
		k := r.Configs[0]
		if *k.Value != "compact" || k.Source != kmsg.ConfigSourceDynamicTopicConfig || k.ConfigSynonyms[0].Name != "cleanup.policy" ||
			k.ConfigSynonyms[1].Name != "log.cleanup.policy" || version >= 3 && (k.ConfigType != kmsg.ConfigTypeList || k.Documentation == nil) {
			t.Errorf("v%d: %+v", version, k)
		}
	}
	all := ask[*kmsg.DescribeConfigsResponse](c, 4, describeConfigsRequest(kmsg.ConfigResourceTypeTopic, "connect-offsets")).Resources[0]
	if len(all.Configs) < 30 {
		t.Errorf("%d keys", len(all.Configs))
	}
	f := func(kind kmsg.ConfigResourceType, name string, want kerr.Code) kmsg.DescribeConfigsResponseResource {
		t.Helper()
		r := ask[*kmsg.DescribeConfigsResponse](c, 4, describeConfigsRequest(kind, name)).Resources[0]
		c.wantCode(r.ErrorCode, want)
		return r
	}
	f(kmsg.ConfigResourceTypeTopic, "nope", kerr.UnknownTopicOrPartition)
	f(kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest)
	f(kmsg.ConfigResourceTypeGroupConfig, "", kerr.InvalidRequest)
	f(kmsg.ConfigResourceTypeGroupConfig, "g", kerr.None)
	f(99, "g", kerr.InvalidRequest)
	f(kmsg.ConfigResourceTypeBrokerLogger, "1", kerr.None)
	if r := f(kmsg.ConfigResourceTypeBroker, "", kerr.None); len(r.Configs) != 0 {
		t.Errorf("%+v", r.Configs)
	}
	shown := false
	for _, k := range f(kmsg.ConfigResourceTypeBroker, "1", kerr.None).Configs {
		shown = shown || k.Name == "inter.broker.protocol.version" && *k.Value == "4.2-IV1"
	}
	if !shown {
		t.Error("tools cannot tell the version")
	}
}

func TestAlterConfigs(t *testing.T) {
	e := newEnv(t, options{})
	e.create("orders", 1, map[string]string{"retention.ms": "1000"})
	c := e.dial()
	alter := func(kind kmsg.ConfigResourceType, name string, configs ...kmsg.IncrementalAlterConfigsRequestResourceConfig) (kerr.Code, string) {
		t.Helper()
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: configs}}
		r := ask[*kmsg.IncrementalAlterConfigsResponse](c, 1, q).Resources[0]
		if r.ErrorMessage == nil {
			return kerr.Code(r.ErrorCode), ""
		}
		return kerr.Code(r.ErrorCode), *r.ErrorMessage
	}
	change := func(op kmsg.IncrementalAlterConfigOp, key, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Op: op, Value: kmsg.StringPtr(value)}
	}
	overrides := func() map[string]string {
		tp, _ := e.catalog.Topic("orders")
		return tp.Settings.Overrides
	}
	topics, brokers := kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	f := func(want kerr.Code, kind kmsg.ConfigResourceType, name string, configs ...kmsg.IncrementalAlterConfigsRequestResourceConfig) string {
		t.Helper()
		code, m := alter(kind, name, configs...)
		if code != want {
			t.Errorf("%v: %s %q, want %s", configs, code.Name(), m, want.Name())
		}
		return m
	}
	set, del, add, sub := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	f(kerr.None, topics, "orders", change(set, "segment.ms", "5000"), change(add, "cleanup.policy", "compact"))
	if o := overrides(); o["segment.ms"] != "5000" || o["retention.ms"] != "1000" || o["cleanup.policy"] != "delete,compact" {
		t.Errorf("%v", o)
	}
	f(kerr.None, topics, "orders", change(sub, "cleanup.policy", "delete"), kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "retention.ms", Op: del})
	if o := overrides(); o["cleanup.policy"] != "compact" || len(o) != 2 {
		t.Errorf("%v", o)
	}
	if m := f(kerr.InvalidConfig, topics, "orders", change(set, "retention.ms", "-9")); !strings.Contains(m, "retention.ms") || !strings.Contains(m, "-1") {
		t.Errorf("message %q", m)
	}
	f(kerr.InvalidConfig, topics, "orders", change(set, "no.such", "1"))
	f(kerr.InvalidConfig, topics, "orders", change(add, "retention.ms", "1"))
	f(kerr.InvalidRequest, topics, "orders", kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "retention.ms", Op: set})
	f(kerr.InvalidRequest, topics, "orders", change(set, "retention.ms", "1"), change(set, "retention.ms", "2"))
	f(kerr.InvalidRequest, topics, "orders", change(9, "retention.ms", "1"))
	f(kerr.UnknownTopicOrPartition, topics, "nope", change(set, "retention.ms", "1"))
	f(kerr.None, brokers, "", change(set, "log.retention.ms", "7000"))
	f(kerr.None, brokers, "1", change(set, "log.retention.ms", "8000"))
	f(kerr.InvalidRequest, brokers, "", change(set, "broker.id", "9"))
	f(kerr.InvalidRequest, brokers, "77", change(set, "log.retention.ms", "8000"))
	f(kerr.InvalidRequest, kmsg.ConfigResourceTypeBrokerLogger, "1", change(set, "root", "INFO"))
	if tp, _ := e.catalog.Topic("orders"); tp.Settings.RetentionMs != 8000 {
		t.Errorf("retention %d", tp.Settings.RetentionMs)
	}

	q := kmsg.NewPtrAlterConfigsRequest()
	q.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: topics, ResourceName: "orders",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "flush.ms", Value: kmsg.StringPtr("9")}}}}
	c.wantCode(ask[*kmsg.AlterConfigsResponse](c, 2, q).Resources[0].ErrorCode, kerr.None)
	if o := overrides(); len(o) != 1 || o["flush.ms"] != "9" {
		t.Errorf("%v", o)
	}
	q.Resources = append(q.Resources, q.Resources[0])
	for _, r := range ask[*kmsg.AlterConfigsResponse](c, 0, q).Resources {
		c.wantCode(r.ErrorCode, kerr.InvalidRequest)
	}
}

func TestDescribeCluster(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	for version := range int16(3) {
		q := kmsg.NewPtrDescribeClusterRequest()
		q.EndpointType = 1
		resp := ask[*kmsg.DescribeClusterResponse](c, version, q)
		if resp.ErrorCode != 0 || resp.ClusterID != e.catalog.ClusterID() || resp.ControllerID != selfID || len(resp.Brokers) != 1 || resp.ClusterAuthorizedOperations != notAsked {
			t.Errorf("v%d: %+v", version, resp)
		}
	}
	for kind, want := range map[int8]kerr.Code{2: kerr.MismatchedEndpointType, 9: kerr.UnsupportedEndpointType} {
		q := kmsg.NewPtrDescribeClusterRequest()
		q.EndpointType = kind
		c.wantCode(ask[*kmsg.DescribeClusterResponse](c, 1, q).ErrorCode, want)
	}
}

func TestDescribeTopicPartitionsPages(t *testing.T) {
	e := newEnv(t, options{})
	for _, name := range []string{"b", "a", "c"} {
		e.create(name, 3, nil)
	}
	c := e.dial()
	walk := func(limit int32, names ...string) (out []string, pages int) {
		q := kmsg.NewPtrDescribeTopicPartitionsRequest()
		q.ResponsePartitionLimit = limit
		for _, name := range names {
			q.Topics = append(q.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		for {
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](c, 0, q)
			pages++
			for _, t := range resp.Topics {
				if t.ErrorCode != 0 {
					out = append(out, *t.Topic+"!"+kerr.Code(t.ErrorCode).Name())
				}
				for _, p := range t.Partitions {
					if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
						out = append(out, "null") // what Java's admin client trips over
					}
					out = append(out, fmt.Sprintf("%s%d", *t.Topic, p.Partition))
				}
			}
			if resp.NextCursor == nil {
				return out, pages
			}
			q.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
	}
	all := []string{"a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"}
	for limit, want := range map[int32]int{2: 5, 3: 3, 4: 3, 9: 1, 0: 9, -1: 9, 2000: 1} {
		if got, pages := walk(limit); !slices.Equal(got, all) || pages != want {
			t.Errorf("limit %d: %v in %d pages, want %d", limit, got, pages, want)
		}
	}
	if got, _ := walk(2, "c", "nope", "a", "a"); !slices.Equal(got, []string{"a0", "a1", "a2", "c0", "c1", "c2", "nope!UNKNOWN_TOPIC_OR_PARTITION"}) {
		t.Errorf("%v", got)
	}
	q := kmsg.NewPtrDescribeTopicPartitionsRequest()
	q.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "a"}}
	q.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "a", Partition: -1}
	c.wantCode(ask[*kmsg.DescribeTopicPartitionsResponse](c, 0, q).Topics[0].ErrorCode, kerr.InvalidRequest)
	q.Cursor.Partition = 2147483647
	if resp := ask[*kmsg.DescribeTopicPartitionsResponse](c, 0, q); resp.NextCursor != nil || len(resp.Topics[0].Partitions) != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestDescribeLogDirsAndListConfigResources(t *testing.T) {
	e := newEnv(t, options{config: Config{LogDir: "data/express"}})
	tp := e.create("orders", 2, nil)
	c := e.dial()
	c.produce(tp, 1, 10)
	for version := int16(1); version <= 4; version++ {
		resp := ask[*kmsg.DescribeLogDirsResponse](c, version, kmsg.NewPtrDescribeLogDirsRequest())
		d := resp.Dirs[0]
		if d.Dir != "data/express" || len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 2 || d.Topics[0].Partitions[1].Size == 0 || d.TotalBytes != -1 {
			t.Errorf("v%d: %+v", version, d)
		}
	}
	q := kmsg.NewPtrDescribeLogDirsRequest()
	q.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "orders", Partitions: []int32{1, 1, 9}}, {Topic: "nope"}, {Topic: "orders", Partitions: []int32{1}}}
	if d := ask[*kmsg.DescribeLogDirsResponse](c, 4, q).Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 {
		t.Errorf("%+v", d)
	}

	list := func(version int16, kinds ...int8) (kerr.Code, int) {
		q := kmsg.NewPtrListConfigResourcesRequest()
		q.ResourceTypes = kinds
		resp := ask[*kmsg.ListConfigResourcesResponse](c, version, q)
		return kerr.Code(resp.ErrorCode), len(resp.ConfigResources)
	}
	for _, f := range []struct {
		version int16
		kinds   []int8
		want    int
		code    kerr.Code
	}{{0, nil, 0, kerr.None}, {1, nil, 3, kerr.None}, {1, []int8{2}, 1, kerr.None}, {1, []int8{4, 16, 32}, 1, kerr.None}, {1, []int8{3}, 0, kerr.UnsupportedVersion}} {
		if code, n := list(f.version, f.kinds...); code != f.code || n != f.want {
			t.Errorf("%+v: %s, %d", f, code.Name(), n)
		}
	}
}

// Gotcha 17: producers are idempotent by default, so InitProducerId works without a transactional id.
func TestGotcha17InitProducerID(t *testing.T) {
	e := newEnv(t, options{})
	c := e.dial()
	seen := map[int64]bool{}
	for version := range int16(6) {
		q := kmsg.NewPtrInitProducerIDRequest()
		resp := ask[*kmsg.InitProducerIDResponse](c, version, q)
		if resp.ErrorCode != 0 || seen[resp.ProducerID] || resp.ProducerID < 0 || resp.ProducerEpoch != 0 {
			t.Errorf("v%d: %+v", version, resp)
		}
		seen[resp.ProducerID] = true
	}
}
