package quota

import (
	"math"
	"sync/atomic"
)

// pace bounds a rate without a lock: it keeps the moment at which what was taken would be used up at the steady rate. What lies further
// ahead than the burst is overdrawn. The zero value bounds nothing.
type pace struct {
	perUnit float64 // ns that one unit takes; 0: unbounded
	burst   int64   // ns ahead of now that may be taken at once
	paid    atomic.Int64
}

// set lets through perSecond units, and burst of them at once.
func (p *pace) set(perSecond, burst float64) {
	if perSecond > 0 {
		p.perUnit = 1e9 / perSecond
		p.burst = int64(burst * p.perUnit)
	}
}

// farAhead bounds how far a pace can be overdrawn, in ns: nobody is told to wait longer than Kafka can say.
const farAhead = math.MaxInt32 * int64(1e6)

// take takes n units, whether they are there or not, and returns after how many ns nothing is overdrawn any more. now is in ns and does
// not go back.
func (p *pace) take(n float64, now int64) int64 {
	if p.perUnit == 0 {
		return 0
	}
	for {
		was := p.paid.Load()
		next := min(max(was, now)+int64(n*p.perUnit), now+farAhead)
		if p.paid.CompareAndSwap(was, next) {
			return max(next-now-p.burst, 0)
		}
	}
}

// over returns what take would for nothing.
func (p *pace) over(now int64) int64 {
	if p.perUnit == 0 {
		return 0
	}
	return max(p.paid.Load()-now-p.burst, 0)
}

// back undoes a take.
func (p *pace) back(n float64) { p.paid.Add(-int64(n * p.perUnit)) }
