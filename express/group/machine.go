package group

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group/consumer"
	"millrace/express/group/modern"
	"millrace/express/group/shares"
	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Limits are the bounds and times that Kafka's configuration sets. They may change at any time (Machine.Configure) and
// count from the next event on.
type Limits struct {
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms; a JoinGroup below is refused
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms; a JoinGroup above is refused
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms; 0: the first rebalance of a group waits for nobody
	NewMemberJoinTimeout  time.Duration // how long a new member may wait in its first JoinGroup (Kafka: 5 min)
	OffsetsRetention      time.Duration // offsets.retention.minutes
	MaxOffsetMetadata     int           // offset.metadata.max.bytes, in bytes per committed offset
	MaxSize               int           // group.max.size, members of one group
	MaxGroups             int           // groups of one Machine; Kafka has no such bound
	MaxPending            int           // members of one group that were told MEMBER_ID_REQUIRED and have not come back
	MaxGroupBytes         int           // protocol metadata and assignments of one group, in bytes; and records of one event

	// Consumer is the configuration of a group of the consumer protocol; nil: Kafka's defaults.
	Consumer func(group string) consumer.Config
	// Share is likewise that of a share group.
	Share func(group string) shares.Config
}

// shareOf is the configuration of one share group.
func (l *Limits) shareOf(group string) shares.Config {
	if l.Share == nil {
		return shares.DefaultConfig()
	}
	return l.Share(group)
}

// consumerOf is the configuration of one group of the consumer protocol.
func (l *Limits) consumerOf(group string) consumer.Config {
	if l.Consumer == nil {
		return consumer.DefaultConfig()
	}
	return l.Consumer(group)
}

// DefaultLimits are Kafka's defaults, and bounds of our own that no sensible group meets.
func DefaultLimits() Limits {
	return Limits{
		MinSessionTimeout:     6 * time.Second,
		MaxSessionTimeout:     30 * time.Minute,
		InitialRebalanceDelay: 3 * time.Second,
		NewMemberJoinTimeout:  5 * time.Minute,
		OffsetsRetention:      7 * 24 * time.Hour,
		MaxOffsetMetadata:     4096,
		MaxSize:               1<<31 - 1,
		MaxGroups:             100_000,
		MaxPending:            10_000,
		MaxGroupBytes:         32 << 20,
	}
}

// Client is who sent a request, as describing a group shows it.
type Client = modern.Client

// Effects, Ticket and the rest are what machine and runtime share; see package machine.
type (
	// Effects is what one event asks of the caller.
	Effects = machine.Effects
	// Ticket names one request until it is answered.
	Ticket = machine.Ticket
)

// Machine is the state of all groups of one partition of __consumer_offsets. Make one with New. It is not safe for
// concurrent use, does no IO and knows no clock: every event carries the time, which must not go back.
type Machine struct {
	limits Limits
	newID  func(prefix string) string
	topics modern.Topics

	groups     map[string]*group
	timers     timers
	appends    map[int64]*appending
	open       map[int64]open // by producer id; see txn.go
	applied    int64          // offset records that took effect or wait for a marker, in the log's order
	ended      [endings]int64 // calls of EndTransaction, by producer id modulo endings
	nextAppend int64
	closed     bool

	initialize []ShareWork // see TakeShareWork

	now time.Time // of the event that is being handled
	out Effects
}

// appending is an Append whose outcome is not known yet.
type appending struct {
	group   string
	records []Record
	tx      *machine.Producer      // whose transaction the records are part of
	marker  *machine.Marker        // there are no records, but this
	done    []func(code kerr.Code) // in order; code is the log's error
}

// New returns a Machine without groups. newID makes a member id that nobody else has: the prefix, a dash and something, or
// without a prefix just that. Groups of the newer protocols look at topics; nil: there are none.
func New(limits Limits, newID func(prefix string) string, topics modern.Topics) *Machine {
	if topics == nil {
		topics = modern.NoTopics{}
	}
	return &Machine{
		limits:  limits,
		newID:   newID,
		topics:  topics,
		groups:  map[string]*group{},
		timers:  newTimers(),
		appends: map[int64]*appending{},
		open:    map[int64]open{},
	}
}

// Configure replaces the limits.
func (m *Machine) Configure(l Limits) { m.limits = l }

// Groups is the number of groups, with those that are being deleted.
func (m *Machine) Groups() int { return len(m.groups) }

// Loaded starts the sessions of all members that Replay brought back, and makes groups that are larger than the limit
// rebalance. It is called once, after the last Replay and before any other event.
func (m *Machine) Loaded(now time.Time) Effects {
	m.now = now
	for _, name := range m.names() {
		g := m.groups[name]
		for _, mem := range g.order {
			m.touch(g, mem)
		}
		m.loadKind(g)
		if len(g.order) > m.limits.MaxSize {
			m.prepare(g, "the group is larger than group.max.size")
		}
	}
	return m.take()
}

