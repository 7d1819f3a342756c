package group

import (
	"container/heap"
	"time"

	"millrace/express/group/modern"
)

// timerKind says what a deadline is for.
type timerKind int8

const (
	sessionTimer timerKind = iota // of one member, pending or not
	joinTimer                     // of a group: the join phase ends
	syncTimer                     // of a group: members that did not sync are removed
	kindTimer                     // of a member of a group of a newer protocol; see timerKey.timer
)

// timerKey names a deadline; setting it again moves it.
type timerKey struct {
	kind   timerKind
	group  string
	member string
	timer  modern.Timer // of a kindTimer
}

// timer is one deadline. The fields below at are for join and sync timers.
type timer struct {
	key timerKey
	at  time.Time

	initial    bool          // the delay of a group's first rebalance, which may be extended
	delay      time.Duration // the length of this part of the initial delay
	remaining  time.Duration // by how much it may be extended
	generation int32         // of a sync timer; of a kindTimer, the member's epoch

	order int64 // among equal times the one set first goes first
	index int   // in the heap
}

// timers is a heap of deadlines that can be moved and removed by key.
type timers struct {
	byKey map[timerKey]*timer
	heap  timerHeap
	order int64
}

func newTimers() timers { return timers{byKey: map[timerKey]*timer{}} }

// set puts t in place of the deadline of the same key.
func (ts *timers) set(t timer) {
	ts.order++
	t.order = ts.order
	if old := ts.byKey[t.key]; old != nil {
		t.index = old.index
		*old = t
		heap.Fix(&ts.heap, old.index)
		return
	}
	ts.byKey[t.key] = &t
	heap.Push(&ts.heap, &t)
}

func (ts *timers) cancel(key timerKey) {
	if t := ts.byKey[key]; t != nil {
		heap.Remove(&ts.heap, t.index)
		delete(ts.byKey, key)
	}
}

func (ts *timers) next() (time.Time, bool) {
	if len(ts.heap) == 0 {
		return time.Time{}, false
	}
	return ts.heap[0].at, true
}

// pop removes and returns the first deadline that is not after now, or nil.
func (ts *timers) pop(now time.Time) *timer {
	if len(ts.heap) == 0 || ts.heap[0].at.After(now) {
		return nil
	}
	t := heap.Pop(&ts.heap).(*timer)
	delete(ts.byKey, t.key)
	return t
}

// timerHeap implements heap.Interface.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].order < h[j].order
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
