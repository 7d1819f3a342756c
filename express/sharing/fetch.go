package sharing

import (
	"context"
	"errors"
	"time"

	"millrace/express/partition"
	"millrace/express/share"
	"millrace/kafka/kerr"
	"millrace/kafka/record"
	"millrace/kafka/topic"
)

// Acknowledgement is what a member says of the records of one partition.
type Acknowledgement struct {
	Partition topic.Partition
	Acks      []share.Ack
}

// Acknowledge acknowledges and returns when all that can be is durable (SH1): an error for each, nil for those that went
// well. Errors are *share.Error or wrap a kerr.Code. When ctx ends first, nothing is known of those that are open.
func (m *Manager) Acknowledge(ctx context.Context, who Member, all []Acknowledgement) []error {
	out := make([]error, len(all))
	type outcome struct {
		i   int
		err error
	}
	ends := make(chan outcome, len(all))
	open := 0
	for i, a := range all {
		sp := m.find(who.key(a.Partition))
		if sp == nil {
			out[i] = kerr.UnknownTopicOrPartition
			continue
		}
		open++
		sp.acknowledge(who.ID, a.Acks, func(err error) { ends <- outcome{i, err} })
	}
	for ; open > 0; open-- {
		select {
		case e := <-ends:
			if out[e.i] = e.err; e.err == nil {
				m.metrics.acknowledged(all[e.i].Acks)
			}
		case <-ctx.Done():
			return append(out[:0], make([]error, len(all))...)
		}
	}
	return out
}

// Fetch is what a member asks for.
type Fetch struct {
	Member
	Parts       []topic.Partition // in the order to serve; each is served here or says so with an error
	Wait        time.Duration     // for MinBytes
	MinBytes    int               // 0: whatever there is, as soon as a partition could be looked at
	MaxBytes    int               // of all; the first batch may be larger
	MaxRecords  int               // see share.Request
	RecordLimit bool
	BatchSize   int

	// Read reads whole batches from an offset on: below the high watermark, or the last stable offset if committed is set;
	// about maxBytes, or the first batch if it is larger and first is set. What it returns is valid until Drop.
	Read func(ctx context.Context, log Log, from int64, maxBytes int, first, committed bool) (parts [][]byte, err error)
	// Drop gives back all that was read.
	Drop func()
}

// Result is what a member gets of one partition. Without records, deliveries or an error there is nothing to say.
type Result struct {
	Partition  topic.Partition
	Err        error // wraps a kerr.Code
	Records    [][]byte
	Deliveries []share.Delivery
}

// fetching is one Fetch under way.
type fetching struct {
	*Manager
	Fetch
	waiter   *partition.Waiter
	watching map[topic.Partition]watch
}

// watch is what a fetch waits at.
type watch struct {
	sp     *sharePartition
	cancel func()
}

// reading is a share-partition that this fetch alone reads.
type reading struct {
	at    int // in Parts
	sp    *sharePartition
	from  int64
	parts [][]byte
	err   error
}

// Fetch acquires records for a member, waiting until there are some.
func (m *Manager) Fetch(ctx context.Context, f Fetch) []Result {
	if len(f.Parts) == 0 || f.MaxRecords <= 0 || f.MaxBytes <= 0 {
		return nil
	}
	w := fetching{Manager: m, Fetch: f, waiter: partition.NewWaiter(), watching: map[topic.Partition]watch{}}
	defer w.stop()
	results, ready := w.once(ctx, f.Wait <= 0)
	if ready || f.Wait <= 0 {
		return results
	}
	timer := time.NewTimer(f.Wait)
	defer timer.Stop()
	for {
		select {
		case <-w.waiter.C:
			if results, ready = w.once(ctx, false); ready {
				return results
			}
		case <-timer.C:
			results, _ = w.once(ctx, true)
			return results
		case <-ctx.Done():
			f.Drop()
			return nil
		}
	}
}

func (w *fetching) stop() {
	for _, at := range w.watching {
		at.cancel()
	}
}

// once looks at all partitions. It is ready when there is enough for an answer; last takes what there is.
func (w *fetching) once(ctx context.Context, last bool) (results []Result, ready bool) {
	w.Drop()
	readings, results := w.begin()
	total := w.readAll(ctx, readings)
	failed := len(results) > 0
	for _, r := range readings {
		failed = failed || r.err != nil
	}
	if !last && !failed && total < w.MinBytes {
		for _, r := range readings {
			r.sp.endFetch()
		}
		w.Drop()
		return nil, false
	}
	left := w.MaxRecords
	for _, r := range readings {
		out := w.acquire(r, &left)
		if out.Err != nil || len(out.Deliveries) > 0 {
			results = append(results, out)
		}
	}
	if len(results) > 0 {
		return results, true
	}
	w.Drop()
	return nil, w.MinBytes <= 0 && len(readings) > 0 // who is content with nothing gets it; waiting would be looking again at once
}

// begin takes the share-partitions that can give something; what cannot ever is a result already.
func (w *fetching) begin() (readings []*reading, results []Result) {
	for i, id := range w.Parts {
		sp, err := w.at(id)
		from := int64(-1)
		if err == nil {
			from, err = sp.beginFetch()
		}
		switch {
		case err != nil:
			results = append(results, Result{Partition: id, Err: err})
		case from >= 0:
			readings = append(readings, &reading{at: i, sp: sp, from: from})
		}
	}
	return readings, results
}

