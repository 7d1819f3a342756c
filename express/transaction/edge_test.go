package transaction

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// versions of EndTxn, one for each protocol.
var protocols = map[string]int16{"first": 4, "second": 5}

func eachProtocol(t *testing.T, f func(t *testing.T, version int16)) {
	for name, version := range protocols {
		t.Run(name, func(t *testing.T) { f(t, version) })
	}
}

// Partitions or offsets that were added and never written to are no reason to refuse the commit.
func TestEmptyCommitSucceeds(t *testing.T) {
	eachProtocol(t, func(t *testing.T, version int16) {
		b := newBench(t)
		p := b.mustInit("x")
		b.code(b.add("x", p, "__consumer_offsets/7"), kerr.None)
		next, code := b.end(version, "x", p, true)
		b.code(code, kerr.None)
		b.mark()
		if version >= endSecond {
			b.want(b.state("x"), "CompleteCommit 100/1")
			if next != (machine.Producer{ID: 100, Epoch: 1}) {
				t.Error(next)
			}
		} else {
			b.want(b.state("x"), "CompleteCommit 100/0")
			if next != nobody {
				t.Error(next)
			}
		}
	})
}

// A transaction without a single partition ends at once.
func TestCommitOfNoPartitionsCompletesAtOnce(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.add("x", p), kerr.None)
	b.want(b.state("x"), "Ongoing 100/0")
	_, code := b.end(5, "x", p, true)
	b.code(code, kerr.None)
	b.want(b.state("x"), "CompleteCommit 100/1")
	b.want(b.work(), "")
}

// Whatever comes while the end of a transaction is being written has to wait, else its end would be lost.
func TestConcurrentWhilePreviousCompletes(t *testing.T) {
	eachProtocol(t, func(t *testing.T, version int16) {
		b := newBench(t)
		p := b.mustInit("x")
		b.code(b.add("x", p, "t/0"), kerr.None)
		next, code := b.end(version, "x", p, true)
		b.code(code, kerr.None)
		if next == nobody {
			next = p
		}
		b.code(b.add("x", next, "t/1"), kerr.ConcurrentTransactions)
		b.code(b.m.Verify("x", next, parts("t/0"))[0], kerr.ConcurrentTransactions)
		_, code = b.end(version, "x", p, true)
		b.code(code, kerr.ConcurrentTransactions)
		_, code = b.init("x", nobody)
		b.code(code, kerr.ConcurrentTransactions)
		_, code = b.end(version, "x", p, false)
		b.code(code, kerr.ConcurrentTransactions)
		b.mark()
		_, code = b.end(version, "x", p, false)
		b.code(code, kerr.InvalidTxnState)
		b.code(b.add("x", next, "t/1"), kerr.None)
	})
}

// A producer that goes on at once is not sent away while the last transaction is being completed: its partitions are added
// when that is done.
func TestAdditionWaitsForTheTransactionBefore(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.add("x", p, "t/0"), kerr.None)
	next, code := b.end(5, "x", p, true)
	b.code(code, kerr.None)
	first, second := b.beginAdd("x", next, true, "t/1"), b.beginAdd("x", next, true, "t/2")
	if take[*kmsg.AddOffsetsToTxnResponse](b, first) != nil {
		t.Error("answered before the last transaction was complete")
	}
	b.after(addPatience / 2)
	b.mark()
	for _, ticket := range []machine.Ticket{first, second} {
		r := take[*kmsg.AddOffsetsToTxnResponse](b, ticket)
		if r == nil || r.ErrorCode != 0 {
			t.Fatalf("%+v", r)
		}
	}
	b.want(b.state("x"), "Ongoing 100/1 t/1,t/2")
}

// What waited for the record that deletes an id is answered like what comes after it, and what waits at the end of all.
func TestAdditionWaitsForAnExpiry(t *testing.T) {
	for fault, want := range map[kerr.Code]kerr.Code{kerr.None: kerr.InvalidProducerIDMapping, kerr.KafkaStorageError: kerr.None} {
		b := newBench(t)
		p := b.mustInit("x")
		b.now = b.now.Add(b.limits.Expiration)
		b.hold = true
		b.effects(b.m.Expire(b.now))
		ticket := b.beginAdd("x", p, true, "t/0")
		b.fail = fault
		b.hold = false
		b.settle()
		if r := take[*kmsg.AddOffsetsToTxnResponse](b, ticket); r == nil || kerr.Code(r.ErrorCode) != want {
			t.Errorf("%v: %+v", fault, r)
		}
	}
	b := newBench(t)
	ticket := b.beginAdd("x", b.to(PrepareCommit, "x"), true, "t/0")
	b.effects(b.m.Close(b.now))
	if r := take[*kmsg.AddOffsetsToTxnResponse](b, ticket); r == nil || kerr.Code(r.ErrorCode) != kerr.NotCoordinator {
		t.Errorf("%+v", r)
	}
}

