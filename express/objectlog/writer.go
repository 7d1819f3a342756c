package objectlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/base/kv"
	"millrace/express/wal"

	"github.com/google/uuid"
)

// WriterConfig is read once by Create. A zero field takes its default.
type WriterConfig struct {
	PutTimeout   time.Duration // after which one attempt to store a group is given up and made again; default 10 s
	HedgeAfter   time.Duration // after which a second attempt runs beside the first, for one group at a time; default 0: never
	RetryMin     time.Duration // pause after the first failed attempt; default 20 ms. It doubles up to RetryMax
	RetryMax     time.Duration // longest pause between attempts; default 2 s
	TrimInterval time.Duration // least time between two changes of the log's record; default 2 s
}

// Validate fills defaults and returns every fault, each matching ErrInvalid.
func (c *WriterConfig) Validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"put timeout", &c.PutTimeout, 10 * time.Second}, {"retry min", &c.RetryMin, 20 * time.Millisecond},
		{"retry max", &c.RetryMax, 2 * time.Second}, {"trim interval", &c.TrimInterval, 2 * time.Second},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 0 {
			faults = append(faults, fmt.Errorf("%w: %s is %v", ErrInvalid, f.name, *f.value))
		}
	}
	if c.HedgeAfter < 0 {
		faults = append(faults, fmt.Errorf("%w: hedge after %v", ErrInvalid, c.HedgeAfter))
	}
	c.RetryMax = max(c.RetryMax, c.RetryMin)
	return errors.Join(faults...)
}

// WriterWorld is what a Writer touches outside its Store.
type WriterWorld struct {
	// Lease returns the deadline of the broker's lease. Stored groups are told of only before it; after it they are held until
	// there is a later deadline. The zero time lets them pass: no lease was taken yet, or it was given back. Nil: always zero.
	Lease func() time.Time
}

const (
	leasePoll  = 20 * time.Millisecond // how often a held group looks whether the lease is valid again
	recordPoll = time.Second           // how often it looks whether the log is being sealed
)

// Writer stores the commit groups of one log, in parallel, and tells in order. It is the wal.Replica of the broker's wal.
// Safe for concurrent use, but for Put.
//
// Goroutines: one for each group in flight, one that delivers while there are any, one that trims. All end with ctx.
type Writer struct {
	store *Store
	id    ID
	cfg   WriterConfig
	lease func() time.Time

	ctx    context.Context    // ends with the Writer
	end    context.CancelFunc // see die
	trim   trimmer
	hedge  chan struct{} // holds a token, which a second attempt takes
	ending sync.WaitGroup

	mu         sync.Mutex // guards the rest
	pending    []*pending // in order of seq
	delivering bool       // a goroutine takes from the front of pending
	failure    error      // ErrSealed or ErrClosed; then no group is done without an error any more
}

var _ wal.Replica = (*Writer)(nil)

// pending is a group that is not done.
type pending struct {
	seq    uint64
	body   [][]byte // the object; not touched after stored got its value
	done   func(error)
	stored chan error // gets one value when the attempts have ended
}

// Create makes the log's record, before anything else may say that the log is in use, and returns its only Writer.
// Ctx bounds only Create. Errors: ErrLogExists, ErrInvalid, those of kv.
func (s *Store) Create(ctx context.Context, id ID, cfg WriterConfig, world WriterWorld) (*Writer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if id.Broker < 0 {
		return nil, fmt.Errorf("%w: log of broker %d", ErrInvalid, id.Broker)
	}
	r := &record{Format: recordFormat, Nonce: uuid.NewString(), CreatedMs: s.clock.Now().UnixMilli(), First: 1}
	if err := s.create(ctx, id, r); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	w := &Writer{store: s, id: id, cfg: cfg, lease: world.Lease}
	if w.lease == nil {
		w.lease = func() time.Time { return time.Time{} }
	}
	w.ctx, w.end = context.WithCancel(context.WithoutCancel(ctx))
	w.hedge = make(chan struct{}, 1)
	w.hedge <- struct{}{}
	w.trim.init()
	w.ending.Go(w.runTrim)
	return w, nil
}

// ID names the log.
func (w *Writer) ID() ID { return w.id }

