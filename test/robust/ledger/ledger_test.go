package ledger

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
)

// run is a small correct run: the book, and the logs as a correct cluster would hold them, markers included.
type run struct {
	book         *Book
	transactions []*Transaction
	raw          [][]Record // by lane: the uncommitted view
	shown        [][]Record // by lane: the committed view
}

const (
	testPartitions = 2
	runLength      = 30
)

// The fates of the transactions of a run, in turn.
const (
	fateCommitted = iota
	fateAborted
	fateLuckyOpen   // asked, never learned, and was committed
	fateUnluckyOpen // asked, never learned, and was aborted
	fateFenced
	fateAbandoned
	fates
)

func newRun() *run {
	book := New(testPartitions)
	r := &run{book: book, raw: make([][]Record, book.Lanes()), shown: make([][]Record, book.Lanes())}
	for i := range runLength {
		r.transact(i, i%fates)
	}
	reader := book.NewReader(make([]int64, book.Lanes()))
	for lane, records := range r.shown {
		for _, record := range records[:len(records)-1] { // nobody read the last
			reader.See(lane, record.Offset, record.Value)
		}
		end := int64(len(r.raw[lane]))
		book.Watermark(lane, book.Seen(lane), end, end)
	}
	return r
}

// transact makes one transaction of two transfers, the first of which fulfils an order if the transaction is committed.
func (r *run) transact(number, fate int) {
	transfers := make([]Transfer, 2)
	for i := range transfers {
		transfers[i] = Transfer{Order: NoOrder, From: int32(number % 5), To: int32(number%5 + 1 + i), Amount: int64(number + 1)}
		for leg := range transfers[i].Partition {
			transfers[i].Partition[leg] = int32((number + i) % testPartitions)
		}
	}
	if fate == fateCommitted {
		transfers[0].Order = r.book.NewOrder(transfers[0])
		r.book.Accepted(transfers[0].Order)
	}
	t := r.book.Begin(transfers...)
	r.transactions = append(r.transactions, t)
	for i, draft := range t.Drafts() {
		t.Stands(i, r.append(draft, int64(number)))
	}
	switch fate {
	case fateCommitted, fateLuckyOpen, fateUnluckyOpen:
		t.Request()
	case fateFenced:
		t.Fence()
		t.Request()
	}
	switch fate {
	case fateCommitted:
		t.Committed()
	case fateAborted:
		t.Aborted()
	}
	r.end(int64(number), fate == fateCommitted || fate == fateLuckyOpen)
}

// append appends a record to its lane.
func (r *run) append(draft Draft, producer int64) int64 {
	lane := r.book.Lane(draft.Topic, draft.Partition)
	offset := int64(len(r.raw[lane]))
	r.raw[lane] = append(r.raw[lane], Record{Lane: lane, Offset: offset, Value: draft.Value, Producer: producer})
	return offset
}

// end writes the producer's markers, and shows what it committed.
func (r *run) end(producer int64, commit bool) {
	marker := AbortMarker
	if commit {
		marker = CommitMarker
	}
	for lane := range r.raw {
		mine := slices.DeleteFunc(slices.Clone(r.raw[lane]), func(one Record) bool { return one.Producer != producer })
		if len(mine) == 0 {
			continue
		}
		if commit {
			r.shown[lane] = append(r.shown[lane], mine...)
		}
		r.raw[lane] = append(r.raw[lane], Record{Lane: lane, Offset: int64(len(r.raw[lane])), Producer: producer, Marker: marker})
	}
}

// of returns where the record of a transaction stands: its lane and index in a view.
func (r *run) of(view [][]Record, transaction, record int) (lane, index int) {
	draft := r.transactions[transaction].Drafts()[record]
	lane = r.book.Lane(draft.Topic, draft.Partition)
	return lane, slices.IndexFunc(view[lane], func(one Record) bool { return slices.Equal(one.Value, draft.Value) })
}

// hide takes a record out of the committed view.
func (r *run) hide(transaction, record int) {
	lane, index := r.of(r.shown, transaction, record)
	r.shown[lane] = slices.Delete(r.shown[lane], index, index+1)
}

