package objectlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/base/object"
)

// deletesAtOnce bounds the deletions that are under way at once.
const deletesAtOnce = 8

// trimmer is what a Writer knows of its log's beginning.
type trimmer struct {
	kick chan struct{}

	mu     sync.Mutex // guards target
	target uint64     // first, as it shall be
}

func (t *trimmer) init() { t.kick, t.target = make(chan struct{}, 1), 1 }

// Trim implements wal.Replica.
func (w *Writer) Trim(first uint64) {
	t := &w.trim
	t.mu.Lock()
	t.target = max(t.target, first)
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// runTrim moves the record's first behind the target, rarely, and then deletes what is below (L5).
func (w *Writer) runTrim() {
	t := &w.trim
	first, pause := uint64(1), w.cfg.RetryMin
	for {
		select {
		case <-t.kick:
		case <-w.ctx.Done():
			return
		}
		t.mu.Lock()
		target := t.target
		t.mu.Unlock()
		for target > first {
			err := w.trimTo(first, target)
			if errors.Is(err, ErrSealed) || w.ctx.Err() != nil {
				return
			}
			if err == nil {
				first, pause = target, w.cfg.RetryMin
				continue
			}
			w.store.log.Warn("log not trimmed, trying on", "log", w.id.String(), "err", err)
			if !w.pause(&pause) {
				return
			}
		}
		select {
		case <-time.After(w.cfg.TrimInterval):
		case <-w.ctx.Done():
			return
		}
	}
}

// trimTo deletes the objects of [from, first), after the record has said so. It may be repeated.
func (w *Writer) trimTo(from, first uint64) error {
	_, err := w.store.update(w.ctx, w.id, func(r *record) (bool, error) {
		if r.Sealer != "" {
			return false, fmt.Errorf("%w: by %s", ErrSealed, r.Sealer)
		}
		isNew := r.First < first
		r.First = max(r.First, first)
		return isNew, nil
	})
	if err != nil {
		return err
	}
	keys := make(chan string)
	go func() {
		defer close(keys)
		for seq := from; seq < first; seq++ {
			select {
			case keys <- w.id.key(seq):
			case <-w.ctx.Done():
				return
			}
		}
	}()
	return w.store.deleteAll(w.ctx, keys)
}

// deleteAll deletes objects, a few at once, and returns one of the errors, if any.
func (s *Store) deleteAll(ctx context.Context, keys <-chan string) error {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	for range deletesAtOnce {
		all.Go(func() {
			for key := range keys {
				if err := deleteOne(ctx, s.objects, key); err != nil {
					mu.Lock()
					fault = err
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return fault
}

// deleteTimeout bounds one deletion; a store that hangs must not hold up all that come after.
const deleteTimeout = 30 * time.Second

func deleteOne(ctx context.Context, objects object.Store, key string) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	return objects.Delete(ctx, key)
}
