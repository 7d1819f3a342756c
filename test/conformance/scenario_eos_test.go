package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// transform: consume, write and commit the offsets in one transaction. An aborted one leaves no trace in the group, and is
// done again by the next member.
func transform(s *session) {
	in, out, group := s.topic("in"), s.topic("out"), s.topic("group")
	s.create(in, 1)
	s.create(out, 1)
	const all, each = 20, 10
	records := make([]record, all)
	for i := range records {
		records[i] = record{Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "value %d", i)}
	}
	s.produce(in, 0, records, 0)
	log := &partitionLog{topic: out}
	done := 0
	for _, commits := range []bool{false, true, false, true} {
		r := request{Op: "txn_transform", Group: group, Topic: in, Topics: []string{out}, Count: each, ID: s.topic("id"), TimeoutMS: longTimeout, Commit: commits}
		s.do(r, nil)
		made := make([]record, each)
		for i, one := range records[done : done+each] {
			made[i] = record{Key: one.Key, Value: append([]byte("seen "), one.Value...)}
		}
		log.add(made, commits)
		log.mark()
		if commits {
			done += each
		}
		s.awaitEnds(log, log.next)
		s.awaitCommitted(group, in, int64(done))
		s.answer(endStep(fmt.Sprintf("done %d", done), commits), s.committed(group, in))
	}
	s.describeTransaction("in the end", s.topic("id"))
	s.beside(log)
	s.readBack([]*partitionLog{log}, readUncommitted)
	s.readBack([]*partitionLog{log}, readCommitted)
}

// awaitCommitted waits for the committed offset of a topic's only partition: markers reach groups after the answer to the end
// of a transaction.
func (s *session) awaitCommitted(group, topic string, want int64) {
	s.Helper()
	s.await(fmt.Sprintf("%s has committed %d", group, want), func(ctx context.Context) error {
		var got struct{ Offsets map[int32]int64 }
		if err := s.with("committed").call(ctx, request{Op: "committed", Group: group, Topic: topic}, &got); err != nil {
			return err
		}
		if max(got.Offsets[0], 0) != want {
			return fmt.Errorf("it has committed %v", got.Offsets)
		}
		return nil
	})
}

// fencing: a second producer of a transactional id aborts what the first has open and shuts it out, whatever it tries next.
func fencing(s *session) {
	topic := s.topic("main")
	s.create(topic, 1)
	log := &partitionLog{topic: topic}
	for _, next := range []request{{Op: "txn_send"}, {Op: "txn_end", Commit: true}, {Op: "txn_end"}} {
		step := map[string]string{"txn_send": "send"}[next.Op]
		if step == "" {
			step = endStep("end", next.Commit)
		}
		id := s.topic(step)
		first := s.open("first", id, "")
		s.begin(first)
		s.send(first, log, false)
		second := s.open("second", id, "")
		s.begin(second) // of some clients only this is the first request under the id
		log.mark()
		s.awaitEnds(log, log.next)
		next.Producer, next.Topic, next.Records = first.name, topic, sample(s.about, 2)
		s.attempt("the first: "+step, next)
		s.attempt(step+", then abort", request{Op: "txn_end", Producer: first.name})
		s.attempt(step+", then begin", request{Op: "txn_begin", Producer: first.name})
		s.shut(first)
		s.send(second, log, true)
		s.end(second, true)
		log.mark()
		s.awaitEnds(log, log.next)
		s.describeTransaction("the second after "+step, id)
		s.shut(second)
	}
	s.beside(log)
	s.readBack([]*partitionLog{log}, readCommitted)
	s.readBack([]*partitionLog{log}, readUncommitted)
}

// attempt carries out an operation that is expected to fail and records the error, by the client's own name where it has no code.
func (s *session) attempt(step string, r request) {
	s.Helper()
	err := s.client.call(s.Context(), r, nil)
	outcome := outcomeOf(err)
	var told *clientError
	if errors.As(err, &told) && told.Code == localError && told.Kind != "" {
		outcome = told.Kind
	}
	if outcome == "" {
		s.Fatalf("%s: %v", step, err)
	}
	s.answer(step, outcome)
}

func (s *session) expiringLog() *partitionLog {
	log := &partitionLog{topic: s.about.Client + ".expiring.main"}
	log.add(sample(s.about, 8), false)
	return log
}

// expiring opens a transaction whose time passes while the other scenarios run; see expired.
func expiring(s *session) {
	s.create(s.topic("main"), 1)
	open := request{Op: "txn_open", Producer: "expiring", ID: s.topic("id"), TimeoutMS: shortTimeout}
	s.do(open, nil)
	s.do(request{Op: "txn_begin", Producer: "expiring"}, nil)
	log := s.expiringLog()
	s.write(request{Op: "txn_send", Producer: "expiring", Topic: log.topic, Records: slices.Clone(log.all)}, 0)
}

// expired: the transaction of expiring was aborted when its time had passed; its producer is told so.
func expired(s *session) {
	log, id := s.expiringLog(), s.about.Client+".expiring.id"
	log.mark()
	s.awaitEnds(log, log.next)
	s.describeTransaction("aborted", id)
	s.attempt("commit", request{Op: "txn_end", Producer: "expiring", Commit: true})
	s.attempt("abort", request{Op: "txn_end", Producer: "expiring"})
	s.attempt("begin", request{Op: "txn_begin", Producer: "expiring"})
	s.shut(txn{name: "expiring"})
	again := s.open("again", id, "lz4")
	s.begin(again)
	s.send(again, log, true)
	s.end(again, true)
	log.mark()
	s.awaitEnds(log, log.next)
	s.describeTransaction("opened again", id)
	s.shut(again)
	s.beside(log)
	s.readBack([]*partitionLog{log}, readCommitted)
}
