package transaction

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// world drives a machine with random events and checks after each that the invariants of doc.go hold. What it knows of the
// state it knows from the records alone, which it reads with the codec and not with this package.
type world struct {
	*rapid.T
	*bench
	asked  map[machine.Ticket]asked
	known  map[string][]machine.Producer // that were told for each id, oldest first
	latest map[string]*kmsg.TxnMetadataValue
	owner  map[int64]string // of producer ids
	marked map[string]map[machine.TopicPartition]bool
	seen   int // records of the log that were checked
	done   map[machine.Ticket]bool
}

// asked is what an open ticket asked for.
type asked struct {
	kind       string
	id         string
	producer   machine.Producer
	partitions []machine.TopicPartition
	version    int16
	commit     bool
}

func newWorld(t *rapid.T) *world {
	w := &world{T: t, bench: newBench(t), asked: map[machine.Ticket]asked{}, known: map[string][]machine.Producer{},
		latest: map[string]*kmsg.TxnMetadataValue{}, owner: map[int64]string{}, done: map[machine.Ticket]bool{},
		marked: map[string]map[machine.TopicPartition]bool{}}
	w.hold = true
	w.watch = func() {
		w.records()
		w.replies()
	}
	return w
}

func (w *world) id() string { return rapid.SampledFrom([]string{"x", "y"}).Draw(w.T, "id") }

// producer draws one of the newest producers of an id, sometimes one that never was.
func (w *world) producer(id string) machine.Producer {
	known := w.known[id]
	if len(known) == 0 || rapid.IntRange(0, 19).Draw(w.T, "stranger") == 0 {
		return machine.Producer{ID: 100, Epoch: int16(rapid.IntRange(0, 3).Draw(w.T, "epoch"))}
	}
	back := rapid.SampledFrom([]int{1, 1, 1, 1, 2, 3}).Draw(w.T, "back")
	return known[max(0, len(known)-back)]
}

func (w *world) initProducer() {
	id, expected := w.id(), nobody
	if rapid.IntRange(0, 2).Draw(w.T, "expected") == 0 {
		expected = w.producer(id)
	}
	if rapid.IntRange(0, 9).Draw(w.T, "supply") > 0 {
		w.supply()
	}
	w.asked[w.ticket+1] = asked{kind: "init", id: id}
	w.beginInit(id, expected)
}

func (w *world) addPartitions() {
	id := w.id()
	p := w.producer(id)
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a/0", "a/1", "b/0", "c/5"}), 0, 3).Draw(w.T, "partitions")
	w.asked[w.ticket+1] = asked{kind: "add", id: id, producer: p, partitions: parts(names...)}
	w.beginAdd(id, p, rapid.Bool().Draw(w.T, "implicit"), names...)
}

func (w *world) endTxn() {
	id := w.id()
	a := asked{kind: "end", id: id, producer: w.producer(id), commit: rapid.Bool().Draw(w.T, "commit"),
		version: rapid.SampledFrom([]int16{2, 5, 5}).Draw(w.T, "version")}
	if rapid.IntRange(0, 9).Draw(w.T, "supply") > 0 {
		w.supply()
	}
	w.asked[w.ticket+1] = a
	w.beginEnd(a.version, id, a.producer, a.commit)
}

// ongoing takes an id, as far as it lets itself be taken, to a transaction.
func (w *world) ongoing() {
	for _, f := range []func(){w.initProducer, w.addPartitions} {
		f()
		for len(w.queue) > 0 {
			w.stored()
			w.records()
			w.replies()
		}
	}
}

// stored settles the oldest append.
func (w *world) stored() {
	if len(w.queue) == 0 {
		return
	}
	if rapid.IntRange(0, 5).Draw(w.T, "fault") == 0 {
		w.fail = kerr.KafkaStorageError
	}
	w.settle()
}

// written reports one marker.
func (w *world) written() {
	if len(w.tasks) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.tasks)-1).Draw(w.T, "task")
	task := w.tasks[i]
	tp := task.Partitions[0]
	if w.tasks[i].Partitions = task.Partitions[1:]; len(task.Partitions) == 1 {
		w.tasks = slices.Delete(w.tasks, i, i+1)
	}
	ok := rapid.IntRange(0, 3).Draw(w.T, "ok") > 0
	w.report(task, tp, ok)
}

