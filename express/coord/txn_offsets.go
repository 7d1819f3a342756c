package coord

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// TxnOffsetCommit handles versions 0 to 5. It blocks until the offsets are durable; they take effect when the transaction
// commits. Partitions that do not exist are refused each for itself. verify makes sure that the partition of
// __consumer_offsets that keeps the group is part of the producer's transaction; it is asked again when a transaction ended
// there meanwhile, so that no offset is left behind by the end of its own.
func (c *Coordinator) TxnOffsetCommit(
	ctx context.Context, req *kmsg.TxnOffsetCommitRequest, verify func(ctx context.Context) kerr.Code,
) *kmsg.TxnOffsetCommitResponse {
	r := group.TxnCommitResponse(req, kerr.None)
	r.Version = req.Version
	known, at := c.checkTxnTopics(req, r)
	if len(known.Topics) == 0 && len(req.Topics) > 0 {
		return r
	}
	answer, code := c.txnCommit(ctx, known, verify)
	if code != kerr.None {
		answer = group.TxnCommitResponse(known, code)
	}
	for i, t := range answer.Topics {
		for k, p := range t.Partitions {
			r.Topics[at[i].topic].Partitions[at[i].partitions[k]].ErrorCode = p.ErrorCode
		}
	}
	return r
}

func (c *Coordinator) txnCommit(
	ctx context.Context, req *kmsg.TxnOffsetCommitRequest, verify func(ctx context.Context) kerr.Code,
) (*kmsg.TxnOffsetCommitResponse, kerr.Code) {
	switch {
	case req.Group == "":
		return nil, kerr.InvalidGroupID
	case req.ProducerID < 0:
		return nil, kerr.InvalidProducerIDMapping
	case req.ProducerEpoch < 0: // nobody's; the transaction's coordinator knows what is wrong first
		if code := verify(ctx); code != kerr.None {
			return nil, code
		}
		return nil, kerr.InvalidProducerEpoch
	}
	s, code := c.shard(req.Group)
	for code == kerr.None {
		var ended int64
		if ended, code = read(ctx, s, func(m *group.Machine) int64 { return m.Ended(req.ProducerID) }); code != kerr.None {
			break
		}
		if code = verify(ctx); code != kerr.None {
			break
		}
		var r kmsg.Response
		r, code = callShard[kmsg.Response](ctx, s, func(m *group.Machine, now time.Time, t machine.Ticket) machine.Effects {
			if m.Ended(req.ProducerID) != ended {
				return machine.Effects{Replies: []machine.Reply{{Ticket: t, Response: kmsg.NewPtrEndTxnResponse()}}}
			}
			return m.TxnOffsetCommit(now, t, req)
		})
		if answer, ok := r.(*kmsg.TxnOffsetCommitResponse); ok {
			return answer, code
		}
	}
	return nil, code
}

// checkTxnTopics is checkTopics for offsets of a transaction.
func (c *Coordinator) checkTxnTopics(
	req *kmsg.TxnOffsetCommitRequest, r *kmsg.TxnOffsetCommitResponse,
) (known *kmsg.TxnOffsetCommitRequest, at []place) {
	copied := *req
	known = &copied
	known.Topics = nil
	for i, t := range req.Topics {
		found, code := c.lookup(0, t.Topic, [16]byte{})
		partitions := t.Partitions
		t.Partitions = nil
		p := place{topic: i}
		for k, part := range partitions {
			if code != kerr.None || c.topics != nil && (part.Partition < 0 || part.Partition >= found.Partitions) {
				r.Topics[i].Partitions[k].ErrorCode = int16(kerr.UnknownTopicOrPartition)
				continue
			}
			t.Partitions = append(t.Partitions, part)
			p.partitions = append(p.partitions, k)
		}
		if len(t.Partitions) > 0 {
			known.Topics = append(known.Topics, t)
			at = append(at, p)
		}
	}
	return known, at
}

// EndTransaction appends a marker to a partition of __consumer_offsets; the offsets of the producer's transaction take effect
// there, or are forgotten. It blocks until the marker is durable.
func (c *Coordinator) EndTransaction(ctx context.Context, index int32, m machine.Marker) kerr.Code {
	s, code := c.shardAt(index)
	if code != kerr.None {
		return code
	}
	r, code := callShard[*kmsg.EndTxnResponse](ctx, s, func(g *group.Machine, now time.Time, t machine.Ticket) machine.Effects {
		return g.EndTransaction(now, t, m)
	})
	if code != kerr.None {
		return code
	}
	return kerr.Code(r.ErrorCode)
}
