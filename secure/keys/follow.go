package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/kv"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// load learns all keys that etcd has, after making the first when there is none.
func (r *Ring) load(ctx context.Context) error {
	for {
		items, _, err := r.store.List(ctx, prefix+r.purpose+"/")
		if err != nil {
			return err
		}
		keys := make([]*dataKey, 0, len(items))
		for _, item := range items {
			k, err := r.unwrapWaiting(ctx, item)
			if err != nil {
				return err
			}
			if k != nil {
				keys = append(keys, k)
			}
		}
		if err := checkGaps(keys); err != nil {
			return err
		}
		if len(keys) > 0 {
			for _, k := range keys {
				r.settleByWallClock(k)
			}
			r.add(keys...)
			return nil
		}
		err = r.waiting(ctx, func() error { return r.create(ctx, 1) })
		if err != nil && !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown) {
			return err
		}
	}
}

// settleByWallClock is for keys that were there before this process was.
func (r *Ring) settleByWallClock(k *dataKey) {
	if now := r.world.Clock.Now(); k.id > 1 && now.Sub(k.created) < r.world.Settle {
		k.usable = now.Add(r.world.Settle)
	}
}

// checkGaps finds that a data key was lost: what it encrypts could not be read, and its id would be given again (Y2).
func checkGaps(keys []*dataKey) error {
	for i, k := range keys {
		if k.id != uint32(i+1) {
			return fmt.Errorf("%w: %d, while there is %d", errGap, i+1, k.id)
		}
	}
	return nil
}

// follow learns what comes to be. It never gives up: a KMS that is away delays only the new key.
func (r *Ring) follow(ctx context.Context) {
	learn := func(item kv.Item) error {
		_, id, ok := parseRecordKey(item.Key)
		if !ok || r.now.Load().keys[id] != nil {
			return nil // rewrapped: the key is the same
		}
		k, err := r.unwrapWaiting(ctx, item)
		if err != nil {
			r.world.Log.Error("new data key not learned", "purpose", r.purpose, "key", id, "err", err)
			return ctx.Err()
		}
		if k != nil {
			k.usable = r.world.Clock.Now().Add(r.world.Settle)
			r.add(k)
			r.world.Log.Info("data key learned", "purpose", r.purpose, "key", id)
		}
		return nil
	}
	reset := func(items []kv.Item, _ int64) error {
		for _, item := range items {
			if err := learn(item); err != nil {
				return err
			}
		}
		return nil
	}
	change := func(e kv.Event) error {
		if e.Type == kv.EventPut {
			return learn(e.Item)
		}
		r.world.Log.Error("a data key was removed from etcd; what it encrypts is lost with the processes that know it", "record", e.Item.Key)
		return nil
	}
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		if err := kv.Follow(ctx, r.store, prefix+r.purpose+"/", reset, change); errors.Is(err, kv.ErrClosed) {
			return
		}
		pause(ctx, wait)
	}
}

// unwrapWaiting makes a key of an item; nil when the item is none.
func (r *Ring) unwrapWaiting(ctx context.Context, item kv.Item) (k *dataKey, err error) {
	purpose, id, ok := parseRecordKey(item.Key)
	if !ok || purpose != r.purpose {
		return nil, nil
	}
	rec, err := decodeRecord(item.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", item.Key, err)
	}
	err = r.waiting(ctx, func() error {
		k, err = r.unwrap(ctx, id, &rec)
		return err
	})
	return k, err
}

// unwrap asks the KMS for a key in the clear.
func (r *Ring) unwrap(ctx context.Context, id uint32, rec *record) (*dataKey, error) {
	root, err := r.kms.Unwrap(ctx, rec.Wrapped, wrapContext(r.purpose, id))
	switch {
	case errors.Is(err, ErrWrongKMS):
		return nil, fmt.Errorf("data key %d of %s was wrapped by %s and is not opened by %s: %w", id, r.purpose, rec.KMS, r.kms.Name(), err)
	case err != nil:
		return nil, fmt.Errorf("data key %d of %s: %w", id, r.purpose, err)
	case len(root) != keyBytes:
		return nil, fmt.Errorf("%w: data key %d of %s has %d bytes", ErrWrongKMS, id, r.purpose, len(root))
	}
	k := &dataKey{id: id, root: root, created: time.UnixMilli(rec.CreatedMs), kms: rec.KMS}
	sub, err := deriveSeal(root)
	if err != nil {
		return nil, err
	}
	k.seal = sub
	return k, nil
}

// waiting repeats what fails with ErrUnavailable until it does not, or ctx ends; then it returns that error.
func (r *Ring) waiting(ctx context.Context, ask func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := ask()
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		if wait == firstRetry || wait == lastRetry {
			r.world.Log.Warn("KMS is away, waiting for it", "purpose", r.purpose, "kms", r.kms.Name(), "err", err)
		}
		if !pause(ctx, wait) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
