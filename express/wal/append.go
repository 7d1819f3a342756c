package wal

import (
	"context"
	"fmt"
	"sync"
)

// maxEntryBytes bounds one entry; Kafka's own limit of a request is 100 MiB by default.
const maxEntryBytes = 1 << 30

// Entry is one append: whole batches of one partition, with offsets that follow each other without a gap and one
// leader epoch, both already patched in. It may be used again after Done.
type Entry struct {
	Data         []byte // belongs to wal from Append until Done is called
	BaseOffset   int64  // of the first batch
	LastOffset   int64  // of the last batch
	MaxTimestamp int64  // ms, over all batches
	// Done is called exactly once if Append took the entry, in append order over all streams, from the log's committer:
	// with nil after the bytes are synced, or with an error that matches ErrNoSpace or ErrFailed. It must not block and
	// must not append. After an error every entry queued behind this one fails as well, before new appends are taken.
	Done func(err error)

	stream     *Stream
	next       *Entry // of the same stream in the group
	epoch      int32
	batches    int
	idempotent bool // some batch has a producer id
}

// Append queues e; the order of calls is the order of durability and of Done. Calls for one stream must not overlap,
// and their offsets must ascend. After Done brought an error for an entry, the stream takes only an entry that begins
// where the first failed one began, so that a caller that has not yet seen the failure cannot leave a gap.
//
// Append blocks while QueueBytes are queued, until ctx ends. With an error the entry was not taken and Done is not
// called: ErrClosed, ErrFailed, ErrNoSpace (an earlier entry failed, see above), ErrInvalid, ctx's.
func (s *Stream) Append(ctx context.Context, e *Entry) error {
	if err := e.inspect(); err != nil {
		return fmt.Errorf("append to %s: %w", s.partition, err)
	}
	e.stream = s
	return s.log.queue.push(ctx, e)
}

// queue holds the entries that the committer has not taken yet.
type queue struct {
	limit int64
	kick  chan struct{} // wakes the committer

	mu      sync.Mutex // guards what follows, and Stream.next and Stream.retry
	entries []*Entry
	bytes   int64         // of entries that are not durable, those with the committer too
	room    chan struct{} // closed when waiting appends should look again; nil when none waits
	rolls   []chan<- *file
	paused  bool // failed entries are being told
	closed  bool
	failure error // ErrFailed with its cause
}

func (q *queue) init(limit int64) {
	q.limit = limit
	q.kick = make(chan struct{}, 1)
}

func (q *queue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// push appends e when there is room.
func (q *queue) push(ctx context.Context, e *Entry) error {
	size := int64(len(e.Data))
	q.mu.Lock()
	for q.failure == nil && !q.closed && (q.paused || q.bytes > 0 && q.bytes+size > q.limit) {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("wait for the wal: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	switch {
	case q.failure != nil:
		return q.failure
	case q.closed:
		return ErrClosed
	}
	if err := e.stream.admit(e); err != nil {
		return err
	}
	q.entries = append(q.entries, e)
	q.bytes += size
	if len(q.entries) == 1 {
		q.wake()
	}
	return nil
}

// take moves all queued entries behind work. Open is false when nothing will ever come again.
func (q *queue) take(work []*Entry) (_ []*Entry, rolls []chan<- *file, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	work = append(work, q.entries...)
	clear(q.entries)
	q.entries = q.entries[:0]
	rolls, q.rolls = q.rolls, nil
	return work, rolls, !q.closed
}

// pause takes all queued entries behind failed, takes their offsets back, and holds appends up until resume.
func (q *queue) pause(failed []*Entry, fatal error) []*Entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = true
	q.failure = fatal
	failed = append(failed, q.entries...)
	clear(q.entries)
	q.entries = q.entries[:0]
	for _, e := range failed {
		e.stream.takeBack(e)
	}
	return failed
}

// release gives back the room of entries that are done, and ends a pause.
func (q *queue) release(bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	q.paused = false
	q.wakeWaitersLocked()
}

func (q *queue) wakeWaitersLocked() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wakeWaitersLocked()
	q.wake()
}

// roll asks the committer to roll; it answers with the file, or nil when there was no data.
func (q *queue) roll(answer chan<- *file) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.failure != nil:
		return q.failure
	case q.closed:
		return ErrClosed
	}
	q.rolls = append(q.rolls, answer)
	q.wake()
	return nil
}

// admit checks the order of offsets. The caller holds queue.mu.
func (s *Stream) admit(e *Entry) error {
	switch {
	case s.retry && e.BaseOffset != s.next:
		return fmt.Errorf("%w: append to %s at %d, but the entry at %d failed", ErrNoSpace, s.partition, e.BaseOffset, s.next)
	case e.BaseOffset < s.next:
		return fmt.Errorf("%w: append to %s at %d, but %d comes next", ErrInvalid, s.partition, e.BaseOffset, s.next)
	}
	s.retry = false
	s.next = e.LastOffset + 1
	return nil
}

// takeBack is the opposite of admit; of several failed entries the first counts. The caller holds queue.mu.
func (s *Stream) takeBack(e *Entry) {
	if !s.retry {
		s.retry, s.next = true, e.BaseOffset
	}
}