// While a record is on its way to the log, nothing else may change the id.
func TestConcurrentWhileTransitionIsPending(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.hold = true
	first := b.beginAdd("x", p, false, "t/0")
	b.want(b.state("x"), "Empty 100/0")
	if take[*kmsg.AddOffsetsToTxnResponse](b, first) != nil {
		t.Error("answered before it was durable")
	}
	b.code(b.add("x", p, "t/1"), kerr.ConcurrentTransactions)
	b.code(b.add("x", machine.Producer{ID: 9}, "t/1"), kerr.ConcurrentTransactions) // perhaps its next producer id
	for _, version := range protocols {
		_, code := b.end(version, "x", p, true)
		b.code(code, kerr.ConcurrentTransactions)
	}
	_, code := b.init("x", nobody)
	b.code(code, kerr.ConcurrentTransactions)
	b.code(b.m.Verify("x", p, parts("t/0"))[0], kerr.TransactionAbortable)
	b.settle()
	if r := take[*kmsg.AddOffsetsToTxnResponse](b, first); r == nil || r.ErrorCode != 0 {
		t.Error(r)
	}
	b.want(b.state("x"), "Ongoing 100/0 t/0")
	b.code(b.m.Verify("x", p, parts("t/0"))[0], kerr.None)
}

// No marker before the decision is durable (T5).
func TestMarkersFollowTheDurableDecision(t *testing.T) {
	b := newBench(t)
	p := b.to(Ongoing, "x")
	b.hold = true
	ticket := b.beginEnd(5, "x", p, true)
	b.want(b.work(), "")
	b.settle()
	b.want(b.work(), "commit x 100/1 on t/0 by 1")
	if r := take[*kmsg.EndTxnResponse](b, ticket); r == nil || r.ErrorCode != 0 || r.ProducerEpoch != 1 {
		t.Errorf("%+v", r)
	}
	b.want(b.state("x"), "PrepareCommit 100/1 t/0")
	b.mark()
	b.want(b.state("x"), "PrepareCommit 100/1 t/0") // its end is not durable yet
	b.settle()
	b.want(b.state("x"), "CompleteCommit 100/1")
}

// The new owner of a coordinator partition carries out what the old one decided (Redpanda #14624, #17827, #24445).
func TestReplayCompletesPreparedTransactions(t *testing.T) {
	for _, commit := range []bool{true, false} {
		eachProtocol(t, func(t *testing.T, version int16) {
			b := newBench(t)
			p := b.mustInit("x")
			b.code(b.add("x", p, "t/0", "u/3"), kerr.None)
			_, code := b.end(version, "x", p, commit)
			b.code(code, kerr.None)
			before := b.state("x")
			b.reload(-1)
			b.want(b.state("x"), before)
			word, epoch, end := "abort", "0", "CompleteAbort"
			if commit {
				word, end = "commit", "CompleteCommit"
			}
			if version >= endSecond {
				epoch = "1"
			}
			b.want(b.work(), word+" x 100/"+epoch+" on t/0,u/3 by 2")
			b.mark()
			b.want(b.state("x"), end+" 100/"+epoch)
			b.reload(-1)
			b.want(b.state("x"), end+" 100/"+epoch)
			b.want(b.work(), "")
		})
	}
}

// Some partitions had their markers when the coordinator went down: all get them again, none is missing.
func TestReplayAfterSomeMarkers(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.add("x", p, "t/0", "t/1"), kerr.None)
	_, code := b.end(5, "x", p, true)
	b.code(code, kerr.None)
	b.effects(b.m.MarkerWritten(b.now, b.tasks[0].Number, parts("t/1")[0], true))
	b.want(b.state("x"), "PrepareCommit 100/1 t/0,t/1")
	b.reload(-1)
	b.want(b.work(), "commit x 100/1 on t/0,t/1 by 2")
}

