package coord

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// The requests here are what brokers ask the one that keeps the state of a share-partition (KIP-932, keys 83 to 87). They have the
// same rules: a request without a group, or with a topic without partitions, is answered with nothing at all, as in Kafka. Where
// refused is not None, every share-partition is answered with it.

// statesAtOnce bounds the share-partitions of one request that are worked on at a time: each waits until it is durable.
const statesAtOnce = 64

// stateRequest is what the requests about states have in common.
type stateRequest struct {
	shares  *Shares
	ctx     context.Context //nolint:containedctx // of the one request that this is
	group   string
	refused kerr.Code // for all share-partitions
	unknown kerr.Code // for those of topics that there are not
	slots   chan struct{}
	running sync.WaitGroup
}

// request begins to answer; ok is false where the answer is empty. partitions counts those of each topic.
func (s *Shares) request(ctx context.Context, group string, partitions []int, refused kerr.Code) (_ *stateRequest, ok bool) {
	q := &stateRequest{
		shares: s, ctx: ctx, group: group, refused: refused, unknown: kerr.UnknownTopicOrPartition, slots: make(chan struct{}, statesAtOnce),
	}
	if refused != kerr.None {
		return q, true
	}
	for _, n := range partitions {
		if n == 0 {
			return q, false
		}
	}
	return q, group != "" && len(partitions) > 0
}

// each has f called with one share-partition, on another goroutine, and its error put into an answer. wait ends the request.
func (q *stateRequest) each(id topic.ID, index int32, code *int16, message **string, f func(ctx context.Context, k state.Key) error) {
	if q.refused != kerr.None {
		*code, *message = said(q.refused)
		return
	}
	q.slots <- struct{}{}
	q.running.Go(func() {
		defer func() { <-q.slots }()
		err := q.check(id, index)
		if err == nil {
			err = f(q.ctx, state.Key{Group: q.group, Topic: id, Partition: index})
		}
		*code, *message = said(kerr.Of(err))
	})
}

func (q *stateRequest) wait() { q.running.Wait() }

// said is a code as answers carry it.
func said(code kerr.Code) (int16, *string) {
	if code == kerr.None {
		return 0, nil
	}
	return int16(code), kmsg.StringPtr(code.Message())
}

// check refuses what cannot be a share-partition.
func (q *stateRequest) check(id topic.ID, index int32) error {
	switch {
	case index < 0:
		return kerr.InvalidRequest
	case q.shares.exists(state.Key{Topic: id, Partition: index}) != nil:
		return q.unknown
	default:
		return nil
	}
}

// InitializeShareGroupState handles version 0, for the coordinator of a group.
func (s *Shares) InitializeShareGroupState(
	ctx context.Context, req *kmsg.InitializeShareGroupStateRequest, refused kerr.Code,
) *kmsg.InitializeShareGroupStateResponse {
	resp := kmsg.NewPtrInitializeShareGroupStateResponse()
	counts := make([]int, len(req.Topics))
	for i, t := range req.Topics {
		counts[i] = len(t.Partitions)
	}
	q, ok := s.request(ctx, req.GroupID, counts, refused)
	if !ok {
		return resp
	}
	for _, t := range req.Topics {
		out := make([]kmsg.InitializeShareGroupStateResponseTopicPartition, len(t.Partitions))
		for i, in := range t.Partitions {
			p := &out[i]
			*p = kmsg.NewInitializeShareGroupStateResponseTopicPartition()
			p.Partition = in.Partition
			q.each(t.TopicID, in.Partition, &p.ErrorCode, &p.ErrorMessage, func(ctx context.Context, k state.Key) error {
				return s.InitializeState(ctx, k, in.StateEpoch, in.StartOffset)
			})
		}
		resp.Topics = append(resp.Topics, kmsg.InitializeShareGroupStateResponseTopic{TopicID: t.TopicID, Partitions: out})
	}
	q.wait()
	return resp
}

// ReadShareGroupState handles version 0, for the leader of a share-partition; it fences the leaders before that one.
func (s *Shares) ReadShareGroupState(
	ctx context.Context, req *kmsg.ReadShareGroupStateRequest, refused kerr.Code,
) *kmsg.ReadShareGroupStateResponse {
	resp := kmsg.NewPtrReadShareGroupStateResponse()
	counts := make([]int, len(req.Topics))
	for i, t := range req.Topics {
		counts[i] = len(t.Partitions)
	}
	q, ok := s.request(ctx, req.GroupID, counts, refused)
	if !ok {
		return resp
	}
	q.unknown = kerr.InvalidRequest // as all that is not initialized
	for _, t := range req.Topics {
		out := make([]kmsg.ReadShareGroupStateResponseTopicPartition, len(t.Partitions))
		for i, in := range t.Partitions {
			p := &out[i]
			*p = kmsg.NewReadShareGroupStateResponseTopicPartition()
			p.Partition = in.Partition
			q.each(t.TopicID, in.Partition, &p.ErrorCode, &p.ErrorMessage, func(ctx context.Context, k state.Key) error {
				found, err := s.ReadState(ctx, k, in.LeaderEpoch)
				if err != nil {
					return err
				}
				p.StateEpoch, p.StartOffset = found.StateEpoch, found.Start
				for _, b := range found.Batches {
					p.StateBatches = append(p.StateBatches, kmsg.ReadShareGroupStateResponseTopicPartitionStateBatch{
						FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count,
					})
				}
				return nil
			})
		}
		resp.Topics = append(resp.Topics, kmsg.ReadShareGroupStateResponseTopic{TopicID: t.TopicID, Partitions: out})
	}
	q.wait()
	return resp
}

