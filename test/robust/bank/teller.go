package bank

import (
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/test/robust/ledger"
)

// tell makes transfers until work ends.
func (b *Bank) tell(w *worker) {
	for generation := 0; !b.isClosing(); generation++ {
		client, err := kgo.NewClient(b.transactional(w.now, w.old)...)
		if err != nil {
			b.fault(err)
			return
		}
		forsaken := w.use(&client)
		client.Close()
		if forsaken {
			w.now = fmt.Sprintf("%s-%d", w.id, generation)
		}
	}
}

// use makes transactions with the client, or the twin that took its place, until that is of no further use. It reports
// whether nobody shall use the transactional id again.
func (w *worker) use(client **kgo.Client) (forsaken bool) {
	for w.bank.noWork.Err() == nil {
		plan := w.bank.plan()
		err := w.transact(client, plan)
		if err != nil {
			return plan == forsake
		}
	}
	return false
}

// transact makes one transaction as planned; after an error the client is of no further use.
func (w *worker) transact(client **kgo.Client, plan plan) error {
	b := w.bank
	if err := (*client).BeginTransaction(); err != nil {
		b.note("begin", err)
		return err
	}
	transfers := make([]ledger.Transfer, 1+rand.IntN(3))
	for i := range transfers {
		transfers[i] = b.transfer()
	}
	t := w.begin(plan, transfers)
	if plan == abort && rand.IntN(2) == 0 {
		b.sendSome(*client, t)
		return w.abort(*client, t)
	}
	if err := b.send(*client, t); err != nil {
		b.note("produce", err)
		w.tell(t, "produce: %v", err)
		return w.abort(*client, t)
	}
	switch plan {
	case abort:
		return w.abort(*client, t)
	case vanish, forsake:
		return errLeft
	case dawdle:
		b.pause()
	case twin:
		return w.replace(client, t)
	case commit:
	}
	return w.commit(*client, t)
}

func (w *worker) abort(client *kgo.Client, t *ledger.Transaction) error {
	if err := client.AbortBufferedRecords(w.bank.gone); err != nil {
		w.bank.note("abort buffered", err)
		return err
	}
	err := client.EndTransaction(w.bank.gone, kgo.TryAbort)
	w.tell(t, "abort: %v", err)
	if err != nil {
		w.bank.note("abort", err)
		return err
	}
	t.Aborted()
	return nil
}

func (w *worker) commit(client *kgo.Client, t *ledger.Transaction) error {
	w.tell(t, "commit")
	t.Request()
	err := client.EndTransaction(w.bank.gone, kgo.TryCommit)
	w.tell(t, "commit: %v", err)
	if err != nil {
		w.bank.note("commit", err)
		return err
	}
	t.Committed()
	w.done.Add(1)
	return nil
}

// replace has a twin take over, lets the first client try to commit, and goes on with the twin. Every other twin is in the midst
// of a transaction of its own then, which it aborts: the first one's commit must not end that either.
func (w *worker) replace(client **kgo.Client, t *ledger.Transaction) error {
	other, err := kgo.NewClient(w.bank.transactional(w.now, w.old)...)
	if err != nil {
		return err
	}
	if err := fence(w.bank.gone, other, t); err != nil {
		w.bank.note("take over", err)
		other.Close()
		return err
	}
	w.tell(t, "fenced by a twin")
	first := *client
	defer first.Close()
	*client = other
	if rand.IntN(2) == 0 {
		_ = w.commit(first, t) // fails, or shows as a zombie
		return nil
	}
	if err := other.BeginTransaction(); err != nil {
		w.bank.note("begin", err)
		return err
	}
	own := w.begin(abort, []ledger.Transfer{w.bank.transfer()})
	if err := w.bank.send(other, own); err != nil {
		w.bank.note("produce", err)
		return err
	}
	_ = w.commit(first, t)
	return w.abort(other, own)
}
