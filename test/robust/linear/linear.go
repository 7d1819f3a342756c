package linear

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/anishathalye/porcupine"

	"millrace/test/robust/tape"
)

// window is how many operations of a key are judged at a time, at least.
const window = 1000

// Violation is a stretch of a key's history for which there is no right order.
type Violation struct {
	Key   int
	From  *tape.Op // the first and the last operation of the stretch
	To    *tape.Op
	Start int64 // the end of the log before it
}

// String gives the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("not linearizable: key %d, from %v to %v, the log ends at %d before", v.Key, v.From, v.To, v.Start)
}

// step is one operation on one key.
type step struct {
	kind  tape.Kind
	value int64 // Send: the offset; Poll: one above the highest offset; Ends: the end
}

// act is a step with its operation.
type act struct {
	step
	op          *tape.Op
	call, until int64
}

// Judge returns the keys whose history is not that of a log.
func Judge(ops []*tape.Op) (found []Violation) {
	acts := byKey(ops)
	for _, key := range slices.Sorted(maps.Keys(acts)) {
		if v, wrong := judge(key, acts[key]); wrong {
			found = append(found, v)
		}
	}
	return found
}

// judge judges one key, window by window.
func judge(key int, acts []act) (Violation, bool) {
	slices.SortStableFunc(acts, func(a, b act) int { return cmp.Compare(a.call, b.call) })
	start, first := int64(0), 0
	var carried []act // of unknown outcome, and of no trace so far
	for first < len(acts) {
		last, end := cut(acts, first, start)
		var now, later []act
		for _, a := range slices.Concat(carried, acts[first:last]) {
			if a.until == tape.Never && a.value >= end && last < len(acts) {
				later = append(later, a)
			} else {
				now = append(now, a)
			}
		}
		if len(now) > 0 && !linearizable(start, now) {
			return Violation{Key: key, From: now[0].op, To: now[len(now)-1].op, Start: start}, true
		}
		start, carried, first = end, later, last
	}
	return Violation{}, false
}

// cut returns where the window that begins at first ends, and the highest end of the log of which it shows a trace.
func cut(acts []act, first int, start int64) (last int, end int64) {
	end = start
	busy := int64(-1)
	for last = first; last < len(acts); last++ {
		a := acts[last]
		if last-first >= window && a.call > busy {
			return last, end
		}
		if a.until == tape.Never {
			continue
		}
		busy = max(busy, a.until)
		if a.kind == tape.Send {
			end = max(end, a.value+1)
		} else {
			end = max(end, a.value)
		}
	}
	return last, end
}

// linearizable asks porcupine.
func linearizable(start int64, acts []act) bool {
	model := porcupine.Model{
		Init: func() any { return start },
		Step: func(state, input, _ any) (bool, any) {
			end, s := state.(int64), input.(step)
			switch s.kind {
			case tape.Send:
				return s.value == end, end + 1
			case tape.Poll:
				return s.value <= end, end
			default:
				return s.value == end, end
			}
		},
	}
	operations := make([]porcupine.Operation, len(acts))
	for i, a := range acts {
		operations[i] = porcupine.Operation{ClientId: a.op.Process, Input: a.step, Call: a.call, Return: a.until}
	}
	return porcupine.CheckOperations(model, operations)
}

// byKey sorts what was done by the keys that it was done to.
func byKey(ops []*tape.Op) map[int][]act {
	places := seen(ops)
	acts := make(map[int][]act)
	transactional := make(map[int]bool)
	for _, op := range ops {
		add := func(key int, kind tape.Kind, value int64) {
			acts[key] = append(acts[key], act{step: step{kind: kind, value: value}, op: op, call: op.Call, until: op.Return})
		}
		for _, r := range op.Sent {
			transactional[r.Key] = transactional[r.Key] || op.Kind == tape.Txn
			if offset, ok := places[r.Value]; ok {
				add(r.Key, tape.Send, offset)
			}
		}
		tops := make(map[int]int64)
		for _, r := range op.Polled {
			tops[r.Key] = max(tops[r.Key], r.Offset+1)
		}
		if op.Outcome == tape.OK {
			for key, top := range tops {
				add(key, tape.Poll, top)
			}
			for key, end := range op.Ends {
				add(key, tape.Ends, end)
			}
		}
	}
	for key := range transactional {
		if transactional[key] {
			delete(acts, key)
		}
	}
	return acts
}

// seen returns where records stand, as anybody was told.
func seen(ops []*tape.Op) map[int64]int64 {
	places := make(map[int64]int64)
	for _, op := range ops {
		for _, r := range op.Sent {
			if r.Offset != tape.NoOffset {
				places[r.Value] = r.Offset
			}
		}
	}
	for _, op := range ops {
		for _, r := range op.Polled {
			if _, told := places[r.Value]; !told {
				places[r.Value] = r.Offset
			}
		}
	}
	return places
}
