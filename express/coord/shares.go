package coord

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/base/clock"
	"millrace/express/machine"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Trimmer is a Log whose beginning can be deleted.
type Trimmer interface {
	// Trim deletes what is below an offset. It may block, bounded by ctx.
	Trim(ctx context.Context, before int64) error
}

// ShareStateSettings are read anew for every event, so that configuration changes take effect at once.
type ShareStateSettings struct {
	Limits        state.Limits
	PruneInterval time.Duration // share.coordinator.state.topic.prune.interval.ms; 0: 5 minutes
}

// SharesConfig is read once by NewShares.
type SharesConfig struct {
	Partitions int32                     // of __share_group_state; at least 1, no default
	Settings   func() ShareStateSettings // must not block; default: Kafka's defaults
	QueueLen   int                       // see Config
	Leads      func() bool               // see Config
}

// SharesWorld is what Shares touches outside itself. All fields are needed.
type SharesWorld struct {
	Clock  clock.Clock
	Log    *slog.Logger
	Topics Topics
}

// Shares is the share coordinator: it keeps what share-partitions store, for the partitions of __share_group_state that are
// loaded. Make one with NewShares. Safe for concurrent use. All errors are or wrap a kerr.Code.
type Shares struct {
	*Runtime[*state.Machine]
	world SharesWorld
	life  context.Context // ends trims
	trims sync.WaitGroup

	mu    sync.Mutex
	ended bool
	marks map[int32]*mark
}

// mark is from where on the log of one partition is of use once its machine's generation is covered.
type mark struct {
	log        Log
	machine    *state.Machine
	generation int64
	offset     int64
	trimming   bool
	trimmed    int64
}

// NewShares returns a coordinator without partitions. When ctx ends nothing more is trimmed.
func NewShares(ctx context.Context, cfg SharesConfig, w SharesWorld) (*Shares, error) {
	if cfg.Settings == nil {
		cfg.Settings = func() ShareStateSettings { return ShareStateSettings{Limits: state.DefaultLimits()} }
	}
	s := &Shares{world: w, life: ctx, marks: map[int32]*mark{}}
	r, err := NewRuntime(Config[*state.Machine]{
		Leads:      cfg.Leads,
		Name:       topic.ShareGroupState,
		Partitions: cfg.Partitions,
		New:        func(int32) *state.Machine { return state.New(cfg.Settings().Limits) },
		Configure:  func(m *state.Machine) { m.Configure(cfg.Settings().Limits) },
		After:      s.after,
		Every: func() time.Duration {
			if every := cfg.Settings().PruneInterval; every > 0 {
				return every
			}
			return 5 * time.Minute
		},
		QueueLen: cfg.QueueLen,
	}, w.Clock, w.Log)
	if err != nil {
		return nil, err
	}
	s.Runtime = r
	return s, nil
}

// Load is Runtime.Load. If log is a Trimmer it is trimmed when that becomes possible.
func (s *Shares) Load(ctx context.Context, index int32, log Log) error {
	s.mu.Lock()
	s.marks[index] = &mark{log: log}
	s.mu.Unlock()
	return s.Runtime.Load(ctx, index, log)
}

// Close is Runtime.Close, and waits for trims.
func (s *Shares) Close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.Runtime.Close()
	s.trims.Wait()
}

// after notes where the log stood when a generation of snapshots began, and deletes what is before once all share-partitions
// have a snapshot of it.
func (s *Shares) after(index int32, m *state.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.marks[index]
	trimmer, ok := k.log.(Trimmer)
	if !ok {
		return
	}
	if k.machine != m || k.generation != m.Generation() {
		_, high := k.log.Offsets()
		k.machine, k.generation, k.offset = m, m.Generation(), high
	}
	if !m.Covered() || k.trimming || k.offset <= k.trimmed || s.ended {
		return
	}
	k.trimming = true
	before := k.offset
	s.trims.Go(func() {
		err := trimmer.Trim(s.life, before)
		s.mu.Lock()
		defer s.mu.Unlock()
		k.trimming = false
		if err != nil {
			if s.life.Err() == nil {
				s.world.Log.Warn("share state not trimmed", "partition", index, "before", before, "err", err)
			}
			return
		}
		k.trimmed = before
	})
}

// exists refuses share-partitions of topics that are not there.
func (s *Shares) exists(k state.Key) error {
	t, ok := s.world.Topics.TopicByID(k.Topic)
	if !ok || k.Partition < 0 || k.Partition >= t.Partitions {
		return kerr.UnknownTopicOrPartition
	}
	return nil
}

