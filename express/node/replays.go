package node

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/kv"
	"millrace/express/catalog"
	"millrace/express/manifest"
	"millrace/express/objectlog"
	"millrace/express/partition"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

// logStore is what a take-over needs of objectlog.Store.
type logStore interface {
	Seal(ctx context.Context, id, by objectlog.ID) (objectlog.Sealed, error)
	Replay(ctx context.Context, sealed objectlog.Sealed, want func(topic.Partition) (from int64, ok bool), take func(wal.Run) error) error
}

// replay is the import from one log of another incarnation, for all partitions that wait for it at a time. Its fields are
// guarded by registry.mu.
type replay struct {
	waiting []*slot
}

// arrival is a partition in one pass over a log.
type arrival struct {
	slot     *slot
	part     catalog.Partition
	manifest *manifest.Manifest
	err      error // why it is not imported
}

// wantsLog tells whether a partition needs the end of another incarnation's log first. One that was on its way to an
// earlier incarnation of ours is to be claimed before that.
func (r *registry) wantsLog(s *slot) bool {
	return s.p == nil && s.topic != nil && !s.frozen && s.part.Log != "" && s.part.Owner == r.self.ID &&
		s.part.Incarnation == r.self.Incarnation && s.imported != s.part.Epoch
}

// awaitLogLocked has the slot's partition imported with all others that wait for that log then.
func (r *registry) awaitLogLocked(ctx context.Context, s *slot) {
	log := s.part.Log
	at := r.replays[log]
	if at == nil {
		at = &replay{}
		r.replays[log] = at
		r.work.Go(func() { r.replayLog(ctx, log, at) })
	}
	at.waiting = append(at.waiting, s)
}

// replayLog makes passes over a log until nobody waits for it. Sealing comes first, so that those who come meanwhile are
// in the pass; the manifests after it, since until then the log's writer may have cut what it had in it (N9).
func (r *registry) replayLog(ctx context.Context, log string, at *replay) {
	for {
		sealed, err := r.seal(ctx, log)
		all := r.takeArrivals(log, at)
		if len(all) == 0 {
			return
		}
		began := r.clock.Now()
		if err == nil {
			err = r.pass(ctx, sealed, all)
		}
		failed := r.concludeArrivals(ctx, all, err)
		if ctx.Err() == nil {
			r.logger.Info("partitions imported from the log of another broker", "log", log, "partitions", len(all)-failed, "failed", failed,
				"groups", sealed.End-sealed.First, "took_ms", r.clock.Now().Sub(began).Milliseconds())
		}
	}
}

func (r *registry) seal(ctx context.Context, log string) (objectlog.Sealed, error) {
	id, err := objectlog.ParseID(log)
	if err != nil {
		return objectlog.Sealed{}, err
	}
	if r.logs == nil {
		return objectlog.Sealed{}, fmt.Errorf("%w: the log %s", catalog.ErrLogKind, log)
	}
	return r.logs.Seal(ctx, id, objectlog.ID{Broker: r.self.ID, Incarnation: r.self.Incarnation})
}

// takeArrivals takes those that wait, as the catalog says of them now. With none, the replay ends.
func (r *registry) takeArrivals(log string, at *replay) (all []*arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range at.waiting {
		s.partial = true
		all = append(all, &arrival{slot: s, part: s.part})
	}
	at.waiting = nil
	if len(all) == 0 {
		delete(r.replays, log)
	}
	return all
}

// pass imports all arrivals from a log. An error is that of all; those of single ones are in them.
func (r *registry) pass(ctx context.Context, sealed objectlog.Sealed, all []*arrival) error {
	in, err := r.prepareReplay(ctx, sealed, all)
	if err != nil {
		return err
	}
	err = r.logs.Replay(ctx, sealed, in.Wants, func(run wal.Run) error { return in.Take(ctx, run) })
	// What was taken must come back in any case before its streams are given up.
	failed, fault := in.Finish(ctx)
	if err = errors.Join(err, fault); err != nil {
		return err
	}
	var done []catalog.Import
	for _, a := range all {
		if a.err == nil {
			a.err = failed[a.slot.id]
		}
		if a.err == nil {
			a.slot.durable = a.part.Epoch
			done = append(done, catalog.Import{ID: a.slot.id, Epoch: a.part.Epoch})
		}
	}
	failed = r.catalog.ImportedAll(ctx, done)
	for _, a := range all {
		if err := failed[a.slot.id]; err != nil {
			a.err = err
		}
	}
	return nil
}

// prepareReplay fences the manifests (N9) and makes the streams. What is durable here already, and perhaps nowhere else, is
// left as it is.
func (r *registry) prepareReplay(ctx context.Context, sealed objectlog.Sealed, all []*arrival) (*partition.Replay, error) {
	owners := make(map[topic.Partition]int32, len(all))
	for _, a := range all {
		if a.part.Log == sealed.ID.String() && a.part.Owner == r.self.ID {
			owners[a.slot.id] = a.part.Epoch
		} else {
			a.err = fmt.Errorf("%w: it goes another way now", catalog.ErrNotOwner)
		}
	}
	manifests, failed := r.manifests.Fence(ctx, owners)
	in := partition.NewReplay()
	for _, a := range all {
		a.err = errors.Join(a.err, failed[a.slot.id])
		if a.err != nil {
			continue
		}
		a.manifest = manifests[a.slot.id]
		if a.slot.durable != a.part.Epoch {
			r.log.Stream(a.slot.id).Forget()
			in.Add(a.slot.id, a.manifest.End, r.log.Stream(a.slot.id))
		}
	}
	return in, ctx.Err()
}

// concludeArrivals ends the step of each: what is imported is opened next, the rest is tried again after a pause.
func (r *registry) concludeArrivals(ctx context.Context, all []*arrival, fault error) (failed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range all {
		if err := errors.Join(fault, a.err); err != nil {
			failed++
			r.complainLocked(ctx, a, err)
			r.concludeLocked(ctx, a.slot, err)
			continue
		}
		a.slot.imported, a.slot.manifest = a.part.Epoch, a.manifest
		a.slot.busy, a.slot.again, a.slot.failures = false, false, 0
		r.kickLocked(ctx, a.slot)
	}
	r.tellLocked()
	return failed
}

func (r *registry) complainLocked(ctx context.Context, a *arrival, err error) {
	if ctx.Err() != nil || a.slot.known == nil || errors.Is(err, catalog.ErrNotOwner) || errors.Is(err, catalog.ErrUnknownTopic) {
		return
	}
	r.logger.Error("partition cannot be taken over and stays offline, to be tried again",
		"topic", a.slot.known.Name, "partition", a.slot.id.Index, "log", a.part.Log, "err", err)
}

// standing tells the catalog what must hold where this broker registers again: that nobody has begun to seal its log. Else it would
// be given partitions, and end as soon as it writes for them (N10).
func (b *broker) standing(ctx context.Context) ([]kv.Cond, error) {
	if b.replica == nil {
		return nil, nil // nobody can take over what is on a disk
	}
	cond, err := b.replica.Standing(ctx)
	if errors.Is(err, objectlog.ErrSealed) {
		err = fmt.Errorf("%w: %w", catalog.ErrReplaced, err)
	}
	if err != nil {
		return nil, err
	}
	return []kv.Cond{cond}, nil
}
