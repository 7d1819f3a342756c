package coord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

const (
	defaultEvery = 10 * time.Minute // Kafka's offsets.retention.check.interval.ms
	reloadPause  = time.Second      // before a log that could not be read is read again
)

// shard is one loaded partition. Its goroutine, run, owns everything below "owned by run".
type shard[M Machine] struct {
	c      *Runtime[M]
	index  int32
	log    Log
	cancel context.CancelFunc // ends run, or load
	done   chan struct{}      // closed when run has ended, or load has failed
	ready  atomic.Bool        // loaded

	events   chan *event
	appended chan error    // the outcome of the append in flight; capacity 1, and there is only one
	wake     chan struct{} // told has grown; capacity 1

	mu   sync.Mutex
	told []func(m M, now time.Time) machine.Effects

	// Owned by run, and by load before it.
	machine    M
	waiting    map[machine.Ticket]chan<- kmsg.Response
	lastTicket machine.Ticket
	queue      []machine.Append // not yet handed to the log
	inFlight   []machine.Append // in the batch that the log has; empty: none
	expireAt   time.Time
	builder    record.Builder
}

// event is one request on its way to run. Whoever claims it first, run or a caller who gives up, decides.
type event struct {
	run     func()
	claimed atomic.Bool
	ran     chan struct{} // closed after run
}

func newShard[M Machine](c *Runtime[M], index int32, log Log, cancel context.CancelFunc) *shard[M] {
	return &shard[M]{
		c: c, index: index, log: log, cancel: cancel,
		done:     make(chan struct{}),
		events:   make(chan *event, c.cfg.QueueLen),
		appended: make(chan error, 1),
		wake:     make(chan struct{}, 1),
		machine:  c.cfg.New(index),
		waiting:  map[machine.Ticket]chan<- kmsg.Response{},
	}
}

// run handles one event after the other until ctx ends.
func (s *shard[M]) run(ctx context.Context) {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	s.after() // Loaded may have left work
	for {
		s.flush(ctx)
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
			s.settle(s.machine.Close(s.now()))
			return
		case e := <-s.events:
			s.configure()
			s.handle(e)
			s.drain()
		case err := <-s.appended:
			s.configure()
			if !s.settleAppend(err) && !s.reload(ctx) {
				return
			}
		case <-s.wake:
			s.configure()
			s.hear()
		case <-timer.C:
			s.configure()
		}
		s.tick()
		s.after()
	}
}

func (s *shard[M]) after() {
	if s.c.cfg.After != nil {
		s.c.cfg.After(s.index, s.machine)
	}
}

// drain handles what is queued right now, so that what comes together goes into the log together.
func (s *shard[M]) drain() {
	for range len(s.events) {
		s.handle(<-s.events)
	}
}

func (s *shard[M]) handle(e *event) {
	if e.claimed.CompareAndSwap(false, true) {
		e.run()
		close(e.ran)
	}
}

func (s *shard[M]) configure() {
	if s.c.cfg.Configure != nil {
		s.c.cfg.Configure(s.machine)
	}
}

func (s *shard[M]) now() time.Time { return s.c.clock.Now() }

// untilNext is how long nothing happens by itself.
func (s *shard[M]) untilNext() time.Duration {
	at := s.expireAt
	if deadline, ok := s.machine.Deadline(); ok && deadline.Before(at) {
		at = deadline
	}
	return max(at.Sub(s.now()), 0)
}

// tick does what has become due.
func (s *shard[M]) tick() {
	now := s.now()
	if at, ok := s.machine.Deadline(); ok && !at.After(now) {
		s.settle(s.machine.Advance(now))
	}
	if !s.expireAt.After(now) {
		s.settle(s.machine.Expire(now))
		s.scheduleExpiry(now)
	}
}

func (s *shard[M]) scheduleExpiry(now time.Time) {
	var every time.Duration
	if s.c.cfg.Every != nil {
		every = s.c.cfg.Every()
	}
	if every <= 0 {
		every = defaultEvery
	}
	s.expireAt = now.Add(every)
}

func (s *shard[M]) tell(event func(m M, now time.Time) machine.Effects) {
	s.mu.Lock()
	s.told = append(s.told, event)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shard[M]) hear() {
	s.mu.Lock()
	told := s.told
	s.told = nil
	s.mu.Unlock()
	for _, event := range told {
		s.settle(event(s.machine, s.now()))
	}
}

