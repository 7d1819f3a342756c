package bank

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/ledger"
)

// worker is a teller or a clerk: one transaction after the other, with a client for as long as it serves.
type worker struct {
	bank *Bank
	id   string // its name, and its first transactional id
	now  string // the transactional id that it uses now
	old  bool   // speaks the first version of the transaction protocol
	done atomic.Int64
}

// plan is what is meant to become of a transaction.
type plan string

const (
	commit  plan = "commit"
	abort   plan = "abort"   // after its records were sent, or while they are
	vanish  plan = "vanish"  // the client goes, its successor has the same transactional id
	forsake plan = "forsake" // the client goes, and nobody uses its transactional id again
	twin    plan = "twin"    // another client takes the transactional id over; then the commit is asked for
	dawdle  plan = "dawdle"  // the commit is asked for after the timeout
)

// errLeft says that a worker's client is of no further use, as planned.
var errLeft = errors.New("bank: the client is done with")

// plan draws a plan; at closing time all transactions are to be committed.
func (b *Bank) plan() plan {
	if b.calm.Err() != nil {
		return commit
	}
	switch n := rand.IntN(10_000); {
	case n < 1000:
		return abort
	case n < 1200:
		return vanish
	case n < 1300:
		return forsake
	case n < 1500:
		return twin
	case n < 1503: // as often as can be without somebody dawdling all the time
		return dawdle
	default:
		return commit
	}
}

// send hands the records of a transaction to the client, and waits for their outcomes. A client whose context has ended
// tells of none.
func (b *Bank) send(client *kgo.Client, t *ledger.Transaction) (failed error) {
	drafts := t.Drafts()
	outcomes := make(chan error, len(drafts))
	for i, draft := range drafts {
		record := &kgo.Record{Topic: legTopics[draft.Topic], Partition: draft.Partition, Value: draft.Value}
		client.Produce(b.gone, record, func(r *kgo.Record, err error) {
			if err == nil {
				t.Stands(i, r.Offset)
			}
			outcomes <- err
		})
	}
	for range drafts {
		select {
		case err := <-outcomes:
			failed = cmp.Or(err, failed)
		case <-b.gone.Done():
			return b.gone.Err()
		}
	}
	return failed
}

// sendSome hands the records over and does not wait; those that are on their way may still arrive.
func (b *Bank) sendSome(client *kgo.Client, t *ledger.Transaction) {
	for i, draft := range t.Drafts() {
		record := &kgo.Record{Topic: legTopics[draft.Topic], Partition: draft.Partition, Value: draft.Value}
		client.Produce(b.gone, record, func(r *kgo.Record, err error) {
			if err == nil {
				t.Stands(i, r.Offset)
			}
		})
	}
}

// fence takes the transactional id over with another client: what the first one asks for from now on must be refused.
func fence(ctx context.Context, other *kgo.Client, t *ledger.Transaction) error {
	if _, _, err := other.ProducerID(ctx); err != nil {
		return err
	}
	t.Fence()
	return nil
}

// isClosing reports whether no transaction shall begin any more.
func (b *Bank) isClosing() bool { return b.noWork.Err() != nil }

// pause waits a little longer than the timeout of transactions, unless work ends.
func (b *Bank) pause() {
	timer := time.NewTimer(b.config.Timeout + time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.calm.Done():
	}
}

// begin begins a transaction in the book.
func (w *worker) begin(plan plan, transfers []ledger.Transfer) *ledger.Transaction {
	t := w.bank.book.Begin(transfers...)
	w.tell(t, "%s begins, meant to %s", w.now, plan)
	return t
}

// tell notes what befalls a transaction.
func (w *worker) tell(t *ledger.Transaction, format string, args ...any) {
	t.Note(time.Now().Format("05.000 ") + fmt.Sprintf(format, args...))
}
