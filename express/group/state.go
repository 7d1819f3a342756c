package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// State is the state of a classic group; doc.go draws the transitions.
type State int8

// The states, by Kafka's names.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

// String returns the name that ListGroups and DescribeGroups show.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// consumerType is the protocol type of consumers, the only one whose metadata is looked into.
const consumerType = "consumer"

// protocol is one way to assign that a member offers. Its bytes are never changed.
type protocol struct {
	name     string
	metadata []byte
}

// parked is a request that waits for its answer.
type parked struct {
	ticket  Ticket
	version int16
}

// member is one member of a group. Members that were told MEMBER_ID_REQUIRED are not members yet, see group.pending.
type member struct {
	id         string
	instance   *string // nil for dynamic members
	client     Client
	session    time.Duration
	rebalance  time.Duration
	protocols  []protocol // in order of preference
	assignment []byte
	isNew      bool // has not got its first JoinGroup answer, so it cannot send heartbeats

	join *parked // its JoinGroup that waits; change it with group.await
	sync *parked // its SyncGroup that waits
}

func (mem *member) bytes() int { return protocolBytes(mem.protocols) + len(mem.assignment) }

// metadata returns what the member sent for a protocol.
func (mem *member) metadata(name string) []byte {
	for _, p := range mem.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// offers reports whether the member sent exactly these protocols the last time.
func (mem *member) offers(protocols []protocol) bool {
	return slices.EqualFunc(mem.protocols, protocols, func(a, b protocol) bool {
		return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
	})
}

// alive reports whether a session that ran out does not matter: who waits in a rebalance need not send heartbeats.
func (mem *member) alive() bool { return !mem.isNew && (mem.join != nil || mem.sync != nil) }

// group is one classic group with its offsets.
type group struct {
	name         string
	state        State
	previous     State // the state before
	generation   int32
	protocolType string // "" for a group that only stores offsets
	protocol     string // the chosen one; "" when there is none
	leader       string // member id; "" when there is none
	changed      int64  // when the state was entered, ms; -1 unknown (an old record)
	logged       bool   // the log has a record about the group itself

	members   map[string]*member
	order     []*member         // in order of joining, so that effects do not depend on map order
	static    map[string]string // instance id to member id
	supported map[string]int    // protocol name to the number of members that offer it
	pending   map[string]bool   // ids given with MEMBER_ID_REQUIRED that have not joined yet
	unsynced  map[string]bool   // members that have not sent SyncGroup in this generation
	waiting   int               // members with a parked join
	replacing bool              // a static member's new id is on its way to the log
	newcomer  bool              // a member came during the initial delay, so it is extended
	bytes     int               // protocol metadata and assignments of all members
	topics    map[string]bool   // what the members subscribe to; nil when not known

	kind kind  // nil: a classic group; otherwise the group is that, and what is above is unused
	last int64 // the newest append of which the kind shows the effect

	offsets   map[string]map[int32]Offset // by topic and partition
	inLog     map[TopicPartition]int      // offsets in appends that are not settled
	unsettled map[TopicPartition]int      // open transactions that hold an offset of the partition
	appending int                         // appends that are not settled
}

func newGroup(name string, nowMs int64) *group {
	return &group{
		name: name, previous: Empty, changed: nowMs,
		members: map[string]*member{}, static: map[string]string{}, supported: map[string]int{},
		pending: map[string]bool{}, unsynced: map[string]bool{},
		offsets: map[string]map[int32]Offset{}, inLog: map[TopicPartition]int{}, unsettled: map[TopicPartition]int{},
	}
}

func (g *group) enter(s State, nowMs int64) {
	g.previous, g.state, g.changed = g.state, s, nowMs
}

// add makes mem a member. The first member of a group decides on the protocol type.
func (g *group) add(mem *member, protocolType string) {
	if len(g.order) == 0 {
		g.protocolType = protocolType
	}
	if mem.instance != nil {
		g.static[*mem.instance] = mem.id
	}
	if g.leader == "" {
		g.leader = mem.id
	}
	g.members[mem.id] = mem
	g.order = append(g.order, mem)
	g.count(mem, +1)
	if mem.join != nil {
		g.waiting++
	}
	delete(g.pending, mem.id)
}

// remove takes a member out, or forgets a pending one. Its parked requests must have been answered.
func (g *group) remove(id string) {
	if mem := g.members[id]; mem != nil {
		delete(g.members, id)
		g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == mem })
		g.count(mem, -1)
		if mem.join != nil {
			g.waiting--
		}
		if mem.instance != nil {
			delete(g.static, *mem.instance)
		}
	}
	if g.leader == id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
	delete(g.pending, id)
	delete(g.unsynced, id)
}

// rename gives a static member a new id; everything else stays. Its parked requests must have been answered.
func (g *group) rename(mem *member, id string) {
	delete(g.members, mem.id)
	if g.leader == mem.id {
		g.leader = id
	}
	if g.unsynced[mem.id] {
		delete(g.unsynced, mem.id)
		g.unsynced[id] = true
	}
	mem.id = id
	g.members[id] = mem
	g.static[*mem.instance] = id
}