func (w *world) report(task MarkerTask, tp machine.TopicPartition, ok bool) {
	v := w.latest[task.ID]
	if ok && v != nil && v.ProducerID == task.Marker.ID && v.ProducerEpoch == task.Marker.Epoch {
		if w.marked[task.ID] == nil {
			w.marked[task.ID] = map[machine.TopicPartition]bool{}
		}
		w.marked[task.ID][tp] = true
	}
	before := len(w.tasks)
	w.effects(w.m.MarkerWritten(w.now, task.Number, tp, ok))
	w.handed(before)
}

// handed checks the tasks that came up: only what is decided and durable, and with the decision's own words (T5).
func (w *world) handed(from int) {
	w.records()
	for _, task := range w.tasks[min(from, len(w.tasks)):] {
		v := w.latest[task.ID]
		if v == nil || v.State != kmsg.TransactionStatePrepareCommit && v.State != kmsg.TransactionStatePrepareAbort {
			w.Fatalf("markers for %s, which is %+v", task.ID, v)
		}
		want := machine.Marker{Producer: machine.Producer{ID: v.ProducerID, Epoch: v.ProducerEpoch},
			Commit: v.State == kmsg.TransactionStatePrepareCommit, CoordinatorEpoch: w.epoch,
			TransactionVersion: v.ClientTransactionVersion}
		if task.Marker != want {
			w.Fatalf("marker %+v, want %+v", task.Marker, want)
		}
		for _, tp := range task.Partitions {
			if !slices.Contains(partitionsOf(v), tp) {
				w.Fatalf("marker for %v, which is no part of %+v", tp, v)
			}
		}
	}
}

