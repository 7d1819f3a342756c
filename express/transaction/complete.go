package transaction

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"millrace/express/machine"
	"millrace/kafka/kerr"
)

// Pauses before what failed is tried again; each is twice the one before.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = time.Second
)

// MarkerTask asks for a marker to be written to each of some partitions. Each outcome goes to MarkerWritten, once.
type MarkerTask struct {
	Number     int64  // names the decision in MarkerWritten
	ID         string // transactional, for messages
	Marker     machine.Marker
	Partitions []machine.TopicPartition // not to be changed
}

// completion is a durable decision that is being carried out.
type completion struct {
	number int64
	entry  *entry
	out    map[machine.TopicPartition]bool // handed out and not answered
	failed []machine.TopicPartition        // to be handed out again
	pause  time.Duration                   // before the next try
}

// end begins to carry out the decision of e.
func (m *Machine) end(e *entry) {
	m.lastEnd++
	c := &completion{number: m.lastEnd, entry: e, out: map[machine.TopicPartition]bool{}, pause: firstPause}
	m.ends[c.number] = c
	if len(e.partitions) == 0 {
		m.complete(c)
		return
	}
	m.hand(c, e.partitions)
}

func (m *Machine) hand(c *completion, partitions []machine.TopicPartition) {
	e := c.entry
	for _, tp := range partitions {
		c.out[tp] = true
	}
	m.tasks = append(m.tasks, MarkerTask{Number: c.number, ID: e.id, Partitions: partitions, Marker: machine.Marker{
		Producer: e.producer, Commit: e.state == PrepareCommit, CoordinatorEpoch: m.epoch, TransactionVersion: e.protocol,
	}})
}

// TakeMarkers hands out the work that has come up since the last call.
func (m *Machine) TakeMarkers() []MarkerTask {
	tasks := m.tasks
	m.tasks = nil
	return tasks
}

// MarkerWritten reports that a partition has its marker or is gone, or that it failed and must be tried again.
func (m *Machine) MarkerWritten(now time.Time, number int64, tp machine.TopicPartition, ok bool) machine.Effects {
	m.now = now
	c := m.ends[number]
	if c == nil || !c.out[tp] {
		return m.take()
	}
	delete(c.out, tp)
	if !ok {
		c.failed = append(c.failed, tp)
	}
	switch {
	case len(c.out) > 0:
	case len(c.failed) > 0:
		m.later(c)
	default:
		m.complete(c)
	}
	return m.take()
}

// complete logs the end of a transaction whose partitions all have their markers.
func (m *Machine) complete(c *completion) {
	e := c.entry
	m.transit(e, e.completed(m.now.UnixMilli()), func(code kerr.Code) {
		if code != kerr.None {
			m.later(c)
			return
		}
		delete(m.ends, c.number)
	})
}

// later tries again after a pause: what failed of the partitions or, when they are done, the record of the end.
func (m *Machine) later(c *completion) {
	heap.Push(&m.retries, retry{at: m.now.Add(c.pause), c: c})
	c.pause = min(2*c.pause, maxPause)
}

func (m *Machine) retry() {
	for len(m.retries) > 0 && !m.retries[0].at.After(m.now) {
		c := heap.Pop(&m.retries).(retry).c
		failed := c.failed
		c.failed = nil
		if len(failed) == 0 {
			m.complete(c)
			continue
		}
		slices.SortFunc(failed, compare)
		m.hand(c, failed)
	}
}

// retry is a completion that goes on at a time.
type retry struct {
	at time.Time
	c  *completion
}

// retryHeap implements heap.Interface.
type retryHeap []retry

func (h retryHeap) Len() int { return len(h) }

func (h retryHeap) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].c.number, h[j].c.number)) < 0
}

func (h retryHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *retryHeap) Push(x any) { *h = append(*h, x.(retry)) }

func (h *retryHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = retry{}
	*h = (*h)[:last]
	return r
}
