package state

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/express/share"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Limits may change at any time (Machine.Configure).
type Limits struct {
	UpdatesPerSnapshot int // share.coordinator.snapshot.update.records.per.snapshot
	MaxKeys            int // share-partitions of one Machine; Kafka has no such bound
	MaxBatches         int // runs of one share-partition; Kafka has no such bound
}

// DefaultLimits are Kafka's defaults, and bounds of our own that no sensible group meets.
func DefaultLimits() Limits {
	return Limits{UpdatesPerSnapshot: 500, MaxKeys: 100_000, MaxBatches: 200_000}
}

// Machine is the state of one partition of __share_group_state. Make one with New. Not safe for concurrent use.
type Machine struct {
	limits     Limits
	keys       map[Key]*entry
	appends    map[int64]*operation
	nextAppend int64
	generation int64 // of snapshots; see Expire
	uncovered  int   // keys whose last snapshot is of an older one
	closed     bool
	now        time.Time
	out        machine.Effects
}

// entry is what is known of one key.
type entry struct {
	value                   // durable; meaningless unless exists
	exists     bool         // a snapshot is durable and no tombstone after it
	updates    int          // since the snapshot
	generation int64        // of the snapshot
	inFlight   []*operation // in the log's order
}

// operation is an append under way.
type operation struct {
	key        Key
	kind       int16
	value      *value // nil: a tombstone
	generation int64
	done       []func(code kerr.Code)
}

// New returns a Machine without keys.
func New(l Limits) *Machine {
	return &Machine{limits: l, keys: map[Key]*entry{}, appends: map[int64]*operation{}, generation: 1}
}

// Configure replaces the limits.
func (m *Machine) Configure(l Limits) { m.limits = l }

// Keys is the number of share-partitions.
func (m *Machine) Keys() int { return len(m.keys) }

// Replay takes in one record of the log. Errors: ErrUnknownRecord, ErrCorruptRecord.
func (m *Machine) Replay(r machine.Record, _ *machine.Producer) error {
	kind, k, err := readKey(r.Key)
	if err != nil {
		return err
	}
	op := &operation{key: k, kind: kind}
	if r.Value != nil {
		if op.value, err = readValue(kind, r.Value); err != nil {
			return err
		}
	}
	m.apply(op)
	return nil
}

// ReplayMarker has nothing to do: nothing here is transactional.
func (m *Machine) ReplayMarker(machine.Marker) {}

// Loaded ends the replay.
func (m *Machine) Loaded(now time.Time) machine.Effects {
	m.now = now
	for k, e := range m.keys {
		if !e.exists {
			delete(m.keys, k)
		}
	}
	m.count()
	return m.take()
}

// Deadline says that nothing here waits for time.
func (m *Machine) Deadline() (at time.Time, ok bool) { return time.Time{}, false }

// Advance has nothing to do.
func (m *Machine) Advance(time.Time) machine.Effects { return machine.Effects{} }

// Expire begins a new generation of snapshots when the one before is complete, and makes those that are missing in it: once
// all keys have one, what is before them in the log is of no use.
func (m *Machine) Expire(now time.Time) machine.Effects {
	m.now = now
	if m.uncovered == 0 {
		m.generation++
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.keys), compareKeys) {
		if e := m.keys[k]; e.exists && e.generation < m.generation && len(e.inFlight) == 0 {
			v := e.snapshot(now)
			m.append(&operation{key: k, kind: snapshotKey, value: &v}, nil)
		}
	}
	m.count()
	return m.take()
}

// Generation is the current generation of snapshots.
func (m *Machine) Generation() int64 { return m.generation }

// Covered says whether all keys have a durable snapshot of the current generation.
func (m *Machine) Covered() bool { return m.uncovered == 0 }

// count counts what the generation still lacks.
func (m *Machine) count() {
	m.uncovered = 0
	for _, e := range m.keys {
		if e.exists && e.generation < m.generation {
			m.uncovered++
		}
	}
}

// Close answers each request that waits NOT_COORDINATOR.
func (m *Machine) Close(now time.Time) machine.Effects {
	m.now, m.closed = now, true
	for _, id := range slices.Sorted(maps.Keys(m.appends)) {
		m.finish(id, kerr.NotLeaderOrFollower)
	}
	m.keys = map[Key]*entry{}
	m.out.Appends = nil
	return m.take()
}

// Appended reports the outcome of an append.
func (m *Machine) Appended(now time.Time, id int64, code kerr.Code) machine.Effects {
	m.now = now
	m.finish(id, code)
	return m.take()
}

// append asks for a record; done hears the outcome after the record took effect. What comes later counts on what came before
// (SS4), so that a failure ends the machine (machine.M3), although nothing shows before it is durable.
func (m *Machine) append(op *operation, done func(code kerr.Code)) {
	m.nextAppend++
	op.generation = m.generation
	if done != nil {
		op.done = append(op.done, done)
	}
	m.appends[m.nextAppend] = op
	e := m.keys[op.key]
	if e == nil {
		e = &entry{}
		m.keys[op.key] = e
	}
	e.inFlight = append(e.inFlight, op)
	r := machine.Record{Key: op.key.appendTo(op.kind)}
	switch {
	case op.value == nil:
	case op.kind == snapshotKey:
		r.Value = op.value.appendSnapshot()
	default:
		r.Value = op.value.appendUpdate()
	}
	m.out.Appends = append(m.out.Appends, machine.Append{ID: m.nextAppend, Records: []machine.Record{r}, Ahead: true})
}

