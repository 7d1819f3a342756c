package producer

import (
	"slices"

	"millrace/kafka/record"
)

// historyLimit is how many events are remembered: Kept that answer duplicates and Kept that may yet be rolled back.
const historyLimit = 2 * Kept

// event is a batch, or a transaction marker that began a new epoch (then only the offsets and the timestamp count).
type event struct {
	Batch
	epoch  int16
	marker bool
}

// history is what is known of one producer: events in offset order, never empty while in a Table.
type history struct {
	events    []event
	timestamp int64 // max timestamp of the last write, markers included
}

// epoch is the producer's current epoch.
func (h *history) epoch() int16 { return h.events[len(h.events)-1].epoch }

// end is the offset after everything known.
func (h *history) end() int64 { return h.events[len(h.events)-1].LastOffset + 1 }

// window returns the newest batches of the current epoch, at most Kept.
func (h *history) window() []event {
	epoch, from := h.epoch(), len(h.events)
	for from > 0 && len(h.events)-from < Kept && h.events[from-1].epoch == epoch && !h.events[from-1].marker {
		from--
	}
	return h.events[from:]
}

// check applies P1 to P3 to a data batch.
func (h *history) check(epoch int16, first, last int32) (*Batch, error) {
	window := h.window()
	if epoch == h.epoch() {
		for i := range window {
			if window[i].BaseSequence == first && window[i].LastSequence == last {
				dup := window[i].Batch
				return &dup, nil
			}
		}
	}
	switch {
	case epoch < h.epoch():
		return nil, ErrInvalidEpoch
	case epoch > h.epoch() || len(window) == 0:
		if first != 0 {
			return nil, ErrOutOfOrderSequence
		}
	case first != record.AddSequence(window[len(window)-1].LastSequence, 1):
		return nil, ErrOutOfOrderSequence
	}
	return nil, nil
}

// add appends an event unless it is known.
func (h *history) add(e event) {
	if len(h.events) > 0 && e.LastOffset < h.end() {
		return
	}
	h.timestamp = e.Timestamp
	if e.marker && len(h.events) > 0 && e.epoch == h.epoch() {
		return // ends a transaction, but begins no epoch
	}
	if len(h.events) == historyLimit {
		h.events = slices.Delete(h.events, 0, 1)
	}
	h.events = append(h.events, e)
}

// truncate forgets events that reach end or lie beyond it and says whether any is left.
func (h *history) truncate(end int64) bool {
	keep := len(h.events)
	for keep > 0 && h.events[keep-1].LastOffset >= end {
		keep--
	}
	if keep < len(h.events) && keep > 0 {
		h.timestamp = h.events[keep-1].Timestamp
	}
	h.events = h.events[:keep]
	return keep > 0
}

// merge takes over what later knows beyond h. Where both know the same offsets, later is right.
func (h *history) merge(later *history) {
	if len(h.events) > 0 && later.end() <= h.end() {
		return
	}
	keep := len(h.events)
	for keep > 0 && h.events[keep-1].LastOffset >= later.events[0].BaseOffset {
		keep--
	}
	h.events = h.events[:keep]
	for _, e := range later.events {
		h.add(e) // a marker that began what later knows need not begin an epoch here
	}
	h.timestamp = later.timestamp
}

func (h *history) clone() *history {
	return &history{events: slices.Clone(h.events), timestamp: h.timestamp}
}