func partitionsOf(v *kmsg.TxnMetadataValue) []machine.TopicPartition {
	var out []machine.TopicPartition
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			out = append(out, machine.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return out
}

// mayFollow is which states may come before each state.
var mayFollow = map[kmsg.TransactionState][]kmsg.TransactionState{
	kmsg.TransactionStateEmpty:          {kmsg.TransactionStateEmpty, kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort},
	kmsg.TransactionStateOngoing:        {kmsg.TransactionStateOngoing, kmsg.TransactionStateEmpty, kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort},
	kmsg.TransactionStatePrepareCommit:  {kmsg.TransactionStateOngoing},
	kmsg.TransactionStatePrepareAbort:   {kmsg.TransactionStateOngoing, kmsg.TransactionStateEmpty, kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort},
	kmsg.TransactionStateCompleteCommit: {kmsg.TransactionStatePrepareCommit},
	kmsg.TransactionStateCompleteAbort:  {kmsg.TransactionStatePrepareAbort},
}

// records checks what became durable.
func (w *world) records() {
	for ; w.seen < len(w.log); w.seen++ {
		r := w.log[w.seen]
		var k kmsg.TxnMetadataKey
		if err := k.ReadFrom(r.Key); err != nil {
			w.Fatal(err)
		}
		id, old := k.TransactionalID, w.latest[k.TransactionalID]
		if r.Value == nil {
			if old.State != kmsg.TransactionStateEmpty && old.State != kmsg.TransactionStateCompleteCommit && old.State != kmsg.TransactionStateCompleteAbort {
				w.Fatalf("%s expired in state %v", id, old.State)
			}
			delete(w.latest, id)
			continue
		}
		v := kmsg.NewTxnMetadataValue()
		if err := v.ReadFrom(r.Value); err != nil {
			w.Fatal(err)
		}
		w.follows(id, old, &v)
		w.latest[id] = &v
	}
}

// follows checks one transition of an id.
func (w *world) follows(id string, old, v *kmsg.TxnMetadataValue) {
	if by, taken := w.owner[v.ProducerID]; taken && by != id {
		w.Fatalf("producer id %d of %s is given to %s (T4)", v.ProducerID, by, id)
	}
	known := old != nil && old.ProducerID == v.ProducerID
	if _, used := w.owner[v.ProducerID]; used && !known {
		w.Fatalf("%s goes back to producer id %d (T4)", id, v.ProducerID)
	}
	w.owner[v.ProducerID] = id
	switch {
	case known && v.ProducerEpoch < old.ProducerEpoch, !known && v.ProducerEpoch != 0:
		w.Fatalf("epoch %d of %s after %+v (T4)", v.ProducerEpoch, id, old)
	case old == nil && v.State != kmsg.TransactionStateEmpty:
		w.Fatalf("%s begins as %v", id, v.State)
	case old == nil:
		return
	case !slices.Contains(mayFollow[v.State], old.State):
		w.Fatalf("%s: %v after %v (T5)", id, v.State, old.State)
	}
	was, is := partitionsOf(old), partitionsOf(v)
	switch v.State {
	case kmsg.TransactionStateOngoing:
		for _, tp := range was {
			if !slices.Contains(is, tp) {
				w.Fatalf("%s lost %v", id, tp)
			}
		}
	case kmsg.TransactionStatePrepareCommit, kmsg.TransactionStatePrepareAbort:
		if !reflect.DeepEqual(was, is) {
			w.Fatalf("%s decides on %v, it had %v", id, is, was)
		}
		w.marked[id] = nil
	case kmsg.TransactionStateCompleteCommit, kmsg.TransactionStateCompleteAbort:
		for _, tp := range was {
			if !w.marked[id][tp] {
				w.Fatalf("%s is complete, but %v has no marker (T5)", id, tp)
			}
		}
	}
}

// replies checks the answers that came: success only for what is durable (T2).
func (w *world) replies() {
	for ticket, response := range w.answers {
		a := w.asked[ticket]
		if w.done[ticket] {
			continue
		}
		w.done[ticket] = true
		v := w.latest[a.id]
		switch r := response.(type) {
		case *kmsg.InitProducerIDResponse:
			p := machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}
			if kerr.Code(r.ErrorCode) != kerr.None {
				continue
			}
			if v == nil || v.State != kmsg.TransactionStateEmpty || v.ProducerID != p.ID || v.ProducerEpoch != p.Epoch {
				w.Fatalf("%s was told %v and is %+v", a.id, p, v)
			}
			w.known[a.id] = append(w.known[a.id], p)
		case *kmsg.AddOffsetsToTxnResponse:
			if kerr.Code(r.ErrorCode) != kerr.None {
				continue
			}
			if v == nil || v.State != kmsg.TransactionStateOngoing || v.ProducerID != a.producer.ID || v.ProducerEpoch != a.producer.Epoch {
				w.Fatalf("%+v was added to %+v", a, v)
			}
			for _, tp := range a.partitions {
				if !slices.Contains(partitionsOf(v), tp) {
					w.Fatalf("%v was added to %+v", tp, v)
				}
			}
		case *kmsg.EndTxnResponse:
			w.ended(a, r, v)
		}
	}
}

func (w *world) ended(a asked, r *kmsg.EndTxnResponse, v *kmsg.TxnMetadataValue) {
	if kerr.Code(r.ErrorCode) != kerr.None {
		return
	}
	committed := v.State == kmsg.TransactionStatePrepareCommit || v.State == kmsg.TransactionStateCompleteCommit
	aborted := v.State == kmsg.TransactionStatePrepareAbort || v.State == kmsg.TransactionStateCompleteAbort
	if a.commit && !committed || !a.commit && !aborted {
		w.Fatalf("%+v succeeded, and the id is %v", a, v.State)
	}
	if a.version >= endSecond {
		next := machine.Producer{ID: v.ProducerID, Epoch: v.ProducerEpoch}
		if v.NextProducerID >= 0 {
			next = machine.Producer{ID: v.NextProducerID}
		}
		if next != (machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}) || next == a.producer {
			w.Fatalf("%+v was told %d/%d, the id is %+v", a, r.ProducerID, r.ProducerEpoch, v)
		}
		w.known[a.id] = append(w.known[a.id], next)
	}
}

