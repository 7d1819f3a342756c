package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/express/group/shares"
	"millrace/express/machine"
)

// ErrUnknownRecord is returned by Replay for a record of a kind or version that this package does not know; skip it.
var ErrUnknownRecord = errors.New("unknown kind or version of record")

// ErrCorruptRecord is returned by Replay for a record that cannot be read; skip it.
var ErrCorruptRecord = errors.New("corrupt record")

// Versions of keys and values in __consumer_offsets. The key's version says what the record is about.
const (
	offsetKeyOld     = 0 // as offsetKey
	offsetKey        = 1
	groupKey         = 2
	offsetValue      = 3
	offsetValueV1    = 1 // has a time of expiry of its own
	offsetValueTopic = 4 // has a topic id
	groupValue       = 3
	groupValueMax    = 3 // version 4 is reserved in Kafka; nobody writes it
)

// Record is one record of __consumer_offsets, and what it means.
type Record struct {
	machine.Record

	offset    *TopicPartition // set if the record is about an offset
	committed *Offset         // nil in a tombstone
	ofKind    bool            // of a group of a newer protocol, which shows its effect already
}

// TopicPartition names a partition the way commits do.
type TopicPartition = machine.TopicPartition

// Offset is one committed offset.
type Offset struct {
	Offset      int64
	LeaderEpoch int32 // -1 not known
	Metadata    string
	CommittedMs int64    // when, by the broker's clock
	ExpiresMs   int64    // -1: by the retention of the broker (always, except commits of versions 2 to 4 that name one)
	TopicID     [16]byte // zero unless the commit named the topic by its id

	order int64 // of the record among all offset records
}

func offsetRecord(group string, tp TopicPartition, o Offset) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValue
	switch {
	case o.ExpiresMs >= 0:
		v.Version = offsetValueV1
	case o.TopicID != [16]byte{}:
		v.Version = offsetValueTopic
	}
	v.Offset, v.LeaderEpoch, v.Metadata = o.Offset, o.LeaderEpoch, o.Metadata
	v.CommitTimestamp, v.ExpireTimestamp, v.TopicID = o.CommittedMs, o.ExpiresMs, o.TopicID
	r := offsetTombstone(group, tp)
	r.Value = v.AppendTo(nil)
	r.committed = &o
	return r
}

func offsetTombstone(group string, tp TopicPartition) Record {
	k := kmsg.OffsetCommitKey{Version: offsetKey, Group: group, Topic: tp.Topic, Partition: tp.Partition}
	return Record{Record: machine.Record{Key: k.AppendTo(nil)}, offset: &tp}
}

func groupTombstone(group string) Record {
	k := kmsg.GroupMetadataKey{Version: groupKey, Group: group}
	return Record{Record: machine.Record{Key: k.AppendTo(nil)}}
}

// record is the group as the log shall know it, with those assignments by member id.
func (g *group) record(assignments map[string][]byte) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValue
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	v.Protocol = nullable(g.protocol)
	v.Leader = nullable(g.leader)
	v.CurrentStateTimestamp = g.changed
	for _, mem := range g.order {
		mv := kmsg.NewGroupMetadataValueMember()
		mv.MemberID, mv.InstanceID = mem.id, mem.instance
		mv.ClientID, mv.ClientHost = mem.client.ID, mem.client.Host
		mv.RebalanceTimeoutMillis = int32(mem.rebalance.Milliseconds())
		mv.SessionTimeoutMillis = int32(mem.session.Milliseconds())
		mv.Subscription = mem.metadata(g.protocol)
		mv.Assignment = assignments[mem.id]
		v.Members = append(v.Members, mv)
	}
	r := groupTombstone(g.name)
	r.Value = v.AppendTo(nil)
	return r
}

func (g *group) assignments() map[string][]byte {
	out := make(map[string][]byte, len(g.order))
	for _, mem := range g.order {
		out[mem.id] = mem.assignment
	}
	return out
}

// Replay takes in one record of the log, in the log's order, before Loaded. Nothing of the bytes is kept. Its errors are
// ErrUnknownRecord and ErrCorruptRecord, and leave the machine as it was.
func (m *Machine) Replay(r machine.Record, tx *machine.Producer) error {
	key, value := r.Key, r.Value
	if len(key) < 2 {
		return fmt.Errorf("key of %d bytes: %w", len(key), ErrCorruptRecord)
	}
	switch version := (&kbin.Reader{Src: key}).Int16(); {
	case version == offsetKeyOld, version == offsetKey:
		return m.replayOffset(key, value, tx)
	case version == groupKey:
		return m.replayGroup(key, value)
	case consumer.Kinds(version):
		return m.replayConsumer(r)
	case shares.Kinds(version):
		return m.replayShare(r)
	default:
		return fmt.Errorf("key version %d: %w", version, ErrUnknownRecord)
	}
}

