package objectlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/base/object"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

const (
	fetchesAtOnce  = 8
	fetchBytes     = 64 << 20 // of objects that were fetched ahead; a larger one is fetched alone
	fetchAttempts  = 5
	fetchTimeout   = 20 * time.Second      // of one attempt
	fetchPause     = 50 * time.Millisecond // after the first failed attempt; it doubles
	replayProgress = 10_000                // objects after which a replay says how far it is
)

// Run is a piece of a partition in a group: whole batches without a gap, every byte checked.
type Run = wal.Run

// Replay reads the groups of a sealed log in order, and gives take each run of a partition that want says ok to, unless the whole run
// lies below the offset from. Run.Data is take's to keep. An error of take ends the replay and is returned. A damaged or missing object
// gives ErrCorrupt; the runs before it were taken. Objects are fetched ahead, a few at once and within a bound of memory. Want and take
// are called by the caller's goroutine.
func (s *Store) Replay(
	ctx context.Context, sealed Sealed, want func(topic.Partition) (from int64, ok bool), take func(Run) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	r := replay{store: s, log: sealed, next: sealed.First}
	defer r.wait()
	defer cancel()
	for seq := sealed.First; seq < sealed.End; seq++ {
		if err := r.fetchAhead(ctx); err != nil {
			return fmt.Errorf("replay log %s: %w", sealed.ID, err)
		}
		f := r.fetches[0]
		r.fetches = r.fetches[1:]
		<-f.done
		r.bytes -= f.size
		if f.err != nil {
			return fmt.Errorf("replay log %s: object %d: %w", sealed.ID, seq, f.err)
		}
		for _, run := range choose(f, want) {
			if err := take(run); err != nil {
				return err
			}
		}
		if n := seq - sealed.First + 1; n%replayProgress == 0 {
			s.log.Info("log is being replayed", "log", sealed.ID.String(), "objects", n, "of", sealed.End-sealed.First)
		}
	}
	return nil
}

// replay is what one Replay knows.
type replay struct {
	store *Store
	log   Sealed

	next    uint64        // to be fetched
	sizes   []object.Info // from a listing; the first is that of next, if it is listed
	fetches []*fetch      // under way or waiting to be taken, in order
	bytes   int64         // of these
}

// fetch is one object that is being read.
type fetch struct {
	size int64
	runs []Run
	err  error
	done chan struct{} // closed when runs or err is set
}

// fetchAhead starts as many fetches as the bounds allow, at least one.
func (r *replay) fetchAhead(ctx context.Context) error {
	for r.next < r.log.End && len(r.fetches) < fetchesAtOnce {
		size, err := r.size(ctx)
		if err != nil {
			return err
		}
		if len(r.fetches) > 0 && r.bytes+size > fetchBytes {
			return nil
		}
		f := &fetch{size: size, done: make(chan struct{})}
		seq := r.next
		go func() {
			defer close(f.done)
			f.runs, f.err = r.fetch(ctx, seq, size)
		}()
		r.sizes = r.sizes[1:]
		r.fetches = append(r.fetches, f)
		r.bytes += size
		r.next++
	}
	return nil
}

// wait ends when all fetches have.
func (r *replay) wait() {
	for _, f := range r.fetches {
		<-f.done
	}
}

// size returns the length of object next, by a listing if it has it.
func (r *replay) size(ctx context.Context) (size int64, err error) {
	id, s := r.log.ID, r.store
	if len(r.sizes) == 0 {
		err = retry(ctx, func(ctx context.Context) (err error) {
			r.sizes, err = s.objects.List(ctx, id.objects(), id.key(r.next-1), listPage)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	key := id.key(r.next)
	if len(r.sizes) == 0 || r.sizes[0].Key != key {
		// The listing is older than the object. Of such a store each object has to be asked for.
		var info object.Info
		err = retry(ctx, func(ctx context.Context) (err error) {
			info, err = s.objects.Stat(ctx, key)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("object %d: %w", r.next, missing(err))
		}
		r.sizes = append([]object.Info{info}, r.sizes...)
	}
	return r.sizes[0].Size, nil
}

// fetch reads and checks one object.
func (r *replay) fetch(ctx context.Context, seq uint64, size int64) ([]Run, error) {
	var b []byte
	err := retry(ctx, func(ctx context.Context) (err error) {
		b, err = r.store.readObject(ctx, r.log.ID, seq, size)
		return err
	})
	if err != nil {
		return nil, missing(err)
	}
	return decodeGroup(b, r.log.ID, seq)
}

// choose returns the runs that are wanted.
func choose(f *fetch, want func(topic.Partition) (from int64, ok bool)) []Run {
	wanted, bytes := f.runs[:0], 0
	for _, run := range f.runs {
		if from, ok := want(run.Partition); ok && run.Last >= from {
			wanted = append(wanted, run)
			bytes += len(run.Data)
		}
	}
	if int64(bytes) < f.size/2 { // so that what take keeps does not hold much more than itself
		for i := range wanted {
			wanted[i].Data = slices.Clone(wanted[i].Data)
		}
	}
	return wanted
}

// missing says that an object that is not there must be.
func missing(err error) error {
	if errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// retry repeats a read that failed for reasons that may pass.
func retry(ctx context.Context, read func(context.Context) error) error {
	pause := fetchPause
	for attempt := 1; ; attempt++ {
		attemptCtx, cancel := context.WithTimeout(ctx, fetchTimeout)
		err := read(attemptCtx)
		cancel()
		if err == nil || attempt == fetchAttempts || errors.Is(err, ErrCorrupt) || errors.Is(err, object.ErrNotFound) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		pause *= 2
	}
}
