package group

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/kafka/kerr"
)

// setOffset stores one offset; nil removes it.
func (g *group) setOffset(tp TopicPartition, o *Offset) {
	partitions := g.offsets[tp.Topic]
	if o != nil {
		if partitions == nil {
			partitions = map[int32]Offset{}
			g.offsets[tp.Topic] = partitions
		}
		partitions[tp.Partition] = *o
		return
	}
	if delete(partitions, tp.Partition); len(partitions) == 0 {
		delete(g.offsets, tp.Topic)
	}
}

// note counts an offset record that goes into (+1) or comes out of (-1) the appends that are not settled.
func (g *group) note(r Record, by int) {
	if r.offset == nil {
		return
	}
	if g.inLog[*r.offset] += by; g.inLog[*r.offset] == 0 {
		delete(g.inLog, *r.offset)
	}
}

// stored lists all partitions for which the log has an offset or is getting one, sorted.
func (g *group) stored() []TopicPartition {
	all := map[TopicPartition]bool{}
	for t, partitions := range g.offsets {
		for p := range partitions {
			all[TopicPartition{Topic: t, Partition: p}] = true
		}
	}
	for tp := range g.inLog {
		all[tp] = true
	}
	for tp := range g.unsettled {
		all[tp] = true
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// Offset returns a durable offset of a group.
func (m *Machine) Offset(group string, tp TopicPartition) (Offset, bool) {
	g := m.groups[group]
	if g == nil || g.state == Dead {
		return Offset{}, false
	}
	o, ok := g.offsets[tp.Topic][tp.Partition]
	o.order = 0
	return o, ok
}

// Committed iterates over the topics, sorted, and their partitions, sorted, for which a group has a durable offset.
func (m *Machine) Committed(group string) iter.Seq2[string, []int32] {
	return func(yield func(topic string, partitions []int32) bool) {
		g := m.groups[group]
		if g == nil || g.state == Dead {
			return
		}
		for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
			if !yield(topic, slices.Sorted(maps.Keys(g.offsets[topic]))) {
				return
			}
		}
	}
}

// OffsetCommit handles versions 0 to 10. Topics must have their names, also in version 10; the answer repeats both name and
// id. Nothing of req is kept.
func (m *Machine) OffsetCommit(now time.Time, t Ticket, req *kmsg.OffsetCommitRequest) Effects {
	m.now = now
	per, code := m.checkCommit(req)
	if code != kerr.None {
		m.reply(t, CommitResponse(req, code))
		return m.take()
	}
	g := m.groups[req.Group]
	if g == nil {
		g = newGroup(req.Group, now.UnixMilli()) // enters m.groups only if there is something to store
	}
	if mem := g.members[req.MemberID]; mem != nil && (g.state == Stable || g.state == PreparingRebalance) {
		m.touch(g, mem) // a commit is as good as a heartbeat
	}
	r := CommitResponse(req, kerr.None)
	var records []Record
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[k]
			if p.Metadata != nil && len(*p.Metadata) > m.limits.MaxOffsetMetadata {
				r.Topics[i].Partitions[k].ErrorCode = int16(kerr.OffsetMetadataTooLarge)
				continue
			}
			tp := TopicPartition{Topic: req.Topics[i].Topic, Partition: p.Partition}
			if code := per(tp); code != kerr.None {
				m.reply(t, CommitResponse(req, code))
				return m.take()
			}
			records = append(records, offsetRecord(g.name, tp, m.committed(req, &req.Topics[i], p)))
		}
	}
	if len(records) == 0 {
		m.reply(t, r)
		return m.take()
	}
	m.groups[g.name] = g
	m.log(g, records, func(code kerr.Code) {
		failCommit(r, commitError(code))
		m.reply(t, r)
	})
	return m.take()
}

// committed is the offset that a request wants to store.
func (m *Machine) committed(
	req *kmsg.OffsetCommitRequest, t *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition,
) Offset {
	o := Offset{
		Offset: p.Offset, LeaderEpoch: p.LeaderEpoch,
		CommittedMs: m.now.UnixMilli(), ExpiresMs: -1, TopicID: t.TopicID,
	}
	if p.Metadata != nil {
		o.Metadata = *p.Metadata
	}
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis >= 0 {
		o.ExpiresMs = o.CommittedMs + req.RetentionTimeMillis
	}
	return o
}

