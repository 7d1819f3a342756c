package scram

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace/base/kv"
	"millrace/secure/identity"
)

// Sealer encrypts what is secret, bound to a context that Open has to be given again. Safe for concurrent use.
type Sealer interface {
	// Seal encrypts plain, which it does not keep.
	Seal(plain, context []byte) ([]byte, error)
	// Open is its reverse; it fails where the bytes or their context are not those of a Seal.
	Open(sealed, context []byte) ([]byte, error)
}

// Config says which cluster's users a Store keeps.
type Config struct {
	// Prefix of the cluster in etcd, "millrace/clusters/NAME/". Users lie below "scram/" there.
	Prefix string
}

// World is all that a Store touches outside itself.
type World struct {
	KV     kv.KV
	Sealer Sealer // nil: keys are stored in the clear, as Apache Kafka does
	Random func([]byte)
	Log    *slog.Logger
}

// Change is one change of one user's credentials.
type Change struct {
	User       string
	Mechanism  identity.Mechanism
	Credential Credential // not used by a Delete
	Delete     bool
}

// Store keeps the credentials of a cluster. Make one with OpenStore. Safe for concurrent use.
type Store struct {
	prefix string // of users
	world  World
	decoy  []byte         // secret of the salts of unknown users
	blind  recordOfSecret // what is opened in place of an unknown user's keys

	mu      sync.RWMutex
	users   map[string]user
	shapes  map[shape]int // how many credentials have each
	common  shape         // that most have
	rev     int64         // up to which etcd was seen
	changed chan struct{} // closed when rev has moved
}

// user is a record as it stands in etcd.
type user struct {
	key    string
	record record
	err    error // it cannot be read
}

// shape is what a client sees of a credential before it has shown anything.
type shape struct {
	iterations, salt int
}

// likely is the shape that Kafka's tools make.
func likely() shape { return shape{DefaultIterations, 26} }

// OpenStore reads the users of a cluster. The error matches ErrUnavailable or ErrFormat.
func OpenStore(ctx context.Context, cfg Config, w World) (*Store, error) {
	s := &Store{prefix: cfg.Prefix + "scram/", world: w, changed: make(chan struct{})}
	if err := s.openDecoy(ctx, cfg.Prefix+"scram-decoy"); err != nil {
		return nil, fmt.Errorf("open scram users: %w", err)
	}
	items, rev, err := w.KV.List(ctx, s.prefix)
	if err != nil {
		return nil, fmt.Errorf("open scram users: %w: %w", ErrUnavailable, err)
	}
	return s, s.reset(items, rev)
}