// A marker that fails is handed out again, after longer and longer pauses, until it works.
func TestMarkersAreRetriedUntilEachPartitionHasIts(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.add("x", p, "t/0", "t/1", "t/2"), kerr.None)
	_, code := b.end(5, "x", p, false)
	b.code(code, kerr.None)
	number := b.tasks[0].Number
	b.tasks = nil
	b.effects(b.m.MarkerWritten(b.now, number, parts("t/2")[0], false))
	b.effects(b.m.MarkerWritten(b.now, number, parts("t/0")[0], false))
	b.effects(b.m.MarkerWritten(b.now, number, parts("t/0")[0], true)) // told twice: does not count
	b.effects(b.m.MarkerWritten(b.now, number, parts("t/2")[0], false))
	b.after(time.Hour)
	b.want(b.work(), "") // t/1 is still out
	b.effects(b.m.MarkerWritten(b.now, number, parts("t/1")[0], true))
	var pauses []time.Duration
	for range 8 {
		began := b.now
		at, ok := b.m.Deadline()
		if !ok {
			t.Fatal("nothing is tried again")
		}
		b.now = at
		b.effects(b.m.Advance(b.now))
		pauses = append(pauses, b.now.Sub(began))
		b.want(b.work(), "abort x 100/1 on t/0,t/2 by 1")
		b.tasks = nil
		b.effects(b.m.MarkerWritten(b.now, number, parts("t/0")[0], false))
		b.effects(b.m.MarkerWritten(b.now, number, parts("t/2")[0], false))
	}
	if pauses[0] != firstPause || pauses[1] != 2*firstPause || pauses[7] != maxPause {
		t.Error(pauses)
	}
	b.after(maxPause)
	b.mark()
	b.want(b.state("x"), "CompleteAbort 100/1")
}

// The record of the end is tried again too.
func TestRefusedEndIsRetried(t *testing.T) {
	b := newBench(t)
	p := b.to(Ongoing, "x")
	_, code := b.end(5, "x", p, true)
	b.code(code, kerr.None)
	b.fail = kerr.KafkaStorageError
	b.mark()
	b.want(b.state("x"), "PrepareCommit 100/1 t/0")
	b.after(firstPause)
	b.want(b.state("x"), "CompleteCommit 100/1")
}

// What EndTxn is answered in each state, as Kafka's table has it: with the present epoch, and with the one before.
func TestEndTxnOfTheSecondProtocol(t *testing.T) {
	for _, tc := range []struct {
		state         State
		commit, again bool
		want          kerr.Code
		epoch         int16 // of the answer, above that before
	}{
		{Empty, false, true, kerr.ProducerFenced, 0},
		{Empty, false, false, kerr.None, 1},
		{Empty, true, true, kerr.ProducerFenced, 0},
		{Empty, true, false, kerr.InvalidTxnState, 0},
		{CompleteAbort, false, true, kerr.None, 0},
		{CompleteAbort, false, false, kerr.None, 1},
		{CompleteAbort, true, true, kerr.InvalidTxnState, 0},
		{CompleteAbort, true, false, kerr.InvalidTxnState, 0},
		{CompleteCommit, false, true, kerr.InvalidTxnState, 0},
		{CompleteCommit, false, false, kerr.None, 1},
		{CompleteCommit, true, true, kerr.None, 0},
		{CompleteCommit, true, false, kerr.InvalidTxnState, 0},
		{PrepareCommit, true, true, kerr.ConcurrentTransactions, 0},
		{PrepareCommit, true, false, kerr.ConcurrentTransactions, 0},
		{PrepareCommit, false, true, kerr.ConcurrentTransactions, 0},
		{PrepareCommit, false, false, kerr.ConcurrentTransactions, 0}, // the next one, empty, right after the answer to this
		{PrepareAbort, false, true, kerr.ConcurrentTransactions, 0},
		{PrepareAbort, false, false, kerr.ConcurrentTransactions, 0},
		{PrepareAbort, true, true, kerr.ConcurrentTransactions, 0},
		{Ongoing, true, true, kerr.ProducerFenced, 0},
		{Ongoing, true, false, kerr.None, 1},
		{Ongoing, false, false, kerr.None, 1},
	} {
		b := newBench(t)
		present := b.to(tc.state, "x")
		p := present
		if tc.again {
			p.Epoch--
		}
		got, code := b.end(5, "x", p, tc.commit)
		want := nobody
		if tc.want == kerr.None {
			want = machine.Producer{ID: present.ID, Epoch: present.Epoch + tc.epoch}
		}
		if code != tc.want || got != want {
			t.Errorf("%v commit=%v again=%v: %v %v, want %v %v", tc.state, tc.commit, tc.again, code, got, tc.want, want)
		}
		b.mark()
		if s := b.m.Describe("x"); tc.epoch > 0 && !tc.commit && s.State != "CompleteAbort" {
			t.Errorf("%v: %s", tc.state, s.State)
		}
	}
}

