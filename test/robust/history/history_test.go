package history

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
)

const valueSize = 32

// run is a small correct run of two partitions: the history, and the log as a correct cluster would hold it. In each
// partition two producers take turns; every fifth record's outcome stays unknown, and half of those stand in the log.
type run struct {
	history   *History
	producers []*Producer
	log       [][]Record // by partition
}

const runLength = 40

func newRun() *run {
	r := &run{history: New(2, valueSize), log: make([][]Record, 2)}
	r.producers = []*Producer{r.history.NewProducer(), r.history.NewProducer()}
	for i := range runLength {
		for partition := range int32(len(r.log)) {
			id, value := r.producers[i%2].Invoke(partition)
			offset := int64(len(r.log[partition]))
			lucky := i%5 != 0
			if lucky || i%10 == 0 {
				r.log[partition] = append(r.log[partition], Record{Partition: partition, Offset: offset, Value: value})
			}
			if lucky {
				r.producers[i%2].Ack(id, offset)
			}
		}
	}
	for _, records := range r.log {
		for _, record := range records {
			r.history.Observe(record.Partition, record.Offset, record.Value)
		}
	}
	for partition := range int32(len(r.log)) {
		r.history.Watermark(partition, 0, int64(len(r.log[partition])))
	}
	return r
}

// all yields the log partition by partition.
func (r *run) all() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, records := range r.log {
			for _, record := range records {
				if !yield(record) {
					return
				}
			}
		}
	}
}

// renumber gives the records of a partition the offsets of their places.
func (r *run) renumber(partition int) {
	for i := range r.log[partition] {
		r.log[partition][i].Offset = int64(i)
	}
}

// unseen forgets what readers saw and were told, so that a planted fault of the log shows by itself.
func (r *run) unseen() {
	for i := range r.history.partitions {
		r.history.partitions[i].seen = nil
		r.history.partitions[i].end = 0
	}
}

// planted is a fault put into a correct run, and the kinds that have to be reported for it, and no others.
type planted struct {
	name  string
	plant func(*run)
	want  []Kind
}

func last(r *run) int { return len(r.log[0]) - 1 }

// missing are faults by which something is not there, or not where it should be.
func missing() []planted {
	return []planted{
		{"correct", func(*run) {}, nil},
		{"correct, and nobody read", (*run).unseen, nil},
		{"tail lost", func(r *run) {
			r.unseen()
			r.log[0] = r.log[0][:last(r)]
		}, []Kind{Lost}},
		{"tail lost after it was read", func(r *run) {
			r.log[0] = r.log[0][:last(r)]
		}, []Kind{Backwards, Changed, Lost}},
		{"one lost, the later ones keep their offsets", func(r *run) {
			r.log[0] = slices.Delete(r.log[0], 1, 2)
		}, []Kind{Gap, Lost}},
		{"one lost, the later ones moved up", func(r *run) {
			r.unseen()
			r.log[0] = slices.Delete(r.log[0], 1, 2)
			r.renumber(0)
		}, []Kind{Lost, Moved}},
		{"beginning lost", func(r *run) {
			r.unseen()
			r.log[0] = r.log[0][2:]
		}, []Kind{Gap, Lost}},
		{"whole partition lost", func(r *run) {
			r.unseen()
			r.log[1] = nil
		}, []Kind{Lost}},
		{"retry appended twice", func(r *run) {
			r.log[0] = append(r.log[0], r.log[0][last(r)])
			r.renumber(0)
		}, []Kind{Doubled}},
		{"unacknowledged record appended twice", func(r *run) {
			r.log[0] = append(r.log[0], r.log[0][0])
			r.renumber(0)
		}, []Kind{Doubled}},
		{"two of one producer swapped", func(r *run) {
			r.unseen()
			r.log[0][1].Value, r.log[0][3].Value = r.log[0][3].Value, r.log[0][1].Value
		}, []Kind{Moved, Reordered}},
		{"unacknowledged record appended late", func(r *run) {
			r.unseen()
			r.log[0] = append(r.log[0], Record{Value: ID{Producer: 1, Seq: 2}.Value(valueSize)})
			r.renumber(0)
		}, []Kind{Reordered}},
		{"offset skipped at the end", func(r *run) {
			r.unseen()
			r.log[0][last(r)].Offset++
		}, []Kind{Gap, Moved}},
	}
}

