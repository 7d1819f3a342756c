package coord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/express/machine"
	"millrace/express/transaction"
	"millrace/kafka/kerr"
)

// fakeMarkers notes markers and answers as fault says.
type fakeMarkers struct {
	mu      sync.Mutex
	written []string
	fault   func(tp machine.TopicPartition) error // nil: none
	block   chan struct{}                         // if set, a write waits for it or ctx
}

func (f *fakeMarkers) WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker, done func(err error)) {
	done(f.write(ctx, tp, m))
}

func (f *fakeMarkers) write(ctx context.Context, tp machine.TopicPartition, m machine.Marker) error {
	if f.block != nil {
		select {
		case <-f.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		if err := f.fault(tp); err != nil {
			return err
		}
	}
	word := "abort "
	if m.Commit {
		word = "commit "
	}
	f.written = append(f.written, word+tp.Topic)
	return nil
}

func (f *fakeMarkers) all() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.written, ", ")
}

// txnRig is a coordinator of transactions with one partition.
type txnRig struct {
	*Transactions
	t       *testing.T
	log     *memLog
	markers *fakeMarkers
	text    *bytes.Buffer
	ids     atomic.Int64
	noIDs   atomic.Bool // the store of producer ids is away
}

func newTxnRig(t *testing.T) *txnRig { return newTxnRigOn(t, &memLog{}) }

func newTxnRigOn(t *testing.T, log *memLog) *txnRig {
	t.Helper()
	r := &txnRig{t: t, log: log, markers: &fakeMarkers{}, text: &bytes.Buffer{}}
	var err error
	r.Transactions, err = NewTransactions(t.Context(), TransactionConfig{Partitions: 1}, TransactionWorld{
		Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(r.text, nil)), Markers: r.markers,
		NextProducerID: func(context.Context) (int64, error) {
			if r.noIDs.Load() {
				return 0, errors.New("the store is away")
			}
			return r.ids.Add(1), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.load(1)
	return r
}

func (r *txnRig) load(epoch int32) {
	r.t.Helper()
	if err := r.Load(r.t.Context(), 0, epoch, r.log); err != nil {
		r.t.Fatal(err)
	}
}

func (r *txnRig) init(id string) (machine.Producer, kerr.Code) {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.Version, q.TransactionalID, q.TransactionTimeoutMillis = 5, &id, 60_000
	a := r.InitProducerID(r.t.Context(), q)
	return machine.Producer{ID: a.ProducerID, Epoch: a.ProducerEpoch}, kerr.Code(a.ErrorCode)
}

func (r *txnRig) end(id string, p machine.Producer, commit bool) (machine.Producer, kerr.Code) {
	q := kmsg.NewPtrEndTxnRequest()
	q.Version, q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = 5, id, p.ID, p.Epoch, commit
	a := r.EndTxn(r.t.Context(), q)
	return machine.Producer{ID: a.ProducerID, Epoch: a.ProducerEpoch}, kerr.Code(a.ErrorCode)
}

func (r *txnRig) state(id string) string {
	q := kmsg.NewPtrDescribeTransactionsRequest()
	q.TransactionalIDs = []string{id}
	d := r.DescribeTransactions(r.t.Context(), q).TransactionStates[0]
	if d.ErrorCode != 0 {
		return kerr.Code(d.ErrorCode).Error()
	}
	return d.State
}

// ongoing begins a transaction on the topics.
func (r *txnRig) ongoing(id string, topics ...string) machine.Producer {
	r.t.Helper()
	p, code := r.init(id)
	if code != kerr.None {
		r.t.Fatal(code)
	}
	var tps []machine.TopicPartition
	for _, name := range topics {
		tps = append(tps, machine.TopicPartition{Topic: name})
	}
	for _, code := range r.AddPartitions(r.t.Context(), id, p, tps, false) {
		if code != kerr.None {
			r.t.Fatal(code)
		}
	}
	return p
}

func TestTransactionEndsOnAllPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		p := r.ongoing("x", "a", "b")
		codes := r.AddPartitions(t.Context(), "x", p, []machine.TopicPartition{{Topic: "c"}, {Topic: "b"}}, true)
		if codes[0] != kerr.TransactionAbortable || codes[1] != kerr.None {
			t.Error(codes)
		}
		next, code := r.end("x", p, true)
		if code != kerr.None || next != (machine.Producer{ID: p.ID, Epoch: 1}) {
			t.Error(next, code)
		}
		synctest.Wait()
		if got := r.markers.all(); got != "commit a, commit b" && got != "commit b, commit a" {
			t.Error(got)
		}
		if got := r.state("x"); got != "CompleteCommit" {
			t.Error(got)
		}
		list := kmsg.NewPtrListTransactionsRequest()
		if l := r.ListTransactions(t.Context(), list); len(l.TransactionStates) != 1 || l.ErrorCode != 0 {
			t.Errorf("%+v", l)
		}
		list.TransactionalIDPattern = kmsg.StringPtr("(")
		if l := r.ListTransactions(t.Context(), list); kerr.Code(l.ErrorCode) != kerr.InvalidRegularExpression {
			t.Errorf("%+v", l)
		}
	})
}