// show puts a record that stands in the log into the committed view.
func (r *run) show(transaction, record int) {
	lane, index := r.of(r.raw, transaction, record)
	one := r.raw[lane][index]
	at, _ := slices.BinarySearchFunc(r.shown[lane], one, func(a, b Record) int { return int(a.Offset - b.Offset) })
	r.shown[lane] = slices.Insert(r.shown[lane], at, one)
}

// every does the same to each record of a transaction.
func (r *run) every(do func(transaction, record int), transaction int) {
	for record := range r.transactions[transaction].offsets {
		do(transaction, record)
	}
}

// turn changes the markers of a transaction.
func (r *run) turn(transaction int, marker Marker) {
	for _, records := range r.raw {
		for i := range records {
			if records[i].Producer == int64(transaction) && records[i].Marker != NoMarker {
				records[i].Marker = marker
			}
		}
	}
}

// unseen forgets what readers were given and told, so that a planted fault of the log shows by itself.
func (r *run) unseen() {
	r.book.readers = nil
	r.book.lanes = make([]lane, len(r.book.lanes))
}

func all(view [][]Record) iter.Seq[Record] { return slices.Values(slices.Concat(view...)) }

// planted is a fault put into a correct run, and the kinds that have to be reported for it, and no others.
type planted struct {
	name  string
	plant func(*run)
	want  []Kind
}

// unseenly plants into a log that nobody has read.
func unseenly(plant func(*run)) func(*run) {
	return func(r *run) {
		r.unseen()
		plant(r)
	}
}

// outcomes are faults in which transactions are shown.
func outcomes() []planted {
	return []planted{
		{"correct", func(*run) {}, nil},
		{"correct, and nobody read", (*run).unseen, nil},
		{"committed transaction lost", unseenly(func(r *run) {
			r.every(r.hide, fateCommitted)
			r.turn(fateCommitted, AbortMarker)
		}), []Kind{Lost, Unserved}},
		{"committed transaction lost after it was read", func(r *run) {
			r.every(r.hide, fateCommitted)
			r.turn(fateCommitted, AbortMarker)
		}, []Kind{Changed, Lost, Unserved}},
		{"one leg of a committed transaction not shown", unseenly(func(r *run) {
			r.hide(fateCommitted, int(Credit))
		}), []Kind{Lost, Misread, Unbalanced}},
		{"entry of a committed transaction not shown", unseenly(func(r *run) {
			r.hide(fateCommitted, int(Entry))
		}), []Kind{Lost, Misread, Unbalanced}},
		{"aborted transaction shown", unseenly(func(r *run) {
			r.every(r.show, fateAborted)
		}), []Kind{Misread, Undone}},
		{"aborted transaction committed", unseenly(func(r *run) {
			r.every(r.show, fateAborted)
			r.turn(fateAborted, CommitMarker)
		}), []Kind{Undone}},
		{"fenced transaction committed", unseenly(func(r *run) {
			r.every(r.show, fateFenced)
			r.turn(fateFenced, CommitMarker)
		}), []Kind{Undone}},
		{"fenced transaction told that it committed", func(r *run) {
			r.transactions[fateFenced].Committed()
		}, []Kind{Zombie}},
		{"abandoned transaction committed", unseenly(func(r *run) {
			r.every(r.show, fateAbandoned)
			r.turn(fateAbandoned, CommitMarker)
		}), []Kind{Undone}},
		{"half of an open transaction shown", unseenly(func(r *run) {
			for record := range Topics { // the whole first transfer, so that sums agree
				r.hide(fateLuckyOpen, record)
			}
		}), []Kind{Misread, Torn}},
		{"open transaction committed in one lane and aborted in the others", unseenly(func(r *run) {
			lane, _ := r.of(r.raw, fateUnluckyOpen, int(Debit))
			r.show(fateUnluckyOpen, int(Debit))
			for i := range r.raw[lane] {
				if one := &r.raw[lane][i]; one.Producer == fateUnluckyOpen && one.Marker != NoMarker {
					one.Marker = CommitMarker
				}
			}
		}), []Kind{Torn, Unbalanced}},
		{"order fulfilled twice", unseenly(func(r *run) {
			r.transactions[fateLuckyOpen].transfers[0].Order = 0
		}), []Kind{Repeated}},
		{"accepted order forgotten", func(r *run) {
			r.book.Accepted(r.book.NewOrder(Transfer{Amount: 1}))
		}, []Kind{Unserved}},
		{"order of unknown fate", func(r *run) { r.book.NewOrder(Transfer{Amount: 1}) }, nil},
	}
}

