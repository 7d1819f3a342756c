package ledger

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
)

// unknown is the offset of a record that was not acknowledged (yet).
const unknown = -1

// Book is what the clients of one bank did and saw.
type Book struct {
	partitions int
	seed       maphash.Seed

	mu           sync.Mutex // guards what follows, and the transactions; no call out is made under it
	transactions []*Transaction
	orders       []order
	readers      []*Reader
	lanes        []lane
	found        []Violation // breaches that show during the run
}

type order struct {
	Transfer
	accepted bool
}

// New returns the empty book of a bank whose topics have so many partitions each.
func New(partitions int) *Book {
	return &Book{partitions: partitions, seed: maphash.MakeSeed(), lanes: make([]lane, Topics*partitions)}
}

// Lane returns the number of the lane that is a partition of a topic, 0 to Lanes-1.
func (b *Book) Lane(topic Leg, partition int32) int { return int(topic)*b.partitions + int(partition) }

// Lanes returns the number of lanes.
func (b *Book) Lanes() int { return len(b.lanes) }

// Place is the inverse of Lane.
func (b *Book) Place(lane int) (topic Leg, partition int32) {
	return Leg(lane / b.partitions), int32(lane % b.partitions)
}

// NewOrder is called before an order is sent; it returns the order's number, counted from 0.
func (b *Book) NewOrder(t Transfer) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.Order = int64(len(b.orders))
	b.orders = append(b.orders, order{Transfer: t})
	return t.Order
}

// Accepted is called when the order's record was acknowledged: from then on it has to be fulfilled.
func (b *Book) Accepted(number int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders[number].accepted = true
}

// Ordered returns the transfer that an order asks for; ok is false for a number that nobody gave.
func (b *Book) Ordered(number int64) (t Transfer, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number < 0 || number >= int64(len(b.orders)) {
		return Transfer{}, false
	}
	return b.orders[number].Transfer, true
}

// Transaction is one attempt to make some transfers.
type Transaction struct {
	book      *Book
	number    int64
	transfers []Transfer
	offsets   []int64 // by record: where its ack said, or unknown
	requested bool    // the commit was asked for
	fenced    bool    // before it was asked for
	outcome   outcome
	trail     []string
}

type outcome int

const (
	open outcome = iota
	committed
	aborted
)

// Begin is called before the first record of a transaction is sent.
func (b *Book) Begin(transfers ...Transfer) *Transaction {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &Transaction{
		book:      b,
		number:    int64(len(b.transactions)),
		transfers: slices.Clone(transfers),
		offsets:   make([]int64, len(transfers)*Topics),
	}
	for i := range t.offsets {
		t.offsets[i] = unknown
	}
	b.transactions = append(b.transactions, t)
	return t
}

// Draft is a record to be sent.
type Draft struct {
	Topic     Leg
	Partition int32
	Value     []byte
}

// Drafts returns the records of the transaction; Stands counts them in this order.
func (t *Transaction) Drafts() []Draft {
	drafts := make([]Draft, 0, len(t.offsets))
	for i, transfer := range t.transfers {
		for leg := range legs {
			n := name{transaction: t.number, transfer: int32(i), leg: leg}
			drafts = append(drafts, Draft{Topic: leg, Partition: transfer.Partition[leg], Value: n.value(transfer)})
		}
	}
	return drafts
}

// Note adds a line to what is told of the transaction when it is part of a violation.
func (t *Transaction) Note(line string) {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.trail = append(t.trail, line)
}

// String names the transaction and tells what was noted of it.
func (t *Transaction) String() string {
	return fmt.Sprintf("transaction %d (%s)", t.number, strings.Join(t.trail, "; "))
}

// Stands is called when the cluster has said that a record stands at offset.
func (t *Transaction) Stands(record int, offset int64) {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.offsets[record] = offset
}

// Fence is called once another client has taken over the transactional id. If the commit was not asked for by then, nothing
// can commit the transaction any more.
func (t *Transaction) Fence() {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.fenced = t.fenced || !t.requested
}

// Request is called before the commit is asked for.
func (t *Transaction) Request() {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.requested = true
}

// Committed is called when the cluster has said so.
func (t *Transaction) Committed() {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.outcome = committed
	if t.fenced {
		t.book.fault(Zombie, -1, -1, "%v was fenced before it asked for its commit, and was told that it committed", t)
	}
}

// Aborted is called when the client knows that the transaction was aborted.
func (t *Transaction) Aborted() {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	t.outcome = aborted
}

// void reports whether no record of the transaction may be shown at read_committed.
func (t *Transaction) void() bool {
	return t.outcome == aborted || !t.requested || t.fenced
}

// Counts tells how the transactions ended.
type Counts struct {
	Committed, Aborted, Fenced, Abandoned, Open int
	Orders, Accepted                            int
	Read                                        int64 // records given to readers at read_committed
}

// Counts returns the figures so far. Abandoned transactions never asked for a commit and were not aborted by their client.
func (b *Book) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := Counts{Orders: len(b.orders)}
	for _, t := range b.transactions {
		switch {
		case t.outcome == committed:
			c.Committed++
		case t.outcome == aborted:
			c.Aborted++
		case t.fenced:
			c.Fenced++
		case !t.requested:
			c.Abandoned++
		default:
			c.Open++
		}
	}
	for _, o := range b.orders {
		if o.accepted {
			c.Accepted++
		}
	}
	for _, r := range b.readers {
		for i := range r.spans {
			c.Read += r.spans[i].count
		}
	}
	return c
}
