package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"millrace/express/producer"
	"millrace/express/settings"
	"millrace/express/wal"
	"millrace/kafka/record"
)

// Appended is the outcome of an append.
type Appended struct {
	BaseOffset    int64 // first offset of the batch; -1 with an error
	LogAppendTime int64 // ms; -1 where the topic keeps the producer's times; of a duplicate the largest timestamp in any case, as in Kafka
	LogStart      int64 // log start at the time of the answer
	Err           error // nil: durable
}

// pendingDuplicate is a producer's retry of a batch that is not durable yet.
type pendingDuplicate struct {
	batch producer.Batch
	done  func(Appended)
}

// Append makes one batch durable, as a client sent it: b must hold exactly one
// record batch. b belongs to the partition until done is called, which happens
// exactly once: before Append returns where the batch is refused or a
// duplicate, else from the log's goroutine, where it must not block. Append
// blocks only while the log's queue is full, or others decompress, bounded by ctx, and up to patience while the
// partition is frozen.
//
// Errors: those of record.Check and producer.Table.Check, ErrTransactionState, ErrNotOwner, ErrStorage.
func (p *Partition) Append(ctx context.Context, b []byte, done func(Appended)) {
	p.AppendGuarded(ctx, b, nil, done)
}

// AppendGuarded is Append for the first batch of a transaction; see Begin.
func (p *Partition) AppendGuarded(ctx context.Context, b []byte, g *Guard, done func(Appended)) {
	s := p.settings.Load()
	batch, appendTime, err := p.admit(ctx, b, s)
	if err != nil {
		done(p.refused(err))
		return
	}
	p.append(ctx, batch, origin{client: true, guard: g}, appendTime, done)
}

// origin is where a batch comes from. What the broker writes itself is not asked whether it is part of a transaction.
type origin struct {
	client bool
	guard  *Guard        // nil: the batch is not the first of a transaction
	marker *markerOrigin // not nil: the batch is this marker
}

// AppendInternal is Append for batches that the broker built itself: they are
// taken as they are. Markers go by WriteMarker.
func (p *Partition) AppendInternal(ctx context.Context, b record.Batch, done func(Appended)) {
	p.append(ctx, b, origin{}, -1, done)
}

func (p *Partition) refused(err error) Appended {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusedLocked(err)
}

func (p *Partition) refusedLocked(err error) Appended {
	return Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: p.logStart, Err: err}
}

// admit checks a client's batch against the topic's settings and gives it the
// form in which it is stored.
func (p *Partition) admit(ctx context.Context, b []byte, s *settings.Topic) (batch record.Batch, appendTime int64, err error) {
	now := p.world.Clock.Now()
	limits := record.Limits{
		MaxBytes: s.MaxMessageBytes, KeyRequired: s.Compact, AppendTime: s.LogAppendTime,
		Now: now, MaxBefore: milliseconds(s.TimestampBeforeMaxMs), MaxAfter: milliseconds(s.TimestampAfterMaxMs),
	}
	if batch, err = p.reform(ctx, b, s, limits); err != nil {
		return nil, 0, err
	}
	if s.LogAppendTime {
		batch.SetLogAppendTime(now.UnixMilli())
		return batch, now.UnixMilli(), nil
	}
	return batch, -1, nil
}

// reform checks b and recompresses it where the topic asks for that. What is
// decompressed at a time, over all partitions, stays within World.Inflate (P7).
func (p *Partition) reform(ctx context.Context, b []byte, s *settings.Topic, limits record.Limits) (record.Batch, error) {
	head, _, err := record.Next(b)
	if err != nil {
		return record.Check(b, limits)
	}
	recompress := s.Compression != settings.CompressionProducer && record.Codec(s.Compression) != head.Codec()
	limits.Open = recompress
	if !recompress && !limits.Opens(head) {
		return record.Check(b, limits)
	}
	var batch record.Batch
	err = p.inflate(ctx, len(b), func(most int) (err error) {
		limits.MaxDecompressed = most
		if batch, err = record.Check(b, limits); err == nil && recompress {
			batch, err = p.recompressed(batch, s, most)
		}
		return err
	})
	return batch, err
}

// recompressed gives b in the topic's codec.
func (p *Partition) recompressed(b record.Batch, s *settings.Topic, most int) (record.Batch, error) {
	batch, err := record.Recompress(nil, b, record.Codec(s.Compression), s.CompressionLevel, most)
	if err == nil && len(batch) > s.MaxMessageBytes {
		err = fmt.Errorf("%w: %d bytes after recompression, max.message.bytes is %d", record.ErrTooLarge, len(batch), s.MaxMessageBytes)
	}
	return batch, err
}