// Close ends everything: each request that waits is answered NOT_COORDINATOR, no timer is left, and the Effects carry no
// Appends. Later events have no meaning.
func (m *Machine) Close(now time.Time) Effects {
	m.now = now
	m.closed = true
	for _, id := range slices.Sorted(maps.Keys(m.appends)) {
		m.finish(id, kerr.NotLeaderOrFollower)
	}
	for _, name := range m.names() {
		g := m.groups[name]
		g.state = Dead
		for _, mem := range g.order {
			m.answerJoin(g, mem, joinError(mem.id, kerr.NotCoordinator))
			m.answerSync(mem, syncError(kerr.NotCoordinator))
		}
	}
	m.groups = map[string]*group{}
	m.timers = newTimers()
	m.out.Appends = nil
	return m.take()
}

// Deadline is when Advance must be called next; ok is false when nothing waits for time.
func (m *Machine) Deadline() (at time.Time, ok bool) { return m.timers.next() }

// Advance handles all deadlines up to now, in their order.
func (m *Machine) Advance(now time.Time) Effects {
	m.now = now
	for {
		t := m.timers.pop(now)
		if t == nil {
			return m.take()
		}
		m.expire(t)
	}
}

// plain is what the log gets of records.
func plain(records []Record) []machine.Record {
	out := make([]machine.Record, len(records))
	for i, r := range records {
		out[i] = r.Record
	}
	return out
}

// Appended reports the outcome of an Append: kerr.None when its records are durable, otherwise the log's error, and then
// none of its records will ever be read. Outcomes come in the order of the Appends.
func (m *Machine) Appended(now time.Time, id int64, code kerr.Code) Effects {
	m.now = now
	m.finish(id, code)
	return m.take()
}

// log asks for records to be appended. done hears the outcome, after the offsets among the records took effect.
func (m *Machine) log(g *group, records []Record, done func(code kerr.Code)) {
	m.logIn(nil, g, records, done)
}

// logIn is log for records that are part of a producer's transaction.
func (m *Machine) logIn(tx *machine.Producer, g *group, records []Record, done func(code kerr.Code)) {
	m.enqueue(g, machine.Append{Records: plain(records), Transaction: tx}, records, done)
}

// logAhead asks for records to be appended whose effect the group shows already.
func (m *Machine) logAhead(g *group, records []Record) {
	m.enqueue(g, machine.Append{Records: plain(records), Ahead: true}, records)
	g.last = m.nextAppend
}

func (m *Machine) enqueue(g *group, out machine.Append, records []Record, done ...func(code kerr.Code)) {
	m.nextAppend++
	out.ID = m.nextAppend
	m.appends[out.ID] = &appending{group: g.name, records: records, tx: out.Transaction, done: done}
	g.appending++
	for _, r := range records {
		g.note(r, +1)
	}
	if m.closed {
		m.finish(out.ID, kerr.NotLeaderOrFollower)
		return
	}
	m.out.Appends = append(m.out.Appends, out)
}

// finish settles an append: what is durable is applied exactly as Replay would apply it.
func (m *Machine) finish(id int64, code kerr.Code) {
	a := m.appends[id]
	if a == nil {
		return
	}
	delete(m.appends, id)
	if a.marker != nil && code == kerr.None {
		m.endTransaction(*a.marker)
	}
	if g := m.groups[a.group]; g != nil && a.marker == nil {
		g.appending--
		for _, r := range a.records {
			g.note(r, -1)
			switch {
			case code != kerr.None:
			case r.offset != nil:
				m.applyOffset(g, *r.offset, r.committed, a.tx)
			case r.ofKind:
			default:
				g.logged = r.Value != nil
			}
		}
	}
	for _, done := range a.done {
		done(code)
	}
}

func (m *Machine) reply(t Ticket, r kmsg.Response) {
	m.out.Replies = append(m.out.Replies, machine.Reply{Ticket: t, Response: r})
}

func (m *Machine) tell(g *group, message, reason string) {
	m.out.Notes = append(m.out.Notes, machine.Note{Message: message, Attrs: []slog.Attr{
		slog.String("group", g.name), slog.Int("generation", int(g.generation)), slog.Int("members", len(g.order)), slog.String("reason", reason),
	}})
}

func (m *Machine) take() Effects {
	out := m.out
	m.out = Effects{}
	return out
}

// names lists the groups in a stable order, so that the same events always have the same effects.
func (m *Machine) names() []string { return slices.Sorted(maps.Keys(m.groups)) }
