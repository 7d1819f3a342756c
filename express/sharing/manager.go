package sharing

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/slab"
	"millrace/express/partition"
	"millrace/express/producer"
	"millrace/express/settings"
	"millrace/express/share"
	"millrace/express/share/state"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Persister keeps the state of share-partitions. Errors are or wrap a kerr.Code. Safe for concurrent use.
type Persister interface {
	// ReadState gives what is stored and fences leaders with a lower epoch.
	ReadState(ctx context.Context, k state.Key, leaderEpoch int32) (state.Snapshot, error)
	// WriteState changes it, and returns when that is durable or never will be.
	WriteState(ctx context.Context, k state.Key, u state.Update) error
}

// Log is a partition of a topic that is served here, as *partition.Partition is; each method is that one's.
type Log interface {
	// Name is the topic's name.
	Name() string
	// Offsets is where the partition stands now.
	Offsets() partition.Offsets
	// Read appends whole batches to dst; its error is partition.ErrOffsetOutOfRange where there is no such offset.
	Read(ctx context.Context, dst *slab.Chain, from int64, maxBytes int, oversize, committed bool) (partition.Offsets, error)
	// Wait tells w when the high watermark passes from, until cancel is called.
	Wait(w *partition.Waiter, from int64) (cancel func())
	// OffsetForTime finds the first record at or after ts (ms); an offset of -1 if there is none.
	OffsetForTime(ctx context.Context, ts int64, committed bool) (partition.Found, error)
	// Aborted lists the aborted transactions that reach into [from, to).
	Aborted(ctx context.Context, from, to int64) ([]producer.Aborted, error)
}

// ResetKind says where a share-partition begins that nobody has read.
type ResetKind int8

// Where a share-partition begins (share.auto.offset.reset).
const (
	ResetLatest ResetKind = iota
	ResetEarliest
	ResetByDuration
)

// Settings of one group.
type Settings struct {
	Limits    share.Limits
	Committed bool // share.isolation.level=read_committed
	Reset     ResetKind
	ResetBy   time.Duration // of ResetByDuration: before now
}

// DefaultSettings are Kafka's defaults.
func DefaultSettings() Settings { return Settings{Limits: share.DefaultLimits()} }

// FromGroup takes over a group's configuration.
func FromGroup(g *settings.Group) Settings {
	s := Settings{
		Limits: share.Limits{
			MaxDeliveries: int16(g.ShareDeliveryLimit), MaxInFlight: g.ShareMaxRecordLocks,
			Lock: time.Duration(g.ShareRecordLockMs) * time.Millisecond, Renew: g.ShareRenew,
		},
		Committed: g.ShareReadCommitted,
	}
	if by, ok := g.ShareResetDuration(); ok {
		s.Reset, s.ResetBy = ResetByDuration, by
	} else if g.ShareOffsetReset == "earliest" {
		s.Reset = ResetEarliest
	}
	return s
}

// Config is read once by New. A zero field takes its default.
type Config struct {
	MaxSessions   func() int // group.share.max.share.sessions; default 2000
	MaxPartitions int        // of all sessions together; default 500,000
}

// World is all that sharing touches outside itself. All fields are needed but Settings.
type World struct {
	// Partition finds a partition that is served here. It must not block.
	Partition func(id topic.Partition) (Log, bool)
	Persister Persister
	Settings  func(group string) Settings // as they are now; must not block; nil: DefaultSettings
	Clock     clock.Clock
	Log       *slog.Logger
}

// Manager has the share sessions and share-partitions of one broker. Make one with New.
type Manager struct {
	cfg   Config
	world World
	life  context.Context // of loads and writes
	end   context.CancelFunc
	work  sync.WaitGroup
	armed chan struct{} // a lock was taken that ends before all others; capacity 1

	metrics Metrics

	mu       sync.Mutex
	closed   bool
	parts    map[state.Key]*sharePartition
	sessions sessions
}

