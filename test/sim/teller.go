package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/kerr"
	"millrace/test/robust/ledger"
)

// transactionTimeout is what tellers ask for.
const transactionTimeout = 6 * time.Second

// legTopics are the topics of the bank.
var legTopics = [ledger.Topics]string{"debit", "credit", "entry"}

// errLost: the teller's epoch is not the current one any more, or its transaction not open: it begins anew.
var errLost = errors.New("the transaction is lost")

// errDone: there is nothing left to do.
var errDone = errors.New("all orders are fulfilled")

// teller makes one transaction after the other.
type teller struct {
	*client
	id   string // transactional
	book *ledger.Book
	who  identity
	next map[lane]int32 // sequences since the last initialize

	// A clerk is a teller who fulfils orders: it reads them from a topic, and commits how far it got with its transactions.
	clerk    bool
	placed   <-chan struct{} // closed when no more orders come
	position int64           // of the next order to take
}

type lane struct {
	topic     string
	partition int32
}

// serve makes transactions until stop ends; the last one is committed or known to be lost, unless ctx ends before.
func (t *teller) serve(ctx, stop context.Context) {
	defer t.close()
	if t.clerk {
		stop = ctx // it ends when all orders are fulfilled
	}
	for first := true; sleep(stop, time.Duration(t.rng.Int64N(int64(4*t.world.plan.Think)))); first = false {
		if first || t.next == nil {
			if err := t.begin(ctx); err != nil {
				t.complain(ctx, err)
				return
			}
		}
		err := t.transact(ctx)
		if errors.Is(err, errDone) {
			break
		}
		if errors.Is(err, errLost) {
			t.next = nil
		} else if err != nil {
			t.complain(ctx, err)
			return
		}
	}
	// What was left open must end: the next owner of the id aborts it.
	if err := t.begin(ctx); err != nil {
		t.complain(ctx, err)
	}
}

func (t *teller) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		t.world.fault("%s: %w", t.name, err)
	}
}

// begin takes the transactional id, and ends what was open under it.
func (t *teller) begin(ctx context.Context) error {
	err := t.insist(ctx, t.id, 1, func(address string) (kerr.Code, error) {
		who, err := t.initialize(ctx, address, &t.id, transactionTimeout)
		var code kerr.Code
		if errors.As(err, &code) {
			return code, nil
		}
		t.who, t.next = who, map[lane]int32{}
		return kerr.None, err
	})
	if err == nil && t.clerk {
		t.position, err = t.fetchOffset(ctx)
	}
	return err
}

// insist asks the coordinator of a key until it gives a code that is not retriable.
func (c *client) insist(ctx context.Context, key string, kind int8, ask func(address string) (kerr.Code, error)) error {
	for {
		address, err := c.coordinator(ctx, key, kind)
		if err == nil {
			var code kerr.Code
			code, err = ask(address)
			switch {
			case err != nil || code.Retriable() || code == kerr.ConcurrentTransactions:
			case code == kerr.None:
				return nil
			default:
				return code
			}
		}
		if !c.pause(ctx) {
			return ctx.Err()
		}
	}
}

// transact makes one transaction, or leaves it.
func (t *teller) transact(ctx context.Context) error {
	var transfers []ledger.Transfer
	if t.clerk {
		var err error
		if transfers, err = t.take(ctx); err != nil || len(transfers) == 0 {
			return err
		}
	} else {
		for range 1 + t.rng.IntN(2) {
			transfers = append(transfers, t.transfer())
		}
	}
	txn := t.book.Begin(transfers...)
	t.note(txn, "%s %d/%d begins", t.id, t.who.id, t.who.epoch)
	err := t.fill(ctx, txn)
	if err == nil && t.clerk {
		err = t.commitOffset(ctx)
	}
	if err != nil {
		t.note(txn, "fill: %v", err)
		return t.judge(err)
	}
	switch n := t.rng.IntN(20); {
	case n < 2: // abort
		err := t.end(ctx, txn, false)
		if err == nil && t.clerk {
			err = errLost // the orders are to be taken again
		}
		return err
	case n < 3: // somebody else takes the id, as a restarted application would
		return errLost
	default:
		txn.Request()
		return t.end(ctx, txn, true)
	}
}

// transfer draws one that fulfils no order.
func (c *client) transfer() ledger.Transfer {
	t := ledger.Transfer{Order: ledger.NoOrder, From: int32(c.rng.IntN(5)), To: int32(c.rng.IntN(5)), Amount: 1 + c.rng.Int64N(99)}
	for leg := range t.Partition {
		t.Partition[leg] = int32(c.rng.IntN(c.world.plan.Legs))
	}
	return t
}