// anyPartition lets a commit of every partition through.
func anyPartition(TopicPartition) kerr.Code { return kerr.None }

// checkCommit decides whether a group takes a commit, and per whether it takes it for a partition; a refused partition
// refuses the whole.
func (m *Machine) checkCommit(req *kmsg.OffsetCommitRequest) (per func(TopicPartition) kerr.Code, code kerr.Code) {
	g := m.groups[req.Group]
	switch {
	case g == nil && req.Generation < 0 && len(m.groups) >= m.limits.MaxGroups:
		return nil, kerr.GroupMaxSizeReached
	case g == nil && req.Generation < 0:
		return anyPartition, kerr.None
	case g == nil && req.Version >= commitGroupNotFound:
		return nil, kerr.GroupIDNotFound
	case g == nil:
		return nil, kerr.IllegalGeneration
	case g.state == Dead:
		return nil, kerr.CoordinatorNotAvailable
	case g.kind != nil:
		return m.checkKindCommit(g, modern.Commit{Member: req.MemberID, Instance: req.InstanceID, Epoch: req.Generation, Version: req.Version})
	default:
		return anyPartition, g.checkCommit(req)
	}
}

// checkKindCommit asks a group of a newer protocol, which knows partitions by topic id.
func (m *Machine) checkKindCommit(g *group, c modern.Commit) (per func(TopicPartition) kerr.Code, code kerr.Code) {
	f, err := g.kind.CheckCommit(c)
	if err != nil || f == nil {
		return anyPartition, kerr.Of(err)
	}
	return func(tp TopicPartition) kerr.Code {
		t, _ := m.topics.TopicByName(tp.Topic) // without one nobody has the partition
		return kerr.Of(f(t.ID, tp.Partition))
	}, kerr.None
}

// checkCommit is that of a classic group: it takes commits from its members, of its generation; or from anybody who does
// not claim to be a member, while it is empty.
func (g *group) checkCommit(req *kmsg.OffsetCommitRequest) kerr.Code {
	switch {
	case req.Generation < 0 && g.state == Empty:
		return kerr.None
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return kerr.UnknownMemberID // not empty, and the sender is nobody
	}
	if code := g.check(req.MemberID, req.InstanceID); code != kerr.None {
		return code
	}
	switch {
	case req.Generation != g.generation:
		return kerr.IllegalGeneration
	case g.state == CompletingRebalance:
		return kerr.RebalanceInProgress
	default:
		return kerr.None
	}
}

// CheckFetch decides whether a member may read a group's offsets; nil is nobody in particular.
func (m *Machine) CheckFetch(group string, member *string, epoch int32) kerr.Code {
	if g := m.groups[group]; g != nil && g.kind != nil && g.state != Dead {
		return kerr.Of(g.kind.CheckFetch(member, epoch))
	}
	return kerr.None
}

// CommitResponse answers each partition of req with code.
func CommitResponse(req *kmsg.OffsetCommitRequest, code kerr.Code) *kmsg.OffsetCommitResponse {
	r := kmsg.NewPtrOffsetCommitResponse()
	for i := range req.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for k := range req.Topics[i].Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition = req.Topics[i].Partitions[k].Partition
			p.ErrorCode = int16(code)
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	return r
}

// failCommit sets code where there is no error yet.
func failCommit(r *kmsg.OffsetCommitResponse, code kerr.Code) {
	for i := range r.Topics {
		for k := range r.Topics[i].Partitions {
			if p := &r.Topics[i].Partitions[k]; p.ErrorCode == int16(kerr.None) {
				p.ErrorCode = int16(code)
			}
		}
	}
}

// commitError is how Kafka tells clients that a commit could not be written.
func commitError(code kerr.Code) kerr.Code {
	switch code {
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return kerr.InvalidCommitOffsetSize
	default:
		return metadataError(code)
	}
}

