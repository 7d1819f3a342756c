package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Isolations of a reader.
const (
	readCommitted   = "read_committed"
	readUncommitted = "read_uncommitted"
)

// Time-outs of transactions in milliseconds: one that does not pass within a test, one that does, one that is refused.
const (
	longTimeout  = 60_000
	shortTimeout = 1000
	overTimeout  = 1_000_000_000
)

// partitionLog is what lies in one partition.
type partitionLog struct {
	topic     string
	partition int32
	next      int64
	all       []record // with their offsets
	committed []record // those that a reader at read_committed is shown
	markers   []int64
}

// add places records; committed says whether they are, or will be.
func (l *partitionLog) add(records []record, committed bool) {
	for _, one := range records {
		one.Topic, one.Partition, one.Offset = l.topic, l.partition, l.next
		l.next++
		l.all = append(l.all, one)
		if committed {
			l.committed = append(l.committed, one)
		}
	}
}

// mark places the marker that ends a transaction.
func (l *partitionLog) mark() {
	l.markers = append(l.markers, l.next)
	l.next++
}

// transactions: what is committed is read, what is aborted is not, at the offsets that markers leave.
func transactions(s *session) {
	main, other := s.topic("main"), s.topic("other")
	s.create(main, 2)
	s.create(other, 1)
	logs := []*partitionLog{{topic: main}, {topic: main, partition: 1}, {topic: other}}
	a, b := s.open("a", s.topic("id-a"), "gzip"), s.open("b", s.topic("id-b"), "zstd")
	for _, commits := range []bool{true, false} {
		s.begin(a)
		s.describeTransaction(endStep("before empty", commits), a.id)
		s.try(endStep("empty", commits), request{Op: "txn_end", Producer: a.name, Commit: commits})
	}
	for _, commits := range []bool{true, false, true} {
		s.oneTransaction(a, logs, commits)
	}
	s.describeTransaction("committed", a.id)
	s.interleaved(a, b, logs[0])
	s.describeTransaction("aborted", a.id)
	s.shut(a)
	s.shut(b)
	for _, log := range logs { // so that a reader that was given the last has been given all
		s.beside(log)
		s.ends("ends of "+strings.TrimPrefix(log.topic, s.topic(""))+fmt.Sprintf("-%d", log.partition), log)
	}
	s.readBack(logs, readUncommitted)
	s.readBack(logs, readCommitted)
	s.written.Store(txnTopic(s.about), logs[:2])
	s.attempt("a time-out beyond the broker's", request{Op: "txn_open", Producer: "c", ID: s.topic("id-c"), TimeoutMS: overTimeout})
}

// txnTopic is the topic that a client's transactions wrote to; matrix_test.go reads it with all the others.
func txnTopic(about hello) string { return about.Client + ".transactions.main" }

func endStep(step string, commits bool) string {
	if commits {
		return step + ": commit"
	}
	return step + ": abort"
}

// txn is an open transactional producer.
type txn struct{ name, id string }

func (s *session) open(name, id, codec string) txn {
	s.Helper()
	s.do(request{Op: "txn_open", Producer: name, ID: id, TimeoutMS: longTimeout, Compression: codec}, nil)
	return txn{name, id}
}

func (s *session) begin(t txn) { s.Helper(); s.do(request{Op: "txn_begin", Producer: t.name}, nil) }
func (s *session) shut(t txn)  { s.Helper(); s.do(request{Op: "txn_close", Producer: t.name}, nil) }

func (s *session) end(t txn, commits bool) {
	s.Helper()
	s.do(request{Op: "txn_end", Producer: t.name, Commit: commits}, nil)
}

// send writes some records in the open transaction of t, which will be committed or not.
func (s *session) send(t txn, log *partitionLog, commits bool) {
	s.Helper()
	records := sample(s.about, 8)
	s.write(request{Op: "txn_send", Producer: t.name, Topic: log.topic, Partition: log.partition, Records: records}, log.next)
	log.add(records, commits)
}

// beside writes records of an idempotent producer that has no transaction.
func (s *session) beside(log *partitionLog) {
	s.Helper()
	records := sample(s.about, 3)
	r := request{Op: "produce", Topic: log.topic, Partition: log.partition, Records: records, Idempotent: s.about.has("idempotence")}
	s.write(r, log.next)
	log.add(records, true)
}

// oneTransaction writes to all the partitions, the first twice, in one transaction.
func (s *session) oneTransaction(t txn, logs []*partitionLog, commits bool) {
	s.Helper()
	before := logs[0].next
	s.begin(t)
	for _, log := range append(logs[:1:1], logs...) {
		s.send(t, log, commits)
	}
	s.awaitEnds(logs[0], before)
	s.end(t, commits)
	for _, log := range logs {
		log.mark()
		s.awaitEnds(log, log.next)
	}
}

