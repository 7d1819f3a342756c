package state

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/express/share"
	"millrace/kafka/kerr"
)

// Each request here is about one share-partition, and its answer has that one partition; the caller takes requests about
// several apart.

// logCode is a failed append as those who asked for it are told.
func logCode(code kerr.Code) kerr.Code {
	switch code {
	case kerr.None:
		return kerr.None
	case kerr.NotLeaderOrFollower:
		return kerr.NotCoordinator
	case kerr.MessageTooLarge:
		return kerr.UnknownServerError
	default:
		return kerr.CoordinatorNotAvailable
	}
}

// Initialize makes a share-partition new: nothing is in flight, and it begins at the start offset; -1 leaves that to who
// reads it first.
func (m *Machine) Initialize(now time.Time, t machine.Ticket, k Key, q kmsg.InitializeShareGroupStateRequestTopicPartition) machine.Effects {
	m.now = now
	exists, _, stateEpoch := m.keys[k].ahead()
	switch {
	case exists && q.StateEpoch != -1 && stateEpoch > q.StateEpoch:
		m.reply(t, initialized(k, kerr.FencedStateEpoch))
	case !exists && len(m.keys) >= m.limits.MaxKeys:
		m.reply(t, initialized(k, kerr.CoordinatorNotAvailable))
	default:
		v := &value{stateEpoch: q.StateEpoch, start: q.StartOffset, complete: -1, created: now.UnixMilli(), written: now.UnixMilli()}
		if q.StartOffset != -1 {
			v.complete = 0
		}
		if e := m.keys[k]; e != nil && e.exists {
			v.snapshotEpoch = e.snapshotEpoch + 1
		}
		m.append(&operation{key: k, kind: snapshotKey, value: v}, func(code kerr.Code) { m.reply(t, initialized(k, logCode(code))) })
	}
	return m.take()
}

func initialized(k Key, code kerr.Code) *kmsg.InitializeShareGroupStateResponse {
	p := kmsg.NewInitializeShareGroupStateResponseTopicPartition()
	p.Partition = k.Partition
	p.ErrorCode, p.ErrorMessage = said(code)
	r := kmsg.NewPtrInitializeShareGroupStateResponse()
	r.Topics = []kmsg.InitializeShareGroupStateResponseTopic{{TopicID: k.Topic, Partitions: []kmsg.InitializeShareGroupStateResponseTopicPartition{p}}}
	return r
}

// Write changes a share-partition.
func (m *Machine) Write(now time.Time, t machine.Ticket, k Key, q kmsg.WriteShareGroupStateRequestTopicPartition) machine.Effects {
	m.now = now
	e := m.keys[k]
	if code := m.writable(e, &q); code != kerr.None {
		m.reply(t, written(k, code))
		return m.take()
	}
	v := value{
		snapshotEpoch: e.snapshotEpoch, leaderEpoch: e.leaderEpoch, start: q.StartOffset, complete: q.DeliveryCompleteCount,
		batches: make([]share.Batch, len(q.StateBatches)),
	}
	for i, b := range q.StateBatches {
		v.batches[i] = share.Batch{First: b.FirstOffset, Last: b.LastOffset, State: share.State(b.DeliveryState), Count: b.DeliveryCount}
	}
	m.change(k, e, v, func(code kerr.Code) { m.reply(t, written(k, logCode(code))) })
	return m.take()
}

func (m *Machine) writable(e *entry, q *kmsg.WriteShareGroupStateRequestTopicPartition) kerr.Code {
	exists, leaderEpoch, stateEpoch := e.ahead()
	switch {
	case !exists:
		return kerr.InvalidRequest
	case q.LeaderEpoch != -1 && leaderEpoch > q.LeaderEpoch:
		return kerr.FencedLeaderEpoch
	case q.StateEpoch != -1 && stateEpoch > q.StateEpoch:
		return kerr.FencedStateEpoch
	case len(e.batches)+len(q.StateBatches) > m.limits.MaxBatches:
		return kerr.UnknownServerError
	}
	for _, b := range q.StateBatches {
		s := share.State(b.DeliveryState)
		if b.FirstOffset < 0 || b.LastOffset < b.FirstOffset || b.DeliveryCount < 0 ||
			s != share.Available && s != share.Acknowledged && s != share.Archived {
			return kerr.InvalidRequest
		}
	}
	return kerr.None
}

// change appends an update, or in its place the snapshot of what it leads to (SS3).
func (m *Machine) change(k Key, e *entry, v value, done func(kerr.Code)) {
	if e.exists && len(e.inFlight) == 0 && e.updates >= m.limits.UpdatesPerSnapshot {
		next := *e
		next.update(&v)
		v = next.snapshot(m.now)
		m.append(&operation{key: k, kind: snapshotKey, value: &v}, done)
		return
	}
	v.batches = share.Combine(nil, v.batches, v.start)
	m.append(&operation{key: k, kind: updateKey, value: &v}, done)
}

