package producer

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// model is Kafka's rules told the long way round: it keeps every batch there ever was and looks through all of them.
type model struct {
	log []spec
}

// state is what Kafka's ProducerStateEntry holds.
func (m *model) state(producer int64) (epoch int16, known bool, batches []spec) {
	for _, s := range m.log {
		if s.producer != producer {
			continue
		}
		if !known || s.epoch != epoch {
			batches = nil
		}
		known, epoch = true, s.epoch
		if !s.marker {
			if batches = append(batches, s); len(batches) > Kept {
				batches = batches[1:]
			}
		}
	}
	return epoch, known, batches
}

func (s spec) lastSequence() int32 {
	return int32((int64(s.sequence) + int64(max(s.count, 1)) - 1) % (1 << 31))
}

func (m *model) check(next spec) (dup int64, err error) {
	epoch, known, batches := m.state(next.producer)
	if !known {
		return -1, nil
	}
	if next.epoch < epoch {
		return -1, ErrInvalidEpoch
	}
	if next.marker {
		return -1, nil
	}
	want := int64(0)
	if next.epoch == epoch {
		for _, b := range batches {
			if b.sequence == next.sequence && b.lastSequence() == next.lastSequence() {
				return b.base, nil
			}
		}
		if len(batches) > 0 {
			want = (int64(batches[len(batches)-1].lastSequence()) + 1) % (1 << 31)
		}
	}
	if int64(next.sequence) != want {
		return -1, ErrOutOfOrderSequence
	}
	return -1, nil
}

func (m *model) end() int64 {
	if len(m.log) == 0 {
		return 0
	}
	last := m.log[len(m.log)-1]
	return last.base + int64(max(last.count, 1))
}

// TestModel drives a Table and the model with the same random steps: appends, duplicates, markers, failed writes, and
// rebuilding from parts, as recovery does.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m model
		table := &Table{}
		settled := 0 // of the log; the rest may be rolled back
		draw := func(low, high int, label string) int { return rapid.IntRange(low, high).Draw(t, label) }
		for range draw(1, 80, "steps") {
			switch draw(0, 12, "step") {
			case 0: // a write fails
				from := len(m.log)
				if settled < len(m.log) {
					from = draw(settled, len(m.log), "keep")
				}
				end := m.end()
				if from < len(m.log) {
					end = m.log[from].base
				}
				m.log = m.log[:from]
				table.Rollback(end)
			case 1: // recovery from a snapshot and the log behind it
				cut := draw(0, len(m.log), "cut")
				if cut < settled { // below what may be rolled back, snapshots are taken live
					cut = settled
				}
				at := m.end()
				if cut < len(m.log) {
					at = m.log[cut].base
				}
				snapshot := decoded(t, table.Below(at))
				later := &Table{}
				for _, s := range m.log[max(0, cut-draw(0, 2, "overlap")):] {
					later.Apply(s.batch())
				}
				snapshot.Merge(decoded(t, later))
				table, settled = snapshot, len(m.log)
			case 2: // replaying what is known changes nothing
				before := table.AppendTo(nil)
				for _, s := range m.log[settled:] {
					table.Apply(s.batch())
				}
				if !bytes.Equal(before, table.AppendTo(nil)) {
					t.Fatal("replay changed the table")
				}
			default:
				next := m.draw(t)
				dup, err := table.Check(next.batch())
				wantDup, wantErr := m.check(next)
				if gotDup := baseOf(dup); gotDup != wantDup || !errors.Is(err, wantErr) {
					t.Fatalf("%+v: duplicate of %d, %v; model: %d, %v", next, gotDup, err, wantDup, wantErr)
				}
				if err == nil && dup == nil {
					next.base = m.end() + int64(draw(0, 3, "others"))
					m.log = append(m.log, next)
					table.Apply(next.batch())
					settled = max(settled, len(m.log)-Kept)
				}
			}
		}
	})
}

// draw makes a batch that is likely to be near what the producer wrote before.
func (m *model) draw(t *rapid.T) spec {
	s := spec{producer: int64(rapid.IntRange(0, 1).Draw(t, "producer")), count: rapid.Int32Range(1, 3).Draw(t, "count")}
	epoch, known, batches := m.state(s.producer)
	s.epoch = max(0, epoch+rapid.SampledFrom([]int16{0, 0, 0, 0, 0, 0, 1, -1}).Draw(t, "epoch"))
	s.marker = rapid.IntRange(0, 9).Draw(t, "marker") == 0
	switch {
	case !known:
		s.sequence = rapid.SampledFrom([]int32{0, 5, 1<<31 - 3}).Draw(t, "first")
	case rapid.IntRange(0, 5).Draw(t, "odd") == 0 || len(batches) == 0:
		s.sequence = rapid.Int32Range(0, 4).Draw(t, "sequence")
	default:
		old := batches[rapid.IntRange(0, len(batches)-1).Draw(t, "old")]
		if rapid.Bool().Draw(t, "duplicate") {
			s.sequence, s.count = old.sequence, old.count
		} else {
			s.sequence = int32((int64(batches[len(batches)-1].lastSequence()) + 1) % (1 << 31))
		}
	}
	if s.marker {
		s.count = 1
	}
	return s
}

func decoded(t *rapid.T, table *Table) *Table {
	again, err := Decode(table.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	return &again.Table
}

func baseOf(b *Batch) int64 {
	if b == nil {
		return -1
	}
	return b.BaseOffset
}
