package producer

import (
	"cmp"
	"maps"
	"slices"

	"millrace/kafka/record"
)

// Aborted is a transaction whose records in a partition do not count.
type Aborted struct {
	ProducerID int64
	First      int64 // offset of its first batch
	Last       int64 // offset of its marker
}

// ended is a marker in a part of a log. Whether there was a transaction for it to end may lie before the part.
type ended struct {
	producer int64
	first    int64 // first batch in the part since the producer's marker before; -1: none
	last     int64 // offset of the marker
	commit   bool
}

// status is what a part of a log says about the transactions of one producer.
type status struct {
	open   int64 // first batch since the last marker; -1: none
	marker int64 // offset of the last marker; -1: none in the part
	epoch  int32 // of the coordinator that wrote it; -1: none
}

// Transactions is what a log, or a part of one, says about transactions: which are open, and which ended how. A part may
// begin in the midst of a transaction; Merge puts parts together. The zero value is empty and ready. Not safe for
// concurrent use.
//
// T1: Apply takes in batches in offset order, and changes nothing when it brings what is known.
// T2: Merging the parts of a log, however it is cut, gives what applying the whole gives, as far as Open, First, Aborted and
// CoordinatorEpoch tell.
type Transactions struct {
	producers map[int64]status
	ended     []ended // by last
	next      int64   // offset after the last batch that was taken in
	first     int64   // the lowest open; -1: none, or not known (see First)
	known     bool    // first is right
}

// Apply takes in a durable batch. It reports whether the batch ended a transaction or began one.
func (t *Transactions) Apply(b record.Batch) bool {
	if !b.IsTransactional() || b.ProducerID() < 0 || b.BaseOffset() < t.next {
		return false
	}
	t.next = b.LastOffset() + 1
	if b.IsControl() {
		m, err := record.DecodeMarker(b)
		if err != nil {
			return false // some other control record
		}
		t.end(m.ProducerID, b.BaseOffset(), m.CoordinatorEpoch, m.Commit)
		return true
	}
	s := t.status(b.ProducerID())
	if s.open >= 0 {
		return false
	}
	s.open = b.BaseOffset()
	t.put(b.ProducerID(), s)
	return true
}

// end takes in a marker.
func (t *Transactions) end(producer, at int64, epoch int32, commit bool) {
	s := t.status(producer)
	if s.open >= 0 && !commit || s.marker < 0 {
		t.ended = append(t.ended, ended{producer: producer, first: s.open, last: at, commit: commit})
	}
	t.put(producer, status{open: -1, marker: at, epoch: epoch})
}

func (t *Transactions) status(producer int64) status {
	if s, ok := t.producers[producer]; ok {
		return s
	}
	return status{open: -1, marker: -1, epoch: -1}
}

func (t *Transactions) put(producer int64, s status) {
	if t.producers == nil {
		t.producers = make(map[int64]status)
	}
	t.producers[producer] = s
	t.known = false
}

// Merge adds what the next part of the log says; parts must not overlap. later stays unchanged and shares nothing with t.
func (t *Transactions) Merge(later *Transactions) {
	for _, e := range later.ended {
		s := t.status(e.producer)
		first := e.first
		if s.open >= 0 {
			first = s.open // it began before the part
		}
		if first >= 0 && !e.commit || s.marker < 0 {
			t.ended = append(t.ended, ended{producer: e.producer, first: first, last: e.last, commit: e.commit})
		}
		t.put(e.producer, status{open: -1, marker: e.last, epoch: s.epoch})
	}
	for producer, l := range later.producers {
		s := t.status(producer)
		if l.marker > s.marker {
			s = status{open: -1, marker: l.marker, epoch: l.epoch}
		} else if l.marker == s.marker && l.marker >= 0 {
			s.epoch = l.epoch
		}
		if s.open < 0 && l.open > s.marker {
			s.open = l.open
		}
		t.put(producer, s)
	}
	t.next = max(t.next, later.next)
}

// Open returns the offset of the first batch of a producer's open transaction; false when it has none.
func (t *Transactions) Open(producer int64) (first int64, ok bool) {
	s := t.status(producer)
	return s.open, s.open >= 0
}

// First returns the lowest offset of all open transactions; false when none is open.
func (t *Transactions) First() (int64, bool) {
	if !t.known {
		t.first, t.known = -1, true
		for _, s := range t.producers {
			if s.open >= 0 && (t.first < 0 || s.open < t.first) {
				t.first = s.open
			}
		}
	}
	return t.first, t.first >= 0
}

// OpenIDs returns the producers with an open transaction, ascending.
func (t *Transactions) OpenIDs() []int64 {
	var ids []int64
	for id, s := range t.producers {
		if s.open >= 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// CoordinatorEpoch returns the epoch of the coordinator that wrote a producer's last marker; -1 when none is known.
func (t *Transactions) CoordinatorEpoch(producer int64) int32 { return t.status(producer).epoch }

// Aborted returns the aborted transactions that have a batch or the marker in [from, to), by First. The slice is the
// caller's.
func (t *Transactions) Aborted(from, to int64) []Aborted {
	var out []Aborted
	at, _ := slices.BinarySearchFunc(t.ended, from, func(e ended, from int64) int { return cmp.Compare(e.last, from) })
	for _, e := range t.ended[at:] {
		if !e.commit && e.first >= 0 && e.first < to {
			out = append(out, Aborted{ProducerID: e.producer, First: e.first, Last: e.last})
		}
	}
	slices.SortFunc(out, func(a, b Aborted) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	return out
}

// Trim forgets transactions that ended below start.
func (t *Transactions) Trim(start int64) {
	at, _ := slices.BinarySearchFunc(t.ended, start, func(e ended, start int64) int { return cmp.Compare(e.last, start) })
	t.ended = slices.Delete(t.ended, 0, at)
}

// Forget drops a producer that has no open transaction.
func (t *Transactions) Forget(producer int64) {
	if t.status(producer).open < 0 {
		delete(t.producers, producer)
	}
}

// Empty reports whether nothing is known.
func (t *Transactions) Empty() bool { return len(t.producers) == 0 && len(t.ended) == 0 }

// sorted returns the ids of all producers.
func (t *Transactions) sorted() []int64 { return slices.Sorted(maps.Keys(t.producers)) }
