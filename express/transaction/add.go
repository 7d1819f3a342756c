package transaction

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Addition asks for partitions to become part of a producer's transaction, which begins with the first.
type Addition struct {
	ID         string // transactional
	Producer   machine.Producer
	Partitions []machine.TopicPartition
	Implicit   bool // by a broker that takes records of the second protocol, not by the client itself
}

// AddPartitions adds all partitions or none. The answer is an AddOffsetsToTxnResponse that carries nothing but the error; it
// comes when the partitions are durable. While another transition of the id is under way it waits for a moment.
func (m *Machine) AddPartitions(now time.Time, t machine.Ticket, a Addition) machine.Effects {
	m.now = now
	m.add(a, func(code kerr.Code) {
		r := kmsg.NewPtrAddOffsetsToTxnResponse()
		r.ErrorCode = int16(code)
		m.reply(t, r)
	})
	return m.take()
}

func (m *Machine) add(a Addition, done func(code kerr.Code)) {
	m.tryAdd(&addition{Addition: a, done: done, until: m.now.Add(addPatience)})
}

// tryAdd is add for one that may have waited already.
func (m *Machine) tryAdd(a *addition) {
	done := a.done
	if a.ID == "" {
		done(kerr.InvalidRequest)
		return
	}
	e := m.entries[a.ID]
	switch {
	case e == nil:
		done(kerr.InvalidProducerIDMapping)
	case e.pending: // first, because the pending transition may be to the producer id that is asked with
		m.park(e, a)
	case e.producer.ID != a.Producer.ID:
		done(kerr.InvalidProducerIDMapping)
	case e.producer.Epoch != a.Producer.Epoch:
		done(kerr.ProducerFenced)
	case e.state.prepared():
		m.park(e, a)
	case e.state == Ongoing && !slices.ContainsFunc(a.Partitions, func(tp machine.TopicPartition) bool { return !e.contains(tp) }):
		done(kerr.None)
	case m.bytes >= m.limits.MaxBytes:
		done(kerr.PolicyViolation)
	default:
		next := e.to(Ongoing, m.now.UnixMilli())
		if e.state != Ongoing {
			next.startMs = m.now.UnixMilli()
		}
		next.partitions = e.with(a.Partitions)
		next.protocol = firstProtocol
		if a.Implicit {
			next.protocol = secondProtocol
		}
		m.transit(e, next, done)
	}
}

// addition is an Addition until it is answered.
type addition struct {
	Addition
	done    func(code kerr.Code)
	until   time.Time // when it has waited long enough
	waiting bool      // in its entry's list
	listed  bool      // in Machine.parked
}

const (
	addPatience = 100 * time.Millisecond // as Kafka's brokers have among each other
	maxWaiting  = 8                      // additions that wait for one id
)

// park has an addition wait for the transition that is under way. A producer begins its next transaction as soon as the
// last one is decided; told CONCURRENT_TRANSACTIONS, it would come back only after a pause that is much longer than what
// is left to do.
func (m *Machine) park(e *entry, a *addition) {
	if len(e.waiting) >= maxWaiting || m.closed || !a.until.After(m.now) {
		a.done(kerr.ConcurrentTransactions)
		return
	}
	e.waiting = append(e.waiting, a)
	a.waiting = true
	if !a.listed {
		a.listed = true
		m.parked = append(m.parked, a)
	}
}

// resume tries additions again that waited for a transition.
func (m *Machine) resume(e *entry) {
	again := e.waiting
	e.waiting = nil
	for _, a := range again {
		if a.waiting {
			a.waiting = false
			m.tryAdd(a)
		}
	}
}

// giveUp answers the additions that may wait until then and no longer.
func (m *Machine) giveUp(then time.Time, code kerr.Code) {
	for len(m.parked) > 0 {
		a := m.parked[0]
		if a.waiting && a.until.After(then) {
			return
		}
		m.parked = m.parked[1:]
		if a.waiting {
			a.waiting = false
			a.done(code)
		}
	}
}

// Verify says for each partition whether it is part of the producer's transaction: NONE or TRANSACTION_ABORTABLE, or for all
// what is wrong with the producer. A transition that is pending does not count yet; who appends records looks again then.
func (m *Machine) Verify(id string, p machine.Producer, partitions []machine.TopicPartition) []kerr.Code {
	codes := make([]kerr.Code, len(partitions))
	all := kerr.None
	e := m.entries[id]
	switch {
	case id == "":
		all = kerr.InvalidRequest
	case e == nil || !e.logged || e.producer.ID != p.ID:
		all = kerr.InvalidProducerIDMapping
	case e.producer.Epoch != p.Epoch:
		all = kerr.ProducerFenced
	case e.state.prepared():
		all = kerr.ConcurrentTransactions
	}
	for i, tp := range partitions {
		codes[i] = all
		if all == kerr.None && !e.contains(tp) {
			codes[i] = kerr.TransactionAbortable
		}
	}
	return codes
}
