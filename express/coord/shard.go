package coord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/group"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
)

// defaultExpireInterval is Kafka's offsets.retention.check.interval.ms.
const defaultExpireInterval = 10 * time.Minute

// shard is one loaded partition. Its goroutine, run, owns everything below "owned by run".
type shard struct {
	c      *Coordinator
	index  int32
	log    Log
	cancel context.CancelFunc // ends run, or load
	done   chan struct{}      // closed when run has ended, or load has failed
	ready  atomic.Bool        // loaded

	events   chan *event
	appended chan error    // the outcome of the append in flight; capacity 1, and there is only one
	wake     chan struct{} // deleted has grown; capacity 1

	mu      sync.Mutex
	deleted []string // topics

	// Owned by run, and by load before it.
	machine    *group.Machine
	waiting    map[group.Ticket]chan<- kmsg.Response
	lastTicket group.Ticket
	queue      []group.Append // not yet handed to the log
	inFlight   []int64        // append ids in the batch that the log has; empty: none
	expireAt   time.Time
	builder    record.Builder
}

// event is one request on its way to run. Whoever claims it first, run or a caller who gives up, decides.
type event struct {
	run     func()
	claimed atomic.Bool
	ran     chan struct{} // closed after run
}

func newShard(c *Coordinator, index int32, log Log, cancel context.CancelFunc) *shard {
	return &shard{
		c: c, index: index, log: log, cancel: cancel,
		done:     make(chan struct{}),
		events:   make(chan *event, c.cfg.QueueLen),
		appended: make(chan error, 1),
		wake:     make(chan struct{}, 1),
		machine:  group.New(c.cfg.Settings().Limits, c.world.NewID),
		waiting:  map[group.Ticket]chan<- kmsg.Response{},
	}
}

// run handles one event after the other until ctx ends.
func (s *shard) run(ctx context.Context) {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
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
			s.settleAppend(err)
		case <-s.wake:
			s.forgetTopics()
		case <-timer.C:
			s.configure()
		}
		s.tick()
	}
}

// drain handles what is queued right now, so that what comes together goes into the log together.
func (s *shard) drain() {
	for range len(s.events) {
		s.handle(<-s.events)
	}
}

func (s *shard) handle(e *event) {
	if e.claimed.CompareAndSwap(false, true) {
		e.run()
		close(e.ran)
	}
}

func (s *shard) configure() {
	settings := s.c.cfg.Settings()
	s.machine.Configure(settings.Limits)
}

func (s *shard) now() time.Time { return s.c.world.Clock.Now() }

// untilNext is how long nothing happens by itself.
func (s *shard) untilNext() time.Duration {
	at := s.expireAt
	if deadline, ok := s.machine.Deadline(); ok && deadline.Before(at) {
		at = deadline
	}
	return max(at.Sub(s.now()), 0)
}

// tick does what has become due.
func (s *shard) tick() {
	now := s.now()
	if at, ok := s.machine.Deadline(); ok && !at.After(now) {
		s.settle(s.machine.Advance(now))
	}
	if !s.expireAt.After(now) {
		s.settle(s.machine.ExpireOffsets(now))
		s.scheduleExpiry(now)
	}
}

func (s *shard) scheduleExpiry(now time.Time) {
	every := s.c.cfg.Settings().ExpireInterval
	if every <= 0 {
		every = defaultExpireInterval
	}
	s.expireAt = now.Add(every)
}

func (s *shard) topicDeleted(name string) {
	s.mu.Lock()
	s.deleted = append(s.deleted, name)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shard) forgetTopics() {
	s.mu.Lock()
	names := s.deleted
	s.deleted = nil
	s.mu.Unlock()
	for _, name := range names {
		s.settle(s.machine.TopicDeleted(s.now(), name))
	}
}

// settle does what the machine asked for.
func (s *shard) settle(e group.Effects) {
	s.queue = append(s.queue, e.Appends...)
	for _, r := range e.Replies {
		if reply := s.waiting[r.Ticket]; reply != nil {
			delete(s.waiting, r.Ticket)
			reply <- r.Response // has room for it
		}
	}
	for _, n := range e.Notes {
		s.c.world.Log.Info("group changed", "what", n.Message, "group", n.Group, "generation", n.Generation, "members", n.Members, "reason", n.Reason)
	}
}

