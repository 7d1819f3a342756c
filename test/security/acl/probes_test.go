package acl

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/test/security/madeup"
)

// Names that probes are about. Both sides have the first ones, made by world.
const (
	orders  = "orders"  // two partitions, records in the first
	secret  = "secret"  // likewise
	victim  = "victim"  // to be deleted; made again after each case
	absent  = "orders-" // no such topic, and a prefix pattern may name it
	group   = "team"    // has committed offsets of orders and secret
	txnID   = "tx"      // has been initialised
	openTxn = "tx-open" // has partitions of orders and secret in a transaction
)

// probe is one request. It changes nothing, or the same on both sides if it is allowed on both.
type probe struct {
	name string
	make func(ids map[string][16]byte) kmsg.Request
}

func at[Q kmsg.Request](version int16, q Q) Q {
	q.SetVersion(version)
	return q
}

func ptr[T any](v T) *T { return &v }

func produce(version int16, acks int16, txn *string, transactional bool, names ...string) probe {
	return probe{fmt.Sprintf("Produce v%d acks %d txn %v %v %v", version, acks, txn != nil, transactional, names), func(ids map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrProduceRequest()
		q.Acks, q.TimeoutMillis, q.TransactionID = acks, 5000, txn
		for _, n := range names {
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = n, ids[n]
			p := kmsg.NewProduceRequestTopicPartition()
			p.Records = madeup.Batch(transactional)
			if !transactional && acks != 2 {
				p.Partition = 7 // there is none: nothing is written
			}
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
		}
		return at(version, q)
	}}
}

func fetch(version int16, names ...string) probe {
	return probe{fmt.Sprintf("Fetch v%d %v", version, names), func(ids map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrFetchRequest()
		q.ReplicaID, q.MaxBytes, q.SessionEpoch = -1, 1<<20, -1
		for _, n := range names {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = n, ids[n]
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = 1<<20, -1, -1
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
		}
		return at(version, q)
	}}
}

// metadata asks for topics by name, by id, or for all.
func metadata(version int16, byID, all bool, names ...string) probe {
	return probe{fmt.Sprintf("Metadata v%d byID %v %v", version, byID, names), func(ids map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrMetadataRequest()
		q.IncludeClusterAuthorizedOperations = version >= 8 && version <= 10
		q.IncludeTopicAuthorizedOperations = version >= 8
		q.AllowAutoTopicCreation = !byID
		if all {
			return at(version, q)
		}
		for _, n := range names {
			t := kmsg.NewMetadataRequestTopic()
			if byID {
				t.TopicID = ids[n]
			} else {
				t.Topic = ptr(n)
			}
			q.Topics = append(q.Topics, t)
		}
		return at(version, q)
	}}
}

func commit(version int16) probe {
	return probe{fmt.Sprintf("OffsetCommit v%d", version), func(ids map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.Generation = group, -1
		for _, n := range []string{orders, secret, absent} {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = n, ids[n]
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.LeaderEpoch = -1
			t.Partitions = append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
		}
		return at(version, q)
	}}
}

func offsets(version int16, all bool) probe {
	return probe{fmt.Sprintf("OffsetFetch v%d all %v", version, all), func(ids map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Group = group
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberEpoch = group, -1
		for _, n := range []string{orders, secret, absent} {
			if all {
				break
			}
			q.Topics = append(q.Topics, kmsg.OffsetFetchRequestTopic{Topic: n, Partitions: []int32{0}})
			g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: n, TopicID: ids[n], Partitions: []int32{0}})
		}
		q.Groups = append(q.Groups, g)
		return at(version, q)
	}}
}

func coordinator(kind int8, keys ...string) probe {
	return probe{fmt.Sprintf("FindCoordinator %d", kind), func(map[string][16]byte) kmsg.Request {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorType, q.CoordinatorKeys = kind, keys
		return at(6, q)
	}}
}

