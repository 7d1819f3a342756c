package linear

import (
	"math/rand/v2"
	"testing"

	"millrace/test/robust/tape"
)

// ops is a tape written by hand.
type ops []*tape.Op

func (o *ops) add(kind tape.Kind, call, until int64) *tape.Op {
	op := &tape.Op{Number: len(*o), Process: len(*o), Kind: kind, Call: call, Asked: tape.Never, Return: until, Outcome: tape.OK}
	if until == tape.Never {
		op.Outcome = tape.Unknown
	}
	*o = append(*o, op)
	return op
}

func (o *ops) send(value, offset, call, until int64) {
	op := o.add(tape.Send, call, until)
	op.Sent = []tape.Record{{Value: value, Offset: offset}}
}

func (o *ops) poll(value, offset, call, until int64) {
	op := o.add(tape.Poll, call, until)
	op.Polled = []tape.Record{{Value: value, Offset: offset}}
}

func (o *ops) end(end, call, until int64) {
	o.add(tape.Ends, call, until).Ends = map[int]int64{0: end}
}

// TestPlanted judges small histories, right and wrong ones.
func TestPlanted(t *testing.T) {
	const never, none = tape.Never, tape.NoOffset
	for _, f := range []struct {
		name  string
		write func(*ops)
		right bool
	}{
		{"one after the other", func(o *ops) { o.send(1, 0, 1, 2); o.send(2, 1, 3, 4); o.end(2, 5, 6); o.poll(1, 0, 7, 8) }, true},
		{"two at a time, the later call first", func(o *ops) { o.send(1, 1, 1, 4); o.send(2, 0, 2, 3) }, true},
		{"an end while a record is on its way, before and after", func(o *ops) { o.send(1, 0, 1, 9); o.end(0, 2, 3); o.end(1, 4, 5) }, true},
		{"unknown, and never seen", func(o *ops) { o.send(1, none, 1, never); o.send(2, 0, 2, 3) }, true},
		{"unknown, and seen much later", func(o *ops) { o.send(1, none, 1, never); o.send(2, 0, 2, 3); o.poll(1, 1, 8, 9) }, true},
		{"unknown, and done before it is seen", func(o *ops) { o.send(1, none, 1, never); o.send(2, 1, 2, 3); o.poll(1, 0, 8, 9) }, true},

		{"two at one place", func(o *ops) { o.send(1, 0, 1, 2); o.send(2, 0, 3, 4) }, false},
		{"a place left out", func(o *ops) { o.send(1, 0, 1, 2); o.send(2, 2, 3, 4) }, false},
		{"the later one stands before the earlier", func(o *ops) { o.send(1, 1, 1, 2); o.send(2, 0, 3, 4) }, false},
		{"an end that does not know of a record", func(o *ops) { o.send(1, 0, 1, 2); o.end(0, 3, 4) }, false},
		{"an end that went back", func(o *ops) { o.send(1, 0, 1, 9); o.end(1, 2, 3); o.end(0, 4, 5) }, false},
		{"an end above all that was sent", func(o *ops) { o.send(1, 0, 1, 2); o.end(2, 3, 4) }, false},
		{"polled before it was sent", func(o *ops) { o.poll(1, 0, 1, 2); o.send(1, 0, 3, 4) }, false},
		{"unknown, and seen before it was sent", func(o *ops) { o.poll(1, 0, 1, 2); o.send(1, none, 3, never) }, false},
		{"unknown, and an end that goes back behind it", func(o *ops) { o.send(1, none, 1, never); o.poll(1, 0, 2, 3); o.end(0, 4, 5) }, false},
	} {
		var o ops
		f.write(&o)
		if found := Judge(o); (len(found) == 0) != f.right {
			t.Errorf("%s: found %v", f.name, found)
		}
	}
}

// TestTransactionsAreNotJudged: their records stand in the log before they may be polled.
func TestTransactionsAreNotJudged(t *testing.T) {
	var o ops
	o.send(1, 5, 1, 2)
	o[0].Kind = tape.Txn
	if found := Judge(o); len(found) > 0 {
		t.Error(found)
	}
}

// simulate runs clients on a log, some of whose calls return late or never.
func simulate(random *rand.Rand, n int) ops {
	var o ops
	now, end := int64(0), int64(0)
	busy := make([]int64, 6) // by client: when its operation returns
	for range n {
		now += 2
		client := random.IntN(len(busy))
		now = max(now, busy[client]+1)
		early, late := random.Int64N(20), random.Int64N(40)
		call := max(busy[client]+1, now-early)
		busy[client] = now + late
		switch random.IntN(5) {
		case 0:
			o.end(end, call, now+late)
		case 1:
			if end > 0 {
				offset := random.Int64N(end)
				o.poll(offset, offset, call, now+late)
			}
		case 2:
			switch random.IntN(4) {
			case 0: // never done
				o.send(-now, tape.NoOffset, call, tape.Never)
			case 1: // done, and the client has not heard of it
				o.send(end, tape.NoOffset, call, tape.Never)
				end++
			}
		default:
			o.send(end, end, call, now+late)
			end++
		}
	}
	for offset := range end {
		o.poll(offset, offset, now+100, now+101)
	}
	return o
}

// TestManyWindows: long histories are judged right in windows, and a fault in any of them is found.
func TestManyWindows(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		o := simulate(random, 5000)
		if found := Judge(o); len(found) > 0 {
			t.Fatalf("seed %d: %v", seed, found)
		}
		for {
			op := o[random.IntN(len(o))]
			if op.Kind == tape.Ends && op.Ends[0] > 200 {
				op.Ends[0] -= 200 // more than can have come while the question was on its way
				break
			}
		}
		if found := Judge(o); len(found) != 1 {
			t.Fatalf("seed %d: a stale end is not found", seed)
		}
	}
}
