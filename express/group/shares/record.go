package shares

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/topic"
)

// The kinds of records of share groups in __consumer_offsets, by Kafka's numbers.
const (
	kindMember       = 10
	kindGroup        = 11
	kindTarget       = 12
	kindTargetMember = 13
	kindCurrent      = 14
	kindState        = 15
)

// ErrUnknownKind is returned by Decode for a record that is not of a share group.
var ErrUnknownKind = errors.New("not a record of a share group")

// Kinds says whether records of that kind are of share groups.
func Kinds(kind int16) bool { return kind >= kindMember && kind <= kindState }

// record is what all records here are.
type record = modern.Record[*Group]

// memberRecord is what a member said about itself.
type memberRecord struct{ m *Member }

// Apply implements modern.Record.
func (r memberRecord) Apply(g *Group) {
	next := *r.m
	next.Epoch, next.PreviousEpoch, next.Assigned = 0, 0, nil
	if old := g.members[next.ID]; old != nil {
		next.Epoch, next.PreviousEpoch, next.Assigned = old.Epoch, old.PreviousEpoch, old.Assigned
	}
	g.put(&next)
}

// Encode implements modern.Record.
func (r memberRecord) Encode(group string) machine.Record {
	v := kbin.AppendCompactNullableString(modern.Value(), r.m.Rack)
	v = kbin.AppendCompactString(v, r.m.Client.ID)
	v = kbin.AppendCompactString(v, r.m.Client.Host)
	v = modern.AppendStrings(v, r.m.Topics)
	return machine.Record{Key: modern.Key(kindMember, group, r.m.ID), Value: modern.AppendTags(v)}
}

// metadataRecord is the group's epoch and the state of its topics.
type metadataRecord struct {
	epoch int32
	hash  int64
}

// Apply implements modern.Record.
func (r metadataRecord) Apply(g *Group) { g.epoch, g.hash = r.epoch, r.hash }

// Encode implements modern.Record.
func (r metadataRecord) Encode(group string) machine.Record {
	v := kbin.AppendInt64(kbin.AppendInt32(modern.Value(), r.epoch), r.hash)
	return machine.Record{Key: modern.Key(kindGroup, group), Value: modern.AppendTags(v)}
}

// targetRecord says that the target assignment of an epoch is complete.
type targetRecord struct {
	epoch int32
	ms    int64
}

// Apply implements modern.Record.
func (r targetRecord) Apply(g *Group) { g.assigned, g.assignedMs = r.epoch, r.ms }

// Encode implements modern.Record.
func (r targetRecord) Encode(group string) machine.Record {
	v := kbin.AppendInt32(modern.Value(), r.epoch)
	if r.ms == 0 {
		v = modern.AppendTags(v)
	} else {
		v = modern.AppendTags(v, modern.Tag{ID: 0, Data: kbin.AppendInt64(nil, r.ms)})
	}
	return machine.Record{Key: modern.Key(kindTarget, group), Value: v}
}

// targetMemberRecord is what a member shall have.
type targetMemberRecord struct {
	member     string
	partitions modern.Partitions
}

// Apply implements modern.Record.
func (r targetMemberRecord) Apply(g *Group) { g.target[r.member] = r.partitions }

// Encode implements modern.Record.
func (r targetMemberRecord) Encode(group string) machine.Record {
	v := modern.AppendTags(modern.AppendPartitions(modern.Value(), r.partitions))
	return machine.Record{Key: modern.Key(kindTargetMember, group, r.member), Value: v}
}

// currentRecord is what a member has.
type currentRecord struct{ m *Member }

// Apply implements modern.Record.
func (r currentRecord) Apply(g *Group) {
	next := Member{ID: r.m.ID}
	if old := g.members[r.m.ID]; old != nil {
		next = *old
	}
	next.Epoch, next.PreviousEpoch, next.Assigned = r.m.Epoch, r.m.PreviousEpoch, r.m.Assigned
	g.put(&next)
}

// stable is the only state of members.
const stable = 0

// Encode implements modern.Record.
func (r currentRecord) Encode(group string) machine.Record {
	v := kbin.AppendInt32(modern.Value(), r.m.Epoch)
	v = kbin.AppendInt32(v, r.m.PreviousEpoch)
	v = kbin.AppendInt8(v, stable)
	v = modern.AppendPartitions(v, r.m.Assigned)
	return machine.Record{Key: modern.Key(kindCurrent, group, r.m.ID), Value: modern.AppendTags(v)}
}

// stateRecord is the three lists.
type stateRecord struct {
	lists lists
	asked time.Time // not in the log
}

// Apply implements modern.Record.
func (r stateRecord) Apply(g *Group) {
	for id, t := range r.lists.initializing {
		if !slices.Equal(t.partitions, g.state.initializing[id].partitions) && !r.asked.IsZero() {
			g.asked[id] = r.asked
		}
	}
	for id := range g.asked {
		if _, ok := r.lists.initializing[id]; !ok {
			delete(g.asked, id)
		}
	}
	g.state = r.lists
}

