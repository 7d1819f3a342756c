package configuration

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"millrace/base/kv"
)

// Delete deletes a configuration that no cluster uses, and returns it as DELETING: it is gone. Errors: ErrNotFound, ErrInUse.
func (s *Store) Delete(ctx context.Context, id string) (Configuration, error) {
	if err := s.unused(ctx, id); err != nil { // so that one in use is not seen as DELETING, however short
		return Configuration{}, err
	}
	c, err := s.mark(ctx, id, Deleting)
	if err != nil {
		return c, err
	}
	return c, s.finish(ctx, c)
}

// Resume finishes every delete that was broken off. It is for the start of the plane.
func (s *Store) Resume(ctx context.Context) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		if c.State == Deleting {
			if err := s.finish(ctx, c); !errors.Is(err, ErrInUse) && !errors.Is(err, ErrNotFound) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// finish asks once more, now that nobody can begin to use the configuration (F3), and deletes it.
func (s *Store) finish(ctx context.Context, c Configuration) error {
	if err := s.unused(ctx, c.ID); err != nil {
		if errors.Is(err, ErrInUse) {
			if _, back := s.mark(ctx, c.ID, Active); back != nil {
				return errors.Join(err, back)
			}
		}
		return err
	}
	return s.retry(ctx, "delete configuration "+c.Name, func() error {
		now, rev, err := s.find(ctx, c.ID)
		if err != nil {
			return err
		}
		if now.State != Deleting {
			return ErrInUse // somebody else, who was deleting it too, has found a user
		}
		key := configurationKey(c.Name)
		_, err = s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Delete(key), kv.DeletePrefix(revisionsOf(c.Name))})
		return err
	})
}

// mark moves a configuration to a state.
func (s *Store) mark(ctx context.Context, id string, to State) (Configuration, error) {
	var c Configuration
	return c, s.retry(ctx, "delete configuration "+clip(id), func() error {
		var rev int64
		var err error
		if c, rev, err = s.find(ctx, id); err != nil || c.State == to {
			return err
		}
		c.State = to
		key := configurationKey(c.Name)
		_, err = s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{put(key, c)})
		return err
	})
}

// unused returns ErrInUse where clusters use the configuration.
func (s *Store) unused(ctx context.Context, id string) error {
	users, err := s.world.Users.UsersOf(ctx, id)
	if err != nil {
		return fmt.Errorf("who uses configuration %s: %w", clip(id), err)
	}
	if len(users) > 0 {
		return fmt.Errorf("%w: %s", ErrInUse, strings.Join(users, ", "))
	}
	return nil
}