// at finds the share-partition and waits at it. One that this fetch has waited at and that failed is not tried again.
func (w *fetching) at(id topic.Partition) (*sharePartition, error) {
	before := w.watching[id]
	if before.sp != nil {
		if err := before.sp.failure(); err != nil {
			return nil, err
		}
	}
	log, ok := w.world.Partition(id)
	if !ok {
		return nil, kerr.NotLeaderOrFollower
	}
	sp, err := w.get(w.key(id), log)
	if err != nil {
		return nil, err
	}
	if before.sp != nil {
		before.cancel()
	}
	appended, changed := log.Wait(w.waiter, log.Offsets().HW), sp.watch(w.waiter)
	w.watching[id] = watch{sp, func() {
		appended()
		changed()
	}}
	return sp, nil
}

// failure is why a share-partition serves nobody any more; nil while it does, or another will take its place.
func (sp *sharePartition) failure() error {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.code == kerr.None || sp.replaced {
		return nil
	}
	return fetchCode(sp.code)
}

// fetchCode is a code that clients of ShareFetch understand.
func fetchCode(code kerr.Code) kerr.Code {
	switch code {
	case kerr.NotLeaderOrFollower, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError:
		return code
	default:
		return kerr.UnknownServerError
	}
}

// beginFetch gives where to read; -1 if there is nothing to gain now. The caller must call endFetch if it is not.
func (sp *sharePartition) beginFetch() (from int64, err error) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.code != kerr.None && !sp.replaced {
		return -1, fetchCode(sp.code)
	}
	p := sp.activeLocked()
	if p == nil || sp.fetching {
		return -1, nil
	}
	p.MoveStart(sp.log.Offsets().LogStart)
	if !p.CanAcquire() {
		return -1, nil
	}
	sp.fetching = true
	return p.NextFetch(), nil
}

// endFetch lets others read.
func (sp *sharePartition) endFetch() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.fetching = false
}

// readAll reads, each partition its part of the bytes.
func (w *fetching) readAll(ctx context.Context, readings []*reading) (total int) {
	if len(readings) == 0 {
		return 0
	}
	committed := w.world.Settings(w.Group).Committed
	each := max(w.MaxBytes/len(readings), 1)
	for _, r := range readings {
		r.parts, r.err = w.Read(ctx, r.sp.log, r.from, each, total == 0, committed)
		if errors.Is(r.err, partition.ErrOffsetOutOfRange) { // the log's start moved just now: the next look sees it
			r.parts, r.err = nil, nil
		}
		for _, part := range r.parts {
			total += len(part)
		}
	}
	return total
}

// acquire gives the member what was read, as far as it is available and wanted.
func (w *fetching) acquire(r *reading, left *int) Result {
	out := Result{Partition: w.Parts[r.at], Err: r.err}
	defer r.sp.doneFetching()
	if r.err != nil {
		return out
	}
	spans, err := w.spans(r)
	if err != nil {
		out.Err = err
		return out
	}
	r.sp.mu.Lock()
	defer r.sp.mu.Unlock()
	p := r.sp.activeLocked()
	if p == nil {
		return out
	}
	before, held := p.Deadline()
	out.Deliveries = p.Acquire(w.world.Clock.Now(), share.Request{
		Member: w.ID, MaxRecords: *left, RecordLimit: w.RecordLimit, BatchSize: w.BatchSize, From: r.from, Read: spans,
	})
	for _, d := range out.Deliveries {
		*left -= int(d.Last - d.First + 1)
		w.metrics.Delivered.Add(d.Last - d.First + 1)
	}
	if len(out.Deliveries) > 0 {
		out.Records = slice(r.parts, out.Deliveries[0].First, out.Deliveries[len(out.Deliveries)-1].Last)
		if at, _ := p.Deadline(); !held || at.Before(before) {
			w.arm()
		}
	}
	return out
}

// doneFetching lets others read, and tells them.
func (sp *sharePartition) doneFetching() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.fetching = false
	sp.notifyLocked()
}

// spans are the batches that were read; in a group that reads committed records only, with those that were aborted.
func (w *fetching) spans(r *reading) ([]share.Span, error) {
	var spans []share.Span
	var batches []record.Batch
	for _, part := range r.parts {
		for len(part) > 0 {
			b, rest, err := record.Next(part)
			if err != nil {
				return nil, errors.Join(kerr.CorruptMessage, err)
			}
			spans, batches = append(spans, share.Span{First: b.BaseOffset(), Last: b.LastOffset()}), append(batches, b)
			part = rest
		}
	}
	if len(spans) == 0 || !w.world.Settings(w.Group).Committed {
		return spans, nil
	}
	aborted, err := r.sp.log.Aborted(w.life, spans[0].First, spans[len(spans)-1].Last+1)
	if err != nil {
		return nil, errors.Join(kerr.KafkaStorageError, err)
	}
	for i, b := range batches {
		if !b.IsTransactional() || b.IsControl() {
			continue
		}
		for _, a := range aborted {
			spans[i].Aborted = spans[i].Aborted || a.ProducerID == b.ProducerID() && a.First <= b.BaseOffset() && b.LastOffset() <= a.Last
		}
	}
	return spans, nil
}

// slice leaves out the batches before and after what was acquired.
func slice(parts [][]byte, first, last int64) [][]byte {
	var out [][]byte
	for _, part := range parts {
		from, to, at := -1, 0, 0
		for at < len(part) {
			b, rest, err := record.Next(part[at:])
			if err != nil {
				break
			}
			end := len(part) - len(rest)
			if b.LastOffset() >= first && b.BaseOffset() <= last {
				if from < 0 {
					from = at
				}
				to = end
			}
			at = end
		}
		if from >= 0 {
			out = append(out, part[from:to])
		}
	}
	return out
}
