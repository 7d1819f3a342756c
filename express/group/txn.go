package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// open is one producer's open transaction: offsets that are durable and count once it commits.
type open map[string]map[TopicPartition]Offset // by group

// TxnOffsetCommit handles versions 0 to 5. The offsets are answered when they are durable, and take effect when a marker
// commits the producer's transaction. That the producer may write at all is for the caller to know. Topics must exist.
func (m *Machine) TxnOffsetCommit(now time.Time, t Ticket, req *kmsg.TxnOffsetCommitRequest) Effects {
	m.now = now
	per, code := m.checkTxnCommit(req)
	if code != kerr.None {
		m.reply(t, TxnCommitResponse(req, code))
		return m.take()
	}
	g := m.groups[req.Group]
	if g == nil {
		g = newGroup(req.Group, now.UnixMilli()) // enters m.groups only if there is something to store
	}
	r := TxnCommitResponse(req, kerr.None)
	var records []Record
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[k]
			if p.Metadata != nil && len(*p.Metadata) > m.limits.MaxOffsetMetadata {
				r.Topics[i].Partitions[k].ErrorCode = int16(kerr.OffsetMetadataTooLarge)
				continue
			}
			o := Offset{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, CommittedMs: now.UnixMilli(), ExpiresMs: -1}
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			tp := TopicPartition{Topic: req.Topics[i].Topic, Partition: p.Partition}
			if code := per(tp); code != kerr.None {
				m.reply(t, TxnCommitResponse(req, code))
				return m.take()
			}
			records = append(records, offsetRecord(g.name, tp, o))
		}
	}
	if len(records) == 0 {
		m.reply(t, r)
		return m.take()
	}
	m.groups[g.name] = g
	m.logIn(&machine.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}, g, records, func(code kerr.Code) {
		failTxnCommit(r, txnCommitError(code))
		m.reply(t, r)
	})
	return m.take()
}

// checkTxnCommit decides whether a group takes offsets of a transaction, and per whether it takes one of a partition.
// Unlike a plain commit it may come from somebody who names no member, and while the group waits for its leader's assignment.
func (m *Machine) checkTxnCommit(req *kmsg.TxnOffsetCommitRequest) (per func(TopicPartition) kerr.Code, code kerr.Code) {
	g := m.groups[req.Group]
	anonymous := req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil
	switch {
	case g == nil && req.Generation < 0 && len(m.groups) >= m.limits.MaxGroups:
		return nil, kerr.GroupMaxSizeReached
	case g == nil && req.Generation < 0:
		return anyPartition, kerr.None
	case g == nil:
		return nil, kerr.IllegalGeneration
	case g.state == Dead:
		return nil, kerr.CoordinatorNotAvailable
	case g.kind != nil:
		return m.checkKindCommit(g, modern.Commit{
			Member: req.MemberID, Instance: req.InstanceID, Epoch: req.Generation, Transactional: true,
		})
	case anonymous, req.Generation < 0 && g.state == Empty:
		return anyPartition, kerr.None
	}
	if refused := g.check(req.MemberID, req.InstanceID); refused != kerr.None {
		return nil, refused
	}
	if req.Generation != g.generation {
		return nil, kerr.IllegalGeneration
	}
	return anyPartition, kerr.None
}

// txnCommitError is how Kafka tells producers that offsets could not be written.
func txnCommitError(code kerr.Code) kerr.Code {
	if code != kerr.InvalidProducerEpoch {
		return commitError(code)
	}
	return code
}

