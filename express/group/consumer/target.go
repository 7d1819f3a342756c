package consumer

import (
	"maps"
	"slices"
	"time"

	"millrace/express/group/assignor"
	"millrace/express/group/modern"
	"millrace/kafka/topic"
)

// Config is what the broker's and the group's configuration say about one group.
type Config struct {
	Session            time.Duration // consumer.session.timeout.ms
	Heartbeat          time.Duration // consumer.heartbeat.interval.ms
	AssignmentInterval time.Duration // consumer.assignment.interval.ms; 0: compute an assignment whenever one is needed
	MaxSize            int           // group.consumer.max.size
	Assignors          []string      // group.consumer.assignors: the first is the default; none empty
	RegexRefresh       time.Duration // group.consumer.regex.refresh.interval.ms
	MaxRegexBytes      int           // of one regular expression; Kafka has no such bound
	Upgrade            bool          // group.consumer.migration.policy: a classic group may become a consumer group
	Downgrade          bool          // group.consumer.migration.policy: a consumer group may become a classic group
	ClassicMaxSize     int           // group.max.size: of a group that becomes classic
}

// DefaultConfig is Kafka's, and a bound of our own that no sensible expression meets.
func DefaultConfig() Config {
	return Config{
		Session: 45 * time.Second, Heartbeat: 5 * time.Second, AssignmentInterval: time.Second, MaxSize: 1<<31 - 1,
		Assignors: []string{assignor.UniformName, assignor.RangeName}, RegexRefresh: 10 * time.Minute, MaxRegexBytes: 8 << 10,
		Upgrade: true, Downgrade: true, ClassicMaxSize: 1<<31 - 1,
	}
}

// Env is what an event needs besides the request.
type Env struct {
	Now         time.Time
	Topics      modern.Topics
	Config      Config
	NewID       func() string          // makes a member id
	MayDescribe func(name string) bool // nil: all topics may be seen; otherwise those that the caller may describe
}

// Change is what an event makes of a group.
type Change struct {
	modern.Change[*Group]
	Classic   *ClassicGroup // not nil: the group becomes this classic group, and its records end with tombstones
	Refresh   bool          // the regular expressions are to be resolved next (Group.Refresh)
	seen      *seen         // not nil: what the group has seen of the topics now
	regexSeen *int64        // likewise, of the regular expressions
}

// seen is which state of the topics a group has looked at, and until when that is good. It is not in the log.
type seen struct {
	version int64
	until   time.Time
}

// operation is one event on its way: what it found, and what it will change.
type operation struct {
	Env
	*draft
	Change
	epoch int32 // of the group, once the event is done
}

func (g *Group) begin(e Env) *operation { return &operation{Env: e, draft: g.draft(), epoch: g.epoch} }

// metadataExpired says whether the group must look at its topics again.
func (o *operation) metadataExpired() bool {
	return !o.Now.Before(o.refreshAt) || o.topicVersion != o.Topics.TopicsVersion()
}

// hashNow stands for the topics as the draft has them.
func (o *operation) hashNow() int64 {
	return modern.Hash(maps.Keys(subscription(o.each(), o.resolved)), o.Topics)
}

// updateMetadata looks at the topics, and makes a new epoch if they have changed or bump says so.
func (o *operation) updateMetadata(bump bool) {
	version := o.Topics.TopicsVersion() // first: what changes after is seen the next time
	hash := o.hashNow()
	if hash != o.hash {
		bump = true
	}
	fresh := o.epoch == 0
	if fresh { // that there is a group is an epoch by itself
		o.epoch++
	}
	if bump {
		o.epoch++
	}
	if bump || fresh {
		o.Add(metadataRecord{o.epoch, hash})
	}
	if o.oldMetadata {
		o.Add(tombstone{kind: kindPartitionMetadata})
	}
	o.seen = &seen{version, o.Now.Add(metadataRefresh)}
}

