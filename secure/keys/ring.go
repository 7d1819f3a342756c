package keys

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/base/clock"
	"millrace/base/kv"
)

const (
	sealedFormat = 1
	sealedHead   = 1 + 4 // format and key id
	// DefaultSettle is World.Settle where that is zero.
	DefaultSettle = 5 * time.Second
	// learnTime is how long Derive waits for a key that etcd may have and this process has not learned yet.
	learnTime = 5 * time.Second
)

// World is all that a Ring touches outside itself, besides etcd and the KMS.
type World struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Holder is who has the Ring, for Rotate to wait for after a change of the KMS and for people to read, such as "broker 2 of default"; "": the
	// Ring is for a moment, and nobody's concern.
	Holder string
	// Settle is how long a process knows a new key before it seals with it; 0: DefaultSettle; negative: not at all.
	Settle time.Duration
}

// dataKey is one key of a Ring.
type dataKey struct {
	id      uint32
	root    []byte      // keyBytes; only Derive uses it
	seal    cipher.AEAD // derived, for Seal
	created time.Time
	kms     string
	usable  time.Time // to seal, not before; the zero time: at once
}

// snapshot is what a Ring knows at a moment. It is not changed once it is shown.
type snapshot struct {
	keys    map[uint32]*dataKey
	newest  *dataKey      // of the highest id
	learned chan struct{} // closed when a newer snapshot is there
}

// Ring is the data keys of one purpose, in the clear, as long as the process lives. Safe for concurrent use.
type Ring struct {
	store   kv.KV
	purpose string
	kms     KMS
	world   World

	now atomic.Pointer[snapshot]

	learning sync.Mutex // held while a snapshot is replaced
	cancel   context.CancelFunc
	done     chan struct{}
}

// OpenRing unwraps all data keys of a purpose, makes the first one when there is none, and follows etcd until Close. While the KMS or a
// part of etcd is away it waits, and says so, until ctx ends; ctx bounds nothing later. Errors: ErrWrongKMS, ErrNewer, those of etcd, ctx's.
func OpenRing(ctx context.Context, store kv.KV, purpose string, kms KMS, w World) (*Ring, error) {
	if err := checkPurpose(purpose); err != nil {
		return nil, err
	}
	switch {
	case w.Settle == 0:
		w.Settle = DefaultSettle
	case w.Settle < 0:
		w.Settle = 0
	}
	r := &Ring{store: store, purpose: purpose, kms: kms, world: w, done: make(chan struct{})}
	r.now.Store(&snapshot{keys: map[uint32]*dataKey{}, learned: make(chan struct{})})
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	var work sync.WaitGroup
	if w.Holder != "" {
		t, err := announce(ctx, store, purpose, w.Holder)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("open data keys of %s: %w", purpose, err)
		}
		work.Go(func() { t.keep(following) })
	}
	if err := r.load(ctx); err != nil {
		cancel()
		work.Wait()
		return nil, fmt.Errorf("open data keys of %s: %w", purpose, err)
	}
	work.Go(func() { r.follow(following) })
	go func() {
		defer close(r.done)
		work.Wait()
	}()
	return r, nil
}

// Close ends following. What was learned stays usable. Safe to call twice.
func (r *Ring) Close() {
	r.cancel()
	<-r.done
}

// Format hides the keys, whatever the verb.
func (r *Ring) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "data keys of %s", r.purpose) }

// LogValue hides the keys.
func (r *Ring) LogValue() slog.Value { return slog.StringValue("data keys of " + r.purpose) }

// Info describes a data key.
type Info struct {
	Purpose string    `json:"purpose"`
	ID      uint32    `json:"id"`
	Created time.Time `json:"created"`
	KMS     string    `json:"kms"` // what wraps it
}

// Keys lists the data keys, oldest first. The result is the caller's.
func (r *Ring) Keys() []Info {
	now := r.now.Load()
	infos := make([]Info, 0, len(now.keys))
	for _, id := range slices.Sorted(maps.Keys(now.keys)) {
		k := now.keys[id]
		infos = append(infos, Info{Purpose: r.purpose, ID: id, Created: k.created, KMS: k.kms})
	}
	return infos
}

// sealing is the newest key that has settled; the oldest where none has.
func (r *Ring) sealing() *dataKey {
	now := r.now.Load()
	k := now.newest
	if k.usable.IsZero() {
		return k
	}
	for t := r.world.Clock.Now(); t.Before(k.usable); {
		older := now.keys[k.id-1]
		if older == nil {
			break
		}
		k = older
	}
	return k
}

// Newest is the id of the data key that new files shall take.
func (r *Ring) Newest() uint32 { return r.sealing().id }

// Seal encrypts plain, which it does not keep, and binds it to context, which is needed again to open it. Neither may be secret to
// others than those who may read etcd by its length. The result is 33 bytes longer than plain, and the caller's.
func (r *Ring) Seal(plain, context []byte) ([]byte, error) {
	k := r.sealing()
	b := make([]byte, 0, sealedHead+nonceBytes+len(plain)+tagBytes)
	b = binary.BigEndian.AppendUint32(append(b, sealedFormat), k.id)
	return sealRandom(k.seal, b, plain, context), nil
}

