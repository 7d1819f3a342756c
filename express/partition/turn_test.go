package partition

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnWaitsAsSynctestSees: time goes on while somebody waits for a turn.
func TestTurnWaitsAsSynctestSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurn()
		turns.Lock()
		began, got := time.Now(), make(chan time.Duration)
		go func() {
			turns.Lock()
			got <- time.Since(began)
		}()
		time.AfterFunc(time.Hour, turns.Unlock)
		if waited := <-got; waited != time.Hour {
			t.Errorf("the turn came after %v", waited)
		}
	})
}
