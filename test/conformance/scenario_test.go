package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"millrace/test/harness"
)

// settleLimit bounds the wait for what a cluster does after its answer: leaders, rebalances, the end of a member.
const settleLimit = 30 * time.Second

// A scenario is one thing that people do with Kafka, step by step, with any client.
type scenario struct {
	name  string
	needs []string // operations without which it is skipped
	run   func(*session)
}

// brief tells whether a plain `go test` has time for the scenario. In these each client shows that it connects, writes with all its codecs,
// reads, and goes on in a group where it left off. One that is slow starts a process for each step, and shows only the last.
func (s scenario) brief(slow bool) bool {
	return s.name == "commit" || s.name == "compression" && !slow
}

func scenarios() []scenario {
	return []scenario{
		{"expiring", []string{"txn_open"}, expiring},
		{"topics", []string{"create_topic", "describe_topic"}, topics},
		{"compression", []string{"produce", "consume"}, compression},
		{"settings", []string{"create_topic", "produce", "consume"}, settings},
		{"idempotence", []string{"produce"}, idempotence},
		{"commit", []string{"group_read"}, commitAndResume},
		{"rebalance", []string{"member_open"}, rebalance},
		{"consumer", []string{"member_open"}, consumerProtocol},
		{"migration", []string{"member_open"}, migration},
		{"share", []string{"share_open"}, shareGroup},
		{"time", []string{"offset_for_time"}, seekByTime},
		{"delete_records", []string{"delete_records"}, deleteRecords},
		{"listing", []string{"list_groups"}, listing},
		{"transactions", []string{"txn_open"}, transactions},
		{"transform", []string{"txn_transform"}, transform},
		{"fencing", []string{"txn_open"}, fencing},
		{"txn_tools", []string{"abort_transaction"}, txnTools},
		{"expired", []string{"txn_open"}, expired},
	}
}

// session is one client in one scenario.
type session struct {
	*testing.T
	client  client
	setUp   client // creates topics and writes for clients that cannot
	about   hello
	name    string // of the scenario
	answers *answers
	written *sync.Map // topics for matrix_test.go
}

// runScenarios runs all scenarios with one client and returns what it was told.
func runScenarios(t *testing.T, one, setUp client, written *sync.Map) *answers {
	t.Helper()
	out := new(answers)
	about := one.about()
	for _, scenario := range scenarios() {
		if !harness.Everything() && !scenario.brief(about.has("slow")) {
			out.left = append(out.left, scenario.name)
			continue
		}
		missing := missingOf(about, scenario.needs)
		if missing != "" {
			out.add(scenario.name, "skipped", "the client does not offer "+missing)
			continue
		}
		t.Run(scenario.name, func(t *testing.T) {
			scenario.run(&session{T: t, client: one, setUp: setUp, about: about, name: scenario.name, answers: out, written: written})
		})
	}
	return out
}

func missingOf(about hello, needs []string) string {
	for _, operation := range needs {
		if !about.offers(operation) {
			return operation
		}
	}
	return ""
}

// topic is the name of a topic that belongs to this client and scenario; groups are named likewise.
func (s *session) topic(suffix string) string { return s.about.Client + "." + s.name + "." + suffix }

// answer records what the client was told in a step.
func (s *session) answer(step string, answer any) { s.answers.add(s.name, step, answer) }

// try carries out an operation that may fail and records the outcome: "ok", or the error's name. A client that does not
// offer the operation skips the step.
func (s *session) try(step string, r request) bool {
	s.Helper()
	if !s.about.offers(r.Op) {
		s.answer(step, "not offered")
		return false
	}
	outcome := outcomeOf(s.client.call(s.Context(), r, nil))
	if outcome == "" {
		s.Fatalf("%s: the client program has ended", step)
	}
	s.answer(step, outcome)
	return outcome == "ok"
}

// outcomeOf is "ok", the name of an error, or empty where the client is gone.
func outcomeOf(err error) string {
	var told *clientError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &told):
		return told.name()
	}
	return ""
}

// with is the client for an operation: the scenario's own, or the one that sets up where the other does not offer it.
func (s *session) with(operation string) client {
	if s.about.offers(operation) {
		return s.client
	}
	return s.setUp
}

// do carries out an operation that must succeed.
func (s *session) do(r request, out any) {
	s.Helper()
	with := s.with(r.Op)
	if err := with.call(s.Context(), r, out); err != nil {
		s.Fatalf("%s %s%s%s: %v", with.about().Client, r.Op, " "+r.Topic, " "+r.Group, err)
	}
}

// create makes a topic for records of any time and waits until all its partitions are led.
func (s *session) create(topic string, partitions int32) {
	s.Helper()
	r := request{Op: "create_topic", Topic: topic, Partitions: partitions, Configs: keepForever()}
	if s.about.has("slow") { // its own way of creating is shown by the scenario "topics"
		if err := s.setUp.call(s.Context(), r, nil); err != nil {
			s.Fatal(err)
		}
	} else {
		s.do(r, nil)
	}
	s.awaitTopic(topic, int(partitions))
}

func (s *session) awaitTopic(topic string, partitions int) {
	s.Helper()
	with := s.with("describe_topic")
	if s.about.has("slow") {
		with = s.setUp
	}
	s.await(fmt.Sprintf("%s has %d partitions with leaders", topic, partitions), func(ctx context.Context) error {
		var got struct{ Partitions, Led int }
		if err := with.call(ctx, request{Op: "describe_topic", Topic: topic}, &got); err != nil {
			return err
		}
		if got.Partitions != partitions || got.Led != partitions {
			return fmt.Errorf("%d partitions, %d of them led", got.Partitions, got.Led)
		}
		return nil
	})
}

func (s *session) await(what string, check func(context.Context) error) {
	s.Helper()
	harness.Eventually(s.T, settleLimit, s.about.Client+": "+what, check)
}

// produce writes records to one partition and checks the offsets, which go on from first.
func (s *session) produce(topic string, partition int32, records []record, first int64) {
	s.Helper()
	s.write(request{Op: "produce", Topic: topic, Partition: partition, Records: records}, first)
}

func (s *session) write(r request, first int64) {
	s.Helper()
	var got struct{ Offsets []int64 }
	s.do(r, &got)
	for i, offset := range got.Offsets {
		if offset != first+int64(i) {
			s.Fatalf("%s: record %d was given the offset %d, want %d", r.Topic, i, offset, first+int64(i))
		}
	}
}

// writer is what the client that produces in this scenario can write.
func (s *session) writer() hello {
	if s.about.offers("produce") {
		return s.about
	}
	return s.setUp.about()
}