// Open is the inverse of Seal. Errors: ErrSealed, ErrUnknownKey (sealed by a key that this process has not learned yet, or by another
// installation), ErrNewer.
func (r *Ring) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < sealedHead {
		return nil, fmt.Errorf("%w: %d bytes", ErrSealed, len(sealed))
	}
	if sealed[0] != sealedFormat {
		return nil, fmt.Errorf("%w: sealed in format %d", ErrNewer, sealed[0])
	}
	id := binary.BigEndian.Uint32(sealed[1:])
	k := r.now.Load().keys[id]
	if k == nil {
		return nil, fmt.Errorf("%w: %d of %s", ErrUnknownKey, id, r.purpose)
	}
	return openRandom(k.seal, sealed[sealedHead:], context)
}

// Derive fills out with a key of its own for a label and a salt: whoever has a salt that nobody else has, has a key that nobody else has.
// When the data key is not known here it may have been made a moment ago: so Derive waits for it, a few seconds and as long as ctx
// allows. Errors: ErrUnknownKey, ctx's.
func (r *Ring) Derive(ctx context.Context, id uint32, label string, salt, out []byte) error {
	k, err := r.learn(ctx, id)
	if err != nil {
		return err
	}
	key, err := hkdf.Key(sha256.New, k.root, salt, label, len(out))
	if err != nil {
		return fmt.Errorf("derive from data key %d: %w", id, err)
	}
	copy(out, key)
	return nil
}

// learn returns a key, and waits for one that may be on its way.
func (r *Ring) learn(ctx context.Context, id uint32) (*dataKey, error) {
	now := r.now.Load()
	if k := now.keys[id]; k != nil {
		return k, nil
	}
	timeout := time.NewTimer(learnTime)
	defer timeout.Stop()
	for id > now.newest.id { // ids ascend: a lower one will never come
		select {
		case <-now.learned:
		case <-r.done:
			return nil, fmt.Errorf("%w: %d of %s, which is closed", ErrUnknownKey, id, r.purpose)
		case <-timeout.C:
			return nil, fmt.Errorf("%w: %d of %s, which has %d", ErrUnknownKey, id, r.purpose, now.newest.id)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for data key %d of %s: %w", id, r.purpose, ctx.Err())
		}
		now = r.now.Load()
		if k := now.keys[id]; k != nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: %d of %s", ErrUnknownKey, id, r.purpose)
}

// Rotate makes a new data key, which everybody takes for what is written from now on (Y4); what is written stays as it is, and readable.
// It returns the key's id. Errors: ErrHeldBefore (somebody would not learn it), ErrUnavailable, ErrWrongKMS, those of etcd (kv.ErrConflict: somebody
// else has just rotated or rewrapped), ctx's.
func (r *Ring) Rotate(ctx context.Context) (uint32, error) {
	id := r.now.Load().newest.id + 1
	still, err := settled(ctx, r.store)
	if err == nil {
		err = r.create(ctx, id, still)
	}
	if err != nil {
		return 0, fmt.Errorf("rotate data keys of %s: %w", r.purpose, err)
	}
	if _, err := r.learn(ctx, id); err != nil {
		return 0, err
	}
	return id, nil
}

// deriveSeal makes the key of Seal: the root encrypts nothing itself.
func deriveSeal(root []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, root, nil, "millrace seal 1", keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive: %w", err)
	}
	return newGCM(key), nil
}

// create stores a new data key, if its id is free and conds hold.
func (r *Ring) create(ctx context.Context, id uint32, conds ...kv.Cond) error {
	root := make([]byte, keyBytes)
	_, _ = rand.Read(root) // never fails
	wrapped, err := r.kms.Wrap(ctx, root, wrapContext(r.purpose, id))
	if err != nil {
		return fmt.Errorf("wrap a data key: %w", err)
	}
	rec := record{Format: recordFormat, CreatedMs: r.world.Clock.Now().UnixMilli(), KMS: r.kms.Name(), Wrapped: wrapped}
	key := recordKey(r.purpose, id)
	_, err = r.store.Txn(ctx, append(conds, kv.KeyMissing(key)), []kv.Op{kv.Put(key, rec.encode())})
	return err
}

// add shows keys that were unwrapped.
func (r *Ring) add(keys ...*dataKey) {
	r.learning.Lock()
	defer r.learning.Unlock()
	old := r.now.Load()
	next := &snapshot{keys: maps.Clone(old.keys), newest: old.newest, learned: make(chan struct{})}
	for _, k := range keys {
		next.keys[k.id] = k
		if next.newest == nil || k.id > next.newest.id {
			next.newest = k
		}
	}
	r.now.Store(next)
	close(old.learned)
}

// errGap says that etcd has lost a data key.
var errGap = errors.New("keys: a data key is missing")