// await sets or clears the parked join of a member.
func (g *group) await(mem *member, p *parked) {
	switch {
	case mem.join == nil && p != nil:
		g.waiting++
	case mem.join != nil && p == nil:
		g.waiting--
	}
	mem.join = p
}

// offer replaces what a member offers.
func (g *group) offer(mem *member, protocols []protocol, session, rebalance time.Duration) {
	g.count(mem, -1)
	mem.protocols, mem.session, mem.rebalance = protocols, session, rebalance
	g.count(mem, +1)
}

func (g *group) assign(mem *member, assignment []byte) {
	g.bytes += len(assignment) - len(mem.assignment)
	mem.assignment = assignment
}

func (g *group) count(mem *member, by int) {
	g.bytes += by * mem.bytes()
	for i, p := range mem.protocols {
		if slices.ContainsFunc(mem.protocols[:i], func(q protocol) bool { return q.name == p.name }) {
			continue // named twice, counts once
		}
		if g.supported[p.name] += by; g.supported[p.name] == 0 {
			delete(g.supported, p.name)
		}
	}
}

// supports reports whether a member of that type, with these protocols, can be in the group together with the others.
func (g *group) supports(protocolType string, protocols []protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p protocol) bool {
		return g.supported[p.name] == len(g.order)
	})
}

// vote chooses the protocol that all members offer and most of them prefer; among equals the one whose first vote came
// from the oldest member.
func (g *group) vote() string {
	votes := map[string]int{}
	var best string
	for _, mem := range g.order {
		for _, p := range mem.protocols {
			if g.supported[p.name] == len(g.order) {
				votes[p.name]++
				break
			}
		}
	}
	for _, mem := range g.order {
		for _, p := range mem.protocols {
			if votes[p.name] > votes[best] {
				best = p.name
			}
		}
	}
	return best
}

func (g *group) allJoined() bool { return g.waiting == len(g.order) && len(g.pending) == 0 }

// rebalanceTimeout is the longest that any member asked for.
func (g *group) rebalanceTimeout() time.Duration {
	var most time.Duration
	for _, mem := range g.order {
		most = max(most, mem.rebalance)
	}
	return most
}

// elect keeps the leader if it has rejoined and otherwise takes the oldest member that has; false when nobody has.
func (g *group) elect() bool {
	if g.leader == "" {
		return false
	}
	if g.members[g.leader].join != nil {
		return true
	}
	for _, mem := range g.order {
		if mem.join != nil {
			g.leader = mem.id
			return true
		}
	}
	return false
}

// nextGeneration starts a generation of the members there are.
func (g *group) nextGeneration(nowMs int64) {
	g.generation++
	if g.generation < 0 {
		g.generation = 0 // after 2^31-1 generations
	}
	clear(g.unsynced)
	if len(g.order) == 0 {
		g.protocol = ""
		g.enter(Empty, nowMs)
	} else {
		g.protocol = g.vote()
		g.enter(CompletingRebalance, nowMs)
	}
	g.topics = g.subscriptions()
}

// subscribed reports whether a member reads the topic. When a consumer's metadata cannot be read, all topics count.
func (g *group) subscribed(topic string) bool {
	if g.kind != nil {
		return g.kind.Subscribed(topic)
	}
	if g.topics == nil {
		return g.protocolType == consumerType
	}
	return g.topics[topic]
}

// subscriptions collects the topics of all members; nil when they cannot be known.
func (g *group) subscriptions() map[string]bool {
	if g.protocolType != consumerType {
		return nil
	}
	topics := map[string]bool{}
	for _, mem := range g.order {
		if !appendSubscription(topics, mem.metadata(g.protocol)) {
			return nil
		}
	}
	return topics
}

// appendSubscription reads the part of the consumer protocol's metadata that all versions share: version, topics.
func appendSubscription(topics map[string]bool, metadata []byte) bool {
	// Every version starts with the fields of version 0, and user data follows the topics in all of them.
	var sub kmsg.ConsumerMemberMetadata
	if len(metadata) < 2 || metadata[0] > 127 {
		return false // no version, or a negative one
	}
	v0 := slices.Concat([]byte{0, 0}, metadata[2:])
	if err := sub.ReadFrom(v0); err != nil {
		return false
	}
	for _, t := range sub.Topics {
		topics[t] = true
	}
	return true
}

// joinMembers is what the leader is told about the members.
func (g *group) joinMembers() []kmsg.JoinGroupResponseMember {
	out := make([]kmsg.JoinGroupResponseMember, len(g.order))
	for i, mem := range g.order {
		out[i] = kmsg.JoinGroupResponseMember{
			MemberID: mem.id, InstanceID: mem.instance, ProtocolMetadata: mem.metadata(g.protocol),
		}
	}
	return out
}

// cloneProtocols copies what a request holds, whose bytes belong to the network.
func cloneProtocols(in []kmsg.JoinGroupRequestProtocol) []protocol {
	out := make([]protocol, len(in))
	for i, p := range in {
		out[i] = protocol{name: p.Name, metadata: bytes.Clone(p.Metadata)}
	}
	return out
}

func protocolBytes(protocols []protocol) int {
	n := 0
	for _, p := range protocols {
		n += len(p.name) + len(p.metadata)
	}
	return n
}
