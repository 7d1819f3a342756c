package quota

import "math"

// The windows that a rate is measured over, as Kafka's quota.window.num and quota.window.size.seconds have them.
const (
	windows  = 11
	windowMs = 1000
	expireMs = windows * windowMs
)

// sample is what was recorded in one window.
type sample struct {
	start, last int64 // ms: when it began, when something was recorded last
	sum         float64
}

// rate is what was recorded lately. The zero value has recorded nothing. A window begins with a recording, not on the second; one more
// than the windows is kept, for those that reach into the time that counts from before it.
type rate struct {
	samples [windows + 1]sample
	used    int // samples in use
	current int
}

// record adds to the running window. now is in ms and does not go back.
func (r *rate) record(value float64, now int64) {
	switch {
	case r.used == 0:
		r.used, r.current = 1, 0
		r.samples[0] = sample{start: now}
	case now-r.samples[r.current].start >= windowMs:
		r.current = (r.current + 1) % len(r.samples)
		r.used = max(r.used, r.current+1)
		r.samples[r.current] = sample{start: now}
	}
	s := &r.samples[r.current]
	s.sum += value
	s.last = now
}

// measure returns what was recorded per second, and the time over which, in ms.
func (r *rate) measure(now int64) (perSecond float64, overMs int64) {
	sum, oldest := 0.0, now
	for i := range r.used {
		s := &r.samples[i]
		if now-s.last >= expireMs {
			*s = sample{start: now, last: now}
		}
		sum += s.sum
		oldest = min(oldest, s.start)
	}
	overMs = now - oldest
	// Windows that there are none of count as empty ones, so that a first burst does not look like a high rate.
	if whole := overMs / windowMs; whole < windows-1 {
		overMs += (windows - 1 - whole) * windowMs
	}
	return sum * 1000 / float64(overMs), overMs
}

// excess returns for how many ms nothing may be recorded for the rate to come down to limit, 0 if it is not above.
func (r *rate) excess(limit float64, now int64) int64 {
	perSecond, overMs := r.measure(now)
	if perSecond <= limit {
		return 0
	}
	return rounded((perSecond - limit) / limit * float64(overMs))
}

// empty reports that nothing recorded still counts.
func (r *rate) empty(now int64) bool {
	for i := range r.used {
		if now-r.samples[i].last < expireMs {
			return false
		}
	}
	return true
}

// rounded gives whole milliseconds that a response can carry; a limit of 0 makes the wait infinite.
func rounded(ms float64) int64 {
	return int64(min(max(math.Round(ms), 0), math.MaxInt32))
}
