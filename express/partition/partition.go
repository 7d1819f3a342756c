package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"millrace/base/clock"
	"millrace/base/limit"
	"millrace/base/object"
	"millrace/base/slab"
	"millrace/express/manifest"
	"millrace/express/producer"
	"millrace/express/segment"
	"millrace/express/settings"
	"millrace/express/wal"
	"millrace/kafka/topic"
)

// Errors that callers tell apart with errors.Is. Those of packages record and
// producer come through wrapped.
var (
	// ErrNotOwner: the partition is not served here (closed, moved or deleted).
	ErrNotOwner = errors.New("partition is not served here")
	// ErrFencedEpoch: the caller knows an older leader epoch than the current one.
	ErrFencedEpoch = errors.New("leader epoch is fenced")
	// ErrUnknownEpoch: the caller knows a newer leader epoch than this broker.
	ErrUnknownEpoch = errors.New("leader epoch is unknown")
	// ErrOffsetOutOfRange: the offset is below the log start or past the end.
	ErrOffsetOutOfRange = errors.New("offset is out of range")
	// ErrStorage: the log could not be written or read; a retry may succeed.
	ErrStorage = errors.New("storage error")
	// ErrPolicy: the topic's cleanup policy does not allow the call.
	ErrPolicy = errors.New("not allowed by the cleanup policy")
	// ErrGap: segments and log do not meet; data between them is missing.
	ErrGap = errors.New("a range of offsets is missing")
	// ErrNotFrozen: the partition serves, so that what was asked for would not hold.
	ErrNotFrozen = errors.New("partition is not frozen")
)

// World is all that a partition touches outside itself. All fields are needed
// but Retire.
type World struct {
	Stream    *wal.Stream
	Segments  *segment.Cache
	Objects   object.Store
	Manifests *manifest.Store
	Slabs     *slab.Pool
	Clock     clock.Clock
	Log       *slog.Logger
	// Inflate bounds what is decompressed at a time, in bytes, and so what a batch
	// may decompress to. It is shared by all partitions of a broker; nil: a budget of
	// its own of DefaultInflate.
	Inflate *limit.Budget
	// Retire takes the keys of objects that no manifest references any more,
	// to be deleted after a grace period. Nil leaves them to the sweep.
	Retire func(keys []string)
}

// Config says which partition to open and what is known of it.
type Config struct {
	ID       topic.Partition    // permanent identity
	Name     string             // the topic's name, for messages
	Epoch    int32              // leader epoch under which this broker owns it
	Settings *settings.Topic    // see SetSettings
	Manifest *manifest.Manifest // current one; Version 0 where there is none
}

// Offsets is where a partition stands at one moment.
type Offsets struct {
	LogStart int64 // first readable offset
	LSO      int64 // last stable offset: transactions below it are decided
	HW       int64 // high watermark: what is below it is durable
	End      int64 // the next offset to be given
	Epoch    int32 // leader epoch
}

// Partition is one partition of which this broker is the owner. Make one with Open.
type Partition struct {
	id       topic.Partition
	name     string
	world    World
	settings atomic.Pointer[settings.Topic]

	maintenance turn
	committing  turn
	appending   sync.Mutex

	mu        sync.Mutex
	closed    bool
	frozen    chan struct{} // not nil while frozen; closed when that ends
	drained   chan struct{} // not nil while Freeze waits until nothing is in flight; closed then
	epoch     int32
	logStart  int64
	hw        int64
	end       int64
	inFlight  int  // batches queued and not answered
	failing   bool // a write failed and inFlight has not drained yet
	producers *producer.Table
	txns      *producer.Transactions // durable ones
	ongoing   map[int64]int16        // producers with an open transaction, in flight or durable: its epoch
	guards    map[int64]*Guard       // by producer, see Begin
	undone    map[int64]int16        // producers whose transaction began with a write that failed, until they write again: its epoch
	pending   []pendingDuplicate
	waiters   map[*registration]struct{}
	manifest  *manifest.Manifest
	epochs    []manifest.EpochStart

	bytesIn, bytesOut, batchesIn atomic.Int64
}

