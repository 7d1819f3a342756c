package bank

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/ledger"
)

// ordersAtOnce bounds how many orders a clerk takes into one transaction.
const ordersAtOnce = 3

// serve fulfils orders until work ends.
func (b *Bank) serve(w *worker) {
	for generation := 0; !b.isClosing(); generation++ {
		session, err := b.session(w.now, w.old)
		if err != nil {
			b.fault(err)
			return
		}
		forsaken := w.attend(&session)
		session.Close()
		if forsaken {
			w.now = fmt.Sprintf("%s-%d", w.id, generation)
		}
	}
}

func (b *Bank) session(id string, old bool) (*kgo.GroupTransactSession, error) {
	return kgo.NewGroupTransactSession(b.transactional(id, old,
		kgo.ConsumerGroup(clerksGroup),
		kgo.ConsumeTopics(ordersTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.HeartbeatInterval(100*time.Millisecond),
		kgo.SessionTimeout(b.config.Session), // a clerk that vanished while the broker was away could not leave
	)...)
}

// attend is use for clerks.
func (w *worker) attend(session **kgo.GroupTransactSession) (forsaken bool) {
	for w.bank.noWork.Err() == nil {
		plan := w.bank.plan()
		err := w.fulfil(session, plan)
		if err != nil {
			return plan == forsake
		}
	}
	return false
}

// fulfil takes some orders and fulfils them in one transaction as planned; after an error the session is of no further use.
func (w *worker) fulfil(session **kgo.GroupTransactSession, plan plan) error {
	b := w.bank
	orders := (*session).PollRecords(b.noWork, ordersAtOnce)
	if b.isClosing() {
		return nil
	}
	orders.EachError(func(_ string, _ int32, err error) { b.note("poll orders", err) })
	transfers, err := b.transfers(orders)
	if err != nil || len(transfers) == 0 {
		return err
	}
	if err := (*session).Begin(); err != nil {
		b.note("begin", err)
		return err
	}
	t := w.begin(plan, transfers)
	if err := b.send((*session).Client(), t); err != nil {
		b.note("produce", err)
		w.tell(t, "produce: %v", err)
		return w.end(*session, t, kgo.TryAbort)
	}
	switch plan {
	case abort:
		return w.end(*session, t, kgo.TryAbort)
	case vanish, forsake:
		return errLeft
	case dawdle:
		b.pause()
	case twin:
		return w.succeed(session, t)
	case commit:
	}
	return w.end(*session, t, kgo.TryCommit)
}

// transfers returns what the orders ask for.
func (b *Bank) transfers(orders kgo.Fetches) (transfers []ledger.Transfer, err error) {
	orders.EachRecord(func(r *kgo.Record) {
		number, failed := strconv.ParseInt(string(r.Value), 10, 64)
		transfer, known := b.book.Ordered(number)
		if failed != nil || !known {
			err = fmt.Errorf("order %q at offset %d of partition %d was placed by nobody", r.Value, r.Offset, r.Partition)
			b.fault(err)
			return
		}
		transfers = append(transfers, transfer)
	})
	return transfers, err
}

// end ends the transaction with the offsets of its orders in it. A rebalance turns a commit into an abort.
func (w *worker) end(session *kgo.GroupTransactSession, t *ledger.Transaction, try kgo.TransactionEndTry) error {
	if try == kgo.TryCommit {
		t.Request()
	}
	w.tell(t, "end, commit: %v", try)
	committed, err := session.End(w.bank.gone, try)
	w.tell(t, "committed: %v, %v", committed, err)
	switch {
	case err != nil:
		w.bank.note("end", err)
	case committed:
		t.Committed()
		w.done.Add(1)
	default:
		t.Aborted()
	}
	return err
}

// succeed is replace for clerks.
func (w *worker) succeed(session **kgo.GroupTransactSession, t *ledger.Transaction) error {
	other, err := w.bank.session(w.now, w.old)
	if err != nil {
		return err
	}
	if err := fence(w.bank.gone, other.Client(), t); err != nil {
		w.bank.note("take over", err)
		other.Close()
		return err
	}
	w.tell(t, "fenced by a twin")
	_ = w.end(*session, t, kgo.TryCommit) // fails, or shows as a zombie
	(*session).Close()
	*session = other
	return nil
}

// served waits until the group's committed offsets have reached the end of the orders.
func (b *Bank) served(ctx context.Context) error {
	admin, closeAdmin, err := b.admin()
	if err != nil {
		return err
	}
	defer closeAdmin()
	return poll(ctx, func() error {
		ends, err := admin.ListEndOffsets(ctx, ordersTopic)
		if err = errors.Join(err, ends.Error()); err != nil {
			return err
		}
		offsets, err := admin.FetchOffsets(ctx, clerksGroup)
		if err = errors.Join(err, offsets.Error()); err != nil {
			return err
		}
		for partition, end := range ends[ordersTopic] {
			if at := offsets[ordersTopic][partition].At; at != end.Offset && end.Offset != 0 {
				return fmt.Errorf("partition %d ends at %d, and its committed offset is %d", partition, end.Offset, at)
			}
		}
		return nil
	})
}