// openDecoy reads the secret of decoys, or makes it.
func (s *Store) openDecoy(ctx context.Context, key string) error {
	for {
		item, err := s.world.KV.Get(ctx, key)
		if errors.Is(err, kv.ErrNotFound) {
			r := decoyRecord{Format: formatVersion, Secret: make([]byte, 32)}
			s.world.Random(r.Secret)
			value, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("encode decoy: %w", err)
			}
			_, err = s.world.KV.Txn(ctx, []kv.Cond{kv.KeyMissing(key)}, []kv.Op{kv.Put(key, value)})
			if err != nil && !errors.Is(err, kv.ErrConflict) {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		var r decoyRecord
		if err := json.Unmarshal(item.Value, &r); err != nil || r.Format != formatVersion || len(r.Secret) == 0 {
			return fmt.Errorf("%w: %s", ErrFormat, key)
		}
		s.decoy = r.Secret
		blank := Credential{Mechanism: identity.ScramSHA512, Iterations: MinIterations, StoredKey: make([]byte, 64), ServerKey: make([]byte, 64)}
		s.blind, err = seal(s.world.Sealer, blank, "")
		return err
	}
}

// retry is how long Run waits after etcd could not be read.
const retry = time.Second

// Run follows the changes that others make until ctx ends; then it returns nil.
func (s *Store) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := kv.Follow(ctx, s.world.KV, s.prefix, s.reset, s.apply)
		if ctx.Err() == nil {
			s.world.Log.Warn("scram users not followed", "retry_in", retry, "err", err)
			pause(ctx, retry)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// reset takes all users anew.
func (s *Store) reset(items []kv.Item, rev int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users, s.shapes, s.common = make(map[string]user, len(items)), make(map[shape]int), likely()
	for _, item := range items {
		s.putLocked(item)
	}
	s.advanceLocked(rev)
	return nil
}

// apply takes one change.
func (s *Store) apply(e kv.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Type == kv.EventPut {
		s.putLocked(e.Item)
	} else if name, err := userOfKey(e.Item.Key, s.prefix); err == nil {
		s.countLocked(s.users[name].record, -1)
		delete(s.users, name)
	}
	s.advanceLocked(e.Item.ModRev)
	return nil
}

func (s *Store) advanceLocked(rev int64) {
	s.rev = max(s.rev, rev)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) putLocked(item kv.Item) {
	name, err := userOfKey(item.Key, s.prefix)
	if err != nil {
		s.world.Log.Error("scram user not read", "key", item.Key, "err", err)
		return
	}
	u := user{key: item.Key}
	if u.record, u.err = decodeRecord(item.Value); u.err != nil {
		s.world.Log.Error("scram user not read", "user", name, "err", u.err)
	}
	s.countLocked(s.users[name].record, -1)
	s.countLocked(u.record, 1)
	s.users[name] = u
}

// countLocked keeps the count of shapes, and finds the one that most credentials have.
func (s *Store) countLocked(r record, by int) {
	for _, c := range r.Credentials {
		at := shape{c.Iterations, len(c.Salt)}
		if checkParameters(c.Salt, c.Iterations) != nil {
			continue // nobody logs in by it
		}
		if s.shapes[at] += by; s.shapes[at] <= 0 {
			delete(s.shapes, at)
		}
	}
	s.common = likely()
	most := 0
	for at, n := range s.shapes {
		// Of those that are equally many the smallest, so that all brokers choose the same.
		if n > most || n == most && (at.iterations < s.common.iterations || at.iterations == s.common.iterations && at.salt < s.common.salt) {
			most, s.common = n, at
		}
	}
}

// Users returns the names of all users, sorted.
func (s *Store) Users() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.users))
}

// Describe returns what a user has, in the order of the mechanisms; nothing for an unknown one.
func (s *Store) Describe(name string) []Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Info
	for m, c := range s.users[name].record.Credentials {
		out = append(out, Info{m, c.Iterations})
	}
	slices.SortFunc(out, func(a, b Info) int { return bytes.Compare([]byte(a.Mechanism), []byte(b.Mechanism)) })
	return out
}

// Alter applies changes. Those of one user are applied together; the errors are those of the changes, in their order: ErrUnacceptable,
// ErrMechanism, ErrNotFound, ErrFormat or ErrUnavailable. It returns when Run has seen what was written, so it needs Run.
func (s *Store) Alter(ctx context.Context, changes []Change) []error {
	errs := make([]error, len(changes))
	byUser := make(map[string][]int)
	var order []string
	for i, c := range changes {
		if errs[i] = checkChange(c); errs[i] != nil {
			continue
		}
		if byUser[c.User] == nil {
			order = append(order, c.User)
		}
		byUser[c.User] = append(byUser[c.User], i)
	}
	var last int64
	for _, name := range order {
		rev, err := s.alterUser(ctx, name, byUser[name], changes)
		last = max(last, rev)
		for _, i := range byUser[name] {
			errs[i] = err
		}
	}
	if err := s.await(ctx, last); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	return errs
}