func TestEndTxnOfTheFirstProtocol(t *testing.T) {
	for _, tc := range []struct {
		state         State
		commit, abort kerr.Code
	}{
		{Empty, kerr.InvalidTxnState, kerr.InvalidTxnState},
		{Ongoing, kerr.None, kerr.None},
		{PrepareCommit, kerr.ConcurrentTransactions, kerr.ConcurrentTransactions},
		{PrepareAbort, kerr.ConcurrentTransactions, kerr.ConcurrentTransactions},
		{CompleteCommit, kerr.None, kerr.InvalidTxnState},
		{CompleteAbort, kerr.InvalidTxnState, kerr.None},
	} {
		for commit, want := range map[bool]kerr.Code{true: tc.commit, false: tc.abort} {
			b := newBench(t)
			p := b.to(tc.state, "x")
			got, code := b.end(3, "x", p, commit)
			if code != want || got != nobody {
				t.Errorf("%v commit=%v: %v %v, want %v", tc.state, commit, code, got, want)
			}
			_, code = b.end(3, "x", machine.Producer{ID: p.ID, Epoch: p.Epoch - 1}, commit)
			b.code(code, kerr.ProducerFenced)
			_, code = b.end(3, "x", machine.Producer{ID: p.ID, Epoch: p.Epoch + 1}, commit)
			b.code(code, kerr.ProducerFenced)
			_, code = b.end(3, "x", machine.Producer{ID: p.ID + 1, Epoch: p.Epoch}, commit)
			b.code(code, kerr.InvalidProducerIDMapping)
			_, code = b.end(3, "y", p, commit)
			b.code(code, kerr.InvalidProducerIDMapping)
			_, code = b.end(3, "", p, commit)
			b.code(code, kerr.InvalidRequest)
		}
	}
}

// A late EndTxn must not end the next transaction (KAFKA-17754): the epoch is another by then.
func TestDelayedEndTxnDoesNotEndTheNextTransaction(t *testing.T) {
	b := newBench(t)
	first := b.to(Ongoing, "x")
	second, code := b.end(5, "x", first, true)
	b.code(code, kerr.None)
	b.mark()
	b.code(b.add("x", second, "t/0"), kerr.None)
	for _, commit := range []bool{true, false} {
		_, code = b.end(5, "x", first, commit)
		b.code(code, kerr.ProducerFenced)
	}
	b.want(b.state("x"), "Ongoing 100/1 t/0")
}

// A new producer of an id aborts what the old one left, and is asked to come again until that is done.
func TestInitProducerIDFencesTheOngoingTransaction(t *testing.T) {
	b := newBench(t)
	old := b.to(Ongoing, "x")
	_, code := b.init("x", nobody)
	b.code(code, kerr.ConcurrentTransactions)
	b.want(b.state("x"), "PrepareAbort 100/1 t/0")
	b.want(b.work(), "abort x 100/1 on t/0 by 1")
	_, code = b.init("x", nobody)
	b.code(code, kerr.ConcurrentTransactions)
	_, code = b.end(4, "x", old, true)
	b.code(code, kerr.ProducerFenced)
	b.mark()
	p, code := b.init("x", nobody)
	b.code(code, kerr.None)
	b.want(b.state("x"), "Empty 100/2")
	b.code(b.add("x", old, "t/0"), kerr.ProducerFenced)
	b.code(b.m.Verify("x", old, parts("t/0"))[0], kerr.ProducerFenced)
	b.code(b.add("x", p, "t/0"), kerr.None)
}

