package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace/base/kv"
)

// Account returns the installation's account and its root key's ids, or ErrNotFound before OpenAccount.
func (s *Store) Account(ctx context.Context) (Account, error) {
	a, _, err := get[Account](ctx, s.kv, keyAccount, "account")
	return a, err
}

// OpenAccount returns the account, made with a root key if there was none yet. Of several callers at once, one makes it. It waits
// for no View: it is for the start, before one runs.
func (s *Store) OpenAccount(ctx context.Context) (Account, error) {
	a, err := s.Account(ctx)
	if !errors.Is(err, ErrNotFound) {
		return a, err
	}
	record, key, err := s.newKey("")
	if err != nil {
		return a, err
	}
	a = Account{Format: currentFormat, ID: randomAccount(), Created: record.Created, Keys: []string{key.ID}}
	then := []kv.Op{kv.Put(keyAccount, encode(a)), kv.Put(dirKeys+key.ID, encode(record))}
	_, err = s.kv.Txn(ctx, []kv.Cond{kv.KeyMissing(keyAccount)}, then)
	if errors.Is(err, kv.ErrConflict) {
		return s.Account(ctx)
	}
	if err != nil {
		return a, fmt.Errorf("make the account: %w", err)
	}
	return a, nil
}

// RootKey returns an enabled key of root with its secret: for the process that keeps it in a file of its owner, and may have been
// stopped before it did. Errors: ErrNotFound before OpenAccount.
func (s *Store) RootKey(ctx context.Context) (NewKey, error) {
	a, err := s.Account(ctx)
	if err != nil {
		return NewKey{}, err
	}
	for _, id := range a.Keys {
		k, _, err := get[keyRecord](ctx, s.kv, dirKeys+id, "access key "+id)
		if err != nil {
			return NewKey{}, err
		}
		if !k.Enabled {
			continue
		}
		secret, err := s.sealer.Open(k.Sealed, []byte(dirKeys+id))
		if err != nil {
			return NewKey{}, fmt.Errorf("open access key %s: %w", id, err)
		}
		return NewKey{ID: id, Secret: string(secret)}, nil
	}
	return NewKey{}, fmt.Errorf("enabled access key of root: %w", ErrNotFound)
}

// newKey makes a key and the record that keeps it, sealed.
func (s *Store) newKey(user string) (keyRecord, NewKey, error) {
	k := NewKey{ID: randomID("AKIA", keyLength), Secret: randomSecret(), User: user}
	sealed, err := s.sealer.Seal([]byte(k.Secret), []byte(dirKeys+k.ID))
	if err != nil {
		return keyRecord{}, k, fmt.Errorf("seal access key: %w", err)
	}
	return keyRecord{Format: currentFormat, ID: k.ID, User: user, Enabled: true, Created: s.clock.Now().UTC(), Sealed: sealed}, k, nil
}

// CreateKey makes an access key of a user, or of root for "". Its secret is told only now. Errors: ErrNotFound, ErrLimit.
func (s *Store) CreateKey(ctx context.Context, user string) (NewKey, error) {
	record, key, err := s.newKey(user)
	if err != nil {
		return NewKey{}, err
	}
	add := func(keys []string) ([]string, []kv.Cond, []kv.Op, error) {
		if len(keys) >= mostKeys {
			return nil, nil, nil, fmt.Errorf("%s: %w: at most %d access keys; delete one first", ownerOf(user), ErrLimit, mostKeys)
		}
		return append(keys, key.ID), []kv.Cond{kv.KeyMissing(dirKeys + key.ID)}, []kv.Op{kv.Put(dirKeys+key.ID, encode(record))}, nil
	}
	if err := s.editKeys(ctx, user, add); err != nil {
		return NewKey{}, err
	}
	return key, nil
}

func ownerOf(user string) string {
	if user == "" {
		return "root"
	}
	return Owner{Name: user}.String()
}