// Open makes the partition ready from what its manifest and its stream of the
// log hold. It returns ErrGap where a range between the two is missing, and
// what reading the last segment's producer snapshot returns.
func Open(ctx context.Context, cfg Config, w World) (*Partition, error) {
	if w.Inflate == nil {
		w.Inflate = limit.NewBudget(DefaultInflate)
	}
	p := &Partition{id: cfg.ID, name: cfg.Name, world: w, epoch: cfg.Epoch, manifest: cfg.Manifest, waiters: map[*registration]struct{}{},
		maintenance: newTurn(), committing: newTurn(), ongoing: map[int64]int16{}, guards: map[int64]*Guard{}, undone: map[int64]int16{}}
	p.settings.Store(cfg.Settings)
	first, end := w.Stream.Bounds()
	if end > cfg.Manifest.End && first > cfg.Manifest.End {
		return nil, fmt.Errorf("open %s-%d: %w: segments end at %d, the log begins at %d", p.name, p.id.Index, ErrGap, cfg.Manifest.End, first)
	}
	p.logStart = cfg.Manifest.LogStart
	p.end = max(end, cfg.Manifest.End)
	p.hw = p.end
	w.Stream.Trim(max(cfg.Manifest.End, p.logStart))
	if err := p.loadProducers(ctx); err != nil {
		return nil, fmt.Errorf("open %s-%d: %w", p.name, p.id.Index, err)
	}
	p.loadEpochs()
	return p, nil
}

func (p *Partition) loadProducers(ctx context.Context) error {
	p.producers = &producer.Table{}
	if n := len(p.manifest.Segments); n > 0 {
		err := p.world.Segments.With(ctx, p.manifest.Segments[n-1], func(r *segment.Reader) error {
			t, err := r.Producers(ctx)
			if err == nil {
				p.producers = t
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("load producers: %w", err)
		}
	}
	s, err := p.world.Stream.Producers(ctx)
	if err != nil {
		return fmt.Errorf("load producers: %w", err)
	}
	p.producers.Merge(&s.Table)
	p.txns = &s.Transactions
	p.trimTransactions(p.manifest)
	p.restoreOngoing()
	return nil
}

// loadEpochs joins the epochs of manifest and log and begins the current one.
func (p *Partition) loadEpochs() {
	p.epochs = slices.Clone(p.manifest.Epochs)
	for _, e := range p.world.Stream.Epochs() {
		if n := len(p.epochs); n == 0 || e.Epoch > p.epochs[n-1].Epoch {
			p.epochs = append(p.epochs, manifest.EpochStart{Epoch: e.Epoch, Start: e.Start})
		}
	}
	p.beginEpoch(p.epoch)
}

// beginEpoch notes that epoch starts at the end of the log; an earlier epoch
// that got no record leaves no entry.
func (p *Partition) beginEpoch(epoch int32) {
	for n := len(p.epochs); n > 0 && p.epochs[n-1].Start >= p.end; n-- {
		p.epochs = p.epochs[:n-1]
	}
	p.epochs = append(p.epochs, manifest.EpochStart{Epoch: epoch, Start: p.end})
}

// Close stops serving: appends and reads are refused with ErrNotOwner and all
// waiters are told. Batches that are already queued still get their answer.
func (p *Partition) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.thawLocked()
	p.notifyLocked()
}

// ID is the partition's permanent identity.
func (p *Partition) ID() topic.Partition { return p.id }

// Name is the topic's name.
func (p *Partition) Name() string { return p.name }

// SetSettings replaces the topic's configuration; later calls go by it.
func (p *Partition) SetSettings(s *settings.Topic) { p.settings.Store(s) }

// Settings is the topic's current configuration.
func (p *Partition) Settings() *settings.Topic { return p.settings.Load() }

// Offsets is where the partition stands now.
func (p *Partition) Offsets() Offsets {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offsetsLocked()
}

func (p *Partition) offsetsLocked() Offsets {
	return Offsets{LogStart: p.logStart, LSO: p.lso(), HW: p.hw, End: p.end, Epoch: p.epoch}
}

// CheckEpoch compares the leader epoch that a client knows with the current
// one. -1 means that the client gave none, which is always right.
func (p *Partition) CheckEpoch(epoch int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrNotOwner
	case epoch == -1 || epoch == p.epoch:
		return nil
	case epoch < p.epoch:
		return fmt.Errorf("%w: %d, now %d", ErrFencedEpoch, epoch, p.epoch)
	default:
		return fmt.Errorf("%w: %d, now %d", ErrUnknownEpoch, epoch, p.epoch)
	}
}

// Size is the number of record bytes between log start and end, by whole
// segments and log files.
func (p *Partition) Size() int64 {
	var n int64
	for _, e := range p.pieces() {
		n += e.bytes
	}
	return n
}

// Traffic is what went through a partition since it was opened.
type Traffic struct {
	BytesIn   int64 // record bytes acknowledged
	BatchesIn int64 // batches acknowledged
	BytesOut  int64 // record bytes read
}

// Traffic counts since Open.
func (p *Partition) Traffic() Traffic {
	return Traffic{BytesIn: p.bytesIn.Load(), BatchesIn: p.batchesIn.Load(), BytesOut: p.bytesOut.Load()}
}