// KIP-360: a producer that names its id and epoch goes on where it was; others were fenced by it.
func TestInitProducerIDWithThePresentProducer(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	next, code := b.init("x", p)
	b.code(code, kerr.None)
	if next != (machine.Producer{ID: 100, Epoch: 1}) {
		t.Error(next)
	}
	again, code := b.init("x", p) // the answer was lost
	b.code(code, kerr.None)
	if again != next {
		t.Error(again)
	}
	_, code = b.init("x", machine.Producer{ID: 7, Epoch: 1})
	b.code(code, kerr.ProducerFenced)
	_, code = b.init("x", machine.Producer{ID: 100, Epoch: 5})
	b.code(code, kerr.ProducerFenced)
	b.mustInit("x") // somebody else takes over
	_, code = b.init("x", p)
	b.code(code, kerr.ProducerFenced)
	_, code = b.init("x", next)
	b.code(code, kerr.ProducerFenced)

	fresh, code := b.init("new", machine.Producer{ID: 55, Epoch: 3}) // an id that has expired meanwhile
	b.code(code, kerr.None)
	if fresh != (machine.Producer{ID: 101}) {
		t.Error(fresh)
	}
}

// In the middle of a transaction the producer is fenced at first, and may go on after the abort.
func TestInitProducerIDWithThePresentProducerInATransaction(t *testing.T) {
	b := newBench(t)
	p := b.to(Ongoing, "x")
	_, code := b.init("x", p)
	b.code(code, kerr.ConcurrentTransactions)
	b.mark()
	next, code := b.init("x", p)
	b.code(code, kerr.None)
	if next != (machine.Producer{ID: 100, Epoch: 1}) {
		t.Error(next)
	}
}

// withEpoch puts a record of that epoch into a new machine's log.
func withEpoch(t *testing.T, s State, epoch int16) *bench {
	b := newBench(t)
	d := metadata{producer: machine.Producer{ID: 50, Epoch: epoch}, lastEpoch: none, previous: none, next: none,
		timeoutMs: 60_000, state: s, startMs: b.now.UnixMilli(), updateMs: b.now.UnixMilli(), protocol: secondProtocol}
	if s == Ongoing || s.prepared() {
		d.partitions = parts("t/0")
	}
	b.log = append(b.log, encode("x", d))
	b.reload(-1)
	return b
}

func TestExhaustedEpochsGiveWayToANewProducerID(t *testing.T) {
	last := machine.Producer{ID: 50, Epoch: lastEpoch}
	t.Run("InitProducerId", func(t *testing.T) {
		b := withEpoch(t, Empty, lastEpoch-1)
		p, code := b.init("x", nobody)
		b.code(code, kerr.None)
		if p != last {
			t.Error(p)
		}
		p, code = b.init("x", nobody)
		b.code(code, kerr.None)
		if p != (machine.Producer{ID: 100}) {
			t.Error(p)
		}
	})
	t.Run("KIP-360 and a retry", func(t *testing.T) {
		b := withEpoch(t, CompleteCommit, lastEpoch)
		for range 2 {
			p, code := b.init("x", last)
			b.code(code, kerr.None)
			if p != (machine.Producer{ID: 100}) {
				t.Error(p)
			}
		}
		b.mustInit("x")
		_, code := b.init("x", last)
		b.code(code, kerr.ProducerFenced)
	})
	t.Run("EndTxn", func(t *testing.T) {
		b := withEpoch(t, Ongoing, lastEpoch)
		_, code := b.end(5, "x", last, true)
		b.code(code, kerr.CoordinatorLoadInProgress) // no id at hand: nothing has happened
		b.want(b.state("x"), "Ongoing 50/32766 t/0")
		b.supply()
		p, code := b.end(5, "x", last, true)
		b.code(code, kerr.None)
		if p != (machine.Producer{ID: 100}) {
			t.Error(p)
		}
		b.want(b.work(), "commit x 50/32767 on t/0 by 2")
		_, code = b.end(5, "x", last, true)
		b.code(code, kerr.ConcurrentTransactions)
		b.reload(-1)
		b.want(b.work(), "commit x 50/32767 on t/0 by 3")
		b.mark()
		b.want(b.state("x"), "CompleteCommit 100/0")
		again, code := b.end(5, "x", last, true)
		b.code(code, kerr.None)
		if again != p {
			t.Error(again)
		}
		_, code = b.end(5, "x", last, false)
		b.code(code, kerr.InvalidTxnState)
		b.code(b.add("x", p, "t/0"), kerr.None)
	})
	t.Run("first protocol", func(t *testing.T) {
		b := withEpoch(t, Ongoing, lastEpoch)
		_, code := b.end(4, "x", last, true)
		b.code(code, kerr.None)
		b.mark()
		b.want(b.state("x"), "CompleteCommit 50/32766")
	})
	t.Run("timeout", func(t *testing.T) {
		b := withEpoch(t, Ongoing, lastEpoch)
		b.after(2 * time.Minute)
		b.want(b.state("x"), "Ongoing 50/32766 t/0")
		if !b.m.TakeNeed() || b.m.TakeNeed() {
			t.Error("an id is asked for once each time")
		}
		b.supply()
		b.after(b.limits.CheckInterval)
		b.mark()
		b.want(b.state("x"), "CompleteAbort 100/0")
	})
	t.Run("broken log", func(t *testing.T) {
		b := withEpoch(t, Ongoing, math.MaxInt16)
		b.supply()
		b.after(2 * time.Minute)
		b.want(b.work(), "abort x 50/32767 on t/0 by 2")
		b.mark()
		b.want(b.state("x"), "CompleteAbort 100/0")
	})
}