func (m *Machine) finish(id int64, code kerr.Code) {
	op := m.appends[id]
	if op == nil {
		return
	}
	delete(m.appends, id)
	if e := m.keys[op.key]; e != nil {
		e.inFlight = slices.DeleteFunc(e.inFlight, func(o *operation) bool { return o == op })
	}
	if code == kerr.None {
		m.apply(op)
	}
	for _, done := range op.done {
		done(code)
	}
	if e := m.keys[op.key]; e != nil && !e.exists && len(e.inFlight) == 0 {
		delete(m.keys, op.key)
	}
}

// apply changes the state as a durable record says (SS2).
func (m *Machine) apply(op *operation) {
	e := m.keys[op.key]
	if e == nil {
		e = &entry{}
		m.keys[op.key] = e
	}
	lacked := e.exists && e.generation < m.generation
	switch {
	case op.value == nil && op.kind == updateKey: // nobody writes it
	case op.value == nil:
		*e = entry{inFlight: e.inFlight}
	case op.kind == snapshotKey:
		e.value, e.exists, e.updates, e.generation = *op.value, true, 0, op.generation
		e.batches = share.Combine(nil, e.batches, e.start)
	default:
		e.update(op.value)
	}
	switch lacks := e.exists && e.generation < m.generation; {
	case lacked && !lacks:
		m.uncovered--
	case !lacked && lacks:
		m.uncovered++
	}
}

// update lays an update over what is known. One without a snapshot before it stands for itself, as in Kafka.
func (e *entry) update(v *value) {
	if !e.exists {
		e.start, e.snapshotEpoch, e.complete = v.start, v.snapshotEpoch, v.complete
	}
	if v.start != -1 || v.complete != -1 {
		e.start, e.complete = max(e.start, v.start), v.complete
	}
	e.leaderEpoch = max(e.leaderEpoch, v.leaderEpoch)
	e.batches = share.Combine(e.batches, v.batches, e.start)
	e.exists = true
	e.updates++
}

// snapshot is the whole state of an entry as the next snapshot has it.
func (e *entry) snapshot(now time.Time) value {
	v := e.value
	v.snapshotEpoch++
	v.created, v.written = now.UnixMilli(), now.UnixMilli()
	return v
}

// ahead is what the key will be when all that is on its way is durable (SS4).
func (e *entry) ahead() (exists bool, leaderEpoch, stateEpoch int32) {
	if e == nil {
		return false, 0, 0
	}
	exists, leaderEpoch, stateEpoch = e.exists, e.leaderEpoch, e.stateEpoch
	for _, op := range e.inFlight {
		switch {
		case op.value == nil:
			exists, leaderEpoch, stateEpoch = false, 0, 0
		case op.kind == snapshotKey:
			exists, leaderEpoch, stateEpoch = true, max(leaderEpoch, op.value.leaderEpoch), max(stateEpoch, op.value.stateEpoch)
		default:
			leaderEpoch = max(leaderEpoch, op.value.leaderEpoch)
		}
	}
	return exists, leaderEpoch, stateEpoch
}

// TopicDeleted deletes everything about a topic.
func (m *Machine) TopicDeleted(now time.Time, id topic.ID) machine.Effects {
	m.now = now
	removed := 0
	for _, k := range slices.SortedFunc(maps.Keys(m.keys), compareKeys) {
		if exists, _, _ := m.keys[k].ahead(); exists && k.Topic == id {
			m.append(&operation{key: k, kind: snapshotKey}, nil)
			removed++
		}
	}
	if removed > 0 {
		m.out.Notes = append(m.out.Notes, machine.Note{Message: "share state of a deleted topic removed", Attrs: []slog.Attr{
			slog.String("topic_id", id.String()), slog.Int("partitions", removed),
		}})
	}
	return m.take()
}

func (m *Machine) reply(t machine.Ticket, r kmsg.Response) {
	m.out.Replies = append(m.out.Replies, machine.Reply{Ticket: t, Response: r})
}

func (m *Machine) take() machine.Effects {
	out := m.out
	m.out = machine.Effects{}
	return out
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), slices.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Partition, b.Partition))
}

// Snapshot is what is stored of a share-partition.
type Snapshot struct {
	StateEpoch int32
	Start      int64 // -1: not known yet
	Batches    []share.Batch
}

// Summary is what is stored of a share-partition, without its records.
type Summary struct {
	StateEpoch, LeaderEpoch int32
	Start                   int64 // -1: not known yet, or there is no such share-partition
	Complete                int32 // records from Start on that are done; -1 not known
}

// Update is a change of what is stored.
type Update struct {
	StateEpoch  int32
	LeaderEpoch int32
	Start       int64 // -1: as before
	Complete    int32 // records from Start on that are done
	Batches     []share.Batch
}