// assign computes a new target assignment for the draft if the group's epoch asks for one and the last one is old enough.
// It returns what the member shall have, and the epoch of that.
func (o *operation) assign(m *Member) (int32, modern.Partitions) {
	current := func() (int32, modern.Partitions) { return o.assigned, o.targetOf(m) }
	if o.assigned >= o.epoch {
		return current()
	}
	next := time.UnixMilli(o.assignedMs).Add(o.Config.AssignmentInterval)
	if o.assignedMs != 0 && o.Config.AssignmentInterval != 0 && o.Now.Before(next) {
		return current()
	}
	spec := assignor.Spec{Homogeneous: o.homogeneous(), Partitions: o.partitions()}
	for member := range o.each() {
		am := assignor.Member{ID: member.ID, Target: o.targetOf(member), Subscribed: subscribedIDs(member, o.resolved, o.Topics)}
		if member.Instance != nil {
			am.Instance = *member.Instance
		}
		spec.Members = append(spec.Members, am)
	}
	f, _ := assignor.ByName(o.preferredAssignor())
	targets := f(spec)
	for _, member := range spec.Members {
		old, had := o.target[member.ID]
		if partitions := targets[member.ID]; !had || !partitions.Equal(old) {
			o.Add(targetMemberRecord{member.ID, partitions})
		}
	}
	o.Add(targetRecord{o.epoch, o.Now.UnixMilli()})
	return o.epoch, targets[m.ID]
}

// partitions counts the partitions of topics, each once, so that one assignment sees one state of the topics.
func (o *operation) partitions() func(topic.ID) int32 {
	counts := map[topic.ID]int32{}
	return func(id topic.ID) int32 {
		n, ok := counts[id]
		if !ok {
			t, _ := o.Topics.TopicByID(id)
			n = t.Partitions
			counts[id] = n
		}
		return n
	}
}

// targetOf is what a member was to have until now; a static member's successor takes over what the member had.
func (o *operation) targetOf(m *Member) modern.Partitions {
	if m.Instance != nil {
		if previous, ok := o.static[*m.Instance]; ok && previous != m.ID {
			return o.target[previous]
		}
	}
	return o.target[m.ID]
}

// homogeneous says whether all members subscribe to the same, as Kafka sees it: with regular expressions only if nobody
// names topics besides.
func (o *operation) homogeneous() bool {
	var first *Member
	for m := range o.each() {
		if first == nil {
			first = m
		}
		if m.regex() != first.regex() || !slices.Equal(m.Topics, first.Topics) || m.regex() != "" && len(m.Topics) > 0 {
			return false
		}
	}
	return true
}

// preferredAssignor is the one that most members wish for, of those that are configured.
func (o *operation) preferredAssignor() string {
	votes := map[string]int{}
	for m := range o.each() {
		if m.Assignor != nil && slices.Contains(o.Config.Assignors, *m.Assignor) {
			votes[*m.Assignor]++
		}
	}
	best := o.Config.Assignors[0]
	for _, name := range o.Config.Assignors {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// reconcile takes the member a step closer to its target assignment.
func (o *operation) reconcile(m *Member, epoch int32, target modern.Partitions, resubscribe bool, owned modern.Partitions, known bool) (*Member, error) {
	if !resubscribe && m.reconciled(epoch) {
		return m, nil
	}
	r := reconciliation{
		member: m, epoch: epoch, target: target, resubscribe: resubscribe, owned: owned, known: known,
		subscribed: subscribedIDs(m, o.resolved, o.Topics), owner: o.owner(m),
	}
	next, err := r.next()
	if err != nil || next.sameAssignment(m) {
		return m, err
	}
	o.Add(currentRecord{next})
	if next.Classic == nil {
		if next.State == UnrevokedPartitions {
			o.Timers = append(o.Timers, modern.TimerOp{Member: next.ID, Timer: modern.Rebalance, After: next.Rebalance, Epoch: next.Epoch})
		} else {
			o.Cancel(next.ID, modern.Rebalance)
		}
	}
	return next, nil
}

// owner says who has a partition, as m must see it: what its predecessor with the same instance id had is its own.
func (o *operation) owner(m *Member) func(topic.Partition) string {
	predecessor := ""
	if m.Instance != nil {
		predecessor = o.static[*m.Instance]
	}
	return func(p topic.Partition) string {
		owner := o.owners[p]
		if owner != "" && owner == predecessor {
			return m.ID
		}
		return owner
	}
}
