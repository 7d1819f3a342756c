package api

import (
	"sync/atomic"
	"time"

	"millrace/express/quota"
	"millrace/kafka/kerr"
)

// codesMost is one more than the highest error code that is counted by itself; -1 is counted at 0.
const codesMost = 256

// Metrics counts what an API answers. Read the fields at any time; they only ever grow.
type Metrics struct {
	ProduceBytes   atomic.Int64 // of batches that were appended
	ProduceRecords atomic.Int64
	FetchBytes     atomic.Int64            // of batches that were sent
	Errors         [codesMost]atomic.Int64 // errors answered, by code + 1
	ProduceLatency Histogram               // from the request's last byte to its answer
	FetchLatency   Histogram               // likewise, without what was spent waiting for records
}

// Metrics returns the API's counters, which go on counting.
func (a *API) Metrics() *Metrics { return &a.metrics }

// Quotas returns the accounts of clients.
func (a *API) Quotas() *quota.Manager { return a.quotas }

func (m *Metrics) failed(code kerr.Code) {
	if at := int(code) + 1; code != kerr.None && at >= 0 && at < codesMost {
		m.Errors[at].Add(1)
	}
}

// Histogram counts durations. The zero value is empty; it is safe for concurrent use.
type Histogram struct {
	counts [histogramBuckets + 1]atomic.Int64
	sum    atomic.Int64 // ns
}

// histogramBuckets is how many bounds there are: 50 µs, and each twice the one before.
const (
	histogramBuckets = 16
	histogramLeast   = 50 * time.Microsecond
)

func (h *Histogram) observe(d time.Duration) {
	at := 0
	for bound := histogramLeast; at < histogramBuckets && d > bound; at++ {
		bound *= 2
	}
	h.counts[at].Add(1)
	h.sum.Add(int64(d))
}

// Read returns how many durations there were in all and how long they were together, and how many were at most as long as each bound, in
// seconds.
func (h *Histogram) Read() (count uint64, seconds float64, atMost map[float64]uint64) {
	atMost = make(map[float64]uint64, histogramBuckets)
	bound := histogramLeast
	for i := range histogramBuckets {
		count += uint64(h.counts[i].Load())
		atMost[bound.Seconds()] = count
		bound *= 2
	}
	count += uint64(h.counts[histogramBuckets].Load())
	return count, time.Duration(h.sum.Load()).Seconds(), atMost
}
