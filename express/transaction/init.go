package transaction

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// InitProducerID handles versions 0 to 5 for requests with a transactional id. It is answered when the producer's id and
// epoch are durable, and every earlier producer of that transactional id fenced.
func (m *Machine) InitProducerID(now time.Time, t machine.Ticket, req *kmsg.InitProducerIDRequest) machine.Effects {
	m.now = now
	m.initProducer(req, func(p machine.Producer, code kerr.Code) {
		r := kmsg.NewPtrInitProducerIDResponse()
		r.ErrorCode, r.ProducerID, r.ProducerEpoch = int16(code), none, none
		if code == kerr.None {
			r.ProducerID, r.ProducerEpoch = p.ID, p.Epoch
		}
		m.reply(t, r)
	})
	return m.take()
}

func (m *Machine) initProducer(req *kmsg.InitProducerIDRequest, done func(machine.Producer, kerr.Code)) {
	fail := func(code kerr.Code) { done(machine.Producer{}, code) }
	timeout := time.Duration(req.TransactionTimeoutMillis) * time.Millisecond
	switch {
	case *req.TransactionalID == "":
		fail(kerr.InvalidRequest)
		return
	case timeout <= 0 || timeout > m.limits.MaxTimeout:
		fail(kerr.InvalidTransactionTimeout)
		return
	}
	e, code := m.entryFor(*req.TransactionalID, req.TransactionTimeoutMillis)
	if code != kerr.None {
		fail(code)
		return
	}
	expected := machine.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	switch {
	case e.pending:
		fail(kerr.ConcurrentTransactions)
	case !e.accepts(expected):
		fail(kerr.ProducerFenced)
	case e.state.prepared():
		fail(kerr.ConcurrentTransactions)
	case e.state == Ongoing:
		// The old producer's transaction is aborted and its epoch raised; the new one has to ask again.
		m.fence(e, func(code kerr.Code) {
			if code == kerr.None {
				code = kerr.ConcurrentTransactions
			}
			fail(code)
		})
	default:
		next, code := m.renewed(e, expected)
		if code != kerr.None {
			fail(code)
			return
		}
		next.timeoutMs = req.TransactionTimeoutMillis
		m.transit(e, next, func(code kerr.Code) { done(next.producer, code) })
	}
}

// entryFor finds an id, or makes it. A new one enters the log with its first transition.
func (m *Machine) entryFor(id string, timeoutMs int32) (*entry, kerr.Code) {
	if e := m.entries[id]; e != nil {
		return e, kerr.None
	}
	if len(m.entries) >= m.limits.MaxIDs || m.bytes >= m.limits.MaxBytes {
		return nil, kerr.PolicyViolation
	}
	producerID, ok := m.takeProducerID()
	if !ok {
		return nil, kerr.CoordinatorLoadInProgress
	}
	e := &entry{id: id, metadata: metadata{
		producer: machine.Producer{ID: producerID, Epoch: none}, lastEpoch: none, previous: none, next: none,
		timeoutMs: timeoutMs, startMs: none,
	}}
	m.entries[id] = e
	return e, kerr.None
}

// accepts says whether a producer that believes itself to be expected may go on under this id: it is the present one, or
// the one whose epochs are used up and who may not have heard of its new id. Who expects nothing takes over.
func (e *entry) accepts(expected machine.Producer) bool {
	return expected == machine.Producer{ID: none, Epoch: none} ||
		e.producer.Epoch == none ||
		expected.ID == e.producer.ID ||
		expected.ID == e.previous && expected.Epoch >= lastEpoch
}

// renewed is an id without a transaction after InitProducerId.
func (m *Machine) renewed(e *entry, expected machine.Producer) (metadata, kerr.Code) {
	next := e.to(Empty, m.now.UnixMilli())
	next.partitions, next.startMs = nil, none
	retry := expected.ID != none && e.lastEpoch != none && expected.Epoch == e.lastEpoch
	switch {
	case expected.ID != none && expected.Epoch != e.producer.Epoch && e.producer.Epoch != none:
		if !retry {
			return metadata{}, kerr.ProducerFenced
		}
		return next, kerr.None // the answer was lost; nobody else came, that would have reset lastEpoch
	case e.exhausted():
		id, ok := m.takeProducerID()
		if !ok {
			return metadata{}, kerr.CoordinatorLoadInProgress
		}
		next.producer = machine.Producer{ID: id}
	default:
		next.producer.Epoch++
	}
	next.lastEpoch = none
	if expected.ID != none {
		next.lastEpoch = e.producer.Epoch
	}
	return next, kerr.None
}
