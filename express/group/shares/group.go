package shares

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/modern"
	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

const (
	typeName     = "share" // how ListGroups names the type of these groups
	protocolType = "share"
	assignorName = "simple"
)

// The states of a group, by Kafka's names.
const (
	GroupEmpty  = "Empty"
	GroupStable = "Stable"
)

// Member is one member. It never changes once it is in a group.
type Member struct {
	ID                   string
	Rack                 *string
	Client               modern.Client
	Topics               []string // ascending
	Epoch, PreviousEpoch int32
	Assigned             modern.Partitions
}

// Group is one share group. Its zero value is not useful, see New. Only Apply changes what is in the log.
type Group struct {
	id         string
	epoch      int32
	hash       int64 // of the topics that the members subscribe to
	assigned   int32 // the epoch of the target assignment
	assignedMs int64 // when it was computed; 0 unknown
	members    map[string]*Member
	order      []string // member ids, ascending
	target     map[string]modern.Partitions
	state      lists

	// Not in the log.
	topicVersion int64 // of the topics when they were last looked at
	looked       bool
	asked        map[topic.ID]time.Time // when initializing was last asked for
}

// New returns a group without members.
func New(id string) *Group {
	return &Group{id: id, members: map[string]*Member{}, target: map[string]modern.Partitions{}, asked: map[topic.ID]time.Time{}}
}

// Config is what the broker's and the group's configuration say about one group.
type Config struct {
	Session            time.Duration // share.session.timeout.ms
	Heartbeat          time.Duration // share.heartbeat.interval.ms
	AssignmentInterval time.Duration // share.assignment.interval.ms; 0: compute an assignment whenever one is needed
	MaxSize            int           // group.share.max.size
	InitializeRetry    time.Duration // group.share.initialize.retry.interval.ms
}

// DefaultConfig is Kafka's.
func DefaultConfig() Config {
	return Config{
		Session: 45 * time.Second, Heartbeat: 5 * time.Second, AssignmentInterval: time.Second, MaxSize: 200, InitializeRetry: 30 * time.Second,
	}
}

// Env is what an event needs besides the request.
type Env struct {
	Now    time.Time
	Topics modern.Topics
	Config Config
}

// Change is what an event makes of a group.
type Change struct {
	modern.Change[*Group]
	Initialize []Initialize // once the records are durable
	seen       *int64       // not nil: the state of the topics that was looked at
}

// Initialize asks the share coordinator to make a share-partition new.
type Initialize struct {
	Partition  topic.Partition
	StateEpoch int32
	Start      int64 // -1: left to who reads it first
}

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// Type is how ListGroups names the group's protocol.
func (g *Group) Type() string { return typeName }

// ProtocolType is what ListGroups shows by that name.
func (g *Group) ProtocolType() string { return protocolType }

// Epoch is the group's epoch.
func (g *Group) Epoch() int32 { return g.epoch }

// Bare says whether the log knows nothing of the group.
func (g *Group) Bare() bool { return g.epoch == 0 && len(g.members) == 0 && g.state.empty() }

// Replay applies one record of the log.
func (g *Group) Replay(r modern.Record[*Group]) { r.Apply(g) }

// Len is the number of members.
func (g *Group) Len() int { return len(g.members) }

// State is the group's state, by Kafka's name.
func (g *Group) State() string {
	if len(g.members) == 0 {
		return GroupEmpty
	}
	return GroupStable
}

// Member finds a member; nil if there is none.
func (g *Group) Member(id string) *Member { return g.members[id] }

// Members goes through the members in the order of their ids.
func (g *Group) Members() iter.Seq[*Member] {
	return func(yield func(*Member) bool) {
		for _, id := range g.order {
			if !yield(g.members[id]) {
				return
			}
		}
	}
}

// Subscribed says whether a member reads the topic.
func (g *Group) Subscribed(name string) bool {
	for _, m := range g.members {
		if _, ok := slices.BinarySearch(m.Topics, name); ok {
			return true
		}
	}
	return false
}

