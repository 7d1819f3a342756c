package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestMonotonic shows that a jump of the clock moves what it shows and nothing else, as with the clock of a machine.
func TestMonotonic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &skewed{offset: 3 * time.Minute}
		for _, jump := range []time.Duration{0, time.Hour, -3 * time.Hour, 1500 * time.Millisecond} {
			began, shown := c.Now(), c.Now().UnixMilli()
			c.jump(jump)
			time.Sleep(7 * time.Second)
			now := c.Now()
			if passed := now.Sub(began); passed != 7*time.Second {
				t.Errorf("after a jump by %v, %v have passed between two times", jump, passed)
			}
			if off := time.Duration(now.UnixMilli()-shown) * time.Millisecond; off != jump+7*time.Second {
				t.Errorf("after a jump by %v, the clock shows a time %v later", jump, off)
			}
			if !began.Before(now) || !now.Equal(began.Add(7*time.Second)) {
				t.Errorf("%v is not 7 s after %v", now, began)
			}
			if d := now.Round(0).Sub(began.Round(0)); d != jump+7*time.Second {
				t.Errorf("without the monotonic part, they differ by %v", d)
			}
		}
		if now := (&skewed{}).Now(); now.Format(time.RFC3339Nano) != time.Now().Format(time.RFC3339Nano) {
			t.Errorf("a clock that is right shows %v at %v", now, time.Now())
		}
	})
}