func written(k Key, code kerr.Code) *kmsg.WriteShareGroupStateResponse {
	p := kmsg.NewWriteShareGroupStateResponseTopicPartition()
	p.Partition = k.Partition
	p.ErrorCode, p.ErrorMessage = said(code)
	r := kmsg.NewPtrWriteShareGroupStateResponse()
	r.Topics = []kmsg.WriteShareGroupStateResponseTopic{{TopicID: k.Topic, Partitions: []kmsg.WriteShareGroupStateResponseTopicPartition{p}}}
	return r
}

// Read answers the state of a share-partition. A leader with a newer epoch fences those before it; that is stored first.
func (m *Machine) Read(now time.Time, t machine.Ticket, k Key, q kmsg.ReadShareGroupStateRequestTopicPartition) machine.Effects {
	m.now = now
	e := m.keys[k]
	exists, leaderEpoch, _ := e.ahead()
	switch {
	case !exists:
		m.reply(t, read(k, nil, kerr.InvalidRequest))
		return m.take()
	case q.LeaderEpoch != -1 && leaderEpoch > q.LeaderEpoch:
		m.reply(t, read(k, nil, kerr.FencedLeaderEpoch))
		return m.take()
	}
	answer := func(code kerr.Code) {
		e := m.keys[k]
		if code == kerr.None && (e == nil || !e.exists) {
			code = kerr.InvalidRequest // deleted meanwhile
		}
		m.reply(t, read(k, e, logCode(code)))
	}
	switch {
	case q.LeaderEpoch != -1 && q.LeaderEpoch != leaderEpoch:
		v := value{snapshotEpoch: e.snapshotEpoch, leaderEpoch: q.LeaderEpoch, start: e.start, complete: e.complete}
		if len(e.inFlight) > 0 {
			v.start, v.complete = -1, -1 // as what is on its way will have it
		}
		m.change(k, e, v, answer)
	case len(e.inFlight) > 0:
		last := e.inFlight[len(e.inFlight)-1]
		last.done = append(last.done, answer)
	default:
		answer(kerr.None)
	}
	return m.take()
}

func read(k Key, e *entry, code kerr.Code) *kmsg.ReadShareGroupStateResponse {
	p := kmsg.NewReadShareGroupStateResponseTopicPartition()
	p.Partition, p.StartOffset = k.Partition, -1
	p.ErrorCode, p.ErrorMessage = said(code)
	if code == kerr.None {
		p.StartOffset, p.StateEpoch = e.start, e.stateEpoch
		for _, b := range e.batches {
			out := kmsg.NewReadShareGroupStateResponseTopicPartitionStateBatch()
			out.FirstOffset, out.LastOffset, out.DeliveryState, out.DeliveryCount = b.First, b.Last, int8(b.State), b.Count
			p.StateBatches = append(p.StateBatches, out)
		}
	}
	r := kmsg.NewPtrReadShareGroupStateResponse()
	r.Topics = []kmsg.ReadShareGroupStateResponseTopic{{TopicID: k.Topic, Partitions: []kmsg.ReadShareGroupStateResponseTopicPartition{p}}}
	return r
}

// Delete removes a share-partition. One that is not there is as good as removed.
func (m *Machine) Delete(now time.Time, t machine.Ticket, k Key) machine.Effects {
	m.now = now
	if exists, _, _ := m.keys[k].ahead(); !exists {
		m.reply(t, deleted(k, kerr.None))
		return m.take()
	}
	m.append(&operation{key: k, kind: snapshotKey}, func(code kerr.Code) { m.reply(t, deleted(k, logCode(code))) })
	return m.take()
}

func deleted(k Key, code kerr.Code) *kmsg.DeleteShareGroupStateResponse {
	p := kmsg.NewDeleteShareGroupStateResponseTopicPartition()
	p.Partition = k.Partition
	p.ErrorCode, p.ErrorMessage = said(code)
	r := kmsg.NewPtrDeleteShareGroupStateResponse()
	r.Topics = []kmsg.DeleteShareGroupStateResponseTopic{{TopicID: k.Topic, Partitions: []kmsg.DeleteShareGroupStateResponseTopicPartition{p}}}
	return r
}

// Summary answers offset and epochs of a share-partition, as far as they are durable. For one that is not there the start
// offset is -1.
func (m *Machine) Summary(k Key) kmsg.ReadShareGroupStateSummaryResponseTopicPartition {
	p := kmsg.NewReadShareGroupStateSummaryResponseTopicPartition()
	p.Partition, p.StartOffset, p.DeliveryCompleteCount = k.Partition, -1, -1
	if e := m.keys[k]; e != nil && e.exists {
		p.StartOffset, p.DeliveryCompleteCount, p.LeaderEpoch, p.StateEpoch = e.start, e.complete, e.leaderEpoch, e.stateEpoch
	}
	return p
}

// said is a code with its message, as responses carry them.
func said(code kerr.Code) (int16, *string) {
	if code == kerr.None {
		return 0, nil
	}
	message := code.Message()
	return int16(code), &message
}
