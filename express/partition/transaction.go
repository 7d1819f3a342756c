package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace/express/manifest"
	"millrace/express/producer"
	"millrace/kafka/record"
)

// Errors of transactions, told apart with errors.Is.
var (
	// ErrTransactionState: a record is not part of a transaction that the coordinator knows of, or has to be and is not.
	ErrTransactionState = errors.New("not part of an ongoing transaction")
	// ErrCoordinatorFenced: a newer transaction coordinator has written a marker already.
	ErrCoordinatorFenced = errors.New("transaction coordinator is fenced")
)

// Guard is the permission to append the first batch of a transaction (KIP-890). It loses its force when the marker of that
// transaction is appended, so that a batch that was held up cannot begin a transaction that nobody will end.
type Guard struct {
	producer  int64
	epoch     int16
	lowest    int32 // sequence of the batches that asked; later ones must not overtake the lowest
	fromStart bool  // the producer's epoch is new, so it must begin at sequence 0
	asked     time.Time
}

// outlives reports whether the marker ends an earlier transaction than the guard's. A producer that raises its epoch with
// each transaction asks for the next one with the epoch that the last one's markers carry, and may do so before they are
// written; its own transaction ends with a higher epoch.
func (g *Guard) outlives(markerEpoch int16) bool { return g.fromStart && g.epoch >= markerEpoch }

// Begin is called before the transactional batch b of a client is appended. A nil Guard means that the producer's
// transaction has begun on this partition; else the caller asks the coordinator whether the partition is part of the
// transaction, and passes the Guard on to AppendGuarded. fromStart says that the producer bumps its epoch with each
// transaction (transaction version 2).
func (p *Partition) Begin(b record.Batch, fromStart bool) *Guard {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := b.ProducerID()
	if p.begun(b) {
		return nil
	}
	g := p.guards[id]
	if g == nil || g.epoch != b.ProducerEpoch() {
		g = &Guard{producer: id, epoch: b.ProducerEpoch(), lowest: b.BaseSequence(), asked: p.world.Clock.Now()}
		p.guards[id] = g
	}
	g.lowest = min(g.lowest, b.BaseSequence())
	g.fromStart = g.fromStart || fromStart
	return g
}

// begun reports whether the batch's transaction has begun on this partition. One of an older epoch of the producer is another
// transaction: it is decided already, and its marker is on the way. The caller holds mu.
func (p *Partition) begun(b record.Batch) bool {
	epoch, open := p.ongoing[b.ProducerID()]
	return open && epoch == b.ProducerEpoch()
}

// checkTransaction judges whether a client's batch may be part of a transaction, or outside of one. The caller holds mu.
func (p *Partition) checkTransaction(b record.Batch, g *Guard) error {
	id := b.ProducerID()
	switch {
	case b.IsControl():
		return nil
	case !b.IsTransactional():
		if _, open := p.ongoing[id]; open {
			return fmt.Errorf("%w: producer %d has one, but the record is outside of it", ErrTransactionState, id)
		}
		return nil
	case p.begun(b):
		return nil
	case g == nil || g != p.guards[id] || g.epoch != b.ProducerEpoch():
		if epoch, ok := p.undone[id]; ok && epoch == b.ProducerEpoch() {
			return fmt.Errorf("%w: the write that began the transaction of producer %d failed", ErrStorage, id)
		}
		return fmt.Errorf("%w: producer %d, epoch %d", ErrTransactionState, id, b.ProducerEpoch())
	case !p.producers.Knows(id) && b.BaseSequence() > g.lowest, !p.producers.Knows(id) && g.fromStart && b.BaseSequence() != 0:
		return fmt.Errorf("producer %d is not known, sequence %d: %w", id, b.BaseSequence(), producer.ErrOutOfOrderSequence)
	}
	return nil
}

// assigned notes what an appended batch means for those that come after it. The caller holds mu.
func (p *Partition) assigned(b record.Batch) {
	if !b.IsTransactional() {
		return
	}
	id := b.ProducerID()
	delete(p.undone, id)
	if !b.IsControl() {
		delete(p.guards, id)
		p.ongoing[id] = b.ProducerEpoch()
		return
	}
	delete(p.ongoing, id)
	if g := p.guards[id]; g != nil && !g.outlives(b.ProducerEpoch()) {
		delete(p.guards, id)
	}
}

// restoreOngoing goes back to what is durable. A transaction that began with what is not may still be going on: a batch of it that
// found it begun, and was held up, is to be sent again, and not to be told that it belongs to none. The caller holds mu.
func (p *Partition) restoreOngoing() {
	before := p.ongoing
	p.ongoing = make(map[int64]int16, len(before))
	for _, id := range p.txns.OpenIDs() {
		p.ongoing[id], _ = p.producers.Epoch(id)
	}
	for id, epoch := range before {
		if _, open := p.ongoing[id]; !open {
			p.undone[id] = epoch
		}
	}
}