// EndTxn is answered when the decision is durable; a partition that cannot be written to holds up only the end.
func TestMarkerIsRetriedAndTheAnswerDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		var attempts int
		r.markers.fault = func(tp machine.TopicPartition) error {
			if attempts++; tp.Topic == "b" && attempts < 5 {
				return kerr.NotLeaderOrFollower
			}
			return nil
		}
		p := r.ongoing("x", "a", "b")
		if _, code := r.end("x", p, false); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		if got := r.state("x"); got != "PrepareAbort" {
			t.Error(got)
		}
		if _, code := r.init("x"); code != kerr.ConcurrentTransactions {
			t.Error(code)
		}
		time.Sleep(time.Minute)
		if got := r.state("x"); got != "CompleteAbort" {
			t.Error(got)
		}
		if got := r.markers.all(); got != "abort a, abort b" {
			t.Error(got)
		}
	})
}

// A topic that was deleted, and a partition where the producer is at a later epoch, have nothing to end.
func TestMarkersThatCannotBeWrittenAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		r.markers.fault = func(tp machine.TopicPartition) error {
			switch tp.Topic {
			case "deleted":
				return kerr.UnknownTopicOrPartition
			case "later":
				return kerr.InvalidProducerEpoch
			}
			return nil
		}
		p := r.ongoing("x", "deleted", "kept", "later")
		if _, code := r.end("x", p, true); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		if got := r.state("x"); got != "CompleteCommit" || r.markers.all() != "commit kept" {
			t.Error(got, r.markers.all())
		}
	})
}

// Whoever owns the partition of __transaction_state after a move carries out what was decided before. What the old one's
// writes come to means nothing to the new one.
func TestNewOwnerCompletesTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		r.markers.block = make(chan struct{})
		p := r.ongoing("x", "a")
		if _, code := r.end("x", p, true); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		r.Unload(0)
		if got := r.state("x"); got != kerr.NotCoordinator.Error() {
			t.Error(got)
		}
		r.load(2)
		close(r.markers.block)
		synctest.Wait() // nobody asks for anything
		if got := r.markers.all(); got != "commit a, commit a" {
			t.Error(got)
		}
		if got := r.state("x"); got != "CompleteCommit" {
			t.Error(got)
		}
	})
}

// A restart does the same, before anybody asks for anything.
func TestRestartCompletesTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		r.markers.block = make(chan struct{})
		if _, code := r.end("x", r.ongoing("x", "a"), false); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		again := newTxnRigOn(t, r.log.crash())
		synctest.Wait()
		if got := again.markers.all(); got != "abort a" {
			t.Error(got)
		}
	})
}

// A marker that the old owner wrote is none of the new one's, though their numbers are the same.
func TestOutcomesAreThoseOfOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		p := r.ongoing("y", "a")
		if _, code := r.end("y", p, true); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		r.markers.block = make(chan struct{})
		p = r.ongoing("x", "a")
		if _, code := r.end("x", p, true); code != kerr.None { // the second end of this owner
			t.Fatal(code)
		}
		synctest.Wait()
		r.Unload(0)
		r.load(2)
		synctest.Wait() // x is the first end of the next owner
		p = r.ongoing("z", "a")
		if _, code := r.end("z", p, true); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		r.markers.block <- struct{}{} // to who waits longest: the first owner's write
		synctest.Wait()
		if got := r.state("z"); got != "PrepareCommit" {
			t.Errorf("z is %s, and nobody has written its marker", got)
		}
		close(r.markers.block)
		synctest.Wait()
		if x, z := r.state("x"), r.state("z"); x != "CompleteCommit" || z != "CompleteCommit" {
			t.Error(x, z)
		}
	})
}

func TestNoProducerIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		r.noIDs.Store(true)
		if p, code := r.init("x"); code != kerr.CoordinatorLoadInProgress || p.ID != -1 {
			t.Error(p, code)
		}
		if _, code := r.init(""); code != kerr.InvalidRequest {
			t.Error(code)
		}
		r.noIDs.Store(false)
		if _, code := r.init("x"); code != kerr.None {
			t.Error(code)
		}
	})
}

// A timeout that needs a producer id gets one by itself.
func TestTimeoutWithoutProducerID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		p, _ := r.init("x")
		for p.Epoch < 32766 {
			next, code := r.init("x")
			if code != kerr.None {
				t.Fatal(code)
			}
			p = next
		}
		r.AddPartitions(t.Context(), "x", p, []machine.TopicPartition{{Topic: "a"}}, false)
		r.noIDs.Store(true)
		time.Sleep(2 * time.Minute)
		if got := r.state("x"); got != "Ongoing" {
			t.Error(got)
		}
		r.noIDs.Store(false)
		time.Sleep(time.Minute)
		if got := r.state("x"); got != "CompleteAbort" {
			t.Error(got)
		}
		if p, code := r.init("x"); code != kerr.None || p != (machine.Producer{ID: 2, Epoch: 1}) {
			t.Error(p, code)
		}
	})
}

