package objectlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/base/object"
)

const (
	listPage = 1000 // objects per listing
	// maxSeals is how many numbers are sealed at once at most. It must exceed the groups that a writer has in flight, for a live
	// writer may be ahead with those: a single seal after another could come too late for each number for ever.
	maxSeals = 128
	// sealTimeout bounds each call of a store, so that one that hangs is an error and the caller tries again.
	sealTimeout = 5 * time.Second
)

// Sealed describes a log that has its end.
type Sealed struct {
	ID         ID
	First, End uint64 // the groups of the log are those with First <= seq < End; none when both are equal
}

// Seal ends the log, so that its writer can never acknowledge again, and says where. Everything that was ever acknowledged and not
// trimmed lies within the bounds. Any number of brokers may do it at once, and again; all get the same end. By names who does it.
// Errors: ErrNoLog, ErrCorrupt, those of the stores, which are worth another try.
func (s *Store) Seal(ctx context.Context, id ID, by ID) (Sealed, error) {
	sealed, err := s.seal(ctx, id, by)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal log %s: %w", id, err)
	}
	return sealed, nil
}

func (s *Store) seal(ctx context.Context, id ID, by ID) (Sealed, error) {
	// From here on first stands still (L5), so that no number at or above it is empty because its object was deleted.
	r, err := s.update(ctx, id, func(r *record) (bool, error) {
		isNew := r.Sealer == ""
		if isNew {
			r.Sealer = by.String()
		}
		return isNew, nil
	})
	if err != nil {
		return Sealed{}, err
	}
	if r.End == 0 {
		end, err := s.findEnd(ctx, id, r.First, by)
		if err != nil {
			return Sealed{}, err
		}
		if r, err = s.recordEnd(ctx, id, end); err != nil {
			return Sealed{}, err
		}
		s.log.Info("log sealed", "log", id.String(), "first", r.First, "end", r.End)
	}
	return Sealed{ID: id, First: r.First, End: r.End}, nil
}

// recordEnd makes the end known.
func (s *Store) recordEnd(ctx context.Context, id ID, end uint64) (*record, error) {
	return s.update(ctx, id, func(r *record) (bool, error) {
		switch {
		case r.End == 0:
			r.End = end
			return true, nil
		case r.End != end:
			return false, fmt.Errorf("%w: two ends, %d and %d", ErrCorrupt, r.End, end)
		}
		return false, nil
	})
}

// findEnd returns the lowest number from first on that holds a seal while all between hold groups, sealing the log if need be. The
// width of what is sealed at once grows, so that the usual case, a dead writer, costs one PUT. What stands at the numbers that were
// taken is looked at only when a seal stands behind them: a live writer would be ahead again meanwhile.
func (s *Store) findEnd(ctx context.Context, id ID, first uint64, by ID) (uint64, error) {
	next, sealed, err := s.listed(ctx, id, first)
	if err != nil || sealed {
		return next, err
	}
	probed := next
	for width := uint64(1); ; width = min(2*width, maxSeals) {
		free, err := s.occupy(ctx, id, next, width, by)
		if err != nil {
			return 0, err
		}
		next += free
		if free < width {
			break
		}
	}
	for ; probed < next; probed += maxSeals {
		end, err := s.lowestSeal(ctx, id, probed, min(next, probed+maxSeals))
		if err != nil || end > 0 {
			return end, err
		}
	}
	return next, nil
}

// listed follows the listing from first on as long as it shows groups without a gap, and returns the number behind them; sealed
// says that a seal is known to stand there.
func (s *Store) listed(ctx context.Context, id ID, first uint64) (next uint64, sealed bool, err error) {
	for next = first; ; {
		listCtx, cancel := context.WithTimeout(ctx, sealTimeout)
		page, err := s.objects.List(listCtx, id.objects(), id.key(next-1), listPage)
		cancel()
		if err != nil {
			return 0, false, err
		}
		for _, info := range page {
			if seq, ok := id.parseKey(info.Key); !ok || seq != next {
				return next, false, nil
			}
			if isSealSize(info.Size) {
				sealed, err := s.isSeal(ctx, id, next)
				return next, sealed, err
			}
			next++
		}
		if len(page) < listPage {
			return next, false, nil
		}
	}
}

// occupy puts seals at width numbers from next on, and returns how many of the first of them were taken. Nothing is known of those behind
// the first that was free.
func (s *Store) occupy(ctx context.Context, id ID, next, width uint64, by ID) (taken uint64, err error) {
	faults := together(width, func(i uint64) error {
		ctx, cancel := context.WithTimeout(ctx, sealTimeout)
		defer cancel()
		return s.objects.Put(ctx, id.key(next+i), [][]byte{encodeSeal(id, next+i, by)}, object.PutOptions{IfAbsent: true})
	})
	for i, err := range faults {
		if !errors.Is(err, object.ErrExists) {
			return uint64(i), err
		}
	}
	return width, nil
}

// lowestSeal returns the lowest number in [from, to), all of which are taken, that holds a seal, or 0.
func (s *Store) lowestSeal(ctx context.Context, id ID, from, to uint64) (uint64, error) {
	sealed := make([]bool, to-from)
	faults := together(to-from, func(i uint64) error {
		statCtx, cancel := context.WithTimeout(ctx, sealTimeout)
		defer cancel()
		info, err := s.objects.Stat(statCtx, id.key(from+i))
		if err == nil && isSealSize(info.Size) {
			sealed[i], err = s.isSeal(ctx, id, from+i)
		}
		return err
	})
	for i, err := range faults {
		if err != nil || sealed[i] {
			return from + uint64(i), err
		}
	}
	return 0, nil
}

// together makes n calls at once and returns their errors.
func together(n uint64, call func(i uint64) error) []error {
	faults := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { faults[i] = call(i) })
	}
	all.Wait()
	return faults
}

// isSeal reads what is as short as a seal.
func (s *Store) isSeal(ctx context.Context, id ID, seq uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	b, err := s.readHeader(ctx, id, seq)
	if err != nil {
		return false, err
	}
	isSeal, err := decodeHeader(b, id, seq)
	if err == nil && !isSeal {
		err = fmt.Errorf("%w: group without content", ErrCorrupt)
	}
	if err != nil {
		return false, fmt.Errorf("object %d: %w", seq, err)
	}
	return true, nil
}
