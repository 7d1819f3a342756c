package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
)

// OffsetForLeaderEpoch: v2-4.
//
//   - v2 current leader epoch (KIP-320; librdkafka sends exactly this version), v3 replica id, v4 flexible
//
// It answers with the largest epoch at or below the one asked for, and the offset at which that ended.

func (a *API) offsetForLeaderEpoch(_ context.Context, c caller, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	all := a.mayCluster(c.looking(), kmsg.ACLOperationClusterAction)
	for _, t := range req.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		allowed := all || a.mayTopic(c, kmsg.ACLOperationDescribe, t.Topic)
		for _, in := range t.Partitions {
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.LeaderEpoch, p.EndOffset = in.Partition, -1, -1
			if !allowed {
				p.ErrorCode = int16(kerr.TopicAuthorizationFailed)
			} else {
				a.epochEnd(t.Topic, in, &p)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (a *API) epochEnd(name string, in kmsg.OffsetForLeaderEpochRequestTopicPartition, out *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
	p, code := a.findByName(name, in.Partition)
	if code == kerr.None {
		code = a.code(p.CheckEpoch(in.CurrentLeaderEpoch))
	}
	if code != kerr.None {
		out.ErrorCode = int16(code)
		return
	}
	epoch, end := p.EpochEnd(in.LeaderEpoch)
	if !a.world.Leads() { // another may lead since, and have acknowledged more of this epoch: a client that has read that would think it lost
		out.ErrorCode = int16(kerr.NotLeaderOrFollower)
		return
	}
	out.LeaderEpoch, out.EndOffset = epoch, end
}
