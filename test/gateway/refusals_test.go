package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
	"millrace/test/harness"
)

// TestRefusalsAreKafkas sends the same requests to Apache Kafka with its own authorizer and through the gateway to one without, with the
// same things refused to the same principal, and compares every error code and everything that is listed.
func TestRefusalsAreKafkas(t *testing.T) {
	harness.Long(t, "make suite SUITE=gateway")
	direct := harness.StartKafka(t, harness.KafkaOptions{Properties: map[string]string{
		"authorizer.class.name":          "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found": "true",
	}})
	plain := harness.StartKafka(t, harness.KafkaOptions{})
	f := start(t, plain.Bootstrap, nil)
	theirs := prepare(t, direct.Bootstrap)
	ours := prepare(t, plain.Bootstrap)
	denyInKafka(t, theirs)
	for _, what := range []string{"TOPIC secret", "GROUP secret", "TRANSACTIONAL_ID secret"} {
		f.judge.deny("* * " + what)
	}
	f.judge.deny("* DELETE CLUSTER *", "* CREATE CLUSTER *")
	through := &side{c: f.client(t, "alice"), ids: ours.ids}
	for _, one := range refusals(t) {
		t.Run(one.name, func(t *testing.T) {
			want, got := theirs.ask(t, one.make), through.ask(t, one.make)
			if !slices.Equal(want, got) {
				t.Errorf("through the gateway:\n  %s\nApache Kafka:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

// side is one way to a cluster.
type side struct {
	c   *kgo.Client
	ids map[string][16]byte
}

// prepare makes the same state in a cluster.
func prepare(t *testing.T, bootstrap string) *side {
	s := &side{c: newClient(t, bootstrap), ids: map[string][16]byte{"missing": {9}}}
	admin := kadm.NewClient(s.c)
	for _, name := range []string{"open", "secret"} {
		createTopic(t, bootstrap, name, 1, 1)
	}
	harness.Eventually(t, patience, "the topics are known", func(ctx context.Context) error {
		meta, err := admin.Metadata(ctx, "open", "secret")
		if err != nil {
			return err
		}
		for _, name := range []string{"open", "secret"} {
			if meta.Topics[name].Err != nil || meta.Topics[name].ID == (kadm.TopicID{}) {
				return errors.New("not yet")
			}
			s.ids[name] = meta.Topics[name].ID
		}
		return nil
	})
	for _, group := range []string{"open", "secret"} {
		harness.Eventually(t, patience, "offsets are committed", func(ctx context.Context) error {
			offsets := kadm.Offsets{}
			offsets.AddOffset("open", 0, 1, -1)
			offsets.AddOffset("secret", 0, 1, -1)
			resp, err := admin.CommitOffsets(ctx, group, offsets)
			return errors.Join(err, resp.Error())
		})
	}
	return s
}

func denyInKafka(t *testing.T, s *side) {
	b := kadm.NewACLs().Deny("User:ANONYMOUS").DenyHosts("*").Topics("secret").Groups("secret").TransactionalIDs("secret").Operations(kadm.OpAll)
	cluster := kadm.NewACLs().Deny("User:ANONYMOUS").DenyHosts("*").Clusters().Operations(kadm.OpDelete, kadm.OpCreate)
	// One ACL about the cluster, and all else about it needs one: the brokers themselves are anonymous here.
	all := kadm.NewACLs().Allow("User:ANONYMOUS").AllowHosts("*").Clusters().Operations(kadm.OpAll)
	admin := kadm.NewClient(s.c)
	for _, b := range []*kadm.ACLBuilder{all, cluster, b} {
		if err := b.ValidateCreate(); err != nil {
			t.Fatal(err)
		}
		created, err := admin.CreateACLs(deadline(t), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range created {
			if c.Err != nil {
				t.Fatal(c.Err)
			}
		}
	}
	harness.Eventually(t, patience, "the ACLs count", func(ctx context.Context) error {
		meta, err := admin.Metadata(ctx, "secret")
		switch {
		case errors.Is(err, kerr.TopicAuthorizationFailed) || err == nil && errors.Is(meta.Topics["secret"].Err, kerr.TopicAuthorizationFailed):
			return nil
		case err == nil:
			return errors.New("not yet")
		default:
			return err
		}
	})
}

// ask sends a request and flattens the answer.
func (s *side) ask(t *testing.T, build func(ids map[string][16]byte) kmsg.Request) []string {
	t.Helper()
	resp, err := s.c.Broker(1).RetriableRequest(deadline(t), build(s.ids))
	if err != nil {
		t.Fatal(err)
	}
	names := map[[16]byte]string{}
	for name, id := range s.ids {
		names[id] = name
	}
	var out []string
	flatten(reflect.ValueOf(resp).Elem(), resp.Key() == int16(kmsg.Metadata), "", names, &out)
	sort.Strings(out)
	return out
}

// flatten lists the error codes of an answer, each with the names on the way to it.
func flatten(v reflect.Value, lists bool, path string, names map[[16]byte]string, out *[]string) {
	here := path
	for i := range v.NumField() {
		switch name, f := v.Type().Field(i).Name, v.Field(i); name {
		case "Topic", "Group", "GroupID", "TransactionalID", "ResourceName", "Key", "CoordinatorKey":
			text := fmt.Sprint(f.Interface())
			if f.Kind() == reflect.Pointer {
				text = "null"
				if !f.IsNil() {
					text = f.Elem().String()
				}
			}
			if text != "" {
				here += "/" + text
			}
		case "TopicID":
			if name, ok := names[f.Interface().([16]byte)]; ok {
				here += "/id of " + name
			}
		case "Partition":
			here += fmt.Sprintf("/%d", f.Int())
		}
	}
	if code := v.FieldByName("ErrorCode"); code.IsValid() {
		*out = append(*out, fmt.Sprintf("%s: %d", here, code.Int()))
	}
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Struct || v.Type().Field(i).Name == "Configs" {
			continue
		}
		for j := range f.Len() {
			flatten(f.Index(j), lists, here, names, out)
		}
	}
}

// refusal is one request.
type refusal struct {
	name string
	make func(ids map[string][16]byte) kmsg.Request
}

var both = []string{"open", "secret"}

func refusals(t *testing.T) []refusal {
	var all []refusal
	add := func(name string, build func(ids map[string][16]byte) kmsg.Request) {
		all = append(all, refusal{name, build})
	}
	topicRefusals(t, add)
	groupRefusals(add)
	transactionRefusals(add)
	return all
}

type adder func(name string, build func(ids map[string][16]byte) kmsg.Request)

func batch(t *testing.T) []byte {
	b := record.NewBuilder(record.Options{})
	if err := b.Add(1, nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func topicRefusals(t *testing.T, add adder) {
	add("Metadata", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		for _, name := range []string{"open", "secret", "missing"} {
			x := kmsg.NewMetadataRequestTopic()
			x.Topic = &name
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("Metadata by id", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrMetadataRequest()
		for _, id := range [][16]byte{ids["open"], ids["secret"], {9}} {
			x := kmsg.NewMetadataRequestTopic()
			x.TopicID = id
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("Produce", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 5000
		for _, name := range both {
			x := kmsg.NewProduceRequestTopic()
			x.Topic, x.TopicID = name, ids[name]
			p := kmsg.NewProduceRequestTopicPartition()
			p.Records = batch(t)
			x.Partitions = append(x.Partitions, p)
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("Fetch", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = 1<<20, -1
		for _, name := range append(both, "missing") {
			x := kmsg.NewFetchRequestTopic()
			x.Topic, x.TopicID = name, ids[name]
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1 << 20
			x.Partitions = append(x.Partitions, p)
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("ListOffsets", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrListOffsetsRequest()
		for _, name := range append(both, "missing") {
			x := kmsg.NewListOffsetsRequestTopic()
			x.Topic = name
			x.Partitions = append(x.Partitions, kmsg.NewListOffsetsRequestTopicPartition())
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("OffsetForLeaderEpoch", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		for _, name := range both {
			x := kmsg.NewOffsetForLeaderEpochRequestTopic()
			x.Topic = name
			x.Partitions = append(x.Partitions, kmsg.NewOffsetForLeaderEpochRequestTopicPartition())
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("DeleteRecords", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDeleteRecordsRequest()
		for _, name := range both {
			x := kmsg.NewDeleteRecordsRequestTopic()
			x.Topic = name
			x.Partitions = append(x.Partitions, kmsg.NewDeleteRecordsRequestTopicPartition())
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("DescribeProducers", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeProducersRequest()
		for _, name := range both {
			req.Topics = append(req.Topics, kmsg.DescribeProducersRequestTopic{Topic: name, Partitions: []int32{0}})
		}
		return req
	})
	add("DescribeTopicPartitions", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		for _, name := range both {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		return req
	})
	add("DescribeTopicPartitions of all", func(map[string][16]byte) kmsg.Request { return kmsg.NewPtrDescribeTopicPartitionsRequest() })
	configRefusals(add)
}

func configRefusals(add adder) {
	add("DescribeConfigs", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range both {
			for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeGroupConfig} {
				x := kmsg.NewDescribeConfigsRequestResource()
				x.ResourceType, x.ResourceName = kind, name
				req.Resources = append(req.Resources, x)
			}
		}
		return req
	})
	add("IncrementalAlterConfigs", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, name := range both {
			x := kmsg.NewIncrementalAlterConfigsRequestResource()
			x.ResourceType, x.ResourceName = kmsg.ConfigResourceTypeTopic, name
			x.Configs = append(x.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "retention.ms", Value: kmsg.StringPtr("3600000")})
			req.Resources = append(req.Resources, x)
		}
		return req
	})
	add("CreateTopics", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.ValidateOnly = true
		for _, name := range []string{"new", "open", "secret"} {
			x := kmsg.NewCreateTopicsRequestTopic()
			x.Topic, x.NumPartitions, x.ReplicationFactor = name, 1, 1
			req.Topics = append(req.Topics, x)
		}
		return req
	})
	add("CreatePartitions", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.ValidateOnly, req.TimeoutMillis = true, 5000
		for _, name := range both {
			req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: 2})
		}
		return req
	})
	add("DeleteTopics", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 5000
		req.TopicNames = []string{"secret", "missing"}
		for _, name := range req.TopicNames {
			req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr(name)})
		}
		return req
	})
	add("DeleteTopics by id", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 5000
		req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{TopicID: ids["secret"]}, kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{9}})
		return req
	})
}

func groupRefusals(add adder) {
	for _, group := range both {
		add("FindCoordinator of a share partition "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorType, req.CoordinatorKeys = 2, []string{group + ":AAAAAAAAAAAAAAAAAAAAAQ:0"}
			return req
		})
		add("OffsetCommit "+group, func(ids map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.Generation = group, -1
			for _, name := range both {
				x := kmsg.NewOffsetCommitRequestTopic()
				x.Topic, x.TopicID = name, ids[name]
				x.Partitions = append(x.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
				req.Topics = append(req.Topics, x)
			}
			return req
		})
		add("JoinGroup "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = group, 10, 10, "x" // too short a session
			return req
		})
		add("Heartbeat "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.MemberID = group, "m"
			return req
		})
		add("ConsumerGroupHeartbeat "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Group, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = group, "m", 5, both
			return req
		})
		add("ShareGroupHeartbeat "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrShareGroupHeartbeatRequest()
			req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = group, "m", 5, both
			return req
		})
		add("OffsetDelete "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = group
			req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: "secret", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}})
			return req
		})
		add("FindCoordinator "+group, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKeys = []string{group}
			return req
		})
	}
	describeRefusals(add)
}

