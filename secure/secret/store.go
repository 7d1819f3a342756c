package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"millrace/base/clock"
	"millrace/base/kv"
)

// Sealer keeps values from who can read etcd, bound to a context. Safe for concurrent use.
type Sealer interface {
	// Seal returns plain sealed, in new memory.
	Seal(plain, context []byte) ([]byte, error)
	// Open returns what was sealed, in new memory, or an error where it was changed or the context is another.
	Open(sealed, context []byte) ([]byte, error)
}

// World is all that a Store touches outside itself.
type World struct {
	KV     kv.KV
	Sealer Sealer
	Clock  clock.Clock
	Random func([]byte)
}

// Store keeps secrets. Make one with NewStore; safe for concurrent use, also beside others on the same etcd. It does not ask whether its
// caller may: who offers it to others does.
type Store struct{ world World }

// NewStore makes a Store.
func NewStore(w World) *Store { return &Store{world: w} }

// Describe returns what may be told of a secret, also of one that is marked for deletion, or ErrNotFound.
func (s *Store) Describe(ctx context.Context, r Ref) (Secret, error) {
	found, _, err := s.find(ctx, r)
	return found, err
}

// List returns all secrets by name, those that are marked for deletion included.
func (s *Store) List(ctx context.Context) ([]Secret, error) {
	items, _, err := s.world.KV.List(ctx, dirSecrets)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	all := make([]Secret, 0, len(items))
	for _, item := range items {
		one, err := decode[Secret](item.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", item.Key, err)
		}
		if !s.over(one) {
			all = append(all, one)
		}
	}
	return all, nil
}

// over says that a secret's recovery window is over.
func (s *Store) over(one Secret) bool {
	return !one.Deleted.IsZero() && !s.world.Clock.Now().Before(one.Deleted)
}

// find reads a secret and the revision of its record. With ErrNotFound the revision is that of one that is over, or 0.
func (s *Store) find(ctx context.Context, r Ref) (Secret, int64, error) {
	if err := checkName(r.Name); err != nil {
		return Secret{}, 0, ErrNotFound
	}
	found, rev, err := read[Secret](ctx, s.world.KV, secretKey(r.Name))
	switch {
	case err != nil:
		return Secret{}, 0, err
	case s.over(found):
		return found, rev, ErrNotFound
	case r.Tail != "" && r.Tail != found.Tail:
		return Secret{}, 0, ErrNotFound
	}
	return found, rev, nil
}

// change edits a secret that is not marked for deletion. edit may be called again; it returns what is written with the record.
func (s *Store) change(ctx context.Context, r Ref, edit func(*Secret) ([]kv.Op, error)) (changed Secret, err error) {
	err = s.retry(func() error {
		var rev int64
		var err error
		if changed, rev, err = s.find(ctx, r); err != nil {
			return err
		}
		if !changed.Deleted.IsZero() {
			return ErrDeleted
		}
		ops, err := edit(&changed)
		if err != nil || ops == nil {
			return err
		}
		key := secretKey(changed.Name)
		_, err = s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, append(ops, put(key, changed)))
		return err
	})
	return changed, err
}

// some are no operations, beside the record's own.
func some() []kv.Op { return []kv.Op{} }

// retry repeats a read and write until nobody else has written between the two.
func (s *Store) retry(once func() error) error {
	for {
		if err := once(); !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// Tag gives a secret tags, beside those that it has. Errors: ErrNotFound, ErrDeleted, ErrInvalid, ErrLimit.
func (s *Store) Tag(ctx context.Context, r Ref, tags map[string]string) (Secret, error) {
	return s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
		all := map[string]string{}
		for k, v := range x.Tags {
			all[k] = v
		}
		for k, v := range tags {
			all[k] = v
		}
		x.Tags, x.Changed = all, s.world.Clock.Now().UTC()
		return some(), checkTags(all)
	})
}

// Untag takes tags away; those that it has not do not matter. Errors: ErrNotFound, ErrDeleted.
func (s *Store) Untag(ctx context.Context, r Ref, keys []string) (Secret, error) {
	return s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
		for _, k := range keys {
			delete(x.Tags, k)
		}
		x.Changed = s.world.Clock.Now().UTC()
		return some(), nil
	})
}

// SetPolicy gives a secret a resource policy; nil: it has none any more. Errors: ErrNotFound, ErrDeleted, ErrPolicy.
func (s *Store) SetPolicy(ctx context.Context, r Ref, document []byte) (Secret, error) {
	if document != nil {
		if err := checkPolicy(document); err != nil {
			return Secret{}, err
		}
	}
	return s.change(ctx, r, func(x *Secret) ([]kv.Op, error) {
		x.Policy, x.Changed = document, s.world.Clock.Now().UTC()
		return some(), nil
	})
}

// read reads a record; ErrNotFound where there is none.
func read[T interface{ version() int }](ctx context.Context, store kv.KV, key string) (record T, rev int64, err error) {
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return record, 0, ErrNotFound
	}
	if err != nil {
		return record, 0, fmt.Errorf("read %s: %w", strings.ToValidUTF8(key, ""), err)
	}
	record, err = decode[T](item.Value)
	return record, item.ModRev, err
}

// put writes a record; records always can be encoded.
func put(key string, record any) kv.Op {
	b, err := json.Marshal(record)
	if err != nil {
		panic("secret: a record that cannot be encoded: " + err.Error())
	}
	return kv.Put(key, b)
}