// interleaved: two transactions and a producer without one, in turn on one partition; the first aborts, the second commits.
func (s *session) interleaved(a, b txn, log *partitionLog) {
	s.Helper()
	first := log.next
	s.begin(a)
	s.send(a, log, false)
	s.begin(b)
	second := log.next
	s.send(b, log, true)
	s.beside(log)
	s.send(a, log, false)
	s.send(b, log, true)
	s.awaitEnds(log, first)
	s.describeTransaction("open", a.id)
	s.end(a, false)
	log.mark()
	s.awaitEnds(log, second)
	s.end(b, true)
	log.mark()
	s.awaitEnds(log, log.next)
}

// bounder is the client to ask for the end of what is committed.
func (s *session) bounder() client {
	if s.about.has("committed_bounds") {
		return s.client
	}
	return s.setUp
}

func (s *session) endsNow(ctx context.Context, log *partitionLog) (committed, end int64, err error) {
	for isolation, to := range map[string]*int64{readCommitted: &committed, readUncommitted: &end} {
		var got struct{ Latest int64 }
		r := request{Op: "list_offsets", Topic: log.topic, Partition: log.partition, Isolation: isolation}
		if err := s.bounder().call(ctx, r, &got); err != nil {
			return 0, 0, err
		}
		*to = got.Latest
	}
	return committed, end, nil
}

// awaitEnds waits until readers at read_committed may read up to committed, and the partition ends where the log does. Markers
// are written after the answer to the end of a transaction.
func (s *session) awaitEnds(log *partitionLog, committed int64) {
	s.Helper()
	s.await(fmt.Sprintf("%s-%d ends at %d, %d", log.topic, log.partition, committed, log.next), func(ctx context.Context) error {
		gotCommitted, gotEnd, err := s.endsNow(ctx, log)
		if err == nil && (gotCommitted != committed || gotEnd != log.next) {
			err = fmt.Errorf("it ends at %d, %d", gotCommitted, gotEnd)
		}
		return err
	})
}

func (s *session) ends(step string, log *partitionLog) {
	s.Helper()
	committed, end, err := s.endsNow(s.Context(), log)
	if err != nil {
		s.Fatal(err)
	}
	s.answer(step, fmt.Sprintf("committed %d, end %d", committed, end))
}

// describeTransaction records what the coordinator says of a transactional id, once it has ended what it is ending.
func (s *session) describeTransaction(step, id string) {
	s.Helper()
	var got struct {
		State     string
		Epoch     int16
		TimeoutMS int32 `json:"timeout_ms"`
	}
	s.await("the transaction is described", func(ctx context.Context) error {
		err := s.with("describe_transaction").call(ctx, request{Op: "describe_transaction", ID: id}, &got)
		if err == nil && strings.HasPrefix(got.State, "Prepare") {
			err = errors.New(got.State)
		}
		return err
	})
	s.answer(step, fmt.Sprintf("%s, epoch %d, timeout %d", got.State, got.Epoch, got.TimeoutMS))
}

// readBack reads topics whole and compares every partition with its log.
func (s *session) readBack(logs []*partitionLog, isolation string) {
	s.Helper()
	if err := readLogs(s.Context(), s.client, logs, isolation); err != nil {
		s.Error(err)
	}
}

func readLogs(ctx context.Context, reader client, logs []*partitionLog, isolation string) error {
	r := request{Op: "consume", Isolation: isolation, Seconds: 2 * operationSeconds}
	want := make(map[string][]record)
	marked := make(map[string]map[int64]bool)
	name := func(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }
	for _, log := range logs {
		shown := log.committed
		if isolation == readUncommitted {
			shown = log.all
		}
		want[name(log.topic, log.partition)] = shown
		marked[name(log.topic, log.partition)] = make(map[int64]bool)
		for _, offset := range log.markers {
			marked[name(log.topic, log.partition)][offset] = true
		}
		r.Count += len(shown)
		if !slices.Contains(r.Topics, log.topic) {
			r.Topics = append(r.Topics, log.topic)
		}
	}
	var read struct{ Records []record }
	if err := reader.call(ctx, r, &read); err != nil {
		return fmt.Errorf("read at %s: %w", isolation, err)
	}
	got := make(map[string][]record)
	for _, one := range read.Records {
		where := name(one.Topic, one.Partition)
		if reader.about().has("shows_markers") && marked[where][one.Offset] {
			continue
		}
		got[where] = append(got[where], one)
	}
	var faults []error
	for where, shown := range want {
		if err := comparePlaced(reader.about(), got[where], shown); err != nil {
			faults = append(faults, fmt.Errorf("%s at %s: %w", where, isolation, err))
		}
	}
	return errors.Join(faults...)
}