// Encode implements modern.Record.
func (r stateRecord) Encode(group string) machine.Record {
	v := appendTopics(modern.Value(), r.lists.initializing)
	v = appendTopics(v, r.lists.initialized)
	v = kbin.AppendCompactArrayLen(v, len(r.lists.deleting))
	for _, id := range sortedIDs(r.lists.deleting) {
		v = kbin.AppendCompactString(kbin.AppendUuid(v, id), r.lists.deleting[id])
		v = modern.AppendTags(v)
	}
	return machine.Record{Key: modern.Key(kindState, group), Value: modern.AppendTags(v)}
}

func appendTopics(v []byte, list map[topic.ID]topicState) []byte {
	v = kbin.AppendCompactArrayLen(v, len(list))
	for _, id := range sortedIDs(list) {
		v = kbin.AppendCompactString(kbin.AppendUuid(v, id), list[id].name)
		v = modern.AppendTags(modern.AppendInt32s(v, list[id].partitions))
	}
	return v
}

func sortedIDs[V any](m map[topic.ID]V) []topic.ID {
	ids := make([]topic.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, modern.CompareIDs)
	return ids
}

// tombstone deletes what a record of the same kind and name said.
type tombstone struct {
	kind int16
	name string // of the member; "" where the group itself is meant
}

// Apply implements modern.Record.
func (r tombstone) Apply(g *Group) {
	switch r.kind {
	case kindMember:
		g.remove(r.name)
	case kindGroup:
		g.epoch, g.hash = 0, 0
	case kindTarget:
		g.assigned, g.assignedMs = 0, 0
	case kindTargetMember:
		delete(g.target, r.name)
	case kindCurrent:
		if old := g.members[r.name]; old != nil {
			next := *old
			next.Epoch, next.PreviousEpoch, next.Assigned = epochLeave, epochLeave, nil
			g.put(&next)
		}
	case kindState:
		g.state = lists{}
		clear(g.asked)
	}
}

// Encode implements modern.Record.
func (r tombstone) Encode(group string) machine.Record {
	if r.kind == kindMember || r.kind == kindTargetMember || r.kind == kindCurrent {
		return modern.Tombstone(r.kind, group, r.name)
	}
	return modern.Tombstone(r.kind, group)
}

// Decode reads a record of the log. Nothing of the bytes is kept. Errors: ErrUnknownKind, modern.ErrCorrupt.
func Decode(r machine.Record) (group string, out modern.Record[*Group], err error) {
	names := 1
	switch kind := (&kbin.Reader{Src: r.Key}).Int16(); kind {
	case kindMember, kindTargetMember, kindCurrent:
		names = 2
	case kindGroup, kindTarget, kindState:
	default:
		return "", nil, fmt.Errorf("kind %d: %w", kind, ErrUnknownKind)
	}
	kind, name, err := modern.SplitKey(r.Key, names)
	if err != nil {
		return "", nil, err
	}
	name = append(name, "")
	if r.Value == nil {
		return name[0], tombstone{kind, name[1]}, nil
	}
	in := modern.NewReader(r.Value)
	switch kind {
	case kindMember:
		m := &Member{ID: name[1], Rack: in.CompactNullableString()}
		m.Client = modern.Client{ID: in.CompactString(), Host: in.CompactString()}
		m.Topics = sortedNames(in.Strings())
		out = memberRecord{m}
	case kindGroup:
		out = metadataRecord{in.Int32(), in.Int64()}
	case kindTarget:
		out = decodeTarget(in)
	case kindTargetMember:
		out = targetMemberRecord{name[1], in.Partitions()}
	case kindCurrent:
		m := &Member{ID: name[1], Epoch: in.Int32(), PreviousEpoch: in.Int32()}
		in.Int8()
		m.Assigned = in.Partitions()
		out = currentRecord{m}
	case kindState:
		out = decodeState(in)
	}
	if err := in.Done(); err != nil {
		return "", nil, fmt.Errorf("record of kind %d: %w", kind, err)
	}
	return name[0], out, nil
}

func decodeTarget(in *modern.Reader) record {
	r := targetRecord{epoch: in.Int32()}
	in.Tags(func(id uint32, field *modern.Reader) {
		if id == 0 {
			r.ms = field.Int64()
		}
	})
	return r
}

func decodeState(in *modern.Reader) record {
	l := (&lists{}).clone()
	for _, list := range []map[topic.ID]topicState{l.initializing, l.initialized} {
		in.List(func() {
			id, name := topic.ID(in.Uuid()), in.CompactString()
			if partitions := in.Int32s(); len(partitions) > 0 {
				with(list, id, name, partitions)
			}
			in.Tags(nil)
		})
	}
	in.List(func() {
		id := topic.ID(in.Uuid())
		l.deleting[id] = in.CompactString()
		in.Tags(nil)
	})
	return stateRecord{lists: l}
}