// flush hands the log the next batch, unless it is still at the one before. One batch at a time keeps the outcomes in
// order whatever fails, and what queues up meanwhile shares the next one.
func (s *shard) flush(ctx context.Context) {
	for len(s.inFlight) == 0 && len(s.queue) > 0 {
		n := s.nextBatch()
		for _, a := range s.queue[:n] {
			s.inFlight = append(s.inFlight, a.ID)
		}
		batch, err := s.build(s.queue[:n])
		s.queue = slices.Delete(s.queue, 0, n)
		if err != nil {
			s.settleAppend(err)
			continue
		}
		s.log.Append(ctx, batch, func(_ int64, err error) { s.appended <- err })
	}
}

// nextBatch is how many queued appends go into the next batch: as many as fit, at least one.
func (s *shard) nextBatch() int {
	size := 0
	for n, a := range s.queue {
		for _, r := range a.Records {
			size += len(r.Key) + len(r.Value)
		}
		if n > 0 && size > s.c.cfg.BatchBytes {
			return n
		}
	}
	return len(s.queue)
}

// build makes the batch of some appends.
func (s *shard) build(appends []group.Append) (record.Batch, error) {
	s.builder.Reset(record.Options{})
	now := s.now().UnixMilli()
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

// settleAppend tells the machine how the batch in flight fared.
func (s *shard) settleAppend(err error) {
	ids := s.inFlight
	s.inFlight = nil
	code := appendCode(err)
	if err != nil {
		s.c.world.Log.Warn("group state not stored", "partition", s.index, "appends", len(ids), "err", err)
	}
	for _, id := range ids {
		s.settle(s.machine.Appended(s.now(), id, code))
	}
}

// appendCode is the log's error as the machine knows errors.
func appendCode(err error) kerr.Code {
	switch code := kerr.Of(err); code {
	case kerr.None, kerr.NotLeaderOrFollower, kerr.MessageTooLarge:
		return code
	default:
		return kerr.KafkaStorageError
	}
}

// step is one event for the machine; its reply comes under the ticket.
type step func(m *group.Machine, now time.Time, t group.Ticket) group.Effects

// callNamed is call for requests that must name a group.
func callNamed[R kmsg.Response](ctx context.Context, c *Coordinator, groupID string, f step) (R, kerr.Code) {
	if groupID == "" {
		var none R
		return none, kerr.InvalidGroupID
	}
	return call[R](ctx, c, groupID, f)
}

// call has the machine handle a request and waits for the reply. The request's memory is not touched after call returns.
func call[R kmsg.Response](ctx context.Context, c *Coordinator, groupID string, f step) (R, kerr.Code) {
	s, code := c.shard(groupID)
	if code != kerr.None {
		var none R
		return none, code
	}
	reply := make(chan kmsg.Response, 1)
	r, code := submit(ctx, s, reply, func() {
		s.lastTicket++
		s.waiting[s.lastTicket] = reply
		s.settle(f(s.machine, s.now(), s.lastTicket))
	})
	if code != kerr.None {
		var none R
		return none, code
	}
	return r.(R), kerr.None
}

// read evaluates f on the state of a group's partition.
func read[T any](ctx context.Context, s *shard, f func(m *group.Machine) T) (T, kerr.Code) {
	reply := make(chan T, 1)
	return submit(ctx, s, reply, func() { reply <- f(s.machine) })
}

// submit has run execute f and waits for what comes out of reply, then or later.
func submit[T any](ctx context.Context, s *shard, reply <-chan T, f func()) (T, kerr.Code) {
	var none T
	e := &event{run: f, ran: make(chan struct{})}
	select {
	case s.events <- e:
	case <-s.done:
		return none, kerr.NotCoordinator
	case <-ctx.Done():
		return none, kerr.CoordinatorNotAvailable
	}
	select {
	case v := <-reply:
		return v, kerr.None
	case <-s.done:
		// run answers what it has taken before it ends; what is still queued, nobody will take.
		select {
		case v := <-reply:
			return v, kerr.None
		default:
			return none, kerr.NotCoordinator
		}
	case <-ctx.Done():
		if !e.claimed.CompareAndSwap(false, true) {
			select { // run is at it; wait until it has let go of the request
			case <-e.ran:
			case <-s.done:
			}
		}
		return none, kerr.CoordinatorNotAvailable
	}
}