func describeRefusals(add adder) {
	add("OffsetFetch", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrOffsetFetchRequest()
		for _, group := range both {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = group
			for _, name := range both {
				g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: name, Partitions: []int32{0}})
			}
			req.Groups = append(req.Groups, g)
		}
		req.SetVersion(9)
		return pinned{req, 9}
	})
	add("OffsetFetch of all", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "open"
		req.Groups = append(req.Groups, g)
		return pinned{req, 9}
	})
	add("DescribeGroups", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = both
		return req
	})
	add("ConsumerGroupDescribe", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = both
		return req
	})
	add("ShareGroupDescribe", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrShareGroupDescribeRequest()
		req.GroupIDs = both
		return req
	})
	add("DescribeShareGroupOffsets", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		for _, group := range both {
			g := kmsg.DescribeShareGroupOffsetsRequestGroup{GroupID: group}
			for _, name := range both {
				g.Topics = append(g.Topics, kmsg.DescribeShareGroupOffsetsRequestGroupTopic{Topic: name, Partitions: []int32{0}})
			}
			req.Groups = append(req.Groups, g)
		}
		return req
	})
	add("ShareFetch", func(ids map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrShareFetchRequest()
		req.GroupID, req.MemberID = kmsg.StringPtr("secret"), kmsg.StringPtr("AAAAAAAAAAAAAAAAAAAAAA")
		return req
	})
	add("ListGroups", func(map[string][16]byte) kmsg.Request { return kmsg.NewPtrListGroupsRequest() })
	add("DeleteGroups", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"secret", "missing"}
		return req
	})
}

