package iam

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"millrace/base/clock"
	"millrace/base/kv"
)

// Sealer keeps secrets from who can read etcd. context is bound to the sealed bytes: what was sealed with another does not open.
// It is safe for concurrent use.
type Sealer interface {
	// Seal returns plain sealed, in new memory.
	Seal(plain, context []byte) ([]byte, error)
	// Open returns what was sealed, in new memory, or an error where it was changed or the context is another.
	Open(sealed, context []byte) ([]byte, error)
}

// Store changes what is kept. Make one with NewStore; it is safe for concurrent use, also beside others on the same etcd. It does
// not ask whether its caller may: who offers it to others does.
type Store struct {
	kv     kv.KV
	sealer Sealer
	clock  clock.Clock
	view   *View // nil: changes return before any View has seen them
}

// NewStore returns a Store. With a view, whose Run must be running, a change returns when the view has seen it.
func NewStore(store kv.KV, sealer Sealer, now clock.Clock, view *View) *Store {
	return &Store{kv: store, sealer: sealer, clock: now, view: view}
}

// attempts at a compare-and-swap before it is given up.
const attempts = 32

// retry repeats a read and write until no one else has written between the two.
func (s *Store) retry(ctx context.Context, once func() (written, error)) error {
	for range attempts {
		w, err := once()
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		return s.seen(ctx, w)
	}
	return ErrContended
}

// written is what a transaction did, as a View will see it.
type written struct {
	rev  int64 // zero: nothing
	keys int   // changed below prefix; they come to a View one by one
}

// txn writes.
func (s *Store) txn(ctx context.Context, cond []kv.Cond, then []kv.Op) (w written, err error) {
	for _, op := range then {
		if strings.HasPrefix(op.Key, prefix) {
			w.keys++
		}
	}
	w.rev, err = s.kv.Txn(ctx, cond, then)
	return w, err
}

// seen returns when the Store's View knows of what was written.
func (s *Store) seen(ctx context.Context, w written) error {
	if s.view == nil || w.keys == 0 {
		return nil
	}
	return s.view.wait(ctx, w)
}

// get reads a record; what is what it is called in the error.
func get[T formatted](ctx context.Context, store kv.KV, key, what string) (record T, rev int64, err error) {
	item, err := store.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return record, 0, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err != nil {
		return record, 0, fmt.Errorf("read %s: %w", what, err)
	}
	if record, err = decode[T](item.Value); err != nil {
		return record, 0, fmt.Errorf("%s: %w", what, err)
	}
	return record, item.ModRev, nil
}

// list reads all records below a prefix, by name. One that cannot be read is left out.
func list[T formatted](ctx context.Context, store kv.KV, dir string) ([]T, error) {
	items, _, err := store.List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	all := []T{}
	for _, item := range items {
		if r, err := decode[T](item.Value); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

// change edits one record and writes it back; edit may add conditions and operations on others.
func change[T formatted](ctx context.Context, s *Store, key, what string, edit func(*T) ([]kv.Cond, []kv.Op, error)) (changed T, err error) {
	err = s.retry(ctx, func() (written, error) {
		record, rev, err := get[T](ctx, s.kv, key, what)
		if err != nil {
			return written{}, err
		}
		before := encode(record)
		cond, then, err := edit(&record)
		if err != nil {
			return written{}, err
		}
		changed = record
		after := encode(record)
		if len(then) == 0 && bytes.Equal(before, after) {
			return written{}, nil
		}
		return s.txn(ctx, append(cond, kv.ModRevEquals(key, rev)), append(then, kv.Put(key, after)))
	})
	return changed, err
}

// create writes a record that must not be there yet, where there are fewer than most below its prefix.
func (s *Store) create(ctx context.Context, dir, name, what string, most int, record any) error {
	items, _, err := s.kv.List(ctx, dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if len(items) >= most {
		return fmt.Errorf("%s: %w: at most %d", what, ErrLimit, most)
	}
	return s.retry(ctx, func() (written, error) {
		w, err := s.txn(ctx, []kv.Cond{kv.KeyMissing(dir + name)}, []kv.Op{kv.Put(dir+name, encode(record))})
		if errors.Is(err, kv.ErrConflict) {
			return w, fmt.Errorf("%s: %w", what, ErrExists)
		}
		return w, err
	})
}

// remove deletes a record when check lets it; ops are deleted with it.
func remove[T formatted](ctx context.Context, s *Store, key, what string, check func(T) ([]kv.Op, error)) error {
	return s.retry(ctx, func() (written, error) {
		record, rev, err := get[T](ctx, s.kv, key, what)
		if err != nil {
			return written{}, err
		}
		ops, err := check(record)
		if err != nil {
			return written{}, err
		}
		return s.txn(ctx, []kv.Cond{kv.ModRevEquals(key, rev)}, append(ops, kv.Delete(key)))
	})
}

// randomID is a prefix and n characters of A to Z and 2 to 7.
func randomID(prefix string, n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it does not fail
	return prefix + base32.StdEncoding.EncodeToString(b)[:n]
}

// Lengths of ids and secrets, those of AWS.
const (
	idLength     = 17 // after AIDA, AROA, ANPA
	keyLength    = 16 // after AKIA, ASIA
	secretLength = 30 // bytes, 40 characters
)

func randomSecret() string {
	b := make([]byte, secretLength)
	_, _ = rand.Read(b) // it does not fail
	return base64.StdEncoding.EncodeToString(b)
}

// compact takes white space out of a document that was parsed before.
func compact(document []byte) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		return slices.Clone(document)
	}
	return b.Bytes()
}

// randomAccount is 12 digits, the first not zero.
func randomAccount() string {
	const first, span = 100_000_000_000, 900_000_000_000
	n, err := rand.Int(rand.Reader, big.NewInt(span))
	if err != nil {
		panic("iam: no random numbers: " + err.Error()) // crypto/rand does not fail
	}
	return strconv.FormatInt(first+n.Int64(), 10)
}