// wrong are faults by which something stands in the log, or was told, that should not.
func wrong() []planted {
	return []planted{
		{"sent by nobody", func(r *run) {
			r.log[0] = append(r.log[0], Record{Value: ID{Producer: 0, Seq: 1000}.Value(valueSize)})
			r.renumber(0)
		}, []Kind{Phantom}},
		{"sent by a producer that does not exist", func(r *run) {
			r.log[0] = append(r.log[0], Record{Value: ID{Producer: 7}.Value(valueSize)})
			r.renumber(0)
		}, []Kind{Phantom}},
		{"empty record", func(r *run) {
			r.log[0] = append(r.log[0], Record{})
			r.renumber(0)
		}, []Kind{Phantom}},
		{"record of the other partition", func(r *run) {
			r.unseen()
			r.log[0][1].Value = r.log[1][1].Value
		}, []Kind{Lost, Phantom}},
		{"flipped bit", func(r *run) {
			r.unseen()
			value := slices.Clone(r.log[0][1].Value)
			value[len(value)-1] ^= 1
			r.log[0][1].Value = value
		}, []Kind{Corrupt, Lost}},
		{"unacknowledged record replaced after it was read", func(r *run) {
			r.log[0][0].Value = ID{Producer: 1, Seq: 2}.Value(valueSize)
		}, []Kind{Changed, Reordered}},
		{"offset read with two values", func(r *run) {
			r.history.Observe(0, 1, []byte("something else"))
		}, []Kind{Changed}},
		{"end offset went back", func(r *run) {
			r.history.Watermark(0, 0, 3)
		}, []Kind{Backwards}},
		{"end offset below an acknowledged record", func(r *run) {
			r.unseen()
			r.history.Watermark(0, 5, 4)
		}, []Kind{Stale}},
		{"ack without an offset", func(r *run) {
			id, value := r.producers[0].Invoke(1)
			r.log[1] = append(r.log[1], Record{Partition: 1, Value: value})
			r.renumber(1)
			r.producers[0].Ack(id, -1)
		}, []Kind{Moved}},
	}
}

// TestVerify plants every kind of fault into a correct run and wants exactly its kinds reported.
func TestVerify(t *testing.T) {
	for _, test := range slices.Concat(missing(), wrong()) {
		t.Run(test.name, func(t *testing.T) {
			r := newRun()
			test.plant(r)
			kinds := make(map[Kind]bool)
			found := r.history.Verify(r.all())
			for _, v := range found {
				kinds[v.Kind] = true
			}
			got := slices.Sorted(maps.Keys(kinds))
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v\n%v", got, test.want, found)
			}
		})
	}
}

// TestValue makes values of many sizes and names, and damages them.
func TestValue(t *testing.T) {
	for minSize := range 100 {
		id := ID{Producer: minSize, Partition: int32(minSize % 7), Seq: int64(minSize) << 33}
		value := id.Value(minSize)
		if got, intact := ParseValue(value, minSize); got != id || !intact {
			t.Fatalf("size %d: got %v intact %v, want %v", minSize, got, intact, id)
		}
		for _, damaged := range [][]byte{nil, value[:len(value)-1], append(slices.Clone(value), 0)} {
			if _, intact := ParseValue(damaged, minSize); intact {
				t.Fatalf("size %d: %d bytes instead of %d are called intact", minSize, len(damaged), len(value))
			}
		}
	}
}

func ExampleViolation() {
	fmt.Println(Violation{Kind: Lost, Partition: 2, Offset: 17, Text: "{1 2 40} was acknowledged and is not in the log"})
	// Output: lost: partition 2 offset 17: {1 2 40} was acknowledged and is not in the log
}
