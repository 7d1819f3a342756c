package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"millrace/base/kv"
	"millrace/base/object"
)

// ErrNotShared: this broker's object store is not the one that the cluster's other brokers have.
var ErrNotShared = errors.New("node: object store is not the cluster's")

// storeIDKey is the object that tells one store from another of the same cluster.
const storeIDKey = "store-id"

// checkSameStore makes sure that all brokers of a cluster have one object store: what one hands over there, another must find. The first
// store that a broker comes with is the cluster's for ever.
func checkSameStore(ctx context.Context, store kv.KV, prefix string, objects object.Store) error {
	mine, err := storeID(ctx, objects)
	if err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	key := prefix + "store"
	for {
		item, err := store.Get(ctx, key)
		switch {
		case err == nil && string(item.Value) == mine:
			return nil
		case err == nil:
			return fmt.Errorf("%w: its id is %s, that of the cluster's is %s; all hosts must reach the same bucket, or have the same directory mounted", ErrNotShared, mine, item.Value)
		case !errors.Is(err, kv.ErrNotFound):
			return fmt.Errorf("read the store's id: %w", err)
		}
		_, err = store.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, []byte(mine))})
		if err != nil && !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrUnknown) {
			return fmt.Errorf("save the store's id: %w", err)
		}
	}
}

// storeID reads the store's id, and gives it one where it has none.
func storeID(ctx context.Context, objects object.Store) (string, error) {
	found := make([]byte, 64)
	for {
		n, err := objects.ReadAt(ctx, storeIDKey, found, 0)
		if err == nil || errors.Is(err, io.EOF) {
			return string(found[:n]), nil
		}
		if !errors.Is(err, object.ErrNotFound) {
			return "", err
		}
		err = objects.Put(ctx, storeIDKey, [][]byte{[]byte(uuid.NewString())}, object.PutOptions{IfAbsent: true})
		if err != nil && !errors.Is(err, object.ErrExists) {
			return "", err
		}
	}
}