// OffsetDelete handles version 0. Offsets of topics that the group reads are kept.
func (m *Machine) OffsetDelete(now time.Time, t Ticket, req *kmsg.OffsetDeleteRequest) Effects {
	m.now = now
	r := kmsg.NewPtrOffsetDeleteResponse()
	g := m.groups[req.Group]
	switch {
	case req.Group == "":
		r.ErrorCode = int16(kerr.InvalidGroupID)
	case g == nil, g.state == Dead:
		r.ErrorCode = int16(kerr.GroupIDNotFound)
	case g.kind == nil && g.state != Empty && g.protocolType != consumerType:
		r.ErrorCode = int16(kerr.NonEmptyGroup)
	default:
		if records := g.deleteOffsets(req, r); len(records) > 0 {
			m.log(g, records, func(code kerr.Code) {
				if code != kerr.None {
					r.ErrorCode, r.Topics = int16(metadataError(code)), nil
				}
				m.reply(t, r)
			})
			return m.take()
		}
	}
	m.reply(t, r)
	return m.take()
}

// deleteOffsets fills r and returns the tombstones that make it true.
func (g *group) deleteOffsets(req *kmsg.OffsetDeleteRequest, r *kmsg.OffsetDeleteResponse) []Record {
	var records []Record
	for _, rt := range req.Topics {
		t := kmsg.NewOffsetDeleteResponseTopic()
		t.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			p := kmsg.NewOffsetDeleteResponseTopicPartition()
			p.Partition = rp.Partition
			tp := TopicPartition{Topic: rt.Topic, Partition: rp.Partition}
			_, durable := g.offsets[tp.Topic][tp.Partition]
			switch {
			case g.subscribed(rt.Topic):
				p.ErrorCode = int16(kerr.GroupSubscribedToTopic)
			case durable, g.inLog[tp] > 0, g.unsettled[tp] > 0:
				records = append(records, offsetTombstone(g.name, tp))
			}
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	return records
}

// TopicDeleted removes all offsets of a topic that is gone.
func (m *Machine) TopicDeleted(now time.Time, topic string) Effects {
	m.now = now
	for _, name := range m.names() {
		g := m.groups[name]
		if g.state == Dead {
			continue
		}
		var records []Record
		for _, tp := range g.stored() {
			if tp.Topic == topic {
				records = append(records, offsetTombstone(name, tp))
			}
		}
		if len(records) > 0 {
			m.log(g, records, func(kerr.Code) {}) // on failure they expire in time
		}
	}
	return m.take()
}

// Expire removes the offsets that nobody has needed for longer than the retention, and then the groups of which
// nothing is left. It is to be called from time to time.
func (m *Machine) Expire(now time.Time) Effects {
	m.now = now
	for _, name := range m.names() {
		g := m.groups[name]
		if g.state == Dead || g.appending > 0 {
			continue // the next time
		}
		records := m.expired(g)
		if len(records) == len(g.stored()) && g.empty() && len(g.pending) == 0 {
			m.tell(g, "group removed", "it is empty and has no offsets")
			m.delete(g, func(kerr.Code) {})
		} else if len(records) > 0 {
			m.log(g, records, func(kerr.Code) {})
		}
	}
	return m.take()
}

// expired returns tombstones for the offsets that have outlived the retention. The retention counts from when the group
// became empty; from the commit for topics that an active group does not read any more, and for simple consumers.
func (m *Machine) expired(g *group) []Record {
	fromEmpty := g.kind == nil && g.protocolType != "" && g.state == Empty && g.changed >= 0
	active := g.kind == nil && g.protocolType != "" && g.state != Empty
	if active && (g.state != Stable || g.protocolType != consumerType || g.topics == nil) {
		return nil
	}
	now, retention := m.now.UnixMilli(), m.limits.OffsetsRetention.Milliseconds()
	var records []Record
	for _, tp := range g.stored() {
		if g.subscribed(tp.Topic) || g.unsettled[tp] > 0 {
			continue
		}
		o := g.offsets[tp.Topic][tp.Partition]
		since := o.CommittedMs
		if fromEmpty {
			since = g.changed
		}
		if o.ExpiresMs >= 0 && now >= o.ExpiresMs || o.ExpiresMs < 0 && now-since >= retention {
			records = append(records, offsetTombstone(g.name, tp))
		}
	}
	return records
}
