package secret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/kv"
)

// Delete marks a secret for deletion in so many days, 7 to 30; 0: it is gone at once, also where it was marked before. Errors: ErrNotFound,
// ErrInvalid, ErrDeleted.
func (s *Store) Delete(ctx context.Context, r Ref, days int) (Secret, error) {
	if days != 0 && (days < minWindow || days > maxWindow) {
		return Secret{}, fmt.Errorf("%w: The RecoveryWindowInDays value must be between %d and %d days (inclusive)", ErrInvalid, minWindow, maxWindow)
	}
	now := s.world.Clock.Now().UTC()
	if days != 0 {
		return s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
			const day = 24 * time.Hour
			x.Deleted = now.Add(time.Duration(days) * day)
			return some(), nil
		})
	}
	var x Secret
	return x, s.retry(func() error {
		var rev int64
		var err error
		if x, rev, err = s.find(ctx, r); err != nil {
			return err
		}
		x.Deleted = now
		return s.purge(ctx, x, rev)
	})
}

// purge takes a secret away with its values.
func (s *Store) purge(ctx context.Context, x Secret, rev int64) error {
	key := secretKey(x.Name)
	ops, cond, err := s.count(ctx, -1, []kv.Op{kv.Delete(key), kv.DeletePrefix(x.Ref().valuesOf())}, []kv.Cond{kv.ModRevEquals(key, rev)})
	if err != nil {
		return err
	}
	_, err = s.world.KV.Txn(ctx, cond, ops)
	return err
}

// Restore has a secret stay that was marked for deletion; one that was not stays as it is. Errors: ErrNotFound.
func (s *Store) Restore(ctx context.Context, r Ref) (Secret, error) {
	var x Secret
	return x, s.retry(func() error {
		var rev int64
		var err error
		if x, rev, err = s.find(ctx, r); err != nil || x.Deleted.IsZero() {
			return err
		}
		x.Deleted = time.Time{}
		key := secretKey(x.Name)
		_, err = s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{put(key, x)})
		return err
	})
}

// Sweep takes away what remains of secrets whose window is over. It is for now and then; nobody sees them any more before it.
func (s *Store) Sweep(ctx context.Context) error {
	items, _, err := s.world.KV.List(ctx, dirSecrets)
	if err != nil {
		return fmt.Errorf("sweep secrets: %w", err)
	}
	var errs []error
	for _, item := range items {
		if x, err := decode[Secret](item.Value); err == nil && s.over(x) {
			if err := s.purge(ctx, x, item.ModRev); !errors.Is(err, kv.ErrConflict) { // else the next Sweep does it
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
