package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// DescribeProducers: v0 (KIP-664).

func (a *API) describeProducers(_ context.Context, c caller, req *kmsg.DescribeProducersRequest) *kmsg.DescribeProducersResponse {
	resp := kmsg.NewPtrDescribeProducersResponse()
	for _, t := range req.Topics {
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = t.Topic
		allowed := a.mayTopic(c, kmsg.ACLOperationRead, t.Topic)
		for _, index := range t.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			part, code := a.findByName(t.Topic, index)
			if topic.ValidateName(t.Topic) != nil {
				code = kerr.InvalidTopicException
			}
			if !allowed {
				code = kerr.TopicAuthorizationFailed
			}
			if code != kerr.None {
				p.ErrorCode = int16(code)
				p.ErrorMessage = message(code, code)
				out.Partitions = append(out.Partitions, p)
				continue
			}
			for _, known := range part.ActiveProducers() {
				active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				active.ProducerID, active.ProducerEpoch = known.ID, int32(known.Epoch)
				active.LastSequence, active.LastTimestamp = known.LastSequence, known.Timestamp
				active.CoordinatorEpoch, active.CurrentTxnStartOffset = known.CoordinatorEpoch, known.TxnStart
				p.ActiveProducers = append(p.ActiveProducers, active)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
