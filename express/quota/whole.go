package quota

import (
	"sync/atomic"
	"time"

	"millrace/base/clock"
)

// Flow is a rate of bytes: Sustained per second in the long run, Max per second at any time. Zero, both: unbounded.
type Flow struct{ Sustained, Max int64 }

// Limits are what all clients of a broker together may use. A zero field is no limit.
type Limits struct {
	In, Out Flow // of Produce requests, of records fetched

	Requests       int   // per second
	Connections    int   // open at once
	ConnectionRate int   // new ones per second
	MessageBytes   int64 // the largest record batch
	FetchBytes     int64 // records of one answer

	Replicas         int           // of partitions, for each broker of the cluster
	Partitions       int           // of the cluster
	TopicChanges     int           // topics created, deleted or enlarged per second
	PartitionChanges int           // partitions created and deleted per Period
	Period           time.Duration // of PartitionChanges
}

// Bursts: how long a broker that was idle goes at its maximum, and what else may come at once, in seconds of its rate.
const (
	burstSeconds  = 60
	atOnceSeconds = 1
	changeSeconds = 5
)

// Traffic is what clients have used since the start of the broker; it only ever grows, but for Connections, which are open.
type Traffic struct {
	In, Out, Requests, Throttled int64
	Connections                  int
}

// Whole holds all clients of a broker together to its limits. nil holds nobody to anything. Make one with NewWhole. Safe for concurrent
// use; it takes no locks.
type Whole struct {
	limits Limits
	clock  clock.Clock
	began  time.Time

	in, out, inMax, outMax            pace
	requests, connects                pace
	topics, partitions                pace
	open                              atomic.Int64
	sent, fetched, asked, toldTo, off atomic.Int64
}

// NewWhole returns what keeps l, nil where l bounds nothing.
func NewWhole(l Limits, clk clock.Clock) *Whole {
	if l == (Limits{}) {
		return nil
	}
	w := &Whole{limits: l, clock: clk, began: clk.Now()}
	for _, f := range []struct {
		Flow
		long, peak *pace
	}{{l.In, &w.in, &w.inMax}, {l.Out, &w.out, &w.outMax}} {
		f.long.set(float64(f.Sustained), float64((f.Max-f.Sustained)*burstSeconds+f.Sustained*atOnceSeconds))
		f.peak.set(float64(f.Max), float64(f.Max*atOnceSeconds))
	}
	w.requests.set(float64(l.Requests), float64(l.Requests*atOnceSeconds))
	w.connects.set(float64(l.ConnectionRate), float64(l.ConnectionRate*atOnceSeconds))
	w.topics.set(float64(l.TopicChanges), float64(l.TopicChanges*changeSeconds))
	if l.Period > 0 {
		w.partitions.set(float64(l.PartitionChanges)/l.Period.Seconds(), float64(l.PartitionChanges))
	}
	return w
}

// Limits returns what is kept, the zero value of nil.
func (w *Whole) Limits() Limits {
	if w == nil {
		return Limits{}
	}
	return w.limits
}

// Traffic returns what was used so far.
func (w *Whole) Traffic() Traffic {
	if w == nil {
		return Traffic{}
	}
	return Traffic{In: w.sent.Load(), Out: w.fetched.Load(), Requests: w.asked.Load(), Throttled: w.toldTo.Load(), Connections: int(w.open.Load())}
}

func (w *Whole) now() int64 { return int64(w.clock.Now().Sub(w.began)) }

// told counts a wait that a client is told of, in whole milliseconds, rounded up: who waits less is too early.
func (w *Whole) told(ns int64) time.Duration {
	if ns <= 0 {
		return 0
	}
	w.toldTo.Add(1)
	return time.Duration((ns+int64(time.Millisecond)-1)/int64(time.Millisecond)) * time.Millisecond
}

// Sent notes a Produce request of so many bytes and returns for how long its client is to be left alone.
func (w *Whole) Sent(bytes int) time.Duration {
	if w == nil {
		return 0
	}
	w.sent.Add(int64(bytes))
	now, n := w.now(), float64(bytes)
	return w.told(max(w.in.take(n, now), w.inMax.take(n, now)))
}

// Fetched notes an answer with so many bytes that is given in any case, and returns for how long its client is to be left alone.
func (w *Whole) Fetched(bytes int) time.Duration {
	if w == nil {
		return 0
	}
	w.fetched.Add(int64(bytes))
	now, n := w.now(), float64(bytes)
	return w.told(max(w.out.take(n, now), w.outMax.take(n, now)))
}

// Offer is Fetched for an answer that is withheld while the limit is exceeded: it then notes nothing.
func (w *Whole) Offer(bytes int) (wait time.Duration, withheld bool) {
	if w == nil {
		return 0, false
	}
	now := w.now()
	if over := max(w.out.over(now), w.outMax.over(now)); over > 0 {
		return w.told(over), true
	}
	return w.Fetched(bytes), false
}

// Withdraw takes back what Offer noted.
func (w *Whole) Withdraw(bytes int) {
	if w == nil {
		return
	}
	w.fetched.Add(-int64(bytes))
	w.out.back(float64(bytes))
	w.outMax.back(float64(bytes))
}

// Most returns the most bytes that one answer shall have.
func (w *Whole) Most() int {
	most := int64(1) << 31
	if w == nil {
		return int(most)
	}
	if w.limits.FetchBytes > 0 {
		most = min(most, w.limits.FetchBytes)
	}
	if w.limits.Out.Max > 0 {
		most = min(most, w.limits.Out.Max*atOnceSeconds)
	}
	return int(most)
}

// Asked notes a request and returns for how long its client is to be left alone.
func (w *Whole) Asked() time.Duration {
	if w == nil {
		return 0
	}
	w.asked.Add(1)
	return w.told(w.requests.take(1, w.now()))
}

// Open notes a connection, unless there are too many: ok is false then. It may be used after wait. Each that was noted is to be Closed.
func (w *Whole) Open() (wait time.Duration, ok bool) {
	if w == nil {
		return 0, true
	}
	if n := w.open.Add(1); w.limits.Connections > 0 && n > int64(w.limits.Connections) {
		w.open.Add(-1)
		w.off.Add(1)
		return 0, false
	}
	return w.told(w.connects.take(1, w.now())), true
}

// Closed takes a connection back that Open noted.
func (w *Whole) Closed() {
	if w != nil {
		w.open.Add(-1)
	}
}

// Refused returns how many connections were too many.
func (w *Whole) Refused() int64 {
	if w == nil {
		return 0
	}
	return w.off.Load()
}

// Changeable says whether changes of topics are bounded.
func (w *Whole) Changeable() bool {
	return w != nil && (w.topics.perUnit > 0 || w.partitions.perUnit > 0)
}

// Change notes that a topic is changed by so many partitions. ok is false for a strict caller when the limit is exceeded already:
// nothing is noted then, and the change must not be made. wait is for how long it is exceeded.
func (w *Whole) Change(partitions int, strict bool) (wait time.Duration, ok bool) {
	if w == nil {
		return 0, true
	}
	now := w.now()
	if over := max(w.topics.over(now), w.partitions.over(now)); over > 0 && strict {
		return w.told(over), false
	}
	over := max(w.topics.take(1, now), w.partitions.take(float64(partitions), now))
	if strict {
		return 0, true
	}
	return w.told(over), true
}

// Unchange takes back what Change noted.
func (w *Whole) Unchange(partitions int) {
	if w != nil {
		w.topics.back(1)
		w.partitions.back(float64(partitions))
	}
}
