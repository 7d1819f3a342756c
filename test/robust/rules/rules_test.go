package rules

import (
	"maps"
	"slices"
	"testing"

	"millrace/test/robust/tape"
)

// written is a tape written by hand.
type written struct {
	ops []*tape.Op
	now int64
}

func (w *written) op(process int, kind tape.Kind) *tape.Op {
	w.now += 10
	op := &tape.Op{Process: process, Number: len(w.ops), Kind: kind, Call: w.now, Asked: tape.Never, Return: w.now + 5, Outcome: tape.OK}
	w.ops = append(w.ops, op)
	return op
}

func (w *written) send(process int, records ...tape.Record) *tape.Op {
	op := w.op(process, tape.Send)
	op.Sent = records
	return op
}

func (w *written) txn(process int, polled, sent []tape.Record) *tape.Op {
	op := w.op(process, tape.Txn)
	op.Asked = op.Call + 2
	op.Polled, op.Sent = polled, sent
	return op
}

func (w *written) poll(process int, records ...tape.Record) *tape.Op {
	op := w.op(process, tape.Poll)
	op.Polled = records
	return op
}

func at(offset, value int64) tape.Record { return tape.Record{Offset: offset, Value: value} }

func on(key int, offset, value int64) tape.Record {
	return tape.Record{Key: key, Offset: offset, Value: value}
}

func unknown(op *tape.Op) *tape.Op {
	op.Outcome, op.Return = tape.Unknown, tape.Never
	return op
}

func failed(op *tape.Op) *tape.Op {
	op.Outcome, op.Asked = tape.Failed, tape.Never
	return op
}

// planted is a history, and the kinds that have to be reported for it, and no others.
type planted struct {
	name  string
	write func(*written)
	want  []Kind
}

// right are histories without anomalies.
var right = []planted{
	{"sent and polled", func(w *written) {
		w.send(1, at(0, 10))
		w.send(1, at(1, 11))
		w.poll(2, at(0, 10))
		w.poll(2, at(1, 11))
	}, nil},
	{"gaps of markers, and of what was aborted", func(w *written) {
		w.txn(1, nil, []tape.Record{at(0, 10)})
		failed(w.txn(1, nil, []tape.Record{at(2, 11)}))
		w.send(2, at(4, 12))
		w.poll(3, at(0, 10), at(4, 12))
	}, nil},
	{"unknown, seen and not seen", func(w *written) {
		unknown(w.send(1, at(tape.NoOffset, 10)))
		unknown(w.send(2, at(tape.NoOffset, 11)))
		unknown(w.txn(3, nil, []tape.Record{at(2, 12), on(1, 0, 13)}))
		unknown(w.txn(4, nil, []tape.Record{at(tape.NoOffset, 14), on(1, 2, 15)}))
		w.poll(5, at(0, 10), at(5, 14))
		w.poll(5, on(1, 2, 15))
	}, nil},
	{"a consumer is placed anew", func(w *written) {
		w.send(1, at(0, 10), at(1, 11), at(2, 12))
		w.poll(2, at(0, 10), at(1, 11), at(2, 12))
		w.op(2, tape.Assign)
		w.poll(2, at(0, 10))
		w.op(2, tape.Assign)
		w.poll(2, at(2, 12))
	}, nil},
	{"writes of two transactions in two orders", func(w *written) {
		w.txn(1, nil, []tape.Record{at(0, 10), on(1, 1, 11)})
		w.txn(2, nil, []tape.Record{at(1, 20), on(1, 0, 21)})
		w.poll(3, at(0, 10), at(1, 20), on(1, 0, 21), on(1, 1, 11))
	}, nil},
	{"a chain of readers", func(w *written) {
		w.txn(1, nil, []tape.Record{at(0, 10)})
		w.txn(2, []tape.Record{at(0, 10)}, []tape.Record{on(1, 0, 11)})
		w.txn(3, []tape.Record{at(0, 10), on(1, 0, 11)}, nil)
	}, nil},
}

