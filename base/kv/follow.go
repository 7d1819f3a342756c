package kv

import (
	"context"
	"fmt"
)

// Follow keeps a reader's view of a prefix current. It calls reset with all items, then change for every
// event after them in order, and reset again whenever the watch has to start over; all from the calling
// goroutine. It returns when ctx ends, when reading fails, or with the error of a callback.
func Follow(ctx context.Context, store KV, prefix string, reset func([]Item, int64) error, change func(Event) error) error {
	for {
		items, rev, err := store.List(ctx, prefix)
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, err)
		}
		if err := reset(items, rev); err != nil {
			return err
		}
		if err := followFrom(ctx, store, prefix, rev+1, change); err != nil {
			return err
		}
	}
}

// followFrom returns nil when the watch asks for a new list.
func followFrom(ctx context.Context, store KV, prefix string, rev int64, change func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	events := store.Watch(ctx, prefix, rev)
	defer func() {
		cancel()
		for range events { // let the watch's goroutine end before the next begins
		}
	}()
	for e := range events {
		if e.Type == EventResync {
			return nil
		}
		if err := change(e); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("watch %q: %w", prefix, err)
	}
	return fmt.Errorf("watch %q: %w", prefix, ErrClosed)
}
