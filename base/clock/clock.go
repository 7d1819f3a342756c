// Package clock is the only door to the wall clock.
//
// Rooms take a Clock and ask it for the time; they use timers straight from package time, because
// testing/synctest fakes both at once. A Manual clock is for pure code whose only input of time is Now.
//
// C1: System times carry a monotonic reading, so differences between them are immune to steps of the
// wall clock. Do not strip it (Round, UTC, encoding) from a time that is used as a deadline.
//
// Every Clock here is safe for concurrent use.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the current time. Later calls never return an earlier time.
	Now() time.Time
}

// System is the clock of the machine, with a monotonic reading. The zero value is ready to use.
type System struct{}

// Now returns time.Now.
func (System) Now() time.Time { return time.Now() }

// Manual is a clock that moves only when it is told to. The zero value stands at the zero time;
// it must not be copied after first use.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a Manual that stands at start.
func NewManual(start time.Time) *Manual { return &Manual{now: start} }

// Now returns the time that the clock stands at.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock forward by d and returns the new time. It panics when d is negative: no
// Clock goes back.
func (m *Manual) Advance(d time.Duration) time.Time {
	if d < 0 {
		panic("clock: negative advance")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	return m.now
}