// Close ends writes that hang, and those that wait for their turn.
func TestCloseDoesNotWaitForMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTxnRig(t)
		r.markers.block = make(chan struct{})
		var names []string
		for i := range 300 { // more than are written at a time
			names = append(names, fmt.Sprint("t", i))
		}
		p := r.ongoing("x", names...)
		if _, code := r.end("x", p, true); code != kerr.None {
			t.Fatal(code)
		}
		synctest.Wait()
		r.Close()
		if got := r.state("x"); got != kerr.CoordinatorNotAvailable.Error() {
			t.Error(got)
		}
	})
}

func TestWorkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWork(t.Context(), 3)
		var mu sync.Mutex
		var running, most, ran int
		for range 20 {
			w.add(func(context.Context) {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				ran++
				mu.Unlock()
			})
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || ran != 20 {
			t.Errorf("%d at a time, %d in all", most, ran)
		}
		w.add(func(ctx context.Context) { <-ctx.Done() })
		w.stop()
		w.add(func(context.Context) { t.Error("runs after stop") })
		w.wait()
	})
}

func txnCommit(groupID string, p machine.Producer, topics ...string) *kmsg.TxnOffsetCommitRequest {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.Version, q.TransactionalID, q.Group, q.ProducerID, q.ProducerEpoch, q.Generation = 5, "x", groupID, p.ID, p.Epoch, -1
	for _, name := range topics {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Offset = 7
		other := part
		other.Partition = 9
		q.Topics = append(q.Topics, kmsg.TxnOffsetCommitRequestTopic{
			Topic: name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part, other},
		})
	}
	return q
}

func TestTxnOffsetCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, fakeTopics{"t": 1})
		p := machine.Producer{ID: 5}
		yes := func(context.Context) kerr.Code { return kerr.None }
		codes := func(a *kmsg.TxnOffsetCommitResponse) (out []kerr.Code) {
			for _, t := range a.Topics {
				for _, p := range t.Partitions {
					out = append(out, kerr.Code(p.ErrorCode))
				}
			}
			return out
		}
		want := func(got []kerr.Code, want ...kerr.Code) {
			t.Helper()
			for i := range want {
				if len(got) != len(want) || got[i] != want[i] {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		}
		gone := kerr.UnknownTopicOrPartition
		want(codes(r.TxnOffsetCommit(t.Context(), txnCommit("g", p, "no", "t"), yes)), gone, gone, kerr.None, gone)
		want(codes(r.TxnOffsetCommit(t.Context(), txnCommit("", p, "t"), yes)), kerr.InvalidGroupID, gone)
		want(codes(r.TxnOffsetCommit(t.Context(), txnCommit("g", p, "t"), func(context.Context) kerr.Code { return kerr.ConcurrentTransactions })),
			kerr.ConcurrentTransactions, gone)
		if got := r.fetch("g", "t", 0); got != -1 {
			t.Error("an offset of an open transaction is seen:", got)
		}
		if code := r.EndTransaction(t.Context(), 0, machine.Marker{Producer: p, Commit: true, TransactionVersion: 2}); code != kerr.None {
			t.Error(code)
		}
		if !slices.Equal(r.log.markerVersions, []int16{2}) {
			t.Errorf("the log was told of the versions %d", r.log.markerVersions)
		}
		if got := r.fetch("g", "t", 0); got != 7 {
			t.Error(got)
		}
		if code := r.EndTransaction(t.Context(), 3, machine.Marker{Producer: p}); code != kerr.NotCoordinator {
			t.Error(code)
		}
	})
}

// A commit that was verified and then held up does not survive the end of its transaction: it would stay open for ever.
func TestTxnOffsetCommitIsVerifiedAgainAfterAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, &memLog{}, fakeTopics{"t": 10})
		p := machine.Producer{ID: 5}
		asked := 0
		verify := func(ctx context.Context) kerr.Code {
			if asked++; asked > 1 {
				return kerr.InvalidTxnState
			}
			if code := r.EndTransaction(ctx, 0, machine.Marker{Producer: p, Commit: true}); code != kerr.None {
				t.Error(code)
			}
			return kerr.None
		}
		a := r.TxnOffsetCommit(t.Context(), txnCommit("g", p, "t"), verify)
		if asked != 2 || kerr.Code(a.Topics[0].Partitions[0].ErrorCode) != kerr.InvalidTxnState {
			t.Errorf("asked %d times: %+v", asked, a)
		}
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Version, q.Group, q.RequireStable = 7, "g", true
		q.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		if f := r.OffsetFetch(t.Context(), q); f.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("%+v", f)
		}
	})
}

var _ Machine = (*transaction.Machine)(nil)
