package catalog

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"millrace/base/kv"
)

const (
	// batchOps is how many keys one transaction changes; it stays below kv.MaxOps with a condition for each.
	batchOps = 100
	// batchWriters bounds the transactions that are on their way at a time.
	batchWriters = 8
)

// errRace says that the store is to be read anew.
var errRace = errors.New("the record has changed, or nothing is known")

// batch is one transaction, and where in the sequence of operations it begins.
type batch struct {
	conds []kv.Cond
	ops   []kv.Op
	from  int
}

// of gives the part of a sequence, in the order of the operations, that the transaction is about.
func of[T any](one batch, all []T) []T { return all[one.from : one.from+len(one.ops)] }

// batches gathers operations, each with its conditions, into as few transactions as can be. The zero value is empty.
type batches struct {
	all    []batch
	shared map[kv.Cond]bool // conditions of the last
	n      int
}

// add takes one operation. Conditions that several operations have are compared once for a transaction.
func (b *batches) add(op kv.Op, conds ...kv.Cond) {
	if n := len(b.all); n == 0 || len(b.all[n-1].ops) == batchOps || len(b.all[n-1].conds)+len(conds) > kv.MaxOps {
		b.all = append(b.all, batch{from: b.n})
		b.shared = make(map[kv.Cond]bool)
	}
	last := &b.all[len(b.all)-1]
	for _, cond := range conds {
		if !b.shared[cond] {
			b.shared[cond] = true
			last.conds = append(last.conds, cond)
		}
	}
	last.ops = append(last.ops, op)
	b.n++
}

// write applies all, a few at a time. Done hears of each, possibly of several at once: nil, errRace where a condition did
// not hold or the answer was lost, or ErrUnavailable. Its own error ends the writing.
func (b *batches) write(ctx context.Context, store kv.KV, done func(ctx context.Context, one batch, rev int64, err error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(batchWriters)
	for _, one := range b.all {
		g.Go(func() error {
			rev, err := store.Txn(ctx, one.conds, one.ops)
			switch {
			case errors.Is(err, kv.ErrConflict), errors.Is(err, kv.ErrUnknown) && ctx.Err() == nil:
				err = errRace
			case err != nil:
				err = unavailable("write", err)
			}
			return done(ctx, one, rev, err)
		})
	}
	return g.Wait()
}