// pinned is a request in one version.
type pinned struct {
	kmsg.Request
	version int16
}

func (p pinned) MaxVersion() int16 { return p.version }

func transactionRefusals(add adder) {
	id := "secret"
	add("InitProducerID", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &id, 1000, -1, -1
		return req
	})
	for _, tx := range both {
		add("AddPartitionsToTxn "+tx, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.TransactionalID, req.ProducerID = tx, 77
			for _, name := range both {
				req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: []int32{0}})
			}
			return pinned{req, 3}
		})
		for _, version := range []int16{4, 5} {
			add(fmt.Sprintf("AddPartitionsToTxn of brokers %s, version %d", tx, version), func(map[string][16]byte) kmsg.Request {
				req := kmsg.NewPtrAddPartitionsToTxnRequest()
				one := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: tx, ProducerID: 77}
				for _, name := range both {
					one.Topics = append(one.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: name, Partitions: []int32{0}})
				}
				req.Transactions = append(req.Transactions, one)
				return pinned{req, version}
			})
		}
		add("AddOffsetsToTxn "+tx, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrAddOffsetsToTxnRequest()
			req.TransactionalID, req.Group, req.ProducerID = tx, "secret", 77
			return req
		})
		add("EndTxn "+tx, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrEndTxnRequest()
			req.TransactionalID, req.ProducerID = "secret", 77
			return req
		})
		add("TxnOffsetCommit "+tx, func(map[string][16]byte) kmsg.Request {
			req := kmsg.NewPtrTxnOffsetCommitRequest()
			req.TransactionalID, req.Group, req.ProducerID = tx, "secret", 77
			x := kmsg.NewTxnOffsetCommitRequestTopic()
			x.Topic = "open"
			x.Partitions = append(x.Partitions, kmsg.NewTxnOffsetCommitRequestTopicPartition())
			req.Topics = append(req.Topics, x)
			return pinned{req, 4}
		})
	}
	add("DescribeTransactions", func(map[string][16]byte) kmsg.Request {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{"secret", "missing"}
		return req
	})
}
