package transaction

import (
	"fmt"
	"slices"
	"strings"

	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// bench is a machine with a log whose appends are settled at once, or one at a time when hold is set. Markers are handed out
// and wait for mark.
type bench struct {
	t       rapid.TB
	m       *Machine
	limits  Limits
	now     time.Time
	epoch   int32
	watch   func() // nil, or called after each event: an outcome may let something go on that waited
	hold    bool
	fail    kerr.Code // of the next append
	queue   []machine.Append
	log     []machine.Record // durable
	ticket  machine.Ticket
	answers map[machine.Ticket]kmsg.Response
	tasks   []MarkerTask
	nextID  int64
	notes   []string
}

func newBench(t rapid.TB) *bench {
	b := &bench{t: t, limits: DefaultLimits(), now: time.UnixMilli(1_700_000_000_000), epoch: 1,
		answers: map[machine.Ticket]kmsg.Response{}, nextID: 100}
	b.m = New(b.limits, b.epoch)
	b.effects(b.m.Loaded(b.now))
	return b
}

func (b *bench) effects(e machine.Effects) {
	for _, r := range e.Replies {
		if b.answers[r.Ticket] != nil {
			b.t.Fatalf("two answers to %d", r.Ticket)
		}
		b.answers[r.Ticket] = r.Response
	}
	for _, n := range e.Notes {
		b.notes = append(b.notes, n.Message)
	}
	b.queue = append(b.queue, e.Appends...)
	b.tasks = append(b.tasks, b.m.TakeMarkers()...)
	if b.watch != nil {
		b.watch()
	}
	for !b.hold && len(b.queue) > 0 {
		b.settle()
	}
}

// settle makes the oldest append durable, or fails it.
func (b *bench) settle() {
	a := b.queue[0]
	b.queue = b.queue[1:]
	code := b.fail
	b.fail = kerr.None
	if code == kerr.None {
		b.log = append(b.log, a.Records...)
	}
	b.effects(b.m.Appended(b.now, a.ID, code))
}

// reload replays the first n records of the log into a new machine, all if n is negative.
func (b *bench) reload(n int) {
	if n >= 0 {
		b.log = slices.Clone(b.log[:n])
	}
	b.epoch++
	b.m = New(b.limits, b.epoch)
	b.queue, b.tasks = nil, nil
	for _, r := range b.log {
		if err := b.m.Replay(r, nil); err != nil {
			b.t.Fatal(err)
		}
	}
	b.effects(b.m.Loaded(b.now))
}

func (b *bench) after(d time.Duration) {
	until := b.now.Add(d)
	for {
		at, ok := b.m.Deadline()
		if !ok || at.After(until) {
			break
		}
		b.now = later(b.now, at)
		b.effects(b.m.Advance(b.now))
	}
	b.now = until
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (b *bench) next() machine.Ticket {
	b.ticket++
	return b.ticket
}

// takes the answer to a ticket; nil while there is none.
func take[R kmsg.Response](b *bench, t machine.Ticket) (r R) {
	b.t.Helper()
	if b.answers[t] != nil {
		r = b.answers[t].(R)
	}
	return r
}

// none is nobody in particular, for init.
var nobody = machine.Producer{ID: none, Epoch: none}

// beginInit sends InitProducerId with an id at hand, if one is needed.
func (b *bench) beginInit(id string, expected machine.Producer) machine.Ticket {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.TransactionalID, q.TransactionTimeoutMillis = &id, 60_000
	q.ProducerID, q.ProducerEpoch = expected.ID, expected.Epoch
	t := b.next()
	b.effects(b.m.InitProducerID(b.now, t, q))
	return t
}

// init is InitProducerId, again with an id when the machine has none.
func (b *bench) init(id string, expected machine.Producer) (machine.Producer, kerr.Code) {
	b.t.Helper()
	r := take[*kmsg.InitProducerIDResponse](b, b.beginInit(id, expected))
	if r != nil && kerr.Code(r.ErrorCode) == kerr.CoordinatorLoadInProgress {
		b.supply()
		r = take[*kmsg.InitProducerIDResponse](b, b.beginInit(id, expected))
	}
	if r == nil {
		b.t.Fatal("no answer")
	}
	return machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, kerr.Code(r.ErrorCode)
}

func (b *bench) supply() {
	b.m.AddProducerID(b.nextID)
	b.nextID++
}

// mustInit is init that must work.
func (b *bench) mustInit(id string) machine.Producer {
	b.t.Helper()
	p, code := b.init(id, nobody)
	b.code(code, kerr.None)
	return p
}

func (b *bench) beginAdd(id string, p machine.Producer, implicit bool, names ...string) machine.Ticket {
	t := b.next()
	b.effects(b.m.AddPartitions(b.now, t, Addition{ID: id, Producer: p, Partitions: parts(names...), Implicit: implicit}))
	return t
}

// add is what a client of the first protocol sends.
func (b *bench) add(id string, p machine.Producer, names ...string) kerr.Code {
	b.t.Helper()
	ticket := b.beginAdd(id, p, false, names...)
	r := take[*kmsg.AddOffsetsToTxnResponse](b, ticket)
	if r == nil { // it waits for a transition
		b.after(addPatience)
		r = take[*kmsg.AddOffsetsToTxnResponse](b, ticket)
	}
	if r == nil {
		b.t.Fatal("no answer")
	}
	return kerr.Code(r.ErrorCode)
}

func (b *bench) beginEnd(version int16, id string, p machine.Producer, commit bool) machine.Ticket {
	q := kmsg.NewPtrEndTxnRequest()
	q.Version, q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = version, id, p.ID, p.Epoch, commit
	t := b.next()
	b.effects(b.m.EndTxn(b.now, t, q))
	return t
}

func (b *bench) end(version int16, id string, p machine.Producer, commit bool) (machine.Producer, kerr.Code) {
	b.t.Helper()
	r := take[*kmsg.EndTxnResponse](b, b.beginEnd(version, id, p, commit))
	if r == nil {
		b.t.Fatal("no answer")
	}
	return machine.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, kerr.Code(r.ErrorCode)
}

// mark reports all markers that were handed out as written.
func (b *bench) mark() {
	tasks := b.tasks
	b.tasks = nil
	for _, task := range tasks {
		for _, tp := range task.Partitions {
			b.effects(b.m.MarkerWritten(b.now, task.Number, tp, true))
		}
	}
}

// work is what was handed out, for people.
func (b *bench) work() string {
	var out []string
	for _, t := range b.tasks {
		word := "abort"
		if t.Marker.Commit {
			word = "commit"
		}
		out = append(out, fmt.Sprintf("%s %s %d/%d on %s by %d", word, t.ID, t.Marker.ID, t.Marker.Epoch, spell(t.Partitions), t.Marker.CoordinatorEpoch))
	}
	return strings.Join(out, "; ")
}

// state is an id as DescribeTransactions shows it.
func (b *bench) state(id string) string {
	d := b.m.Describe(id)
	if d.ErrorCode != 0 {
		return kerr.Code(d.ErrorCode).Error()
	}
	var tps []machine.TopicPartition
	for _, t := range d.Topics {
		for _, p := range t.Partitions {
			tps = append(tps, machine.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d/%d %s", d.State, d.ProducerID, d.ProducerEpoch, spell(tps)))
}

func (b *bench) want(got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func (b *bench) code(got, want kerr.Code) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("got %v, want %v", got, want)
	}
}

// parts reads "topic/partition".
func parts(names ...string) []machine.TopicPartition {
	var out []machine.TopicPartition
	for _, n := range names {
		topic, index, _ := strings.Cut(n, "/")
		tp := machine.TopicPartition{Topic: topic}
		if _, err := fmt.Sscan(index, &tp.Partition); err != nil {
			panic(err)
		}
		out = append(out, tp)
	}
	return out
}

func spell(tps []machine.TopicPartition) string {
	var out []string
	for _, tp := range tps {
		out = append(out, fmt.Sprintf("%s/%d", tp.Topic, tp.Partition))
	}
	return strings.Join(out, ",")
}

// to puts an id into a state, by the second protocol, and returns its present producer.
func (b *bench) to(s State, id string) machine.Producer {
	b.t.Helper()
	p := b.mustInit(id)
	if s == Empty {
		return p
	}
	b.code(b.add(id, p, "t/0"), kerr.None)
	if s == Ongoing {
		return p
	}
	next, code := b.end(5, id, p, s == PrepareCommit || s == CompleteCommit)
	b.code(code, kerr.None)
	if !s.prepared() {
		b.mark()
	}
	return next
}
