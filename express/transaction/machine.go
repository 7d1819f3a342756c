package transaction

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Limits are the bounds and times that Kafka's configuration sets, and bounds of our own. They may change at any time
// (Machine.Configure) and count from the next event on.
type Limits struct {
	MaxTimeout    time.Duration // transaction.max.timeout.ms; InitProducerId with a longer one is refused
	CheckInterval time.Duration // transaction.abort.timed.out.transaction.cleanup.interval.ms
	Expiration    time.Duration // transactional.id.expiration.ms
	MaxIDs        int           // transactional ids of one Machine; Kafka has no such bound
	MaxRecord     int           // bytes of one record: an id and the partitions of its transaction
	MaxBytes      int           // bytes of the records of all ids of one Machine; Kafka has no such bound
}

// DefaultLimits are Kafka's defaults, and bounds of our own that no sensible cluster meets.
func DefaultLimits() Limits {
	return Limits{
		MaxTimeout:    15 * time.Minute,
		CheckInterval: 10 * time.Second,
		Expiration:    7 * 24 * time.Hour,
		MaxIDs:        100_000,
		MaxRecord:     1_000_000, // what fits into a batch of Kafka's default max.message.bytes
		MaxBytes:      64 << 20,
	}
}

// maxSpare bounds the producer ids that a Machine keeps for later.
const maxSpare = 16

// Machine is the state of all transactional ids of one partition of __transaction_state. Make one with New. It is not safe
// for concurrent use, does no IO and knows no clock: every event carries the time, which must not go back.
type Machine struct {
	limits Limits
	epoch  int32

	entries map[string]*entry
	open    map[string]*entry // in state Ongoing
	bytes   int               // of the records of all entries
	checkAt time.Time         // when to look for transactions whose time is up; means nothing while none is open

	spare []int64 // producer ids that were given to us and not used
	short bool    // a timeout needed a producer id and there was none

	ends    map[int64]*completion // by number
	lastEnd int64
	retries retryHeap
	tasks   []MarkerTask
	parked  []*addition // that wait for a transition, by how long they may, and some that do not any more

	appends    map[int64]func(code kerr.Code)
	nextAppend int64
	closed     bool

	now time.Time // of the event that is being handled
	out machine.Effects
}

// New returns a Machine without ids. coordinatorEpoch goes into all markers; it grows with each owner of the partition.
func New(limits Limits, coordinatorEpoch int32) *Machine {
	return &Machine{
		limits:  limits,
		epoch:   coordinatorEpoch,
		entries: map[string]*entry{},
		open:    map[string]*entry{},
		ends:    map[int64]*completion{},
		appends: map[int64]func(kerr.Code){},
	}
}

// Configure replaces the limits.
func (m *Machine) Configure(l Limits) { m.limits = l }

// Loaded goes on with the decisions that Replay brought back. It is called once, after the last Replay and before any other
// event.
func (m *Machine) Loaded(now time.Time) machine.Effects {
	m.now = now
	m.checkAt = now.Add(m.limits.CheckInterval)
	for _, e := range m.sorted(m.entries) {
		if e.state.prepared() {
			m.end(e)
		}
	}
	return m.take()
}

// Close ends everything: each request that waits is answered NOT_COORDINATOR, and the Effects carry no Appends. Later events
// have no meaning.
func (m *Machine) Close(now time.Time) machine.Effects {
	m.now = now
	m.closed = true
	for _, id := range slices.Sorted(maps.Keys(m.appends)) {
		m.finish(id, kerr.NotLeaderOrFollower)
	}
	m.giveUp(now.Add(addPatience), kerr.NotCoordinator)
	m.out.Appends, m.tasks, m.retries = nil, nil, nil
	m.open = map[string]*entry{}
	return m.take()
}

// Deadline is when Advance must be called next; ok is false when nothing waits for time.
func (m *Machine) Deadline() (at time.Time, ok bool) {
	if len(m.open) > 0 {
		at, ok = m.checkAt, true
	}
	if len(m.retries) > 0 && (!ok || m.retries[0].at.Before(at)) {
		at, ok = m.retries[0].at, true
	}
	if len(m.parked) > 0 && (!ok || m.parked[0].until.Before(at)) {
		at, ok = m.parked[0].until, true
	}
	return at, ok
}

// Advance aborts transactions whose time is up, and hands out again what failed before.
func (m *Machine) Advance(now time.Time) machine.Effects {
	m.now = now
	if len(m.open) > 0 && !m.checkAt.After(now) {
		m.abortTimedOut()
		m.checkAt = now.Add(m.limits.CheckInterval)
	}
	m.retry()
	m.giveUp(now, kerr.ConcurrentTransactions)
	return m.take()
}

