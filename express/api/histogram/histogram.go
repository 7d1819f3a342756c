// Package histogram counts durations by size.
//
// Flow: Observe at each request -> Read where metrics are shown. Files: histogram.go.
package histogram

import (
	"sync/atomic"
	"time"
)

// Histogram counts durations. The zero value is empty; it is safe for concurrent use.
type Histogram struct {
	counts [buckets + 1]atomic.Int64
	sum    atomic.Int64 // ns
}

// buckets is how many bounds there are: 50 µs, and each twice the one before.
const (
	buckets = 16
	least   = 50 * time.Microsecond
)

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	at := 0
	for bound := least; at < buckets && d > bound; at++ {
		bound *= 2
	}
	h.counts[at].Add(1)
	h.sum.Add(int64(d))
}

// Read returns how many durations there were in all and how long they were together, and how many were at most as long as each bound, in
// seconds.
func (h *Histogram) Read() (count uint64, seconds float64, atMost map[float64]uint64) {
	atMost = make(map[float64]uint64, buckets)
	bound := least
	for i := range buckets {
		count += uint64(h.counts[i].Load())
		atMost[bound.Seconds()] = count
		bound *= 2
	}
	count += uint64(h.counts[buckets].Load())
	return count, time.Duration(h.sum.Load()).Seconds(), atMost
}
