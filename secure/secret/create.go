package secret

import (
	"context"
	"errors"
	"fmt"

	"millrace/base/kv"
)

// Spec is what a secret is made of.
type Spec struct {
	Name        string // letters, digits and /_+=.@- , 1 to 512
	Description string
	KMSKey      string // "": the default one
	Tags        map[string]string
	Value       *Value // nil: it gets one later
	Token       string // ID of its first version; "": a random one
}

func (s Spec) check() error {
	return errors.Join(checkName(s.Name), checkText("the description", s.Description, maxDescription), checkText("the key", s.KMSKey, maxKMSKey),
		checkTags(s.Tags), checkValue(s.Value), checkToken(s.Token))
}

// tailLength is that of the random end of an ARN.
const tailLength = 6

// tail makes one.
func (s *Store) tail() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const fair = 256 - 256%len(letters)
	out, b := make([]byte, 0, tailLength), make([]byte, 1)
	for len(out) < tailLength {
		if s.world.Random(b); int(b[0]) < fair {
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return string(out)
}

// Create makes a secret. version is the ID of its first version; "": it has none. Errors: ErrInvalid, ErrExists, ErrScheduled, ErrLimit.
func (s *Store) Create(ctx context.Context, spec Spec) (made Secret, version string, err error) {
	if err := spec.check(); err != nil {
		return Secret{}, "", err
	}
	now := s.world.Clock.Now().UTC()
	fresh := Secret{Format: format, Name: spec.Name, Tail: s.tail(), Description: spec.Description, KMSKey: spec.KMSKey,
		Created: now, Changed: now, Tags: spec.Tags}
	var ops []kv.Op
	if spec.Value != nil {
		version = s.token(spec.Token)
		if ops, err = s.add(ctx, &fresh, version, *spec.Value, []string{Current}); err != nil {
			return Secret{}, "", err
		}
	}
	ops = append(ops, put(secretKey(fresh.Name), fresh))
	made = fresh
	return made, version, s.retry(func() error {
		old, rev, err := s.find(ctx, Ref{Name: spec.Name})
		if err == nil {
			if s.again(ctx, old, spec) {
				made, version = old, spec.Token
				return nil
			}
			if !old.Deleted.IsZero() {
				return ErrScheduled
			}
			return fmt.Errorf("%w: The operation failed because the secret %s already exists", ErrExists, spec.Name)
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		cond := []kv.Cond{kv.ModRevEquals(secretKey(spec.Name), rev)}
		with := ops
		if rev != 0 { // it takes the place of one that is over
			with = append(with[:len(with):len(with)], kv.DeletePrefix(old.Ref().valuesOf()))
		} else if with, cond, err = s.count(ctx, 1, with, cond); err != nil {
			return err
		}
		_, err = s.world.KV.Txn(ctx, cond, with)
		return err
	})
}

// again says that a secret was made by the same request before (SE2).
func (s *Store) again(ctx context.Context, old Secret, spec Spec) bool {
	if spec.Token == "" || spec.Value == nil || !old.Deleted.IsZero() {
		return false
	}
	has, err := s.has(ctx, old, spec.Token, *spec.Value)
	return has && err == nil
}

// count adds to the number of secrets. Errors: ErrLimit.
func (s *Store) count(ctx context.Context, by int, ops []kv.Op, cond []kv.Cond) ([]kv.Op, []kv.Cond, error) {
	n, rev, err := read[counted](ctx, s.world.KV, keyCount)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, nil, err
	}
	if n.Secrets += by; n.Secrets > maxSecrets {
		return nil, nil, fmt.Errorf("%w: there are %d secrets", ErrLimit, maxSecrets)
	}
	n.Format = format
	return append(ops[:len(ops):len(ops)], put(keyCount, n)), append(cond, kv.ModRevEquals(keyCount, rev)), nil
}
