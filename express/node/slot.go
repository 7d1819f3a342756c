package node

import (
	"context"
	"time"

	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/partition"
	"millrace/kafka/topic"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// slot is one partition that is here, comes or goes. One step is done on it at a time.
type slot struct {
	id topic.Partition

	// Guarded by registry.mu.
	topic    *catalog.Topic // as last told; nil: deleted
	known    *catalog.Topic // the last that was not nil
	part     catalog.Partition
	p        *partition.Partition // open here, whether requests find it or not; nil: none
	left     int32                // leader epoch at which it was given away, or lost; -1: not since the start
	since    time.Time            // when it began to come, or to be released
	busy     bool                 // a step is under way or queued
	again    bool                 // something was told meanwhile
	tried    bool                 // the first step has ended
	failures int                  // of steps, since one went well
	retry    *time.Timer
	durable  int32              // leader epoch for which what it had to import is durable here; -1: none
	imported int32              // leader epoch for which the record says so, too; -1: none
	partial  bool               // its stream may hold what was imported, and nobody has opened it yet
	manifest *manifest.Manifest // as it was after the import from a log; nil: to be loaded

	// Of the step.
	frozen bool           // the partition is frozen and withdrawn, and perhaps released
	to     catalog.Broker // whom to,
	tail   string         // and with what
}

// lane runs steps, most at a time.
type lane struct {
	most    int
	running int
	waiting []*slot
}

// laneOf keeps what leaves from holding up what comes.
func (r *registry) laneOf(s *slot) *lane {
	if s.p != nil || s.topic == nil {
		return &r.leaving
	}
	return &r.opening
}

// kickLocked has a step done where there is something to do. A slot without a partition that is not ours goes.
func (r *registry) kickLocked(ctx context.Context, s *slot) {
	switch {
	case r.ended:
		return
	case s.busy:
		s.again = true
		return
	case s.retry != nil:
		s.retry.Stop()
		s.retry = nil
	}
	if !r.dueLocked(s) {
		if s.p == nil && s.part.Owner != r.self.ID {
			r.dropLocked(s)
		}
		return
	}
	s.busy = true
	if r.wantsLog(s) {
		r.awaitLogLocked(ctx, s)
		return
	}
	l := r.laneOf(s)
	if l.running >= l.most {
		l.waiting = append(l.waiting, s)
		return
	}
	l.running++
	r.work.Go(func() { r.run(ctx, l, s) })
}

// dueLocked says whether there is something to do.
func (r *registry) dueLocked(s *slot) bool {
	switch {
	case s.topic == nil || s.frozen:
		return true
	case s.p == nil:
		return s.part.Owner == r.self.ID && s.part.Epoch > s.left
	default:
		return s.part.To != 0 && s.part.To != r.self.ID || r.foreign(s)
	}
}

// foreign says whether another process took an open partition from under us, which nobody may.
func (r *registry) foreign(s *slot) bool {
	return s.part.Epoch > s.p.Offsets().Epoch && (s.part.Owner != r.self.ID || s.part.Incarnation != r.self.Incarnation)
}

// dropLocked ends a slot without a partition. What was imported for it goes, unless it was acknowledged that it is here (N9).
func (r *registry) dropLocked(s *slot) {
	if r.slots[s.id] == s {
		delete(r.slots, s.id)
		if s.partial && s.part.Log != r.selfLog {
			r.log.Stream(s.id).Forget()
		}
	}
	r.triedLocked(s)
}

func (r *registry) triedLocked(s *slot) {
	if !s.tried {
		s.tried = true
		r.untried--
	}
}

// run does steps until the lane has none left.
func (r *registry) run(ctx context.Context, l *lane, s *slot) {
	for s != nil {
		s = r.conclude(ctx, l, s, r.step(ctx, s))
	}
}

// step does what is to be done now. An error has it done again after a pause.
func (r *registry) step(ctx context.Context, s *slot) error {
	r.mu.RLock()
	t, part, p := s.topic, s.part, s.p
	due := r.dueLocked(s)
	foreign := due && t != nil && p != nil && !s.frozen && r.foreign(s)
	r.mu.RUnlock()
	switch {
	case !due:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case t == nil:
		r.discard(ctx, s)
		return nil
	case foreign:
		r.logger.Error("partition was taken away and is not served any more",
			"topic", t.Name, "partition", s.id.Index, "owner", part.Owner, "epoch", part.Epoch)
		r.withdraw(s)
		r.lose(s)
		return nil
	case p == nil:
		return r.open(ctx, s, t, part)
	default:
		return r.leave(ctx, s, t, part)
	}
}

// conclude ends a step and gives the lane's next slot; nil: none.
func (r *registry) conclude(ctx context.Context, l *lane, s *slot, err error) *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.concludeLocked(ctx, s, err)
	if len(l.waiting) == 0 || r.ended {
		l.running--
		return nil
	}
	next := l.waiting[0]
	l.waiting = l.waiting[1:]
	return next
}

func (r *registry) concludeLocked(ctx context.Context, s *slot, err error) {
	s.busy = false
	r.triedLocked(s)
	if err == nil {
		s.failures = 0
	} else {
		s.failures++
	}
	switch {
	case r.ended || r.slots[s.id] != s:
	case s.again || err == nil:
		s.again = false
		r.kickLocked(ctx, s)
	case err != nil:
		s.retry = time.AfterFunc(min(retryFirst<<min(s.failures-1, 10), retryMost), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			s.retry = nil
			r.kickLocked(ctx, s)
		})
	}
	r.tellLocked()
}