// settle does what the machine asked for.
func (s *shard[M]) settle(e machine.Effects) {
	s.queue = append(s.queue, e.Appends...)
	for _, r := range e.Replies {
		if reply := s.waiting[r.Ticket]; reply != nil {
			delete(s.waiting, r.Ticket)
			reply <- r.Response // has room for it
		}
	}
	for _, n := range e.Notes {
		args := make([]any, len(n.Attrs))
		for i, a := range n.Attrs {
			args[i] = a
		}
		s.c.log.Info(n.Message, args...) //nolint:sloglint // a machine's messages are constants
	}
}

// flush hands the log the next batch, unless it is still at the one before. One batch at a time keeps the outcomes in
// order whatever fails, and what queues up meanwhile shares the next one.
func (s *shard[M]) flush(ctx context.Context) {
	if len(s.inFlight) > 0 || len(s.queue) == 0 {
		return
	}
	n := s.nextBatch()
	s.inFlight = slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	if m := s.inFlight[0].Marker; m != nil {
		s.log.AppendMarker(ctx, record.Marker{
			ProducerID: m.ID, ProducerEpoch: m.Epoch, Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch, Timestamp: s.now().UnixMilli(),
		}, m.TransactionVersion, func(_ int64, err error) { s.appended <- err })
		return
	}
	batch, err := s.build(s.inFlight)
	if err != nil {
		s.appended <- err // nothing is with the log, so there is room
		return
	}
	s.log.Append(ctx, batch, func(_ int64, err error) { s.appended <- err })
}

// nextBatch is how many queued appends go into the next batch: as many as fit, at least one. What belongs to a transaction
// goes alone, because a batch has one producer.
func (s *shard[M]) nextBatch() int {
	size := 0
	for n, a := range s.queue {
		alone := a.Transaction != nil || a.Marker != nil
		for _, r := range a.Records {
			size += len(r.Key) + len(r.Value)
		}
		if n > 0 && (alone || size > s.c.cfg.BatchBytes) {
			return n
		}
		if alone {
			return 1
		}
	}
	return len(s.queue)
}

// build makes the batch of some appends that are no marker.
func (s *shard[M]) build(appends []machine.Append) (record.Batch, error) {
	now := s.now().UnixMilli()
	var options record.Options
	if tx := appends[0].Transaction; tx != nil {
		options.Producer = &record.Producer{ID: tx.ID, Epoch: tx.Epoch, Sequence: record.None}
		options.Transactional = true
	}
	s.builder.Reset(options)
	for _, a := range appends {
		for _, r := range a.Records {
			if err := s.builder.Add(now, r.Key, r.Value); err != nil {
				return nil, fmt.Errorf("build batch: %w", err)
			}
		}
	}
	if s.builder.Size() > s.c.cfg.MaxBytes {
		return nil, fmt.Errorf("batch of %d bytes, at most %d are allowed: %w",
			s.builder.Size(), s.c.cfg.MaxBytes, kerr.MessageTooLarge)
	}
	return s.builder.Build(nil)
}

// settleAppend tells the machine how the batch in flight fared. It returns false if the machine is ahead of the log then.
func (s *shard[M]) settleAppend(err error) (ok bool) {
	appends := s.inFlight
	s.inFlight = nil
	code := appendCode(err)
	if err != nil {
		s.c.log.Warn("state not stored", "topic", s.c.cfg.Name, "partition", s.index, "appends", len(appends), "err", err)
	}
	for _, a := range appends {
		if code != kerr.None && a.Ahead {
			return false
		}
		s.settle(s.machine.Appended(s.now(), a.ID, code))
	}
	return true
}

// reload replaces a machine that is ahead of the log by one that is replayed from it (machine.M3). It returns false when
// ctx ended first.
func (s *shard[M]) reload(ctx context.Context) bool {
	s.ready.Store(false)
	s.settle(s.machine.Close(s.now()))
	s.queue = nil
	for {
		s.machine = s.c.cfg.New(s.index)
		err := s.load(ctx)
		if err == nil {
			return true
		}
		s.c.log.Error("state could not be loaded again", "topic", s.c.cfg.Name, "partition", s.index, "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(reloadPause):
		}
	}
}

// appendCode is the log's error as the machine knows errors.
func appendCode(err error) kerr.Code {
	switch code := kerr.Of(err); code {
	case kerr.None, kerr.NotLeaderOrFollower, kerr.MessageTooLarge, kerr.InvalidProducerEpoch, kerr.TransactionCoordinatorFenced:
		return code
	default:
		return kerr.KafkaStorageError
	}
}