// A transaction whose time is up is aborted, and its producer locked out.
func TestTimedOutTransactionIsAbortedAndItsProducerFenced(t *testing.T) {
	b := newBench(t)
	p := b.to(Ongoing, "x")
	b.after(30 * time.Second)
	b.code(b.add("x", p, "t/1"), kerr.None) // more partitions give no more time
	b.after(30 * time.Second)
	b.want(b.state("x"), "Ongoing 100/0 t/0,t/1")
	b.after(b.limits.CheckInterval)
	b.want(b.state("x"), "PrepareAbort 100/1 t/0,t/1")
	b.code(b.add("x", p, "t/2"), kerr.ProducerFenced)
	_, code := b.end(5, "x", p, true)
	b.code(code, kerr.ConcurrentTransactions)
	b.mark()
	_, code = b.end(5, "x", p, true)
	b.code(code, kerr.InvalidTxnState) // as in Kafka: the epoch is one below, so it could be a retry
	b.want(b.state("x"), "CompleteAbort 100/1")
	if len(b.notes) != 1 || b.notes[0] != "transaction timed out" {
		t.Error(b.notes)
	}
}

func TestTimeoutsAreJudgedAfterAReplay(t *testing.T) {
	b := newBench(t)
	b.to(Ongoing, "x")
	b.now = b.now.Add(time.Hour) // the broker was down
	b.reload(-1)
	b.want(b.state("x"), "Ongoing 100/0 t/0")
	b.after(b.limits.CheckInterval)
	b.want(b.state("x"), "PrepareAbort 100/1 t/0")
}

func TestInitProducerIDRefusesBadRequests(t *testing.T) {
	b := newBench(t)
	_, code := b.init("", nobody)
	b.code(code, kerr.InvalidRequest)
	for ms, want := range map[int32]kerr.Code{0: kerr.InvalidTransactionTimeout, -1: kerr.InvalidTransactionTimeout,
		900_000: kerr.CoordinatorLoadInProgress, 900_001: kerr.InvalidTransactionTimeout} {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID, q.TransactionTimeoutMillis = kmsg.StringPtr("x"), ms
		ticket := b.next()
		b.effects(b.m.InitProducerID(b.now, ticket, q))
		b.code(kerr.Code(take[*kmsg.InitProducerIDResponse](b, ticket).ErrorCode), want)
	}
	b.want(b.state("x"), kerr.TransactionalIDNotFound.Error())
}

func TestAddPartitionsChecksTheProducer(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.add("", p, "t/0"), kerr.InvalidRequest)
	b.code(b.add("y", p, "t/0"), kerr.InvalidProducerIDMapping)
	b.code(b.add("x", machine.Producer{ID: 1}, "t/0"), kerr.InvalidProducerIDMapping)
	b.code(b.add("x", machine.Producer{ID: p.ID, Epoch: 1}, "t/0"), kerr.ProducerFenced)
	b.code(b.add("x", p, "u/1", "t/0", "u/1"), kerr.None)
	b.want(b.state("x"), "Ongoing 100/0 t/0,u/1")
	records := len(b.log)
	b.code(b.add("x", p, "t/0"), kerr.None)
	if len(b.log) != records {
		t.Error("partitions that are known were logged again")
	}
	b.code(b.add("x", p, "t/0", "t/1"), kerr.None)
	b.want(b.state("x"), "Ongoing 100/0 t/0,t/1,u/1")
}

