package api

import (
	"sync/atomic"

	"millrace/express/api/histogram"
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
	ProduceLatency histogram.Histogram     // from the request's last byte to its answer
	FetchLatency   histogram.Histogram     // likewise, without what was spent waiting for records
}

// Metrics returns the API's counters, which go on counting.
func (a *API) Metrics() *Metrics { return &a.metrics }

// Quotas returns the accounts of clients.
func (a *API) Quotas() *quota.Manager { return a.quotas }

// Whole returns what all clients together are held to, and have used; nil: they are held to nothing.
func (a *API) Whole() *quota.Whole { return a.whole }

func (m *Metrics) failed(code kerr.Code) {
	if at := int(code) + 1; code != kerr.None && at >= 0 && at < codesMost {
		m.Errors[at].Add(1)
	}
}
