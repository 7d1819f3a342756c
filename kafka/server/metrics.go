package server

import "sync/atomic"

// maxKeys is one more than the highest API key that is counted by itself.
const maxKeys = 128

// Metrics counts what a Server does. Read the fields at any time; they only ever grow, but for Open and InFlightBytes.
type Metrics struct {
	Open      atomic.Int64 // connections open now
	Accepted  atomic.Int64 // connections accepted, refused ones not counted
	Refused   atomic.Int64 // connections closed at once: too many, or the Handler said no
	Requests  [maxKeys]atomic.Int64
	BytesIn   atomic.Int64 // frames with their size prefix
	BytesOut  atomic.Int64
	Rejected  atomic.Int64 // connections closed for bad input
	Panics    atomic.Int64 // panics of the Handler
	Displaced atomic.Int64 // connections closed before login because newer ones came
	TLSFailed atomic.Int64 // TLS handshakes that failed
	IdleEnded atomic.Int64 // connections closed because nothing came, or no login in time
	SlowEnded atomic.Int64 // connections closed because a write blocked too long
	Cut       atomic.Int64 // connections closed because they are not allowed any more

	tls tlsCounts
}

func (m *Metrics) request(key int16) {
	if key >= 0 && key < maxKeys {
		m.Requests[key].Add(1)
	}
}