func (m *Machine) replayOffset(key, value []byte, tx *machine.Producer) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("offset key: %w", ErrCorruptRecord)
	}
	tp := TopicPartition{Topic: k.Topic, Partition: k.Partition}
	g := m.groups[k.Group]
	if value == nil {
		if g != nil {
			m.applyOffset(g, tp, nil, nil)
			m.forgetBare(g)
		}
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	switch version := valueVersion(value); {
	case version < 0 || version > offsetValueTopic:
		return fmt.Errorf("offset value version %d: %w", version, ErrUnknownRecord)
	case v.ReadFrom(value) != nil:
		return fmt.Errorf("offset value version %d: %w", version, ErrCorruptRecord)
	}
	o := Offset{
		Offset: v.Offset, LeaderEpoch: -1, Metadata: v.Metadata,
		CommittedMs: v.CommitTimestamp, ExpiresMs: -1, TopicID: v.TopicID,
	}
	if v.Version >= offsetValue {
		o.LeaderEpoch = v.LeaderEpoch
	}
	if v.Version == offsetValueV1 {
		o.ExpiresMs = v.ExpireTimestamp
	}
	if g == nil {
		g = newGroup(k.Group, -1)
		m.groups[k.Group] = g
	}
	m.applyOffset(g, tp, &o, tx)
	return nil
}

func (m *Machine) replayGroup(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group key: %w", ErrCorruptRecord)
	}
	old := m.groups[k.Group]
	if value == nil && old != nil && old.kind != nil {
		return nil // it became something else before
	}
	g := newGroup(k.Group, -1)
	if value != nil {
		v := kmsg.NewGroupMetadataValue()
		switch version := valueVersion(value); {
		case version < 0 || version > groupValueMax:
			return fmt.Errorf("group value version %d: %w", version, ErrUnknownRecord)
		case v.ReadFrom(value) != nil, v.Protocol == nil && len(v.Members) > 0:
			return fmt.Errorf("group value version %d: %w", version, ErrCorruptRecord)
		}
		g.restore(&v)
	}
	if old != nil {
		g.offsets, g.unsettled = old.offsets, old.unsettled
	}
	m.groups[k.Group] = g
	m.forgetBare(g)
	return nil
}

// forgetBare drops a group of which the log knows nothing any more.
func (m *Machine) forgetBare(g *group) {
	if !g.logged && g.kind == nil && len(g.offsets) == 0 && len(g.unsettled) == 0 {
		delete(m.groups, g.name)
	}
}

// restore sets a new group to what a record says.
func (g *group) restore(v *kmsg.GroupMetadataValue) {
	g.logged = true
	g.generation = max(v.Generation, 0)
	g.protocolType = v.ProtocolType
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	if v.Version >= 2 {
		g.changed = v.CurrentStateTimestamp
	}
	for i := range v.Members {
		mv := &v.Members[i]
		if g.members[mv.MemberID] != nil || mv.InstanceID != nil && g.static[*mv.InstanceID] != "" {
			continue
		}
		rebalance := mv.RebalanceTimeoutMillis
		if rebalance < 0 {
			rebalance = mv.SessionTimeoutMillis // as before version 1
		}
		g.add(&member{
			id:         mv.MemberID,
			instance:   mv.InstanceID,
			client:     Client{ID: mv.ClientID, Host: mv.ClientHost},
			session:    millis(mv.SessionTimeoutMillis),
			rebalance:  millis(rebalance),
			protocols:  []protocol{{name: g.protocol, metadata: append([]byte{}, mv.Subscription...)}},
			assignment: append([]byte{}, mv.Assignment...),
		}, v.ProtocolType)
	}
	if len(g.order) > 0 {
		g.state = Stable
		if v.Leader != nil && g.members[*v.Leader] != nil {
			g.leader = *v.Leader
		}
	}
	g.topics = g.subscriptions()
}

// millis bounds what a record may say, so that a deadline can always be computed.
func millis(ms int32) time.Duration { return time.Duration(max(ms, 0)) * time.Millisecond }

// valueVersion is -1 for a value that is too short to have one.
func valueVersion(value []byte) int16 {
	if len(value) < 2 {
		return -1
	}
	return (&kbin.Reader{Src: value}).Int16()
}

// corrupt makes what a package of a newer protocol says of a record one of this package's errors.
func corrupt(err error) error { return fmt.Errorf("%w: %w", ErrCorruptRecord, err) }
