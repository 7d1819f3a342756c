package sharing

import (
	"sync/atomic"

	"millrace/express/share"
)

// Metrics counts what share groups did on this broker. Read the fields at any time; they only ever grow.
type Metrics struct {
	Delivered    atomic.Int64                  // records given to members, each delivery once
	TimedOut     atomic.Int64                  // records taken back because their lock ran out
	Acknowledged [share.Renew + 1]atomic.Int64 // records whose acknowledgement is durable, by its kind
}

// Metrics returns the Manager's counters, which go on counting.
func (m *Manager) Metrics() *Metrics { return &m.metrics }

// acknowledged counts acknowledgements that were answered without an error.
func (m *Metrics) acknowledged(acks []share.Ack) {
	for _, a := range acks {
		if len(a.Types) == 1 {
			m.Acknowledged[a.Types[0]].Add(a.Last - a.First + 1)
			continue
		}
		for _, kind := range a.Types {
			m.Acknowledged[kind].Add(1)
		}
	}
}

// Load is what share groups keep on this broker at a moment.
type Load struct {
	Sessions   int   // members with a share session
	Partitions int   // share-partitions that are loaded or are being loaded
	InFlight   int64 // records that were acquired and lie at or above the start offset, all share-partitions together
}

// Load says what share groups keep now.
func (m *Manager) Load() Load {
	m.mu.Lock()
	l := Load{Sessions: len(m.sessions.all), Partitions: len(m.parts)}
	parts := m.allLocked()
	m.mu.Unlock()
	for _, sp := range parts {
		l.InFlight += sp.inFlight()
	}
	return l
}

func (sp *sharePartition) inFlight() int64 {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if p := sp.activeLocked(); p != nil {
		return p.InFlight()
	}
	return 0
}