// wrong are histories with one anomaly each, and what follows from it.
var wrong = []planted{
	{"two records at an offset", func(w *written) {
		w.send(1, at(0, 10))
		w.send(2, at(0, 11))
		w.poll(3, at(0, 10))
	}, []Kind{Inconsistent, Unseen}},
	{"two readers are given different records", func(w *written) {
		unknown(w.send(1, at(tape.NoOffset, 10)))
		unknown(w.send(2, at(tape.NoOffset, 11)))
		w.poll(3, at(0, 10))
		w.poll(4, at(0, 11))
	}, []Kind{Inconsistent}},
	{"a retry that was appended twice", func(w *written) {
		w.send(1, at(0, 10))
		w.poll(2, at(0, 10), at(1, 10))
	}, []Kind{Duplicate}},
	{"lost", func(w *written) {
		w.send(1, at(0, 10))
		w.send(1, at(1, 11))
		w.poll(2, at(1, 11))
	}, []Kind{Lost}},
	{"lost, of a transaction", func(w *written) {
		w.txn(1, nil, []tape.Record{at(0, 10), at(1, 11), on(1, 0, 12)})
		w.poll(2, at(1, 11), on(1, 0, 12))
	}, []Kind{Lost}},
	{"the tail lost", func(w *written) {
		w.send(1, at(0, 10))
		w.send(1, at(1, 11))
		w.poll(2, at(0, 10))
	}, []Kind{Unseen}},
	{"sent by nobody", func(w *written) { w.poll(1, at(0, 10)) }, []Kind{Phantom}},
	{"aborted", func(w *written) {
		failed(w.txn(1, nil, []tape.Record{at(0, 10)}))
		w.poll(2, at(0, 10))
	}, []Kind{Aborted}},
	{"its own", func(w *written) { w.txn(1, []tape.Record{at(0, 10)}, []tape.Record{at(0, 10)}) }, []Kind{Precommitted}},
	{"before the commit was asked for", func(w *written) {
		op := w.txn(1, nil, []tape.Record{at(0, 10)})
		w.poll(2, at(0, 10))
		op.Asked, op.Return = w.now+20, w.now+30
	}, []Kind{Early}},
	{"before it was sent", func(w *written) {
		w.poll(2, at(0, 10))
		w.send(1, at(0, 10))
	}, []Kind{Early}},
	{"left out within a poll", func(w *written) {
		w.send(1, at(0, 10), at(1, 11), at(2, 12))
		w.poll(2, at(0, 10), at(2, 12))
		w.poll(3, at(1, 11))
	}, []Kind{PollSkip}},
	{"left out between two polls", func(w *written) {
		w.send(1, at(0, 10), at(1, 11), at(2, 12))
		w.poll(2, at(0, 10))
		w.poll(3, at(1, 11))
		w.poll(2, at(2, 12))
	}, []Kind{PollSkip}},
	{"back within a poll", func(w *written) {
		w.send(1, at(0, 10), at(1, 11))
		w.poll(2, at(1, 11), at(0, 10))
	}, []Kind{NonmonotonicPoll}},
	{"again in the next poll", func(w *written) {
		w.send(1, at(0, 10))
		w.poll(2, at(0, 10))
		w.poll(2, at(0, 10))
	}, []Kind{NonmonotonicPoll}},
	{"sent later, and stands before", func(w *written) {
		w.send(1, at(1, 10))
		w.send(1, at(0, 11))
		w.poll(2, at(0, 11), at(1, 10))
	}, []Kind{NonmonotonicSend}},
	{"a part of a transaction", func(w *written) {
		unknown(w.txn(1, nil, []tape.Record{at(0, 10), on(1, 0, 11)}))
		w.poll(2, at(0, 10))
	}, []Kind{Torn}},
	{"two that have read from each other", func(w *written) {
		a := w.txn(1, []tape.Record{on(1, 0, 20)}, []tape.Record{at(0, 10)})
		b := w.txn(2, []tape.Record{at(0, 10)}, []tape.Record{on(1, 0, 20)})
		a.Return, b.Return = w.now+50, w.now+50
	}, []Kind{Circle, Early}},
	{"three in a circle", func(w *written) {
		a := w.txn(1, []tape.Record{on(2, 0, 30)}, []tape.Record{at(0, 10)})
		b := w.txn(2, []tape.Record{at(0, 10)}, []tape.Record{on(1, 0, 20)})
		c := w.txn(3, []tape.Record{on(1, 0, 20)}, []tape.Record{on(2, 0, 30)})
		a.Return, b.Return, c.Return = w.now+50, w.now+50, w.now+50
	}, []Kind{Circle, Early}},
}

// TestPlanted judges each history and wants exactly its kinds reported.
func TestPlanted(t *testing.T) {
	for _, f := range slices.Concat(right, wrong) {
		var w written
		f.write(&w)
		found := Judge(w.ops)
		kinds := make(map[Kind]bool)
		for _, v := range found {
			kinds[v.Kind] = true
		}
		got := slices.Sorted(maps.Keys(kinds))
		slices.Sort(f.want)
		if !slices.Equal(got, f.want) {
			t.Errorf("%s: got %v, want %v\n%v", f.name, got, f.want, found)
		}
	}
}

// TestEveryKindIsPlanted keeps the list above whole.
func TestEveryKindIsPlanted(t *testing.T) {
	planted := make(map[Kind]bool)
	for _, f := range wrong {
		for _, kind := range f.want {
			planted[kind] = true
		}
	}
	all := []Kind{Inconsistent, Duplicate, Lost, Unseen, Phantom, Aborted, Precommitted, Early, NonmonotonicPoll, PollSkip,
		NonmonotonicSend, Torn, Circle}
	for _, kind := range all {
		if !planted[kind] {
			t.Errorf("%s is not planted", kind)
		}
	}
}