// InitializeState makes a share-partition new; a start of -1 leaves the offset to who reads it first. It blocks until that
// is durable. Errors: FencedStateEpoch, UnknownTopicOrPartition, those of a coordinator that is not there.
func (s *Shares) InitializeState(ctx context.Context, k state.Key, stateEpoch int32, start int64) error {
	if err := s.exists(k); err != nil {
		return err
	}
	q := kmsg.NewInitializeShareGroupStateRequestTopicPartition()
	q.Partition, q.StateEpoch, q.StartOffset = k.Partition, stateEpoch, start
	r, code := call[*kmsg.InitializeShareGroupStateResponse](ctx, s.Runtime, k.String(),
		func(m *state.Machine, now time.Time, t machine.Ticket) machine.Effects {
			return m.Initialize(now, t, k, q)
		})
	if code == kerr.None {
		code = kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	return refused("initialize", k, code)
}

// ReadState gives what is stored, and fences leaders of the share-partition before leaderEpoch; -1 fences nobody. Errors:
// FencedLeaderEpoch, InvalidRequest for what is not initialized, UnknownTopicOrPartition, those of a coordinator that is not
// there.
func (s *Shares) ReadState(ctx context.Context, k state.Key, leaderEpoch int32) (state.Snapshot, error) {
	if err := s.exists(k); err != nil {
		return state.Snapshot{}, err
	}
	q := kmsg.NewReadShareGroupStateRequestTopicPartition()
	q.Partition, q.LeaderEpoch = k.Partition, leaderEpoch
	r, code := call[*kmsg.ReadShareGroupStateResponse](ctx, s.Runtime, k.String(),
		func(m *state.Machine, now time.Time, t machine.Ticket) machine.Effects { return m.Read(now, t, k, q) })
	if code != kerr.None {
		return state.Snapshot{}, refused("read", k, code)
	}
	p := &r.Topics[0].Partitions[0]
	out := state.Snapshot{StateEpoch: p.StateEpoch, Start: p.StartOffset}
	for _, b := range p.StateBatches {
		out.Batches = append(out.Batches, share.Batch{First: b.FirstOffset, Last: b.LastOffset, State: share.State(b.DeliveryState), Count: b.DeliveryCount})
	}
	return out, refused("read", k, kerr.Code(p.ErrorCode))
}

// WriteState changes what is stored and blocks until that is durable. Errors: as ReadState, and FencedStateEpoch.
func (s *Shares) WriteState(ctx context.Context, k state.Key, u state.Update) error {
	if err := s.exists(k); err != nil {
		return err
	}
	q := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	q.Partition, q.StateEpoch, q.LeaderEpoch = k.Partition, u.StateEpoch, u.LeaderEpoch
	q.StartOffset, q.DeliveryCompleteCount = u.Start, u.Complete
	for _, b := range u.Batches {
		out := kmsg.NewWriteShareGroupStateRequestTopicPartitionStateBatch()
		out.FirstOffset, out.LastOffset, out.DeliveryState, out.DeliveryCount = b.First, b.Last, int8(b.State), b.Count
		q.StateBatches = append(q.StateBatches, out)
	}
	r, code := call[*kmsg.WriteShareGroupStateResponse](ctx, s.Runtime, k.String(),
		func(m *state.Machine, now time.Time, t machine.Ticket) machine.Effects { return m.Write(now, t, k, q) })
	if code == kerr.None {
		code = kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	return refused("write", k, code)
}

// DeleteState removes a share-partition; one that is not there is as good as removed. It blocks until that is durable.
func (s *Shares) DeleteState(ctx context.Context, k state.Key) error {
	r, code := call[*kmsg.DeleteShareGroupStateResponse](ctx, s.Runtime, k.String(),
		func(m *state.Machine, now time.Time, t machine.Ticket) machine.Effects { return m.Delete(now, t, k) })
	if code == kerr.None {
		code = kerr.Code(r.Topics[0].Partitions[0].ErrorCode)
	}
	return refused("delete", k, code)
}

// StateSummary gives what is durable. Errors: those of a coordinator that is not there.
func (s *Shares) StateSummary(ctx context.Context, k state.Key) (state.Summary, error) {
	shard, code := s.shard(k.String())
	if code != kerr.None {
		return state.Summary{}, refused("read", k, code)
	}
	p, code := read(ctx, shard, func(m *state.Machine) kmsg.ReadShareGroupStateSummaryResponseTopicPartition { return m.Summary(k) })
	return state.Summary{
		StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch, Start: p.StartOffset, Complete: p.DeliveryCompleteCount,
	}, refused("read", k, code)
}

// TopicDeleted removes all share-partitions of a topic from the partitions loaded here. It only takes note.
func (s *Shares) TopicDeleted(id topic.ID) {
	s.TellAll(func(m *state.Machine, now time.Time) machine.Effects { return m.TopicDeleted(now, id) })
}

func refused(what string, k state.Key, code kerr.Code) error {
	if code == kerr.None {
		return nil
	}
	return fmt.Errorf("%s share state of %s: %w", what, k, code)
}