// TxnCommitResponse answers each partition of req with code.
func TxnCommitResponse(req *kmsg.TxnOffsetCommitRequest, code kerr.Code) *kmsg.TxnOffsetCommitResponse {
	r := kmsg.NewPtrTxnOffsetCommitResponse()
	for i := range req.Topics {
		t := kmsg.NewTxnOffsetCommitResponseTopic()
		t.Topic = req.Topics[i].Topic
		for k := range req.Topics[i].Partitions {
			p := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			p.Partition = req.Topics[i].Partitions[k].Partition
			p.ErrorCode = int16(code)
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	return r
}

// failTxnCommit sets code where there is no error yet.
func failTxnCommit(r *kmsg.TxnOffsetCommitResponse, code kerr.Code) {
	for i := range r.Topics {
		for k := range r.Topics[i].Partitions {
			if p := &r.Topics[i].Partitions[k]; p.ErrorCode == int16(kerr.None) {
				p.ErrorCode = int16(code)
			}
		}
	}
}

// EndTransaction appends a marker; when it is durable the offsets of the producer's transaction take effect or are
// forgotten. The answer is an EndTxnResponse that carries nothing but the error.
func (m *Machine) EndTransaction(now time.Time, t Ticket, marker machine.Marker) Effects {
	m.now = now
	m.ended[uint64(marker.ID)%endings]++
	m.nextAppend++
	id := m.nextAppend
	m.appends[id] = &appending{marker: &marker, done: []func(kerr.Code){func(code kerr.Code) {
		r := kmsg.NewPtrEndTxnResponse()
		r.ErrorCode = int16(code)
		m.reply(t, r)
	}}}
	if m.closed {
		m.finish(id, kerr.NotLeaderOrFollower)
		return m.take()
	}
	m.out.Appends = append(m.out.Appends, machine.Append{ID: id, Marker: &marker})
	return m.take()
}

// endings bounds the counters of Machine.Ended.
const endings = 256

// Ended counts the calls of EndTransaction for a producer, and for some others. While it stays the same, no transaction of
// the producer has ended.
func (m *Machine) Ended(producerID int64) int64 { return m.ended[uint64(producerID)%endings] }

// ReplayMarker takes in the end of a transaction.
func (m *Machine) ReplayMarker(marker machine.Marker) { m.endTransaction(marker) }

// endTransaction applies a durable marker. An offset that was committed after the transaction's own stays.
func (m *Machine) endTransaction(marker machine.Marker) {
	groups := m.open[marker.ID]
	delete(m.open, marker.ID)
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := m.groups[name]
		if g == nil {
			continue
		}
		for tp, o := range groups[name] {
			g.unsettle(tp, -1)
			if now, ok := g.offsets[tp.Topic][tp.Partition]; marker.Commit && (!ok || now.order < o.order) {
				g.setOffset(tp, &o)
			}
		}
		if len(g.order) == 0 && len(g.pending) == 0 && g.appending == 0 {
			m.forgetBare(g)
		}
	}
}

// applyOffset takes in a durable offset record: a plain one takes effect, one of a transaction waits for its marker.
func (m *Machine) applyOffset(g *group, tp TopicPartition, o *Offset, tx *machine.Producer) {
	if o == nil {
		g.setOffset(tp, nil)
		m.dropOpen(g, tp)
		return
	}
	m.applied++
	stored := *o
	stored.order = m.applied
	if tx == nil {
		g.setOffset(tp, &stored)
		return
	}
	groups := m.open[tx.ID]
	if groups == nil {
		groups = open{}
		m.open[tx.ID] = groups
	}
	if groups[g.name] == nil {
		groups[g.name] = map[TopicPartition]Offset{}
	}
	if _, again := groups[g.name][tp]; !again {
		g.unsettle(tp, +1)
	}
	groups[g.name][tp] = stored
}

// dropOpen forgets what open transactions hold for a partition whose offset was deleted.
func (m *Machine) dropOpen(g *group, tp TopicPartition) {
	if g.unsettled[tp] == 0 {
		return
	}
	for _, groups := range m.open {
		if _, ok := groups[g.name][tp]; ok {
			delete(groups[g.name], tp)
			g.unsettle(tp, -1)
		}
	}
}

// unsettle counts the open transactions that hold an offset of a partition.
func (g *group) unsettle(tp TopicPartition, by int) {
	if g.unsettled[tp] += by; g.unsettled[tp] == 0 {
		delete(g.unsettled, tp)
	}
}

// Unstable reports whether an open transaction holds an offset of that partition (KIP-447).
func (m *Machine) Unstable(group string, tp TopicPartition) bool {
	g := m.groups[group]
	return g != nil && g.unsettled[tp] > 0
}
