package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"millrace/express/api/told"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// DeleteRecords: v0-2. v1 throttle, v2 flexible (KIP-107).
//
// Offset -1 deletes all that can be read. The answer comes when the new log start is durable.

// deleteRecordsAtOnce bounds how many partitions of a request are worked on at once.
const deleteRecordsAtOnce = 16

func (a *API) deleteRecords(ctx context.Context, c caller, req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	var g errgroup.Group
	g.SetLimit(deleteRecordsAtOnce)
	for i, t := range req.Topics {
		out := &resp.Topics[i]
		*out = kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		allowed := a.mayTopic(c, kmsg.ACLOperationDelete, t.Topic)
		for j, in := range t.Partitions {
			p := &out.Partitions[j]
			*p = kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition = in.Partition
			if !allowed {
				p.LowWatermark, p.ErrorCode = -1, int16(kerr.TopicAuthorizationFailed)
				continue
			}
			g.Go(func() error {
				low, err := a.deletePartitionRecords(ctx, t.Topic, in)
				p.LowWatermark, p.ErrorCode = low, int16(a.code(err))
				return nil
			})
		}
	}
	_ = g.Wait() // no function of it fails
	for _, t := range resp.Topics {
		if a.mayTopic(c.looking(), kmsg.ACLOperationDelete, t.Topic) {
			a.recordAdmin(c, change{resource: "topic/" + t.Topic, after: told.Rows(t.Partitions)})
		}
	}
	return resp
}

// deletePartitionRecords returns the new log start; -1 with an error.
func (a *API) deletePartitionRecords(ctx context.Context, name string, in kmsg.DeleteRecordsRequestTopicPartition) (int64, error) {
	if topic.Internal(name) {
		return -1, kerr.InvalidTopicException
	}
	p, code := a.findByName(name, in.Partition)
	if code != kerr.None {
		return -1, code
	}
	low, err := p.DeleteRecords(ctx, in.Offset)
	if err != nil {
		return -1, err
	}
	return low, nil
}
