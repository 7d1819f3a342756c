package server

import (
	"sync"
	"time"
)

// gateInterval is the least time between two lines about bad input.
const gateInterval = time.Second

// gate lets one log line through per interval and counts those it holds back.
type gate struct {
	mu   sync.Mutex
	next time.Time
	held int
}

// pass reports whether a line may be logged at now, and how many were held back since the last.
func (g *gate) pass(now time.Time) (held int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.next) {
		g.held++
		return 0, false
	}
	g.next = now.Add(gateInterval)
	held, g.held = g.held, 0
	return held, true
}