func TestVerifyNeverAdds(t *testing.T) {
	b := newBench(t)
	p := b.mustInit("x")
	b.code(b.m.Verify("x", p, parts("t/0"))[0], kerr.TransactionAbortable)
	b.code(b.add("x", p, "t/0"), kerr.None)
	got := b.m.Verify("x", p, parts("t/1", "t/0"))
	b.code(got[0], kerr.TransactionAbortable)
	b.code(got[1], kerr.None)
	b.code(b.m.Verify("", p, parts("t/0"))[0], kerr.InvalidRequest)
	b.code(b.m.Verify("y", p, parts("t/0"))[0], kerr.InvalidProducerIDMapping)
	b.want(b.state("x"), "Ongoing 100/0 t/0")
}

// What the log refuses has not happened, and can be tried again.
func TestLogRefuses(t *testing.T) {
	for fault, want := range map[kerr.Code]kerr.Code{
		kerr.NotLeaderOrFollower: kerr.NotCoordinator, kerr.KafkaStorageError: kerr.NotCoordinator, kerr.MessageTooLarge: kerr.UnknownServerError,
	} {
		b := newBench(t)
		b.supply()
		b.fail = fault
		_, code := b.init("x", nobody)
		b.code(code, want)
		b.want(b.state("x"), kerr.TransactionalIDNotFound.Error())
		p := b.mustInit("x")
		b.fail = fault
		b.code(b.add("x", p, "t/0"), want)
		b.want(b.state("x"), "Empty 101/0")
		b.code(b.add("x", p, "t/0"), kerr.None)
		for _, version := range protocols {
			b.fail = fault
			_, code = b.end(version, "x", p, true)
			b.code(code, want)
			b.want(b.state("x"), "Ongoing 101/0 t/0")
			b.want(b.work(), "")
		}
		b.fail = fault
		_, code = b.init("x", nobody)
		b.code(code, want)
		b.want(b.state("x"), "Ongoing 101/0 t/0")
		next, code := b.end(5, "x", p, true)
		b.code(code, kerr.None)
		b.mark()
		b.want(b.state("x"), "CompleteCommit 101/1")
		b.code(b.add("x", next, "t/0"), kerr.None)
	}
}

func TestIdsExpireOnlyWithoutATransaction(t *testing.T) {
	b := newBench(t)
	states := []State{Empty, Ongoing, CompleteCommit, CompleteAbort, PrepareCommit, PrepareAbort} // mark ends what is prepared
	for _, s := range states {
		b.to(s, s.String())
	}
	b.now = b.now.Add(b.limits.Expiration - time.Millisecond)
	b.effects(b.m.Expire(b.now))
	if n := len(b.m.List(b.now, Filter{LongerThan: -1})); n != len(states) {
		t.Fatalf("%d ids", n)
	}
	b.now = b.now.Add(time.Millisecond)
	b.hold = true
	b.effects(b.m.Expire(b.now))
	b.effects(b.m.Expire(b.now)) // asks for nothing twice
	if len(b.queue) != 3 {
		t.Fatalf("%d tombstones", len(b.queue))
	}
	_, code := b.init("Empty", nobody)
	b.code(code, kerr.ConcurrentTransactions)
	for b.fail = kerr.KafkaStorageError; len(b.queue) > 0; {
		b.settle()
	}
	if left := len(b.m.List(b.now, Filter{LongerThan: -1})); left != 4 {
		t.Errorf("%d ids", left)
	}
	b.hold = false
	b.effects(b.m.Expire(b.now))
	var left []string
	for _, s := range b.m.List(b.now, Filter{LongerThan: -1}) {
		left = append(left, s.TransactionalID)
	}
	b.want(strings.Join(left, " "), "Ongoing PrepareAbort PrepareCommit")
	b.reload(-1)
	b.want(b.state("Empty"), kerr.TransactionalIDNotFound.Error())
	if b.m.bytes == 0 {
		t.Error("bytes are not counted")
	}
}

