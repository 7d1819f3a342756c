package sim

import (
	"sync"
	"time"
	"unsafe"
)

// skewed is the clock of one process. It shows another time than its neighbours', may jump, and stands while the process is stopped.
// Its times have a monotonic part, as those of package time have outside of a bubble: a jump moves what they show, and no difference
// between two of them. It implements clock.Clock.
type skewed struct {
	offset time.Duration

	mu      sync.Mutex
	jumped  time.Duration // by how much what it shows is off, beside offset
	stopped time.Time     // zero: it runs
}

func (c *skewed) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped
	}
	now := time.Now().Add(c.offset)
	return monotonic(now.Add(c.jumped), now)
}

// jump moves what the clock shows.
func (c *skewed) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jumped += by
}

func (c *skewed) stop() {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = now
}

func (c *skewed) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = time.Time{}
}

// since1885 is the seconds from 1885, where those of a time.Time with a monotonic part begin, to 1970.
const since1885 = 2682288000

// monotonic is a time that shows wall and of which the monotonic part is that of steady. Package time makes such times of the
// machine's clocks only, and in a bubble of testing/synctest none at all, so it is put together here as package time does it: one bit
// for the monotonic part, 33 of seconds since 1885, 30 of nanoseconds; the monotonic part in nanoseconds; the location. TestMonotonic
// looks whether that is still so.
func monotonic(wall, steady time.Time) (t time.Time) {
	parts := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	// Sub of times that are so far apart would be the longest Duration.
	seconds := wall.Unix() + since1885
	parts.wall = 1<<63 | uint64(seconds)<<30 | uint64(wall.Nanosecond())
	parts.ext = steady.UnixNano()
	parts.loc = time.Local
	return t
}