// crash replays what is durable into a new machine: it shows what the old one showed (T2).
func (w *world) crash() {
	before := map[string]string{"x": w.state("x"), "y": w.state("y")}
	for ticket := range w.asked {
		w.done[ticket] = true
	}
	w.reload(-1)
	for id, want := range before {
		if got := w.state(id); got != want {
			w.Fatalf("%s was %s, after the replay it is %s", id, want, got)
		}
	}
	w.handed(0)
}

func (w *world) expire() {
	w.now = w.now.Add(w.limits.Expiration)
	w.effects(w.m.Expire(w.now))
}

// finish lets everything that is under way come to its end (T1, T6).
func (w *world) finish() {
	for range 1000 {
		w.records()
		w.replies()
		switch {
		case len(w.queue) > 0:
			w.settle()
		case len(w.tasks) > 0:
			task := w.tasks[0]
			w.tasks = w.tasks[1:]
			for _, tp := range task.Partitions {
				w.report(task, tp, true)
			}
		case len(w.m.retries) > 0:
			w.after(maxPause)
		default:
			return
		}
		w.handed(len(w.tasks))
	}
	w.Fatal("it does not come to an end")
}

func (w *world) check(*rapid.T) {
	w.records()
	w.replies()
	bytes := 0
	for _, e := range w.m.entries {
		bytes += e.size
	}
	if bytes != w.m.bytes {
		w.Fatalf("%d bytes, counted %d", bytes, w.m.bytes)
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		if rapid.Bool().Draw(t, "old") { // the epochs of y are nearly used up
			d := metadata{producer: machine.Producer{ID: 50, Epoch: 32762}, lastEpoch: none, previous: none, next: none, timeoutMs: 60_000, startMs: none}
			w.log = append(w.log, encode("y", d))
			w.owner[50] = "y"
			w.latest["y"] = &kmsg.TxnMetadataValue{ProducerID: 50, ProducerEpoch: 32762}
			w.seen = 1
			w.known["y"] = []machine.Producer{d.producer}
			w.reload(-1)
		}
		step := func(f func()) func(*rapid.T) {
			return func(*rapid.T) {
				before := len(w.tasks)
				f()
				w.handed(min(before, len(w.tasks)))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"init": step(w.initProducer), "ongoing": step(w.ongoing), "add": step(w.addPartitions), "end": step(w.endTxn),
			"stored": step(w.stored), "stored soon": step(w.stored), "written": step(w.written), "written soon": step(w.written),
			"end again": step(w.endTxn),
			"time":      step(func() { w.after(time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second) }),
			"long":      step(func() { w.after(3 * time.Minute) }), "crash": step(w.crash), "expire": step(w.expire),
			"": w.check,
		})
		w.finish()
		for ticket := range w.asked {
			if !w.done[ticket] {
				w.Fatalf("%+v has no answer", w.asked[ticket])
			}
		}
		w.prefixes()
	})
}

// prefixes plays a crash after each record: every decision is carried out (T6).
func (w *world) prefixes() {
	for n := range w.log {
		b := newBench(w.T)
		b.now, b.log = w.now, slices.Clone(w.log)
		b.reload(n)
		b.mark()
		for id := range b.m.entries {
			if s := b.m.entries[id].state; s.prepared() {
				w.Fatalf("after %d records %s stays %v", n, id, s)
			}
		}
	}
}

// The same events have the same effects (T7).
func TestDeterminism(t *testing.T) {
	play := func() string {
		b := newBench(t)
		for i := range 20 {
			id := fmt.Sprint("id-", i)
			p := b.mustInit(id)
			b.code(b.add(id, p, "t/1", "t/0"), kerr.None)
			if i%2 == 0 {
				b.beginEnd(5, id, p, true)
			}
		}
		b.reload(-1)
		text := b.work()
		b.mark()
		b.after(2 * time.Minute)
		text += b.work()
		b.mark()
		b.now = b.now.Add(b.limits.Expiration)
		b.effects(b.m.Expire(b.now))
		for _, r := range b.log {
			text += fmt.Sprintf("%x=%x\n", r.Key, r.Value)
		}
		return text
	}
	want := play()
	for range 5 {
		if got := play(); got != want {
			t.Fatal("another run, another result")
		}
	}
}
