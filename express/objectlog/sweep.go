package objectlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/base/kv"
)

const (
	// abandonAfter is how old an open log must be before Sweep believes that nobody will use it: its writer makes it first and says
	// only then that it uses it.
	abandonAfter = time.Hour
	// keepSeals is how long the seal of a swept log stays (L9).
	keepSeals = 7 * 24 * time.Hour
)

// Sweep deletes the objects of logs that nobody needs, and returns how many. A log that used says no to is sealed first, unless it is
// young; then its groups go at once, and its seal and record stay for a week, so that a broker that was away all the time still
// finds its log sealed. Used must say yes to the logs of all live brokers, and to all that a partition's record names; it is asked
// after the log was seen. The error joins what went wrong and does not mean that nothing was deleted.
func (s *Store) Sweep(ctx context.Context, now time.Time, used func(ID) bool) (int, error) {
	ids, err := s.Logs(ctx)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	var (
		deleted int
		faults  []error
	)
	for _, id := range ids {
		if used(id) {
			continue
		}
		n, err := s.sweep(ctx, id, now, used)
		deleted += n
		if err != nil && !errors.Is(err, ErrNoLog) {
			faults = append(faults, fmt.Errorf("sweep log %s: %w", id, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return deleted, errors.Join(faults...)
}

// sweep takes one unused log a step further.
func (s *Store) sweep(ctx context.Context, id ID, now time.Time, used func(ID) bool) (deleted int, err error) {
	r, _, err := s.load(ctx, id)
	if err != nil {
		return 0, err
	}
	if r.End == 0 {
		if r.Sealer == "" && now.Sub(time.UnixMilli(r.CreatedMs)) < abandonAfter {
			return 0, nil
		}
		if _, err := s.seal(ctx, id, ID{}); err != nil {
			return 0, err
		}
		if used(id) {
			return 0, nil
		}
	}
	r, err = s.update(ctx, id, func(r *record) (bool, error) {
		isNew := r.SweptMs == 0
		if isNew {
			r.First, r.SweptMs = r.End, now.UnixMilli()
		}
		return isNew, nil
	})
	if err != nil {
		return 0, err
	}
	if now.Sub(time.UnixMilli(r.SweptMs)) < keepSeals {
		return s.deleteBut(ctx, id, id.key(r.End))
	}
	deleted, err = s.deleteBut(ctx, id, "")
	if err != nil {
		return deleted, err
	}
	_, err = s.kv.Txn(ctx, []kv.Cond{kv.KeyExists(s.recordKey(id))}, []kv.Op{kv.Delete(s.recordKey(id))})
	if errors.Is(err, kv.ErrConflict) {
		err = nil // somebody else has swept it
	}
	return deleted, err
}

// deleteBut deletes all objects of a log, those behind the seal too, but for one key, and returns how many.
func (s *Store) deleteBut(ctx context.Context, id ID, spared string) (deleted int, err error) {
	for after := ""; ; {
		page, err := s.objects.List(ctx, id.objects(), after, listPage)
		if err != nil {
			return deleted, err
		}
		keys := make(chan string, len(page))
		for _, info := range page {
			if info.Key != spared {
				keys <- info.Key
			}
		}
		close(keys)
		n := len(keys)
		if err := s.deleteAll(ctx, keys); err != nil {
			return deleted, err
		}
		deleted += n
		if len(page) < listPage {
			return deleted, nil
		}
		after = page[len(page)-1].Key
	}
}
