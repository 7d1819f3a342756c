package lead

import (
	"context"
	"errors"

	"millrace/base/kv"
)

// ErrLost: another process has the lead since, or nobody; nothing was written.
var ErrLost = errors.New("this process leads no longer")

// fence is a store that takes what is written only while the key is as it was put at rev (4).
type fence struct {
	kv.KV
	key  string
	rev  int64
	lost func() // called when it is not; it may be called again
}

// Txn implements kv.KV. That the key has changed is told apart from the conditions of the caller, who would look and try again.
func (f *fence) Txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (int64, error) {
	rev, err := f.KV.Txn(ctx, append(cond[:len(cond):len(cond)], kv.ModRevEquals(f.key, f.rev)), then)
	if !errors.Is(err, kv.ErrConflict) {
		return rev, err
	}
	item, e := f.KV.Get(ctx, f.key)
	switch {
	case e != nil && !errors.Is(e, kv.ErrNotFound):
		return 0, e // whose conflict it was is not known; the next attempt tells
	case e != nil || item.ModRev != f.rev:
		f.lost()
		return 0, ErrLost
	}
	return rev, err
}
