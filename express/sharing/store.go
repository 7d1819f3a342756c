package sharing

import (
	"context"
	"slices"

	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
)

// storeLocked queues a change. One goroutine writes as long as there is something to write.
func (sp *sharePartition) storeLocked(s storing) {
	sp.queue = append(sp.queue, s)
	if sp.writing {
		return
	}
	sp.writing = true
	sp.m.work.Go(sp.write)
}

// write stores what is queued, all that has gathered at a time, until there is nothing left.
func (sp *sharePartition) write() {
	for {
		sp.mu.Lock()
		batch := sp.queue
		sp.queue = nil
		if len(batch) == 0 {
			sp.writing = false
			fenced := sp.code != kerr.None
			sp.mu.Unlock()
			if fenced {
				sp.fence(kerr.NotLeaderOrFollower, true) // nothing is on its way any more
			}
			return
		}
		update := sp.updateLocked(batch)
		sp.mu.Unlock()
		err := sp.put(sp.m.life, update)
		sp.settle(batch, err)
	}
}

// updateLocked is what several changes store together.
func (sp *sharePartition) updateLocked(batch []storing) state.Update {
	u := state.Update{StateEpoch: sp.stateEpoch, LeaderEpoch: sp.leaderEpoch, Start: -1}
	for _, s := range batch {
		u.Start = max(u.Start, s.change.Start)
		u.Complete = s.change.Complete
		u.Batches = append(u.Batches, s.change.Batches...)
	}
	u.Batches = share.Combine(nil, u.Batches, u.Start)
	return u
}

func (sp *sharePartition) put(ctx context.Context, u state.Update) error {
	for try := 1; ; try++ {
		err := sp.m.world.Persister.WriteState(ctx, sp.key, u)
		if err == nil || !again(err) || try == loadTries {
			return readError(err)
		}
		if !pause(ctx) {
			return kerr.CoordinatorNotAvailable
		}
	}
}

// settle ends changes as their write ended. Who was fenced there is of no use any more.
func (sp *sharePartition) settle(batch []storing, err error) {
	sp.mu.Lock()
	for _, s := range batch {
		if s.change.ID != 0 {
			sp.state.Settle(s.change.ID, err == nil)
		}
	}
	fencing := []kerr.Code{kerr.NotLeaderOrFollower, kerr.GroupIDNotFound, kerr.UnknownTopicOrPartition, kerr.UnknownServerError}
	if code := kerr.Of(err); slices.Contains(fencing, code) && sp.code == kerr.None {
		sp.code = code
	}
	sp.notifyLocked()
	sp.mu.Unlock()
	if err != nil && sp.m.life.Err() == nil {
		sp.m.world.Log.Warn("share state not stored", "group", sp.key.Group, "topic", sp.log.Name(), "partition", sp.key.Partition, "err", err)
	}
	for _, s := range batch {
		if s.done != nil {
			s.done(err)
		}
	}
	sp.m.arm() // locks that were held over a failed write may have run out
}
