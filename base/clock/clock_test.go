package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
)

func TestManual(t *testing.T) {
	start := time.Unix(1000, 0)
	m := clock.NewManual(start)
	if got := m.Advance(3 * time.Second); !got.Equal(start.Add(3*time.Second)) || !m.Now().Equal(got) {
		t.Errorf("after the advance: %v, %v", got, m.Now())
	}
	defer func() {
		if recover() == nil {
			t.Error("a manual clock went back")
		}
	}()
	m.Advance(-1)
}

// TestSystemFollowsTimers is why rooms may use clock.System with timers of package time under synctest.
func TestSystemFollowsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.Clock = clock.System{}
		start := c.Now()
		<-time.After(time.Hour)
		if d := c.Now().Sub(start); d != time.Hour {
			t.Errorf("an hour lasts %v", d)
		}
	})
}
