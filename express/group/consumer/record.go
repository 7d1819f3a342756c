package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"

	"millrace/express/group/modern"
	"millrace/express/machine"
)

// The kinds of records of consumer groups in __consumer_offsets, by Kafka's numbers.
const (
	kindGroup             = 3
	kindPartitionMetadata = 4 // of Kafka 4.0; only deleted
	kindMember            = 5
	kindTarget            = 6
	kindTargetMember      = 7
	kindCurrent           = 8
	kindRegex             = 16
)

// Whether a structure follows that may be missing.
const (
	absent  = 0
	present = 1
)

// ErrUnknownKind is returned by Decode for a record that is not of a consumer group.
var ErrUnknownKind = errors.New("not a record of a consumer group")

// Kinds says whether records of that kind are of consumer groups.
func Kinds(kind int16) bool { return kind >= kindGroup && kind <= kindCurrent || kind == kindRegex }

// record is what all records here are.
type record = modern.Record[*Group]

// metadataRecord is the group's epoch and the state of its topics.
type metadataRecord struct {
	epoch int32
	hash  int64
}

// Apply implements modern.Record.
func (r metadataRecord) Apply(g *Group) { g.epoch, g.hash = r.epoch, r.hash }

// Encode implements modern.Record.
func (r metadataRecord) Encode(group string) machine.Record {
	v := kbin.AppendInt32(modern.Value(), r.epoch)
	if r.hash == 0 {
		v = modern.AppendTags(v)
	} else {
		v = modern.AppendTags(v, modern.Tag{ID: 0, Data: kbin.AppendInt64(nil, r.hash)})
	}
	return machine.Record{Key: modern.Key(kindGroup, group), Value: v}
}

// memberRecord is what a member said about itself.
type memberRecord struct{ m *Member }

// Apply implements modern.Record.
func (r memberRecord) Apply(g *Group) {
	next := *r.m
	if old := g.members[next.ID]; old != nil {
		next.Epoch, next.PreviousEpoch, next.State = old.Epoch, old.PreviousEpoch, old.State
		next.Assigned, next.Revoking = old.Assigned, old.Revoking
	} else {
		next.Epoch, next.PreviousEpoch, next.State, next.Assigned, next.Revoking = 0, 0, Stable, nil, nil
	}
	g.put(&next)
}

// Encode implements modern.Record.
func (r memberRecord) Encode(group string) machine.Record {
	v := kbin.AppendCompactNullableString(modern.Value(), r.m.Instance)
	v = kbin.AppendCompactNullableString(v, r.m.Rack)
	v = kbin.AppendCompactString(v, r.m.Client.ID)
	v = kbin.AppendCompactString(v, r.m.Client.Host)
	v = modern.AppendStrings(v, r.m.Topics)
	v = kbin.AppendCompactNullableString(v, r.m.Regex)
	v = kbin.AppendInt32(v, int32(r.m.Rebalance.Milliseconds()))
	v = kbin.AppendCompactNullableString(v, r.m.Assignor)
	v = modern.AppendTags(v, modern.Tag{ID: 0, Data: r.m.Classic.append(nil)})
	return machine.Record{Key: modern.Key(kindMember, group, r.m.ID), Value: v}
}

// append encodes what a classic member has. That there is nothing must be said: to Kafka, a field that is not there is an empty
// one that is.
func (c *Classic) append(v []byte) []byte {
	if c == nil {
		return kbin.AppendInt8(v, absent)
	}
	v = kbin.AppendInt8(v, present)
	v = kbin.AppendInt32(v, int32(c.Session.Milliseconds()))
	v = kbin.AppendCompactArrayLen(v, len(c.Protocols))
	for _, p := range c.Protocols {
		v = kbin.AppendCompactString(v, p.Name)
		v = kbin.AppendCompactBytes(v, p.Metadata)
		v = modern.AppendTags(v)
	}
	return modern.AppendTags(v)
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
	next.Epoch, next.PreviousEpoch, next.State = r.m.Epoch, r.m.PreviousEpoch, r.m.State
	next.Assigned, next.Revoking = r.m.Assigned, r.m.Revoking
	g.put(&next)
}

// Encode implements modern.Record.
func (r currentRecord) Encode(group string) machine.Record {
	v := kbin.AppendInt32(modern.Value(), r.m.Epoch)
	v = kbin.AppendInt32(v, r.m.PreviousEpoch)
	v = kbin.AppendInt8(v, int8(r.m.State))
	v = modern.AppendOwned(v, r.m.Assigned)
	v = modern.AppendOwned(v, r.m.Revoking)
	return machine.Record{Key: modern.Key(kindCurrent, group, r.m.ID), Value: modern.AppendTags(v)}
}

// regexRecord is what a regular expression matched.
type regexRecord struct {
	regex    string
	resolved Resolved
}

// Apply implements modern.Record.
func (r regexRecord) Apply(g *Group) {
	g.resolved[r.regex] = r.resolved
	g.subscription = nil
}

