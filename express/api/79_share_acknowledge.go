package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/share"
	"millrace/express/sharing"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// ShareAcknowledge: v1-2 (KIP-932). v2 renews locks (KIP-1222).

func (a *API) shareAcknowledge(ctx context.Context, c caller, req *kmsg.ShareAcknowledgeRequest) *kmsg.ShareAcknowledgeResponse {
	resp := kmsg.NewPtrShareAcknowledgeResponse()
	who, err := a.shareMember(c, req.GroupID, req.MemberID)
	if err == nil {
		err = a.world.Sharing.Use(who, req.ShareSessionEpoch)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = a.said(err)
		return resp
	}
	k := a.acknowledging(c, req.Version, req.IsRenewAck)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			var acks []share.Ack
			for _, b := range p.AcknowledgementBatches {
				acks = append(acks, share.Ack{First: b.FirstOffset, Last: b.LastOffset, Types: b.AcknowledgeTypes})
			}
			k.add(topic.Partition{Topic: t.TopicID, Index: p.Partition}, acks)
		}
	}
	k.run(ctx, who)
	if req.ShareSessionEpoch == sharing.EpochFinal {
		a.world.Sharing.End(who)
	}
	resp.AcquisitionLockTimeoutMillis = a.lockMillis(who.Group)
	for _, id := range k.order {
		p := kmsg.NewShareAcknowledgeResponseTopicPartition()
		p.Partition = id.Index
		p.ErrorCode, p.ErrorMessage = a.said(k.errs[id])
		if kerr.Code(p.ErrorCode) == kerr.NotLeaderOrFollower {
			if n, epoch, ok := a.shareLeader(id, c.listener()); ok {
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = n.ID, epoch
				resp.NodeEndpoints = append(resp.NodeEndpoints, kmsg.ShareAcknowledgeResponseNodeEndpoint{
					NodeID: n.ID, Host: n.Host, Port: n.Port, Rack: pointer(n.Rack),
				})
			}
		}
		n := len(resp.Topics)
		if n == 0 || resp.Topics[n-1].TopicID != id.Topic {
			resp.Topics = append(resp.Topics, kmsg.ShareAcknowledgeResponseTopic{TopicID: id.Topic})
			n++
		}
		resp.Topics[n-1].Partitions = append(resp.Topics[n-1].Partitions, p)
	}
	return resp
}