// records are faults of single records and of the log.
func records() []planted {
	return []planted{
		{"record shown twice", unseenly(func(r *run) {
			r.raw[0] = append(r.raw[0], r.shown[0][0])
			last := &r.raw[0][len(r.raw[0])-1]
			last.Offset, last.Producer = int64(len(r.raw[0])-1), 99
			r.shown[0] = append(r.shown[0], *last)
			r.raw[0] = append(r.raw[0], Record{Offset: last.Offset + 1, Producer: 99, Marker: CommitMarker})
		}), []Kind{Doubled, Hidden}},
		{"record of an aborted transaction appended twice", unseenly(func(r *run) {
			lane, index := r.of(r.raw, fateAborted, 0)
			one := r.raw[lane][index]
			one.Offset, one.Producer = int64(len(r.raw[lane])), 99
			r.raw[lane] = append(r.raw[lane], one, Record{Lane: lane, Offset: one.Offset + 1, Producer: 99, Marker: AbortMarker})
		}), []Kind{Doubled, Hidden}},
		{"acknowledged elsewhere", func(r *run) { r.transactions[fateCommitted].offsets[0]++ }, []Kind{Hidden, Moved}},
		{"flipped bit", unseenly(func(r *run) {
			flip(&r.shown[0][0])
		}), []Kind{Corrupt, Lost, Unbalanced}},
		{"sent by nobody", unseenly(func(r *run) {
			r.shown[0][0].Value = name{transaction: 1000}.value(Transfer{})
		}), []Kind{Lost, Phantom, Unbalanced}},
		{"empty record", unseenly(func(r *run) { r.shown[0][0].Value = nil }), []Kind{Lost, Phantom, Unbalanced}},
		{"no such record of its transaction", unseenly(func(r *run) {
			r.shown[0][0].Value = name{transaction: 0, transfer: 7}.value(Transfer{})
		}), []Kind{Lost, Phantom, Unbalanced}},
		{"record of another lane", unseenly(func(r *run) {
			r.shown[0][0].Value = r.shown[1][0].Value
		}), []Kind{Lost, Phantom, Unbalanced}},
		{"aborted record not shown at read_uncommitted", unseenly(func(r *run) {
			lane, index := r.of(r.raw, fateAborted, 0)
			r.raw[lane] = slices.Delete(r.raw[lane], index, index+1)
		}), []Kind{Gap, Hidden}},
		{"marker missing, and the transaction is held back", unseenly(func(r *run) {
			r.unmark(runLength - fates + fateAborted)
		}), []Kind{Gap, Hanging}},
	}
}

