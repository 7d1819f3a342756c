package peer

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
)

// Versions that are sent: those that tell how many records are done (KIP-1226).
const (
	writeStateVersion   = 1
	summaryStateVersion = 1
)

// maxReads bounds how many states one request reads, so that its answer stays below maxAnswer.
const maxReads = 16

// operation is what is done with the state of a share-partition.
type operation int8

const (
	initializing operation = iota
	reading
	writing
	deleting
	summing
)

// stating is one operation on one share-partition.
type stating struct {
	op          operation
	key         state.Key
	stateEpoch  int32        // initializing
	start       int64        // initializing
	leaderEpoch int32        // reading
	update      state.Update // writing
	reply[stated]
}

// stated is the answer to an operation, with what belongs to it.
type stated struct {
	code     kerr.Code
	snapshot state.Snapshot
	summary  state.Summary
}

// InitializeState makes a share-partition new at its coordinator. Errors are kerr.Codes, or say that it did not answer; then it may be
// asked again. The same holds for the other methods about states.
func (p *Pool) InitializeState(ctx context.Context, broker int32, k state.Key, stateEpoch int32, start int64) error {
	_, err := p.state(ctx, broker, &stating{op: initializing, key: k, stateEpoch: stateEpoch, start: start})
	return err
}

// ReadState reads what is stored, and fences leaders of the share-partition before leaderEpoch.
func (p *Pool) ReadState(ctx context.Context, broker int32, k state.Key, leaderEpoch int32) (state.Snapshot, error) {
	s, err := p.state(ctx, broker, &stating{op: reading, key: k, leaderEpoch: leaderEpoch})
	return s.snapshot, err
}

// WriteState changes what is stored. u must not be changed until the answer is there, nor after an error.
func (p *Pool) WriteState(ctx context.Context, broker int32, k state.Key, u state.Update) error {
	_, err := p.state(ctx, broker, &stating{op: writing, key: k, update: u})
	return err
}

// DeleteState removes a share-partition.
func (p *Pool) DeleteState(ctx context.Context, broker int32, k state.Key) error {
	_, err := p.state(ctx, broker, &stating{op: deleting, key: k})
	return err
}

// StateSummary reads what is stored, without the records.
func (p *Pool) StateSummary(ctx context.Context, broker int32, k state.Key) (state.Summary, error) {
	s, err := p.state(ctx, broker, &stating{op: summing, key: k})
	return s.summary, err
}

func (p *Pool) state(ctx context.Context, broker int32, c *stating) (stated, error) {
	c.reply = newReply[stated](ctx)
	enter(p, p.states, statingKind(), broker, c)
	s, err := c.wait()
	if err == nil {
		err = codeError(s.code)
	}
	return s, err
}

func statingKind() *kind[*stating] {
	return &kind[*stating]{
		name: "share states", most: maxReads, ask: askStates, answered: statesAnswered,
		same:  func(a, b *stating) bool { return a.op == b.op && a.key.Group == b.key.Group },
		given: func(c *stating) bool { return c.given() },
		fail:  func(c *stating, err error) { c.give(stated{}, err) },
	}
}

func sameTopicID(a, b *stating) bool { return a.key.Topic == b.key.Topic }

func askStates(calls []*stating) request {
	switch calls[0].op {
	case initializing:
		return askInitialize(calls)
	case reading:
		return askRead(calls)
	case writing:
		return askWrite(calls)
	case deleting:
		return askDelete(calls)
	default:
		return askSummary(calls)
	}
}

func askInitialize(calls []*stating) request {
	q := kmsg.NewPtrInitializeShareGroupStateRequest()
	q.GroupID = calls[0].key.Group
	groups(calls, sameTopicID, func(run []*stating) {
		t := kmsg.InitializeShareGroupStateRequestTopic{TopicID: run[0].key.Topic}
		for _, c := range run {
			t.Partitions = append(t.Partitions, kmsg.InitializeShareGroupStateRequestTopicPartition{
				Partition: c.key.Partition, StateEpoch: c.stateEpoch, StartOffset: c.start,
			})
		}
		q.Topics = append(q.Topics, t)
	})
	return q
}

func askRead(calls []*stating) request {
	q := kmsg.NewPtrReadShareGroupStateRequest()
	q.GroupID = calls[0].key.Group
	groups(calls, sameTopicID, func(run []*stating) {
		t := kmsg.ReadShareGroupStateRequestTopic{TopicID: run[0].key.Topic}
		for _, c := range run {
			t.Partitions = append(t.Partitions, kmsg.ReadShareGroupStateRequestTopicPartition{
				Partition: c.key.Partition, LeaderEpoch: c.leaderEpoch,
			})
		}
		q.Topics = append(q.Topics, t)
	})
	return q
}

