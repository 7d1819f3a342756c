package differential

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stateSingles lists the requests about the states of share-partitions that brokers send each other.
func stateSingles() []single {
	const group = "ss"
	ready := func(r *run) {
		until(r, "ready", 0, func() kmsg.Request { return initializing(r, group, 0, 1, 0) }, func(p *kmsg.InitializeShareGroupStateResponse) bool {
			return len(p.Topics) == 1 && !passing(p.Topics[0].Partitions[0].ErrorCode)
		})
	}
	return []single{
		{name: "state-initialize", key: kmsg.InitializeShareGroupState, request: func(r *run, _ string) kmsg.Request {
			ready(r)
			return initializing(r, group, 1, 1, 0)
		}},
		{name: "state-write", key: kmsg.WriteShareGroupState, request: func(r *run, _ string) kmsg.Request {
			ready(r)
			return writing(r, group, 0, 1, 1, 0)
		}},
		{name: "state-read", key: kmsg.ReadShareGroupState, request: func(r *run, _ string) kmsg.Request {
			ready(r)
			return reading(r, group, 0, 1)
		}},
		{name: "state-summary", key: kmsg.ReadShareGroupStateSummary, request: func(r *run, _ string) kmsg.Request {
			ready(r)
			return summing(r, group, 0, 1)
		}},
		{name: "state-delete", key: kmsg.DeleteShareGroupState, request: func(r *run, _ string) kmsg.Request {
			ready(r)
			return deleting(r, group, 0)
		}},
	}
}

func initializing(r *run, group string, index, stateEpoch int32, start int64) *kmsg.InitializeShareGroupStateRequest {
	q := kmsg.NewPtrInitializeShareGroupStateRequest()
	q.GroupID = group
	q.Topics = []kmsg.InitializeShareGroupStateRequestTopic{{TopicID: r.id(fixTopic), Partitions: []kmsg.InitializeShareGroupStateRequestTopicPartition{
		{Partition: index, StateEpoch: stateEpoch, StartOffset: start},
	}}}
	return q
}

func reading(r *run, group string, index, leaderEpoch int32) *kmsg.ReadShareGroupStateRequest {
	q := kmsg.NewPtrReadShareGroupStateRequest()
	q.GroupID = group
	q.Topics = []kmsg.ReadShareGroupStateRequestTopic{{TopicID: r.id(fixTopic), Partitions: []kmsg.ReadShareGroupStateRequestTopicPartition{
		{Partition: index, LeaderEpoch: leaderEpoch},
	}}}
	return q
}

// writing makes a request that says that the record after start was delivered twice and is not done.
func writing(r *run, group string, index, stateEpoch, leaderEpoch int32, start int64) *kmsg.WriteShareGroupStateRequest {
	q := kmsg.NewPtrWriteShareGroupStateRequest()
	q.GroupID = group
	p := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	p.Partition, p.StateEpoch, p.LeaderEpoch, p.StartOffset, p.DeliveryCompleteCount = index, stateEpoch, leaderEpoch, start, 0
	p.StateBatches = []kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch{{FirstOffset: start, LastOffset: start + 1, DeliveryState: 0, DeliveryCount: 2}}
	q.Topics = []kmsg.WriteShareGroupStateRequestTopic{{TopicID: r.id(fixTopic), Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{p}}}
	return q
}

func deleting(r *run, group string, index int32) *kmsg.DeleteShareGroupStateRequest {
	q := kmsg.NewPtrDeleteShareGroupStateRequest()
	q.GroupID = group
	q.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: r.id(fixTopic), Partitions: []kmsg.DeleteShareGroupStateRequestTopicPartition{
		{Partition: index},
	}}}
	return q
}

func summing(r *run, group string, index, leaderEpoch int32) *kmsg.ReadShareGroupStateSummaryRequest {
	q := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	q.GroupID = group
	q.Topics = []kmsg.ReadShareGroupStateSummaryRequestTopic{{TopicID: r.id(fixTopic), Partitions: []kmsg.ReadShareGroupStateSummaryRequestTopicPartition{
		{Partition: index, LeaderEpoch: leaderEpoch},
	}}}
	return q
}

// shareStates walks the state of a share-partition through its life, with leaders and states that are too old.
func shareStates(r *run) {
	const group = "sstates"
	show := func(label string) {
		for _, v := range r.plan.of(kmsg.ReadShareGroupState, 0) {
			ask[*kmsg.ReadShareGroupStateResponse](r, label, v, reading(r, group, 1, -1))
		}
		for _, v := range r.plan.of(kmsg.ReadShareGroupStateSummary, 0) {
			ask[*kmsg.ReadShareGroupStateSummaryResponse](r, label, v, summing(r, group, 1, -1))
		}
	}
	until(r, "none", 0, func() kmsg.Request { return reading(r, group, 1, -1) }, func(p *kmsg.ReadShareGroupStateResponse) bool {
		return len(p.Topics) == 1 && !passing(p.Topics[0].Partitions[0].ErrorCode)
	})
	show("none")
	ask[*kmsg.WriteShareGroupStateResponse](r, "write to none", 1, writing(r, group, 1, 1, 1, 3))
	ask[*kmsg.DeleteShareGroupStateResponse](r, "delete none", 0, deleting(r, group, 1))
	ask[*kmsg.InitializeShareGroupStateResponse](r, "begin", 0, initializing(r, group, 1, 2, -1))
	show("begun")
	for _, epoch := range []int32{5, 4, 5, -1} {
		ask[*kmsg.ReadShareGroupStateResponse](r, fmt.Sprint("leader of epoch ", epoch), 0, reading(r, group, 1, epoch))
	}
	for _, epochs := range [][2]int32{{2, 5}, {1, 5}, {2, 4}, {3, 6}, {-1, -1}, {2, 5}} {
		ask[*kmsg.WriteShareGroupStateResponse](r, fmt.Sprint("write with epochs ", epochs), 1, writing(r, group, 1, epochs[0], epochs[1], 3))
		show(fmt.Sprint("written with epochs ", epochs))
	}
	ask[*kmsg.WriteShareGroupStateResponse](r, "write further", 1, writing(r, group, 1, -1, -1, 4))
	show("further")
	ask[*kmsg.InitializeShareGroupStateResponse](r, "begin with an older state", 0, initializing(r, group, 1, 1, 7))
	ask[*kmsg.InitializeShareGroupStateResponse](r, "begin anew", 0, initializing(r, group, 1, 9, 7))
	show("anew")
	ask[*kmsg.DeleteShareGroupStateResponse](r, "delete", 0, deleting(r, group, 1))
	show("deleted")
}