// simple makes a probe of a request that does not depend on ids.
func simple[Q kmsg.Request](version int16, name string, make func() Q) probe {
	return probe{name, func(map[string][16]byte) kmsg.Request { return at(version, make()) }}
}

func describeConfigs(kind kmsg.ConfigResourceType, name string) probe {
	return simple(4, fmt.Sprintf("DescribeConfigs %v %s", kind, name), func() *kmsg.DescribeConfigsRequest {
		q := kmsg.NewPtrDescribeConfigsRequest()
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}}
		return q
	})
}

// alterConfigs changes nothing: it only asks whether it could.
func alterConfigs(kind kmsg.ConfigResourceType, name, key, value string) []probe {
	return []probe{
		simple(1, fmt.Sprintf("IncrementalAlterConfigs %v %s", kind, name), func() *kmsg.IncrementalAlterConfigsRequest {
			q := kmsg.NewPtrIncrementalAlterConfigsRequest()
			q.ValidateOnly = true
			q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name,
				Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}}}
			return q
		}),
		simple(2, fmt.Sprintf("AlterConfigs %v %s", kind, name), func() *kmsg.AlterConfigsRequest {
			q := kmsg.NewPtrAlterConfigsRequest()
			q.ValidateOnly = true
			q.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kind, ResourceName: name,
				Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: key, Value: &value}}}}
			return q
		}),
	}
}

// probes are all that is asked in each case, in this order.
func probes() []probe {
	all := []probe{
		produce(9, -1, nil, false, orders, secret, absent), produce(13, -1, nil, false, orders, secret, absent),
		produce(9, 2, nil, false, orders, secret, absent),
		produce(9, -1, ptr(txnID), false, orders, secret), produce(9, -1, ptr(txnID), true, orders, secret), produce(9, -1, nil, true, orders, secret),
		produce(13, -1, ptr("other"), true, orders, secret),
		fetch(12, orders, secret, absent), fetch(17, orders, secret, absent),
		metadata(0, false, true), metadata(8, false, true), metadata(13, false, true),
		metadata(7, false, false, orders, secret), metadata(10, false, false, orders, secret, "__consumer_offsets"),
		metadata(12, true, false, orders, secret, absent), metadata(12, false, false, "orders bad"),
		commit(8), commit(10),
		offsets(1, false), offsets(5, true), offsets(7, false), offsets(8, false), offsets(9, true), offsets(10, false), offsets(10, true),
		coordinator(0, group, "other"), coordinator(1, txnID, "other"), coordinator(2, group+":AAAAAAAAAAAAAAAAAAAAAQ:0"), coordinator(2, "bad"),
		describeConfigs(kmsg.ConfigResourceTypeTopic, orders), describeConfigs(kmsg.ConfigResourceTypeTopic, absent),
		describeConfigs(kmsg.ConfigResourceTypeBroker, "1"), describeConfigs(kmsg.ConfigResourceTypeBrokerLogger, "1"),
		describeConfigs(kmsg.ConfigResourceTypeGroupConfig, group), describeConfigs(kmsg.ConfigResourceTypeClientMetrics, "m"),
	}
	all = append(all, groupProbes()...)
	all = append(all, topicProbes()...)
	all = append(all, transactionProbes()...)
	for _, a := range [][3]string{{orders, "retention.ms", "1000"}, {absent, "retention.ms", "1000"}} {
		all = append(all, alterConfigs(kmsg.ConfigResourceTypeTopic, a[0], a[1], a[2])...)
	}
	all = append(all, alterConfigs(kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", "100000")...)
	all = append(all, alterConfigs(kmsg.ConfigResourceTypeGroupConfig, group, "consumer.session.timeout.ms", "45000")...)
	all = append(all, alterConfigs(kmsg.ConfigResourceTypeClientMetrics, "m", "interval.ms", "1000")...)
	all = append(all, clusterProbes()...)
	return append(all, shareProbes()...)
}
