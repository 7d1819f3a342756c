package state

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/express/share"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// world drives a Machine with random events and a log that may fail, next to a model of what is durable.
type world struct {
	*rapid.T
	m       *Machine
	now     time.Time
	last    machine.Ticket
	open    map[machine.Ticket]asked
	queue   []machine.Append
	log     []machine.Record
	mark    int   // how long the log was when the generation began
	markOf  int64 // that generation
	model   map[Key]*modelEntry
	model0  map[int64]func() // by append: what is true once it is durable
	acked   int
	covered int
	reloads int
}

// asked is a request that waits, and what has to be true of its answer.
type asked struct {
	kind  string
	key   Key
	after int64 // the last append before it
}

// modelEntry is the plain model of one key: records by offset.
type modelEntry struct {
	start, leader, state int64
	recs                 map[int64]share.Batch
}

func newWorld(t *rapid.T) *world {
	l := DefaultLimits()
	l.UpdatesPerSnapshot = rapid.IntRange(0, 4).Draw(t, "updates per snapshot")
	w := &world{
		T: t, m: New(l), now: time.UnixMilli(1_700_000_000_000), open: map[machine.Ticket]asked{},
		model: map[Key]*modelEntry{}, model0: map[int64]func(){},
	}
	w.effects(w.m.Loaded(w.now))
	w.prune()
	return w
}

func (w *world) key() Key {
	return Key{Group: rapid.SampledFrom([]string{"g", "h"}).Draw(w.T, "group"), Topic: topic.ID{1}, Partition: rapid.Int32Range(0, 1).Draw(w.T, "partition")}
}

func (w *world) ask(kind string, k Key, f func(t machine.Ticket) machine.Effects, durable func()) {
	w.last++
	w.open[w.last] = asked{kind, k, w.m.nextAppend}
	before := w.m.nextAppend
	w.effects(f(w.last))
	if w.m.nextAppend > before {
		w.model0[w.m.nextAppend] = durable
	}
}

func (w *world) initialize() {
	k := w.key()
	q := kmsg.NewInitializeShareGroupStateRequestTopicPartition()
	q.StateEpoch, q.StartOffset = rapid.Int32Range(0, 3).Draw(w.T, "state epoch"), rapid.Int64Range(-1, 20).Draw(w.T, "start")
	w.ask("initialize", k, func(t machine.Ticket) machine.Effects { return w.m.Initialize(w.now, t, k, q) }, func() {
		w.model[k] = &modelEntry{start: q.StartOffset, state: int64(q.StateEpoch), recs: map[int64]share.Batch{}}
	})
}

func (w *world) write() {
	k := w.key()
	q := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	q.StateEpoch, q.LeaderEpoch = rapid.Int32Range(-1, 3).Draw(w.T, "state epoch"), rapid.Int32Range(-1, 3).Draw(w.T, "leader epoch")
	q.StartOffset, q.DeliveryCompleteCount = rapid.Int64Range(-1, 30).Draw(w.T, "start"), 0
	for range rapid.IntRange(0, 3).Draw(w.T, "batches") {
		b := kmsg.NewWriteShareGroupStateRequestTopicPartitionStateBatch()
		b.FirstOffset = rapid.Int64Range(0, 30).Draw(w.T, "first")
		b.LastOffset = b.FirstOffset + rapid.Int64Range(0, 5).Draw(w.T, "length")
		b.DeliveryState = rapid.SampledFrom([]int8{0, 2, 4}).Draw(w.T, "state")
		b.DeliveryCount = rapid.Int16Range(1, 3).Draw(w.T, "count")
		q.StateBatches = append(q.StateBatches, b)
	}
	w.ask("write", k, func(t machine.Ticket) machine.Effects { return w.m.Write(w.now, t, k, q) }, func() { w.written(k, q) })
}

func (w *world) written(k Key, q kmsg.WriteShareGroupStateRequestTopicPartition) {
	e := w.model[k]
	if e == nil {
		w.Fatalf("%v was written and does not exist", k)
	}
	e.start = max(e.start, q.StartOffset)
	for _, b := range q.StateBatches {
		for o := b.FirstOffset; o <= b.LastOffset; o++ {
			n := share.Batch{State: share.State(b.DeliveryState), Count: b.DeliveryCount}
			if old, ok := e.recs[o]; !ok || n.Count > old.Count || n.Count == old.Count && n.State > old.State {
				if o >= q.StartOffset {
					e.recs[o] = n
				}
			}
		}
	}
	for o := range e.recs {
		if o < e.start {
			delete(e.recs, o)
		}
	}
}

func (w *world) read() {
	k := w.key()
	q := kmsg.NewReadShareGroupStateRequestTopicPartition()
	q.LeaderEpoch = rapid.Int32Range(-1, 3).Draw(w.T, "leader epoch")
	w.ask("read", k, func(t machine.Ticket) machine.Effects { return w.m.Read(w.now, t, k, q) }, func() {
		w.model[k].leader = max(w.model[k].leader, int64(q.LeaderEpoch))
	})
}

