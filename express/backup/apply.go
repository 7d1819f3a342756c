package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"millrace/base/kv"
)

const (
	batchOps   = 100
	batchBytes = kv.MaxBytes / 2
)

// Apply writes what a plan says, once Check has nothing against it. Progress, where it is not nil, is told how many of the
// keys are written. After an error it can be repeated, with a plan made anew.
func Apply(ctx context.Context, store kv.KV, p *Plan, o Options, progress func(done, of int)) error {
	if err := p.Check(o); err != nil {
		return err
	}
	if err := empty(ctx, store, p.Sum); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	var ops, last []kv.Op
	size, done := 0, 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		if err := put(ctx, store, ops); err != nil {
			return err
		}
		done += len(ops)
		ops, size = ops[:0], 0
		if progress != nil {
			progress(done, len(p.Items))
		}
		return nil
	}
	for _, item := range p.Items {
		op := kv.Put(item.Key, item.Value)
		if strings.HasPrefix(item.Key, "clusters/") && strings.HasSuffix(item.Key, "/catalog/cluster") {
			last = append(last, op) // B5
			continue
		}
		if n := len(item.Key) + len(item.Value); len(ops) == batchOps || size+n > batchBytes {
			if err := flush(); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
		}
		ops = append(ops, op)
		size += len(item.Key) + len(item.Value)
	}
	if err := flush(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := put(ctx, store, append(last, kv.Delete(marker))); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// put writes what may be written twice.
func put(ctx context.Context, store kv.KV, ops []kv.Op) error {
	for {
		_, err := store.Txn(ctx, nil, ops)
		if !errors.Is(err, kv.ErrUnknown) || ctx.Err() != nil {
			return err
		}
	}
}

// empty says that a restore is under way, then removes everything else.
func empty(ctx context.Context, store kv.KV, sum string) error {
	if err := put(ctx, store, []kv.Op{kv.Put(marker, []byte(sum))}); err != nil {
		return err
	}
	items, _, err := store.List(ctx, "")
	if err != nil {
		return err
	}
	roots := map[string]bool{}
	var ops []kv.Op
	for _, item := range items {
		root, _, deep := strings.Cut(item.Key, "/")
		switch {
		case item.Key == marker || roots[root]:
		case deep:
			roots[root] = true
			ops = append(ops, kv.DeletePrefix(root+"/"))
		default:
			ops = append(ops, kv.Delete(item.Key))
		}
	}
	for len(ops) > 0 {
		n := min(len(ops), batchOps)
		if err := put(ctx, store, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}
