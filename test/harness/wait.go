package harness

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is the time between two looks at a condition.
const pollEvery = 20 * time.Millisecond

// Poll calls check until it returns nil. When ctx ends first, it returns the last error that check had while there was time:
// what a check says because its time is over tells nobody why it failed.
func Poll(ctx context.Context, check func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var reason error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if reason == nil || ctx.Err() == nil {
			reason = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", reason, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Eventually fails the test unless check returns nil within limit.
func Eventually(t testing.TB, limit time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := Poll(ctx, check); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}