func askWrite(calls []*stating) request {
	q := kmsg.NewPtrWriteShareGroupStateRequest()
	q.Version, q.GroupID = writeStateVersion, calls[0].key.Group
	groups(calls, sameTopicID, func(run []*stating) {
		t := kmsg.WriteShareGroupStateRequestTopic{TopicID: run[0].key.Topic}
		for _, c := range run {
			p := kmsg.NewWriteShareGroupStateRequestTopicPartition()
			p.Partition, p.StateEpoch, p.LeaderEpoch = c.key.Partition, c.update.StateEpoch, c.update.LeaderEpoch
			p.StartOffset, p.DeliveryCompleteCount = c.update.Start, c.update.Complete
			for _, b := range c.update.Batches {
				p.StateBatches = append(p.StateBatches, kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch{
					FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count,
				})
			}
			t.Partitions = append(t.Partitions, p)
		}
		q.Topics = append(q.Topics, t)
	})
	return q
}

func askDelete(calls []*stating) request {
	q := kmsg.NewPtrDeleteShareGroupStateRequest()
	q.GroupID = calls[0].key.Group
	groups(calls, sameTopicID, func(run []*stating) {
		t := kmsg.DeleteShareGroupStateRequestTopic{TopicID: run[0].key.Topic}
		for _, c := range run {
			t.Partitions = append(t.Partitions, kmsg.DeleteShareGroupStateRequestTopicPartition{Partition: c.key.Partition})
		}
		q.Topics = append(q.Topics, t)
	})
	return q
}

func askSummary(calls []*stating) request {
	q := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	q.Version, q.GroupID = summaryStateVersion, calls[0].key.Group
	groups(calls, sameTopicID, func(run []*stating) {
		t := kmsg.ReadShareGroupStateSummaryRequestTopic{TopicID: run[0].key.Topic}
		for _, c := range run {
			t.Partitions = append(t.Partitions, kmsg.ReadShareGroupStateSummaryRequestTopicPartition{Partition: c.key.Partition, LeaderEpoch: -1})
		}
		q.Topics = append(q.Topics, t)
	})
	return q
}

// place is a share-partition of an answer, with what is said of it.
type place struct {
	topic [16]byte
	index int32
	stated
}

func statesAnswered(calls []*stating, answer response) error {
	var all []place
	switch r := answer.(type) {
	case *kmsg.InitializeShareGroupStateResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				all = append(all, place{t.TopicID, p.Partition, stated{code: kerr.Code(p.ErrorCode)}})
			}
		}
	case *kmsg.ReadShareGroupStateResponse:
		for _, t := range r.Topics {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				all = append(all, place{t.TopicID, p.Partition, stated{code: kerr.Code(p.ErrorCode), snapshot: snapshot(p)}})
			}
		}
	case *kmsg.WriteShareGroupStateResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				all = append(all, place{t.TopicID, p.Partition, stated{code: kerr.Code(p.ErrorCode)}})
			}
		}
	case *kmsg.DeleteShareGroupStateResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				all = append(all, place{t.TopicID, p.Partition, stated{code: kerr.Code(p.ErrorCode)}})
			}
		}
	case *kmsg.ReadShareGroupStateSummaryResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s := state.Summary{StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch, Start: p.StartOffset, Complete: p.DeliveryCompleteCount}
				all = append(all, place{t.TopicID, p.Partition, stated{code: kerr.Code(p.ErrorCode), summary: s}})
			}
		}
	}
	if len(all) != len(calls) {
		return fmt.Errorf("%w: %d of %d share-partitions", errAnswer, len(all), len(calls))
	}
	for i, c := range calls {
		if all[i].topic != c.key.Topic || all[i].index != c.key.Partition {
			return fmt.Errorf("%w: share-partitions that were not asked for", errAnswer)
		}
	}
	for i, c := range calls {
		c.give(all[i].stated, nil)
	}
	return nil
}

func snapshot(p *kmsg.ReadShareGroupStateResponseTopicPartition) state.Snapshot {
	out := state.Snapshot{StateEpoch: p.StateEpoch, Start: p.StartOffset}
	for _, b := range p.StateBatches {
		out.Batches = append(out.Batches, share.Batch{First: b.FirstOffset, Last: b.LastOffset, State: share.State(b.DeliveryState), Count: b.DeliveryCount})
	}
	return out
}
