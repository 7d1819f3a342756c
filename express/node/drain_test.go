package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"millrace/base/clock"
)

// TestAStopWaitsForClientsToTurnAway: what is on its way to a broker that has handed over is answered (N6).
func TestAStopWaitsForClientsToTurnAway(t *testing.T) {
	for name, c := range map[string]struct {
		until, ends time.Duration // clients ask until; the wait ends
		most        time.Duration // the wait is cut short
	}{
		"nobody asks":            {0, partingStill, time.Hour},
		"clients turn away":      {partingMost / 4, partingMost/4 + partingStill, time.Hour},
		"one does not":           {time.Hour, partingMost, time.Hour},
		"the stop is in a haste": {time.Hour, partingStill, partingStill},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), c.most)
			defer cancel()
			becomesStill(ctx, clock.System{}, func() int64 { return int64(min(time.Since(began), c.until) / time.Millisecond) })
			if took := time.Since(began); took != c.ends {
				t.Errorf("%s: it waited for %v, want %v", name, took, c.ends)
			}
		})
	}
}