// New returns a Manager that serves nothing yet. Its work ends with ctx, or by Close.
func New(ctx context.Context, cfg Config, w World) *Manager {
	if cfg.MaxSessions == nil {
		cfg.MaxSessions = func() int { return 2000 }
	}
	if cfg.MaxPartitions <= 0 {
		cfg.MaxPartitions = 500_000
	}
	if w.Settings == nil {
		w.Settings = func(string) Settings { return DefaultSettings() }
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	m := &Manager{
		cfg: cfg, world: w, life: life, end: end, armed: make(chan struct{}, 1),
		parts: map[state.Key]*sharePartition{}, sessions: newSessions(),
	}
	m.work.Go(m.expireLocks)
	return m
}

// Close ends all work and waits for it. What was not stored by then is as if it had not been asked for.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.drop(kerr.NotLeaderOrFollower, false, func(state.Key) bool { return true })
	m.end()
	m.work.Wait()
}

// get finds or makes the share-partition of a group, and begins to load it.
func (m *Manager) get(k state.Key, log Log) (*sharePartition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, kerr.NotLeaderOrFollower
	}
	sp := m.parts[k]
	if sp == nil {
		sp = newSharePartition(m, k, log)
		m.parts[k] = sp
		m.work.Go(sp.load)
	}
	return sp, nil
}

// find returns the share-partition of a group if it is there. They stay while their group has a session here.
func (m *Manager) find(k state.Key) *sharePartition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parts[k]
}

// forget takes a share-partition that is fenced and has nothing to write any more out of the table (SH2).
func (m *Manager) forget(sp *sharePartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parts[sp.key] == sp {
		delete(m.parts, sp.key)
	}
}

// drop fences the share-partitions that match.
func (m *Manager) drop(code kerr.Code, replaced bool, match func(k state.Key) bool) {
	m.mu.Lock()
	var dropped []*sharePartition
	for k, sp := range m.parts {
		if match(k) {
			dropped = append(dropped, sp)
		}
	}
	m.mu.Unlock()
	for _, sp := range dropped {
		sp.fence(code, replaced)
	}
}

// PartitionClosed tells that a partition is served here no more.
func (m *Manager) PartitionClosed(id topic.Partition) {
	m.drop(kerr.NotLeaderOrFollower, false, func(k state.Key) bool { return k.Topic == id.Topic && k.Partition == id.Index })
}

// Reset tells that somebody else changed what is stored of a group on a topic: it is read anew.
func (m *Manager) Reset(group string, id topic.ID) {
	m.drop(kerr.NotLeaderOrFollower, true, func(k state.Key) bool { return k.Group == group && k.Topic == id })
}

// dropGroup lets go of a group that has no session any more.
func (m *Manager) dropGroup(group string) {
	m.drop(kerr.NotLeaderOrFollower, true, func(k state.Key) bool { return k.Group == group })
}

// lockGrain is how late a lock may end.
const lockGrain = 50 * time.Millisecond

// arm makes sure that expireLocks looks at the locks.
func (m *Manager) arm() {
	select {
	case m.armed <- struct{}{}:
	default:
	}
}

// expireLocks releases what is held for too long, until the Manager ends.
func (m *Manager) expireLocks() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.life.Done():
			return
		case <-timer.C:
		case <-m.armed:
		}
		if next, ok := m.Expire(); ok {
			timer.Reset(max(next.Sub(m.world.Clock.Now()), lockGrain))
		}
	}
}

func (m *Manager) allLocked() []*sharePartition { return slices.Collect(maps.Values(m.parts)) }

// Expire releases all locks that have run out by the clock, and returns when to look again; ok is false while nothing is
// held. It is called by the Manager itself; tests with a clock of their own call it too.
func (m *Manager) Expire() (next time.Time, ok bool) {
	m.mu.Lock()
	parts := m.allLocked()
	m.mu.Unlock()
	for _, sp := range parts {
		if at, held := sp.expire(m.world.Clock.Now()); held && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}
