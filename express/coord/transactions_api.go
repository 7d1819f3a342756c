package coord

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/express/machine"
	"millrace/express/transaction"
	"millrace/kafka/kerr"
)

// txnStep is one event for the machine of a partition of __transaction_state.
type txnStep = step[*transaction.Machine]

// InitProducerID handles versions 0 to 5, for requests with a transactional id. It blocks until the answer is durable.
func (t *Transactions) InitProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	r, code := supplied(ctx, t, *req.TransactionalID,
		func(r *kmsg.InitProducerIDResponse) int16 { return r.ErrorCode },
		func(m *transaction.Machine, now time.Time, tk machine.Ticket) machine.Effects {
			return m.InitProducerID(now, tk, req)
		})
	if code != kerr.None {
		r = kmsg.NewPtrInitProducerIDResponse()
		r.ErrorCode, r.ProducerID, r.ProducerEpoch = int16(code), -1, -1
	}
	r.Version = req.Version
	return r
}

// EndTxn handles versions 0 to 5. It blocks until the decision is durable; the markers are written after that.
func (t *Transactions) EndTxn(ctx context.Context, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse {
	r, code := supplied(ctx, t, req.TransactionalID,
		func(r *kmsg.EndTxnResponse) int16 { return r.ErrorCode },
		func(m *transaction.Machine, now time.Time, tk machine.Ticket) machine.Effects {
			return m.EndTxn(now, tk, req)
		})
	if code != kerr.None {
		r = kmsg.NewPtrEndTxnResponse()
		r.ErrorCode, r.ProducerID, r.ProducerEpoch = int16(code), -1, -1
	}
	r.Version = req.Version
	return r
}

// supplied is call for requests that may need a new producer id: the machine that has none says so, and is asked again with
// one.
func supplied[R kmsg.Response](ctx context.Context, t *Transactions, id string, failed func(R) int16, f txnStep) (R, kerr.Code) {
	r, code := callID[R](ctx, t, id, f)
	if code != kerr.None || kerr.Code(failed(r)) != kerr.CoordinatorLoadInProgress {
		return r, code
	}
	next, err := t.world.NextProducerID(ctx)
	if err != nil {
		t.world.Log.Warn("no producer id for a transactional id", "transactional_id", id, "err", err)
		return r, kerr.None
	}
	return callID[R](ctx, t, id, func(m *transaction.Machine, now time.Time, tk machine.Ticket) machine.Effects {
		m.AddProducerID(next)
		return f(m, now, tk)
	})
}

// callID is call for requests that must name a transactional id.
func callID[R kmsg.Response](ctx context.Context, t *Transactions, id string, f txnStep) (R, kerr.Code) {
	if id == "" {
		var none R
		return none, kerr.InvalidRequest
	}
	return call[R](ctx, t.Runtime, id, f)
}

// AddPartitionsToTxn adds partitions to a transaction for its client, which follows the first protocol. All are added, or
// none.
func (t *Transactions) AddPartitionsToTxn(
	ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition,
) kerr.Code {
	return t.add(ctx, transaction.Addition{ID: txnID, Producer: producer, Partitions: partitions})
}

// AddPartitions is for brokers that take a producer's records. With verifyOnly it says for each partition, in order, whether
// it is part of the producer's transaction: NONE or TRANSACTION_ABORTABLE, or what is wrong with the producer. Otherwise it
// adds all partitions, by the second protocol, or none, and blocks until that is durable.
func (t *Transactions) AddPartitions(
	ctx context.Context, txnID string, producer machine.Producer, partitions []machine.TopicPartition, verifyOnly bool,
) []kerr.Code {
	if !verifyOnly {
		a := transaction.Addition{ID: txnID, Producer: producer, Partitions: partitions, Implicit: true}
		return slices.Repeat([]kerr.Code{t.add(ctx, a)}, len(partitions))
	}
	s, code := t.shard(txnID)
	if txnID == "" {
		code = kerr.InvalidRequest
	}
	var codes []kerr.Code
	if code == kerr.None {
		codes, code = read(ctx, s, func(m *transaction.Machine) []kerr.Code { return m.Verify(txnID, producer, partitions) })
	}
	if code != kerr.None {
		codes = slices.Repeat([]kerr.Code{code}, len(partitions))
	}
	return codes
}

func (t *Transactions) add(ctx context.Context, a transaction.Addition) kerr.Code {
	r, code := callID[*kmsg.AddOffsetsToTxnResponse](ctx, t, a.ID,
		func(m *transaction.Machine, now time.Time, tk machine.Ticket) machine.Effects {
			return m.AddPartitions(now, tk, a)
		})
	if code != kerr.None {
		return code
	}
	return kerr.Code(r.ErrorCode)
}

// DescribeTransactions handles version 0.
func (t *Transactions) DescribeTransactions(
	ctx context.Context, req *kmsg.DescribeTransactionsRequest,
) *kmsg.DescribeTransactionsResponse {
	r := kmsg.NewPtrDescribeTransactionsResponse()
	r.Version = req.Version
	for _, id := range req.TransactionalIDs {
		s, code := t.shard(id)
		if id == "" {
			code = kerr.InvalidRequest
		}
		var d kmsg.DescribeTransactionsResponseTransactionState
		if code == kerr.None {
			d, code = read(ctx, s, func(m *transaction.Machine) kmsg.DescribeTransactionsResponseTransactionState {
				return m.Describe(id)
			})
		}
		if code != kerr.None {
			d = kmsg.NewDescribeTransactionsResponseTransactionState()
			d.TransactionalID, d.ErrorCode = id, int16(code)
		}
		r.TransactionStates = append(r.TransactionStates, d)
	}
	return r
}

// ListTransactions handles versions 0 to 2: the ids of the partitions loaded here, in order. While one of them is being
// loaded the answer is COORDINATOR_LOAD_IN_PROGRESS, so that no id seems to be missing.
func (t *Transactions) ListTransactions(ctx context.Context, req *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponse {
	r := kmsg.NewPtrListTransactionsResponse()
	r.Version = req.Version
	shards, code := t.loaded()
	filter, unknown, err := transaction.NewFilter(req)
	switch {
	case code != kerr.None:
		r.ErrorCode = int16(code)
		return r
	case err != nil:
		r.ErrorCode = int16(kerr.InvalidRegularExpression)
		return r
	}
	r.UnknownStateFilters = unknown
	now := t.world.Clock.Now()
	for _, s := range shards {
		states, failed := read(ctx, s, func(m *transaction.Machine) []kmsg.ListTransactionsResponseTransactionState {
			return m.List(now, filter)
		})
		if failed != kerr.None && failed != kerr.NotCoordinator {
			code = failed
		}
		r.TransactionStates = append(r.TransactionStates, states...)
	}
	if code != kerr.None {
		r.ErrorCode, r.TransactionStates = int16(code), nil
	}
	slices.SortFunc(r.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
		return cmp.Compare(a.TransactionalID, b.TransactionalID)
	})
	return r
}
