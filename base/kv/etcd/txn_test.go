package etcd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace/base/kv"
)

// lossyKV breaks the connection during the first transactions.
type lossyKV struct {
	clientv3.KV
	before, after int    // how many transactions to lose before and after the server applies them
	meanwhile     func() // called after a loss
}

type lossyTxn struct {
	clientv3.Txn
	kv *lossyKV
}

func (l *lossyKV) Txn(ctx context.Context) clientv3.Txn { return &lossyTxn{l.KV.Txn(ctx), l} }

func (t *lossyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *lossyTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *lossyTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }

func (t *lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	lost := status.Error(codes.Unavailable, "connection lost")
	switch {
	case t.kv.before > 0:
		t.kv.before--
	case t.kv.after > 0:
		t.kv.after--
		if resp, err := t.Txn.Commit(); err != nil || !resp.Succeeded {
			return resp, err
		}
	default:
		return t.Txn.Commit()
	}
	if t.kv.meanwhile != nil {
		t.kv.meanwhile()
	}
	return nil, lost
}

// TestLostAnswers checks K4: whatever is lost, a Txn is applied once or not at all, and its result is true.
func TestLostAnswers(t *testing.T) {
	e := startMember(t, t.TempDir())
	var plain *Client // of the running case
	create := []kv.Cond{kv.KeyMissing("a")}
	mine := []kv.Op{kv.Put("a", []byte("mine")), kv.Put("b", []byte("mine"))}
	overwrite := func() { put(t, plain, "a", "other") }

	tests := []struct {
		name          string
		cond          []kv.Cond
		then          []kv.Op
		before, after int
		meanwhile     func()
		want          error
		value         string // of key a afterwards
		writes        int64  // to key a
	}{
		{"guarded, not applied", create, mine, 2, 0, nil, nil, "mine", 1},
		{"guarded, applied", create, mine, 0, 1, nil, nil, "mine", 1},
		{"guarded, not applied then applied", create, mine, 1, 1, nil, nil, "mine", 1},
		{"not applied, somebody else wins", create, mine, 1, 0, overwrite, kv.ErrUnknown, "other", 1},
		{"applied, somebody else overwrites", create, mine, 0, 1, overwrite, kv.ErrUnknown, "other", 2},
		{"not guarded, applied", nil, mine, 0, 1, nil, kv.ErrUnknown, "mine", 1},
		{"not guarded, not applied", nil, mine, 1, 0, nil, kv.ErrUnknown, "", 0},
		{"guard is not what is written", []kv.Cond{kv.KeyMissing("c")}, mine, 0, 1, nil, kv.ErrUnknown, "mine", 1},
		{"no loss, conflict", []kv.Cond{kv.KeyExists("a")}, mine, 0, 0, nil, kv.ErrConflict, "", 0},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plain = dial(t, e, fmt.Sprintf("%d/", i))
			defer plain.Close()
			c := dial(t, e, fmt.Sprintf("%d/", i))
			defer c.Close()
			c.kv = &lossyKV{KV: c.kv, before: tt.before, after: tt.after, meanwhile: tt.meanwhile}
			rev, err := c.Txn(t.Context(), tt.cond, tt.then)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			resp, gerr := plain.kv.Get(t.Context(), "a")
			if gerr != nil {
				t.Fatal(gerr)
			}
			var value string
			var writes int64
			if len(resp.Kvs) > 0 {
				value, writes = string(resp.Kvs[0].Value), resp.Kvs[0].Version
				if err == nil && rev != resp.Kvs[0].ModRevision {
					t.Errorf("revision %d, the key has %d", rev, resp.Kvs[0].ModRevision)
				}
			}
			if value != tt.value || writes != tt.writes {
				t.Errorf("a is %q after %d writes, want %q after %d", value, writes, tt.value, tt.writes)
			}
		})
	}
}