// milliseconds converts without overflow; what is longer than a Duration can
// say (292 years) bounds nothing, which is 0.
func milliseconds(ms int64) time.Duration {
	if ms > int64(math.MaxInt64/time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func (p *Partition) append(ctx context.Context, b record.Batch, from origin, appendTime int64, done func(Appended)) {
	if err := p.startAppending(ctx); err != nil {
		done(p.refused(err))
		return
	}
	defer p.appending.Unlock()
	e, ok := p.assign(b, from, appendTime, done)
	if !ok {
		return
	}
	if err := p.world.Stream.Append(ctx, e); err != nil {
		e.Done(err) // never queued: the same way back as a failed write
	}
}

// assign gives the batch its offsets and registers it as in flight. Where there
// is nothing to write it answers by itself and returns false.
func (p *Partition) assign(b record.Batch, from origin, appendTime int64, done func(Appended)) (*wal.Entry, bool) {
	p.mu.Lock()
	answer, pending := p.precheck(b, from, done)
	if answer != nil || pending {
		p.mu.Unlock()
		if answer != nil {
			done(*answer)
		}
		return nil, false
	}
	b.SetBaseOffset(p.end)
	b.SetLeaderEpoch(p.epoch)
	e := &wal.Entry{Data: b, BaseOffset: p.end, LastOffset: b.LastOffset(), MaxTimestamp: b.MaxTimestamp()}
	if b.ProducerID() >= 0 {
		p.producers.Apply(b)
		p.assigned(b)
	}
	p.end = e.LastOffset + 1
	p.inFlight++
	p.mu.Unlock()
	e.Done = func(err error) { p.completed(e, appendTime, done, err) }
	return e, true
}

// precheck holds mu. It returns an answer where the batch must not be written,
// or pending where it is a duplicate of one that is still in flight.
func (p *Partition) precheck(b record.Batch, from origin, done func(Appended)) (answer *Appended, pending bool) {
	refuse := func(err error) *Appended {
		a := p.refusedLocked(err)
		return &a
	}
	switch {
	case p.closed:
		return refuse(ErrNotOwner), false
	case p.failing:
		return refuse(fmt.Errorf("%w: an earlier write failed and is being undone", ErrStorage)), false
	case b.ProducerID() < 0:
		return nil, false
	}
	dup, err := p.producers.Check(b)
	switch {
	case err != nil || dup != nil:
	case from.marker != nil:
		err = p.checkMarker(b, *from.marker)
	case from.client:
		err = p.checkTransaction(b, from.guard)
	}
	switch {
	case err != nil:
		return refuse(err), false
	case dup == nil:
		return nil, false
	case dup.LastOffset < p.hw:
		a := p.duplicateLocked(*dup)
		return &a, false
	}
	p.pending = append(p.pending, pendingDuplicate{batch: *dup, done: done})
	return nil, true
}

func (p *Partition) duplicate(d producer.Batch) Appended {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.duplicateLocked(d)
}

func (p *Partition) duplicateLocked(d producer.Batch) Appended {
	return Appended{BaseOffset: d.BaseOffset, LogAppendTime: d.Timestamp, LogStart: p.logStart}
}

// completed is called by the log, in the order of the offsets. Once nothing is
// in flight after a failure the state returns to the durable end (P4): the log
// fails everything that is queued behind a failed write.
func (p *Partition) completed(e *wal.Entry, appendTime int64, done func(Appended), err error) {
	p.mu.Lock()
	p.inFlight--
	var answer Appended
	if err == nil {
		p.hw = e.LastOffset + 1
		p.txns.Apply(e.Data)
		answer = Appended{BaseOffset: e.BaseOffset, LogAppendTime: appendTime, LogStart: p.logStart}
		p.notifyLocked()
	} else {
		p.failing = true
		answer = p.refusedLocked(storageError(err))
	}
	durable := p.takePendingLocked(p.hw)
	var lost []pendingDuplicate
	if p.failing && p.inFlight == 0 {
		p.end = p.hw
		p.producers.Rollback(p.hw)
		p.restoreOngoing()
		p.failing = false
		lost, p.pending = p.pending, nil
	}
	p.drainedLocked()
	p.mu.Unlock()
	if err == nil {
		p.bytesIn.Add(int64(len(e.Data)))
		p.batchesIn.Add(1)
	}
	done(answer)
	for _, d := range durable {
		d.done(p.duplicate(d.batch))
	}
	for _, d := range lost {
		d.done(p.refused(storageError(wal.ErrNoSpace)))
	}
}

func storageError(err error) error {
	if errors.Is(err, wal.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrNotOwner, err)
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// takePendingLocked removes the duplicates whose batch lies below hw.
func (p *Partition) takePendingLocked(hw int64) (ready []pendingDuplicate) {
	if len(p.pending) == 0 {
		return nil
	}
	rest := p.pending[:0]
	for _, d := range p.pending {
		if d.batch.LastOffset < hw {
			ready = append(ready, d)
		} else {
			rest = append(rest, d)
		}
	}
	p.pending = rest
	return ready
}
