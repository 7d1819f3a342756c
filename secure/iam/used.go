package iam

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
	"millrace/secure/iam/policy"
	"millrace/secure/identity"
)

// uses remembers when keys were used, and writes it to etcd now and then.
type uses struct {
	kv    kv.KV
	clock clock.Clock
	log   *slog.Logger

	mu      sync.Mutex
	pending map[string]Use
	noted   map[string]int64 // seconds, by key: of identities that come only once
}

const (
	useEvery = time.Minute // a key's use is noted that often at most
	useFlush = 5 * time.Second
	mostUses = 4096 // keys between two flushes; more are left out
)

func newUses(store kv.KV, now clock.Clock, log *slog.Logger) *uses {
	return &uses{kv: store, clock: now, log: log, pending: map[string]Use{}, noted: map[string]int64{}}
}

// note remembers the use of a lasting key, once a minute.
func (u *uses) note(b *binding, who *identity.IAM, r *policy.Request) {
	at, last := r.Now.Unix(), b.used.Load()
	if !who.Issued.IsZero() || at-last < int64(useEvery/time.Second) || !b.used.CompareAndSwap(last, at) {
		return
	}
	service, _, _ := strings.Cut(r.Action, ":")
	use := Use{Format: currentFormat, At: r.Now.UTC().Truncate(time.Second), Service: service}
	if r.Source.IsValid() {
		use.From = r.Source.Unmap().String()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if at-u.noted[who.AccessKey] < int64(useEvery/time.Second) {
		return
	}
	if len(u.noted) >= mostUses {
		clear(u.noted)
	}
	u.noted[who.AccessKey] = at
	if len(u.pending) < mostUses {
		u.pending[who.AccessKey] = use
	}
}

// run writes until ctx ends.
func (u *uses) run(ctx context.Context) error {
	ticker := time.NewTicker(useFlush)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			u.flush(ctx)
		}
	}
}

// flush writes what was noted. What cannot be written is lost: it is only a hint.
func (u *uses) flush(ctx context.Context) {
	u.mu.Lock()
	pending := u.pending
	u.pending = map[string]Use{}
	u.mu.Unlock()
	for id, use := range pending {
		if err := u.write(ctx, id, use); err != nil && ctx.Err() == nil {
			u.log.Warn("last use of an access key was not written", "access_key", id, "err", err)
		}
	}
}

// write puts a use unless a later one stands there, or the key is gone.
func (u *uses) write(ctx context.Context, id string, use Use) error {
	var rev int64
	item, err := u.kv.Get(ctx, dirUsed+id)
	if err == nil {
		rev = item.ModRev
		if old, err := decode[Use](item.Value); err == nil && !old.At.Before(use.At) {
			return nil
		}
	} else if !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	_, err = u.kv.Txn(ctx, []kv.Cond{kv.ModRevEquals(dirUsed+id, rev), kv.KeyExists(dirKeys + id)}, []kv.Op{kv.Put(dirUsed+id, encode(use))})
	if errors.Is(err, kv.ErrConflict) {
		return nil // another broker was quicker, or the key is gone
	}
	return err
}