// Put implements wal.Replica. After the Writer's end done may be called before Put returns.
func (w *Writer) Put(seq uint64, group [][]byte, done func(error)) {
	w.mu.Lock()
	if w.failure != nil && !w.delivering {
		err := w.failure
		w.mu.Unlock()
		done(err)
		return
	}
	p := &pending{seq: seq, body: w.object(seq, group), done: done, stored: make(chan error, 1)}
	w.pending = append(w.pending, p)
	w.ending.Go(func() { p.stored <- w.keepPutting(p) })
	if !w.delivering {
		w.delivering = true
		w.ending.Go(w.deliver)
	}
	w.mu.Unlock()
}

// object is the group with its header.
func (w *Writer) object(seq uint64, group [][]byte) [][]byte {
	size := int64(0)
	for _, b := range group {
		size += int64(len(b))
	}
	body := make([][]byte, 1, 1+len(group))
	body[0] = encodeHeader(w.id, seq, size)
	return append(body, group...)
}

// deliver tells the groups in order until none is left. That attempts have ended before their group is done keeps them from the
// bytes, which are wal's again.
func (w *Writer) deliver() {
	for {
		w.mu.Lock()
		if len(w.pending) == 0 {
			w.delivering, w.pending = false, nil
			w.mu.Unlock()
			return
		}
		p := w.pending[0]
		w.pending = w.pending[1:]
		w.mu.Unlock()

		err := <-p.stored
		if err == nil {
			err = w.holdForLease()
		}
		w.mu.Lock()
		if err == nil {
			err = w.failure
		}
		w.mu.Unlock()
		p.done(err)
	}
}

// holdForLease returns when a stored group may be told: while the lease is valid, and, if it was not for a while, when the record
// says that nobody has begun to seal the log meanwhile. It returns the error that ended the Writer otherwise.
func (w *Writer) holdForLease() error {
	if w.isLeased() {
		return nil
	}
	w.store.log.Warn("acknowledgements are held, the lease is over", "log", w.id.String())
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for waited := time.Duration(0); ; waited += leasePoll {
		if isLeased := w.isLeased(); isLeased || waited >= recordPoll {
			waited = 0
			if err := w.lookForSealer(); err == nil && isLeased && w.isLeased() {
				w.store.log.Info("acknowledgements go on, the lease is valid again", "log", w.id.String())
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			return w.err()
		}
	}
}

func (w *Writer) isLeased() bool {
	deadline := w.lease()
	return deadline.IsZero() || w.store.clock.Now().Before(deadline)
}

// lookForSealer ends the Writer if the record says that somebody seals the log, or is gone. Other errors pass.
func (w *Writer) lookForSealer() error {
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.PutTimeout)
	defer cancel()
	_, err := w.Standing(ctx)
	return err
}

// Standing returns what holds in kv for as long as nobody has begun to seal the log, at least until its record changes for
// another reason. ErrSealed where somebody has: the Writer has ended then.
func (w *Writer) Standing(ctx context.Context) (kv.Cond, error) {
	r, rev, err := w.store.load(ctx, w.id)
	switch {
	case errors.Is(err, ErrNoLog):
		err = fmt.Errorf("%w: its record is gone", ErrSealed)
		w.die(err)
	case err == nil && r.Sealer != "":
		err = fmt.Errorf("%w: by %s", ErrSealed, r.Sealer)
		w.die(err)
	}
	if err != nil {
		return kv.Cond{}, err
	}
	return kv.ModRevEquals(w.store.recordKey(w.id), rev), nil
}

// die ends the Writer; of several causes the first counts.
func (w *Writer) die(cause error) {
	w.mu.Lock()
	if w.failure == nil {
		w.failure = cause
		if !errors.Is(cause, ErrClosed) {
			w.store.log.Error("log is dead", "log", w.id.String(), "err", cause)
		}
	}
	w.mu.Unlock()
	w.end()
}

// err is why the Writer has ended; nil while it has not.
func (w *Writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// Close gives up what is not stored yet: its done gets ErrClosed. It waits for all that the Writer has started, so close the wal
// before to have everything stored. Safe to call twice. When ctx ends first, Close returns its error and the closing goes on.
func (w *Writer) Close(ctx context.Context) error {
	w.die(ErrClosed)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.ending.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close log %s: %w", w.id, ctx.Err())
	}
}
