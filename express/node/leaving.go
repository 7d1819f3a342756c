package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/express/catalog"
)

const (
	// tailBytes is about the most that a tail holds, unless an open transaction keeps more from being cut.
	tailBytes = 8 << 20
	// freezeMost bounds the wait for what is in flight, releaseMost one question to the catalog.
	freezeMost  = 5 * time.Second
	releaseMost = 5 * time.Second
)

// errNoTarget: the broker that a partition shall go to is not there, or takes none.
var errNoTarget = errors.New("the broker to move to takes no partitions now")

// leave hands a partition over (N3). An error has it tried again after a pause; the partition serves meanwhile, unless it
// is not known whether it is ours.
func (r *registry) leave(ctx context.Context, s *slot, t *catalog.Topic, part catalog.Partition) error {
	began := r.clock.Now()
	if !s.frozen {
		if err := r.prepare(ctx, s, part); err != nil {
			if ctx.Err() == nil && !errors.Is(err, errNoTarget) {
				r.logger.Warn("partition could not be handed over, to be tried again",
					"topic", t.Name, "partition", s.id.Index, "to", part.To, "err", err)
			}
			return err
		}
	}
	asking, cancel := context.WithTimeout(ctx, releaseMost)
	defer cancel()
	epoch, to := s.p.Offsets().Epoch, s.to
	err := r.catalog.Release(asking, s.id, epoch, s.to, s.tail)
	switch {
	case err == nil:
		r.awaitView(ctx, s, epoch)
		r.lose(s)
		r.log.Stream(s.id).Forget()
		r.logger.Info("partition handed over", "topic", t.Name, "partition", s.id.Index, "to", to.ID, "epoch", epoch,
			"took_ms", r.clock.Now().Sub(began).Milliseconds())
		return nil
	case errors.Is(err, catalog.ErrNotReleased):
		r.unfreeze(ctx, s)
		return err
	case errors.Is(err, catalog.ErrNotOwner):
		r.logger.Error("partition was taken away and is not served any more", "topic", t.Name, "partition", s.id.Index, "err", err)
		r.lose(s)
		return nil
	case errors.Is(err, catalog.ErrUnknownTopic):
		return err // the catalog will tell that it is deleted
	default:
		if ctx.Err() == nil {
			r.logger.Warn("not known whether a partition is released, it rests until that is", "topic", t.Name, "partition", s.id.Index, "err", err)
		}
		return err
	}
}

// prepare makes everything ready for the release: from here on nothing is answered for the partition.
func (r *registry) prepare(ctx context.Context, s *slot, part catalog.Partition) error {
	to, ok := r.target(part.To)
	if !ok {
		return fmt.Errorf("broker %d: %w", part.To, errNoTarget)
	}
	if err := s.p.Shrink(ctx, tailBytes, r.log.Roll); err != nil {
		return err
	}
	freezing, cancel := context.WithTimeout(ctx, freezeMost)
	defer cancel()
	if err := s.p.Freeze(freezing); err != nil {
		return err
	}
	key, err := s.p.WriteTail(ctx)
	if err != nil {
		s.p.Thaw()
		return err
	}
	s.to, s.tail = to, key
	r.setFrozen(s, true)
	r.withdraw(s)
	return nil
}

// target finds the broker that a partition shall go to, where it takes partitions.
func (r *registry) target(id int32) (catalog.Broker, bool) {
	for _, b := range r.catalog.Brokers() {
		if b.ID == id {
			return b, !b.Draining && id != r.self.ID
		}
	}
	return catalog.Broker{}, false
}

func (r *registry) setFrozen(s *slot, frozen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.frozen = frozen
}

// unfreeze serves on what is ours after all.
func (r *registry) unfreeze(ctx context.Context, s *slot) {
	r.setFrozen(s, false)
	s.p.Thaw()
	r.show(s)
	if s.tail != "" {
		r.deleteTail(ctx, s.tail)
	}
	s.to, s.tail = catalog.Broker{}, ""
}

// lose ends a partition that is not ours any more. Who waits in it is told.
func (r *registry) lose(s *slot) {
	r.mu.Lock()
	p := s.p
	s.p, s.frozen, s.left = nil, false, p.Offsets().Epoch
	s.to, s.tail = catalog.Broker{}, ""
	r.tellLocked()
	r.mu.Unlock()
	p.Close()
}

// awaitView waits until the catalog shows the new owner here, so that those who are turned away hear where to go.
func (r *registry) awaitView(ctx context.Context, s *slot, epoch int32) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		r.mu.RLock()
		seen, news := s.topic == nil || s.part.Epoch > epoch, r.news
		r.mu.RUnlock()
		if seen {
			return
		}
		select {
		case <-news:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// discard removes what a deleted topic's partition keeps, if that is for us to do: it was here, or on its way here. A
// partition that was given away is for its new owner.
func (r *registry) discard(ctx context.Context, s *slot) {
	r.mu.RLock()
	p, part, t := s.p, s.part, s.known
	r.mu.RUnlock()
	var err error
	switch {
	case p != nil:
		r.closed(t, p)
		err = p.Delete(ctx)
	case part.Owner == r.self.ID && part.Epoch > s.left:
		err = r.manifests.Delete(ctx, s.id)
		r.log.Stream(s.id).Forget()
	}
	for _, key := range []string{s.tail, part.Tail} {
		if key != "" {
			r.deleteTail(ctx, key)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.logger.Warn("deleted partition left something behind, the next start removes it", "topic", t.Name, "partition", s.id.Index, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.p, s.frozen = nil, false
	r.dropLocked(s)
}
