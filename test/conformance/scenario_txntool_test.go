package conformance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// txnTools: what the admin client says of transactions and producers, and how it aborts a transaction that hangs.
func txnTools(s *session) {
	topic, id := s.topic("main"), s.topic("id")
	s.create(topic, 1)
	log := &partitionLog{topic: topic}
	writer := &session{T: s.T, client: s.setUp, setUp: s.setUp, about: s.setUp.about(), name: s.name, answers: s.answers}
	t := writer.open(s.topic("writer"), id, "")
	writer.beside(log)
	writer.begin(t)
	writer.send(t, log, false)
	s.awaitEnds(log, 3)
	s.tell("open", log, id)

	s.do(request{Op: "abort_transaction", Topic: topic, Before: 3}, nil)
	log.mark()
	s.awaitEnds(log, log.next)
	s.tell("aborted by the tool", log, id) // the coordinator is not told
	writer.end(t, true)
	log.mark()
	s.awaitEnds(log, log.next)
	if !s.about.has("slow") {
		s.tell("ended", log, id)
	}
	writer.shut(t)
	s.attempt("describe: unknown id", request{Op: "describe_transaction", ID: s.topic("nobody")})
}

// tell records all that the client is told of a transactional id and of the partition that it wrote to.
func (s *session) tell(step string, log *partitionLog, id string) {
	s.Helper()
	var listed struct{ States map[string]string }
	s.await(id+" is listed", func(ctx context.Context) error {
		err := s.client.call(ctx, request{Op: "list_transactions"}, &listed)
		if err == nil && (listed.States[id] == "" || strings.HasPrefix(listed.States[id], "Prepare")) {
			err = fmt.Errorf("%v", listed.States)
		}
		return err
	})
	s.answer(step+": listed", listed.States[id])
	s.describeTransaction(step+": described", id)
	type producer struct{ Epoch, Sequence, Start int64 }
	var got struct{ Producers []producer }
	s.do(request{Op: "describe_producers", Topic: log.topic}, &got)
	slices.SortFunc(got.Producers, func(a, b producer) int { return cmp.Compare(b.Sequence, a.Sequence) })
	s.answer(step+": producers", fmt.Sprintf("%+v", got.Producers))
}
