package coord

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/express/machine"
	"millrace/express/settings"
	"millrace/express/transaction"
	"millrace/kafka/kerr"
	"millrace/kafka/topic"
)

// Markers writes the markers that end transactions. Safe for concurrent use.
type Markers interface {
	// WriteMarker has a marker appended to a partition, wherever that is. done is called once, from any goroutine, maybe before
	// WriteMarker returns: when the marker is durable, or has failed. kerr.Of tells the reason of an error:
	// UnknownTopicOrPartition, the partition does not exist (any more); InvalidProducerEpoch, the producer is at a later epoch
	// there; everything else may go away. WriteMarker may block, bounded by ctx, for a partition of this broker only: markers
	// for another broker, which may be away, must not hold back those for here.
	WriteMarker(ctx context.Context, tp machine.TopicPartition, m machine.Marker, done func(err error))
}

// TransactionSettings are read anew for every event, so that configuration changes take effect at once.
type TransactionSettings struct {
	Limits         transaction.Limits
	ExpireInterval time.Duration // transaction.remove.expired.transaction.cleanup.interval.ms; 0: 10 minutes
}

// TransactionsFromBroker takes over what the broker's configuration says and leaves the rest at its default.
func TransactionsFromBroker(b *settings.Broker) TransactionSettings {
	l := transaction.DefaultLimits()
	l.MaxTimeout = time.Duration(b.TransactionMaxTimeoutMs) * time.Millisecond
	l.CheckInterval = time.Duration(b.TransactionAbortCheckMs) * time.Millisecond
	l.Expiration = time.Duration(b.TransactionalIDExpirationMs) * time.Millisecond
	return TransactionSettings{Limits: l, ExpireInterval: time.Duration(b.TransactionalIDCheckMs) * time.Millisecond}
}

// TransactionConfig is read once by NewTransactions.
type TransactionConfig struct {
	Partitions int32                      // of __transaction_state; at least 1, no default
	Settings   func() TransactionSettings // must not block; default: Kafka's defaults
	QueueLen   int                        // see Config
	Writers    int                        // markers that are written here at a time; default 256
	Leads      func() bool                // see Config
}

// TransactionWorld is what Transactions touches outside itself. All fields are needed.
type TransactionWorld struct {
	Clock   clock.Clock
	Log     *slog.Logger
	Markers Markers
	// NextProducerID gives an id that nobody else ever got. It may block, bounded by ctx.
	NextProducerID func(ctx context.Context) (int64, error)
}

// Transactions is the transaction coordinator: it answers the transaction APIs for the partitions of __transaction_state that
// are loaded, and carries out what was decided there. Make one with NewTransactions. Safe for concurrent use.
type Transactions struct {
	*Runtime[*transaction.Machine]
	world TransactionWorld
	work  *work

	mu     sync.Mutex
	epochs map[int32]int32 // of partitions that are loaded or loading
}

// NewTransactions returns a coordinator without partitions. When ctx ends no more markers are written; Close does the same.
func NewTransactions(ctx context.Context, cfg TransactionConfig, w TransactionWorld) (*Transactions, error) {
	if cfg.Settings == nil {
		cfg.Settings = func() TransactionSettings { return TransactionSettings{Limits: transaction.DefaultLimits()} }
	}
	if cfg.Writers <= 0 {
		cfg.Writers = 256
	}
	t := &Transactions{world: w, work: newWork(ctx, cfg.Writers), epochs: map[int32]int32{}}
	r, err := NewRuntime(Config[*transaction.Machine]{
		Leads:      cfg.Leads,
		Name:       topic.TransactionState,
		Partitions: cfg.Partitions,
		New: func(index int32) *transaction.Machine {
			return transaction.New(cfg.Settings().Limits, t.epochOf(index))
		},
		Configure: func(m *transaction.Machine) { m.Configure(cfg.Settings().Limits) },
		After:     t.after,
		Every:     func() time.Duration { return cfg.Settings().ExpireInterval },
		QueueLen:  cfg.QueueLen,
	}, w.Clock, w.Log)
	if err != nil {
		return nil, err
	}
	t.Runtime = r
	return t, nil
}

// Load is Runtime.Load for a partition that this broker owns in that epoch.
func (t *Transactions) Load(ctx context.Context, index, epoch int32, log Log) error {
	t.mu.Lock()
	t.epochs[index] = epoch
	t.mu.Unlock()
	return t.Runtime.Load(ctx, index, log)
}

func (t *Transactions) epochOf(index int32) int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epochs[index]
}

// Close is Runtime.Close, and waits for markers that are being written.
func (t *Transactions) Close() {
	t.work.stop()
	t.Runtime.Close()
	t.work.wait()
}

// after does what a machine asked for besides its effects.
func (t *Transactions) after(index int32, m *transaction.Machine) {
	for _, task := range m.TakeMarkers() {
		for _, tp := range task.Partitions {
			t.work.add(func(ctx context.Context) { t.write(ctx, index, m, task, tp) })
		}
	}
	if m.TakeNeed() {
		t.work.add(func(ctx context.Context) {
			if id, err := t.world.NextProducerID(ctx); err == nil {
				t.to(index, m, func(time.Time) machine.Effects {
					m.AddProducerID(id)
					return machine.Effects{}
				})
			} else if ctx.Err() == nil {
				t.world.Log.Warn("no producer id for a transaction whose time is up, the next check tries again", "err", err)
			}
		})
	}
}

// write carries out one marker of a task.
func (t *Transactions) write(
	ctx context.Context, index int32, m *transaction.Machine, task transaction.MarkerTask, tp machine.TopicPartition,
) {
	t.world.Markers.WriteMarker(ctx, tp, task.Marker, func(err error) {
		if ctx.Err() == nil {
			t.written(index, m, task, tp, err)
		}
	})
}

// written tells the machine how a marker of a task fared.
func (t *Transactions) written(
	index int32, m *transaction.Machine, task transaction.MarkerTask, tp machine.TopicPartition, err error,
) {
	code := kerr.Of(err)
	// A partition that is gone has nothing to end. Where the producer is at a later epoch, this transaction is over.
	done := code == kerr.None || code == kerr.UnknownTopicOrPartition || code == kerr.InvalidProducerEpoch
	if err != nil {
		level := slog.LevelInfo
		if !done {
			level = slog.LevelDebug // there may be many, and again soon
		}
		t.world.Log.Log(t.work.ctx, level, "marker not written", "transactional_id", task.ID, "producer_id", task.Marker.ID, "topic", tp.Topic,
			"partition", tp.Partition, "again", !done, "err", err)
	}
	t.to(index, m, func(now time.Time) machine.Effects { return m.MarkerWritten(now, task.Number, tp, done) })
}

// to is Tell for one machine: not for a later one of the same partition.
func (t *Transactions) to(index int32, m *transaction.Machine, event func(now time.Time) machine.Effects) {
	t.Tell(index, func(current *transaction.Machine, now time.Time) machine.Effects {
		if current != m {
			return machine.Effects{}
		}
		return event(now)
	})
}
