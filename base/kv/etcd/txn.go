package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace/base/kv"
)

// retryPause is the wait between two attempts of a Txn whose outcome is unknown.
const retryPause = 20 * time.Millisecond

// Txn implements kv.KV. An attempt whose answer is lost is repeated when repeating it cannot apply it
// twice. If then a condition does not hold, either the lost attempt was applied, which shows in the
// values, or something else has changed the key, and what became of the attempt stays unknown.
func (c *Client) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	if err := kv.CheckTxn(cond, then); err != nil {
		return 0, err
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var lost error // of an earlier attempt
	for {
		resp, err := c.attempt(ctx, cond, then, lost != nil)
		switch {
		case err == nil && resp.Succeeded:
			return resp.Header.Revision, nil
		case err == nil && lost == nil:
			return 0, fmt.Errorf("txn on %q: %w", cond[0].Key, kv.ErrConflict)
		case err == nil:
			return resolve(resp, then, lost)
		case lost == nil && !isAmbiguous(err):
			return 0, fmt.Errorf("txn on %q: %w", then[0].Key, c.translate(err))
		case !isAmbiguous(err) || !isGuarded(cond, then) || ctx.Err() != nil:
			return 0, fmt.Errorf("txn on %q: %w: %w", then[0].Key, kv.ErrUnknown, c.translate(err))
		}
		lost = err
		pause(ctx, retryPause)
	}
}

// attempt sends the Txn once; a repetition also asks for the keys that it puts, in case it conflicts.
func (c *Client) attempt(ctx context.Context, cond []kv.Cond, then []kv.Op, repeated bool) (*clientv3.TxnResponse, error) {
	txn := c.kv.Txn(ctx).If(compares(cond)...).Then(operations(then)...)
	if repeated {
		txn = txn.Else(reads(then)...)
	}
	return txn.Commit()
}

// isGuarded says whether applying the Txn makes one of its conditions false, so that it applies once at
// most however often it is sent.
func isGuarded(cond []kv.Cond, then []kv.Op) bool {
	return slices.ContainsFunc(cond, func(c kv.Cond) bool {
		return slices.ContainsFunc(then, func(op kv.Op) bool {
			switch op.Kind {
			case kv.OpPut:
				return op.Key == c.Key && c.Kind != kv.CondExists
			case kv.OpDelete:
				return op.Key == c.Key && c.Kind != kv.CondMissing
			default:
				return false
			}
		})
	})
}

// isAmbiguous says whether the request of a failed call may have been applied. Errors that the server gives
// before it proposes a request have other codes.
func isAmbiguous(err error) bool {
	var known rpctypes.EtcdError
	code := status.Code(err)
	switch {
	case errors.As(err, &known):
		code = known.Code()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal, codes.Aborted:
		return true
	default:
		return false
	}
}

// resolve looks at the keys after a repetition that conflicted: if all values that were to be put stand
// there since one revision, the lost attempt had been applied then.
func resolve(resp *clientv3.TxnResponse, then []kv.Op, lost error) (int64, error) {
	var rev int64
	found := 0
	for _, op := range then {
		if op.Kind != kv.OpPut {
			continue
		}
		pair := firstPair(resp.Responses, found)
		found++
		if pair == nil || !bytes.Equal(pair.Value, op.Value) || rev != 0 && rev != pair.ModRevision {
			rev = 0
			break
		}
		rev = pair.ModRevision
	}
	if rev == 0 {
		return 0, fmt.Errorf("txn on %q: %w: %w", then[0].Key, kv.ErrUnknown, lost)
	}
	return rev, nil
}

// firstPair returns the only pair of the i-th read, or nil.
func firstPair(responses []*etcdserverpb.ResponseOp, i int) *mvccpb.KeyValue {
	if i >= len(responses) {
		return nil
	}
	if pairs := responses[i].GetResponseRange().GetKvs(); len(pairs) > 0 {
		return pairs[0]
	}
	return nil
}

func compares(cond []kv.Cond) []clientv3.Cmp {
	cmps := make([]clientv3.Cmp, len(cond))
	for i, c := range cond {
		switch c.Kind {
		case kv.CondMissing:
			cmps[i] = clientv3.Compare(clientv3.CreateRevision(c.Key), "=", 0)
		case kv.CondExists:
			cmps[i] = clientv3.Compare(clientv3.CreateRevision(c.Key), ">", 0)
		case kv.CondModRev:
			cmps[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Rev)
		}
	}
	return cmps
}

func operations(then []kv.Op) []clientv3.Op {
	ops := make([]clientv3.Op, len(then))
	for i, op := range then {
		switch op.Kind {
		case kv.OpPut:
			ops[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease)))
		case kv.OpDelete:
			ops[i] = clientv3.OpDelete(op.Key)
		case kv.OpDeletePrefix:
			ops[i] = clientv3.OpDelete(op.Key, clientv3.WithPrefix())
		}
	}
	return ops
}

func reads(then []kv.Op) []clientv3.Op {
	var ops []clientv3.Op
	for _, op := range then {
		if op.Kind == kv.OpPut {
			ops = append(ops, clientv3.OpGet(op.Key))
		}
	}
	return ops
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
