package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"millrace/express/wal"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// Replay takes in the ends of partitions from the log of another incarnation, for all of them in one pass over it (P14).
// Make one with NewReplay, give it every run of that log in order, then Finish. Not safe for concurrent use.
type Replay struct {
	in    *importer
	parts map[topic.Partition]*intake
}

// intake is one partition of a replay.
type intake struct {
	to    *wal.Stream
	from  int64
	next  int64 // offset that must come next
	begun bool
	ahead int64 // where what was passed over ends, because it lies behind a gap
	err   error // what keeps this partition from being imported, not the others
}

// NewReplay is for no partition at first.
func NewReplay() *Replay {
	return &Replay{in: newImporter(), parts: make(map[topic.Partition]*intake)}
}

// Add has a partition imported from offset from on, where its manifest ends, into a stream that was made for that, and is to be
// forgotten where Finish names the partition.
func (r *Replay) Add(id topic.Partition, from int64, to *wal.Stream) {
	r.parts[id] = &intake{to: to, from: from, next: from}
}

// Wants says which offsets of a partition are needed: from there on, or none. It may be called at any time, also during Take.
func (r *Replay) Wants(id topic.Partition) (from int64, ok bool) {
	p := r.parts[id]
	if p == nil {
		return 0, false
	}
	return p.from, true
}

// Take appends what is new in a run, unchanged. The run is the caller's again when it returns. Errors are those of the own log, which
// end the replay, and ctx's; what is wrong with one partition Finish tells.
func (r *Replay) Take(ctx context.Context, run wal.Run) error {
	p := r.parts[run.Partition]
	if p == nil || !p.needs(run) {
		return nil
	}
	e, err := p.entry(run)
	if err == nil && e == nil {
		p.ahead = max(p.ahead, run.Last+1)
		return nil
	}
	if err == nil {
		err = r.in.append(ctx, p.to, e)
	}
	switch {
	case err == nil:
		p.begun, p.next = true, e.LastOffset+1
	case errors.Is(err, ErrGap), errors.Is(err, wal.ErrInvalid):
		p.err = fmt.Errorf("import %s: %w", run.Partition, err)
	default:
		return fmt.Errorf("import %s: %w", run.Partition, err)
	}
	return nil
}

// needs tells whether there may be something new in a run.
func (p *intake) needs(run wal.Run) bool { return p.err == nil && run.Last >= p.next }

// entry is what of a run is new, nil where something is missing before it. A log may hold a batch twice: a partition came back to
// it, and it imported what it had written. Then what it held before is needed no more, and the begin of that may be trimmed: such a
// rest lies behind a gap, and what was imported later covers the gap and the rest. The first batch may begin below, where the log
// start lies in it.
func (p *intake) entry(run wal.Run) (*wal.Entry, error) {
	e := &wal.Entry{LastOffset: run.Last, BaseOffset: -1}
	for rest := run.Data; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", wal.ErrInvalid, err)
		}
		if e.BaseOffset < 0 && b.LastOffset() >= p.next {
			e.BaseOffset = b.BaseOffset()
			e.Data = bytes.Clone(rest) // the run may be a small part of a large object
			e.MaxTimestamp = b.MaxTimestamp()
		}
		if e.BaseOffset >= 0 {
			e.MaxTimestamp = max(e.MaxTimestamp, b.MaxTimestamp())
		}
		rest = after
	}
	switch {
	case e.BaseOffset > p.next:
		return nil, nil
	case e.BaseOffset < 0, e.BaseOffset < p.next && p.begun:
		return nil, fmt.Errorf("%w: the log goes on at %d, after %d", ErrGap, e.BaseOffset, p.next)
	}
	return e, nil
}

// Finish waits until all that was taken is durable here. Failed names the partitions that cannot be served from it; with err none can.
func (r *Replay) Finish(ctx context.Context) (failed map[topic.Partition]error, err error) {
	if err := r.in.finish(ctx, nil); err != nil {
		return nil, err
	}
	failed = make(map[topic.Partition]error)
	for id, p := range r.parts {
		if p.err == nil && p.next < p.ahead {
			p.err = fmt.Errorf("import %s: %w: the log holds records up to %d, and what comes after %d is missing", id, ErrGap, p.ahead, p.next)
		}
		if p.err != nil {
			failed[id] = p.err
		}
	}
	return failed, nil
}