func checkChange(c Change) error {
	if err := CheckUser(c.User); err != nil {
		return err
	}
	newHash, err := hashOf(c.Mechanism)
	if err != nil || c.Delete {
		return err
	}
	if c.Credential.Mechanism != c.Mechanism || len(c.Credential.StoredKey) != newHash().Size() || len(c.Credential.ServerKey) != newHash().Size() {
		return fmt.Errorf("%w: not made for %s", ErrUnacceptable, c.Mechanism)
	}
	return checkParameters(c.Credential.Salt, c.Credential.Iterations)
}

// alterUser applies the changes of one user, again as often as somebody else was quicker.
func (s *Store) alterUser(ctx context.Context, name string, at []int, changes []Change) (int64, error) {
	key := s.prefix + userKey(name)
	for {
		item, err := s.world.KV.Get(ctx, key)
		r := record{Format: formatVersion, Credentials: map[identity.Mechanism]recordOfSecret{}}
		switch {
		case errors.Is(err, kv.ErrNotFound):
		case err != nil:
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		default:
			if r, err = decodeRecord(item.Value); err != nil {
				return 0, err
			}
		}
		op, err := s.change(key, r, at, changes)
		if err != nil {
			return 0, err
		}
		rev, err := s.world.KV.Txn(ctx, []kv.Cond{kv.ModRevEquals(key, item.ModRev)}, []kv.Op{op})
		switch {
		case errors.Is(err, kv.ErrConflict):
		case err != nil:
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		default:
			return rev, nil
		}
	}
}

func (s *Store) change(key string, r record, at []int, changes []Change) (kv.Op, error) {
	for _, i := range at {
		c := changes[i]
		if c.Delete {
			if _, ok := r.Credentials[c.Mechanism]; !ok {
				return kv.Op{}, ErrNotFound
			}
			delete(r.Credentials, c.Mechanism)
			continue
		}
		sealed, err := seal(s.world.Sealer, c.Credential, key)
		if err != nil {
			return kv.Op{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if r.Credentials == nil {
			r.Credentials = map[identity.Mechanism]recordOfSecret{}
		}
		r.Credentials[c.Mechanism] = sealed
	}
	if len(r.Credentials) == 0 {
		return kv.Delete(key), nil
	}
	value, err := json.Marshal(r)
	if err != nil {
		return kv.Op{}, fmt.Errorf("encode credential: %w", err)
	}
	return kv.Put(key, value), nil
}

// await waits until what was written at rev is seen.
func (s *Store) await(ctx context.Context, rev int64) error {
	for {
		s.mu.RLock()
		seen, changed := s.rev, s.changed
		s.mu.RUnlock()
		if seen >= rev {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// lookup returns what a login is checked against; ok is false if it cannot succeed. Then the credential is a decoy, which looks like others
// and is the same each time.
func (s *Store) lookup(m identity.Mechanism, name string) (c Credential, ok bool) {
	s.mu.RLock()
	u := s.users[name]
	r, ok := u.record.Credentials[m]
	look := s.common
	s.mu.RUnlock()
	decoy := s.decoyOf(m, name, look)
	if !ok {
		_, _ = open(s.world.Sealer, s.blind, identity.ScramSHA512, "") // so that it takes as long
		return decoy, false
	}
	c, err := open(s.world.Sealer, r, m, u.key)
	if err != nil {
		s.world.Log.Error("scram credential not opened", "user", name, "mechanism", string(m), "err", err)
		return decoy, false
	}
	return c, true
}

func (s *Store) decoyOf(m identity.Mechanism, name string, look shape) Credential {
	newHash, err := hashOf(m)
	if err != nil {
		return Credential{}
	}
	var salt []byte
	for i := 0; len(salt) < look.salt; i++ {
		salt = append(salt, mac(newHash, s.decoy, fmt.Sprintf("%s\x00%d\x00%s", m, i, name))...)
	}
	size := newHash().Size()
	return Credential{Mechanism: m, Iterations: look.iterations, Salt: salt[:look.salt], StoredKey: make([]byte, size), ServerKey: make([]byte, size)}
}