// WriteShareGroupState handles versions 0 and 1, for the leader of a share-partition. It blocks until all is durable, as do the others that change something.
func (s *Shares) WriteShareGroupState(
	ctx context.Context, req *kmsg.WriteShareGroupStateRequest, refused kerr.Code,
) *kmsg.WriteShareGroupStateResponse {
	resp := kmsg.NewPtrWriteShareGroupStateResponse()
	counts := make([]int, len(req.Topics))
	for i, t := range req.Topics {
		counts[i] = len(t.Partitions)
	}
	q, ok := s.request(ctx, req.GroupID, counts, refused)
	if !ok {
		return resp
	}
	q.unknown = kerr.InvalidRequest // as all that is not initialized
	for _, t := range req.Topics {
		out := make([]kmsg.WriteShareGroupStateResponseTopicPartition, len(t.Partitions))
		for i := range t.Partitions {
			in, p := &t.Partitions[i], &out[i]
			*p = kmsg.NewWriteShareGroupStateResponseTopicPartition()
			p.Partition = in.Partition
			q.each(t.TopicID, in.Partition, &p.ErrorCode, &p.ErrorMessage, func(ctx context.Context, k state.Key) error {
				return s.WriteState(ctx, k, updateOf(in))
			})
		}
		resp.Topics = append(resp.Topics, kmsg.WriteShareGroupStateResponseTopic{TopicID: t.TopicID, Partitions: out})
	}
	q.wait()
	return resp
}

func updateOf(in *kmsg.WriteShareGroupStateRequestTopicPartition) state.Update {
	u := state.Update{
		StateEpoch: in.StateEpoch, LeaderEpoch: in.LeaderEpoch, Start: in.StartOffset, Complete: in.DeliveryCompleteCount,
		Batches: make([]share.Batch, len(in.StateBatches)),
	}
	for i, b := range in.StateBatches {
		u.Batches[i] = share.Batch{First: b.FirstOffset, Last: b.LastOffset, State: share.State(b.DeliveryState), Count: b.DeliveryCount}
	}
	return u
}

// DeleteShareGroupState handles version 0, for the coordinator of a group.
func (s *Shares) DeleteShareGroupState(
	ctx context.Context, req *kmsg.DeleteShareGroupStateRequest, refused kerr.Code,
) *kmsg.DeleteShareGroupStateResponse {
	resp := kmsg.NewPtrDeleteShareGroupStateResponse()
	counts := make([]int, len(req.Topics))
	for i, t := range req.Topics {
		counts[i] = len(t.Partitions)
	}
	q, ok := s.request(ctx, req.GroupID, counts, refused)
	if !ok {
		return resp
	}
	for _, t := range req.Topics {
		out := make([]kmsg.DeleteShareGroupStateResponseTopicPartition, len(t.Partitions))
		for i, in := range t.Partitions {
			p := &out[i]
			*p = kmsg.NewDeleteShareGroupStateResponseTopicPartition()
			p.Partition = in.Partition
			q.each(t.TopicID, in.Partition, &p.ErrorCode, &p.ErrorMessage, s.DeleteState)
		}
		resp.Topics = append(resp.Topics, kmsg.DeleteShareGroupStateResponseTopic{TopicID: t.TopicID, Partitions: out})
	}
	q.wait()
	return resp
}

// ReadShareGroupStateSummary handles versions 0 and 1, for the coordinator of a group.
func (s *Shares) ReadShareGroupStateSummary(
	ctx context.Context, req *kmsg.ReadShareGroupStateSummaryRequest, refused kerr.Code,
) *kmsg.ReadShareGroupStateSummaryResponse {
	resp := kmsg.NewPtrReadShareGroupStateSummaryResponse()
	counts := make([]int, len(req.Topics))
	for i, t := range req.Topics {
		counts[i] = len(t.Partitions)
	}
	q, ok := s.request(ctx, req.GroupID, counts, refused)
	if !ok {
		return resp
	}
	for _, t := range req.Topics {
		out := make([]kmsg.ReadShareGroupStateSummaryResponseTopicPartition, len(t.Partitions))
		for i, in := range t.Partitions {
			p := &out[i]
			*p = kmsg.NewReadShareGroupStateSummaryResponseTopicPartition()
			p.Partition = in.Partition
			q.each(t.TopicID, in.Partition, &p.ErrorCode, &p.ErrorMessage, func(ctx context.Context, k state.Key) error {
				found, err := s.StateSummary(ctx, k)
				if err != nil {
					return err
				}
				p.StateEpoch, p.LeaderEpoch, p.StartOffset, p.DeliveryCompleteCount = found.StateEpoch, found.LeaderEpoch, found.Start, found.Complete
				return nil
			})
		}
		resp.Topics = append(resp.Topics, kmsg.ReadShareGroupStateSummaryResponseTopic{TopicID: t.TopicID, Partitions: out})
	}
	q.wait()
	return resp
}
