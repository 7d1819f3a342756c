package consumer

import (
	"iter"
	"maps"
	"slices"
	"time"

	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// metadataRefresh is how long a group trusts that it heard of all changes of its topics (as in Kafka).
const metadataRefresh = 3 * time.Minute

// typeName is how ListGroups names the type of these groups.
const typeName = "consumer"

// The states of a group, by Kafka's names.
const (
	GroupEmpty       = "Empty"
	GroupAssigning   = "Assigning"
	GroupReconciling = "Reconciling"
	GroupStable      = "Stable"
)

// Resolved is what a regular expression matched. It never changes.
type Resolved struct {
	Topics    []string // ascending
	Version   int64    // of the topics that were looked at; of another process, after a restart
	Timestamp int64    // ms
}

// Group is one consumer group. Its zero value is not useful, see New. Only Apply changes what is in the log.
type Group struct {
	id           string
	epoch        int32
	hash         int64 // of the topics that the members subscribe to
	assigned     int32 // the epoch of the target assignment
	assignedMs   int64 // when it was computed; 0 unknown
	oldMetadata  bool  // the log has a record of Kafka 4.0 that is of no use any more
	members      map[string]*Member
	order        []string          // member ids, ascending
	static       map[string]string // instance id to member id
	target       map[string]modern.Partitions
	resolved     map[string]Resolved        // by regular expression
	owners       map[topic.Partition]string // who has it, or has not given it up yet
	subscription map[string]bool            // cache of Topics; nil: to be computed

	// Not in the log: what the group last saw of the topics.
	refreshAt    time.Time
	topicVersion int64
	regexVersion int64 // of the topics at the last refresh of the regular expressions by this process; -1 never
}

// New returns a group without members.
func New(id string) *Group {
	return &Group{
		id: id, members: map[string]*Member{}, static: map[string]string{}, target: map[string]modern.Partitions{},
		resolved: map[string]Resolved{}, owners: map[topic.Partition]string{}, regexVersion: -1,
	}
}

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// Type is how ListGroups names the group's protocol.
func (g *Group) Type() string { return typeName }

// ProtocolType is what ListGroups shows by that name.
func (g *Group) ProtocolType() string { return ProtocolType }

// Bare says whether the log knows nothing of the group.
func (g *Group) Bare() bool { return g.epoch == 0 && len(g.members) == 0 }

// Replay applies one record of the log.
func (g *Group) Replay(r modern.Record[*Group]) { r.Apply(g) }

// Epoch is the group's epoch.
func (g *Group) Epoch() int32 { return g.epoch }

// Len is the number of members.
func (g *Group) Len() int { return len(g.members) }

// State is the group's state, by Kafka's name.
func (g *Group) State() string {
	switch {
	case len(g.members) == 0:
		return GroupEmpty
	case g.epoch > g.assigned:
		return GroupAssigning
	}
	for _, m := range g.members {
		if !m.reconciled(g.assigned) {
			return GroupReconciling
		}
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
	if g.subscription == nil {
		g.subscription = subscription(g.Members(), g.resolved)
	}
	return g.subscription[name]
}

// subscription is all topics that members name, and all that a regular expression matched.
func subscription(members iter.Seq[*Member], resolved map[string]Resolved) map[string]bool {
	out := map[string]bool{}
	for m := range members {
		for _, name := range m.Topics {
			out[name] = true
		}
	}
	for _, r := range resolved {
		for _, name := range r.Topics {
			out[name] = true
		}
	}
	return out
}

// subscribedIDs are the topics that one member reads, as far as they exist, ascending.
func subscribedIDs(m *Member, resolved map[string]Resolved, topics modern.Topics) []topic.ID {
	var out []topic.ID
	for _, list := range [][]string{m.Topics, resolved[m.regex()].Topics} {
		for _, name := range list {
			if t, ok := topics.TopicByName(name); ok {
				out = append(out, t.ID)
			}
		}
	}
	slices.SortFunc(out, modern.CompareIDs)
	return slices.Compact(out)
}

// regexMembers counts the members with a regular expression.
func (g *Group) regexMembers(regex string) int {
	n := 0
	for _, m := range g.members {
		if m.regex() == regex {
			n++
		}
	}
	return n
}

// Apply makes the group what an event made of it.
func (g *Group) Apply(c Change) {
	for _, r := range c.Records {
		r.Apply(g)
	}
	if c.seen != nil {
		g.topicVersion, g.refreshAt = c.seen.version, c.seen.until
	}
	if c.regexSeen != nil {
		g.regexVersion = *c.regexSeen
	}
}

// put replaces a member.
func (g *Group) put(m *Member) {
	old := g.members[m.ID]
	if old == nil {
		at, _ := slices.BinarySearch(g.order, m.ID)
		g.order = slices.Insert(g.order, at, m.ID)
	} else {
		g.release(old)
		if old.Instance != nil && g.static[*old.Instance] == m.ID {
			delete(g.static, *old.Instance)
		}
	}
	g.members[m.ID] = m
	if m.Instance != nil {
		g.static[*m.Instance] = m.ID
	}
	for _, owned := range []modern.Owned{m.Assigned, m.Revoking} {
		for id, indexes := range owned {
			for index := range indexes {
				g.owners[topic.Partition{Topic: id, Index: index}] = m.ID
			}
		}
	}
	g.subscription = nil
}

func (g *Group) remove(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.release(m)
	delete(g.members, id)
	at, _ := slices.BinarySearch(g.order, id)
	g.order = slices.Delete(g.order, at, at+1)
	if m.Instance != nil && g.static[*m.Instance] == id {
		delete(g.static, *m.Instance)
	}
	g.subscription = nil
}

// release frees what a member has. In a log that was half compacted somebody else may have it already.
func (g *Group) release(m *Member) {
	for _, owned := range []modern.Owned{m.Assigned, m.Revoking} {
		for id, indexes := range owned {
			for index := range indexes {
				if p := (topic.Partition{Topic: id, Index: index}); g.owners[p] == m.ID {
					delete(g.owners, p)
				}
			}
		}
	}
}

// draft is the group as an event would leave it: some members put in place of others.
type draft struct {
	*Group
	changed  map[string]*Member // nil: removed
	resolved map[string]Resolved
}

func (g *Group) draft() *draft {
	return &draft{Group: g, changed: map[string]*Member{}, resolved: g.resolved}
}

// forget takes a regular expression out.
func (d *draft) forget(regex string) {
	if _, ok := d.resolved[regex]; ok {
		d.resolved = maps.Clone(d.resolved)
		delete(d.resolved, regex)
	}
}

// each goes through the members in the order of their ids.
func (d *draft) each() iter.Seq[*Member] {
	ids := d.order
	for id, m := range d.changed {
		if at, ok := slices.BinarySearch(ids, id); !ok && m != nil {
			ids = slices.Insert(slices.Clone(ids), at, id)
		}
	}
	return func(yield func(*Member) bool) {
		for _, id := range ids {
			m, changed := d.changed[id]
			if !changed {
				m = d.members[id]
			}
			if m != nil && !yield(m) {
				return
			}
		}
	}
}
