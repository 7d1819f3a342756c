package transaction

import (
	"log/slog"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// endSecond is the version of EndTxn from which on it follows the second protocol.
const endSecond = 5

// EndTxn handles versions 0 to 5. It is answered when the decision is durable; from version 5 on with the id and epoch that
// the producer's next transaction has.
func (m *Machine) EndTxn(now time.Time, t machine.Ticket, req *kmsg.EndTxnRequest) machine.Effects {
	m.now = now
	e := m.entries[req.TransactionalID]
	done := func(p machine.Producer, code kerr.Code) {
		r := kmsg.NewPtrEndTxnResponse()
		r.ErrorCode, r.ProducerID, r.ProducerEpoch = int16(code), none, none
		if code == kerr.None && req.Version >= endSecond {
			r.ProducerID, r.ProducerEpoch = p.ID, p.Epoch
		}
		m.reply(t, r)
	}
	judge, protocol := judgeFirst, firstProtocol
	if req.Version >= endSecond {
		judge, protocol = judgeSecond, secondProtocol
	}
	v := verdict{code: kerr.InvalidProducerIDMapping}
	switch {
	case req.TransactionalID == "":
		v.code = kerr.InvalidRequest
	case e != nil:
		v = judge(e, machine.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}, req.Commit)
	}
	switch {
	case v.code != kerr.None:
		done(machine.Producer{}, v.code)
	case v.retry:
		done(e.producer, kerr.None)
	default:
		m.decide(e, req.Commit, protocol, func(code kerr.Code) {
			done(e.completed(0).producer, code)
		})
	}
	return m.take()
}

// verdict is what to do with an EndTxn: refuse it, repeat the answer of an earlier one, or decide.
type verdict struct {
	code  kerr.Code
	retry bool
}

// While markers are being written the end of the transaction counts as pending, as it does in Kafka: whatever is asked for then is
// to be asked for again, so that a producer that goes on at once is not taken for one that is fenced.

// judgeFirst is for the first protocol: epochs must be equal, and what is complete may be completed again.
func judgeFirst(e *entry, p machine.Producer, commit bool) verdict {
	switch {
	case e.producer.ID != p.ID:
		return verdict{code: kerr.InvalidProducerIDMapping}
	case e.producer.Epoch != p.Epoch:
		return verdict{code: kerr.ProducerFenced}
	case e.pending || e.state.prepared():
		return verdict{code: kerr.ConcurrentTransactions}
	case e.state == Ongoing:
		return verdict{}
	case e.state == CompleteCommit && commit, e.state == CompleteAbort && !commit:
		return verdict{retry: true}
	}
	return verdict{code: kerr.InvalidTxnState}
}

// judgeSecond is for the second protocol, where the epoch tells a retry from the next transaction's end. A producer that
// does not know whether its transaction has begun may abort it in any case.
//
//	                 abort again   abort    commit again   commit      ("again": with the epoch before)
//	Empty            fenced        decide   fenced         invalid
//	CompleteAbort    repeat        decide   invalid        invalid
//	CompleteCommit   invalid       decide   repeat         invalid
func judgeSecond(e *entry, p machine.Producer, commit bool) verdict {
	bumped := e.producer.ID == p.ID && int(e.producer.Epoch) == int(p.Epoch)+1
	replaced := e.previous == p.ID && p.Epoch == lastEpoch && e.producer.Epoch == 0
	current := e.producer.Epoch == p.Epoch
	switch {
	case e.pending || e.state.prepared():
		return verdict{code: kerr.ConcurrentTransactions}
	case e.producer.ID != p.ID && !replaced:
		return verdict{code: kerr.InvalidProducerIDMapping}
	case !e.rightEpoch(bumped, replaced, current):
		return verdict{code: kerr.ProducerFenced}
	}
	again := bumped || replaced
	switch e.state {
	case Ongoing:
		return verdict{}
	case CompleteCommit, CompleteAbort:
		switch {
		case again && commit == (e.state == CompleteCommit):
			return verdict{retry: true}
		case again || commit:
			return verdict{code: kerr.InvalidTxnState}
		}
		return verdict{}
	case Empty:
		if !commit {
			return verdict{}
		}
	}
	return verdict{code: kerr.InvalidTxnState}
}

func (e *entry) rightEpoch(bumped, replaced, current bool) bool {
	switch e.state {
	case CompleteCommit, CompleteAbort:
		return bumped || replaced || current
	default:
		return current
	}
}

// decide logs the decision to commit or abort, and begins to carry it out once it is durable. done hears in between.
func (m *Machine) decide(e *entry, commit bool, protocol int16, done func(code kerr.Code)) {
	now := m.now.UnixMilli()
	next := e.to(PrepareAbort, now)
	if commit {
		next.state = PrepareCommit
	}
	next.protocol, next.next = protocol, none
	if e.state != Ongoing {
		next.startMs = now // an abort of nothing still needs a beginning
	}
	if protocol >= secondProtocol {
		if e.exhausted() {
			id, ok := m.takeProducerID()
			if !ok {
				done(kerr.CoordinatorLoadInProgress)
				return
			}
			next.next = id
		}
		next.lastEpoch = e.producer.Epoch
		if e.producer.Epoch < math.MaxInt16 {
			next.producer.Epoch++
		}
	}
	m.transit(e, next, func(code kerr.Code) {
		done(code)
		if code == kerr.None {
			m.end(e)
		}
	})
}

// fence aborts the transaction of e and locks its producer out.
func (m *Machine) fence(e *entry, done func(code kerr.Code)) {
	m.decide(e, false, secondProtocol, done)
}

// abortTimedOut aborts each transaction that takes longer than its producer said.
func (m *Machine) abortTimedOut() {
	now := m.now.UnixMilli()
	for _, e := range m.sorted(m.open) {
		if e.pending || e.startMs+int64(e.timeoutMs) >= now {
			continue
		}
		if e.exhausted() && len(m.spare) == 0 {
			m.short = true // the next check has one
			continue
		}
		m.tell(e, "transaction timed out", slog.Int("partitions", len(e.partitions)), slog.Int64("age_ms", now-e.startMs))
		m.fence(e, func(kerr.Code) {}) // if the log refuses, the next check tries again
	}
}