func (w *world) remove() {
	k := w.key()
	w.ask("delete", k, func(t machine.Ticket) machine.Effects { return w.m.Delete(w.now, t, k) }, func() { delete(w.model, k) })
}

// expire begins a generation now and then, and forgets what the coordinator would delete of the log.
func (w *world) expire() {
	w.effects(w.m.Expire(w.now))
	w.prune()
}

// prune does what the coordinator does after each event.
func (w *world) prune() {
	if g := w.m.Generation(); g != w.markOf {
		w.markOf, w.mark = g, len(w.log)
	}
	if w.m.Covered() && w.mark > 0 {
		clear(w.log[:w.mark]) // offsets stay
		w.covered++
	}
}

// settle gives the oldest append an outcome.
func (w *world) settle(code kerr.Code) {
	if len(w.queue) == 0 {
		return
	}
	a := w.queue[0]
	w.queue = w.queue[1:]
	if code != kerr.None {
		w.reload()
		return
	}
	w.log = append(w.log, a.Records...)
	if f := w.model0[a.ID]; f != nil {
		f()
	}
	w.effects(w.m.Appended(w.now, a.ID, code))
	w.prune()
}

// reload is what the coordinator does when an append failed.
func (w *world) reload() {
	w.effects(w.m.Close(w.now))
	if len(w.open) > 0 {
		w.Fatalf("not answered by Close: %v (SS1)", w.open)
	}
	w.queue, w.model0 = nil, map[int64]func(){}
	w.m = w.replayed()
	w.reloads++
	w.prune()
}

// effects checks answers: each once, and a read against the model.
func (w *world) effects(e machine.Effects) {
	for _, r := range e.Replies {
		q, ok := w.open[r.Ticket]
		if !ok {
			w.Fatalf("ticket %d answered twice (SS1)", r.Ticket)
		}
		delete(w.open, r.Ticket)
		if a, ok := r.Response.(*kmsg.ReadShareGroupStateResponse); ok && a.Topics[0].Partitions[0].ErrorCode == 0 {
			w.answered(q.key, a.Topics[0].Partitions[0])
			for _, before := range w.queue {
				k, _ := keyOf(before)
				if before.ID <= q.after && k == q.key {
					w.Fatalf("a read of %v was answered before append %d, which came first (SS2)", k, before.ID)
				}
			}
		}
	}
	w.queue = append(w.queue, e.Appends...)
}

// answered compares a read with what is durable (SS2).
func (w *world) answered(k Key, p kmsg.ReadShareGroupStateResponseTopicPartition) {
	w.acked++
	e := w.model[k]
	if e == nil {
		w.Fatalf("%v was read and does not exist", k)
	}
	recs := map[int64]share.Batch{}
	for _, b := range p.StateBatches {
		for o := b.FirstOffset; o <= b.LastOffset; o++ {
			recs[o] = share.Batch{State: share.State(b.DeliveryState), Count: b.DeliveryCount}
		}
	}
	if p.StartOffset != e.start || int64(p.StateEpoch) != e.state || !reflect.DeepEqual(recs, e.recs) {
		w.Fatalf("%v is start %d epoch %d %v, want %d %d %v", k, p.StartOffset, p.StateEpoch, recs, e.start, e.state, e.recs)
	}
}

// check replays the log and compares (SS2), and compares with the model.
func (w *world) check() {
	re := w.replayed()
	for k, e := range w.model {
		a, b := w.m.keys[k], re.keys[k]
		if a == nil || b == nil || !a.exists || a.start != e.start || int64(a.stateEpoch) != e.state {
			w.Fatalf("%v is %+v, replayed %+v, want %+v", k, a, b, e)
		}
		if !reflect.DeepEqual(text(a), text(b)) {
			w.Fatalf("%v is %v, replayed %v", k, text(a), text(b))
		}
	}
	for k, e := range w.m.keys {
		if e.exists != (w.model[k] != nil) {
			w.Fatalf("%v: exists %v", k, e.exists)
		}
	}
	for k := range re.keys {
		if w.model[k] == nil {
			w.Fatalf("%v is back after a reload", k)
		}
	}
}

func (w *world) replayed() *Machine {
	re := New(w.m.limits)
	for _, r := range w.log {
		if r.Key == nil {
			continue // deleted of the log
		}
		if err := re.Replay(r, nil); err != nil {
			w.Fatalf("replay: %v", err)
		}
	}
	if e := re.Loaded(w.now); len(e.Appends)+len(e.Replies) > 0 {
		w.Fatalf("loaded: %+v", e)
	}
	return re
}

func keyOf(a machine.Append) (Key, error) {
	_, k, err := readKey(a.Records[0].Key)
	return k, err
}

func text(e *entry) string {
	return fmt.Sprint(e.start, e.stateEpoch, e.leaderEpoch, e.snapshotEpoch, e.complete, e.batches)
}

