package logins

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/secure/iam/action"
	"millrace/secure/iam/iamtest"
)

func metadata() *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	return req
}

// named are the names of a call's resources of a kind.
func named(call iamtest.Call, kind action.Kind) (all []string) {
	for _, on := range call.On {
		if on.Kind == kind {
			all = append(all, on.Name)
		}
	}
	return all
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// codes are the answers for each resource that is answered by itself.
type codes map[iamtest.On]int16

func (c codes) topic(name string, code int16) { c[iamtest.On{Kind: action.OnTopic, Name: name}] = code }
func (c codes) group(name string, code int16) { c[iamtest.On{Kind: action.OnGroup, Name: name}] = code }
func (c codes) txn(name string, code int16) {
	c[iamtest.On{Kind: action.OnTransactionalID, Name: name}] = code
}
func (c codes) cluster(code int16) { c[iamtest.On{Kind: action.OnCluster}] = code }

// asked is a call as it goes over the wire: its request, and what of the answer is about what.
type asked struct {
	request kmsg.Request
	read    func(kmsg.Response, codes)
}

// ask sends a call to a broker. The codes are of resources that the answer tells of one by one.
func ask(ctx context.Context, b *kgo.Broker, call iamtest.Call) (map[iamtest.On]int16, error) {
	for _, family := range []func(iamtest.Call) (asked, bool){topicCall, dataCall, groupCall, offsetCall, txnCall, clusterCall} {
		a, ok := family(call)
		if !ok {
			continue
		}
		resp, err := b.Request(ctx, a.request)
		if err != nil {
			return nil, err
		}
		got := codes{}
		a.read(resp, got)
		return got, nil
	}
	return nil, fmt.Errorf("no request for %s", call.API)
}

// topicCall is about topics as such. None of it changes anything where it is allowed: the topics are not there, or it only validates.
func topicCall(call iamtest.Call) (asked, bool) {
	topics := named(call, action.OnTopic)
	switch call.API {
	case "Metadata":
		req := metadata()
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.MetadataResponse).Topics {
				c.topic(*t.Topic, t.ErrorCode)
			}
		}}, true
	case "DescribeTopicPartitions":
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 100
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DescribeTopicPartitionsResponse).Topics {
				c.topic(*t.Topic, t.ErrorCode)
			}
		}}, true
	case "CreateTopics":
		req := kmsg.NewPtrCreateTopicsRequest()
		req.ValidateOnly = true
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: 1, ReplicationFactor: 1})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.CreateTopicsResponse).Topics {
				c.topic(t.Topic, t.ErrorCode)
			}
		}}, true
	case "CreatePartitions":
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.ValidateOnly = true
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: 3})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.CreatePartitionsResponse).Topics {
				c.topic(t.Topic, t.ErrorCode)
			}
		}}, true
	case "DeleteTopics":
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TopicNames = topics
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DeleteTopicsResponse).Topics {
				c.topic(*t.Topic, t.ErrorCode)
			}
		}}, true
	}
	return asked{}, false
}

// oneRecord is a batch with one record without a value, by nobody.
var oneRecord = []byte{
	0, 0, 0, 0, 0, 0, 0, 0, // base offset
	0, 0, 0, 56, 0, 0, 0, 0, 2, // length, leader epoch, magic
	0, 0, 0, 0, // the checksum: nothing gets as far as looking at it
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
	0, 0, 0, 1, 12, 0, 0, 0, 1, 1, 0,
}

// dataCall is about what topics hold.
func dataCall(call iamtest.Call) (asked, bool) {
	topics := named(call, action.OnTopic)
	switch call.API {
	case "Produce":
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 5000
		if id := first(named(call, action.OnTransactionalID)); id != "" {
			req.TransactionID = &id
		}
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: name, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: transactional(req.TransactionID != nil)}}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.ProduceResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "Fetch":
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = 1<<20, -1
		for _, name := range topics {
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1 << 20
			req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: name, Partitions: []kmsg.FetchRequestTopicPartition{p}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.FetchResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "ListOffsets":
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		for _, name := range topics {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp = -1
			req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.ListOffsetsResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "OffsetForLeaderEpoch":
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		for _, name := range topics {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			req.Topics = append(req.Topics, kmsg.OffsetForLeaderEpochRequestTopic{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.OffsetForLeaderEpochResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "DeleteRecords":
		req := kmsg.NewPtrDeleteRecordsRequest()
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DeleteRecordsRequestTopic{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DeleteRecordsResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	case "DescribeProducers":
		req := kmsg.NewPtrDescribeProducersRequest()
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeProducersRequestTopic{Topic: name, Partitions: []int32{0}})
		}
		return asked{req, func(r kmsg.Response, c codes) {
			for _, t := range r.(*kmsg.DescribeProducersResponse).Topics {
				c.topic(t.Topic, t.Partitions[0].ErrorCode)
			}
		}}, true
	}
	return asked{}, false
}

func transactional(yes bool) []byte {
	batch := append([]byte(nil), oneRecord...)
	if yes {
		batch[22] |= 0x10
	}
	return batch
}
