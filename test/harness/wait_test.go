package harness

import (
	"context"
	"errors"
	"testing"
)

// TestPollKeepsTheReason shows that what a check says because its time is over does not take the place of why it failed.
func TestPollKeepsTheReason(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reason, looks := errors.New("not yet"), 0
	err := Poll(ctx, func(ctx context.Context) error {
		if looks++; looks == 1 {
			return reason
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, reason) || !errors.Is(err, context.Canceled) {
		t.Errorf("after %d looks: %v, want %v", looks, err, reason)
	}
	if err := Poll(ctx, func(ctx context.Context) error { return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a check that had no time: %v, want %v", err, context.Canceled)
	}
}