// AddProducerID gives the machine an id that nobody else ever got, for a request or a timeout to come. One that it has no
// room for is lost.
func (m *Machine) AddProducerID(id int64) {
	if len(m.spare) < maxSpare {
		m.spare = append(m.spare, id)
	}
}

// TakeNeed says, once, that a timeout waits for AddProducerID. Requests do not wait: without an id at hand they are answered
// COORDINATOR_LOAD_IN_PROGRESS, as in Kafka, and for no other reason.
func (m *Machine) TakeNeed() bool {
	short := m.short
	m.short = false
	return short
}

func (m *Machine) takeProducerID() (int64, bool) {
	if len(m.spare) == 0 {
		return none, false
	}
	id := m.spare[0]
	m.spare = m.spare[1:]
	return id, true
}

// Appended reports the outcome of an append: kerr.None when its record is durable, otherwise the log's error, and then it
// will never be read.
func (m *Machine) Appended(now time.Time, id int64, code kerr.Code) machine.Effects {
	m.now = now
	m.finish(id, code)
	return m.take()
}

func (m *Machine) finish(id int64, code kerr.Code) {
	if done := m.appends[id]; done != nil {
		delete(m.appends, id)
		done(code)
	}
}

// log asks for a record to be appended; done hears the outcome.
func (m *Machine) log(r machine.Record, done func(code kerr.Code)) {
	m.nextAppend++
	m.appends[m.nextAppend] = done
	if m.closed {
		m.finish(m.nextAppend, kerr.NotLeaderOrFollower)
		return
	}
	m.out.Appends = append(m.out.Appends, machine.Append{ID: m.nextAppend, Records: []machine.Record{r}})
}

// transit begins a transition. done hears how it went, after it has happened or not; e has no other transition until then.
func (m *Machine) transit(e *entry, next metadata, done func(code kerr.Code)) {
	r := encode(e.id, next)
	size := len(r.Key) + len(r.Value)
	if size > m.limits.MaxRecord {
		m.forgetNew(e)
		done(kerr.UnknownServerError) // Kafka's word for a record that is too large for its log
		return
	}
	e.pending = true
	m.log(r, func(code kerr.Code) {
		e.pending = false
		if code == kerr.None {
			m.apply(e, next, size)
		} else {
			m.forgetNew(e)
		}
		done(refused(code))
		m.resume(e)
	})
}

// apply takes in a durable record.
func (m *Machine) apply(e *entry, next metadata, size int) {
	m.bytes += size - e.size
	e.metadata, e.size, e.logged = next, size, true
	if next.state != Ongoing {
		delete(m.open, e.id)
		return
	}
	if len(m.open) == 0 {
		m.checkAt = m.now.Add(m.limits.CheckInterval)
	}
	m.open[e.id] = e
}

// remove takes in a durable tombstone.
func (m *Machine) remove(e *entry) {
	m.bytes -= e.size
	delete(m.open, e.id)
	delete(m.entries, e.id)
}

// forgetNew drops an id that did not make it into the log.
func (m *Machine) forgetNew(e *entry) {
	if !e.logged {
		delete(m.entries, e.id)
	}
}

// refused is the log's error as producers are told.
func refused(code kerr.Code) kerr.Code {
	switch code {
	case kerr.NotLeaderOrFollower, kerr.KafkaStorageError:
		return kerr.NotCoordinator
	case kerr.MessageTooLarge:
		return kerr.UnknownServerError
	default:
		return code
	}
}

func (m *Machine) reply(t machine.Ticket, r kmsg.Response) {
	m.out.Replies = append(m.out.Replies, machine.Reply{Ticket: t, Response: r})
}

func (m *Machine) tell(e *entry, message string, more ...slog.Attr) {
	m.out.Notes = append(m.out.Notes, machine.Note{Message: message, Attrs: append([]slog.Attr{
		slog.String("transactional_id", e.id), slog.Int64("producer_id", e.producer.ID), slog.Int("epoch", int(e.producer.Epoch)),
	}, more...)})
}

func (m *Machine) take() machine.Effects {
	out := m.out
	m.out = machine.Effects{}
	return out
}

// sorted lists entries in a stable order, so that the same events always have the same effects.
func (m *Machine) sorted(entries map[string]*entry) []*entry {
	out := make([]*entry, 0, len(entries))
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		out = append(out, entries[id])
	}
	return out
}
