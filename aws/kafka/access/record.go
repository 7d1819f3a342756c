package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/base/kv"
)

// format of all records here.
const format = 1

// errNewer: a record was written by a newer version of Millrace.
var errNewer = errors.New("record written by a newer version of millrace")

// formatted is any record.
type formatted interface{ version() int }

// read reads a record; the zero value and revision 0 where there is none.
func read[T formatted](ctx context.Context, store kv.KV, key string) (record T, rev int64, err error) {
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return record, 0, nil
	}
	if err != nil {
		return record, 0, fmt.Errorf("read %s: %w", key, err)
	}
	record, err = decode[T](item)
	return record, item.ModRev, err
}

func decode[T formatted](item kv.Item) (T, error) {
	var r T
	if err := json.Unmarshal(item.Value, &r); err != nil {
		return r, fmt.Errorf("%s: %w", item.Key, err)
	}
	if r.version() != format {
		return r, fmt.Errorf("%s: %w: format %d", item.Key, errNewer, r.version())
	}
	return r, nil
}

// edit changes a record by compare-and-swap. change may be called again; false from it: nothing is written.
func edit[T formatted](ctx context.Context, store kv.KV, key string, change func(*T) (bool, error)) (T, error) {
	for {
		r, rev, err := read[T](ctx, store, key)
		if err != nil {
			return r, err
		}
		write, err := change(&r)
		if err != nil || !write {
			return r, err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return r, fmt.Errorf("encode %s: %w", key, err)
		}
		_, err = store.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, []kv.Op{kv.Put(key, b)})
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return r, fmt.Errorf("write %s: %w", key, err)
		}
	}
}
