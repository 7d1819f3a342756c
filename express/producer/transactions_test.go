package producer

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/kafka/record"
)

// step is a batch of a transactional log: data of a producer, or its marker.
type step struct {
	producer int64
	marker   bool
	commit   bool
	count    int32
}

func (s step) batch(t *rapid.T, base int64) record.Batch {
	var b record.Batch
	if s.marker {
		b = record.EncodeMarker(nil, record.Marker{ProducerID: s.producer, Commit: s.commit, CoordinatorEpoch: int32(base % 7)})
	} else {
		builder := record.NewBuilder(record.Options{Transactional: true, Producer: &record.Producer{ID: s.producer}})
		for range s.count {
			if err := builder.Add(1, nil, []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if b, err = builder.Build(nil); err != nil {
			t.Fatal(err)
		}
	}
	b.SetBaseOffset(base)
	return b
}

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		producer: rapid.Int64Range(1, 3).Draw(t, "producer"), marker: rapid.Bool().Draw(t, "marker"),
		commit: rapid.Bool().Draw(t, "commit"), count: rapid.Int32Range(1, 3).Draw(t, "count"),
	}
}), 0, 30)

// plainly keeps every batch and looks through all of them.
type plainly struct {
	open    map[int64]int64
	aborted []Aborted
}

func (p *plainly) apply(b record.Batch, s step) {
	first, open := p.open[s.producer]
	switch {
	case !s.marker && !open:
		p.open[s.producer] = b.BaseOffset()
	case s.marker && open:
		delete(p.open, s.producer)
		if !s.commit {
			p.aborted = append(p.aborted, Aborted{s.producer, first, b.BaseOffset()})
		}
	}
}

// say is all that a Transactions answers.
func say(t *Transactions, end int64) string {
	var b bytes.Buffer
	for id := int64(1); id <= 3; id++ {
		first, open := t.Open(id)
		fmt.Fprintln(&b, id, first, open, t.CoordinatorEpoch(id))
	}
	first, ok := t.First()
	fmt.Fprintln(&b, first, ok, t.Aborted(0, end))
	return b.String()
}

// TestTransactions: however a log is cut into parts, and by way of the encoded form, merging them tells what
// one look at the whole tells, and that is what looking at every batch tells (T2).
func TestTransactions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole, merged State
		truth := plainly{open: map[int64]int64{}}
		var batches []record.Batch
		next := int64(0)
		for _, s := range steps.Draw(t, "log") {
			b := s.batch(t, next)
			next = b.LastOffset() + 1
			batches = append(batches, b)
			whole.Apply(b)
			truth.apply(b, s)
		}
		for from := 0; from < len(batches); {
			to := rapid.IntRange(from+1, len(batches)).Draw(t, "to")
			var part State
			for _, b := range batches[from:to] {
				part.Apply(b)
			}
			decoded, err := Decode(part.AppendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			merged.Merge(decoded)
			from = to
		}
		if got, want := say(&merged.Transactions, next), say(&whole.Transactions, next); got != want {
			t.Fatalf("merged\n%s\nwhole\n%s", got, want)
		}
		slices.SortFunc(truth.aborted, func(a, b Aborted) int { return int(a.First - b.First) })
		if got := whole.Transactions.Aborted(0, next); !slices.Equal(got, truth.aborted) {
			t.Fatalf("aborted %v, want %v", got, truth.aborted)
		}
		for id := int64(1); id <= 3; id++ {
			want, open := truth.open[id]
			if got, ok := whole.Transactions.Open(id); ok != open || ok && got != want {
				t.Fatalf("producer %d is open at %d, %t; want %d, %t", id, got, ok, want, open)
			}
		}
	})
}

// TestAbortedInRange: a reader is told of those that reach into what it reads.
func TestAbortedInRange(t *testing.T) {
	var tx Transactions
	rt := &rapid.T{}
	next := int64(0)
	for _, s := range []step{{producer: 1, count: 2}, {producer: 2, count: 2}, {producer: 1, marker: true}, {producer: 2, marker: true}} {
		b := s.batch(rt, next)
		next = b.LastOffset() + 1
		tx.Apply(b)
	}
	one, two := Aborted{1, 0, 4}, Aborted{2, 2, 5}
	for _, c := range []struct {
		from, to int64
		want     []Aborted
	}{
		{0, 1, []Aborted{one}}, {0, 2, []Aborted{one}}, {0, 3, []Aborted{one, two}},
		{4, 5, []Aborted{one, two}}, {5, 6, []Aborted{two}}, {6, 9, nil},
	} {
		if got := tx.Aborted(c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("[%d, %d): %v, want %v", c.from, c.to, got, c.want)
		}
	}
	tx.Trim(5)
	if got := tx.Aborted(0, 9); !slices.Equal(got, []Aborted{two}) {
		t.Errorf("after Trim: %v", got)
	}
}
