package tape

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what an operation is.
type Kind string

// The kinds of operations.
const (
	Send   Kind = "send"   // records outside of transactions
	Poll   Kind = "poll"   // the next records for a consumer at read_committed
	Txn    Kind = "txn"    // a transaction that sends and polls
	Assign Kind = "assign" // the consumer is placed anew: its next poll follows nothing
	Ends   Kind = "ends"   // a question for the ends of keys
)

// Outcome is what the process knows of an operation's end.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"  // it has had no effect, and never will: a transaction whose commit was never asked for
	Unknown Outcome = "unknown" // it may have had one, or may have one yet
)

const (
	// NoOffset is that of a record that was sent, and of which nobody said where it stands.
	NoOffset = -1
	// Never is the Return of operations of unknown outcome.
	Never = math.MaxInt64
)

// Record is a value at its place in a key.
type Record struct {
	Key    int
	Offset int64
	Value  int64
}

// Op is one operation.
type Op struct {
	Process int
	Number  int // from 0, in the order of the calls
	Kind    Kind
	Call    int64 // nanoseconds since the tape's beginning
	Asked   int64 // Txn: when the commit was asked for; Never: it was not
	Return  int64
	Outcome Outcome
	Sent    []Record
	Polled  []Record      // in the order in which they were given
	Ends    map[int]int64 // by key: the offset of the next record
	Final   bool          // of a reader that reads everything after all others have ended
}

// String gives an operation in a few words.
func (o *Op) String() string { return fmt.Sprintf("%s %d of process %d", o.Kind, o.Number, o.Process) }

// Tape is a record of operations.
type Tape struct {
	began time.Time

	mu        sync.Mutex // guards what follows
	processes int
	ops       []*Op
	values    int64
}

// New returns an empty tape.
func New() *Tape { return &Tape{began: time.Now()} }

// Process is a client.
type Process struct {
	tape   *Tape
	number int
	// Final marks all operations of the process.
	Final bool
}

// Process returns a new client.
func (t *Tape) Process() *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.processes++
	return &Process{tape: t, number: t.processes - 1}
}

// Begin is called before the operation is asked for.
func (p *Process) Begin(kind Kind) *Doing {
	t := p.tape
	t.mu.Lock()
	defer t.mu.Unlock()
	op := &Op{
		Process: p.number, Number: len(t.ops), Kind: kind, Final: p.Final, Outcome: Unknown,
		Call: int64(time.Since(t.began)), Asked: Never, Return: Never,
	}
	t.ops = append(t.ops, op)
	return &Doing{tape: t, op: op}
}

// Doing is an operation on its way.
type Doing struct {
	tape *Tape
	op   *Op
}

// Send names a record that is about to be sent.
func (d *Doing) Send(key int) (value int64) {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	d.tape.values++
	d.op.Sent = append(d.op.Sent, Record{Key: key, Offset: NoOffset, Value: d.tape.values})
	return d.tape.values
}

// Stands notes that a record was acknowledged.
func (d *Doing) Stands(value, offset int64) {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	for i := range d.op.Sent {
		if d.op.Sent[i].Value == value {
			d.op.Sent[i].Offset = offset
		}
	}
}

// Poll notes a record that was given.
func (d *Doing) Poll(r Record) {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	d.op.Polled = append(d.op.Polled, r)
}

// End notes the end of a key as it was told.
func (d *Doing) End(key int, offset int64) {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	if d.op.Ends == nil {
		d.op.Ends = make(map[int]int64)
	}
	d.op.Ends[key] = offset
}

// Ask is called before a transaction's commit is asked for.
func (d *Doing) Ask() {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	d.op.Asked = int64(time.Since(d.tape.began))
}

// OK ends an operation that was done.
func (d *Doing) OK() { d.end(OK) }

// Fail ends an operation that has no effect.
func (d *Doing) Fail() { d.end(Failed) }

// Leave ends an operation of which nothing is known: neither its outcome, nor when it takes effect.
func (d *Doing) Leave() {}

func (d *Doing) end(outcome Outcome) {
	d.tape.mu.Lock()
	defer d.tape.mu.Unlock()
	d.op.Outcome, d.op.Return = outcome, int64(time.Since(d.tape.began))
}

// Ops returns the operations in the order of their calls. They must not be changed, and nothing may be recorded any more.
func (t *Tape) Ops() []*Op {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(slices.Values(t.ops), func(a, b *Op) int { return cmp.Compare(a.Number, b.Number) })
}

// Len returns how many operations have begun so far.
func (t *Tape) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ops)
}

// Summary counts operations by kind and outcome.
func Summary(ops []*Op) string {
	counts := make(map[string]int)
	for _, op := range ops {
		counts[fmt.Sprintf("%s %s", op.Kind, op.Outcome)]++
		counts["records sent"] += len(op.Sent)
		counts["records polled"] += len(op.Polled)
	}
	words := make([]string, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(words, ", ")
}
