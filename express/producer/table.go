package producer

import (
	"fmt"
	"maps"
	"slices"

	"millrace/kafka/record"
)

// Kept is how many batches of a producer are recognised as duplicates (as in Kafka).
const Kept = 5

// Batch is what is remembered of one appended batch.
type Batch struct {
	BaseOffset   int64
	LastOffset   int64
	BaseSequence int32
	LastSequence int32
	Timestamp    int64 // max timestamp of the batch, ms; it answers duplicates
}

// Table holds the state of all producers of one partition. The zero Table is empty and ready. Not safe for concurrent
// use.
type Table struct {
	producers map[int64]*history
}

// Check judges a batch that has a producer id and no offsets yet (P1 to P3). A duplicate of an appended batch comes
// back as dup, a copy, with that batch's offsets. Of a control batch, and of one without a sequence (the offsets that a
// coordinator writes for a producer), only the epoch is judged. Check changes nothing.
// Errors: ErrOutOfOrderSequence, ErrInvalidEpoch.
func (t *Table) Check(b record.Batch) (dup *Batch, err error) {
	h := t.producers[b.ProducerID()]
	if h == nil {
		return nil, nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	if b.IsControl() || first < 0 {
		if b.ProducerEpoch() < h.epoch() {
			err = ErrInvalidEpoch
		}
	} else {
		dup, err = h.check(b.ProducerEpoch(), first, last)
	}
	if err != nil {
		return nil, fmt.Errorf("producer %d, epoch %d, sequences %d to %d, known epoch %d: %w",
			b.ProducerID(), b.ProducerEpoch(), first, last, h.epoch(), err)
	}
	return dup, nil
}

// Apply records b, whose offsets are given, without judging it. Batches of one producer are applied in offset order;
// one that lies below what is known changes nothing, so that replay may overlap. A batch without a producer id is
// ignored.
func (t *Table) Apply(b record.Batch) {
	if b.ProducerID() < 0 {
		return
	}
	h := t.producers[b.ProducerID()]
	if h == nil {
		h = t.put(b.ProducerID(), &history{})
	}
	h.add(event{
		Batch: Batch{
			BaseOffset:   b.BaseOffset(),
			LastOffset:   b.LastOffset(),
			BaseSequence: b.BaseSequence(),
			LastSequence: b.LastSequence(),
			Timestamp:    b.MaxTimestamp(),
		},
		epoch:  b.ProducerEpoch(),
		marker: b.IsControl() || b.BaseSequence() < 0,
	})
}

// Rollback forgets all batches that reach end or lie beyond it: their write failed (P5).
func (t *Table) Rollback(end int64) {
	for id, h := range t.producers {
		if !h.truncate(end) {
			delete(t.producers, id)
		}
	}
}

// Merge adds a table of a later, possibly overlapping part of the log; newer offsets win. later stays unchanged and
// shares nothing with t afterwards.
func (t *Table) Merge(later *Table) {
	for id, h := range later.producers {
		if mine := t.producers[id]; mine != nil {
			mine.merge(h)
		} else {
			t.put(id, h.clone())
		}
	}
}

// Expire drops the producers whose last write has a timestamp before olderThan (ms since 1970), but those for which keep
// is true, and returns their ids. A nil keep keeps none.
func (t *Table) Expire(olderThan int64, keep func(id int64) bool) (gone []int64) {
	for id, h := range t.producers {
		if h.timestamp < olderThan && (keep == nil || !keep(id)) {
			delete(t.producers, id)
			gone = append(gone, id)
		}
	}
	return gone
}

// Knows reports whether anything is known of a producer.
func (t *Table) Knows(id int64) bool { return t.producers[id] != nil }

// Epoch returns the current epoch of a producer; false when nothing is known of it.
func (t *Table) Epoch(id int64) (epoch int16, ok bool) {
	h := t.producers[id]
	if h == nil {
		return 0, false
	}
	return h.epoch(), true
}

// Entry is what DescribeProducers tells of a producer.
type Entry struct {
	ID           int64
	Epoch        int16
	LastSequence int32 // -1: no batch of this epoch
	Timestamp    int64 // ms, of the last write
}

// Entries lists the producers by id.
func (t *Table) Entries() []Entry {
	out := make([]Entry, 0, len(t.producers))
	for _, id := range slices.Sorted(maps.Keys(t.producers)) {
		h := t.producers[id]
		e := Entry{ID: id, Epoch: h.epoch(), LastSequence: record.None, Timestamp: h.timestamp}
		if w := h.window(); len(w) > 0 {
			e.LastSequence = w[len(w)-1].LastSequence
		}
		out = append(out, e)
	}
	return out
}

// Below returns a copy that knows only batches below end. It is exact for each producer that has at most Kept batches
// at or above end; of one that has more, older batches may be missing.
func (t *Table) Below(end int64) *Table {
	below := &Table{}
	for id, h := range t.producers {
		if c := h.clone(); c.truncate(end) {
			below.put(id, c)
		}
	}
	return below
}

// Len is the number of producers.
func (t *Table) Len() int { return len(t.producers) }

func (t *Table) put(id int64, h *history) *history {
	if t.producers == nil {
		t.producers = make(map[int64]*history)
	}
	t.producers[id] = h
	return h
}