// fill sends the records of a transaction.
func (t *teller) fill(ctx context.Context, txn *ledger.Transaction) error {
	lanes := map[lane]*batch{}
	var order []*batch
	for i, draft := range txn.Drafts() {
		at := lane{legTopics[draft.Topic], draft.Partition}
		b := lanes[at]
		if b == nil {
			b = &batch{topic: at.topic, partition: at.partition, acked: func(int64) {}}
			lanes[at] = b
			order = append(order, b)
		}
		n, before := int64(len(b.values)), b.acked
		b.values = append(b.values, draft.Value)
		b.acked = func(base int64) {
			before(base)
			txn.Stands(i, base+n)
		}
	}
	if err := t.insist(ctx, t.id, 1, func(address string) (kerr.Code, error) { return t.add(ctx, address, order) }); err != nil {
		return err
	}
	for _, b := range order {
		at := lane{b.topic, b.partition}
		if err := b.encode(t.who, t.next[at], true); err != nil {
			return err
		}
		t.next[at] += int32(len(b.values))
	}
	if t.rng.IntN(2) == 0 {
		return t.spread(ctx, order)
	}
	for _, b := range order {
		if err := t.deliver(ctx, []*batch{b}, &t.id); err != nil {
			return err
		}
	}
	return nil
}

// spread sends batches for several partitions, those for one broker in one request, and again until each is acknowledged.
func (t *teller) spread(ctx context.Context, left []*batch) error {
	for len(left) > 0 {
		var whom []string
		lists := map[string][]*batch{}
		for _, b := range left {
			to, err := t.leader(ctx, b.topic, b.partition)
			if err != nil {
				return err
			}
			if lists[to.address] == nil {
				whom = append(whom, to.address)
			}
			lists[to.address] = append(lists[to.address], b)
		}
		left = nil
		for _, address := range whom {
			again, err := t.bundle(ctx, address, lists[address])
			if err != nil {
				return err
			}
			left = append(left, again...)
		}
		if len(left) > 0 && !t.pause(ctx) {
			return ctx.Err()
		}
	}
	return nil
}

// bundle sends one request, and returns the batches that are to be sent again.
func (t *teller) bundle(ctx context.Context, address string, batches []*batch) (again []*batch, err error) {
	req := batches[0].request(&t.id, nil)
	for _, b := range batches[1:] {
		req.Topics = append(req.Topics, b.request(&t.id, nil).Topics...)
	}
	answer, err := t.ask(ctx, address, req)
	for i, b := range batches {
		code := kerr.NetworkException
		if err == nil {
			p := answer.(*kmsg.ProduceResponse).Topics[i].Partitions[0]
			if code = kerr.Code(p.ErrorCode); code == kerr.None {
				b.acked(p.BaseOffset)
				continue
			}
		}
		if !code.Retriable() {
			return nil, fmt.Errorf("produce to %s-%d at %s: %w", b.topic, b.partition, address, code)
		}
		t.forget(b.topic, b.partition)
		again = append(again, b)
	}
	return again, nil
}

func (t *teller) add(ctx context.Context, address string, batches []*batch) (kerr.Code, error) {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, t.id, t.who.id, t.who.epoch
	for _, b := range batches {
		in := kmsg.NewAddPartitionsToTxnRequestTopic()
		in.Topic, in.Partitions = b.topic, []int32{b.partition}
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == b.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, b.partition)
			continue
		}
		req.Topics = append(req.Topics, in)
	}
	answer, err := t.ask(ctx, address, req)
	if err != nil {
		return 0, err
	}
	worst := kerr.None
	for _, topic := range answer.(*kmsg.AddPartitionsToTxnResponse).Topics {
		for _, p := range topic.Partitions {
			if code := kerr.Code(p.ErrorCode); code != kerr.None && code != kerr.OperationNotAttempted {
				worst = code
			}
		}
	}
	if worst == kerr.UnknownTopicOrPartition {
		worst = kerr.CoordinatorNotAvailable // its view is behind: again
	}
	return worst, nil
}

// end commits or aborts.
func (t *teller) end(ctx context.Context, txn *ledger.Transaction, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 3, t.id, t.who.id, t.who.epoch, commit
	err := t.insist(ctx, t.id, 1, func(address string) (kerr.Code, error) {
		answer, err := t.ask(ctx, address, req)
		if err != nil {
			return 0, err
		}
		return kerr.Code(answer.(*kmsg.EndTxnResponse).ErrorCode), nil
	})
	t.note(txn, "end, commit %v: %v", commit, err)
	switch {
	case err == nil && commit:
		txn.Committed()
	case err == nil:
		txn.Aborted()
	default:
		return t.judge(err)
	}
	return nil
}

// judge tells errors after which a teller begins anew from those that no correct cluster gives.
func (t *teller) judge(err error) error {
	var code kerr.Code
	if !errors.As(err, &code) {
		return err
	}
	switch code {
	// The transaction ran out of time, and was aborted with a higher epoch. INVALID_TXN_STATE is not told then, in the first
	// protocol of transactions: it would be that a record belongs to no transaction, or that one ends twice in two ways.
	case kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidProducerIDMapping, kerr.TransactionAbortable:
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

func (t *teller) note(txn *ledger.Transaction, format string, args ...any) {
	txn.Note(fmt.Sprintf("%.3f ", time.Since(t.world.began).Seconds()) + fmt.Sprintf(format, args...))
}