// CheckCommit refuses all: share groups have no committed offsets.
func (g *Group) CheckCommit(modern.Commit) (func(topic.ID, int32) error, error) {
	return nil, g.notConsumer()
}

// CheckFetch refuses likewise.
func (g *Group) CheckFetch(*string, int32) error { return g.notConsumer() }

func (g *Group) notConsumer() error {
	return &modern.Error{Code: kerr.GroupIDNotFound, Text: fmt.Sprintf("Group %s is not a consumer group.", g.id)}
}

// Apply makes the group what an event made of it.
func (g *Group) Apply(c Change) {
	for _, r := range c.Records {
		r.Apply(g)
	}
	if c.seen != nil {
		g.topicVersion, g.looked = *c.seen, true
	}
}

// put replaces a member.
func (g *Group) put(m *Member) {
	if g.members[m.ID] == nil {
		at, _ := slices.BinarySearch(g.order, m.ID)
		g.order = slices.Insert(g.order, at, m.ID)
	}
	g.members[m.ID] = m
}

func (g *Group) remove(id string) {
	if g.members[id] == nil {
		return
	}
	delete(g.members, id)
	at, _ := slices.BinarySearch(g.order, id)
	g.order = slices.Delete(g.order, at, at+1)
}

// Loaded gives every member of a replayed group a session.
func (g *Group) Loaded(e Env) Change {
	var c Change
	for m := range g.Members() {
		c.Set(m.ID, modern.Session, e.Config.Session)
	}
	return c
}

// Fence takes a member out.
func (g *Group) Fence(e Env, id string) Change {
	var c Change
	if g.members[id] == nil {
		return c
	}
	c.Add(tombstone{kindCurrent, id}, tombstone{kindTargetMember, id}, tombstone{kindMember, id})
	names := map[string]bool{}
	for m := range g.Members() {
		if m.ID != id {
			add(names, m.Topics)
		}
	}
	c.Add(metadataRecord{g.epoch + 1, modern.Hash(maps.Keys(names), e.Topics)})
	c.Cancel(id, modern.Timers()...)
	return c
}

func add(names map[string]bool, more []string) {
	for _, name := range more {
		names[name] = true
	}
}

// Tombstones take the whole group out of the log.
func (g *Group) Tombstones() []machine.Record {
	var out []machine.Record
	for m := range g.Members() {
		out = append(out, tombstone{kindCurrent, m.ID}.Encode(g.id))
	}
	for _, id := range slices.Sorted(maps.Keys(g.target)) {
		out = append(out, tombstone{kindTargetMember, id}.Encode(g.id))
	}
	out = append(out, tombstone{kindTarget, ""}.Encode(g.id))
	for m := range g.Members() {
		out = append(out, tombstone{kindMember, m.ID}.Encode(g.id))
	}
	return append(out, tombstone{kindState, ""}.Encode(g.id), tombstone{kindGroup, ""}.Encode(g.id))
}

// Describe is what ShareGroupDescribe shows of the group.
func (g *Group) Describe(topics modern.Topics) kmsg.ShareGroupDescribeResponseGroup {
	d := kmsg.NewShareGroupDescribeResponseGroup()
	d.GroupID, d.GroupState, d.GroupEpoch, d.AssignmentEpoch, d.Assignor = g.id, g.State(), g.epoch, g.assigned, assignorName
	for m := range g.Members() {
		dm := kmsg.NewShareGroupDescribeResponseGroupMember()
		dm.MemberID, dm.RackID, dm.MemberEpoch = m.ID, m.Rack, m.Epoch
		dm.ClientID, dm.ClientHost, dm.SubscribedTopicNames = m.Client.ID, m.Client.Host, m.Topics
		for id, indexes := range m.Assigned.Sorted() {
			if t, ok := topics.TopicByID(id); ok {
				dm.Assignment.TopicPartitions = append(dm.Assignment.TopicPartitions,
					kmsg.ShareGroupDescribeResponseGroupMemberAssignmentTopicPartition{TopicID: id, Topic: t.Name, Partitions: indexes})
			}
		}
		d.Members = append(d.Members, dm)
	}
	return d
}