// editKeys changes the list of keys of a user, or of root for "".
func (s *Store) editKeys(ctx context.Context, user string, edit func([]string) ([]string, []kv.Cond, []kv.Op, error)) (err error) {
	if user == "" {
		_, err = change(ctx, s, keyAccount, "account", func(a *Account) (cond []kv.Cond, then []kv.Op, err error) {
			a.Keys, cond, then, err = edit(a.Keys)
			return cond, then, err
		})
		return err
	}
	_, err = change(ctx, s, dirUsers+user, ownerOf(user), func(u *User) (cond []kv.Cond, then []kv.Op, err error) {
		u.Keys, cond, then, err = edit(u.Keys)
		return cond, then, err
	})
	return err
}

// DeleteKey removes an access key. Root's last enabled one stays (ErrInUse): without it nobody could get in again.
func (s *Store) DeleteKey(ctx context.Context, id string) error {
	record, _, err := get[keyRecord](ctx, s.kv, dirKeys+id, "access key "+clip(id))
	if err != nil {
		return err
	}
	return s.editKeys(ctx, record.User, func(keys []string) ([]string, []kv.Cond, []kv.Op, error) {
		i := slices.Index(keys, id)
		if i < 0 {
			return nil, nil, nil, fmt.Errorf("access key %s: %w", id, ErrNotFound)
		}
		var cond []kv.Cond
		if record.User == "" {
			if cond, _, err = s.otherRootKey(ctx, id); err != nil {
				return nil, nil, nil, err
			}
		}
		return slices.Delete(keys, i, i+1), cond, []kv.Op{kv.Delete(dirKeys + id), kv.Delete(dirUsed + id)}, nil
	})
}

// SetKey enables or disables an access key. Errors: ErrNotFound, ErrInUse for the only enabled key of root.
func (s *Store) SetKey(ctx context.Context, id string, enabled bool) error {
	_, err := change(ctx, s, dirKeys+id, "access key "+clip(id), func(k *keyRecord) ([]kv.Cond, []kv.Op, error) {
		k.Enabled = enabled
		if enabled || k.User != "" {
			return nil, nil, nil
		}
		return s.otherRootKey(ctx, id)
	})
	return err
}

// otherRootKey wants another enabled key of root, and that it stays so.
func (s *Store) otherRootKey(ctx context.Context, id string) ([]kv.Cond, []kv.Op, error) {
	a, err := s.Account(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, other := range a.Keys {
		if k, rev, err := get[keyRecord](ctx, s.kv, dirKeys+other, "access key"); err == nil && other != id && k.Enabled {
			return []kv.Cond{kv.ModRevEquals(dirKeys+other, rev)}, nil, nil
		}
	}
	return nil, nil, fmt.Errorf("access key %s: %w: it is the only enabled one of root", id, ErrInUse)
}

// Keys returns the access keys of a user, of root for "", or of all.
func (s *Store) Keys(ctx context.Context, user string, all bool) ([]Key, error) {
	records, err := list[keyRecord](ctx, s.kv, dirKeys)
	if err != nil {
		return nil, err
	}
	used, _, err := s.kv.List(ctx, dirUsed)
	if err != nil {
		return nil, fmt.Errorf("list uses of access keys: %w", err)
	}
	last := map[string]*Use{}
	for _, item := range used {
		if u, err := decode[Use](item.Value); err == nil {
			last[item.Key[len(dirUsed):]] = &u
		}
	}
	keys := []Key{}
	for _, r := range records {
		if all || r.User == user {
			keys = append(keys, Key{ID: r.ID, User: r.User, Enabled: r.Enabled, Created: r.Created, Used: last[r.ID]})
		}
	}
	return keys, nil
}

// KeyOf returns what may be told of one access key, or ErrNotFound.
func (s *Store) KeyOf(ctx context.Context, id string) (Key, error) {
	r, _, err := get[keyRecord](ctx, s.kv, dirKeys+id, "access key "+clip(id))
	return Key{ID: r.ID, User: r.User, Enabled: r.Enabled, Created: r.Created}, err
}
