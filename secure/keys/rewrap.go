package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/kv"
)

// rewrapAtOnce is how many records change in one transaction, within kv.MaxOps.
const rewrapAtOnce = 100

// Rewrap wraps the data keys of all purposes by another KMS, or anew by the same; processes that run go on, those that start need
// the new one, and until they have been started anew Rotate refuses (Y8). It returns how many records it changed. It unwraps by the old KMS, and where that refuses by the new one, so that it can be
// repeated when it broke off; what only the new one opens was done before and is left alone. Nothing is written before all was unwrapped.
// Errors: ErrWrongKMS, ErrUnavailable, kv.ErrConflict (somebody rotated meanwhile; repeat it), those of etcd, ctx's.
func Rewrap(ctx context.Context, store kv.KV, from, to KMS) (int, error) {
	items, _, err := store.List(ctx, prefix)
	if err != nil {
		return 0, fmt.Errorf("rewrap: %w", err)
	}
	changed := make([]kv.Item, 0, len(items))
	for _, item := range items {
		value, err := rewrap(ctx, item, from, to)
		if err != nil {
			return 0, fmt.Errorf("rewrap %s: %w", item.Key, err)
		}
		if value != nil {
			item.Value = value
			changed = append(changed, item)
		}
	}
	for done := 0; done < len(changed); {
		part := changed[done:min(done+rewrapAtOnce, len(changed))]
		conds, ops := make([]kv.Cond, len(part)), make([]kv.Op, len(part))
		for i, item := range part {
			conds[i], ops[i] = kv.ModRevEquals(item.Key, item.ModRev), kv.Put(item.Key, item.Value)
		}
		if from.Name() != to.Name() {
			ops = append(ops, kv.Put(movedKey, encodeJSON(moved{Format: holderFormat, To: to.Name()})))
		}
		if _, err := store.Txn(ctx, conds, ops); err != nil {
			return done, fmt.Errorf("rewrap: %w", err)
		}
		done += len(part)
	}
	return len(changed), nil
}

// rewrap returns the new value of a record; nil when it is to stay.
func rewrap(ctx context.Context, item kv.Item, from, to KMS) ([]byte, error) {
	purpose, id, ok := parseRecordKey(item.Key)
	if !ok {
		return nil, errors.New("not the name of a data key")
	}
	rec, err := decodeRecord(item.Value)
	if err != nil {
		return nil, err
	}
	bound := wrapContext(purpose, id)
	root, err := from.Unwrap(ctx, rec.Wrapped, bound)
	if errors.Is(err, ErrWrongKMS) {
		if _, terr := to.Unwrap(ctx, rec.Wrapped, bound); terr == nil {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("wrapped by %s: %w", rec.KMS, err)
	}
	if rec.Wrapped, err = to.Wrap(ctx, root, bound); err != nil {
		return nil, err
	}
	rec.KMS = to.Name()
	return rec.encode(), nil
}

// List describes the data keys of all purposes, by purpose and id, without asking a KMS.
func List(ctx context.Context, store kv.KV) ([]Info, error) {
	items, _, err := store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(items))
	for _, item := range items {
		purpose, id, ok := parseRecordKey(item.Key)
		if !ok {
			continue
		}
		rec, err := decodeRecord(item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		infos = append(infos, Info{Purpose: purpose, ID: id, Created: time.UnixMilli(rec.CreatedMs), KMS: rec.KMS})
	}
	return infos, nil
}
