package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"millrace/base/object"
	"millrace/express/tail"
	"millrace/express/wal"
)

const (
	// patience is how long an append waits while the partition is frozen. A hand-over takes some ten milliseconds; when it
	// hangs, clients are better told to look for the owner than left without an answer.
	patience = time.Second
	// shrinkRounds bounds Shrink: where producers are as fast as the disk it would never end.
	shrinkRounds = 4
	// importBytes is how much of a tail is on its way to the log at a time.
	importBytes = 4 << 20
)

// Shrink cuts the log into segments until what is in none is about most bytes, or nothing more can be cut: because of an
// open transaction, or since producers are faster. roll seals the log's active file. The partition is served on.
func (p *Partition) Shrink(ctx context.Context, most int64, roll func(context.Context) error) error {
	all := CutPolicy{Release: func(uint64) bool { return true }}
	for range shrinkRounds {
		if p.tailBytes() <= most {
			return nil
		}
		if err := roll(ctx); err != nil {
			return fmt.Errorf("shrink %s-%d: %w", p.name, p.id.Index, err)
		}
		n, err := p.Cut(ctx, all)
		if err != nil {
			return fmt.Errorf("shrink %s-%d: %w", p.name, p.id.Index, err)
		}
		if n == 0 {
			return nil
		}
	}
	return nil
}

// tailBytes is about what WriteTail would write now.
func (p *Partition) tailBytes() (bytes int64) {
	p.mu.Lock()
	from := max(p.manifest.End, p.logStart)
	p.mu.Unlock()
	for _, e := range p.world.Stream.Extents() {
		if e.End > from {
			part := float64(e.End-max(from, e.Base)) / float64(e.End-e.Base)
			bytes += int64(part * float64(e.Bytes))
		}
	}
	return bytes
}

// Freeze stops every change and waits until all that is queued has its outcome (P10). Reads go on. Background work that
// is under way may go on, too, but its commit fails. With an error the partition serves as before: ErrNotOwner, ctx's.
// Freezing what is frozen changes nothing.
func (p *Partition) Freeze(ctx context.Context) error {
	drained, err := p.freeze()
	if err != nil {
		return err
	}
	select {
	case <-drained:
	case <-ctx.Done():
		p.Thaw()
		return fmt.Errorf("freeze %s-%d: %w", p.name, p.id.Index, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrNotOwner
	}
	return nil
}

// freeze closes the ways in. The channel that it returns is closed when nothing is in flight.
func (p *Partition) freeze() (drained <-chan struct{}, err error) {
	p.committing.Lock() // a commit that has begun ends first
	defer p.committing.Unlock()
	p.appending.Lock() // so does the queueing of a batch
	defer p.appending.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrNotOwner
	}
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
	if p.drained == nil {
		p.drained = make(chan struct{})
	}
	drained = p.drained
	p.drainedLocked()
	return drained, nil
}

// drainedLocked tells Freeze when nothing is in flight. The caller holds mu.
func (p *Partition) drainedLocked() {
	if p.inFlight == 0 && p.drained != nil {
		close(p.drained)
		p.drained = nil
	}
}

// Thaw ends a freeze: the partition serves again. It does nothing where it is not frozen, or closed.
func (p *Partition) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawLocked()
}

