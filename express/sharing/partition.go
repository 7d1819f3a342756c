package sharing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/express/partition"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
)

// sharePartition is one group on one partition.
type sharePartition struct {
	m   *Manager
	key state.Key
	log Log

	mu          sync.Mutex
	state       *share.Partition // nil until loaded
	code        kerr.Code        // not None: fenced, and why
	replaced    bool             // fenced, but only to be read anew
	gone        bool             // fenced, and in the table no more
	leaderEpoch int32
	stateEpoch  int32
	fetching    bool // a fetch is reading
	watchers    map[*partition.Waiter]int
	queue       []storing // to be written, in order
	writing     bool
}

// storing is a change that waits to be durable.
type storing struct {
	change share.Change
	done   func(err error) // nil: nobody waits
}

func newSharePartition(m *Manager, k state.Key, log Log) *sharePartition {
	return &sharePartition{m: m, key: k, log: log, leaderEpoch: log.Offsets().Epoch, watchers: map[*partition.Waiter]int{}}
}

const (
	loadTries = 50 // with loadPause between them: while the share coordinator is being loaded
	loadPause = 200 * time.Millisecond
)

// load reads what is stored. While it does, fetches wait.
func (sp *sharePartition) load() {
	ctx := sp.m.life
	stored, err := sp.read(ctx)
	var p *share.Partition
	if err == nil {
		var start int64
		if start, err = sp.startOffset(ctx, stored.Start); err == nil {
			p, err = share.New(sp.settings().Limits, start, stored.Batches)
		}
	}
	if err != nil {
		code := kerr.Of(err)
		if ctx.Err() == nil {
			sp.m.world.Log.Warn("share-partition not loaded", "group", sp.key.Group, "topic", sp.log.Name(), "partition", sp.key.Partition, "err", err)
		}
		sp.fence(code, false)
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.code != kerr.None {
		return
	}
	p.MoveStart(sp.log.Offsets().LogStart)
	sp.state, sp.stateEpoch = p, stored.StateEpoch
	sp.notifyLocked()
}

// read asks the persister, which may be about to be loaded itself.
func (sp *sharePartition) read(ctx context.Context) (state.Snapshot, error) {
	for try := 1; ; try++ {
		s, err := sp.m.world.Persister.ReadState(ctx, sp.key, sp.leaderEpoch)
		if err == nil || !again(err) || try == loadTries {
			return s, readError(err)
		}
		if !pause(ctx) {
			return s, ctx.Err()
		}
	}
}

// again says whether the coordinator will be there soon.
func again(err error) bool {
	return errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.NotCoordinator)
}

func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(loadPause):
		return true
	}
}

// readError is the persister's error as clients are told it.
func readError(err error) error {
	var code kerr.Code
	switch kerr.Of(err) {
	case kerr.None:
		return nil
	case kerr.FencedLeaderEpoch, kerr.FencedStateEpoch:
		code = kerr.NotLeaderOrFollower
	case kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable:
		code = kerr.CoordinatorNotAvailable
	case kerr.UnknownTopicOrPartition, kerr.GroupIDNotFound:
		return err
	default:
		code = kerr.UnknownServerError
	}
	return fmt.Errorf("%w: %w", code, err)
}

// startOffset is where the share-partition begins: as stored, or as the group's settings say if nobody has read it.
func (sp *sharePartition) startOffset(ctx context.Context, stored int64) (int64, error) {
	if stored >= 0 {
		return stored, nil
	}
	s := sp.settings()
	o := sp.log.Offsets()
	switch s.Reset {
	case ResetEarliest:
		return o.LogStart, nil
	case ResetByDuration:
		found, err := sp.log.OffsetForTime(ctx, sp.m.world.Clock.Now().Add(-s.ResetBy).UnixMilli(), false)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
		}
		if found.Offset >= 0 {
			return found.Offset, nil
		}
	}
	return o.HW, nil
}

func (sp *sharePartition) settings() Settings { return sp.m.world.Settings(sp.key.Group) }

// activeLocked is the state with the settings of now; nil while it is not loaded or fenced.
func (sp *sharePartition) activeLocked() *share.Partition {
	if sp.code != kerr.None || sp.state == nil {
		return nil
	}
	sp.state.SetLimits(sp.settings().Limits)
	return sp.state
}

// watch has w told when something may be acquired, until cancel is called. Who comes when another has taken the place in the table, or may, is
// told at once: nobody else would tell.
func (sp *sharePartition) watch(w *partition.Waiter) (cancel func()) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.watchers[w]++
	if sp.gone {
		tell(w)
	}
	return func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if sp.watchers[w]--; sp.watchers[w] == 0 {
			delete(sp.watchers, w)
		}
	}
}

func (sp *sharePartition) notifyLocked() {
	for w := range sp.watchers {
		tell(w)
	}
}

func tell(w *partition.Waiter) {
	select {
	case w.C <- struct{}{}:
	default: // it has a token already
	}
}

// fence ends the share-partition: it acquires and acknowledges nothing any more (SH2). replaced says that it is only to be
// read anew.
func (sp *sharePartition) fence(code kerr.Code, replaced bool) {
	sp.mu.Lock()
	if sp.code == kerr.None {
		sp.code, sp.replaced = code, replaced
	}
	idle := !sp.writing
	sp.mu.Unlock()
	if idle {
		sp.m.forget(sp)
	}
	sp.mu.Lock()
	sp.gone = sp.gone || idle
	sp.notifyLocked()
	sp.mu.Unlock()
}

// acknowledge begins to acknowledge; done hears how it ended, at once or later.
func (sp *sharePartition) acknowledge(member string, acks []share.Ack, done func(err error)) {
	sp.mu.Lock()
	p := sp.activeLocked()
	if p == nil {
		sp.mu.Unlock()
		done(kerr.NotLeaderOrFollower)
		return
	}
	change, err := p.Acknowledge(sp.m.world.Clock.Now(), member, acks)
	if err != nil || len(change.Batches) == 0 {
		sp.mu.Unlock()
		done(err)
		return
	}
	sp.storeLocked(storing{change, done})
	sp.mu.Unlock()
}

// release begins to release what a member holds.
func (sp *sharePartition) release(member string) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if p := sp.activeLocked(); p != nil {
		if change := p.Release(member); len(change.Batches) > 0 {
			sp.storeLocked(storing{change: change})
		}
	}
}

// expire releases what is held for too long and says when to look again.
func (sp *sharePartition) expire(now time.Time) (next time.Time, held bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	p := sp.activeLocked()
	if p == nil {
		return time.Time{}, false
	}
	if change := p.Expire(now); len(change.Batches) > 0 {
		for _, b := range change.Batches {
			sp.m.metrics.TimedOut.Add(b.Last - b.First + 1)
		}
		sp.storeLocked(storing{change: change})
		sp.notifyLocked()
	}
	return p.Deadline()
}