// observations are faults in what readers were given, and the watcher told, during the run.
func observations() []planted {
	return []planted{
		{"read before the commit was asked for", func(r *run) {
			r.early(func(*Transaction) {})
		}, []Kind{Early}},
		{"read of a fenced transaction", func(r *run) {
			r.early((*Transaction).Fence)
		}, []Kind{Early, Undone}},
		{"read, and sent by nobody", func(r *run) {
			r.tail(1000).See(0, 1000, []byte("nonsense"))
		}, []Kind{Changed, Phantom}},
		{"read twice with different bytes", func(r *run) {
			r.tail(0).See(0, r.shown[0][0].Offset, []byte("something else"))
		}, []Kind{Changed}},
		{"reader passed over a record", func(r *run) {
			reader := r.tail(0)
			reader.See(0, r.shown[0][0].Offset, r.shown[0][0].Value)
			reader.See(0, r.shown[0][2].Offset, r.shown[0][2].Value)
		}, []Kind{Skipped}},
		{"reader began behind a record", func(r *run) {
			r.tail(0).See(0, r.shown[0][1].Offset, r.shown[0][1].Value)
		}, []Kind{Skipped}},
		{"reader was given a record twice", func(r *run) {
			reader := r.tail(0)
			reader.See(0, r.shown[0][0].Offset, r.shown[0][0].Value)
			reader.See(0, r.shown[0][0].Offset, r.shown[0][0].Value)
		}, []Kind{Disordered}},
		{"reader was given a record below its start", func(r *run) {
			r.tail(r.shown[0][0].Offset+1).See(0, r.shown[0][0].Offset, r.shown[0][0].Value)
		}, []Kind{Disordered}},
		{"last stable offset went back", func(r *run) {
			r.book.Watermark(0, 0, 3, int64(len(r.raw[0])))
		}, []Kind{Backwards}},
		{"high watermark went back", func(r *run) {
			end := int64(len(r.raw[0]))
			r.book.Watermark(0, 0, end, end+5)
			r.book.Watermark(0, 0, end, end)
		}, []Kind{Backwards}},
		{"last stable offset above the high watermark", func(r *run) {
			end := int64(len(r.raw[0]))
			r.book.Watermark(0, 0, end+1, end)
		}, []Kind{Beyond}},
		{"last stable offset below what readers were given", func(r *run) {
			r.unseen()
			r.book.Watermark(0, 5, 4, 10)
		}, []Kind{Stale}},
	}
}

// tail returns a reader of lane 0 alone.
func (r *run) tail(start int64) *Reader {
	starts := make([]int64, r.book.Lanes())
	starts[0] = start
	return r.book.NewReader(starts)
}

// early makes a transaction that is shown in the end, and gives its first record to a reader before it asked for its commit.
func (r *run) early(before func(*Transaction)) {
	t := r.book.Begin(Transfer{Order: NoOrder, From: 1, To: 2, Amount: 3})
	r.transactions = append(r.transactions, t)
	for i, draft := range t.Drafts() {
		t.Stands(i, r.append(draft, 77))
	}
	before(t)
	r.tail(t.offsets[0]).See(0, t.offsets[0], t.Drafts()[0].Value)
	t.Request()
	r.end(77, true)
}

// unmark takes the markers of a transaction out of the log.
func (r *run) unmark(transaction int) {
	for lane := range r.raw {
		r.raw[lane] = slices.DeleteFunc(r.raw[lane], func(one Record) bool {
			return one.Producer == int64(transaction) && one.Marker != NoMarker
		})
	}
}

// flip changes the last bit of the record.
func flip(record *Record) {
	record.Value = slices.Clone(record.Value)
	record.Value[len(record.Value)-1] ^= 1
}

// TestVerify plants every kind of fault into a correct run and wants exactly its kinds reported.
func TestVerify(t *testing.T) {
	caught := make(map[Kind]bool)
	for _, test := range slices.Concat(outcomes(), records(), observations()) {
		t.Run(test.name, func(t *testing.T) {
			r := newRun()
			test.plant(r)
			kinds := make(map[Kind]bool)
			found := r.book.Verify(all(r.shown), all(r.raw))
			for _, v := range found {
				kinds[v.Kind], caught[v.Kind] = true, true
			}
			got := slices.Sorted(maps.Keys(kinds))
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v\n%v", got, test.want, found)
			}
		})
	}
	for _, kind := range []Kind{Lost, Moved, Doubled, Undone, Torn, Early, Changed, Skipped, Disordered, Unserved, Repeated, Unbalanced, Gap,
		Hidden, Misread, Hanging, Backwards, Beyond, Stale, Zombie, Phantom, Corrupt} {
		if !caught[kind] {
			t.Errorf("no planted fault is reported as %s", kind)
		}
	}
}

// TestCounts counts a correct run.
func TestCounts(t *testing.T) {
	r := newRun()
	const each = runLength / fates
	got := r.book.Counts()
	got.Read = 0
	want := Counts{Committed: each, Aborted: each, Fenced: each, Abandoned: each, Open: 2 * each, Orders: each, Accepted: each}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func ExampleViolation() {
	fmt.Println(Violation{Kind: Lost, Lane: 2, Offset: 17, Text: "record 0 of committed transaction 40 is not shown"})
	// Output: lost: lane 2 offset 17: record 0 of committed transaction 40 is not shown
}