// lso is the last stable offset. The caller holds mu.
func (p *Partition) lso() int64 {
	if first, open := p.txns.First(); open {
		return max(first, p.logStart) // retention may have taken the begin of the transaction
	}
	return p.hw
}

// markerOrigin is what is known of a marker besides its batch.
type markerOrigin struct {
	coordinator int32 // epoch
	version     int16 // of the transaction
}

// strictVersion is the transaction version from which on each end of a transaction raises the producer's epoch.
const strictVersion = 2

// WriteMarker ends a producer's transaction on this partition. version is the transaction's (KIP-1228): from 2 on the marker's
// epoch has to be above the producer's. done is called exactly once, like Append's. Errors: producer.ErrInvalidEpoch,
// ErrCoordinatorFenced, ErrNotOwner, ErrStorage.
func (p *Partition) WriteMarker(ctx context.Context, m record.Marker, version int16, done func(Appended)) {
	p.append(ctx, record.EncodeMarker(nil, m), origin{marker: &markerOrigin{m.CoordinatorEpoch, version}}, -1, done)
}

// checkMarker judges a marker whose epoch is not below the producer's: that of the producer before that of the coordinator, as
// Kafka does. The caller holds mu.
func (p *Partition) checkMarker(b record.Batch, m markerOrigin) error {
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	current, known := p.producers.Epoch(id)
	// A marker that comes again is harmless while nothing new has begun; the highest epoch cannot be raised.
	_, open := p.ongoing[id]
	if m.version >= strictVersion && known && epoch == current && open && epoch != math.MaxInt16 {
		return fmt.Errorf("%w: marker of producer %d with the epoch %d of its open transaction", producer.ErrInvalidEpoch, id, epoch)
	}
	if newest := p.txns.CoordinatorEpoch(id); m.coordinator < newest {
		return fmt.Errorf("%w: epoch %d, known %d", ErrCoordinatorFenced, m.coordinator, newest)
	}
	return nil
}

// Aborted returns the aborted transactions that have a batch or the marker in [from, to), by their first offset: what a
// read_committed consumer has to leave out.
func (p *Partition) Aborted(ctx context.Context, from, to int64) ([]producer.Aborted, error) {
	p.mu.Lock()
	m := p.manifest
	out := p.txns.Aborted(max(from, m.End), to)
	p.mu.Unlock()
	if from >= m.End || to <= from {
		return out, nil
	}
	sealed, err := p.world.Segments.Aborted(ctx, m.Segments, from, to)
	if err != nil {
		return nil, fmt.Errorf("%w: aborted transactions of %s-%d: %w", ErrStorage, p.name, p.id.Index, err)
	}
	for _, a := range sealed {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b producer.Aborted) int { return int(min(max(a.First-b.First, -1), 1)) })
	return out, nil
}

// abortedIn returns what the log knows of aborted transactions that reach into [from, to).
func (p *Partition) abortedIn(from, to int64) []producer.Aborted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.txns.Aborted(from, to)
}

// ActiveProducer is a producer that the partition knows.
type ActiveProducer struct {
	producer.Entry
	CoordinatorEpoch int32 // of the last marker; -1: none
	TxnStart         int64 // first offset of the open transaction; -1: none
}

// ActiveProducers lists the producers that the partition knows, by id.
func (p *Partition) ActiveProducers() []ActiveProducer {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries := p.producers.Entries()
	out := make([]ActiveProducer, len(entries))
	for i, e := range entries {
		out[i] = ActiveProducer{Entry: e, CoordinatorEpoch: p.txns.CoordinatorEpoch(e.ID), TxnStart: -1}
		if first, open := p.txns.Open(e.ID); open {
			out[i].TxnStart = first
		}
	}
	return out
}

// ExpireProducers forgets producers that have not written for longer than maxAge (producer.id.expiration.ms) and have no
// transaction open.
func (p *Partition) ExpireProducers(maxAge time.Duration) int {
	before := p.world.Clock.Now().Add(-maxAge)
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.undone) // what was held up then has come long since
	for id, g := range p.guards {
		if g.asked.Before(before) {
			delete(p.guards, id)
		}
	}
	gone := p.producers.Expire(before.UnixMilli(), func(id int64) bool {
		_, open := p.ongoing[id]
		return open
	})
	for _, id := range gone {
		p.txns.Forget(id)
	}
	return len(gone)
}

// trimTransactions forgets the ended transactions that lie in segments now. The caller holds mu.
func (p *Partition) trimTransactions(m *manifest.Manifest) { p.txns.Trim(max(m.End, p.logStart)) }
