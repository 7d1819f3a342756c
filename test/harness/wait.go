package harness

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is the time between two looks at a condition.
const pollEvery = 20 * time.Millisecond

// Poll calls check until it returns nil, and returns check's last error when ctx ends first.
func Poll(ctx context.Context, check func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
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