func TestBounds(t *testing.T) {
	b := newBench(t)
	b.limits.MaxIDs, b.limits.MaxRecord, b.limits.MaxBytes = 2, 200, 1000
	b.m.Configure(b.limits)
	p := b.mustInit("a")
	b.mustInit("b")
	_, code := b.init("c", nobody)
	b.code(code, kerr.PolicyViolation)
	b.code(b.add("a", p, strings.Repeat("t", 200)+"/0"), kerr.UnknownServerError)
	b.want(b.state("a"), "Empty 100/0")
	b.code(b.add("a", p, "t/0"), kerr.None)
	b.limits.MaxBytes = 1
	b.m.Configure(b.limits)
	b.code(b.add("a", p, "t/1"), kerr.PolicyViolation)
	_, code = b.end(5, "a", p, true) // what is there can be ended
	b.code(code, kerr.None)

	huge := newBench(t)
	huge.supply()
	_, code = huge.init(strings.Repeat("x", DefaultLimits().MaxRecord), nobody)
	huge.code(code, kerr.UnknownServerError)
	if len(huge.m.entries) != 0 {
		t.Error("an id that is not logged stays")
	}
}

// Everything that waits is answered when the partition goes away (T1), and nothing is asked for.
func TestCloseAnswersWhoWaits(t *testing.T) {
	b := newBench(t)
	p, ongoing := b.to(Empty, "x"), b.to(Ongoing, "y")
	b.to(PrepareCommit, "z")
	b.hold = true
	b.supply()
	tickets := []machine.Ticket{b.beginInit("new", nobody), b.beginAdd("x", p, false, "t/0"), b.beginEnd(5, "y", ongoing, true)}
	e := b.m.Close(b.now)
	if len(e.Appends) > 0 || len(b.m.TakeMarkers()) > 0 {
		t.Errorf("%+v", e.Appends)
	}
	b.effects(e)
	for _, ticket := range tickets {
		if b.answers[ticket] == nil {
			t.Errorf("ticket %d has no answer", ticket)
		}
	}
	if r := take[*kmsg.EndTxnResponse](b, tickets[2]); kerr.Code(r.ErrorCode) != kerr.NotCoordinator {
		t.Error(r.ErrorCode)
	}
	if _, ok := b.m.Deadline(); ok {
		t.Error("a deadline is left")
	}
}

func TestListTransactions(t *testing.T) {
	b := newBench(t)
	b.to(Empty, "app-1")
	b.to(Ongoing, "app-2")
	b.now = b.now.Add(time.Minute)
	b.to(Ongoing, "other")
	list := func(q kmsg.ListTransactionsRequest) string {
		f, unknown, err := NewFilter(&q)
		if err != nil {
			return "error"
		}
		out := []string{strings.Join(unknown, ",")}
		for _, s := range b.m.List(b.now, f) {
			out = append(out, s.TransactionalID+"="+s.TransactionState)
		}
		return strings.Join(out, " ")
	}
	all := kmsg.NewListTransactionsRequest()
	b.want(list(all), " app-1=Empty app-2=Ongoing other=Ongoing")
	q := all
	q.StateFilters = []string{"Ongoing", "Nonsense"}
	b.want(list(q), "Nonsense app-2=Ongoing other=Ongoing")
	q.StateFilters = []string{"Nonsense"}
	b.want(list(q), "Nonsense")
	q = all
	q.ProducerIDFilters = []int64{102, 100}
	b.want(list(q), " app-1=Empty other=Ongoing")
	q = all
	q.DurationFilterMillis = 59_999
	b.want(list(q), " app-1=Empty app-2=Ongoing") // Kafka counts from 1970 where there was no transaction
	q.DurationFilterMillis = 60_000
	b.want(list(q), " app-1=Empty")
	q = all
	for pattern, want := range map[string]string{
		"": " app-1=Empty app-2=Ongoing other=Ongoing", "app": "", "app-[2-9]": " app-2=Ongoing", "app-1|other": " app-1=Empty other=Ongoing",
		"(": "error", "x)|(.*": "error", `\Qapp-1\E`: " app-1=Empty",
	} {
		q.TransactionalIDPattern = &pattern
		b.want(list(q), want)
	}
}