// Encode implements modern.Record.
func (r regexRecord) Encode(group string) machine.Record {
	v := modern.AppendStrings(modern.Value(), r.resolved.Topics)
	v = kbin.AppendInt64(v, r.resolved.Version)
	v = kbin.AppendInt64(v, r.resolved.Timestamp)
	return machine.Record{Key: modern.Key(kindRegex, group, r.regex), Value: modern.AppendTags(v)}
}

// tombstone deletes what a record of the same kind and name said.
type tombstone struct {
	kind int16
	name string // of the member, or the regular expression; "" where the group itself is meant
}

// Apply implements modern.Record.
func (r tombstone) Apply(g *Group) {
	switch r.kind {
	case kindGroup:
		g.epoch, g.hash = 0, 0
	case kindPartitionMetadata:
		g.oldMetadata = false
	case kindMember:
		g.remove(r.name)
	case kindTarget:
		g.assigned, g.assignedMs = 0, 0
	case kindTargetMember:
		delete(g.target, r.name)
	case kindCurrent:
		if old := g.members[r.name]; old != nil {
			next := *old
			next.Epoch, next.PreviousEpoch, next.State, next.Assigned, next.Revoking = epochLeave, epochLeave, Stable, nil, nil
			g.put(&next)
		}
	case kindRegex:
		delete(g.resolved, r.name)
		g.subscription = nil
	}
}

// Encode implements modern.Record.
func (r tombstone) Encode(group string) machine.Record {
	if r.kind == kindMember || r.kind == kindTargetMember || r.kind == kindCurrent || r.kind == kindRegex {
		return modern.Tombstone(r.kind, group, r.name)
	}
	return modern.Tombstone(r.kind, group)
}

// oldMetadataRecord is what Kafka 4.0 wrote of a group's topics.
type oldMetadataRecord struct{}

// Apply implements modern.Record.
func (oldMetadataRecord) Apply(g *Group) { g.oldMetadata = true }

// Encode implements modern.Record; we never write it.
func (oldMetadataRecord) Encode(group string) machine.Record {
	return modern.Tombstone(kindPartitionMetadata, group)
}

// Decode reads a record of the log. Nothing of the bytes is kept. Errors: ErrUnknownKind, modern.ErrCorrupt.
func Decode(r machine.Record) (group string, out modern.Record[*Group], err error) {
	names := 2
	switch kind := (&kbin.Reader{Src: r.Key}).Int16(); {
	case !Kinds(kind):
		return "", nil, fmt.Errorf("kind %d: %w", kind, ErrUnknownKind)
	case kind == kindGroup || kind == kindPartitionMetadata || kind == kindTarget:
		names = 1
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
	case kindGroup:
		out = decodeMetadata(in)
	case kindPartitionMetadata:
		out = oldMetadataRecord{}
	case kindMember:
		out = decodeMember(in, name[1])
	case kindTarget:
		out = decodeTarget(in)
	case kindTargetMember:
		out = targetMemberRecord{name[1], in.Partitions()}
		in.Tags(nil)
	case kindCurrent:
		out = decodeCurrent(in, name[1])
	case kindRegex:
		out = regexRecord{name[1], Resolved{Topics: in.Strings(), Version: in.Int64(), Timestamp: in.Int64()}}
		in.Tags(nil)
	}
	if err := in.Done(); err != nil {
		return "", nil, fmt.Errorf("record of kind %d: %w", kind, err)
	}
	return name[0], out, nil
}

func decodeMetadata(in *modern.Reader) record {
	r := metadataRecord{epoch: in.Int32()}
	in.Tags(func(id uint32, field *modern.Reader) {
		if id == 0 {
			r.hash = field.Int64()
		}
	})
	return r
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

func decodeMember(in *modern.Reader, id string) record {
	m := &Member{ID: id, Instance: in.CompactNullableString(), Rack: in.CompactNullableString()}
	m.Client = modern.Client{ID: in.CompactString(), Host: in.CompactString()}
	m.Topics = names(in.Strings())
	m.Regex = in.CompactNullableString()
	m.Rebalance = millis(in.Int32())
	m.Assignor = in.CompactNullableString()
	in.Tags(func(id uint32, field *modern.Reader) {
		if id == 0 && field.Int8() == present {
			c := &Classic{Session: millis(field.Int32())}
			field.List(func() {
				p := Protocol{Name: field.CompactString(), Metadata: append([]byte{}, field.CompactBytes()...)}
				field.Tags(nil)
				c.Protocols = append(c.Protocols, p)
			})
			if field.Ok() && len(c.Protocols) > 0 {
				m.Classic = c
			}
		}
	})
	return memberRecord{m}
}

func decodeCurrent(in *modern.Reader, id string) record {
	m := &Member{ID: id, Epoch: in.Int32(), PreviousEpoch: in.Int32(), State: State(in.Int8())}
	if m.State < Stable || m.State > UnreleasedPartitions {
		m.State = Unknown
	}
	m.Assigned = in.Owned(m.Epoch)
	m.Revoking = in.Owned(m.Epoch)
	in.Tags(nil)
	return currentRecord{m}
}

// millis bounds what a record may say, so that a deadline can always be computed.
func millis(ms int32) time.Duration { return time.Duration(max(ms, 0)) * time.Millisecond }