func (p *Partition) thawLocked() {
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// startAppending takes appending once the partition is not frozen. Errors: ErrNotOwner, ctx's.
func (p *Partition) startAppending(ctx context.Context) error {
	return p.startUnfrozen(ctx, &p.appending)
}

// awaitMaintenance takes maintenance once the partition is not frozen. Errors: ErrNotOwner, ctx's.
func (p *Partition) awaitMaintenance(ctx context.Context) error {
	return p.startUnfrozen(ctx, p.maintenance)
}

func (p *Partition) startUnfrozen(ctx context.Context, lock sync.Locker) error {
	var waited *time.Timer
	for {
		lock.Lock()
		p.mu.Lock()
		frozen, closed := p.frozen, p.closed
		p.mu.Unlock()
		if frozen == nil && !closed {
			return nil
		}
		lock.Unlock()
		if closed {
			return ErrNotOwner
		}
		if waited == nil {
			waited = time.NewTimer(patience)
			defer waited.Stop()
		}
		select {
		case <-frozen:
		case <-waited.C:
			return fmt.Errorf("%w: it is on its way to another broker", ErrNotOwner)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s-%d: %w", p.name, p.id.Index, ctx.Err())
		}
	}
}

// startCommit takes committing, unless the partition is frozen or closed (P10, P11).
func (p *Partition) startCommit() error {
	p.committing.Lock()
	p.mu.Lock()
	ok := p.frozen == nil && !p.closed
	p.mu.Unlock()
	if !ok {
		p.committing.Unlock()
		return fmt.Errorf("%w: it is leaving, or closed", ErrNotOwner)
	}
	return nil
}

// startMaintenance takes maintenance, unless the partition is frozen or closed: then the work is not for now (P10, P11).
func (p *Partition) startMaintenance() bool {
	p.maintenance.Lock()
	p.mu.Lock()
	ok := p.frozen == nil && !p.closed
	p.mu.Unlock()
	if !ok {
		p.maintenance.Unlock()
	}
	return ok
}

// WriteTail writes what the new owner needs beside the manifest, and returns its key: "" where that is nothing. The
// partition must be frozen and stay so. Errors: ErrNotFrozen, ErrStorage, ErrGap, ctx's. What an error leaves behind goes
// by tail.Sweep.
func (p *Partition) WriteTail(ctx context.Context) (key string, err error) {
	p.mu.Lock()
	frozen, from, end := p.frozen != nil && p.inFlight == 0, max(p.manifest.End, p.logStart), p.hw
	k := tail.NewKey(p.id, p.epoch)
	p.mu.Unlock()
	switch {
	case !frozen:
		return "", ErrNotFrozen
	case from >= end:
		return "", nil
	}
	base, err := p.batchAt(ctx, from) // the log start may lie within a batch
	if err == nil {
		err = p.writeTail(ctx, k, base, from, end)
	}
	if err != nil {
		return "", fmt.Errorf("%w: write the tail of %s-%d: %w", ErrStorage, p.name, p.id.Index, err)
	}
	return k.String(), nil
}

// writeTail copies the batches of [from, end), the first of which begins at base.
func (p *Partition) writeTail(ctx context.Context, k tail.Key, base, from, end int64) error {
	w, err := tail.Create(ctx, p.world.Objects, k, base, end)
	if err != nil {
		return err
	}
	defer w.Abort()
	for from < end {
		next, err := p.copyChunk(ctx, w, from, end)
		if err != nil {
			return err
		}
		if next <= from {
			return fmt.Errorf("%w: the log yields nothing at %d", ErrGap, from)
		}
		from = next
	}
	return w.Finish(ctx)
}

// Import takes the tail of a partition into a new stream of this broker's log, as it is, and returns when it is durable
// there. The stream must have been made for that, and be forgotten after an error. Errors: tail.ErrCorrupt,
// object.ErrNotFound, those of the log and the store.
func Import(ctx context.Context, objects object.Store, key tail.Key, to *wal.Stream) error {
	r, err := tail.Open(ctx, objects, key)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	in := newImporter()
	err = in.all(ctx, r, to)
	return errors.Join(err, r.Close())
}

// importer appends what comes from elsewhere, a few at a time.
type importer struct {
	room chan struct{} // holds a token when something has come back

	mu    sync.Mutex
	bytes int // on the way to the log
	err   error
}

func newImporter() *importer { return &importer{room: make(chan struct{}, 1)} }

// all appends a tail.
func (in *importer) all(ctx context.Context, r *tail.Reader, to *wal.Stream) error {
	for {
		run, err := r.Next()
		if errors.Is(err, io.EOF) {
			return in.finish(ctx, nil)
		}
		if err == nil {
			err = in.append(ctx, to, &wal.Entry{Data: run.Data, BaseOffset: run.Base, LastOffset: run.Last, MaxTimestamp: run.MaxTimestamp})
		}
		if err != nil {
			return in.finish(ctx, fmt.Errorf("import: %w", err))
		}
	}
}

// append queues one entry once there is room. It returns the log's errors, of this entry or of those before.
func (in *importer) append(ctx context.Context, to *wal.Stream, e *wal.Entry) error {
	if err := in.await(ctx, importBytes); err != nil {
		return err
	}
	n := len(e.Data)
	e.Done = func(err error) { in.done(n, err) }
	in.add(n)
	err := to.Append(ctx, e)
	if err != nil {
		in.done(n, nil)
	}
	return err
}

// finish waits until what was taken has come back, also after a fault, so that nothing of it comes late; but not beyond ctx:
// a log whose store is away gives nothing back, until it is closed.
func (in *importer) finish(ctx context.Context, fault error) error {
	if err := in.await(ctx, 0); err != nil && fault == nil {
		return fmt.Errorf("import: %w", err)
	}
	return fault
}

func (in *importer) add(n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bytes += n
}

func (in *importer) done(n int, err error) {
	in.mu.Lock()
	in.bytes -= n
	if in.err == nil {
		in.err = err
	}
	in.mu.Unlock()
	select {
	case in.room <- struct{}{}:
	default:
	}
}

// await waits until at most most bytes are on the way, or all are back after a failure.
func (in *importer) await(ctx context.Context, most int) error {
	for {
		in.mu.Lock()
		bytes, err := in.bytes, in.err
		in.mu.Unlock()
		switch {
		case bytes == 0 && err != nil:
			return err
		case err == nil && bytes <= most:
			return nil
		}
		select {
		case <-in.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
