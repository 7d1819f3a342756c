package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace/secure/identity"
	"millrace/secure/sigv4"
)

// Bounds of AWS signatures.
const (
	kafkaService = "kafka-cluster"
	connect      = "kafka-cluster:Connect"
	lifetimeMost = 15 * time.Minute
	clockSkew    = 5 * time.Minute
)

// nobodysSecret stands for the secret of a key that is not there, so that its signature is verified as well.
const nobodysSecret = "no key has this secret, for it has not the length"

// verifier finds the key of what is signed, and checks the signature.
type verifier struct {
	keys Keys
	log  *slog.Logger
}

// verify returns whose signature it is. The error is for the trail. key is filled in as soon as it is known, right or wrong: then its id is
// one that exists.
func (v verifier) verify(ctx context.Context, s *sigv4.Signed, rules sigv4.Rules, now time.Time) (key Key, err error) {
	key, err = v.keys.Key(ctx, s.KeyID, s.Token)
	secret := key.Secret
	if err != nil {
		secret = nobodysSecret
		if !errors.Is(err, ErrUnknownKey) {
			v.log.Error("access key not found out", "err", err)
		}
	}
	wrong := s.Verify(secret)
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("access key: %w", err)
	case secret == "":
		return key, fmt.Errorf("%w: the key has no secret", ErrUnknownKey)
	case wrong != nil:
		return key, wrong
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return key, fmt.Errorf("%w: %w at %v", ErrUnknownKey, ErrExpired, key.Expires)
	}
	return key, s.Check(rules, now)
}

// who is the identity of a key.
func (k Key) who(m identity.Mechanism) identity.Identity {
	iam := k.Identity
	return identity.Identity{Mechanism: m, Principal: k.Principal, IAM: &iam, Expires: k.Expires}
}