func TestProperties(t *testing.T) {
	covered, acked := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		code := func() kerr.Code {
			return rapid.SampledFrom([]kerr.Code{0, 0, 0, 0, kerr.KafkaStorageError}).Draw(t, "outcome")
		}
		t.Repeat(map[string]func(*rapid.T){
			"initialize": func(*rapid.T) { w.initialize() },
			"write":      func(*rapid.T) { w.write() },
			"write2":     func(*rapid.T) { w.write() },
			"read":       func(*rapid.T) { w.read() },
			"delete":     func(*rapid.T) { w.remove() },
			"expire":     func(*rapid.T) { w.expire() },
			"settle":     func(*rapid.T) { w.settle(code()) },
			"settle2":    func(*rapid.T) { w.settle(code()) },
			"":           func(*rapid.T) { w.check() },
		})
		for len(w.queue) > 0 {
			w.settle(kerr.None)
		}
		if len(w.open) > 0 {
			t.Fatalf("never answered: %v", w.open)
		}
		w.check()
		for range 2 { // the first may end a generation, the second begins one
			w.expire()
			for len(w.queue) > 0 {
				w.settle(kerr.None)
			}
		}
		if !w.m.Covered() {
			t.Fatal("a generation of snapshots is never complete")
		}
		w.check()
		w.write()
		w.effects(w.m.Close(w.now))
		if len(w.open) > 0 {
			t.Fatalf("not answered by Close: %v", w.open)
		}
		covered, acked = covered+w.covered, acked+w.acked
	})
	if covered == 0 || acked == 0 {
		t.Errorf("the log was cut %d times, %d reads were compared", covered, acked)
	}
}

// answer runs one request on a machine whose log never fails, and returns the code.
func answer[R kmsg.Response](t *testing.T, m *Machine, e machine.Effects) R {
	t.Helper()
	replies := e.Replies
	for len(e.Appends) > 0 {
		next := e.Appends[0]
		rest := e.Appends[1:]
		e = m.Appended(time.UnixMilli(1), next.ID, kerr.None)
		e.Appends = slices.Concat(rest, e.Appends)
		replies = append(replies, e.Replies...)
	}
	if len(replies) != 1 {
		t.Fatalf("%d answers", len(replies))
	}
	return replies[0].Response.(R)
}

func TestEpochsFence(t *testing.T) {
	m := New(DefaultLimits())
	now := time.UnixMilli(1)
	write := func(leader, state int32) kerr.Code {
		q := kmsg.NewWriteShareGroupStateRequestTopicPartition()
		q.LeaderEpoch, q.StateEpoch, q.StartOffset = leader, state, 5
		r := answer[*kmsg.WriteShareGroupStateResponse](t, m, m.Write(now, 1, goldenKey, q))
		return kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	read := func(leader int32) kerr.Code {
		r := answer[*kmsg.ReadShareGroupStateResponse](t, m, m.Read(now, 1, goldenKey, kmsg.ReadShareGroupStateRequestTopicPartition{LeaderEpoch: leader}))
		return kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	initialize := func(state int32) kerr.Code {
		r := answer[*kmsg.InitializeShareGroupStateResponse](t, m,
			m.Initialize(now, 1, goldenKey, kmsg.InitializeShareGroupStateRequestTopicPartition{StateEpoch: state, StartOffset: -1}))
		return kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	for _, tc := range []struct {
		what      string
		got, want kerr.Code
	}{
		{"write before initialize", write(0, 0), kerr.InvalidRequest},
		{"read before initialize", read(0), kerr.InvalidRequest},
		{"initialize", initialize(2), kerr.None},
		{"initialize with an old epoch", initialize(1), kerr.FencedStateEpoch},
		{"read", read(7), kerr.None},
		{"write", write(7, 2), kerr.None},
		{"old leader writes", write(6, 2), kerr.FencedLeaderEpoch},
		{"old leader reads", read(6), kerr.FencedLeaderEpoch},
		{"old state epoch", write(7, 1), kerr.FencedStateEpoch},
		{"initialize anew", initialize(3), kerr.None},
		{"write of before", write(7, 2), kerr.FencedStateEpoch},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, tc.got, tc.want)
		}
	}
	if s := m.Summary(goldenKey); s.StateEpoch != 3 || s.StartOffset != -1 {
		t.Errorf("summary %+v", s)
	}
}

func TestSnapshotAfterUpdates(t *testing.T) {
	l := DefaultLimits()
	l.UpdatesPerSnapshot = 3
	m := New(l)
	var kinds []int16
	run := func(e machine.Effects) {
		for _, a := range e.Appends {
			kind, _, err := readKey(a.Records[0].Key)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, kind)
			m.Appended(time.UnixMilli(1), a.ID, kerr.None)
		}
	}
	run(m.Initialize(time.UnixMilli(1), 1, goldenKey, kmsg.InitializeShareGroupStateRequestTopicPartition{}))
	for i := range int64(8) {
		q := kmsg.NewWriteShareGroupStateRequestTopicPartition()
		q.StartOffset = i
		run(m.Write(time.UnixMilli(1), 1, goldenKey, q))
	}
	if want := []int16{0, 1, 1, 1, 0, 1, 1, 1, 0}; !slices.Equal(kinds, want) {
		t.Errorf("records %v, want %v", kinds, want)
	}
	run(m.TopicDeleted(time.UnixMilli(1), goldenKey.Topic))
	if m.Keys() != 0 {
		t.Error("a deleted topic left something behind")
	}
}
